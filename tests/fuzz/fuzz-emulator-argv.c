/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arguments are cut from the input at newlines. A rewritten monitor must not be found a second time. */
#include "emulator_argv.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) argv = g_strsplit(text, "\n", 64);
    VfmMonitorArgument monitor;

    if (argv[0] && vfm_emulator_find_monitor(argv, &monitor)) {
        char *rewritten = vfm_emulator_rewrite_chardev(argv[monitor.index], monitor.fd);
        VfmMonitorArgument again;

        g_free(argv[monitor.index]);
        argv[monitor.index] = rewritten;
        if (vfm_emulator_find_monitor(argv, &again))
            g_assert(again.index != monitor.index);
    }
    return 0;
}
