/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * ranges.h - a set of addresses, kept as a list of ranges.
 *
 * A GArray of VfmIovaRange that is ascending, without overlap and without
 * ranges that touch (they are merged). IOVA apertures, reserved regions and
 * windows are such sets. The functions own nothing beyond the array they are
 * given and never fail; ends are inclusive, so that the top of 64 bits can be
 * said and no sum can wrap.
 *
 * Units: bytes. Threads: no shared state; one thread at a time per array.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint64_t start, last; /* inclusive */
} VfmIovaRange;

/* An empty set. Free with g_array_unref(). */
GArray *vfm_ranges_new(void);

/* Everything from 0 to 2^64-1. Free with g_array_unref(). */
GArray *vfm_ranges_new_all(void);

/* A copy of @ranges; NULL gives an empty set. */
GArray *vfm_ranges_copy(const GArray *ranges);

/* Makes start..last part of the set. Nothing happens where @last < @start. */
void vfm_ranges_add(GArray *ranges, uint64_t start, uint64_t last);

/* Takes start..last out of the set. Nothing happens where @last < @start. */
void vfm_ranges_subtract(GArray *ranges, uint64_t start, uint64_t last);

/* A new set: what is in both. */
GArray *vfm_ranges_intersect(const GArray *a, const GArray *b);

/* A new set: what is in @ranges within start..last. O(log n + ranges found). */
GArray *vfm_ranges_clip(const GArray *ranges, uint64_t start, uint64_t last);

/* Whether all of start..last is in the set. */
bool vfm_ranges_contain(const GArray *ranges, uint64_t start, uint64_t last);

/* Index of the first range that ends at or after @address; ranges->len if none. */
unsigned vfm_ranges_lower_bound(const GArray *ranges, uint64_t address);

/* Whether both are the same set. */
bool vfm_ranges_equal(const GArray *a, const GArray *b);
