/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mapper_private.h - what the parts of the mapper share and nobody else sees.
 *
 * mapper.c          lifecycle, listener of the memory map, client of the container
 * mapper_pieces.c   which parts of a section may be mapped, and why others may not
 * mapper_section.c  mapping and unmapping one section
 * mapper_blocks.c   the blocks of a sparse one: listener of its discard manager
 * mapper_iommu.c    the pieces of a translated one: listener of its translation
 * mapper_report.c   what is mapped, what it costs, what would fit
 */
#pragma once

#include "mapper.h"
#include "translation.h"

/* One section of the flat view, as this mapper deals with it. */
typedef struct {
    VfmMapper *mapper;
    VfmSection section;
    VfmDiscardListener discards;
    VfmTranslationListener translations;
    bool listening; /* to whichever of the two the region has */
    bool sparse;    /* one mapping per block */
    bool refused;   /* its removal failed in this transaction: stale, if the map does not have it in the end */
    bool pending;   /* BAR, restored ROM: mapped at the end of the transaction, when RAM has what it needs */
    GArray *wanted; /* of VfmIovaRange: whole pages that may be mapped, ascending, not touching across a gap */
    GArray *pieces; /* of VfmIovaRange: those of @wanted that are mapped, block by block or whole */
    GArray *left;   /* of VfmLeft */
    bool unusable;  /* answer of the last check, and where */
    uint64_t unusable_at;
} VfmMapperSection;

struct VfmMapper {
    VfmContainerClient client;
    VfmMapListener listener;
    VfmContainer *container;
    VfmMemoryMap *map;
    GArray *windows; /* NULL: everything */
    bool page_granular;
    bool started;
    bool stale;          /* a section could not be removed on the way back of a failed change */
    GPtrArray *sections; /* of VfmMapperSection, ascending */
};

static inline uint64_t vfm_section_last(const VfmSection *section)
{
    return section->address + section->size - 1;
}

static inline VfmIovaRange *vfm_mapper_piece(const GArray *pieces, unsigned index)
{
    return &g_array_index((GArray *)pieces, VfmIovaRange, index);
}

/* Guest physical address of @offset in the section's region. */
static inline uint64_t vfm_mapper_address(const VfmMapperSection *section, uint64_t offset)
{
    return section->section.address + (offset - section->section.offset);
}

/* The mapping of address..address+size, which lies within @section. */
VfmMapping vfm_mapper_mapping(const VfmSection *section, uint64_t address, uint64_t size);

/* Unmaps everything of this section within start..last in one call: nothing but its own mappings can be between the
 * first and the last piece. Not for translated ones. */
bool vfm_mapper_unmap_range(VfmMapperSection *section, uint64_t start, uint64_t last, GError **error);

/* Blocks of @block bytes of start..last that a populate of it maps, if nothing is mapped yet; adds to @bytes. */
uint64_t vfm_mapper_count_blocks(const VfmMapperSection *section, uint64_t start, uint64_t last, uint64_t block,
                                 uint64_t *bytes);
extern const VfmDiscardListenerOps vfm_mapper_discard_ops;

/* Unmaps the pieces of a translated section within iova..iova+size of its table, in one call. */
bool vfm_mapper_iommu_unmap(VfmMapperSection *section, uint64_t iova, uint64_t size, GError **error);
/* Mappings and bytes of a translated section. */
void vfm_mapper_iommu_count(const VfmMapperSection *section, uint64_t *mappings, uint64_t *bytes);
extern const VfmTranslationListenerOps vfm_mapper_translation_ops;

/* What may be mapped of @section by the container's present limits: into @wanted (of VfmIovaRange) and @left (of
 * VfmLeft), both new. Errors: VFM_REFUSED_RESERVED for RAM, VFM_REFUSED_ALIGNMENT for small blocks; nothing is made. */
bool vfm_mapper_pieces(const VfmMapper *mapper, const VfmSection *section, GArray **wanted, GArray **left,
                       GError **error);

/* Whether this mapper maps the region block by block. */
bool vfm_mapper_is_sparse(const VfmMapper *mapper, const VfmRegion *region);

/* A section that is not mapped yet; takes @wanted and @left. */
VfmMapperSection *vfm_mapper_section_new(VfmMapper *mapper, const VfmSection *section, GArray *wanted, GArray *left);
/* Frees what is neither mapped nor listening. */
void vfm_mapper_section_free(VfmMapperSection *section);

/* Maps what is wanted and starts to listen. All or nothing, but for peers' BARs and, with @partly, ROM: of
 * those what can't be mapped goes to the list. */
bool vfm_mapper_section_map(VfmMapperSection *section, bool partly, GError **error);
/* Unmaps all of it in one call and stops to listen. Nothing changed on failure. */
bool vfm_mapper_section_unmap(VfmMapperSection *section, GError **error);
/* The same mapping by mapping, where another section may stand between them. On failure some are gone; what is
 * left is still in its pieces. */
bool vfm_mapper_section_unmap_exactly(VfmMapperSection *section, GError **error);
/* Stops to listen without unmapping: the container ends, and everything in it. */
void vfm_mapper_section_abandon(VfmMapperSection *section);
/* Whether present translations are within what the container can use now. Errors: VFM_REFUSED_RESERVED. */
bool vfm_mapper_section_check(VfmMapperSection *section, GError **error);
/* Notes that all of the section is not reachable though it should be. */
void vfm_mapper_section_lose(VfmMapperSection *section);
/* Whether something was lost, so that trying again makes sense. */
bool vfm_mapper_section_lost(const VfmMapperSection *section);

/* Mappings and bytes in there now. */
void vfm_mapper_section_count(const VfmMapperSection *section, uint64_t *mappings, uint64_t *bytes);
/* Mappings that all of it would take with every block populated and in blocks of at least @block bytes. */
uint64_t vfm_mapper_section_at_full(const VfmMapperSection *section, uint64_t block);

/* Mappings that vfm_mapper_section_map() will make of @wanted, and their bytes; peers' BARs don't count. */
uint64_t vfm_mapper_needed(const VfmMapper *mapper, const VfmSection *section, const GArray *wanted, uint64_t *bytes);

/* Index of the first section that ends above @address. */
unsigned vfm_mapper_find(const VfmMapper *mapper, uint64_t address);

/* Turns an error of mapping @bytes in @mappings pieces of @section into one that says what would help. */
void vfm_mapper_explain(const VfmMapper *mapper, const VfmSection *section, uint64_t mappings, uint64_t bytes,
                        GError **error, GError *cause);
