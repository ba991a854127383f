/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * blocks.h - the smallest block sizes whose mappings fit a budget.
 *
 * A block is mapped by one mapping, so small blocks cost mappings and large
 * ones make the guest's memory move in coarse steps. Of all choices of one
 * power-of-two block per device that keep the sum of blocks within the
 * capacity, the best is the one whose largest block is smallest, then whose
 * second largest is, and so on. docs/negotiation.md proves that the greedy
 * search below finds it; tests/property compares it with brute force.
 *
 * Owns nothing, keeps nothing; thread-safe.
 */
#pragma once

#include "domain.h"

typedef struct {
    uint64_t size;     /* bytes of the device's region */
    uint64_t min, max; /* legal blocks: powers of two, min <= max */
    uint64_t block;    /* out */
} VfmBlockItem;

/* Blocks of @block bytes that cover @size, as QEMU counts a section: rounded up. */
uint64_t vfm_blocks_count(uint64_t size, uint64_t block);

/*
 * Fills .block of each of @n items. @capacity: how many blocks all of them may
 * have together; not set: no limit. Returns false, with every .block at its
 * .max, where not even the largest blocks fit.
 * O(n log n + n * 64).
 */
bool vfm_blocks_minimise(VfmBlockItem *items, unsigned n, VfmMaybe capacity);
