/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "ranges.h"

static VfmIovaRange *at(const GArray *ranges, unsigned index)
{
    return &g_array_index((GArray *)ranges, VfmIovaRange, index);
}

GArray *vfm_ranges_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
}

GArray *vfm_ranges_new_all(void)
{
    GArray *ranges = vfm_ranges_new();
    VfmIovaRange all = {0, UINT64_MAX};

    return g_array_append_val(ranges, all);
}

GArray *vfm_ranges_copy(const GArray *ranges)
{
    GArray *copy = vfm_ranges_new();

    if (ranges && ranges->len)
        g_array_append_vals(copy, ranges->data, ranges->len);
    return copy;
}

unsigned vfm_ranges_lower_bound(const GArray *ranges, uint64_t address)
{
    unsigned low = 0, high = ranges->len;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (at(ranges, middle)->last < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

void vfm_ranges_add(GArray *ranges, uint64_t start, uint64_t last)
{
    unsigned first, end;
    VfmIovaRange merged = {start, last};

    if (last < start)
        return;
    /* From the first range that overlaps or touches to the last one that does, all become one. */
    first = end = vfm_ranges_lower_bound(ranges, start ? start - 1 : 0);
    while (end < ranges->len && (last == UINT64_MAX || at(ranges, end)->start <= last + 1)) {
        merged.start = MIN(merged.start, at(ranges, end)->start);
        merged.last = MAX(merged.last, at(ranges, end)->last);
        end++;
    }
    if (end > first)
        g_array_remove_range(ranges, first, end - first);
    g_array_insert_val(ranges, first, merged);
}

void vfm_ranges_subtract(GArray *ranges, uint64_t start, uint64_t last)
{
    unsigned index;

    if (last < start)
        return;
    index = vfm_ranges_lower_bound(ranges, start);
    while (index < ranges->len && at(ranges, index)->start <= last) {
        VfmIovaRange *range = at(ranges, index);
        VfmIovaRange above = {last + 1, range->last};
        bool keep_below = range->start<start, keep_above = range->last> last;

        if (keep_below && keep_above) {
            range->last = start - 1;
            g_array_insert_val(ranges, index + 1, above);
            return;
        }
        if (keep_above) {
            *range = above;
            return;
        }
        if (keep_below) {
            range->last = start - 1;
            index++;
        } else {
            g_array_remove_index(ranges, index);
        }
    }
}

GArray *vfm_ranges_clip(const GArray *ranges, uint64_t start, uint64_t last)
{
    GArray *clip = vfm_ranges_new();

    if (last < start)
        return clip;
    for (unsigned i = vfm_ranges_lower_bound(ranges, start); i < ranges->len && at(ranges, i)->start <= last; i++) {
        VfmIovaRange part = {MAX(at(ranges, i)->start, start), MIN(at(ranges, i)->last, last)};

        g_array_append_val(clip, part);
    }
    return clip;
}

GArray *vfm_ranges_intersect(const GArray *a, const GArray *b)
{
    GArray *both = vfm_ranges_new();
    unsigned i = 0, j = 0;

    while (i < a->len && j < b->len) {
        const VfmIovaRange *x = at(a, i), *y = at(b, j);
        VfmIovaRange part = {MAX(x->start, y->start), MIN(x->last, y->last)};

        if (part.start <= part.last)
            g_array_append_val(both, part);
        if (x->last < y->last)
            i++;
        else
            j++;
    }
    return both;
}

bool vfm_ranges_contain(const GArray *ranges, uint64_t start, uint64_t last)
{
    unsigned index = vfm_ranges_lower_bound(ranges, start);

    return index < ranges->len && at(ranges, index)->start <= start && at(ranges, index)->last >= last;
}

bool vfm_ranges_equal(const GArray *a, const GArray *b)
{
    if (a->len != b->len)
        return false;
    for (unsigned i = 0; i < a->len; i++) {
        if (at(a, i)->start != at(b, i)->start || at(a, i)->last != at(b, i)->last)
            return false;
    }
    return true;
}
