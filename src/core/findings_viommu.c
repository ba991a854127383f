/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings_viommu.c - what a virtual IOMMU changes for assigned devices. */
#include "amount.h"
#include "size_rounding.h"
#include "machine_version.h"
#include "negotiation.h"

bool vfm_iommu_lacks_caching_mode(const VfmIommu *iommu)
{
    return iommu->model == VFM_IOMMU_INTEL && iommu->caching_mode != VFM_ON;
}

/* Assigned devices whose DMA the vIOMMU translates: VFIO's. */
static unsigned vfio_devices(const VfmNegotiation *n)
{
    unsigned count = 0;

    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);

        count += vfm_assigned_counts(assigned) && vfm_assigned_is_vfio(assigned) && !vfm_assigned_is_channel(assigned);
    }
    return count;
}

static void find_notifier(VfmNegotiation *n, const VfmIommu *iommu)
{
    bool qemu = n->options->qemu_version >= VFM_VERSION(10, 2, 0);

    if (iommu->model == VFM_IOMMU_INTEL && iommu->caching_mode != VFM_ON)
        vfm_note(n, VFM_FINDING_VIOMMU_CACHING_MODE, iommu->line,
                 iommu->from_commandline
                     ? g_strdup("add caching-mode=on to the intel-iommu device; `vfiomem apply` does it")
                     : g_strdup("set caching_mode='on' in <iommu><driver>; `vfiomem apply` does it"),
                 "the intel vIOMMU has caching mode off: QEMU would not learn what the guest maps, so assigned devices "
                 "are refused");
    else if (iommu->model == VFM_IOMMU_SMMUV3 || (iommu->model == VFM_IOMMU_AMD && !qemu))
        vfm_note(
            n, VFM_FINDING_VIOMMU_NO_MAP_NOTIFIER, iommu->line, g_strdup("use the virtio or intel vIOMMU, or none"),
            "the emulated %s vIOMMU does not tell QEMU what the guest maps (\"requires iommu notifier which is not "
            "currently supported\"): assigned devices behind it don't start, unless it is accelerated by the host",
            vfm_iommu_model_name(iommu->model));
}

/* Highest address of guest memory + 1. */
static uint64_t memory_top(const VfmPlan *plan)
{
    const VfmRange *last;

    if (!plan->map_known || !plan->map->len)
        return 0;
    last = &g_array_index(plan->map, VfmRange, plan->map->len - 1);
    return last->start + last->size;
}

static void find_width(VfmNegotiation *n, const VfmIommu *iommu)
{
    unsigned machine = vfm_machine_version(n->domain->machine_name);
    uint64_t bits = machine && machine < VFM_VERSION(9, 2, 0) ? 39 : 48, top = memory_top(n->plan);

    if (iommu->model != VFM_IOMMU_INTEL)
        return;
    if (iommu->aw_bits.set)
        bits = iommu->aw_bits.value;
    if (bits >= 64 || top <= UINT64_C(1) << bits)
        return;
    vfm_note(n, VFM_FINDING_VIOMMU_ADDRESS_WIDTH, iommu->line, g_strdup("set aw_bits='48' in <iommu><driver>"),
             "guest memory reaches up to 0x%" G_GINT64_MODIFIER "x, the intel vIOMMU translates %" G_GUINT64_FORMAT
             " bits: devices can't reach memory above that",
             top - 1, bits);
}

static void find_groups(VfmNegotiation *n)
{
    const GPtrArray *all = n->domain->assigned;
    g_autoptr(GHashTable) first_of = g_hash_table_new(NULL, NULL); /* group -> its first device here */

    for (guint i = 0; i < all->len; i++) {
        const VfmAssigned *a = g_ptr_array_index(all, i);
        const VfmIommuGroup *group = a->kind == VFM_ASSIGNED_PCI ? vfm_host_find_group(n->host, a->address) : NULL;
        const VfmAssigned *first;

        if (!group || !vfm_assigned_counts(a))
            continue;
        first = g_hash_table_lookup(first_of, group);
        if (!first)
            g_hash_table_insert(first_of, (gpointer)group, (gpointer)a);
        else
            vfm_note(
                n, VFM_FINDING_VIOMMU_SHARED_GROUP, a->line,
                g_strdup("assign only one device of the group, or remove the <iommu>"),
                "%s and %s are both in IOMMU group %u, but the vIOMMU gives each an IOVA space of its own: \"group "
                "%u used in multiple address spaces\"",
                a->address, first->address, group->id, group->id);
    }
}

static void find_memlock_share(VfmNegotiation *n, const VfmIommu *iommu, unsigned devices)
{
    const VfmPlan *plan = n->plan;
    g_autofree char *required = vfm_amount(plan->memlock_required);
    g_autofree char *memory = vfm_amount(vfm_rounded_total_memory(n->domain));

    if (devices < 2 || (plan->memlock_limit.set && plan->memlock_required > plan->memlock_limit.value))
        return; /* one device costs nothing extra; too little is an error of its own */
    vfm_note(n, VFM_FINDING_VIOMMU_MEMLOCK, iommu->line, NULL,
             "with a vIOMMU guest memory of %s counts as locked once for each of the %u devices: %s in all", memory,
             devices, required);
}

/* Whether the guest can give devices other addresses than its own with it. An intel one can be there for interrupts
 * alone: QEMU then ignores what switches translation on (hw/i386/intel_iommu.c). libvirt knows that from 10.7. */
static bool translates(const VfmNegotiation *n, const VfmIommu *iommu)
{
    unsigned libvirt = n->options->libvirt_version;
    bool understood = iommu->from_commandline || !libvirt || libvirt >= VFM_VERSION(10, 7, 0);

    return iommu->model != VFM_IOMMU_INTEL || iommu->dma_translation != VFM_OFF || !understood;
}

/* The helper has one container for all devices of the guest, at guest physical addresses: it can't follow a vIOMMU. */
static void find_for_helper(VfmNegotiation *n)
{
    static const char consequence[] = "but the helper maps all devices of the guest in one container: each would reach "
                                      "what the guest maps for another, and memory it took back";
    static const char interrupts[] = "intremap='on' eim='on' dma_translation='off'/>";
    const VfmDomain *domain = n->domain;
    const VfmPolicy *policy = &domain->policy;

    for (guint i = 0; i < domain->iommus->len; i++) {
        const VfmIommu *iommu = g_ptr_array_index(domain->iommus, i);
        const char *model = iommu->model == VFM_IOMMU_OTHER && iommu->model_name ? iommu->model_name
                                                                                 : vfm_iommu_model_name(iommu->model);

        if (!translates(n, iommu))
            continue;
        if (iommu->implicit)
            vfm_note(
                n, VFM_FINDING_HELPER_VIOMMU, policy->mapping_line,
                g_strdup_printf("write <iommu model='intel'><driver %s</iommu>, which only remaps interrupts (libvirt "
                                "10.7), give the guest at most 255 vCPUs, or set owner='qemu'",
                                interrupts),
                "libvirt adds an intel vIOMMU to a q35 guest of more than 255 vCPUs, which gives each device an "
                "IOVA space of its own, %s",
                consequence);
        else
            vfm_note(n, VFM_FINDING_HELPER_VIOMMU, iommu->line,
                     iommu->model == VFM_IOMMU_INTEL && !iommu->from_commandline
                         ? g_strdup_printf("remove the <iommu>, let it only remap interrupts by <driver %s (libvirt "
                                           "10.7), or set owner='qemu'",
                                           interrupts)
                         : g_strdup("remove the vIOMMU, or set owner='qemu'"),
                     "the %s vIOMMU gives each device an IOVA space of its own, %s", model, consequence);
        return;
    }
    /* Their PCI host bridges translate always. */
    if (domain->arch == VFM_ARCH_PPC64 || domain->arch == VFM_ARCH_S390X)
        vfm_note(n, VFM_FINDING_HELPER_VIOMMU, policy->mapping_line, g_strdup("set owner='qemu'"),
                 "%s guests have a vIOMMU in front of every PCI device, %s", vfm_arch_name(domain->arch), consequence);
}

void vfm_find_viommu(VfmNegotiation *n)
{
    const VfmIommu *iommu = n->domain->iommus->len ? g_ptr_array_index(n->domain->iommus, 0) : NULL;
    unsigned devices = vfio_devices(n);

    if (n->domain->policy.owner == VFM_OWNER_HELPER) {
        find_for_helper(n); /* the rest is about QEMU's own mappings */
        return;
    }
    if (!iommu || !devices)
        return;
    find_notifier(n, iommu);
    find_width(n, iommu);
    if (n->host)
        find_groups(n);
    find_memlock_share(n, iommu, devices);
    for (guint i = 0; i < n->plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, i);

        if (memory->model == VFM_MEM_VIRTIO_MEM) {
            g_autofree char *label = vfm_memory_label(n->domain, i);

            vfm_note(n, VFM_FINDING_VIOMMU_VIRTIO_MEM, memory->line, NULL,
                     "%s with a vIOMMU: once the guest uses it, mappings are the guest's own, not one a block; it can "
                     "run the container out of mappings and pin memory it has given back, bounded by the memlock "
                     "limit alone",
                     label);
            break;
        }
    }
}
