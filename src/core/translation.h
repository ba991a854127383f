/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * translation.h - what a virtual IOMMU maps for one device context.
 *
 * With a vIOMMU a device sees IOVAs that the guest's IOMMU translates to guest
 * physical addresses. One VfmTranslation sits on one IOMMU region and owns the
 * table of present translations, cut into pieces at section and block boundaries.
 * It translates through the target memory map, refuses what is not RAM and what lies
 * in a discarded block, and takes pieces back by itself when their block is discarded
 * or their section goes, before the discard completes: old pages never outlive it.
 * (QEMU's hw/vfio/listener.c only warns there.) Such pieces are not restored when the
 * block returns: the guest unmapped memory it had not unmapped in its IOMMU, and maps it anew. They are
 * when the discard is refused after all: the block stays in use, and so does what leads there.
 *
 * It never talks to a backend; mappers listen. Late listeners get a replay. Entries
 * are bounded, since a guest can make as many as it likes.
 *
 * Units: bytes. Threads: no locking, one thread at a time.
 */
#pragma once

#include "backend.h"
#include "memory_map.h"

typedef struct VfmTranslationListener VfmTranslationListener;

/* One piece: within one section, and within one block where the region is sparse. */
typedef struct {
    uint64_t iova, size;
    uint64_t gpa;    /* guest physical */
    uint8_t *vaddr;  /* where this process has it */
    int fd;          /* the memory's, or -1 */
    uint64_t offset; /* of @vaddr in @fd */
    unsigned prot;   /* VfmProt, less what a ROM can't */
    bool peer;       /* in a peer device's BAR */
} VfmTranslated;

typedef struct {
    /* @piece is translated now. Refusing undoes the whole map request. */
    bool (*map)(VfmTranslationListener *listener, const VfmTranslated *piece, GError **error);
    /* All pieces within iova..iova+size end; they are still in the table. Refusing keeps them. */
    bool (*unmap)(VfmTranslationListener *listener, uint64_t iova, uint64_t size, GError **error);
} VfmTranslationListenerOps;

struct VfmTranslationListener {
    const VfmTranslationListenerOps *ops;
};

/* An empty table that translates to @target (borrowed, must outlive it). At most @max_pieces, 0: 65535.
 * @name is copied. Errors: those of registering with @target and its discard managers. */
VfmTranslation *vfm_translation_new(const char *name, VfmMemoryMap *target, uint64_t max_pieces, GError **error);
/* Frees the table and leaves the target; no listener may be left. NULL is fine. */
void vfm_translation_free(VfmTranslation *translation);

/*
 * iova..iova+size now leads to @gpa with @prot. Mapping again exactly what is there is success, so that
 * a whole table can be replayed. Nothing changes on failure. Errors: VFM_REFUSED_STATE if any part is
 * in a discarded block, is not memory, or is translated otherwise already; VFM_REFUSED_BUDGET beyond
 * @max_pieces; VFM_INPUT_RANGE if a range is empty or wraps; what a listener set.
 */
bool vfm_translation_map(VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t gpa, unsigned prot,
                         GError **error);

/* All pieces within iova..iova+size end, in one call to each listener; nothing there is success. *@unmapped
 * (may be NULL) is the bytes. Errors: VFM_REFUSED_ALIGNMENT if a piece would be cut; what a listener set. */
bool vfm_translation_unmap(VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t *unmapped,
                           GError **error);

/* Registers @listener (borrowed) and replays all pieces; a refusal undoes the replay. */
bool vfm_translation_add_listener(VfmTranslation *translation, VfmTranslationListener *listener, GError **error);
/* Forgets it without a callback. */
void vfm_translation_remove_listener(VfmTranslation *translation, VfmTranslationListener *listener);

/* Pieces in the table now. */
uint64_t vfm_translation_pieces(const VfmTranslation *translation);
/* How many were taken back so far because their memory went. */
uint64_t vfm_translation_revoked(const VfmTranslation *translation);

/* One piece, borrowed; false ends the walk. Must not change the table. */
typedef bool (*VfmTranslationFunc)(void *data, const VfmTranslated *piece);
/* Calls @fn for each piece that touches iova..iova+size, ascending, until it returns false. */
void vfm_translation_foreach(const VfmTranslation *translation, uint64_t iova, uint64_t size, VfmTranslationFunc fn,
                             void *data);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmTranslation, vfm_translation_free)
