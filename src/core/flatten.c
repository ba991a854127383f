/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flatten.h"

static const VfmPlacement *placement_at(const GArray *placements, unsigned index)
{
    return &g_array_index((GArray *)placements, VfmPlacement, index);
}

static const VfmSection *section_at(const GArray *sections, unsigned index)
{
    return &g_array_index((GArray *)sections, VfmSection, index);
}

static int compare_address(const void *a, const void *b)
{
    const VfmPlacement *x = *(const VfmPlacement *const *)a, *y = *(const VfmPlacement *const *)b;

    return (x->address > y->address) - (x->address < y->address);
}

/* Whether @a hides @b. */
static bool hides(const VfmPlacement *a, const VfmPlacement *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->id > b->id;
}

/* Of the placements in force (the lowest first), drops those that end at or below @address. */
static void expire(GPtrArray *active, uint64_t address)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < active->len; i++) {
        const VfmPlacement *placement = active->pdata[i];

        if (placement->address + placement->size > address)
            active->pdata[kept++] = active->pdata[i];
    }
    g_ptr_array_set_size(active, (int)kept);
}

static void insert_by_priority(GPtrArray *active, const VfmPlacement *placement)
{
    unsigned index = active->len;

    while (index > 0 && hides(active->pdata[index - 1], placement))
        index--;
    g_ptr_array_insert(active, (int)index, (gpointer)placement);
}

static void emit(GArray *sections, const VfmPlacement *placement, uint64_t start, uint64_t end)
{
    VfmSection section = {start, end - start, placement->offset + (start - placement->address), placement->region};

    if (sections->len) {
        VfmSection *last = &g_array_index(sections, VfmSection, sections->len - 1);

        if (last->region == section.region && last->address + last->size == section.address &&
            last->offset + last->size == section.offset) {
            last->size += section.size;
            return;
        }
    }
    g_array_append_val(sections, section);
}

GArray *vfm_flatten(const GArray *placements)
{
    GArray *sections = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    g_autoptr(GPtrArray) order = g_ptr_array_sized_new(placements->len + 1);
    g_autoptr(GPtrArray) active = g_ptr_array_new();
    uint64_t address = 0;
    unsigned next = 0;

    for (unsigned i = 0; i < placements->len; i++)
        g_ptr_array_add(order, (gpointer)placement_at(placements, i));
    g_ptr_array_sort(order, compare_address);

    /* A sweep upwards: at each step the top of @active is seen until it ends or something else starts. */
    while (next < order->len || active->len) {
        const VfmPlacement *top;
        uint64_t end;

        if (active->len == 0)
            address = ((const VfmPlacement *)order->pdata[next])->address;
        while (next < order->len && ((const VfmPlacement *)order->pdata[next])->address <= address)
            insert_by_priority(active, order->pdata[next++]);
        top = active->pdata[active->len - 1];
        end = top->address + top->size;
        if (next < order->len)
            end = MIN(end, ((const VfmPlacement *)order->pdata[next])->address);
        emit(sections, top, address, end);
        address = end;
        expire(active, address);
    }
    return sections;
}

static bool same(const VfmSection *a, const VfmSection *b)
{
    return a->address == b->address && a->size == b->size && a->offset == b->offset && a->region == b->region;
}

void vfm_flatten_difference(const GArray *before, const GArray *after, GArray **removed, GArray **added)
{
    unsigned i = 0, j = 0;

    *removed = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    *added = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    while (i < before->len || j < after->len) {
        const VfmSection *old = i < before->len ? section_at(before, i) : NULL;
        const VfmSection *new = j < after->len ? section_at(after, j) : NULL;

        if (old && new &&same(old, new)) {
            i++, j++;
        } else if (new && (!old || new->address < old->address)) {
            g_array_append_vals(*added, new, 1);
            j++;
        } else {
            g_array_append_vals(*removed, old, 1);
            i++;
        }
    }
}
