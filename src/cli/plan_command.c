/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_command.c - `vfiomem plan`: the numbers behind the findings.
 */
#include "command.h"
#include "plan_text.h"
#include "survey.h"

#include <stdio.h>

typedef struct {
    bool map;
    guint printed;
} PlanPrinter;

static VfmFindingCount print(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated,
                             bool several, gpointer data)
{
    PlanPrinter *printer = data;
    VfmFindingCount count;

    if (printer->printed++)
        puts("\n");
    vfm_plan_print(terminal, name, negotiated, printer->map);
    if (negotiated->plan->findings->len)
        printf("\n%sFindings%s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD),
               vfm_terminal_off(terminal, VFM_STYLE_BOLD));
    count = vfm_findings_print(terminal, name, negotiated->plan->findings, VFM_INFO);
    return count;
}

int vfm_command_plan(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "[FILE|DIRECTORY|-]...",
        .about = "Shows the numbers of guests that have devices assigned: block sizes now and\n"
                 "recommended, mappings against the budget, locked memory against its limit, and who\n"
                 "inhibits which discards. Takes the same input as `vfiomem check`.\n"
                 "\n"
                 "Exit status: 0 no errors found, 1 errors found, 2 unusable input or usage.",
        .examples = "  vfiomem plan guest.xml\n"
                    "  vfiomem plan --domain=web --map\n"
                    "  vfiomem plan --host=rack7.json --qemu-version=11.1.2 guest.xml",
    };
    VfmSurveyOptions options = {0};
    PlanPrinter plan = {0};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        VFM_FORMAT_OPTION(&options.format),
        {VFM_OPTION_FLAG, 'm', "map", NULL, "with the guest memory map", &plan.map},
        VFM_INPUT_OPTIONS(&options.input),
        VFM_INACTIVE_OPTION(&options.input),
        VFM_HOST_OPTIONS(&options.host),
        {0},
    };
    const VfmSurveyPrinter printer = {.print = print, .data = &plan};

    return vfm_survey_command(argc, argv, &usage, table, &options, &printer);
}
