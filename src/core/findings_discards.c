/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * findings_discards.c - what inhibition does to balloon, free page reporting
 * and migration, and holders that exclude each other.
 */
#include <string.h>

#include "amount.h"
#include "size_rounding.h"
#include "negotiation.h"

#define TYPE1_GRANULES 65535

/* First holder of @kind, or NULL. */
static const VfmHold *first_hold(const VfmPlan *plan, VfmHoldKind kind)
{
    for (guint i = 0; i < plan->holds->len; i++) {
        const VfmHold *hold = &g_array_index(plan->holds, VfmHold, i);

        if (hold->kind == kind)
            return hold;
    }
    return NULL;
}

/* "hostdev 0000:01:00.0", "hostdev 0000:01:00.0 and 3 others": who inhibits uncoordinated discards. */
static char *inhibitors(const VfmPlan *plan)
{
    const VfmHold *hold = first_hold(plan, VFM_HOLD_DISABLE_ALL);
    unsigned count =
        vfm_holds_count(plan, VFM_HOLD_DISABLE_ALL) + vfm_holds_count(plan, VFM_HOLD_DISABLE_UNCOORDINATED);

    if (!hold)
        hold = first_hold(plan, VFM_HOLD_DISABLE_UNCOORDINATED);
    if (!hold)
        return g_strdup("nobody");
    if (count == 1)
        return g_strdup(hold->holder);
    return g_strdup_printf("%s and %u other%s", hold->holder, count - 1, count == 2 ? "" : "s");
}

/* Whether only mediated devices inhibit, which could be told not to. Fills the first one's line and alias. */
static const VfmAssigned *only_mdevs(const VfmNegotiation *n)
{
    const VfmAssigned *first = NULL;

    if (vfm_holds_count(n->plan, VFM_HOLD_DISABLE_ALL))
        return NULL;
    for (guint i = 0; i < n->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(n->domain->assigned, i);

        if (!vfm_assigned_counts(assigned) || vfm_assigned_is_channel(assigned))
            continue;
        if (assigned->kind != VFM_ASSIGNED_MDEV || vfm_assigned_uses_iommufd(n, assigned))
            return NULL;
        if (!first && assigned->balloon_allowed != VFM_ON)
            first = assigned;
    }
    return first;
}

static void find_conflicts(VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    const VfmHold *disable = first_hold(plan, VFM_HOLD_DISABLE_ALL);
    const VfmHold *require = first_hold(plan, VFM_HOLD_REQUIRE_COORDINATED);

    if (!require)
        require = first_hold(plan, VFM_HOLD_REQUIRE_ALL);
    if (disable && require)
        vfm_note(n, VFM_FINDING_DISCARD_CONFLICT, disable->line ? disable->line : require->line,
                 g_strdup_printf("remove one of the two%s",
                                 g_str_has_prefix(disable->holder, "launchSecurity")
                                     ? ""
                                     : ", or assign the device as a <hostdev>: VFIO and virtio-mem go together"),
                 "%s forbids all discards of guest memory and %s needs them: QEMU refuses whichever comes second",
                 disable->holder, require->holder);
}

/* SNP and TDX with assigned devices: older QEMU refuses, newer maps in granules of 4 KiB. */
static void find_confidential(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const char *type = domain->launch_security;
    unsigned qemu = n->options->qemu_version;
    bool type1 = false;

    if (g_strcmp0(type, "sev-snp") != 0 && g_strcmp0(type, "tdx") != 0)
        return;
    if (!vfm_holds_count(n->plan, VFM_HOLD_DISABLE_UNCOORDINATED))
        return;
    for (guint i = 0; i < n->plan->containers->len; i++) {
        const VfmPlanContainer *container = g_ptr_array_index(n->plan->containers, i);

        type1 |= container->backend == VFM_BACKEND_TYPE1 && container->budget.set;
    }
    if (qemu && qemu < VFM_VERSION(10, 1, 0))
        vfm_note(n, VFM_FINDING_CONFIDENTIAL_PASSTHROUGH, domain->launch_security_line,
                 g_strdup("use QEMU 10.1 or newer, with iommufd"),
                 "%s guests require discards that assigned devices forbid: QEMU before 10.1 refuses the device", type);
    else if (type1 && vfm_rounded_total_memory(domain) / (4 * VFM_KIB) > TYPE1_GRANULES)
        vfm_note(n, VFM_FINDING_CONFIDENTIAL_PASSTHROUGH, domain->launch_security_line,
                 g_strdup("assign the devices through iommufd (<driver iommufd='yes'/>, libvirt 12.1)"),
                 "%s guests are mapped in granules of 4 KiB, which a type1 container can't hold%s", type,
                 qemu ? "" : "; QEMU before 10.1 refuses the device altogether");
}

static void find_balloon(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const VfmBalloon *balloon = &domain->balloon;
    const VfmHold *hold = first_hold(n->plan, VFM_HOLD_DISABLE_UNCOORDINATED);
    const VfmAssigned *mdev = only_mdevs(n);
    g_autofree char *who = inhibitors(n->plan);
    unsigned line;
    const char *origin = balloon->implicit ? " (libvirt adds one when none is given)" : "";

    if (!balloon->present)
        return;
    if (n->plan->balloon_effective) {
        for (guint i = 0; i < domain->assigned->len; i++) {
            const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

            if (assigned->kind == VFM_ASSIGNED_MDEV && assigned->balloon_allowed == VFM_ON) {
                vfm_note(n, VFM_FINDING_MDEV_BALLOON_ALLOWED, assigned->line, NULL,
                         "mediated device %s keeps the balloon working (x-balloon-allowed): right only if its vendor "
                         "driver pins no page that the guest could give away",
                         assigned->address ? assigned->address : "without UUID");
                break;
            }
        }
        return;
    }
    if (!hold)
        hold = first_hold(n->plan, VFM_HOLD_DISABLE_ALL);
    line = balloon->line ? balloon->line : hold ? hold->line : 0;
    if (mdev)
        vfm_note(
            n, VFM_FINDING_MDEV_BALLOON_INHIBITED, line,
            g_strdup_printf("if the vendor driver pins only what it uses, set x-balloon-allowed=on for %s through "
                            "<qemu:override>; else <memballoon model='none'/>",
                            mdev->alias ? mdev->alias : "the device's alias"),
            "the memory balloon%s frees nothing because of %s, though a mediated device may keep it working: pages "
            "that the guest gives up stay with QEMU",
            origin, who);
    else
        vfm_note(n, VFM_FINDING_BALLOON_INHIBITED, line,
                 g_strdup("use <memballoon model='none'/>, and a virtio-mem device where memory must come and go"),
                 "the memory balloon%s frees nothing because of %s: `virsh setmem` reports success, the guest "
                 "loses memory and the host gets none",
                 origin, who);
    if (balloon->free_page_reporting == VFM_ON)
        vfm_note(n, VFM_FINDING_FREE_PAGE_REPORTING_INHIBITED, balloon->line,
                 g_strdup("set freePageReporting='off'; `vfiomem apply` does it"),
                 "free page reporting costs the guest work and frees nothing because of %s", who);
    if (balloon->autodeflate == VFM_ON)
        vfm_note(n, VFM_FINDING_AUTODEFLATE_INHIBITED, balloon->line,
                 g_strdup("set autodeflate='off'; `vfiomem apply` does it"),
                 "autodeflate has nothing to give back: because of %s the balloon never freed anything", who);
}

static void find_migration(VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    g_autofree char *who = NULL;

    if (!plan->containers->len ||
        (!vfm_holds_count(plan, VFM_HOLD_DISABLE_ALL) && !vfm_holds_count(plan, VFM_HOLD_DISABLE_UNCOORDINATED)))
        return;
    who = inhibitors(plan);
    vfm_note(n, VFM_FINDING_MIGRATION_RESTRICTED, 0, NULL,
             "with %s post-copy migration and background snapshots are not possible%s", who,
             vfm_holds_count(plan, VFM_HOLD_REQUIRE_COORDINATED) ? ", nor is RDMA migration with virtio-mem" : "");
}

void vfm_find_discards(VfmNegotiation *n)
{
    find_conflicts(n);
    find_confidential(n);
    find_balloon(n);
    find_migration(n);
}
