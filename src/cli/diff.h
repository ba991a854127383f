/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * diff.h - the difference of two texts as `diff -u` and `patch` write and read it.
 *
 * Ours, because a program that edits one file should not need another package to
 * show what it did. Shortest edit script by lines (E. Myers, "An O(ND) Difference
 * Algorithm and Its Variations", 1986); texts that differ by more than
 * VFM_DIFF_EDITS_MAX lines are shown as one replacement. No state.
 */
#pragma once

#define VFM_DIFF_EDITS_MAX 1000

/* "" if they are equal, else a unified diff with three lines of context. The caller frees. */
char *vfm_diff(const char *old_text, const char *new_text, const char *old_name, const char *new_name);
