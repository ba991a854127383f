/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest_dma_private.h - what the parts of guest_dma share and nobody else sees.
 *
 * guest_dma.c         clients, their maps and unmaps; the container's client
 * guest_dma_cover.c   pieces: cutting, taking, lingering, dropping; the only part that maps
 * guest_dma_resume.c  taking over what a predecessor left
 *
 * Order of notes in the ledger and kernel calls: dma_ledger.h. All with the lock held.
 */
#pragma once

#include "guest_dma.h"
#include "guest_file.h"

/* Mapped in the kernel as one, or to be when a device is there. Address of the tree's key, so @start comes first. */
typedef struct {
    uint64_t start, last;
    VfmGuestFile *file;
    uint64_t offset;
    unsigned prot;
    unsigned users; /* clients that have it; 0: lingering */
    bool mapped;
    uint32_t slot; /* in the ledger while @mapped */
} VfmDmaPiece;

/* A map as a client sent it; @start comes first, likewise. */
typedef struct {
    uint64_t start, last;
    VfmGuestFile *file; /* with a reference; NULL: no descriptor, nothing mapped */
    uint32_t slot;
} VfmDmaMap;

struct VfmGuestDmaClient {
    VfmGuestDma *dma;
    char *name;
    GTree *maps; /* of VfmDmaMap */
    uint64_t message;
    uint32_t slot;
    gint64 until; /* for others, set with the first wait after an unmap; 0: none yet */
};

struct VfmGuestDma {
    VfmContainerClient client; /* first: what the container sees */
    VfmContainer *container;
    VfmDmaLedger *ledger; /* may be NULL */
    GArray *windows;      /* of VfmIovaRange; NULL: everything */
    VfmGuestFiles *files;
    GTree *pieces;      /* of VfmDmaPiece */
    GPtrArray *waiting; /* of VfmGuestDmaClient*: a predecessor's, not rejoined yet */
    unsigned clients;
    uint64_t bytes, lingering, skipped;
    uint64_t own_total, *pinned_total; /* the latter may be the ledger's */
    int64_t patience;
    GMutex lock;
    GCond released; /* a client let go of something */
};

/* A map in the making: what to take back if it fails. */
typedef struct {
    VfmGuestDma *dma;
    VfmGuestDmaClient *client;
    const VfmVfuDmaMap *map;
    VfmGuestFile *file;
    unsigned prot;
    GPtrArray *taken; /* of VfmDmaPiece*, each with a user of ours */
} VfmDmaUndertaking;

static inline uint64_t vfm_dma_piece_size(const VfmDmaPiece *piece)
{
    return piece->last - piece->start + 1;
}

/* --- guest_dma.c */

/* The first element of a tree of pieces or maps that ends at or after @address. */
GTreeNode *vfm_dma_first_ending_from(GTree *tree, uint64_t address);
/* An object without a client in the container. */
VfmGuestDma *vfm_dma_make(VfmContainer *container, const GArray *windows, VfmDmaLedger *ledger);
/* Frees it and nothing else: what stands in kernel and ledger stands. */
void vfm_dma_abandon(VfmGuestDma *dma);
VfmGuestDmaClient *vfm_dma_client_new(VfmGuestDma *dma, const char *name, uint32_t slot);
void vfm_dma_client_free(VfmGuestDmaClient *client);
/* @file: NULL or with a reference, which is taken. */
void vfm_dma_remember(VfmGuestDmaClient *client, uint64_t start, uint64_t last, VfmGuestFile *file, uint32_t slot);
void vfm_dma_leave(VfmGuestDmaClient *client);

/* --- guest_dma_cover.c */

/* The kernel's mapping of a piece, and its end. */
void vfm_dma_piece_mapping(const VfmDmaPiece *piece, VfmMapping *mapping);
bool vfm_dma_piece_map(VfmGuestDma *dma, VfmDmaPiece *piece, GError **error);
bool vfm_dma_piece_unmap(VfmGuestDma *dma, VfmDmaPiece *piece);
/* One client less. */
void vfm_dma_piece_let_go(VfmGuestDma *dma, VfmDmaPiece *piece);
/* Whether what nobody has any more may stay for a while: see guest_dma.h, Lingering. */
bool vfm_dma_piece_may_linger(const VfmDmaPiece *piece);
/* Covers what @work's map describes, as far as the windows go, with pieces. On failure what was taken is in @work. */
bool vfm_dma_cover(VfmDmaUndertaking *work, GError **error);
/* Gives back what a failed undertaking took. */
void vfm_dma_take_back(VfmDmaUndertaking *work);
/* Drops all of @doomed (VfmDmaPiece* by address, without users), joined to the longest runs. What fails lingers. */
bool vfm_dma_drop(VfmGuestDma *dma, GPtrArray *doomed, GError **error);
/* Drops what nobody has. */
bool vfm_dma_settle(VfmGuestDma *dma, GError **error);
