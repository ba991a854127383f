/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file_read.h - whole files, pipes and terminals into memory, up to a bound.
 *
 * Files are named by people and may be anything: a device without end, a log of
 * gigabytes, a pipe from another program. A regular file beyond the bound is refused
 * before it is read, everything else once the bound is passed. No state.
 */
#pragma once

#include <glib.h>

/* The content and a NUL that @length does not count. @max: bytes, a multiple of 1 MiB. @what: for messages,
 * "the bound for domain XML". NULL with VFM_SYSTEM_ERROR or VFM_INPUT_ERROR (VFM_INPUT_TOO_LARGE). */
char *vfm_file_read(const char *path, gsize max, const char *what, gsize *length, GError **error);

/* The same from an open descriptor, which stays open. @name: for messages. */
char *vfm_fd_read(int fd, const char *name, gsize max, const char *what, gsize *length, GError **error);
