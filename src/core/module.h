/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * module.h - parts of ours that a program loads only when it needs them.
 *
 * libvirt's and json-glib's start-up costs more than a whole `vfiomem check`,
 * so programs do not link them: code that needs one is a module, found as any
 * library is, through the run path of the program (meson sets it: the build's own
 * folders, or the module directory once installed), never through a path taken
 * from input. A module stays loaded until the program ends.
 *
 * Threads: safe.
 */
#pragma once

#include <glib.h>

/* The address of @symbol in "@module.so". NULL with VFM_SYSTEM_ERROR (code ELIBACC) if the module cannot be loaded,
 * with the loader's own words, which name a missing library. */
gpointer vfm_module_symbol(const char *module, const char *symbol, GError **error);
