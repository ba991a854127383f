/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * dma_ledger.h - what guest_dma.h holds in the kernel, in memory that outlives its process.
 *
 * Made by a supervisor before it makes workers, which are clones of it: they share the memory (at
 * the same address) and the table of descriptors. A worker may die at any instruction; its successor
 * reads here what stands in the kernel (vfm_guest_dma_resume). Four tables of slots:
 *
 *   pieces   mappings in the kernel, or about to be, or about to be no more
 *   maps     what each client said and was, or will be, answered success for
 *   files    descriptors of guest memory, by number
 *   clients  by name
 *
 * One rule makes it safe: a slot is filled first and counts with one store of its state, and the order of
 * stores and kernel calls is
 *
 *   map     piece INTENT, kernel maps, piece MAPPED, for every piece; then the client's map STANDS
 *   unmap   the client's map FREE; then, for every piece nobody has any more: UNMAPPING, kernel unmaps, FREE
 *
 * So a MAPPED piece is in the kernel, a FREE one is not, and INTENT and UNMAPPING are unmapped by a successor, which
 * does nothing where nothing is. How many clients have a piece is not in here: it follows from the maps.
 * What of a message was done is known by its number, which a map carries and a client's last unmap leaves behind.
 *
 * Descriptors: a file's is the ledger's while its slot STANDS. A successor closes what is nobody's, before anything
 * else; vfm_dma_ledger_descriptors() says which are the ledger's.
 *
 * The memory is sparse and touched only as far as it is used: a piece is 40 bytes, a map 56. Units: bytes.
 * Threads and processes: one at a time, the caller's lock.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#define VFM_LEDGER_NONE UINT32_MAX

typedef struct VfmDmaLedger VfmDmaLedger;

typedef enum {
    VFM_LEDGER_FREE, /* every table; memory begins as zeroes */
    VFM_LEDGER_INTENT,
    VFM_LEDGER_MAPPED,
    VFM_LEDGER_UNMAPPING,
    VFM_LEDGER_STANDS,
    VFM_LEDGER_LEAVING /* a client whose maps go */
} VfmLedgerState;

typedef enum {
    VFM_LEDGER_PIECES,
    VFM_LEDGER_MAPS,
    VFM_LEDGER_FILES,
    VFM_LEDGER_CLIENTS,
    VFM_LEDGER_TABLES
} VfmLedgerTable;

/* Each begins with its VfmLedgerState, which only vfm_dma_ledger_add() and _set() write. */
typedef struct {
    uint32_t state;
    uint32_t file; /* slot */
    uint64_t start, last, offset;
    uint32_t prot; /* VfmProt */
} VfmLedgerPiece;

typedef struct {
    uint32_t state;
    uint32_t client; /* slot */
    uint32_t file;   /* slot; VFM_LEDGER_NONE: came without a descriptor, nothing is mapped */
    uint32_t prot;
    uint64_t start, last, offset;
    uint64_t message; /* that said so */
} VfmLedgerMap;

typedef struct {
    uint32_t state;
    int32_t fd;
    uint64_t device, inode, size;
} VfmLedgerFile;

typedef struct {
    uint32_t state;
    char name[60];
    uint64_t unmap_message; /* the last unmap that counts, */
    uint64_t unmapped;      /* and its answer */
} VfmLedgerClient;

/* How many slots; 0: plenty (2^18 pieces, 2^21 maps). */
typedef struct {
    uint32_t pieces, maps, files, clients;
} VfmDmaLedgerSize;

/* Empty. @size may be NULL. Errors: VFM_SYSTEM_ERROR if there is no address space for it. */
VfmDmaLedger *vfm_dma_ledger_new(const VfmDmaLedgerSize *size, GError **error);

/* Gives the memory back; descriptors stay open. */
void vfm_dma_ledger_free(VfmDmaLedger *ledger);

/* Appends the numbers of the descriptors (int) that are the ledger's. Changes nothing. */
void vfm_dma_ledger_descriptors(const VfmDmaLedger *ledger, GArray *fds);

/* Nothing in it. */
bool vfm_dma_ledger_is_empty(const VfmDmaLedger *ledger);

/* --- for guest_dma and guest_file */

/* Reads which slots are free, in a process that did not write them: before the first _add(). */
void vfm_dma_ledger_load(VfmDmaLedger *ledger);

/* A slot with a copy of @content (of the table's type), in @state. VFM_LEDGER_NONE and VFM_REFUSED_BUDGET if
 * all are taken. */
uint32_t vfm_dma_ledger_add(VfmDmaLedger *ledger, VfmLedgerTable table, const void *content, VfmLedgerState state,
                            GError **error);

/* Changes a slot's state. With VFM_LEDGER_FREE it is free. */
void vfm_dma_ledger_set(VfmDmaLedger *ledger, VfmLedgerTable table, uint32_t slot, VfmLedgerState state);

/* Slots that have ever been used: 0 up to this. */
uint32_t vfm_dma_ledger_used(const VfmDmaLedger *ledger, VfmLedgerTable table);

/* Content of a slot; to be read. */
const void *vfm_dma_ledger_at(const VfmDmaLedger *ledger, VfmLedgerTable table, uint32_t slot);

/* From now on the client's unmap @message is decided, its answer @unmapped bytes. */
void vfm_dma_ledger_note_unmap(VfmDmaLedger *ledger, uint32_t client, uint64_t message, uint64_t unmapped);

/* Bytes pinned since the beginning, over all processes. */
uint64_t *vfm_dma_ledger_pinned_total(VfmDmaLedger *ledger);

/* For tests: @step is called before and after every store that counts. */
void vfm_dma_ledger_set_step(VfmDmaLedger *ledger, void (*step)(gpointer data), gpointer data);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDmaLedger, vfm_dma_ledger_free)
