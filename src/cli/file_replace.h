/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file_replace.h - a file's content replaced as a whole, or not at all.
 *
 * The new content is written beside the file, forced to disk, given the file's
 * owner and mode, and renamed over it: a crash or a full disk leaves the old
 * file. A symbolic link stays, and what it points to is replaced. No state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* False with VFM_SYSTEM_ERROR; the file is then as it was. */
bool vfm_file_replace(const char *path, const char *text, gsize length, GError **error);
