/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * containers.c - how many DMA contexts the domain needs, and why.
 *
 * Devices share one container wherever they may: what is mapped is then mapped
 * and charged once. A context of its own is forced by a vIOMMU (each device
 * has its own IOVA space), by another backend, and by what does not go through
 * QEMU's VFIO at all (vDPA, the NVMe block driver).
 * Sources: QEMU hw/vfio/container*.c, iommufd.c, listener.c; util/vfio-helpers.c;
 * hw/virtio/vhost-vdpa.c; libvirt docs/formatdomain (iommufd since 12.1).
 */
#include "amount.h"
#include "negotiation.h"

#define TYPE1_DEFAULT_LIMIT 65535 /* vfio_iommu_type1's dma_entry_limit */
#define VFIO_USER_MAX_MAPS 65535  /* QEMU's max_dma_maps; a server can only lower it, or say that it has no limit */
#define KVM_MEMSLOTS 32764        /* x86: 32767 less three internal ones */
#define OTHER_MEMSLOTS 512        /* QEMU without KVM */
#define HEADROOM_HOTPLUG 64       /* kept free unless the policy says otherwise */
#define HEADROOM_PER_DEVICE 8     /* six BARs, one cut by MSI-X, one ROM */

bool vfm_assigned_counts(const VfmAssigned *assigned)
{
    return !assigned->unresolved && !assigned->unassigned;
}

bool vfm_assigned_is_vfio(const VfmAssigned *assigned)
{
    return assigned->kind == VFM_ASSIGNED_PCI || assigned->kind == VFM_ASSIGNED_MDEV ||
           assigned->kind == VFM_ASSIGNED_USER;
}

bool vfm_assigned_is_channel(const VfmAssigned *assigned)
{
    return assigned->kind == VFM_ASSIGNED_MDEV &&
           (g_strcmp0(assigned->model, "vfio-ap") == 0 || g_strcmp0(assigned->model, "vfio-ccw") == 0);
}

bool vfm_assigned_is_helpers(const VfmNegotiation *n, const VfmAssigned *assigned)
{
    if (n->domain->policy.owner != VFM_OWNER_HELPER)
        return false;
    if (assigned->kind == VFM_ASSIGNED_USER)
        return assigned->via != VFM_VIA_COMMANDLINE;
    return assigned->kind == VFM_ASSIGNED_PCI || assigned->kind == VFM_ASSIGNED_MDEV;
}

char *vfm_assigned_label(const VfmAssigned *assigned)
{
    const char *name = assigned->address ? assigned->address : assigned->alias;

    if (!name)
        name = assigned->network ? assigned->network : "without address";
    if (assigned->via == VFM_VIA_COMMANDLINE)
        return g_strdup_printf("command-line %s device %s", vfm_assigned_kind_name(assigned->kind), name);
    if (assigned->kind == VFM_ASSIGNED_MDEV)
        return g_strdup_printf("mediated device %s", name);
    return g_strdup_printf("%s %s", vfm_assigned_via_name(assigned->via), name);
}

/* libvirt before 12.1.0 drops <driver iommufd='yes'> without a word. */
static bool libvirt_knows_iommufd(const VfmPlanOptions *options)
{
    return !options->libvirt_version || options->libvirt_version >= VFM_VERSION(12, 1, 0);
}

/*
 * What the helper opens, as src/helper/device_context.c does: where it may choose, type1, because libvirt gives a guest
 * /dev/vfio/vfio and the group, but not /dev/iommu and the cdev. iommufd is left for hosts that have no container:
 * there VFIO is loaded with cdevs, and neither type1 nor the compatibility layer is there (host_read.c).
 */
static bool helper_uses_iommufd(const VfmNegotiation *n)
{
    const VfmPolicy *policy = &n->domain->policy;
    const VfmHost *host = n->host;

    if (policy->backend != VFM_BACKEND_AUTO)
        return policy->backend == VFM_BACKEND_IOMMUFD;
    return host && host->iommufd == VFM_ON && host->vfio_compat == VFM_ABSENT && !host->dma_entry_limit.set;
}

bool vfm_assigned_uses_iommufd(const VfmNegotiation *n, const VfmAssigned *assigned)
{
    if (vfm_assigned_is_helpers(n, assigned))
        return helper_uses_iommufd(n);
    if (assigned->kind != VFM_ASSIGNED_PCI && assigned->kind != VFM_ASSIGNED_MDEV)
        return false;
    if (assigned->via == VFM_VIA_COMMANDLINE)
        return assigned->iommufd;
    return (assigned->iommufd || n->domain->iommufd_domain) && libvirt_knows_iommufd(n->options);
}

static void container_free(gpointer data)
{
    VfmPlanContainer *container = data;

    g_free(container->reason);
    g_array_unref(container->assigned);
    g_free(container);
}

static VfmPlanContainer *add_container(VfmPlan *plan, const VfmAssigned *first, VfmBackendKind backend, char *reason)
{
    VfmPlanContainer *container = g_new0(VfmPlanContainer, 1);

    container->backend = backend;
    container->kind = first->kind;
    container->on_demand = true;
    container->reason = reason;
    container->assigned = g_array_new(FALSE, FALSE, sizeof(unsigned));
    g_ptr_array_add(plan->containers, container);
    return container;
}

/* A vfio-user server that is not ours maps and pins in a process of its own; QEMU only tells it where memory is. */
static bool is_foreign(const VfmNegotiation *n, const VfmAssigned *assigned)
{
    return assigned->kind == VFM_ASSIGNED_USER && !vfm_assigned_is_helpers(n, assigned);
}

static void join(const VfmNegotiation *n, VfmPlanContainer *container, const VfmAssigned *assigned, unsigned index)
{
    g_array_append_val(container->assigned, index);
    if (vfm_assigned_is_channel(assigned) || is_foreign(n, assigned))
        return;
    container->pins = true;
    if (assigned->kind != VFM_ASSIGNED_MDEV)
        container->on_demand = false;
}

/* Why the context of a device that can't share is one of its own; NULL if it may share. */
static char *own_reason(const VfmNegotiation *n, const VfmAssigned *assigned)
{
    if (assigned->kind == VFM_ASSIGNED_VDPA)
        return g_strdup("vDPA maps through its own device, not through VFIO");
    if (assigned->kind == VFM_ASSIGNED_NVME)
        return g_strdup("the NVMe block driver has a container of its own");
    if (is_foreign(n, assigned))
        return g_strdup("vfio-user: each device has its own server and container");
    /* The helper has one container whatever the guest has; findings_viommu.c says where that is wrong. */
    if (n->domain->iommus->len && n->domain->policy.owner != VFM_OWNER_HELPER) {
        const VfmIommu *iommu = g_ptr_array_index(n->domain->iommus, 0);

        return g_strdup_printf("the %s vIOMMU gives each device an IOVA space of its own",
                               vfm_iommu_model_name(iommu->model));
    }
    return NULL;
}

static void form_containers(VfmNegotiation *n)
{
    VfmPlanContainer *shared[2] = {NULL, NULL}; /* type1, iommufd */

    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);
        bool iommufd = vfm_assigned_uses_iommufd(n, assigned);
        VfmBackendKind backend = iommufd ? VFM_BACKEND_IOMMUFD : VFM_BACKEND_TYPE1;
        char *own;

        if (!vfm_assigned_counts(assigned))
            continue;
        own = own_reason(n, assigned);
        if (own) {
            bool first = !n->plan->containers->len;

            if (first)
                g_clear_pointer(&own, g_free);
            join(n, add_container(n->plan, assigned, backend, own), assigned, i);
            continue;
        }
        if (!shared[iommufd]) {
            char *why = NULL;

            if (n->plan->containers->len)
                why = g_strdup_printf("%s devices can't share a context with those of another kind",
                                      vfm_backend_kind_name(backend));
            shared[iommufd] = add_container(n->plan, assigned, backend, why);
        }
        join(n, shared[iommufd], assigned, i);
    }
}

/* What the kernel lets one context of @backend hold. */
static VfmMaybe kernel_limit(const VfmNegotiation *n, VfmBackendKind backend)
{
    if (backend == VFM_BACKEND_IOMMUFD || (n->host && n->host->vfio_compat == VFM_ON))
        return VFM_NONE;
    if (n->host && n->host->dma_entry_limit.set)
        return n->host->dma_entry_limit;
    return VFM_SOME(TYPE1_DEFAULT_LIMIT);
}

static VfmMaybe smaller(VfmMaybe a, VfmMaybe b)
{
    if (!a.set || !b.set)
        return a.set ? a : b;
    return a.value <= b.value ? a : b;
}

/* What the helper tells QEMU as max_dma_maps of a container that holds @budget, by which QEMU's own check goes; with no
 * limit it says 0, and QEMU does not check. */
static VfmMaybe offered(VfmMaybe budget)
{
    return budget.set ? smaller(budget, VFM_SOME(VFIO_USER_MAX_MAPS)) : VFM_NONE;
}

/* The context whose limit decides: the tightest of VFIO's. */
static void negotiate_budget(VfmNegotiation *n)
{
    const VfmPolicy *policy = &n->domain->policy;
    bool helper = policy->owner == VFM_OWNER_HELPER, vfio = false;
    VfmPlan *plan = n->plan;

    for (guint i = 0; i < plan->containers->len; i++) {
        VfmPlanContainer *container = g_ptr_array_index(plan->containers, i);
        unsigned index = g_array_index(container->assigned, unsigned, 0);
        const VfmAssigned *first = g_ptr_array_index(n->domain->assigned, index);
        VfmMaybe limit;

        if (container->kind == VFM_ASSIGNED_VDPA || container->kind == VFM_ASSIGNED_NVME)
            continue;
        if (!vfio || container->backend == VFM_BACKEND_TYPE1)
            plan->backend = container->backend;
        vfio = true;
        limit = is_foreign(n, first) ? VFM_SOME(VFIO_USER_MAX_MAPS) : kernel_limit(n, container->backend);
        container->budget = smaller(limit, policy->budget_mappings);
        plan->budget = smaller(plan->budget, container->budget);
        plan->qemu_limit =
            smaller(plan->qemu_limit, vfm_assigned_is_helpers(n, first) ? offered(container->budget) : limit);
    }
    if (!vfio && policy->present) {
        /* Nothing yet, but a device is expected: plan for it. */
        bool iommufd = helper ? helper_uses_iommufd(n) : policy->backend == VFM_BACKEND_IOMMUFD;
        VfmMaybe limit;

        plan->backend = iommufd ? VFM_BACKEND_IOMMUFD : VFM_BACKEND_TYPE1;
        limit = kernel_limit(n, plan->backend);
        plan->budget = smaller(limit, policy->budget_mappings);
        plan->qemu_limit = helper ? offered(plan->budget) : limit;
    }
    n->budgeted = vfio || policy->present;
}

/* Mappings kept free: DIMM slots that are empty, BARs of the devices, and devices still to come. */
static uint64_t default_headroom(const VfmNegotiation *n)
{
    uint64_t used = 0, empty = 0, devices = 0;

    for (guint i = 0; i < n->domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(n->domain->memory_devices, i);

        used += device->model == VFM_MEM_DIMM || device->model == VFM_MEM_NVDIMM;
    }
    if (n->domain->slots.set && n->domain->slots.value > used)
        empty = n->domain->slots.value - used;
    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);

        devices += vfm_assigned_counts(assigned) && vfm_assigned_is_vfio(assigned);
    }
    return vfm_add(empty, devices * HEADROOM_PER_DEVICE + HEADROOM_HOTPLUG);
}

void vfm_negotiate_containers(VfmNegotiation *n)
{
    VfmPlan *plan = n->plan;

    plan->containers = g_ptr_array_new_with_free_func(container_free);
    plan->backend = VFM_BACKEND_TYPE1;
    form_containers(n);
    negotiate_budget(n);
    plan->headroom =
        n->domain->policy.budget_headroom.set ? n->domain->policy.budget_headroom.value : default_headroom(n);
    if (n->domain->accel != VFM_ACCEL_KVM)
        plan->memslots = OTHER_MEMSLOTS;
    else
        plan->memslots = n->host && n->host->kvm_memslots.set ? n->host->kvm_memslots.value : KVM_MEMSLOTS;
}
