/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "guest_dma_private.h"

/* What is read from the ledger, by slot. */
typedef struct {
    VfmGuestDma *dma;
    GPtrArray *files;   /* of VfmGuestFile*, with a reference of ours; NULL: free */
    GPtrArray *clients; /* of VfmGuestDmaClient*; NULL: free, or has left */
} Picture;

static bool read_files(Picture *picture, GError **error)
{
    VfmDmaLedger *ledger = picture->dma->ledger;

    for (uint32_t i = 0; i < vfm_dma_ledger_used(ledger, VFM_LEDGER_FILES); i++) {
        const VfmLedgerFile *note = vfm_dma_ledger_at(ledger, VFM_LEDGER_FILES, i);
        VfmGuestFile *file = NULL;

        if (note->state != VFM_LEDGER_FREE) {
            file = vfm_guest_files_adopt(picture->dma->files, i, error);
            if (!file)
                return false;
        }
        g_ptr_array_add(picture->files, file);
    }
    return true;
}

static VfmGuestFile *file_of(const Picture *picture, uint32_t slot)
{
    return slot < picture->files->len ? picture->files->pdata[slot] : NULL;
}

/* A predecessor that wrote where it should not have may have written here. */
static bool inconsistent(GError **error, const char *what, uint32_t slot)
{
    vfm_set_system_error(error, EBADMSG, "the record of mappings was overwritten: %s %u can't be", what, slot);
    return false;
}

/* Whether start..last can be memory at @offset of @file, and nothing of @tree is there. */
static bool is_possible(GTree *tree, uint64_t start, uint64_t last, const VfmGuestFile *file, uint64_t offset)
{
    GTreeNode *node = vfm_dma_first_ending_from(tree, start);

    if (last < start || last - start == UINT64_MAX || (node && *(const uint64_t *)g_tree_node_key(node) <= last))
        return false;
    return !file || (offset <= file->size && last - start < file->size - offset);
}

static void take_piece(Picture *picture, uint32_t slot, const VfmLedgerPiece *note, VfmGuestFile *file)
{
    VfmGuestDma *dma = picture->dma;
    VfmDmaPiece *piece = g_new0(VfmDmaPiece, 1);
    VfmMapping mapping;

    *piece = (VfmDmaPiece){.start = note->start,
                           .last = note->last,
                           .file = vfm_guest_file_ref(file),
                           .offset = note->offset,
                           .prot = note->prot,
                           .mapped = true,
                           .slot = slot};
    g_tree_insert(dma->pieces, piece, piece);
    dma->bytes += vfm_dma_piece_size(piece);
    dma->lingering += vfm_dma_piece_size(piece);
    vfm_dma_piece_mapping(piece, &mapping);
    vfm_container_adopt_mapping(dma->container, &mapping);
}

/* What is certainly mapped is taken, as nobody's for now; what may be is unmapped. */
static bool read_pieces(Picture *picture, GError **error)
{
    VfmGuestDma *dma = picture->dma;
    bool devices = vfm_container_devices(dma->container) > 0;

    for (uint32_t i = 0; i < vfm_dma_ledger_used(dma->ledger, VFM_LEDGER_PIECES); i++) {
        const VfmLedgerPiece *note = vfm_dma_ledger_at(dma->ledger, VFM_LEDGER_PIECES, i);
        VfmGuestFile *file = file_of(picture, note->file);

        if (note->state == VFM_LEDGER_FREE)
            continue;
        if (note->last < note->start || note->last - note->start == UINT64_MAX)
            return inconsistent(error, "piece", i);
        if (note->state == VFM_LEDGER_MAPPED && devices) {
            if (!file || !is_possible(dma->pieces, note->start, note->last, file, note->offset))
                return inconsistent(error, "piece", i);
            take_piece(picture, i, note, file);
            continue;
        }
        if (!vfm_container_clear(dma->container, note->start, note->last - note->start + 1, error))
            return false;
        vfm_dma_ledger_set(dma->ledger, VFM_LEDGER_PIECES, i, VFM_LEDGER_FREE);
    }
    return true;
}

static void read_clients(Picture *picture)
{
    VfmDmaLedger *ledger = picture->dma->ledger;

    for (uint32_t i = 0; i < vfm_dma_ledger_used(ledger, VFM_LEDGER_CLIENTS); i++) {
        const VfmLedgerClient *note = vfm_dma_ledger_at(ledger, VFM_LEDGER_CLIENTS, i);
        VfmGuestDmaClient *client = NULL;

        if (note->state == VFM_LEDGER_STANDS) {
            g_autofree char *name = g_strndup(note->name, sizeof(note->name));

            client = vfm_dma_client_new(picture->dma, name, i);
            g_ptr_array_add(picture->dma->waiting, client);
        }
        g_ptr_array_add(picture->clients, client);
    }
}

/* The maps of clients; those of one that was leaving go. */
static bool read_maps(Picture *picture, GError **error)
{
    VfmDmaLedger *ledger = picture->dma->ledger;

    for (uint32_t i = 0; i < vfm_dma_ledger_used(ledger, VFM_LEDGER_MAPS); i++) {
        const VfmLedgerMap *note = vfm_dma_ledger_at(ledger, VFM_LEDGER_MAPS, i);
        VfmGuestDmaClient *client = note->client < picture->clients->len ? picture->clients->pdata[note->client] : NULL;
        VfmGuestFile *file = NULL;

        if (note->state == VFM_LEDGER_FREE)
            continue;
        if (!client) {
            vfm_dma_ledger_set(ledger, VFM_LEDGER_MAPS, i, VFM_LEDGER_FREE);
            continue;
        }
        if (note->file != VFM_LEDGER_NONE) {
            file = file_of(picture, note->file);
            if (!file)
                return inconsistent(error, "map", i);
        }
        if (!is_possible(client->maps, note->start, note->last, file, note->offset))
            return inconsistent(error, "map", i);
        if (file)
            vfm_guest_file_ref(file);
        vfm_dma_remember(client, note->start, note->last, file, i);
    }
    return true;
}

static void finish_leaving(Picture *picture)
{
    VfmDmaLedger *ledger = picture->dma->ledger;

    for (uint32_t i = 0; i < picture->clients->len; i++) {
        const VfmLedgerClient *note = vfm_dma_ledger_at(ledger, VFM_LEDGER_CLIENTS, i);

        if (note->state == VFM_LEDGER_LEAVING)
            vfm_dma_ledger_set(ledger, VFM_LEDGER_CLIENTS, i, VFM_LEDGER_FREE);
    }
}

/* All pieces that the client's maps need: taken where they stand, mapped where they do not. */
static bool cover_client(VfmGuestDmaClient *client, GError **error)
{
    for (GTreeNode *node = g_tree_node_first(client->maps); node; node = g_tree_node_next(node)) {
        const VfmDmaMap *map = g_tree_node_key(node);
        const VfmLedgerMap *note = vfm_dma_ledger_at(client->dma->ledger, VFM_LEDGER_MAPS, map->slot);
        g_autoptr(GPtrArray) taken = g_ptr_array_new();
        VfmVfuDmaMap request = {.offset = note->offset, .address = map->start, .size = map->last - map->start + 1};
        VfmDmaUndertaking work = {.dma = client->dma,
                                  .client = client,
                                  .map = &request,
                                  .file = map->file,
                                  .prot = note->prot,
                                  .taken = taken};

        if (map->file && !vfm_dma_cover(&work, error))
            return false;
    }
    return true;
}

/* What nobody has: left by messages that were not finished, and by the rules of lingering. */
static void drop_unclaimed(VfmGuestDma *dma)
{
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();

    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);

        if (piece->users == 0 && !vfm_dma_piece_may_linger(piece))
            g_ptr_array_add(doomed, piece);
    }
    /* What can't be unmapped lingers and is tried again. */
    vfm_dma_drop(dma, doomed, NULL);
}

static bool read_all(Picture *picture, GError **error)
{
    VfmGuestDma *dma = picture->dma;

    vfm_dma_ledger_load(dma->ledger);
    if (!read_files(picture, error) || !read_pieces(picture, error))
        return false;
    read_clients(picture);
    if (!read_maps(picture, error))
        return false;
    finish_leaving(picture);
    for (unsigned i = 0; i < dma->waiting->len; i++)
        if (!cover_client(dma->waiting->pdata[i], error))
            return false;
    drop_unclaimed(dma);
    /* Where the kernel counts, it has the last word: a mapping that we do not know of must not go on. */
    if (vfm_container_devices(dma->container) > 0 && !vfm_container_verify(dma->container, error))
        return false;
    for (unsigned i = 0; i < picture->files->len; i++)
        vfm_guest_files_put(dma->files, picture->files->pdata[i]);
    return true;
}

VfmGuestDma *vfm_guest_dma_resume(VfmContainer *container, const GArray *windows, VfmDmaLedger *ledger, GError **error)
{
    Picture picture = {
        .dma = vfm_dma_make(container, windows, ledger), .files = g_ptr_array_new(), .clients = g_ptr_array_new()};
    int64_t patience = picture.dma->patience;
    bool done;

    g_mutex_lock(&picture.dma->lock);
    /* Nobody else is here who could let go of anything. */
    picture.dma->patience = 0;
    done = read_all(&picture, error);
    picture.dma->patience = patience;
    g_mutex_unlock(&picture.dma->lock);
    g_ptr_array_unref(picture.files);
    g_ptr_array_unref(picture.clients);
    if (!done) {
        g_prefix_error(error, "taking guest memory over: ");
        vfm_dma_abandon(picture.dma);
        return NULL;
    }
    vfm_container_adopt_client(container, &picture.dma->client);
    return picture.dma;
}

VfmGuestDmaClient *vfm_guest_dma_rejoin(VfmGuestDma *dma, const char *name)
{
    VfmGuestDmaClient *found = NULL;

    g_mutex_lock(&dma->lock);
    for (unsigned i = 0; i < dma->waiting->len && !found; i++) {
        VfmGuestDmaClient *client = dma->waiting->pdata[i];

        if (g_str_equal(client->name, name))
            found = g_ptr_array_remove_index_fast(dma->waiting, i);
    }
    g_mutex_unlock(&dma->lock);
    return found;
}

void vfm_guest_dma_disown(VfmGuestDma *dma)
{
    g_mutex_lock(&dma->lock);
    while (dma->waiting->len > 0)
        vfm_dma_leave(g_ptr_array_steal_index(dma->waiting, dma->waiting->len - 1));
    g_mutex_unlock(&dma->lock);
}
