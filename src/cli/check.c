/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * check.c - `vfiomem check`: what will not work, and how to mend it.
 */
#include "command.h"
#include "survey.h"

#include <stdio.h>

static const char *edits_of(const VfmNegotiated *negotiated, guint *count)
{
    g_autoptr(GPtrArray) edits = vfm_plan_edits(negotiated->plan, negotiated->domain, &negotiated->options);

    *count = edits->len;
    return edits->len == 1 ? "change" : "changes";
}

static VfmFindingCount print(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated,
                             bool several, gpointer data)
{
    const bool *quiet = data;
    VfmFindingCount count =
        vfm_findings_print(terminal, name, negotiated->plan->findings, *quiet ? VFM_WARNING : VFM_INFO);

    if (!several && !*quiet) {
        const VfmStyle style = count.errors ? VFM_STYLE_ERROR : count.warnings ? VFM_STYLE_WARNING : VFM_STYLE_GOOD;
        g_autofree char *domain = vfm_printable(negotiated->domain->name);
        g_autofree char *text = vfm_finding_count_text(count);
        guint edits;
        const char *noun = edits_of(negotiated, &edits);

        printf("%s: %s%s%s", *domain ? domain : name, vfm_terminal_on(terminal, style), text,
               vfm_terminal_off(terminal, style));
        if (edits)
            printf("; `vfiomem apply --diff` shows %u %s that would mend", edits, noun);
        putchar('\n');
    }
    return count;
}

static void summary(const VfmTerminal *terminal, const VfmSurveyCount *count, gpointer data)
{
    const bool *quiet = data;
    const guint domains = count->with_errors + count->with_warnings + count->clean;

    if (*quiet)
        return;
    printf("%s%u %s%s: %s%u with errors%s, %s%u with warnings%s, %s%u fine%s",
           vfm_terminal_on(terminal, VFM_STYLE_BOLD), domains, domains == 1 ? "domain" : "domains",
           vfm_terminal_off(terminal, VFM_STYLE_BOLD),
           vfm_terminal_on(terminal, count->with_errors ? VFM_STYLE_ERROR : VFM_STYLE_PLAIN), count->with_errors,
           vfm_terminal_off(terminal, count->with_errors ? VFM_STYLE_ERROR : VFM_STYLE_PLAIN),
           vfm_terminal_on(terminal, count->with_warnings ? VFM_STYLE_WARNING : VFM_STYLE_PLAIN), count->with_warnings,
           vfm_terminal_off(terminal, count->with_warnings ? VFM_STYLE_WARNING : VFM_STYLE_PLAIN),
           vfm_terminal_on(terminal, count->clean ? VFM_STYLE_GOOD : VFM_STYLE_PLAIN), count->clean,
           vfm_terminal_off(terminal, count->clean ? VFM_STYLE_GOOD : VFM_STYLE_PLAIN));
    if (count->unusable)
        printf("; %s%u unusable%s", vfm_terminal_on(terminal, VFM_STYLE_ERROR), count->unusable,
               vfm_terminal_off(terminal, VFM_STYLE_ERROR));
    putchar('\n');
}

int vfm_command_check(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "[FILE|DIRECTORY|-]...",
        .about = "Says what will not work in guests that have devices assigned, and how to mend it,\n"
                 "before they start. Takes domain XML as `virsh dumpxml` prints it; of a directory\n"
                 "all its *.xml files. Without operands it reads standard input.\n"
                 "\n"
                 "Exit status: 0 no errors found, 1 errors found, 2 unusable input or usage.",
        .examples = "  vfiomem check guest.xml\n"
                    "  virsh dumpxml web | vfiomem check\n"
                    "  vfiomem check --all --quiet\n"
                    "  vfiomem check --host=rack7.json --format=json /srv/domains",
    };
    VfmSurveyOptions options = {0};
    bool quiet = false;
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        VFM_FORMAT_OPTION(&options.format),
        {VFM_OPTION_FLAG, 'q', "quiet", NULL, "only errors and warnings: no notes, no summary", &quiet},
        VFM_INPUT_OPTIONS(&options.input),
        VFM_INACTIVE_OPTION(&options.input),
        VFM_HOST_OPTIONS(&options.host),
        {0},
    };
    const VfmSurveyPrinter printer = {.print = print, .summary = summary, .data = &quiet};

    return vfm_survey_command(argc, argv, &usage, table, &options, &printer);
}
