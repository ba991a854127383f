/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mend_command.h"
#include "command.h"

/* Returns the exit status for this input; an error is told here. */
static int take(const char *command, const VfmMendOptions *options, const VfmMendWriter *writer,
                VfmNegotiator *negotiator, const VfmInputs *inputs, const VfmInput *input, VfmTerminal *terminal)
{
    const char *name = vfm_input_name(input);
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmInputText) text = vfm_input_load(inputs, input, &error);
    g_autoptr(VfmMended) mended = text ? vfm_mend(negotiator, inputs, input, text, &error) : NULL;
    int status;

    if (!mended)
        return vfm_command_error(terminal, command, error);
    status = vfm_mended_report(mended, name, terminal);
    if (options->diff)
        vfm_mended_print_diff(mended, text->text, input->kind == VFM_INPUT_STDIN ? "stdin" : name, terminal);
    else if (!writer->write(command, mended, input, status, writer->data, &error))
        return vfm_command_error(terminal, command, error);
    return status;
}

static int run(const char *command, const VfmMendOptions *options, char **operands, int count,
               const VfmMendWriter *writer)
{
    g_auto(VfmNegotiator) negotiator = {0};
    g_autoptr(VfmInputs) inputs = NULL;
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    const char *wrong;
    int status = VFM_EXIT_OK;

    vfm_terminal_init(&terminal);
    inputs = vfm_inputs_new(&options->input, operands, count, &error);
    if (inputs && writer->wrong_use && (wrong = writer->wrong_use(options, inputs, writer->data)))
        return vfm_usage_error(command, "%s", wrong);
    if (!inputs || !vfm_negotiator_init(&negotiator, &options->host, &options->input, command, &terminal, &error) ||
        !vfm_negotiator_set_emulator(&negotiator, options->emulator, &error))
        return vfm_command_error(&terminal, command, error);
    if (!inputs->list->len)
        vfm_complain(&terminal, command, "that libvirt has no domains"); /* --all: not wrong, but not to be silent on */
    for (guint i = 0; i < inputs->list->len; i++) {
        const VfmInput *input = g_ptr_array_index(inputs->list, i);
        int one;

        vfm_terminal_progress(&terminal, "domain", i + 1, inputs->list->len);
        one = take(command, options, writer, &negotiator, inputs, input, &terminal);
        status = MAX(status, one);
    }
    vfm_terminal_clear(&terminal);
    return vfm_finish_output(&terminal, command, status);
}

int vfm_mend_command(int argc, char **argv, const VfmUsage *usage, const VfmOption *table, VfmMendOptions *options,
                     const VfmMendWriter *writer)
{
    int status;

    if (vfm_options_parse(&argc, argv, usage, table, &status))
        status = run(argv[0], options, argv + 1, argc - 1, writer);
    vfm_input_options_clear(&options->input);
    return status;
}
