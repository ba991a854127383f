/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "findings_text.h"

#include <stdio.h>

static void print_finding(const VfmTerminal *terminal, const char *name, const VfmFinding *finding)
{
    static const VfmStyle styles[] = {VFM_STYLE_ERROR, VFM_STYLE_WARNING, VFM_STYLE_INFO};
    const VfmStyle style = styles[finding->severity];
    g_autofree char *message = vfm_printable(finding->message);
    g_autofree char *place = finding->line ? g_strdup_printf("%s:%u", name, finding->line) : g_strdup(name);
    g_autofree char *printable = vfm_printable(place);

    printf("%s%s:%s %s%s:%s %s %s[%s]%s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD), printable,
           vfm_terminal_off(terminal, VFM_STYLE_BOLD), vfm_terminal_on(terminal, style),
           vfm_severity_name(finding->severity), vfm_terminal_off(terminal, style), message,
           vfm_terminal_on(terminal, VFM_STYLE_DIM), finding->id, vfm_terminal_off(terminal, VFM_STYLE_DIM));
    if (finding->fix) {
        g_autofree char *fix = vfm_printable(finding->fix);

        printf("    %sfix:%s %s\n", vfm_terminal_on(terminal, VFM_STYLE_GOOD),
               vfm_terminal_off(terminal, VFM_STYLE_GOOD), fix);
    }
}

VfmFindingCount vfm_findings_print(const VfmTerminal *terminal, const char *name, const GPtrArray *findings,
                                   VfmSeverity least)
{
    VfmFindingCount count = {0};

    for (guint i = 0; i < findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(findings, i);

        count.errors += finding->severity == VFM_ERROR;
        count.warnings += finding->severity == VFM_WARNING;
        count.infos += finding->severity == VFM_INFO;
        if (finding->severity <= least)
            print_finding(terminal, name, finding);
    }
    return count;
}

static void append_count(GString *text, guint count, const char *one, const char *many)
{
    if (count)
        g_string_append_printf(text, "%s%u %s", text->len ? ", " : "", count, count == 1 ? one : many);
}

char *vfm_finding_count_text(VfmFindingCount count)
{
    GString *text = g_string_new(NULL);

    append_count(text, count.errors, "error", "errors");
    append_count(text, count.warnings, "warning", "warnings");
    append_count(text, count.infos, "note", "notes");
    if (!text->len)
        g_string_append(text, "no findings");
    return g_string_free(text, FALSE);
}
