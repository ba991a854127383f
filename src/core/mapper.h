/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mapper.h - keeps one container equal to one guest memory map.
 *
 * The mapper is the listener that ties memory map, discard managers and vIOMMU
 * translations to a container. It owns the choice of extents and the list of what
 * had to be left out; it holds no state per block (the discard manager's bitmap
 * and the section say what is mapped), so its memory does not grow with the guest.
 *
 *   RAM, ROM                 the largest extents possible
 *   RAM with discards        one mapping per block, aligned in the region; a discard
 *                            is one unmap of the whole range
 *   BAR of a peer device     if the backend can hold it; failing is listed, not fatal
 *   IOMMU                    what the guest's IOMMU maps (translation.h), piece by piece
 *   I/O                      never
 *
 * Edges that are not page-aligned are trimmed and listed (QEMU: start rounded up, end
 * down; hw/vfio/listener.c). What is not RAM and hits a reserved region is left out
 * there and listed; RAM that does is refused. With windows, only addresses inside
 * them are reachable, and only there do conflicts count.
 *
 * All or nothing: an addition or a populate that fails half way is undone by
 * the mapper itself. Errors: VFM_REFUSED_BUDGET names the block size with which all
 * sparse regions would fit at full size; VFM_REFUSED_MEMLOCK names the bytes needed
 * in all; VFM_REFUSED_RESERVED names region, device and addresses;
 * VFM_REFUSED_ALIGNMENT for blocks smaller than the smallest mapping.
 *
 * Ballooning of ordinary RAM is uncoordinated: a mapper forbids it (its listener
 * refuses the discard) unless made with page_granular, where RAM of a region with a
 * balloon's discard manager is mapped page by page, at a price that
 * vfm_mapper_page_granular_price() computes. Off by default.
 *
 * Units: bytes. Threads: no locking, one thread at a time.
 */
#pragma once

#include "container.h"
#include "memory_map.h"

typedef struct VfmMapper VfmMapper;

typedef struct {
    const GArray *windows; /* of VfmIovaRange: only these may be reached; NULL: everything */
    bool page_granular;    /* follow balloons page by page */
} VfmMapperOptions;

typedef enum {
    VFM_LEFT_EDGE,        /* not a whole page at a section's edge */
    VFM_LEFT_MISALIGNED,  /* address and memory differ within a page: can't be mapped at all */
    VFM_LEFT_RESERVED,    /* not RAM, in a reserved region or outside the aperture */
    VFM_LEFT_UNSUPPORTED, /* a peer's BAR, and the backend can't hold BARs */
    VFM_LEFT_FAILED,      /* a peer's BAR, or ROM when a device came or went, and the kernel refused it */
    VFM_LEFT_LOST         /* was mapped, had to go for a change that failed, and could not be mapped again */
} VfmLeftReason;

/* A range that is in the map and not reachable. */
typedef struct {
    uint64_t address, size; /* guest physical */
    const char *region;     /* borrowed from the map */
    VfmLeftReason reason;
} VfmLeft;

typedef struct {
    uint64_t mappings;         /* now, of this mapper */
    uint64_t mappings_at_full; /* with every block of every sparse region populated */
    VfmMaybe budget;
    uint64_t bytes; /* mapped now */
} VfmMapperUsage;

/* A mapping as it stands, for lists. */
typedef struct {
    uint64_t iova, size; /* of one mapping, or of @count equal ones side by side */
    uint64_t count;
    const char *region; /* borrowed from the map */
    unsigned prot;
} VfmMapperExtent;

/* The price of following a balloon in one region. */
typedef struct {
    uint64_t mappings_per_mib; /* 1 MiB / page, at least 1 */
    uint64_t mappings;         /* for all RAM that has a balloon, at full size */
    uint64_t mappings_now;     /* what the same RAM takes as large extents */
    bool fits;                 /* within the container's budget, beside everything else */
} VfmPagePrice;

/* A mapper of @map into @container (both borrowed, must outlive it), registered as the container's
 * client. Maps at once if a device is attached, else when the first one is. @options may be NULL and
 * is copied. NULL and @error if mapping fails; nothing is mapped then. */
VfmMapper *vfm_mapper_new(VfmContainer *container, VfmMemoryMap *map, const VfmMapperOptions *options, GError **error);

/* Unmaps everything and leaves the container and the map. */
void vfm_mapper_free(VfmMapper *mapper);

/* The container and the map it was made with; borrowed. */
VfmContainer *vfm_mapper_container(const VfmMapper *mapper);
/* See vfm_mapper_container(). */
VfmMemoryMap *vfm_mapper_map(const VfmMapper *mapper);

/* Fills in @usage. O(sections, and words of the bitmaps). */
void vfm_mapper_usage(const VfmMapper *mapper, VfmMapperUsage *usage);

/* New array of VfmLeft, by address. Free with g_array_unref(). */
GArray *vfm_mapper_left_out(const VfmMapper *mapper);

/* Appends to @extents (of VfmMapperExtent) at most @max mappings, equal neighbours as one element, from
 * the first at or above @from. Returns the address to go on from; 0 when done. For paged lists. */
uint64_t vfm_mapper_extents(const VfmMapper *mapper, uint64_t from, unsigned max, GArray *extents);

/* What following balloons page by page would cost here, whether it is on or not. */
void vfm_mapper_page_granular_price(const VfmMapper *mapper, VfmPagePrice *price);

/* Smallest power of two at which all sparse regions, at full size, fit the budget beside everything
 * else; not set where none does or there is no budget. */
VfmMaybe vfm_mapper_fitting_block(const VfmMapper *mapper);

/* "edge", "misaligned", "reserved", "unsupported", "failed", "lost"; static. */
const char *vfm_left_reason_name(VfmLeftReason reason);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmMapper, vfm_mapper_free)
