/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mend.h - a domain's XML with everything changed that the plan can mend.
 *
 * Negotiates, edits, and negotiates the result again until nothing is left to
 * edit, so that what comes out is what a second `apply` would leave alone. The shared
 * part of `apply` and `define`; it writes to no file and no daemon.
 */
#pragma once

#include "negotiate.h"

typedef struct {
    char *what; /* "block of virtio-mem 0: 2 MiB -> 4 MiB" */
    char *why;  /* the finding's message */
    char *id;   /* the finding's id */
} VfmChange;

typedef struct {
    char *text;           /* the XML; the same bytes as the input if nothing was changed */
    GPtrArray *changes;   /* of VfmChange*, in order */
    VfmNegotiated *after; /* of @text: what is left to say */
} VfmMended;

/* NULL with @error. */
VfmMended *vfm_mend(VfmNegotiator *negotiator, const VfmInputs *inputs, const VfmInput *input, const VfmInputText *text,
                    GError **error);
void vfm_mended_free(VfmMended *mended);

/* Tells on standard error what was changed and why, and what is left. Returns VFM_EXIT_FINDINGS if errors are left. */
int vfm_mended_report(const VfmMended *mended, const char *name, VfmTerminal *terminal);

/* Prints a unified diff from @old_text on standard output, with colours on a terminal; nothing if equal. */
void vfm_mended_print_diff(const VfmMended *mended, const char *old_text, const char *name,
                           const VfmTerminal *terminal);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmMended, vfm_mended_free)
