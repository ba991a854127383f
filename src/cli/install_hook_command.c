/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * install_hook_command.c - `vfiomem install-hook`: libvirt asks before each start.
 */
#include "command.h"
#include "install_hook.h"
#include "options.h"
#include "terminal.h"

#include <stdio.h>

int vfm_command_install_hook(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "",
        .about = "Lets libvirt run vfiomem's check before each start: guests with errors are refused\n"
                 "with one line that says why. Puts a link into libvirt's hooks/qemu.d, beside the\n"
                 "hooks that are there, and says whether the daemon has to be restarted.\n"
                 "\n"
                 "Exit status: 0 done, 2 not possible.",
        .examples = "  vfiomem install-hook --dry-run\n"
                    "  vfiomem install-hook --remove",
    };
    VfmHookInstall wish = {0};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        {VFM_OPTION_FLAG, 'n', "dry-run", NULL, "say what would be done, do nothing", &wish.dry_run},
        {VFM_OPTION_FLAG, 0, "remove", NULL, "take the hook away again", &wish.remove},
        {VFM_OPTION_TEXT, 0, "program", "PATH", "link to this vfiomem-hook instead of the installed one",
         &wish.program},
        {VFM_OPTION_TEXT, 0, "root", "DIR", "install below DIR, as packages are built", &wish.root},
        {0},
    };
    g_autoptr(GString) report = g_string_new(NULL);
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    int status;

    if (!vfm_options_parse(&argc, argv, &usage, table, &status))
        return status;
    vfm_terminal_init(&terminal);
    if (!vfm_hook_install(&wish, report, &error)) {
        vfm_complain(&terminal, argv[0], error->message);
        return VFM_EXIT_UNUSABLE;
    }
    fputs(report->str, stdout);
    return vfm_finish_output(&terminal, argv[0], VFM_EXIT_OK);
}
