/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

static VfmIovaRange *piece_at(const GArray *pieces, unsigned index)
{
    return &g_array_index((GArray *)pieces, VfmIovaRange, index);
}

static VfmMapping mapping_at(const VfmSection *section, uint64_t address, uint64_t size)
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

/* Counts what is mapped within start..last. */
static void count_mapped(const VfmMapperSection *section, uint64_t start, uint64_t last, uint64_t *mappings,
                         uint64_t *bytes)
{
    const VfmSection *place = &section->section;

    *mappings = *bytes = 0;
    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = piece_at(section->pieces, i);
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

/* Unmaps everything of this section within start..last in one call: nothing but this section's mappings
 * can be between the first and the last piece. */
static bool unmap_range(VfmMapperSection *section, uint64_t start, uint64_t last, GError **error)
{
    uint64_t mappings, bytes, from = 0, to = 0;
    bool any = false;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = piece_at(section->pieces, i);

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

static uint64_t address_of(const VfmMapperSection *section, uint64_t offset)
{
    return section->section.address + (offset - section->section.offset);
}

/* Maps from..to (inclusive, within one piece) block by block; *@mapped counts. */
static bool map_blocks(VfmMapperSection *section, uint64_t from, uint64_t to, uint64_t *mapped, uint64_t *failed_at,
                       GError **error)
{
    const VfmSection *place = &section->section;
    uint64_t block = vfm_discard_block(place->region->discard);
    uint64_t into = (place->offset + (from - place->address)) & (block - 1); /* of the first one, in its block */
    uint64_t size = MIN(block - into, to - from + 1), left = to - from + 1;
    VfmMapping mapping = mapping_at(place, from, size);

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

/* Blocks of start..last that a populate of it maps; nothing there is mapped yet. */
static uint64_t count_blocks(const VfmMapperSection *section, uint64_t start, uint64_t last, uint64_t block,
                             uint64_t *bytes)
{
    const VfmSection *place = &section->section;
    uint64_t count = 0;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = piece_at(section->pieces, i);
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
    uint64_t needed = count_blocks(section, start, last, vfm_discard_block(section->section.region->discard), &bytes);
    GError *cause = NULL;
    bool any = false;

    if (needed > vfm_container_left(container)) {
        vfm_mapper_explain(section->mapper, &section->section, needed, bytes, error,
                           g_error_new(VFM_REFUSED, VFM_REFUSED_BUDGET, "%s: not enough mappings left",
                                       vfm_container_name(container)));
        return false;
    }
    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = piece_at(section->pieces, i);
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
            count_blocks(section, first, failed_at - 1, 1, &undo);
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
    uint64_t start = address_of(section, offset);

    return !section->sparse || populate_range(section, start, start + size - 1, error);
}

/* Blocks that could not be taken back are no longer part of the pieces, so that nobody counts them. */
static bool on_restore(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    VfmMapperSection *section = of_discards(listener);
    uint64_t start = address_of(section, offset);
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
             j < section->wanted->len && piece_at(section->wanted, j)->start <= left_last; j++)
            vfm_ranges_add(section->pieces, MAX(piece_at(section->wanted, j)->start, left->address),
                           MIN(piece_at(section->wanted, j)->last, left_last));
        g_array_remove_index(section->left, i);
    }
}

/* Whether a page in use within start..last is mapped as part of something larger. */
static bool mapped_as_part(const VfmMapperSection *section, uint64_t start, uint64_t last)
{
    const VfmSection *place = &section->section;

    for (unsigned i = vfm_ranges_lower_bound(section->pieces, start); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = piece_at(section->pieces, i);
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
    uint64_t start = address_of(section, offset);

    if (!section->sparse && mapped_as_part(section, start, start + size - 1)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_INHIBITED,
                    "%s: %s is mapped for assigned devices as a whole, its pages can't be given back; remove the "
                    "devices or follow the balloon page by page",
                    vfm_container_name(section->mapper->container), section->section.region->name);
        return false;
    }
    if (section->sparse && !unmap_range(section, start, start + size - 1, error))
        return false;
    regain(section, start, start + size - 1);
    return true;
}

static const VfmDiscardListenerOps discard_ops = {
    .populate = on_populate,
    .discard = on_discard,
    .restore = on_restore,
};

/*
 * An IOMMU region: the pieces of its translation. Addresses in the table count from the region's start.
 */
static VfmMapperSection *of_translations(VfmTranslationListener *listener)
{
    return (VfmMapperSection *)((char *)listener - offsetof(VfmMapperSection, translations));
}

/* Whether @iova..+@size of the table is seen through this section; only then it is mapped. */
static bool visible(const VfmSection *section, uint64_t iova, uint64_t size)
{
    return iova >= section->offset && iova - section->offset < section->size &&
           size <= section->size - (iova - section->offset);
}

static bool on_translate(VfmTranslationListener *listener, const VfmTranslated *piece, GError **error)
{
    VfmMapperSection *section = of_translations(listener);
    const VfmMapper *mapper = section->mapper;
    const char *name = vfm_container_name(mapper->container);
    VfmMapping mapping = {.iova = address_of(section, piece->iova),
                          .size = piece->size,
                          .vaddr = piece->vaddr,
                          .fd = piece->fd,
                          .offset = piece->offset,
                          .prot = piece->prot,
                          .peer = piece->peer};
    uint64_t mask = vfm_container_page(mapper->container) - 1;
    GError *cause = NULL;

    if (!visible(&section->section, piece->iova, piece->size))
        return true;
    if (((mapping.iova | mapping.size | (uintptr_t)mapping.vaddr) & mask) != 0) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "%s: %s: the guest's translation of 0x%" G_GINT64_MODIFIER
                    "x is not in whole pages of %" G_GUINT64_FORMAT,
                    name, section->section.region->name, mapping.iova, mask + 1);
        return false;
    }
    if (mapper->windows && !vfm_ranges_contain(mapper->windows, piece->gpa, piece->gpa + piece->size - 1)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_POLICY,
                    "%s: 0x%" G_GINT64_MODIFIER
                    "x, to which the guest's IOMMU leads, is outside the windows the policy "
                    "allows for DMA",
                    name, piece->gpa);
        return false;
    }
    if (!vfm_ranges_contain(vfm_container_usable(mapper->container), mapping.iova, mapping.iova + mapping.size - 1)) {
        g_autofree char *obstacle =
            vfm_container_obstacle(mapper->container, mapping.iova, mapping.iova + mapping.size - 1);

        g_set_error(error, VFM_REFUSED, VFM_REFUSED_RESERVED,
                    "%s: the guest's IOMMU maps at 0x%" G_GINT64_MODIFIER "x, which is %s", name, mapping.iova,
                    obstacle);
        return false;
    }
    if (vfm_container_map(mapper->container, &mapping, &cause))
        return true;
    vfm_mapper_explain(mapper, &section->section, 1, mapping.size, error, cause);
    return false;
}

typedef struct {
    const VfmSection *section;
    uint64_t pieces, bytes, peer_bytes, first, last;
} TranslatedSum;

static bool sum_piece(void *data, const VfmTranslated *piece)
{
    TranslatedSum *sum = data;

    if (!visible(sum->section, piece->iova, piece->size))
        return true;
    if (sum->pieces++ == 0)
        sum->first = piece->iova;
    sum->last = piece->iova + piece->size - 1;
    sum->bytes += piece->size;
    if (piece->peer)
        sum->peer_bytes += piece->size;
    return true;
}

static bool on_translate_end(VfmTranslationListener *listener, uint64_t iova, uint64_t size, GError **error)
{
    VfmMapperSection *section = of_translations(listener);
    TranslatedSum sum = {.section = &section->section};

    vfm_translation_foreach(section->section.region->translation, iova, size, sum_piece, &sum);
    return sum.pieces == 0 ||
           vfm_container_unmap(section->mapper->container, address_of(section, sum.first), sum.last - sum.first + 1,
                               sum.pieces, sum.bytes, sum.peer_bytes, error);
}

static const VfmTranslationListenerOps translation_ops = {
    .map = on_translate,
    .unmap = on_translate_end,
};

VfmMapperSection *vfm_mapper_section_new(VfmMapper *mapper, const VfmSection *place, GArray *wanted, GArray *left)
{
    VfmMapperSection *section = g_new0(VfmMapperSection, 1);

    section->mapper = mapper;
    section->section = *place;
    section->sparse = vfm_mapper_is_sparse(mapper, place->region);
    section->discards = (VfmDiscardListener){&discard_ops, place->offset, place->size};
    section->translations.ops = &translation_ops;
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
        const VfmIovaRange *piece = piece_at(section->wanted, i);
        uint64_t size = piece->last - piece->start + 1;
        VfmMapping mapping = mapping_at(&section->section, piece->start, size);
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
        bytes += piece_at(section->wanted, i)->last - piece_at(section->wanted, i)->start + 1;
    for (unsigned i = 0; i < section->wanted->len; i++) {
        const VfmIovaRange *piece = piece_at(section->wanted, i);
        VfmMapping mapping = mapping_at(&section->section, piece->start, piece->last - piece->start + 1);
        g_autoptr(GError) second = NULL;
        GError *cause = NULL;

        if (vfm_container_map(container, &mapping, &cause)) {
            g_array_append_vals(section->pieces, piece, 1);
            continue;
        }
        if (!unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL))
            unmap_range(section, section->section.address, vfm_section_last(&section->section), &second);
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
    if (!unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL))
        unmap_range(section, section->section.address, vfm_section_last(&section->section), NULL);
    g_array_set_size(section->pieces, 0);
    return false;
}

bool vfm_mapper_section_unmap(VfmMapperSection *section, GError **error)
{
    bool unmapped;

    if (section->listening && section->section.region->translation)
        unmapped = on_translate_end(&section->translations, section->section.offset, section->section.size, error);
    else
        unmapped = unmap_range(section, section->section.address, vfm_section_last(&section->section), error);
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

static bool still_usable(void *data, const VfmTranslated *piece)
{
    VfmMapperSection *section = data;
    uint64_t start = address_of(section, piece->iova);

    section->unusable =
        visible(&section->section, piece->iova, piece->size) &&
        !vfm_ranges_contain(vfm_container_usable(section->mapper->container), start, start + piece->size - 1);
    section->unusable_at = start;
    return !section->unusable;
}

bool vfm_mapper_section_check(VfmMapperSection *section, GError **error)
{
    g_autofree char *obstacle = NULL;

    section->unusable = false;
    if (section->listening && section->section.region->translation)
        vfm_translation_foreach(section->section.region->translation, section->section.offset, section->section.size,
                                still_usable, section);
    if (!section->unusable)
        return true;
    obstacle = vfm_container_obstacle(section->mapper->container, section->unusable_at, section->unusable_at);
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_RESERVED,
                "%s: the guest's IOMMU has a mapping at 0x%" G_GINT64_MODIFIER "x, which is %s",
                vfm_container_name(section->mapper->container), section->unusable_at, obstacle);
    return false;
}

static bool unmap_run(void *data, uint64_t offset, uint64_t size, GError **error)
{
    const VfmMapperSection *section = data;
    uint64_t start = address_of(section, offset), mappings, bytes;

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
        VfmIovaRange piece = *piece_at(section->pieces, 0);
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
    TranslatedSum sum = {.section = &section->section};

    if (section->listening && section->section.region->translation) {
        vfm_translation_foreach(section->section.region->translation, section->section.offset, section->section.size,
                                sum_piece, &sum);
        *mappings = sum.pieces;
        *bytes = sum.bytes;
        return;
    }
    count_mapped(section, section->section.address, vfm_section_last(&section->section), mappings, bytes);
}

uint64_t vfm_mapper_needed(const VfmMapper *mapper, const VfmSection *section, const GArray *wanted, uint64_t *bytes)
{
    uint64_t needed = 0;

    for (unsigned i = 0; section->region->kind != VFM_REGION_BAR && i < wanted->len; i++) {
        const VfmIovaRange *piece = piece_at(wanted, i);
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
        return count_blocks(section, section->section.address, vfm_section_last(&section->section), block, &bytes);
    }
    vfm_mapper_section_count(section, &mappings, &bytes);
    return mappings;
}
