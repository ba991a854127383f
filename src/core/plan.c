/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan.h"

#include "negotiation.h"

G_GNUC_PRINTF(6, 0)
static void note(VfmNegotiation *n, VfmSeverity severity, VfmFindingId id, unsigned line, char *fix, const char *format,
                 va_list args)
{
    g_autofree char *message = g_strdup_vprintf(format, args);

    vfm_findings_add(n->plan->findings, severity, vfm_finding_id_name(id), line, fix, "%s", message);
    g_free(fix);
}

void vfm_note(VfmNegotiation *n, VfmFindingId id, unsigned line, char *fix, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    note(n, vfm_finding_id_severity(id), id, line, fix, format, args);
    va_end(args);
}

void vfm_note_as(VfmNegotiation *n, VfmSeverity severity, VfmFindingId id, unsigned line, char *fix, const char *format,
                 ...)
{
    va_list args;

    va_start(args, format);
    note(n, severity, id, line, fix, format, args);
    va_end(args);
}

VfmPlan *vfm_plan_new(const VfmDomain *domain, const VfmPlanOptions *options)
{
    static const VfmPlanOptions nothing_known;
    g_autoptr(VfmPlan) plan = g_new0(VfmPlan, 1);
    VfmNegotiation n = {.domain = domain, .options = options ? options : &nothing_known, .plan = plan};

    n.host = n.options->host;
    plan->findings = vfm_findings_new();
    vfm_negotiate_containers(&n);
    vfm_negotiate_memory(&n);
    vfm_negotiate_memlock(&n);
    vfm_negotiate_holds(&n);
    vfm_find_memory(&n);
    vfm_find_budget(&n);
    vfm_find_memlock(&n);
    vfm_find_discards(&n);
    vfm_find_viommu(&n);
    vfm_find_host(&n);
    vfm_find_policy(&n);
    vfm_findings_sort(plan->findings);
    vfm_layout_clear(&n.layout);
    return g_steal_pointer(&plan);
}

void vfm_plan_free(VfmPlan *plan)
{
    if (!plan)
        return;
    g_clear_pointer(&plan->map, g_array_unref);
    g_clear_pointer(&plan->memory, g_ptr_array_unref);
    g_clear_pointer(&plan->containers, g_ptr_array_unref);
    g_clear_pointer(&plan->holds, g_array_unref);
    g_clear_pointer(&plan->findings, g_ptr_array_unref);
    g_free(plan);
}

bool vfm_plan_has_errors(const VfmPlan *plan)
{
    for (guint i = 0; i < plan->findings->len; i++)
        if (((const VfmFinding *)g_ptr_array_index(plan->findings, i))->severity == VFM_ERROR)
            return true;
    return false;
}
