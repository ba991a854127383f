/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "finding.h"

static void finding_free(gpointer data)
{
    VfmFinding *finding = data;

    g_free(finding->id);
    g_free(finding->message);
    g_free(finding->fix);
    g_free(finding);
}

GPtrArray *vfm_findings_new(void)
{
    return g_ptr_array_new_with_free_func(finding_free);
}

/* Names come out of the domain as they are, and a path may have a line break in it; a finding is one line. */
static char *one_line(char *text)
{
    for (char *at = text; at && *at; at++)
        if (g_ascii_iscntrl(*at))
            *at = '?';
    return text;
}

VfmFinding *vfm_findings_add(GPtrArray *findings, VfmSeverity severity, const char *id, unsigned line, const char *fix,
                             const char *format, ...)
{
    VfmFinding *finding = g_new0(VfmFinding, 1);
    va_list args;

    finding->id = g_strdup(id);
    finding->severity = severity;
    finding->fix = one_line(g_strdup(fix));
    finding->line = line;
    va_start(args, format);
    finding->message = one_line(g_strdup_vprintf(format, args));
    va_end(args);
    g_ptr_array_add(findings, finding);
    return finding;
}

static gint compare(gconstpointer a, gconstpointer b)
{
    const VfmFinding *x = *(VfmFinding *const *)a;
    const VfmFinding *y = *(VfmFinding *const *)b;

    if (x->severity != y->severity)
        return x->severity < y->severity ? -1 : 1;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return g_strcmp0(x->id, y->id);
}

void vfm_findings_sort(GPtrArray *findings)
{
    g_ptr_array_sort(findings, compare);
}

const char *vfm_severity_name(VfmSeverity severity)
{
    static const char *const names[] = {"error", "warning", "info"};

    return (size_t)severity < G_N_ELEMENTS(names) ? names[severity] : "unknown";
}
