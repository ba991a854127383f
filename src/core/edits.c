/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edits.c - what `apply` changes in a domain so that it works.
 *
 * Only what a finding of the plan asks for; a domain without findings that can
 * be mended yields no edit, so applying twice changes nothing the second time.
 */
#include "amount.h"
#include "block_choice.h"
#include "size_rounding.h"
#include "memory_backend.h"
#include "negotiation.h"

static void edit_free(gpointer data)
{
    VfmEdit *edit = data;

    g_free(edit->text);
    g_free(edit->why);
    g_free(edit);
}

static VfmEdit *add_edit(GPtrArray *edits, VfmEditKind kind, unsigned index, uint64_t value, const char *why)
{
    VfmEdit *edit = g_new0(VfmEdit, 1);

    edit->kind = kind;
    edit->index = index;
    edit->value = value;
    edit->why = g_strdup(why);
    g_ptr_array_add(edits, edit);
    return edit;
}

static bool found(const VfmPlan *plan, VfmFindingId id)
{
    const char *name = vfm_finding_id_name(id);

    for (guint i = 0; i < plan->findings->len; i++)
        if (g_str_equal(((const VfmFinding *)g_ptr_array_index(plan->findings, i))->id, name))
            return true;
    return false;
}

static void edit_blocks(GPtrArray *edits, const VfmPlan *plan)
{
    g_autoptr(GArray) chosen = vfm_blocks_chosen(plan);

    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        uint64_t block = g_array_index(chosen, uint64_t, i);
        VfmFindingId why = vfm_block_is_legal(memory)              ? VFM_FINDING_BUDGET_EXCEEDED
                           : memory->min_block > memory->max_block ? VFM_FINDING_VIRTIO_MEM_SIZE
                                                                   : VFM_FINDING_VIRTIO_MEM_BLOCK;
        bool change = block != memory->block.value || !vfm_block_is_legal(memory);
        uint64_t requested;

        if (!block)
            continue;
        if (why == VFM_FINDING_BUDGET_EXCEEDED && !found(plan, why))
            why = VFM_FINDING_BUDGET_HEADROOM;
        if (change)
            add_edit(edits, VFM_EDIT_BLOCK, i, block, vfm_finding_id_name(why));
        if (!memory->requested.set)
            continue;
        requested = MIN(memory->requested.value, memory->size);
        requested -= requested % block;
        if (requested != memory->requested.value)
            add_edit(edits, VFM_EDIT_REQUESTED, i, requested,
                     change ? vfm_finding_id_name(why) : vfm_finding_id_name(VFM_FINDING_VIRTIO_MEM_REQUESTED));
    }
}

static void edit_hard_limit(GPtrArray *edits, const VfmPlan *plan, const VfmDomain *domain)
{
    static const VfmFindingId causes[] = {VFM_FINDING_MEMLOCK_HARD_LIMIT, VFM_FINDING_MEMLOCK_UNCOUNTED,
                                          VFM_FINDING_MEMLOCK_HOTPLUG};
    uint64_t memory = vfm_rounded_total_memory(domain);
    VfmMaybe max = vfm_rounded_max_memory(domain);

    if (max.set)
        memory = MAX(memory, max.value);
    for (guint i = 0; i < G_N_ELEMENTS(causes); i++) {
        if (!found(plan, causes[i]))
            continue;
        add_edit(edits, VFM_EDIT_HARD_LIMIT, 0, vfm_round_up(vfm_memlock_wanted(plan, domain, memory), VFM_KIB),
                 vfm_finding_id_name(causes[i]));
        return;
    }
}

GPtrArray *vfm_plan_edits(const VfmPlan *plan, const VfmDomain *domain, const VfmPlanOptions *options)
{
    GPtrArray *edits = g_ptr_array_new_with_free_func(edit_free);

    edit_blocks(edits, plan);
    if (found(plan, VFM_FINDING_FREE_PAGE_REPORTING_INHIBITED))
        add_edit(edits, VFM_EDIT_FREE_PAGE_REPORTING_OFF, 0, 0,
                 vfm_finding_id_name(VFM_FINDING_FREE_PAGE_REPORTING_INHIBITED));
    if (found(plan, VFM_FINDING_AUTODEFLATE_INHIBITED))
        add_edit(edits, VFM_EDIT_AUTODEFLATE_OFF, 0, 0, vfm_finding_id_name(VFM_FINDING_AUTODEFLATE_INHIBITED));
    edit_hard_limit(edits, plan, domain);
    if (found(plan, VFM_FINDING_HELPER_MEMORY_PRIVATE))
        add_edit(edits, VFM_EDIT_MEMFD_SHARED, 0, 0, vfm_finding_id_name(VFM_FINDING_HELPER_MEMORY_PRIVATE));
    if (found(plan, VFM_FINDING_HELPER_EMULATOR)) {
        VfmEdit *edit = add_edit(edits, VFM_EDIT_EMULATOR, 0, 0, vfm_finding_id_name(VFM_FINDING_HELPER_EMULATOR));

        edit->text = g_strdup(options && options->emulator ? options->emulator : VFM_DEFAULT_EMULATOR);
    }
    for (guint i = 0; i < domain->iommus->len; i++)
        if (found(plan, VFM_FINDING_VIOMMU_CACHING_MODE) &&
            vfm_iommu_lacks_caching_mode(g_ptr_array_index(domain->iommus, i)))
            add_edit(edits, VFM_EDIT_CACHING_MODE, i, 0, vfm_finding_id_name(VFM_FINDING_VIOMMU_CACHING_MODE));
    return edits;
}
