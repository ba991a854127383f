/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * define.c - `vfiomem define`: what `apply` would write, given to libvirt.
 */
#include "command.h"
#include "connection.h"
#include "error.h"
#include "mend.h"

#include <stdio.h>

typedef struct {
    VfmInputOptions input;
    VfmHostOptions host;
    bool dry_run, force;
    const char *emulator;
} DefineOptions;

static int define_one(const char *command, const DefineOptions *options, VfmNegotiator *negotiator,
                      const VfmInputs *inputs, const VfmInput *input, VfmTerminal *terminal)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmInputText) text = vfm_input_load(inputs, input, &error);
    g_autoptr(VfmMended) mended = NULL;
    g_autofree char *domain = NULL;
    int status;

    if (text)
        mended = vfm_mend(negotiator, inputs, input, text, &error);
    if (!mended) {
        vfm_complain(terminal, command, error->message);
        return VFM_EXIT_UNUSABLE;
    }
    domain = vfm_printable(mended->after->domain->name);
    status = vfm_mended_report(mended, vfm_input_name(input), terminal);
    if (options->dry_run) {
        vfm_mended_print_diff(mended, text->text, input->kind == VFM_INPUT_STDIN ? "stdin" : vfm_input_name(input),
                              terminal);
        return status;
    }
    if (status != VFM_EXIT_OK && !options->force) {
        fprintf(stderr, "%s: %s: not defined: errors are left (--force defines it all the same)\n", command, domain);
        return status;
    }
    if (input->kind == VFM_INPUT_DOMAIN && !mended->changes->len) {
        printf("%s: as it is\n", domain);
        return status;
    }
    if (!vfm_connection_define(options->input.connect, mended->text, &error)) {
        vfm_complain(terminal, command, error->message);
        return VFM_EXIT_UNUSABLE;
    }
    printf("%s: defined\n", domain);
    return status;
}

static int define(const char *command, const DefineOptions *options, char **operands, int count)
{
    g_auto(VfmNegotiator) negotiator = {0};
    g_autoptr(VfmInputs) inputs = NULL;
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    int status = VFM_EXIT_OK;

    vfm_terminal_init(&terminal);
    inputs = vfm_inputs_new(&options->input, operands, count, &error);
    if (!inputs || !vfm_negotiator_init(&negotiator, &options->host, &options->input, command, &terminal, &error) ||
        !vfm_negotiator_set_emulator(&negotiator, options->emulator, &error))
        return vfm_command_error(&terminal, command, error);
    for (guint i = 0; i < inputs->list->len; i++) {
        const VfmInput *input = g_ptr_array_index(inputs->list, i);
        int one;

        vfm_terminal_progress(&terminal, "domain", i + 1, inputs->list->len);
        one = define_one(command, options, &negotiator, inputs, input, &terminal);
        status = MAX(status, one);
    }
    vfm_terminal_clear(&terminal);
    return vfm_finish_output(&terminal, command, status);
}

int vfm_command_define(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "[FILE|DIRECTORY|-]...",
        .about = "Does what `vfiomem apply` does and defines the result through libvirt. With --domain\n"
                 "it takes the definition from libvirt and gives it back; a running guest keeps what\n"
                 "it has until its next start. A domain with errors left is not defined.\n"
                 "\n"
                 "Exit status: 0 defined, 1 errors are left, 2 unusable input or usage, or libvirt\n"
                 "refused.",
        .examples = "  vfiomem define guest.xml\n"
                    "  vfiomem define --domain=web --dry-run\n"
                    "  vfiomem define --connect=qemu+ssh://rack7/system --host=rack7.json guest.xml",
    };
    DefineOptions options = {.input = {.inactive = true, .connected = true}};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        {VFM_OPTION_FLAG, 'n', "dry-run", NULL, "show the changes as a unified diff, define nothing", &options.dry_run},
        {VFM_OPTION_FLAG, 0, "force", NULL, "define domains that have errors left, too", &options.force},
        VFM_EMULATOR_OPTION(&options.emulator),
        VFM_INPUT_OPTIONS(&options.input),
        VFM_HOST_OPTIONS(&options.host),
        {0},
    };
    int status;

    if (vfm_options_parse(&argc, argv, &usage, table, &status))
        status = define(argv[0], &options, argv + 1, argc - 1);
    if (options.input.domains)
        g_ptr_array_unref(options.input.domains);
    return status;
}
