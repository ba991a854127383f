/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * findings_host.c - the assigned devices on this host: groups, reserved
 * regions, interrupt remapping, iommufd.
 * Sources: Linux drivers/vfio, drivers/iommu/iommu.c; docs/negotiation.md.
 */
#include <string.h>

#include "amount.h"
#include "negotiation.h"

static const char *reserved_name(VfmReservedType type)
{
    static const char *const names[] = {"direct", "direct-relaxable", "reserved", "msi"};

    return (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}

static bool is_assigned(const VfmDomain *domain, const char *address, const VfmAssigned **which)
{
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        if (assigned->address && g_ascii_strcasecmp(assigned->address, address) == 0) {
            *which = assigned;
            return true;
        }
    }
    return false;
}

/* A driver that leaves the group viable: VFIO's own, stubs, and what drives bridges. */
static bool driver_is_harmless(const VfmHostDevice *device)
{
    const char *driver = device->driver;

    if (!driver || g_str_has_prefix(driver, "vfio") || strstr(driver, "vfio") || g_str_equal(driver, "pci-stub") ||
        g_str_equal(driver, "pcieport"))
        return true;
    return device->class_code.set && device->class_code.value >> 8 == 0x0604;
}

static void find_viability(VfmNegotiation *n, const VfmAssigned *assigned, const VfmIommuGroup *group)
{
    for (guint i = 0; i < group->devices->len; i++) {
        const VfmHostDevice *device = g_ptr_array_index(group->devices, i);
        const VfmAssigned *member = NULL;

        if (driver_is_harmless(device) || (is_assigned(n->domain, device->address, &member) && member->managed))
            continue;
        vfm_note(
            n, VFM_FINDING_GROUP_NOT_VIABLE, assigned->line,
            g_strdup_printf("assign %s too with managed='yes', or unbind it: `virsh nodedev-detach`", device->address),
            "%s: IOMMU group %u is not viable while %s is bound to host driver %s", assigned->address, group->id,
            device->address, device->driver);
        return;
    }
}

static bool overlaps(const VfmReserved *region, uint64_t start, uint64_t size)
{
    return size && region->start <= start + size - 1 && region->end >= start;
}

/* One finding for each reserved region that guest memory covers. */
static bool find_reserved(VfmNegotiation *n, const VfmAssigned *assigned, const VfmIommuGroup *group,
                          const VfmReserved *region)
{
    const VfmPlan *plan = n->plan;

    if (region->type == VFM_RESERVED_DIRECT_RELAXABLE)
        return false;
    for (guint i = 0; i < plan->map->len; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);
        bool high = region->start >= 4 * VFM_GIB;

        if (!overlaps(region, range->start, range->size))
            continue;
        vfm_note(n, VFM_FINDING_RESERVED_REGION, assigned->line,
                 high ? g_strdup("keep guest memory (boot, maxMemory, slots) below it; if it is AMD's range below 1 "
                                 "TiB, an AMD CPU model with a machine type of 7.1 or newer moves memory above it")
                      : g_strdup("assign a device without such a region, or have the firmware drop it (RMRR)"),
                 "%s: reserved region 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                 "x (%s) of its IOMMU group %u lies in guest memory (%s, 0x%" G_GINT64_MODIFIER
                 "x-0x%" G_GINT64_MODIFIER "x), which can't be mapped there",
                 assigned->address, region->start, region->end, reserved_name(region->type), group->id, range->name,
                 range->start, range->start + range->size - 1);
        return true;
    }
    if (n->layout.region_base.set && overlaps(region, n->layout.region_base.value, n->layout.region_size))
        vfm_note_as(n, VFM_WARNING, VFM_FINDING_RESERVED_REGION, assigned->line,
                    g_strdup("lower <maxMemory> or its slots so that the device memory region ends below it"),
                    "%s: reserved region 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                    "x (%s) of its IOMMU group %u lies where memory will be hot-plugged: the guest is lost if a DIMM "
                    "comes to lie there",
                    assigned->address, region->start, region->end, reserved_name(region->type), group->id);
    return false;
}

static void find_device(VfmNegotiation *n, const VfmAssigned *assigned, GHashTable *seen)
{
    const VfmIommuGroup *group = vfm_host_find_group(n->host, assigned->address);

    if (!group) {
        if (n->host->groups->len && assigned->address)
            vfm_note(n, VFM_FINDING_DEVICE_NOT_ON_HOST, assigned->line,
                     g_strdup("correct the address, or plan with --host for the host the guest will run on"),
                     "%s has no IOMMU group on this host%s%s", assigned->address, n->host->name ? " " : "",
                     n->host->name ? n->host->name : "");
        return;
    }
    if (!g_hash_table_add(seen, GUINT_TO_POINTER(group->id + 1)))
        return; /* each group is judged once */
    find_viability(n, assigned, group);
    if (!group->reserved_known || !n->plan->map_known)
        return;
    for (guint i = 0; i < group->reserved->len; i++)
        if (find_reserved(n, assigned, group, &g_array_index(group->reserved, VfmReserved, i)))
            return;
}

/* iommufd is asked for, where it can't be had, or is dropped without a word. */
static void find_iommufd(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    unsigned libvirt = n->options->libvirt_version, qemu = n->options->qemu_version;

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);
        g_autofree char *label = NULL;

        if (!vfm_assigned_counts(assigned) || !vfm_assigned_is_vfio(assigned))
            continue;
        label = vfm_assigned_label(assigned);
        if (assigned->iommufd && !vfm_assigned_uses_iommufd(n, assigned) && domain->policy.owner == VFM_OWNER_QEMU) {
            vfm_note(n, VFM_FINDING_IOMMUFD_IGNORED, assigned->line, g_strdup("use libvirt 12.1 or newer"),
                     "%s: iommufd is asked for, but libvirt %u.%u does not know it and will use type1", label,
                     libvirt / 1000000, libvirt / 1000 % 1000);
            return;
        }
        if (!vfm_assigned_uses_iommufd(n, assigned))
            continue;
        if (domain->policy.owner == VFM_OWNER_QEMU && qemu && qemu < VFM_VERSION(9, 0, 0))
            vfm_note(n, VFM_FINDING_IOMMUFD_UNSUPPORTED, assigned->line, g_strdup("use QEMU 9.0 or newer, or type1"),
                     "%s: iommufd is asked for, but QEMU %u.%u has none", label, qemu / 1000000, qemu / 1000 % 1000);
        else if (n->host && n->host->iommufd == VFM_OFF)
            vfm_note(n, VFM_FINDING_IOMMUFD_UNSUPPORTED, assigned->line,
                     g_strdup("use type1, or a kernel with iommufd and VFIO device cdevs (6.6 or newer)"),
                     "%s: iommufd is asked for, but the host has no /dev/iommu or no VFIO device cdev", label);
        else
            continue;
        return;
    }
}

static void find_mixed(VfmNegotiation *n)
{
    const VfmPlanContainer *type1 = NULL, *iommufd = NULL;
    const VfmAssigned *assigned;

    for (guint i = 0; i < n->plan->containers->len; i++) {
        const VfmPlanContainer *container = g_ptr_array_index(n->plan->containers, i);

        if (container->kind != VFM_ASSIGNED_PCI && container->kind != VFM_ASSIGNED_MDEV)
            continue;
        if (container->backend == VFM_BACKEND_IOMMUFD)
            iommufd = container;
        else
            type1 = container;
    }
    if (!type1 || !iommufd)
        return;
    assigned = g_ptr_array_index(n->domain->assigned, g_array_index(type1->assigned, unsigned, 0));
    vfm_note(n, VFM_FINDING_BACKEND_MIXED, assigned->line,
             g_strdup("assign all devices the same way: <driver iommufd='yes'/> for all or for none"),
             "%s goes through type1 and others through iommufd: guest memory is mapped, and counts as locked, in both",
             assigned->address ? assigned->address : "one device");
}

static void find_unresolved(VfmNegotiation *n)
{
    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);

        if (assigned->unresolved)
            vfm_note(n, VFM_FINDING_NETWORK_UNRESOLVED, assigned->line,
                     g_strdup("check with --connect URI, so that the network can be asked"),
                     "interface of network %s: if that network hands out host devices (forward mode hostdev), one will "
                     "be assigned; not counted here",
                     assigned->network ? assigned->network : "without name");
    }
}

void vfm_find_host(VfmNegotiation *n)
{
    const VfmHost *host = n->host;
    const VfmAssigned *first = NULL;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    if (n->domain->foreign)
        vfm_note(n, VFM_FINDING_OTHER_HYPERVISOR, 0, NULL,
                 "a guest of type '%s' is not run by QEMU: its devices are not looked at, VFIO's rules do not apply",
                 n->domain->type ? n->domain->type : "");
    find_unresolved(n);
    find_iommufd(n);
    find_mixed(n);
    if (!host)
        return;
    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);

        if (assigned->kind != VFM_ASSIGNED_PCI || !vfm_assigned_counts(assigned))
            continue;
        if (!first)
            first = assigned;
        find_device(n, assigned, seen);
    }
    if (!first)
        return;
    if (host->iommu == VFM_OFF)
        vfm_note(n, VFM_FINDING_HOST_WITHOUT_IOMMU, first->line,
                 g_strdup("turn the IOMMU on (firmware, intel_iommu=on), or plan with --host for another host"),
                 "this host has no IOMMU group: devices can't be assigned on it");
    else if (host->interrupt_remapping == VFM_OFF && host->unsafe_interrupts != VFM_ON)
        vfm_note(n, VFM_FINDING_INTERRUPT_REMAPPING, first->line,
                 g_strdup("turn interrupt remapping on in the firmware, or accept the risk with "
                          "allow_unsafe_interrupts=1 of vfio_iommu_type1"),
                 "the host does not isolate interrupts: attaching %s fails with EPERM",
                 first->address ? first->address : "a device");
}
