/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * descriptors.h - which numbers in a table of descriptors are somebody's, and closing all others.
 *
 * For a process that took a table over from one that died: what the dead one opened and did not note is nobody's.
 */
#pragma once

#include <glib.h>

/* Appends the numbers (int) of all that are open, but for what looking at them opens. */
void vfm_descriptors_open(GArray *fds);

/* Closes every number that is not in @owned (of int; sorted by this; negative ones are none). No other thread may
 * open anything meanwhile. */
void vfm_descriptors_close_others(GArray *owned);
