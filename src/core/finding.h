/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * finding.h - one thing a person should know about a domain.
 *
 * The id is part of the output contract: kebab-case, stable, documented in
 * docs/findings.md. The message says what, on which object and why; the fix
 * says what to do, or is NULL where nothing can be done.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum { VFM_ERROR = 0, VFM_WARNING, VFM_INFO } VfmSeverity;

typedef struct {
    char *id;
    VfmSeverity severity;
    char *message;
    char *fix;     /* NULL if none */
    unsigned line; /* 0 if none */
} VfmFinding;

/* Array of VfmFinding* that frees its elements. */
GPtrArray *vfm_findings_new(void);

/* Appends a finding; @fix may be NULL and is copied; @format makes the message. Control characters in either become
 * "?". */
VfmFinding *vfm_findings_add(GPtrArray *findings, VfmSeverity severity, const char *id, unsigned line, const char *fix,
                             const char *format, ...) G_GNUC_PRINTF(6, 7);

/* Errors first, then warnings, then info; by line, then by id. */
void vfm_findings_sort(GPtrArray *findings);

/* "error", "warning", "info". */
const char *vfm_severity_name(VfmSeverity severity);
