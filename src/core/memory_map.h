/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory_map.h - the guest memory map: what stands at which guest physical address.
 *
 * Regions (RAM, ROM, a device's BAR, an IOMMU window, plain I/O) are placed with a
 * priority and may overlap. The map flattens them into sections, ascending and
 * without overlap, and tells its listeners only the difference, deletions before
 * additions, once per transaction. It is all or nothing: when a listener refuses,
 * every listener is taken back and the map is what it was before the transaction.
 *
 * The map holds references to regions; a region borrows the memory it describes.
 * Blocks of a sparse region are not placements: they live in its discard manager
 * (discard.h), so a plug costs nothing here. The map never maps anything.
 *
 * Rules taken from QEMU (system/memory.c): the higher priority is seen, among
 * equals the one placed last; neighbours of the same region that continue each
 * other are one section. Units: bytes. Threads: no locking, one thread at a time;
 * a listener must not change the map from a callback.
 */
#pragma once

#include "discard.h"
#include "domain.h"

typedef struct VfmTranslation VfmTranslation; /* translation.h */

typedef enum {
    VFM_REGION_RAM,   /* memory, written by devices; sparse if it has a discard manager */
    VFM_REGION_ROM,   /* memory that devices may only read */
    VFM_REGION_BAR,   /* a device's BAR that is mapped in this process: peer to peer DMA */
    VFM_REGION_IOMMU, /* addresses that a virtual IOMMU translates */
    VFM_REGION_IO     /* anything else: hides what is below, is never reachable by DMA */
} VfmRegionKind;

typedef struct {
    char *name; /* "boot RAM", "virtio-mem vm0": in every message */
    VfmRegionKind kind;
    uint64_t size;
    uint8_t *vaddr;              /* where this process has it mapped; NULL for IOMMU and IO */
    int fd;                      /* its descriptor, or -1; borrowed */
    uint64_t fd_offset;          /* of @vaddr in @fd */
    VfmDiscard *discard;         /* who says which blocks may be mapped; NULL: all, always. Owned */
    bool balloon;                /* @discard is a balloon's, page by page: only mappers made with
                                  * page_granular follow it, others forbid it (mapper.h) */
    VfmTranslation *translation; /* of an IOMMU region; borrowed */
    GDestroyNotify release;      /* called with @release_data when the last reference goes; may be NULL */
    void *release_data;
    unsigned refs;
} VfmRegion;

/* A region with one reference. @name is copied. @vaddr (NULL where the kind has none)
 * and @fd (-1 for none) are borrowed until the region is gone. Other fields are set by
 * the caller before the region is placed. Never fails. */
VfmRegion *vfm_region_new(const char *name, VfmRegionKind kind, uint64_t size, void *vaddr, int fd, uint64_t fd_offset);
/* One more reference; returns @region. */
VfmRegion *vfm_region_ref(VfmRegion *region);
/* One reference less; with the last one the discard manager is freed and @release called. NULL is fine. */
void vfm_region_unref(VfmRegion *region);
/* "RAM", "ROM", "BAR", "IOMMU", "I/O"; static. */
const char *vfm_region_kind_name(VfmRegionKind kind);

/* A range of one region at one guest physical address. */
typedef struct {
    uint64_t address; /* guest physical */
    uint64_t size;
    uint64_t offset;   /* of @address in @region */
    VfmRegion *region; /* borrowed from the map */
} VfmSection;

typedef struct VfmMemoryMap VfmMemoryMap;
typedef struct VfmMapListener VfmMapListener;

/* All but remove and add may be NULL. Within a transaction: check, begin, remove..., add..., end. */
typedef struct {
    /* Whether this change (arrays of VfmSection, ascending) will be refused, as far as that is known beforehand.
     * Called before anything is touched, so that a refusal disturbs no device. */
    bool (*check)(VfmMapListener *listener, const GArray *removed, const GArray *added, GError **error);
    void (*begin)(VfmMapListener *listener);
    /* @section is no longer seen. Refusing (nothing changed, @error set) undoes the transaction. */
    bool (*remove)(VfmMapListener *listener, const VfmSection *section, GError **error);
    /* @section is seen now; nothing else is at these addresses. Refusing undoes the transaction. */
    bool (*add)(VfmMapListener *listener, const VfmSection *section, GError **error);
    /* @section was removed in this transaction, which is being undone. It is seen again whatever this returns:
     * on failure the listener must remember that it does not have it. NULL: add is called. */
    bool (*restore)(VfmMapListener *listener, const VfmSection *section, GError **error);
    /* @kept: false if the transaction was undone. vfm_memory_map_find() answers for the new state here. */
    void (*end)(VfmMapListener *listener, bool kept);
} VfmMapListenerOps;

/* Embedded by the listener. */
struct VfmMapListener {
    const VfmMapListenerOps *ops;
};

/* An empty map; @name is copied, for messages. Never fails. */
VfmMemoryMap *vfm_memory_map_new(const char *name);
/* Drops all placements without telling anyone: no listener may be left. NULL is fine. */
void vfm_memory_map_free(VfmMemoryMap *map);
/* The name given at creation; borrowed. */
const char *vfm_memory_map_name(const VfmMemoryMap *map);

/* Opens a transaction; they nest, only the outermost commit acts. */
void vfm_memory_map_begin(VfmMemoryMap *map);

/* Ends it. On the outermost level the listeners are told; if one refuses, false is
 * returned, @error is what it said, and the map is as it was at the outermost begin.
 * Should taking back fail too (a mapping that was removed can't be made again), the
 * listener concerned keeps the loss on its list and @error says so. */
bool vfm_memory_map_commit(VfmMemoryMap *map, GError **error);

/* Gives up the open transaction, all levels of it: as if begin had not been called. */
void vfm_memory_map_abort(VfmMemoryMap *map);

/* Places offset..offset+size of @region (a reference is taken) at @address. Returns the
 * placement's id, never reused; 0 on failure. Errors: VFM_INPUT_RANGE if the range is
 * empty, not inside the region, or ends above 2^64-1; outside a transaction also what
 * vfm_memory_map_commit() says, since the call is a transaction of its own then. */
unsigned vfm_memory_map_place(VfmMemoryMap *map, VfmRegion *region, uint64_t offset, uint64_t size, uint64_t address,
                              int priority, GError **error);

/* Takes a placement away; transaction of its own outside of one.
 * Errors: VFM_INPUT_USAGE if there is no such placement; what commit says. */
bool vfm_memory_map_remove(VfmMemoryMap *map, unsigned id, GError **error);
/* Gives a placement another address and priority, as above. Errors: VFM_INPUT_RANGE as for placing, too. */
bool vfm_memory_map_move(VfmMemoryMap *map, unsigned id, uint64_t address, int priority, GError **error);

/* The flat view as of the last commit: of VfmSection, ascending. Borrowed, valid until the next commit. */
const GArray *vfm_memory_map_sections(const VfmMemoryMap *map);

/* The section that holds @address, or NULL. Borrowed as above. O(log sections). */
const VfmSection *vfm_memory_map_find(const VfmMemoryMap *map, uint64_t address);

/* Registers @listener (borrowed until removed) and adds every present section to it. If it
 * refuses one, those before are removed again and it is not registered. Order of registration
 * is order of notification. Not within a transaction. */
bool vfm_memory_map_add_listener(VfmMemoryMap *map, VfmMapListener *listener, GError **error);

/* Removes every present section from @listener and forgets it. A refused removal is
 * ignored but returned as false with @error, after everything else was removed. */
bool vfm_memory_map_remove_listener(VfmMemoryMap *map, VfmMapListener *listener, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmMemoryMap, vfm_memory_map_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmRegion, vfm_region_unref)
