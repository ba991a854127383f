/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * holds.c - who will forbid and who will require which discards.
 *
 * QEMU keeps four counters (system/physmem.c) that no command shows, so they
 * are modelled from the devices: docs/negotiation.md has the table of takers.
 */
#include "amount.h"
#include "negotiation.h"

#define GUEST_MEMFD_COORDINATED VFM_VERSION(10, 1, 0) /* RamBlockAttributes */

static void hold_clear(gpointer data)
{
    g_free(((VfmHold *)data)->holder);
}

static void hold(VfmPlan *plan, VfmHoldKind kind, char *holder, unsigned line)
{
    VfmHold entry = {.kind = kind, .holder = holder, .line = line};

    g_array_append_val(plan->holds, entry);
}

unsigned vfm_holds_count(const VfmPlan *plan, VfmHoldKind kind)
{
    unsigned count = 0;

    for (guint i = 0; i < plan->holds->len; i++)
        count += g_array_index(plan->holds, VfmHold, i).kind == kind;
    return count;
}

static void hold_by_device(VfmPlan *plan, const VfmDomain *domain, const VfmAssigned *assigned)
{
    VfmHoldKind kind = VFM_HOLD_DISABLE_UNCOORDINATED;

    if (!vfm_assigned_counts(assigned) || vfm_assigned_is_channel(assigned))
        return;
    if (assigned->kind == VFM_ASSIGNED_VDPA || assigned->kind == VFM_ASSIGNED_NVME)
        kind = VFM_HOLD_DISABLE_ALL;
    else if (domain->arch == VFM_ARCH_PPC64 && !assigned->iommufd && assigned->kind != VFM_ASSIGNED_USER)
        kind = VFM_HOLD_DISABLE_ALL; /* sPAPR TCE containers know no discards at all */
    else if (assigned->kind == VFM_ASSIGNED_MDEV && assigned->balloon_allowed == VFM_ON)
        return;
    hold(plan, kind, vfm_assigned_label(assigned), assigned->line);
}

static void hold_by_security(VfmPlan *plan, const VfmDomain *domain, unsigned qemu)
{
    const char *type = domain->launch_security;
    g_autofree char *label = g_strdup_printf("launchSecurity %s", type);

    if (g_strcmp0(type, "sev") == 0 || g_strcmp0(type, "s390-pv") == 0)
        hold(plan, VFM_HOLD_DISABLE_ALL, g_steal_pointer(&label), domain->launch_security_line);
    else if (g_strcmp0(type, "sev-snp") == 0 || g_strcmp0(type, "tdx") == 0)
        hold(plan, qemu && qemu < GUEST_MEMFD_COORDINATED ? VFM_HOLD_REQUIRE_ALL : VFM_HOLD_REQUIRE_COORDINATED,
             g_steal_pointer(&label), domain->launch_security_line);
}

void vfm_negotiate_holds(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    VfmPlan *plan = n->plan;

    plan->holds = g_array_new(FALSE, TRUE, sizeof(VfmHold));
    g_array_set_clear_func(plan->holds, hold_clear);
    for (guint i = 0; i < domain->assigned->len; i++)
        hold_by_device(plan, domain, g_ptr_array_index(domain->assigned, i));
    if (domain->launch_security)
        hold_by_security(plan, domain, n->options->qemu_version);
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        if (device->model == VFM_MEM_VIRTIO_MEM)
            hold(plan, VFM_HOLD_REQUIRE_COORDINATED, vfm_memory_label(domain, i), device->line);
    }
    plan->balloon_effective = domain->balloon.present && !vfm_holds_count(plan, VFM_HOLD_DISABLE_ALL) &&
                              !vfm_holds_count(plan, VFM_HOLD_DISABLE_UNCOORDINATED);
}
