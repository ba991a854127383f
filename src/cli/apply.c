/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply.c - `vfiomem apply`: the XML with what must change changed.
 */
#include "command.h"
#include "error.h"
#include "file_replace.h"
#include "mend.h"

#include <stdio.h>
#include <string.h>

typedef struct {
    VfmInputOptions input;
    VfmHostOptions host;
    bool diff, in_place;
    const char *emulator;
} ApplyOptions;

static const char *wrong_use(const ApplyOptions *options, const VfmInputs *inputs)
{
    if (options->diff && options->in_place)
        return "only one of --diff and --in-place can be given";
    if (!options->diff && !options->in_place && inputs->list->len != 1)
        return "of several domains the result goes nowhere; give --in-place or --diff, or one at a time";
    for (guint i = 0; options->in_place && i < inputs->list->len; i++) {
        const VfmInput *input = g_ptr_array_index(inputs->list, i);

        if (input->kind == VFM_INPUT_STDIN)
            return "standard input cannot be changed in place";
        if (input->kind == VFM_INPUT_DOMAIN)
            return "a domain of libvirt's is changed with `vfiomem define --domain`, not in place";
        /* The daemon neither notices such a change nor keeps it. */
        if (g_str_has_prefix(input->name, "/etc/libvirt/"))
            return "files of libvirt's own are not changed in place; use `vfiomem define --domain`";
    }
    return NULL;
}

/* Returns the exit status for this input; an error is told here. */
static int apply_one(const char *command, const ApplyOptions *options, VfmNegotiator *negotiator,
                     const VfmInputs *inputs, const VfmInput *input, VfmTerminal *terminal)
{
    const char *name = vfm_input_name(input);
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmInputText) text = vfm_input_load(inputs, input, &error);
    g_autoptr(VfmMended) mended = NULL;
    int status;

    if (text)
        mended = vfm_mend(negotiator, inputs, input, text, &error);
    if (!mended) {
        vfm_complain(terminal, command, error->message);
        return VFM_EXIT_UNUSABLE;
    }
    status = vfm_mended_report(mended, name, terminal);
    if (options->diff)
        vfm_mended_print_diff(mended, text->text, input->kind == VFM_INPUT_STDIN ? "stdin" : name, terminal);
    else if (!options->in_place)
        fputs(mended->text, stdout);
    else if (mended->changes->len && !vfm_file_replace(name, mended->text, strlen(mended->text), &error)) {
        vfm_complain(terminal, command, error->message);
        return VFM_EXIT_UNUSABLE;
    }
    return status;
}

static int apply(const char *command, const ApplyOptions *options, char **operands, int count)
{
    g_auto(VfmNegotiator) negotiator = {0};
    g_autoptr(VfmInputs) inputs = NULL;
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    const char *wrong;
    int status = VFM_EXIT_OK;

    vfm_terminal_init(&terminal);
    inputs = vfm_inputs_new(&options->input, operands, count, &error);
    if (inputs && (wrong = wrong_use(options, inputs)))
        return vfm_usage_error(command, "%s", wrong);
    if (!inputs || !vfm_negotiator_init(&negotiator, &options->host, &options->input, command, &terminal, &error) ||
        !vfm_negotiator_set_emulator(&negotiator, options->emulator, &error))
        return vfm_command_error(&terminal, command, error);
    for (guint i = 0; i < inputs->list->len; i++) {
        const VfmInput *input = g_ptr_array_index(inputs->list, i);
        int one;

        vfm_terminal_progress(&terminal, "domain", i + 1, inputs->list->len);
        one = apply_one(command, options, &negotiator, inputs, input, &terminal);
        status = MAX(status, one);
    }
    vfm_terminal_clear(&terminal);
    return vfm_finish_output(&terminal, command, status);
}

int vfm_command_apply(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "[FILE|-]",
        .about = "Writes the domain XML with what must change changed, and nothing else: block and\n"
                 "requested sizes, free page reporting and autodeflate that do nothing, the locked\n"
                 "memory limit, memory and emulator where the policy asks for the helper. Comments,\n"
                 "order and everything foreign stay. Applying again changes nothing. What was changed\n"
                 "and why is told on standard error.\n"
                 "\n"
                 "Exit status: 0 no errors are left, 1 errors are left that need a person, 2 unusable\n"
                 "input or usage.",
        .examples = "  vfiomem apply --diff guest.xml\n"
                    "  vfiomem apply --in-place guest.xml\n"
                    "  virsh dumpxml --inactive web | vfiomem apply | virsh define /dev/stdin",
    };
    ApplyOptions options = {.input.inactive = true};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        {VFM_OPTION_FLAG, 0, "diff", NULL, "show the changes as a unified diff instead", &options.diff},
        {VFM_OPTION_FLAG, 'i', "in-place", NULL, "change the files themselves; may be several", &options.in_place},
        VFM_EMULATOR_OPTION(&options.emulator),
        VFM_INPUT_OPTIONS(&options.input),
        VFM_HOST_OPTIONS(&options.host),
        {0},
    };
    int status;

    if (vfm_options_parse(&argc, argv, &usage, table, &status))
        status = apply(argv[0], &options, argv + 1, argc - 1);
    if (options.input.domains)
        g_ptr_array_unref(options.input.domains);
    return status;
}
