/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * define.c - `vfiomem define`: what `apply` would write, given to libvirt.
 */
#include "command.h"
#include "connection.h"
#include "mend_command.h"

#include <stdio.h>

typedef struct {
    const VfmMendOptions *options;
    bool force;
} Definer;

static bool define(const char *command, const VfmMended *mended, const VfmInput *input, int status, gpointer data,
                   GError **error)
{
    const Definer *definer = data;
    g_autofree char *domain = vfm_printable(mended->after->domain->name);

    if (status != VFM_EXIT_OK && !definer->force) {
        fprintf(stderr, "%s: %s: not defined: errors are left (--force defines it all the same)\n", command, domain);
        return true;
    }
    if (input->kind == VFM_INPUT_DOMAIN && !mended->changes->len) {
        printf("%s: as it is\n", domain);
        return true;
    }
    if (!vfm_connection_define(definer->options->input.connect, mended->text, error))
        return false;
    printf("%s: defined\n", domain);
    return true;
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
    VfmMendOptions options = {.input = {.inactive = true, .connected = true}};
    Definer definer = {.options = &options};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        {VFM_OPTION_FLAG, 'n', "dry-run", NULL, "show the changes as a unified diff, define nothing", &options.diff},
        {VFM_OPTION_FLAG, 0, "force", NULL, "define domains that have errors left, too", &definer.force},
        VFM_MEND_OPTIONS(&options),
        {0},
    };
    const VfmMendWriter writer = {.write = define, .data = &definer};

    return vfm_mend_command(argc, argv, &usage, table, &options, &writer);
}
