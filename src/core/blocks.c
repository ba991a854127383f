/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "blocks.h"

#include "amount.h"

uint64_t vfm_blocks_count(uint64_t size, uint64_t block)
{
    return size / block + (size % block != 0);
}

static gint larger_first(gconstpointer a, gconstpointer b)
{
    const VfmBlockItem *x = *(VfmBlockItem *const *)a;
    const VfmBlockItem *y = *(VfmBlockItem *const *)b;

    if (x->size != y->size)
        return x->size > y->size ? -1 : 1;
    return x < y ? -1 : x > y; /* stable: the same input gives the same plan */
}

/* The block an undecided item would have were @level the largest allowed; never below what is legal for it. */
static uint64_t capped(const VfmBlockItem *item, uint64_t level)
{
    return MAX(item->min, MIN(item->max, level));
}

static uint64_t total(VfmBlockItem *const *order, unsigned n, const bool *decided, uint64_t level)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < n; i++)
        sum = vfm_add(sum, vfm_blocks_count(order[i]->size, decided[i] ? order[i]->block : capped(order[i], level)));
    return sum;
}

bool vfm_blocks_minimise(VfmBlockItem *items, unsigned n, VfmMaybe capacity)
{
    g_autofree VfmBlockItem **order = g_new(VfmBlockItem *, n);
    g_autofree bool *decided = g_new0(bool, n);
    uint64_t level = 0, now;

    for (unsigned i = 0; i < n; i++) {
        order[i] = &items[i];
        items[i].block = capacity.set ? items[i].max : items[i].min;
        level = MAX(level, items[i].max);
    }
    if (!n || !capacity.set)
        return true;
    qsort(order, n, sizeof(*order), (GCompareFunc)larger_first);
    if (total(order, n, decided, level) > capacity.value)
        return false;

    /*
     * From the largest level down: keep at this level only as many devices as
     * must be there, the largest first because each of them frees the most.
     */
    for (; level; level >>= 1) {
        uint64_t below = level >> 1;

        now = total(order, n, decided, below);
        for (unsigned i = 0; i < n; i++) {
            VfmBlockItem *item = order[i];

            if (decided[i])
                continue;
            if (item->min >= level) {
                item->block = item->min; /* can't be smaller: costs nothing to decide */
                decided[i] = true;
            } else if (now > capacity.value && item->max >= level) {
                now -= vfm_blocks_count(item->size, capped(item, below)) - vfm_blocks_count(item->size, level);
                item->block = level;
                decided[i] = true;
            }
        }
    }
    return true;
}
