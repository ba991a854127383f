/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

/* Maps from..to (inclusive, within one piece) block by block; *@mapped counts. */
static bool map_blocks(VfmMapperSection *section, uint64_t from, uint64_t to, uint64_t *mapped, uint64_t *failed_at,
                       GError **error)
{
    const VfmSection *place = &section->section;
    uint64_t block = vfm_discard_block(place->region->discard);
    uint64_t into = (place->offset + (from - place->address)) & (block - 1); /* of the first one, in its block */
    uint64_t size = MIN(block - into, to - from + 1), left = to - from + 1;
    VfmMapping mapping = vfm_mapper_mapping(place, from, size);

    for (;;) {
        if (!vfm_container_map(section->mapper->container, &mapping, error)) {
            *failed_at = mapping.iova;
            return false;
        }
        ++*mapped;
        left -= size;
        if (left == 0)
            return true;
        mapping.iova += size;
        mapping.vaddr = (uint8_t *)mapping.vaddr + size;
        mapping.offset += size;
        size = mapping.size = MIN(block, left);
    }
}

uint64_t vfm_mapper_count_blocks(const VfmMapperSection *section, uint64_t start, uint64_t last, uint64_t block,
                                 uint64_t *bytes)
{
    const VfmSection *place = &section->section;
    uint64_t count = 0;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->pieces, i);
        uint64_t from = MAX(piece->start, start), to = MIN(piece->last, last);

        if (piece->start > last)
            break;
        count +=
            ((place->offset + (to - place->address)) / block) - (place->offset + (from - place->address)) / block + 1;
        *bytes += to - from + 1;
    }
    return count;
}

/* Maps the blocks of start..last, all or none. */
static bool populate_range(VfmMapperSection *section, uint64_t start, uint64_t last, GError **error)
{
    VfmContainer *container = section->mapper->container;
    uint64_t bytes = 0, mapped = 0, failed_at = 0, first = 0;
    uint64_t needed =
        vfm_mapper_count_blocks(section, start, last, vfm_discard_block(section->section.region->discard), &bytes);
    GError *cause = NULL;
    bool any = false;

    if (needed > vfm_container_left(container)) {
        vfm_mapper_explain(section->mapper, &section->section, needed, bytes, error,
                           g_error_new(VFM_REFUSED, VFM_REFUSED_BUDGET, "%s: not enough mappings left",
                                       vfm_container_name(container)));
        return false;
    }
    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->pieces, i);
        uint64_t from = MAX(piece->start, start), to = MIN(piece->last, last);
        g_autoptr(GError) second = NULL;
        uint64_t undo = 0;

        if (piece->start > last)
            break;
        if (!any)
            first = from;
        any = true;
        if (map_blocks(section, from, to, &mapped, &failed_at, &cause))
            continue;
        /* The bytes that were mapped: whole pieces before, and this one up to where it failed. */
        if (failed_at > first)
            vfm_mapper_count_blocks(section, first, failed_at - 1, 1, &undo);
        /* Tried twice: a mapping left behind would be in the way of the block's next life. */
        if (mapped && !vfm_container_unmap(container, first, failed_at - first, mapped, undo, 0, NULL))
            vfm_container_unmap(container, first, failed_at - first, mapped, undo, 0, &second);
        vfm_mapper_explain(section->mapper, &section->section, needed, bytes, error, cause);
        if (second)
            vfm_error_append(error, "and what was mapped could not be taken back: %s", second->message);
        return false;
    }
    return true;
}

static VfmMapperSection *of_discards(VfmDiscardListener *listener)
{
    return (VfmMapperSection *)((char *)listener - offsetof(VfmMapperSection, discards));
}

static bool on_populate(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    VfmMapperSection *section = of_discards(listener);
    uint64_t start = vfm_mapper_address(section, offset);

    return !section->sparse || populate_range(section, start, start + size - 1, error);
}

/* Blocks that could not be taken back are no longer part of the pieces, so that nobody counts them. */
static bool on_restore(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    VfmMapperSection *section = of_discards(listener);
    uint64_t start = vfm_mapper_address(section, offset);
    VfmLeft entry = {start, size, section->section.region->name, VFM_LEFT_LOST};

    if (on_populate(listener, offset, size, error))
        return true;
    vfm_ranges_subtract(section->pieces, start, start + size - 1);
    g_array_append_val(section->left, entry);
    return false;
}

/* Once lost blocks are discarded, all is as it should be: they are wanted again from the next populate on. */
static void regain(VfmMapperSection *section, uint64_t start, uint64_t last)
{
    for (unsigned i = 0; i < section->left->len;) {
        VfmLeft *left = &g_array_index(section->left, VfmLeft, i);
        uint64_t left_last = left->address + left->size - 1;

        if (left->reason != VFM_LEFT_LOST || left->address < start || left_last > last) {
            i++;
            continue;
        }
        for (unsigned j = vfm_ranges_lower_bound(section->wanted, left->address);
             j < section->wanted->len && vfm_mapper_piece(section->wanted, j)->start <= left_last; j++)
            vfm_ranges_add(section->pieces, MAX(vfm_mapper_piece(section->wanted, j)->start, left->address),
                           MIN(vfm_mapper_piece(section->wanted, j)->last, left_last));
        g_array_remove_index(section->left, i);
    }
}

/* Whether a page in use within start..last is mapped as part of something larger. */
static bool mapped_as_part(const VfmMapperSection *section, uint64_t start, uint64_t last)
{
    const VfmSection *place = &section->section;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->pieces, i);
        uint64_t from = MAX(piece->start, start);

        if (piece->start > last)
            break;
        if (vfm_discard_any_populated(place->region->discard, place->offset + (from - place->address),
                                      MIN(piece->last, last) - from + 1))
            return true;
    }
    return false;
}

static bool on_discard(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    VfmMapperSection *section = of_discards(listener);
    uint64_t start = vfm_mapper_address(section, offset);

    if (!section->sparse && mapped_as_part(section, start, start + size - 1)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_INHIBITED,
                    "%s: %s is mapped for assigned devices as a whole, its pages can't be given back; remove the "
                    "devices or follow the balloon page by page",
                    vfm_container_name(section->mapper->container), section->section.region->name);
        return false;
    }
    if (section->sparse && !vfm_mapper_unmap_range(section, start, start + size - 1, error))
        return false;
    regain(section, start, start + size - 1);
    return true;
}

const VfmDiscardListenerOps vfm_mapper_discard_ops = {
    .populate = on_populate,
    .discard = on_discard,
    .restore = on_restore,
};
