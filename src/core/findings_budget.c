/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings_budget.c - do the mappings of all devices fit the budget, and which blocks would. */
#include "amount.h"
#include "block_choice.h"
#include "negotiation.h"

/* "set <block> of virtio-mem ua-vm0 (line 12) to 4 MiB, of ...", NULL if nothing would help. */
static char *block_fix(const VfmNegotiation *n)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autoptr(GArray) chosen = vfm_blocks_chosen(n->plan);

    for (guint i = 0; i < n->plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, i);
        uint64_t block = g_array_index(chosen, uint64_t, i);
        g_autofree char *label = NULL;
        g_autofree char *amount = NULL;

        if (!block || block == memory->block.value)
            continue;
        label = vfm_memory_label(n->domain, i);
        amount = vfm_amount(block);
        g_string_append_printf(text, "%s %s", text->len ? ", of" : "set <block> of", label);
        if (memory->line)
            g_string_append_printf(text, " (line %u)", memory->line);
        g_string_append_printf(text, " to %s", amount);
    }
    if (!text->len)
        return NULL;
    g_string_append(text, "; `vfiomem apply` does it");
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* The device with the most blocks: the line to look at. */
static unsigned worst(const VfmNegotiation *n)
{
    unsigned index = 0;
    uint64_t most = 0;

    for (guint i = 0; i < n->plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, i);

        if (memory->model == VFM_MEM_VIRTIO_MEM && memory->mappings_now > most) {
            most = memory->mappings_now;
            index = i;
        }
    }
    return index;
}

static unsigned block_line(const VfmNegotiation *n, unsigned index)
{
    const VfmMemoryDevice *device = g_ptr_array_index(n->domain->memory_devices, index);

    return device->block_line ? device->block_line : device->line;
}

/* "all virtio-mem devices", or the one there is with its size and block. */
static char *subject(const VfmNegotiation *n, unsigned index)
{
    const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, index);
    g_autofree char *label = vfm_memory_label(n->domain, index);
    g_autofree char *size = vfm_amount(memory->actual);
    g_autofree char *block = vfm_amount(memory->block.value);
    unsigned count = 0;

    for (guint i = 0; i < n->plan->memory->len; i++)
        count += ((const VfmPlanMemory *)g_ptr_array_index(n->plan->memory, i))->model == VFM_MEM_VIRTIO_MEM;
    if (count > 1)
        return g_strdup_printf("%u virtio-mem devices, of which %s has the most blocks (%s in blocks of %s)", count,
                               label, size, block);
    return g_strdup_printf("%s: %s in blocks of %s", label, size, block);
}

/* Where the limit comes from, for the message. */
static const char *limit_name(const VfmNegotiation *n)
{
    const VfmPolicy *policy = &n->domain->policy;

    if (policy->budget_mappings.set && n->plan->budget.set && n->plan->budget.value == policy->budget_mappings.value)
        return "the policy's budget";
    if (policy->owner == VFM_OWNER_HELPER)
        return "the helper's type1 container (dma_entry_limit)";
    return "a type1 container (dma_entry_limit)";
}

/* The same of what QEMU's own check goes by: over vfio-user it can't hear of more. */
static const char *qemu_limit_name(const VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;

    return plan->budget.set && plan->budget.value == plan->qemu_limit.value ? limit_name(n)
           : n->domain->policy.owner == VFM_OWNER_HELPER                    ? "a vfio-user container"
                                                                            : "a type1 container (dma_entry_limit)";
}

/* How to have more than the smallest blocks there can be. */
static char *more_room(const VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    const VfmMaybe *policy = &n->domain->policy.budget_mappings;

    if (policy->set && plan->budget.set && policy->value == plan->budget.value)
        return g_strdup("raise mappings of <vfiomem:budget>");
    return g_strdup_printf("raise dma_entry_limit of vfio_iommu_type1, or %s, which has no limit",
                           n->domain->policy.owner == VFM_OWNER_HELPER ? "set backend='iommufd' in <vfiomem:mapping>"
                                                                       : "assign through iommufd");
}

/* What QEMU does about its own check, by version: warns up to 10.1, refuses or aborts from 10.2 on. */
static const char *qemu_reaction(unsigned version)
{
    if (!version)
        return "QEMU 10.2 and newer refuse the device, older ones warn and fail later";
    if (version < VFM_VERSION(10, 2, 0))
        return "this QEMU warns and fails when the guest plugs the memory; 10.2 and newer refuse the device";
    return "this QEMU refuses the device";
}

/* No legal choice is within the budget: the sizes or the limit must change. */
static void unreachable(VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    unsigned index = worst(n);
    g_autofree char *what = subject(n, index), *more = more_room(n);

    vfm_note(n, VFM_FINDING_BUDGET_UNREACHABLE, block_line(n, index),
             g_strdup_printf(
                 "make the virtio-mem devices smaller or their sizes multiples of a larger power of two, %s", more),
             "%s: even the largest legal blocks are %" G_GUINT64_FORMAT " mappings, and %" G_GUINT64_FORMAT
             " fit %s of %" G_GUINT64_FORMAT " beside boot memory, memory slots and headroom",
             what, n->least_blocks, plan->capacity.value, limit_name(n),
             plan->budget.set ? plan->budget.value : plan->qemu_limit.value);
}

static void exceeded(VfmNegotiation *n, uint64_t blocks, unsigned devices)
{
    const VfmPlan *plan = n->plan;
    unsigned index = worst(n), line = block_line(n, index);
    g_autofree char *what = subject(n, index);
    uint64_t mappings = vfm_add(blocks, plan->other_mappings);
    uint64_t counted = vfm_add(blocks, plan->memslots) - devices;

    if (plan->budget.set && mappings > plan->budget.value)
        vfm_note(n, VFM_FINDING_BUDGET_EXCEEDED, line, block_fix(n),
                 "%s: %" G_GUINT64_FORMAT " mappings at full size with boot memory, but %s holds %" G_GUINT64_FORMAT,
                 what, mappings, limit_name(n), plan->budget.value);
    else if (plan->qemu_limit.set && counted > plan->qemu_limit.value)
        vfm_note(n, VFM_FINDING_BUDGET_EXCEEDED, line, block_fix(n),
                 "%s: QEMU counts %" G_GUINT64_FORMAT " blocks + %" G_GUINT64_FORMAT " memory slots of %s - %u = "
                 "%" G_GUINT64_FORMAT " mappings, %s holds %" G_GUINT64_FORMAT "; %s",
                 what, blocks, plan->memslots, n->domain->accel == VFM_ACCEL_KVM ? "KVM" : "QEMU without KVM", devices,
                 counted, qemu_limit_name(n), plan->qemu_limit.value, qemu_reaction(n->options->qemu_version));
    else
        vfm_note_as(n, n->domain->policy.budget_headroom.set ? VFM_ERROR : VFM_WARNING, VFM_FINDING_BUDGET_HEADROOM,
                    line, block_fix(n),
                    "%s: %" G_GUINT64_FORMAT " mappings at full size of %" G_GUINT64_FORMAT " in %s leave fewer than "
                    "the %" G_GUINT64_FORMAT " kept free for %s",
                    what, mappings, plan->budget.value, limit_name(n), plan->headroom,
                    n->domain->policy.budget_headroom.set ? "hot-plug by the policy"
                                                          : "device BARs, DIMMs and hot-plug");
}

/* Every legal choice is beyond the budget, and what is written is not legal or beyond it as well. */
static bool nothing_works(const VfmNegotiation *n, uint64_t blocks)
{
    bool illegal = false;

    for (guint i = 0; i < n->plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, i);

        illegal |= memory->model == VFM_MEM_VIRTIO_MEM && !vfm_block_is_legal(memory);
    }
    return n->unreachable && (illegal || blocks > n->plan->capacity.value);
}

/* Without a single block: a limit or policy too low for boot memory, ROMs and DIMMs. */
static void too_many_others(VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    const VfmPolicy *policy = &n->domain->policy;

    vfm_note(n, VFM_FINDING_BUDGET_UNREACHABLE, policy->budget_mappings.set ? policy->budget_line : 0,
             g_strdup_printf("allow at least %" G_GUINT64_FORMAT " mappings", plan->other_mappings),
             "boot memory, ROMs and DIMMs are %" G_GUINT64_FORMAT " mappings, but %s holds %" G_GUINT64_FORMAT,
             plan->other_mappings, limit_name(n), plan->budget.value);
}

void vfm_find_budget(VfmNegotiation *n)
{
    const VfmPlan *plan = n->plan;
    uint64_t blocks = vfm_blocks_now(plan);
    unsigned devices = 0;

    for (guint i = 0; i < plan->memory->len; i++)
        devices += ((const VfmPlanMemory *)g_ptr_array_index(plan->memory, i))->model == VFM_MEM_VIRTIO_MEM;
    if (plan->containers->len && plan->budget.set && plan->other_mappings > plan->budget.value) {
        too_many_others(n);
        return;
    }
    if (!plan->capacity.set || !devices)
        return;
    if (nothing_works(n, blocks))
        unreachable(n);
    else if (blocks > plan->capacity.value)
        exceeded(n, blocks, devices);
}
