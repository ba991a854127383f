/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flatten.h - from overlapping placements to a flat view, and between two flat views.
 *
 * Part of the memory map (memory_map.h), apart because it is pure computation:
 * arrays in, arrays out, no references taken, no errors, no state.
 */
#pragma once

#include "memory_map.h"

/* offset..offset+size of @region stands at @address. Among placements that overlap the
 * highest priority is seen, among equals the highest id. */
typedef struct {
    unsigned id;
    int priority;
    uint64_t address, offset, size;
    VfmRegion *region;
} VfmPlacement;

/* New array of VfmSection, ascending, neighbours joined where the region goes on without a
 * break. @placements (of VfmPlacement) is ascending by id. O(n log n) for placements of which
 * few overlap at one address. */
GArray *vfm_flatten(const GArray *placements);

/* New arrays of VfmSection, ascending: what is only in @before, and only in @after. */
void vfm_flatten_difference(const GArray *before, const GArray *after, GArray **removed, GArray **added);
