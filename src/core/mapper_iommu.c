/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

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
    VfmMapping mapping = {.iova = vfm_mapper_address(section, piece->iova),
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

bool vfm_mapper_iommu_unmap(VfmMapperSection *section, uint64_t iova, uint64_t size, GError **error)
{
    TranslatedSum sum = {.section = &section->section};

    vfm_translation_foreach(section->section.region->translation, iova, size, sum_piece, &sum);
    return sum.pieces == 0 ||
           vfm_container_unmap(section->mapper->container, vfm_mapper_address(section, sum.first),
                               sum.last - sum.first + 1, sum.pieces, sum.bytes, sum.peer_bytes, error);
}

void vfm_mapper_iommu_count(const VfmMapperSection *section, uint64_t *mappings, uint64_t *bytes)
{
    TranslatedSum sum = {.section = &section->section};

    vfm_translation_foreach(section->section.region->translation, section->section.offset, section->section.size,
                            sum_piece, &sum);
    *mappings = sum.pieces;
    *bytes = sum.bytes;
}

static bool on_translate_end(VfmTranslationListener *listener, uint64_t iova, uint64_t size, GError **error)
{
    return vfm_mapper_iommu_unmap(of_translations(listener), iova, size, error);
}

const VfmTranslationListenerOps vfm_mapper_translation_ops = {
    .map = on_translate,
    .unmap = on_translate_end,
};

static bool still_usable(void *data, const VfmTranslated *piece)
{
    VfmMapperSection *section = data;
    uint64_t start = vfm_mapper_address(section, piece->iova);

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
