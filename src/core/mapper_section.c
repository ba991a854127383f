/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

VfmMapping vfm_mapper_mapping(const VfmSection *section, uint64_t address, uint64_t size)
{
    const VfmRegion *region = section->region;
    uint64_t offset = section->offset + (address - section->address);

    return (VfmMapping){.iova = address,
                        .size = size,
                        .vaddr = region->vaddr + offset,
                        .fd = region->fd,
                        .offset = region->fd_offset + offset,
                        .prot = region->kind == VFM_REGION_ROM ? VFM_PROT_READ : VFM_PROT_READ | VFM_PROT_WRITE,
                        .peer = region->kind == VFM_REGION_BAR};
}

static uint64_t peer_bytes(const VfmMapperSection *section, uint64_t bytes)
{
    return section->section.region->kind == VFM_REGION_BAR ? bytes : 0;
}

static void count_mapped(const VfmMapperSection *section, uint64_t start, uint64_t last, uint64_t *mappings,
                         uint64_t *bytes)
{
    const VfmSection *place = &section->section;

    *mappings = *bytes = 0;
    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->pieces, i);
        uint64_t from = MAX(piece->start, start), to = MIN(piece->last, last), part;

        if (piece->start > last)
            break;
        if (section->sparse) {
            *mappings += vfm_discard_count(place->region->discard, place->offset + (from - place->address),
                                           to - from + 1, &part);
            *bytes += part;
        } else {
            *mappings += 1;
            *bytes += to - from + 1;
        }
    }
}

bool vfm_mapper_unmap_range(VfmMapperSection *section, uint64_t start, uint64_t last, GError **error)
{
    uint64_t mappings, bytes, from = 0, to = 0;
    bool any = false;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->pieces, i);

        if (piece->start > last)
            break;
        if (!any)
            from = MAX(piece->start, start);
        to = MIN(piece->last, last);
        any = true;
    }
    count_mapped(section, start, last, &mappings, &bytes);
    if (!any || mappings == 0)
        return true;
    return vfm_container_unmap(section->mapper->container, from, to - from + 1, mappings, bytes,
                               peer_bytes(section, bytes), error);
}

VfmMapperSection *vfm_mapper_section_new(VfmMapper *mapper, const VfmSection *place, GArray *wanted, GArray *left)
{
    VfmMapperSection *section = g_new0(VfmMapperSection, 1);

    section->mapper = mapper;
    section->section = *place;
    section->sparse = vfm_mapper_is_sparse(mapper, place->region);
    section->discards = (VfmDiscardListener){&vfm_mapper_discard_ops, place->offset, place->size};
    section->translations.ops = &vfm_mapper_translation_ops;
    section->wanted = wanted;
    section->left = left;
    section->pieces = vfm_ranges_new();
    return section;
}

void vfm_mapper_section_free(VfmMapperSection *section)
{
    g_array_unref(section->wanted);
    g_array_unref(section->pieces);
    g_array_unref(section->left);
    g_free(section);
}

/* Maps what goes: each piece that the backend does not take is put on the list. */
static void map_each(VfmMapperSection *section)
{
    for (unsigned i = 0; i < section->wanted->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->wanted, i);
        uint64_t size = piece->last - piece->start + 1;
        VfmMapping mapping = vfm_mapper_mapping(&section->section, piece->start, size);
        VfmLeft entry = {piece->start, size, section->section.region->name, VFM_LEFT_FAILED};

        if (vfm_container_map(section->mapper->container, &mapping, NULL))
            g_array_append_vals(section->pieces, piece, 1);
        else
            g_array_append_val(section->left, entry);
    }
}

static bool map_whole(VfmMapperSection *section, GError **error)
{
    VfmContainer *container = section->mapper->container;
    uint64_t bytes = 0;

    for (unsigned i = 0; i < section->wanted->len; i++)
        bytes += vfm_mapper_piece(section->wanted, i)->last - vfm_mapper_piece(section->wanted, i)->start + 1;
    for (unsigned i = 0; i < section->wanted->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(section->wanted, i);
        VfmMapping mapping = vfm_mapper_mapping(&section->section, piece->start, piece->last - piece->start + 1);
        g_autoptr(GError) second = NULL;
        GError *cause = NULL;

        if (vfm_container_map(container, &mapping, &cause)) {
            g_array_append_vals(section->pieces, piece, 1);
            continue;
        }
        if (!vfm_mapper_unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL))
            vfm_mapper_unmap_range(section, section->section.address, vfm_section_last(&section->section), &second);
        vfm_mapper_explain(section->mapper, &section->section, section->wanted->len, bytes, error, cause);
        if (second)
            vfm_error_append(error, "and what was mapped could not be taken back: %s", second->message);
        g_array_set_size(section->pieces, 0);
        return false;
    }
    return true;
}

/* Starts to listen, which for sparse and translated regions is what maps them. */
static bool start_listening(VfmMapperSection *section, GError **error)
{
    VfmRegion *region = section->section.region;

    if (region->discard)
        section->listening = vfm_discard_add_listener(region->discard, &section->discards, error);
    else if (region->translation)
        section->listening = vfm_translation_add_listener(region->translation, &section->translations, error);
    else
        return true;
    return section->listening;
}

static void stop_listening(VfmMapperSection *section)
{
    VfmRegion *region = section->section.region;

    if (!section->listening)
        return;
    section->listening = false;
    if (region->discard)
        vfm_discard_remove_listener(region->discard, &section->discards);
    else
        vfm_translation_remove_listener(region->translation, &section->translations);
}

bool vfm_mapper_section_map(VfmMapperSection *section, bool partly, GError **error)
{
    if (section->sparse) {
        g_array_append_vals(section->pieces, section->wanted->data, section->wanted->len);
        if (start_listening(section, error))
            return true;
        g_array_set_size(section->pieces, 0);
        return false;
    }
    if (section->section.region->kind == VFM_REGION_BAR || (partly && section->section.region->kind == VFM_REGION_ROM))
        map_each(section);
    else if (!map_whole(section, error))
        return false;
    if (start_listening(section, error))
        return true;
    if (!vfm_mapper_unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL))
        vfm_mapper_unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL);
    g_array_set_size(section->pieces, 0);
    return false;
}

bool vfm_mapper_section_unmap(VfmMapperSection *section, GError **error)
{
    bool unmapped;

    if (section->listening && section->section.region->translation)
        unmapped = vfm_mapper_iommu_unmap(section, section->section.offset, section->section.size, error);
    else
        unmapped =
            vfm_mapper_unmap_range(section, section->section.address, vfm_section_last(&section->section), error);
    if (!unmapped)
        return false;
    stop_listening(section);
    g_array_set_size(section->pieces, 0);
    return true;
}

void vfm_mapper_section_abandon(VfmMapperSection *section)
{
    stop_listening(section);
}

static bool unmap_run(void *data, uint64_t offset, uint64_t size, GError **error)
{
    const VfmMapperSection *section = data;
    uint64_t start = vfm_mapper_address(section, offset), mappings, bytes;

    count_mapped(section, start, start + size - 1, &mappings, &bytes);
    return vfm_container_unmap(section->mapper->container, start, size, mappings, bytes, peer_bytes(section, bytes),
                               error);
}

bool vfm_mapper_section_unmap_exactly(VfmMapperSection *section, GError **error)
{
    const VfmSection *place = &section->section;

    if (section->listening && place->region->translation)
        return vfm_mapper_section_unmap(section, error);
    while (section->pieces->len) {
        VfmIovaRange piece = *vfm_mapper_piece(section->pieces, 0);
        uint64_t offset = place->offset + (piece.start - place->address), size = piece.last - piece.start + 1;
        bool unmapped = section->sparse
                            ? vfm_discard_replay(place->region->discard, true, offset, size, unmap_run, section, error)
                            : unmap_run(section, offset, size, error);

        if (!unmapped)
            return false;
        g_array_remove_index(section->pieces, 0);
    }
    stop_listening(section);
    return true;
}

void vfm_mapper_section_lose(VfmMapperSection *section)
{
    VfmLeft entry = {section->section.address, section->section.size, section->section.region->name, VFM_LEFT_LOST};

    stop_listening(section);
    g_array_set_size(section->pieces, 0);
    g_array_set_size(section->left, 0);
    g_array_append_val(section->left, entry);
}

bool vfm_mapper_section_lost(const VfmMapperSection *section)
{
    for (unsigned i = 0; i < section->left->len; i++) {
        if (g_array_index(section->left, VfmLeft, i).reason == VFM_LEFT_LOST)
            return true;
    }
    return false;
}

void vfm_mapper_section_count(const VfmMapperSection *section, uint64_t *mappings, uint64_t *bytes)
{
    if (section->listening && section->section.region->translation) {
        vfm_mapper_iommu_count(section, mappings, bytes);
        return;
    }
    count_mapped(section, section->section.address, vfm_section_last(&section->section), mappings, bytes);
}

uint64_t vfm_mapper_needed(const VfmMapper *mapper, const VfmSection *section, const GArray *wanted, uint64_t *bytes)
{
    uint64_t needed = 0;

    for (unsigned i = 0; section->region->kind != VFM_REGION_BAR && i < wanted->len; i++) {
        const VfmIovaRange *piece = vfm_mapper_piece(wanted, i);
        uint64_t size = piece->last - piece->start + 1;

        if (vfm_mapper_is_sparse(mapper, section->region)) {
            needed += vfm_discard_count(section->region->discard, section->offset + (piece->start - section->address),
                                        size, &size);
        } else {
            needed++;
        }
        *bytes += size;
    }
    return needed;
}

uint64_t vfm_mapper_section_at_full(const VfmMapperSection *section, uint64_t block)
{
    uint64_t mappings, bytes = 0;

    if (section->sparse) {
        block = MAX(block, vfm_discard_block(section->section.region->discard));
        return vfm_mapper_count_blocks(section, section->section.address, vfm_section_last(&section->section), block,
                                       &bytes);
    }
    vfm_mapper_section_count(section, &mappings, &bytes);
    return mappings;
}
