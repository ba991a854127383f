/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* plan_domain.h - domains and look-ups that tests of negotiation share. */
#pragma once

#include "amount.h"
#include "plan.h"

/* A KVM q35 guest with one NUMA cell and room for memory devices. */
static inline VfmDomain *plan_domain(uint64_t boot, uint64_t max)
{
    VfmDomain *domain = vfm_domain_new();
    VfmCell cell = {.id = 0, .memory = boot};

    domain->accel = VFM_ACCEL_KVM;
    domain->arch = VFM_ARCH_X86_64;
    domain->machine = VFM_MACHINE_Q35;
    domain->machine_name = g_strdup("pc-q35-7.2");
    domain->boot = domain->memory = boot;
    if (max) {
        domain->max_memory = VFM_SOME(max);
        domain->slots = VFM_SOME(0);
    }
    g_array_append_val(domain->cells, cell);
    return domain;
}

static inline VfmAssigned *plan_hostdev(VfmDomain *domain, const char *address)
{
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);

    assigned->address = g_strdup(address);
    return assigned;
}

static inline VfmMemoryDevice *plan_virtio_mem(VfmDomain *domain, uint64_t size, uint64_t block)
{
    VfmMemoryDevice *device = vfm_domain_add_memory(domain, VFM_MEM_VIRTIO_MEM, size);

    device->node = VFM_SOME(0);
    device->requested = VFM_SOME(0);
    if (block)
        device->block = VFM_SOME(block);
    domain->memory += size;
    return device;
}

static inline const VfmFinding *plan_finding(const VfmPlan *plan, const char *id)
{
    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(plan->findings, i);

        if (g_str_equal(finding->id, id))
            return finding;
    }
    return NULL;
}

/* How many findings of @severity. */
static inline unsigned plan_count(const VfmPlan *plan, VfmSeverity severity)
{
    unsigned count = 0;

    for (guint i = 0; i < plan->findings->len; i++)
        count += ((const VfmFinding *)g_ptr_array_index(plan->findings, i))->severity == severity;
    return count;
}

static inline const VfmPlanMemory *plan_memory(const VfmPlan *plan, unsigned index)
{
    return g_ptr_array_index(plan->memory, index);
}
