/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "survey.h"
#include "command.h"
#include "plan_json.h"

#include <stdio.h>

typedef struct {
    const char *command;
    const VfmSurveyPrinter *printer;
    VfmTerminal terminal;
    VfmSurveyCount count;
    VfmJsonOut *json; /* NULL: for people */
} Survey;

/* What the plan has, whether it is printed or not. */
static VfmFindingCount count_findings(const VfmPlan *plan)
{
    VfmFindingCount count = {0};

    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(plan->findings, i);

        count.errors += finding->severity == VFM_ERROR;
        count.warnings += finding->severity == VFM_WARNING;
        count.infos += finding->severity == VFM_INFO;
    }
    return count;
}

static void show(Survey *survey, const VfmInput *input, const VfmNegotiated *negotiated, bool several)
{
    VfmFindingCount found;

    vfm_terminal_clear(&survey->terminal);
    if (survey->json) {
        if (several)
            vfm_plan_write_json_of(survey->json, input->kind == VFM_INPUT_DOMAIN ? NULL : input->name,
                                   negotiated->domain, negotiated->plan);
        else
            vfm_plan_write_json(survey->json, NULL, negotiated->domain, negotiated->plan);
        found = count_findings(negotiated->plan);
    } else {
        found = survey->printer->print(&survey->terminal, vfm_input_name(input), negotiated, several,
                                       survey->printer->data);
    }
    survey->count.with_errors += found.errors > 0;
    survey->count.with_warnings += !found.errors && found.warnings;
    survey->count.clean += !found.errors && !found.warnings;
}

static void take(Survey *survey, const VfmInputs *inputs, const VfmInput *input, VfmNegotiator *negotiator)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmInputText) text = vfm_input_load(inputs, input, &error);
    g_autoptr(VfmNegotiated) negotiated = NULL;

    if (text)
        negotiated = vfm_negotiate(negotiator, inputs, input, text, &error);
    if (negotiated) {
        show(survey, input, negotiated, inputs->several);
    } else {
        vfm_command_error(&survey->terminal, survey->command, error);
        survey->count.unusable++;
    }
}

static void finish_json(Survey *survey, bool several)
{
    if (several)
        vfm_json_out_end(survey->json);
    if (several || !survey->count.unusable) {
        g_autofree char *text = vfm_json_out_finish(g_steal_pointer(&survey->json));

        fputs(text, stdout);
    }
    g_clear_pointer(&survey->json, vfm_json_out_free);
}

static int run(const char *command, const VfmSurveyOptions *options, char **operands, int count,
               const VfmSurveyPrinter *printer)
{
    Survey survey = {.command = command, .printer = printer};
    g_auto(VfmNegotiator) negotiator = {0};
    g_autoptr(VfmInputs) inputs = NULL;
    g_autoptr(GError) error = NULL;

    vfm_terminal_init(&survey.terminal);
    inputs = vfm_inputs_new(&options->input, operands, count, &error);
    if (!inputs ||
        !vfm_negotiator_init(&negotiator, &options->host, &options->input, command, &survey.terminal, &error))
        return vfm_command_error(&survey.terminal, command, error);
    if (options->format == VFM_FORMAT_JSON) {
        survey.json = vfm_json_out_new(true);
        if (inputs->several)
            vfm_json_out_array(survey.json, NULL);
    }
    for (guint i = 0; i < inputs->list->len; i++) {
        vfm_terminal_progress(&survey.terminal, "domain", i + 1, inputs->list->len);
        take(&survey, inputs, g_ptr_array_index(inputs->list, i), &negotiator);
    }
    vfm_terminal_clear(&survey.terminal);
    if (survey.json)
        finish_json(&survey, inputs->several);
    else if (printer->summary && inputs->several)
        printer->summary(&survey.terminal, &survey.count, printer->data);
    return vfm_finish_output(&survey.terminal, command,
                             survey.count.unusable      ? VFM_EXIT_UNUSABLE
                             : survey.count.with_errors ? VFM_EXIT_FINDINGS
                                                        : VFM_EXIT_OK);
}

int vfm_survey_command(int argc, char **argv, const VfmUsage *usage, const VfmOption *table, VfmSurveyOptions *options,
                       const VfmSurveyPrinter *printer)
{
    int status;

    if (vfm_options_parse(&argc, argv, usage, table, &status))
        status = run(argv[0], options, argv + 1, argc - 1, printer);
    vfm_input_options_clear(&options->input);
    return status;
}
