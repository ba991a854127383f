/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* print-map FILE - the guest memory map we expect of a domain, a range a line as QEMU's "info mtree -f" has it. */
#include <stdio.h>

#include "domain_xml.h"
#include "plan.h"

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    g_autoptr(VfmDomain) domain = NULL;
    g_autoptr(VfmPlan) plan = NULL;
    gsize length = 0;

    if (argc != 2 || !g_file_get_contents(argv[1], &text, &length, &error) ||
        !(domain = vfm_domain_xml_parse(text, length, argv[1], &error))) {
        fprintf(stderr, "print-map: %s\n", error ? error->message : "one file, please");
        return 2;
    }
    plan = vfm_plan_new(domain, NULL);
    for (guint i = 0; i < plan->map->len; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);

        printf("%016" G_GINT64_MODIFIER "x-%016" G_GINT64_MODIFIER "x %s\n", range->start,
               range->start + range->size - 1, range->kind == VFM_RANGE_ROM ? "rom" : "ram");
    }
    return 0;
}
