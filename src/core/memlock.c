/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memlock.c - locked memory the devices need, and what libvirt will allow.
 *
 * type1 charges every page of every mapping to the process once per container
 * (Linux drivers/vfio/vfio_iommu_type1.c), iommufd once per IOAS; libvirt sets
 * RLIMIT_MEMLOCK by a formula of its own (src/qemu/qemu_domain.c,
 * qemuDomainGetMemLockLimitBytes). Where the two count differently, guests
 * fail. docs/negotiation.md has both with their sources.
 */
#include "amount.h"
#include "size_rounding.h"
#include "negotiation.h"

#define LIBVIRT_SLACK VFM_GIB                 /* libvirt's flat allowance for MMIO */
#define SERVICE_LIMIT (64 * VFM_MIB)          /* LimitMEMLOCK of libvirtd.service and virtqemud.service */
#define PER_DEVICE_SINCE VFM_VERSION(8, 7, 0) /* vIOMMU: one share per VFIO device */
#define VDPA_COUNTED_SINCE VFM_VERSION(7, 2, 0)

/* What one context maps and so charges: everything in the map, at full size. */
static uint64_t mapped_bytes(const VfmPlan *plan, const VfmDomain *domain)
{
    uint64_t bytes = 0;

    for (guint i = 0; i < plan->map->len; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);

        if (range->device < 0)
            bytes = vfm_add(bytes, range->size);
    }
    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);
        uint64_t size = memory->actual;

        if (memory->model == VFM_MEM_SGX_EPC)
            continue; /* protected memory, which VFIO leaves out */
        if (memory->model == VFM_MEM_NVDIMM && device->label.set && device->label.value < size)
            size -= device->label.value; /* the label is no guest memory */
        bytes = vfm_add(bytes, size);
    }
    return bytes;
}

static unsigned pinning_containers(const VfmPlan *plan)
{
    unsigned count = 0;

    for (guint i = 0; i < plan->containers->len; i++)
        count += ((const VfmPlanContainer *)g_ptr_array_index(plan->containers, i))->pins;
    return count;
}

/* libvirt's factor F: how many times guest memory it allows. */
static uint64_t libvirt_factor(const VfmNegotiation *n, unsigned version)
{
    const VfmDomain *domain = n->domain;
    uint64_t vfio = 0, vdpa = 0, nvme = 0, iommus = 0;

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        if (assigned->via == VFM_VIA_COMMANDLINE || assigned->unresolved)
            continue; /* libvirt does not see the one, and knows the other only when it resolves it */
        /* The helper's are hostdevs to libvirt, whatever QEMU has in their place. */
        vfio += assigned->kind == VFM_ASSIGNED_PCI || assigned->kind == VFM_ASSIGNED_MDEV ||
                vfm_assigned_is_helpers(n, assigned);
        vdpa += assigned->kind == VFM_ASSIGNED_VDPA;
        nvme += assigned->kind == VFM_ASSIGNED_NVME;
    }
    for (guint i = 0; i < domain->iommus->len; i++)
        iommus += !((const VfmIommu *)g_ptr_array_index(domain->iommus, i))->from_commandline;
    if (version && version < PER_DEVICE_SINCE)
        iommus = 0;
    if (version && version < VDPA_COUNTED_SINCE)
        vdpa = 0;
    return vdpa + nvme + (vfio ? (iommus ? vfio : 1) : 0);
}

uint64_t vfm_memlock_wanted(const VfmPlan *plan, const VfmDomain *domain, uint64_t memory)
{
    return vfm_add(vfm_mul(MAX(pinning_containers(plan), 1), memory), LIBVIRT_SLACK);
}

void vfm_negotiate_memlock(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    VfmPlan *plan = n->plan;
    uint64_t factor = libvirt_factor(n, n->options->libvirt_version);

    plan->memlock_required = vfm_mul(pinning_containers(plan), mapped_bytes(plan, domain));
    plan->memlock_limit = VFM_NONE;
    plan->memlock_from = VFM_LIMIT_LIBVIRT;
    if (domain->hard_limit.set) {
        plan->memlock_limit = domain->hard_limit;
        plan->memlock_from = VFM_LIMIT_HARD_LIMIT;
    } else if (domain->backing.locked) {
        plan->memlock_from = VFM_LIMIT_UNLIMITED;
    } else if (domain->arch == VFM_ARCH_PPC64) {
        /* a formula of its own that is generous to the IOMMU tables; not modelled, so no limit is claimed */
    } else if (factor) {
        plan->memlock_set = true;
        plan->memlock_limit = VFM_SOME(vfm_add(vfm_mul(factor, vfm_rounded_counted_memory(domain)), LIBVIRT_SLACK));
    } else if (plan->memlock_required) {
        plan->memlock_limit = VFM_SOME(SERVICE_LIMIT);
    }
}
