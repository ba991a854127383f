/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * findings_text.h - findings as a person reads them, and as editors jump to them.
 *
 *   guest.xml:23: error: what, on which object, and why [finding-id]
 *       fix: what to do
 */
#pragma once

#include "finding.h"
#include "terminal.h"

typedef struct {
    guint errors, warnings, infos;
} VfmFindingCount;

/* Prints those of at least severity @least; counts all of them. @name: the input's. */
VfmFindingCount vfm_findings_print(const VfmTerminal *terminal, const char *name, const GPtrArray *findings,
                                   VfmSeverity least);

/* "1 error, 2 warnings"; "no findings". The caller frees. */
char *vfm_finding_count_text(VfmFindingCount count);
