/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings_memlock.c - is the locked memory the devices need allowed, now and after hot-plug. */
#include "amount.h"
#include "size_rounding.h"
#include "negotiation.h"

static bool only_on_demand(const VfmPlan *plan)
{
    for (guint i = 0; i < plan->containers->len; i++) {
        const VfmPlanContainer *container = g_ptr_array_index(plan->containers, i);

        if (container->pins && !container->on_demand)
            return false;
    }
    return true;
}

static unsigned pinning(const VfmPlan *plan)
{
    unsigned count = 0;

    for (guint i = 0; i < plan->containers->len; i++)
        count += ((const VfmPlanContainer *)g_ptr_array_index(plan->containers, i))->pins;
    return count;
}

static bool has_hidden_iommu(const VfmDomain *domain)
{
    for (guint i = 0; i < domain->iommus->len; i++)
        if (((const VfmIommu *)g_ptr_array_index(domain->iommus, i))->from_commandline)
            return true;
    return false;
}

/* Why libvirt's number is too small, and the line to look at. */
static const char *uncounted_cause(const VfmNegotiation *n, unsigned *line)
{
    const VfmDomain *domain = n->domain;
    unsigned version = n->options->libvirt_version;

    if (has_hidden_iommu(domain)) {
        *line = ((const VfmIommu *)g_ptr_array_index(domain->iommus, 0))->line;
        return "libvirt does not see a vIOMMU of qemu:commandline and counts guest memory once";
    }
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        *line = assigned->line;
        if (assigned->via == VFM_VIA_COMMANDLINE)
            return "libvirt does not see devices of qemu:commandline";
    }
    if (domain->iommus->len && version && version < VFM_VERSION(8, 7, 0))
        return "libvirt before 8.7.0 counts guest memory once, whatever the vIOMMU does";
    if (version && version < VFM_VERSION(7, 2, 0))
        return "libvirt before 7.2.0 does not count vDPA devices";
    return "libvirt counts guest memory for fewer contexts than there are";
}

static char *limit_fix(const VfmNegotiation *n, uint64_t memory)
{
    g_autofree char *wanted = vfm_amount(vfm_round_up(vfm_memlock_wanted(n->plan, n->domain, memory), VFM_KIB));

    return g_strdup_printf("set <memtune><hard_limit> to %s%s; `vfiomem apply` does it", wanted,
                           n->domain->hard_limit.set ? ", or remove it so that libvirt computes the limit" : "");
}

void vfm_find_memlock(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const VfmPlan *plan = n->plan;
    uint64_t total = vfm_rounded_total_memory(domain), full = total;
    VfmMaybe max = vfm_rounded_max_memory(domain);
    unsigned contexts = pinning(plan);
    VfmSeverity severity = only_on_demand(plan) ? VFM_WARNING : VFM_ERROR;
    g_autofree char *required = vfm_amount(plan->memlock_required);
    g_autofree char *limit = vfm_amount(plan->memlock_limit.value);
    g_autofree char *times =
        contexts > 1 ? g_strdup_printf(" (%u contexts, guest memory once in each)", contexts) : g_strdup("");
    const char *verb = severity == VFM_ERROR ? "must" : "may have to";

    if (max.set)
        full = MAX(full, max.value);
    if (!contexts || !plan->memlock_limit.set)
        return;
    if (plan->memlock_from == VFM_LIMIT_HARD_LIMIT) {
        uint64_t later = vfm_add(plan->memlock_required, vfm_mul(contexts, full - total));
        g_autofree char *later_text = vfm_amount(later);

        if (plan->memlock_required > plan->memlock_limit.value)
            vfm_note_as(n, severity, VFM_FINDING_MEMLOCK_HARD_LIMIT, domain->memtune_line, limit_fix(n, full),
                        "hard_limit of %s is also the limit of locked memory, and %s of guest memory %s be locked "
                        "for the assigned devices%s: %s",
                        limit, required, verb, times,
                        severity == VFM_ERROR ? "the start fails with ENOMEM" : "mapping can fail while it runs");
        else if (later > plan->memlock_limit.value)
            vfm_note(n, VFM_FINDING_MEMLOCK_HOTPLUG, domain->memtune_line, limit_fix(n, full),
                     "hard_limit of %s locks enough for the memory there is now, but hot-plug up to maxMemory needs "
                     "%s%s: QEMU aborts the guest when it can't map a new DIMM",
                     limit, later_text, times);
        return;
    }
    if (plan->memlock_required > plan->memlock_limit.value) {
        unsigned line = 0;
        const char *cause = uncounted_cause(n, &line);

        /* Where libvirt sets nothing, the service's own limit counts, and an administrator may have raised that. */
        if (!plan->memlock_set)
            severity = VFM_WARNING;
        vfm_note_as(n, severity, VFM_FINDING_MEMLOCK_UNCOUNTED, line, limit_fix(n, full),
                    "%s of guest memory %s be locked for the assigned devices%s, but %s %s: %s", required, verb, times,
                    plan->memlock_set ? "libvirt allows" : "libvirt sets no limit, and its service's own is", limit,
                    cause);
    }
}
