/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * block_choice.h - which block sizes must change, and to what.
 *
 * The plan's recommendation is the optimum as if nothing were chosen yet; what
 * a person chose and what works is left alone. Both the findings' mends and
 * the edits of `apply` come from here, so they can't disagree. Pure functions.
 */
#pragma once

#include "plan.h"

/* Whether the block written is one that QEMU and libvirt accept. */
bool vfm_block_is_legal(const VfmPlanMemory *memory);

/* Sum of blocks of all virtio-mem devices as they are written. */
uint64_t vfm_blocks_now(const VfmPlan *plan);

/*
 * New array of uint64_t, one for each of @plan->memory: the block the device should have. It differs from the present
 * one only where that is illegal, or too small for the budget. 0 where there is no block or none would do.
 */
GArray *vfm_blocks_chosen(const VfmPlan *plan);
