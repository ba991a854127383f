/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* QEMU's arguments, cut from the input at newlines, give a domain that negotiation can judge, whatever they are. */
#include "arguments.h"
#include "plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autofree char *text = g_strndup((const char *)data, size);
    g_auto(GStrv) argv = g_strsplit(text, "\n", 64);
    g_autoptr(VfmQemuArguments) arguments = vfm_qemu_arguments_read(argv);
    VfmPlanOptions options = {.qemu_version = VFM_VERSION(7, 2, 22)};
    g_autoptr(VfmPlan) plan = vfm_plan_new(arguments->domain, &options);

    g_assert(plan->findings);
    return 0;
}
