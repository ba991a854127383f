/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * apply.c - `vfiomem apply`: the XML with what must change changed.
 */
#include "command.h"
#include "file_replace.h"
#include "mend_command.h"

#include <stdio.h>
#include <string.h>

static const char *wrong_use(const VfmMendOptions *options, const VfmInputs *inputs, gpointer data)
{
    const bool in_place = *(const bool *)data;

    if (options->diff && in_place)
        return "only one of --diff and --in-place can be given";
    if (!options->diff && !in_place && inputs->list->len != 1)
        return "of several domains the result goes nowhere; give --in-place or --diff, or one at a time";
    for (guint i = 0; in_place && i < inputs->list->len; i++) {
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

static bool write_mended(const char *command, const VfmMended *mended, const VfmInput *input, int status, gpointer data,
                         GError **error)
{
    const bool in_place = *(const bool *)data;

    (void)command;
    (void)status;
    if (!in_place) {
        fputs(mended->text, stdout); /* vfm_finish_output() sees whether that worked */
        return true;
    }
    return !mended->changes->len || vfm_file_replace(input->name, mended->text, strlen(mended->text), error);
}

int vfm_command_apply(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "[FILE|DIRECTORY|-]...",
        .about = "Writes the domain XML with what must change changed, and nothing else: block and\n"
                 "requested sizes, free page reporting and autodeflate that do nothing, the locked\n"
                 "memory limit, memory and emulator where the policy asks for the helper. Comments,\n"
                 "order and everything foreign stay. Applying again changes nothing. What was changed\n"
                 "and why is told on standard error. Takes several domains with --diff or --in-place.\n"
                 "\n"
                 "Exit status: 0 no errors are left, 1 errors are left that need a person, 2 unusable\n"
                 "input or usage.",
        .examples = "  vfiomem apply --diff guest.xml\n"
                    "  vfiomem apply --in-place guest.xml\n"
                    "  virsh dumpxml --inactive web | vfiomem apply | virsh define /dev/stdin",
    };
    VfmMendOptions options = {.input.inactive = true};
    bool in_place = false;
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        {VFM_OPTION_FLAG, 0, "diff", NULL, "show the changes as a unified diff instead", &options.diff},
        {VFM_OPTION_FLAG, 'i', "in-place", NULL, "change the files themselves", &in_place},
        VFM_MEND_OPTIONS(&options),
        {0},
    };
    const VfmMendWriter writer = {.wrong_use = wrong_use, .write = write_mended, .data = &in_place};

    return vfm_mend_command(argc, argv, &usage, table, &options, &writer);
}
