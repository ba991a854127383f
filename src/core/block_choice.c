/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "block_choice.h"

#include "amount.h"
#include "blocks.h"

bool vfm_block_is_legal(const VfmPlanMemory *memory)
{
    if (memory->block_missing)
        return false; /* QEMU would choose one, but libvirt insists on <block> */
    return vfm_is_power_of_two(memory->block.value) && memory->block.value >= memory->min_block &&
           memory->block.value <= memory->max_block;
}

uint64_t vfm_blocks_now(const VfmPlan *plan)
{
    uint64_t sum = 0;

    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);

        if (memory->model == VFM_MEM_VIRTIO_MEM)
            sum = vfm_add(sum, memory->mappings_now);
    }
    return sum;
}

GArray *vfm_blocks_chosen(const VfmPlan *plan)
{
    GArray *chosen = g_array_new(FALSE, TRUE, sizeof(uint64_t));
    uint64_t sum = 0;

    g_array_set_size(chosen, plan->memory->len);
    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        uint64_t *block = &g_array_index(chosen, uint64_t, i);

        if (memory->model != VFM_MEM_VIRTIO_MEM)
            continue;
        if (vfm_block_is_legal(memory))
            *block = memory->block.value;
        else if (memory->recommended_block.set)
            *block = memory->recommended_block.value;
        sum = vfm_add(sum, *block ? vfm_blocks_count(memory->actual, *block) : memory->mappings_now);
    }
    if (!plan->capacity.set || sum <= plan->capacity.value)
        return chosen;
    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        uint64_t *block = &g_array_index(chosen, uint64_t, i);

        if (*block && memory->recommended_block.set)
            *block = MAX(*block, memory->recommended_block.value);
    }
    return chosen;
}
