/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_command.c - `vfiomem host`: what a host offers to guests with assigned devices.
 */
#include "command.h"
#include "host_json.h"
#include "host_read.h"
#include "host_text.h"
#include "negotiate.h"
#include "survey.h"

#include <stdio.h>

int vfm_command_host(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "",
        .about = "Shows what this host offers: IOMMU groups with their devices, drivers and reserved\n"
                 "regions, VFIO's mapping limit, page sizes. As JSON it is a file that the other\n"
                 "commands take with --host, to plan for a host one is not on.\n"
                 "\n"
                 "Exit status: 0 shown, 2 not possible, or the command was used wrongly.",
        .examples = "  vfiomem host\n"
                    "  ssh rack7 vfiomem host --format=json > rack7.json\n"
                    "  vfiomem host --host=rack7.json",
    };
    const char *sysfs = NULL, *file = NULL;
    unsigned format = VFM_FORMAT_HUMAN;
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        VFM_FORMAT_OPTION(&format),
        {VFM_OPTION_TEXT, 0, "sysfs", "DIR", "the host whose /sys and /proc are in DIR", &sysfs},
        {VFM_OPTION_TEXT, 0, "host", "FILE", "the host that was saved in FILE", &file},
        {0},
    };
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmHost) host = NULL;
    VfmTerminal terminal;
    int status;

    if (!vfm_options_parse(&argc, argv, &usage, table, &status))
        return status;
    if (sysfs && file)
        return vfm_usage_error(argv[0], "only one of --sysfs and --host can be given");
    vfm_terminal_init(&terminal);
    host = file ? vfm_host_file_load(file, &error) : vfm_host_read(sysfs, &error);
    if (!host) {
        vfm_complain(&terminal, argv[0], error->message);
        return VFM_EXIT_UNUSABLE;
    }
    if (format == VFM_FORMAT_JSON) {
        g_autofree char *text = vfm_host_to_json(host);

        fputs(text, stdout);
    } else {
        vfm_host_print(&terminal, host);
    }
    return vfm_finish_output(&terminal, argv[0], VFM_EXIT_OK);
}
