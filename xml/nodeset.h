/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nodeset.h - libvirt's lists of node numbers: "0", "0-3,^2,7".
 *
 * The syntax of virBitmapParse(): numbers, ranges, and '^' to take one out
 * again. Knows no XML and keeps no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* Sets set[n] for each n of @text; @set has @nodes entries, all false. VFM_INPUT_ERROR for what is no list,
 * for an empty one, and for a node that is not below @nodes. */
bool vfm_nodeset_parse(const char *text, unsigned nodes, bool *set, GError **error);
