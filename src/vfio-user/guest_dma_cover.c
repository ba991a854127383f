/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "guest_dma_private.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Where firmware reshapes memory (q35, i440fx): by the page from 640 KiB to 1 MiB, in pieces below 4 GiB. */
#define SHADOW_START (640 * KIB)
#define SHADOW_END MIB
#define LOW_PIECE (256 * MIB)
#define LOW_END (4 * GIB)
#define PAGE (4 * KIB)

void vfm_dma_piece_mapping(const VfmDmaPiece *piece, VfmMapping *mapping)
{
    *mapping = (VfmMapping){
        .iova = piece->start,
        .size = vfm_dma_piece_size(piece),
        .vaddr = piece->file->base + piece->offset,
        .fd = piece->file->fd,
        .offset = piece->offset,
        .prot = piece->prot,
    };
}

/* --- notes around kernel calls; nothing without a ledger */

static bool note_intent(VfmGuestDma *dma, VfmDmaPiece *piece, GError **error)
{
    VfmLedgerPiece note = {.start = piece->start,
                           .last = piece->last,
                           .file = piece->file->slot,
                           .offset = piece->offset,
                           .prot = piece->prot};

    if (!dma->ledger)
        return true;
    piece->slot = vfm_dma_ledger_add(dma->ledger, VFM_LEDGER_PIECES, &note, VFM_LEDGER_INTENT, error);
    return piece->slot != VFM_LEDGER_NONE;
}

static void note(VfmGuestDma *dma, const VfmDmaPiece *piece, VfmLedgerState state)
{
    if (dma->ledger)
        vfm_dma_ledger_set(dma->ledger, VFM_LEDGER_PIECES, piece->slot, state);
}

bool vfm_dma_piece_map(VfmGuestDma *dma, VfmDmaPiece *piece, GError **error)
{
    VfmMapping mapping;

    if (vfm_container_devices(dma->container) == 0)
        return true;
    vfm_dma_piece_mapping(piece, &mapping);
    if (!note_intent(dma, piece, error))
        return false;
    if (!vfm_container_map(dma->container, &mapping, error)) {
        note(dma, piece, VFM_LEDGER_FREE);
        return false;
    }
    note(dma, piece, VFM_LEDGER_MAPPED);
    piece->mapped = true;
    *dma->pinned_total += mapping.size;
    return true;
}

/* @count mapped pieces side by side, in one call. */
static bool unmap_run(VfmGuestDma *dma, VfmDmaPiece **run, unsigned count, GError **error)
{
    uint64_t start = run[0]->start, size = run[count - 1]->last - start + 1;
    bool done;

    for (unsigned i = 0; i < count; i++)
        note(dma, run[i], VFM_LEDGER_UNMAPPING);
    done = vfm_container_unmap(dma->container, start, size, count, size, 0, error);
    for (unsigned i = 0; i < count; i++) {
        note(dma, run[i], done ? VFM_LEDGER_FREE : VFM_LEDGER_MAPPED);
        run[i]->mapped = !done;
    }
    return done;
}

bool vfm_dma_piece_unmap(VfmGuestDma *dma, VfmDmaPiece *piece)
{
    return unmap_run(dma, &piece, 1, NULL);
}

static void piece_forget(VfmGuestDma *dma, VfmDmaPiece *piece)
{
    g_tree_remove(dma->pieces, piece);
    dma->bytes -= vfm_dma_piece_size(piece);
    if (piece->users == 0)
        dma->lingering -= vfm_dma_piece_size(piece);
    vfm_guest_files_put(dma->files, piece->file);
    g_free(piece);
}

/* Unmaps and forgets @count pieces without users that lie side by side, in one call. On failure they linger. */
static bool drop_run(VfmGuestDma *dma, VfmDmaPiece **run, unsigned count, GError **error)
{
    if (run[0]->mapped && !unmap_run(dma, run, count, error))
        return false;
    for (unsigned i = 0; i < count; i++)
        piece_forget(dma, run[i]);
    return true;
}

bool vfm_dma_drop(VfmGuestDma *dma, GPtrArray *doomed, GError **error)
{
    bool all = true;

    for (unsigned i = 0, n; i < doomed->len; i += n) {
        VfmDmaPiece **run = (VfmDmaPiece **)&doomed->pdata[i];

        for (n = 1; i + n < doomed->len; n++)
            if (run[n]->start != run[n - 1]->last + 1 || run[n]->mapped != run[0]->mapped)
                break;
        /* Go on after a failure: the rest must not stay reachable. The first error is told. */
        if (!drop_run(dma, run, n, all ? error : NULL))
            all = false;
    }
    return all;
}

bool vfm_dma_settle(VfmGuestDma *dma, GError **error)
{
    g_autoptr(GPtrArray) doomed = NULL;

    if (dma->lingering == 0)
        return true;
    doomed = g_ptr_array_new();
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);

        if (piece->users == 0)
            g_ptr_array_add(doomed, piece);
    }
    return vfm_dma_drop(dma, doomed, error);
}

bool vfm_dma_piece_may_linger(const VfmDmaPiece *piece)
{
    return piece->mapped && piece->last < LOW_END &&
           vfm_guest_file_is_full(piece->file, piece->offset, vfm_dma_piece_size(piece));
}

void vfm_dma_piece_let_go(VfmGuestDma *dma, VfmDmaPiece *piece)
{
    if (--piece->users == 0)
        dma->lingering += vfm_dma_piece_size(piece);
}

static void piece_take(VfmGuestDma *dma, VfmDmaPiece *piece)
{
    if (piece->users++ == 0)
        dma->lingering -= vfm_dma_piece_size(piece);
}

/* Where the piece that begins at @address has to end, at the latest. */
static uint64_t cut_after(uint64_t address, uint64_t last)
{
    uint64_t end = last;

    if (address < SHADOW_START)
        end = SHADOW_START - 1;
    else if (address < SHADOW_END)
        end = (address | (PAGE - 1));
    else if (address < LOW_END)
        end = (address | (LOW_PIECE - 1));
    return MIN(end, last);
}

static bool same_memory(const VfmDmaUndertaking *work, const VfmDmaPiece *piece)
{
    return piece->file == work->file && piece->prot == work->prot &&
           piece->offset == work->map->offset + (piece->start - work->map->address);
}

/* Makes a piece of start..last, where nothing is. */
static bool add_piece(VfmDmaUndertaking *work, uint64_t start, uint64_t last, GError **error)
{
    VfmGuestDma *dma = work->dma;
    g_autoptr(GError) local = NULL;
    VfmDmaPiece *piece = g_new0(VfmDmaPiece, 1);

    piece->start = start;
    piece->last = last;
    piece->file = work->file;
    piece->offset = work->map->offset + (start - work->map->address);
    piece->prot = work->prot;
    piece->users = 1;
    if (!vfm_dma_piece_map(dma, piece, &local)) {
        /* What only lingers must not be why new memory does not fit. */
        if (dma->lingering == 0 || !vfm_dma_settle(dma, NULL) || !vfm_dma_piece_map(dma, piece, NULL)) {
            g_propagate_error(error, g_steal_pointer(&local));
            g_free(piece);
            return false;
        }
    }
    vfm_guest_file_ref(piece->file);
    g_tree_insert(dma->pieces, piece, piece);
    dma->bytes += vfm_dma_piece_size(piece);
    g_ptr_array_add(work->taken, piece);
    return true;
}

/* @piece is in the way. True if it is gone, or something changed: look again. */
static bool make_way(VfmDmaUndertaking *work, VfmDmaPiece *piece, GError **error)
{
    VfmGuestDma *dma = work->dma;

    if (piece->users == 0)
        return drop_run(dma, &piece, 1, error);
    if (!work->client->until)
        work->client->until = g_get_monotonic_time() + dma->patience;
    if (g_cond_wait_until(&dma->released, &dma->lock, work->client->until))
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                "guest memory at %#" G_GINT64_MODIFIER "x is described differently by another device of the guest, "
                "which did not let go of it",
                piece->start);
    return false;
}

/* Covers start..last with pieces, existing ones where they are the same memory. */
static bool cover_part(VfmDmaUndertaking *work, uint64_t start, uint64_t last, GError **error)
{
    VfmGuestDma *dma = work->dma;
    uint64_t at = start;

    for (;;) {
        uint64_t end = cut_after(at, last);
        GTreeNode *node = vfm_dma_first_ending_from(dma->pieces, at);
        VfmDmaPiece *piece = node ? g_tree_node_key(node) : NULL;

        if (piece && piece->start <= at) {
            if (piece->start == at && piece->last <= last && same_memory(work, piece)) {
                piece_take(dma, piece);
                g_ptr_array_add(work->taken, piece);
                end = piece->last;
            } else if (make_way(work, piece, error)) {
                continue;
            } else {
                return false;
            }
        } else {
            if (piece && piece->start <= end)
                end = piece->start - 1;
            if (!add_piece(work, at, end, error))
                return false;
        }
        if (end == last)
            return true;
        at = end + 1;
    }
}

void vfm_dma_take_back(VfmDmaUndertaking *work)
{
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();

    for (unsigned i = 0; i < work->taken->len; i++) {
        VfmDmaPiece *piece = work->taken->pdata[i];

        vfm_dma_piece_let_go(work->dma, piece);
        if (piece->users == 0 && !vfm_dma_piece_may_linger(piece))
            g_ptr_array_add(doomed, piece);
    }
    /* By address, as they were taken. What can't be unmapped lingers and is tried again. */
    vfm_dma_drop(work->dma, doomed, NULL);
    g_cond_broadcast(&work->dma->released);
}

bool vfm_dma_cover(VfmDmaUndertaking *work, GError **error)
{
    VfmGuestDma *dma = work->dma;
    uint64_t start = work->map->address, last = start + (work->map->size - 1);
    g_autoptr(GArray) parts = NULL;

    if (dma->windows) {
        parts = vfm_ranges_clip(dma->windows, start, last);
    } else {
        parts = vfm_ranges_new();
        vfm_ranges_add(parts, start, last);
    }
    for (unsigned i = 0; i < parts->len; i++) {
        const VfmIovaRange *part = &g_array_index(parts, VfmIovaRange, i);

        if (vfm_container_devices(dma->container) > 0 &&
            !vfm_ranges_contain(vfm_container_usable(dma->container), part->start, part->last)) {
            g_set_error(error, VFM_REFUSED, VFM_REFUSED_RESERVED,
                        "guest memory %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER
                        "x is not within what the assigned devices can reach",
                        part->start, part->last);
            return false;
        }
        if (!cover_part(work, part->start, part->last, error))
            return false;
    }
    return true;
}
