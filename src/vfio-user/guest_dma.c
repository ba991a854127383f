/* SPDX-License-Identifier: LGPL-2.1-or-later */

#include <errno.h>

#include "guest_dma_private.h"

#define KIB UINT64_C(1024)

/* How long a client's maps wait for another client's unmaps, which QEMU sent before them. QEMU itself waits at least 30
 * s for the answers to them all (vfm_emulator_timeout()). */
#define OTHERS_USEC (20 * G_USEC_PER_SEC)

static int compare_start(gconstpointer a, gconstpointer b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* Keys are the elements themselves; both kinds begin with start and last. The first that ends at or after @address. */
GTreeNode *vfm_dma_first_ending_from(GTree *tree, uint64_t address)
{
    GTreeNode *node = g_tree_upper_bound(tree, &address); /* starts above */
    GTreeNode *before = node ? g_tree_node_previous(node) : g_tree_node_last(tree);

    if (before) {
        const VfmDmaMap *map = g_tree_node_key(before);

        if (map->last >= address)
            return before;
    }
    return node;
}

static bool check_place(VfmGuestDma *dma, const VfmVfuDmaMap *map, GError **error)
{
    uint64_t page = vfm_container_page(dma->container);

    if ((map->address | map->size | map->offset) & (page - 1)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "guest memory of %#" G_GINT64_MODIFIER "x bytes at %#" G_GINT64_MODIFIER
                    "x is not made of whole pages of %" G_GUINT64_FORMAT " KiB",
                    map->size, map->address, page / KIB);
        return false;
    }
    return true;
}

void vfm_dma_remember(VfmGuestDmaClient *client, uint64_t start, uint64_t last, VfmGuestFile *file, uint32_t slot)
{
    VfmDmaMap *map = g_new(VfmDmaMap, 1);

    *map = (VfmDmaMap){.start = start, .last = last, .file = file, .slot = slot};
    g_tree_insert(client->maps, map, map);
    client->dma->skipped += !file;
}

/* From here on @map counts, also for a successor. */
static bool commit(VfmGuestDmaClient *client, const VfmVfuDmaMap *map, VfmGuestFile *file, unsigned prot,
                   GError **error)
{
    uint64_t last = map->address + (map->size - 1);
    VfmLedgerMap note = {.client = client->slot,
                         .file = file ? file->slot : VFM_LEDGER_NONE,
                         .prot = prot,
                         .start = map->address,
                         .last = last,
                         .offset = map->offset,
                         .message = client->message};
    VfmDmaLedger *ledger = client->dma->ledger;
    uint32_t slot = VFM_LEDGER_NONE;

    if (ledger) {
        slot = vfm_dma_ledger_add(ledger, VFM_LEDGER_MAPS, &note, VFM_LEDGER_STANDS, error);
        if (slot == VFM_LEDGER_NONE)
            return false;
    }
    vfm_dma_remember(client, map->address, last, file ? vfm_guest_file_ref(file) : NULL, slot);
    return true;
}

/* Whether @existing is what this very message made, before a predecessor died. */
static bool is_repeated(const VfmGuestDmaClient *client, const VfmDmaMap *existing, uint64_t start, uint64_t last)
{
    const VfmLedgerMap *note;

    if (!client->dma->ledger || client->message == 0)
        return false;
    note = vfm_dma_ledger_at(client->dma->ledger, VFM_LEDGER_MAPS, existing->slot);
    return note->message == client->message && note->start == start && note->last == last;
}

static bool map_locked(VfmGuestDmaClient *client, const VfmVfuDmaMap *map, int fd, GError **error)
{
    VfmGuestDma *dma = client->dma;
    uint64_t last = map->address + (map->size - 1);
    GTreeNode *node = vfm_dma_first_ending_from(client->maps, map->address);
    const VfmDmaMap *existing = node ? g_tree_node_key(node) : NULL;
    VfmDmaUndertaking work = {.dma = dma, .client = client, .map = map};
    bool done;

    if (existing && existing->start <= last) {
        if (is_repeated(client, existing, map->address, last))
            return true;
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s: guest memory at %#" G_GINT64_MODIFIER "x is mapped already", client->name, map->address);
        return false;
    }
    if (fd < 0)
        return commit(client, map, NULL, 0, error);
    if (!check_place(dma, map, error))
        return false;
    if (map->size > UINT64_MAX - map->offset) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "%s: a file of guest memory has no byte 2^64 - 1",
                    client->name);
        return false;
    }
    work.file = vfm_guest_files_get(dma->files, fd, map->offset + map->size, map->flags & VFM_VFU_DMA_WRITEABLE, error);
    if (!work.file)
        return false;
    if (map->flags & VFM_VFU_DMA_READABLE)
        work.prot |= VFM_PROT_READ;
    if (map->flags & VFM_VFU_DMA_WRITEABLE)
        work.prot |= VFM_PROT_WRITE;
    work.taken = g_ptr_array_new();
    done = vfm_dma_cover(&work, error) && commit(client, map, work.file, work.prot, error);
    if (!done)
        vfm_dma_take_back(&work);
    g_ptr_array_unref(work.taken);
    vfm_guest_files_put(dma->files, work.file);
    return done;
}

bool vfm_guest_dma_map(VfmGuestDmaClient *client, const VfmVfuDmaMap *map, int fd, GError **error)
{
    bool done;

    g_mutex_lock(&client->dma->lock);
    done = map_locked(client, map, fd, error);
    g_mutex_unlock(&client->dma->lock);
    return done;
}

static bool must_go(const VfmDmaPiece *piece, bool linger)
{
    return piece->users == 0 && !(linger && vfm_dma_piece_may_linger(piece));
}

/* The pieces in start..last that nobody has and that must not linger, into @doomed. */
static void collect(VfmGuestDma *dma, uint64_t start, uint64_t last, GPtrArray *doomed, bool linger)
{
    for (GTreeNode *node = vfm_dma_first_ending_from(dma->pieces, start); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);

        if (piece->start > last)
            break;
        if (must_go(piece, linger))
            g_ptr_array_add(doomed, piece);
    }
}

/* The client no longer has @map, which is freed: lets go of its pieces, collects those that must go. */
static void let_go_of(VfmGuestDmaClient *client, VfmDmaMap *map, GPtrArray *doomed, bool linger)
{
    VfmGuestDma *dma = client->dma;

    if (dma->ledger)
        vfm_dma_ledger_set(dma->ledger, VFM_LEDGER_MAPS, map->slot, VFM_LEDGER_FREE);
    g_tree_remove(client->maps, map);
    dma->skipped -= !map->file;
    if (map->file) {
        for (GTreeNode *node = vfm_dma_first_ending_from(dma->pieces, map->start); node;
             node = g_tree_node_next(node)) {
            VfmDmaPiece *piece = g_tree_node_key(node);

            if (piece->start > map->last)
                break;
            vfm_dma_piece_let_go(dma, piece);
            if (must_go(piece, linger))
                g_ptr_array_add(doomed, piece);
        }
        vfm_guest_files_put(dma->files, map->file);
    }
    g_free(map);
}

/* The client's maps inside start..last, into @inside; false if one reaches out of it. */
static bool find_inside(VfmGuestDmaClient *client, uint64_t start, uint64_t last, GPtrArray *inside, GError **error)
{
    for (GTreeNode *node = vfm_dma_first_ending_from(client->maps, start); node; node = g_tree_node_next(node)) {
        VfmDmaMap *map = g_tree_node_key(node);

        if (map->start > last)
            break;
        if (map->start < start || map->last > last) {
            g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                        "%s: an unmap of %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER
                        "x would cut the map %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER "x",
                        client->name, start, last, map->start, map->last);
            return false;
        }
        g_ptr_array_add(inside, map);
    }
    return true;
}

/* Decides the answer of an unmap: @bytes, or what a predecessor decided for the same message. True: the latter. */
static bool decide(VfmGuestDmaClient *client, uint64_t *bytes)
{
    VfmDmaLedger *ledger = client->dma->ledger;
    const VfmLedgerClient *slot;

    if (!ledger || client->message == 0)
        return false;
    slot = vfm_dma_ledger_at(ledger, VFM_LEDGER_CLIENTS, client->slot);
    if (slot->unmap_message == client->message) {
        *bytes = slot->unmapped;
        return true;
    }
    vfm_dma_ledger_note_unmap(ledger, client->slot, client->message, *bytes);
    return false;
}

static bool unmap_locked(VfmGuestDmaClient *client, uint64_t start, uint64_t last, bool linger, uint64_t *unmapped,
                         GError **error)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();
    bool repeated, done;

    *unmapped = 0;
    /* QEMU's next change of memory: first everything that goes, then what comes. */
    client->until = 0;
    if (!find_inside(client, start, last, gone, error))
        return false;
    for (unsigned i = 0; i < gone->len; i++) {
        const VfmDmaMap *map = gone->pdata[i];

        *unmapped += map->last - map->start + 1;
    }
    repeated = decide(client, unmapped);
    for (unsigned i = 0; i < gone->len; i++)
        let_go_of(client, gone->pdata[i], doomed, linger);
    if (repeated) {
        /* A predecessor let go of some maps already, and may have failed to unmap what was theirs. */
        g_ptr_array_set_size(doomed, 0);
        collect(client->dma, start, last, doomed, linger);
    }
    done = vfm_dma_drop(client->dma, doomed, error);
    g_cond_broadcast(&client->dma->released);
    return done;
}

bool vfm_guest_dma_unmap(VfmGuestDmaClient *client, uint64_t address, uint64_t size, uint64_t *unmapped, GError **error)
{
    uint64_t last = size > UINT64_MAX - address ? UINT64_MAX : address + size - 1;
    bool done;

    *unmapped = 0;
    if (size == 0)
        return true;
    if (address == 0 && size == UINT64_MAX)
        last = UINT64_MAX;
    g_mutex_lock(&client->dma->lock);
    done = unmap_locked(client, address, last, true, unmapped, error);
    g_mutex_unlock(&client->dma->lock);
    return done;
}

void vfm_guest_dma_message(VfmGuestDmaClient *client, uint64_t number)
{
    client->message = number;
}

VfmGuestDmaClient *vfm_dma_client_new(VfmGuestDma *dma, const char *name, uint32_t slot)
{
    VfmGuestDmaClient *client = g_new0(VfmGuestDmaClient, 1);

    client->dma = dma;
    client->name = g_strdup(name);
    client->maps = g_tree_new(compare_start);
    client->slot = slot;
    dma->clients++;
    return client;
}

void vfm_dma_client_free(VfmGuestDmaClient *client)
{
    client->dma->clients--;
    g_tree_unref(client->maps);
    g_free(client->name);
    g_free(client);
}

VfmGuestDmaClient *vfm_guest_dma_join(VfmGuestDma *dma, const char *name)
{
    VfmLedgerClient note = {0};
    VfmGuestDmaClient *client = NULL;
    uint32_t slot = VFM_LEDGER_NONE;

    g_mutex_lock(&dma->lock);
    if (dma->ledger) {
        g_strlcpy(note.name, name, sizeof(note.name));
        slot = vfm_dma_ledger_add(dma->ledger, VFM_LEDGER_CLIENTS, &note, VFM_LEDGER_STANDS, NULL);
    }
    if (!dma->ledger || slot != VFM_LEDGER_NONE)
        client = vfm_dma_client_new(dma, name, slot);
    g_mutex_unlock(&dma->lock);
    return client;
}

/* The maps go one by one, each for good; a successor that finds the client LEAVING goes on. */
void vfm_dma_leave(VfmGuestDmaClient *client)
{
    VfmGuestDma *dma = client->dma;
    uint64_t unmapped;

    client->message = 0;
    if (dma->ledger)
        vfm_dma_ledger_set(dma->ledger, VFM_LEDGER_CLIENTS, client->slot, VFM_LEDGER_LEAVING);
    unmap_locked(client, 0, UINT64_MAX, false, &unmapped, NULL);
    if (dma->clients == 1)
        vfm_dma_settle(dma, NULL);
    if (dma->ledger)
        vfm_dma_ledger_set(dma->ledger, VFM_LEDGER_CLIENTS, client->slot, VFM_LEDGER_FREE);
    vfm_dma_client_free(client);
}

void vfm_guest_dma_leave(VfmGuestDmaClient *client)
{
    VfmGuestDma *dma = client->dma;

    g_mutex_lock(&dma->lock);
    vfm_dma_leave(client);
    g_mutex_unlock(&dma->lock);
}

void vfm_guest_dma_settle(VfmGuestDma *dma)
{
    g_mutex_lock(&dma->lock);
    vfm_dma_settle(dma, NULL);
    g_mutex_unlock(&dma->lock);
}

void vfm_guest_dma_lock(VfmGuestDma *dma)
{
    g_mutex_lock(&dma->lock);
}

void vfm_guest_dma_unlock(VfmGuestDma *dma)
{
    g_mutex_unlock(&dma->lock);
}

/* --- the container's client; called within container functions, with the lock held */

static void container_stop(VfmContainerClient *client)
{
    VfmGuestDma *dma = (VfmGuestDma *)client;

    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);

        if (piece->mapped)
            vfm_dma_piece_unmap(dma, piece);
    }
}

static bool container_start(VfmContainerClient *client, GError **error)
{
    VfmGuestDma *dma = (VfmGuestDma *)client;

    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);

        if (!piece->mapped && !vfm_dma_piece_map(dma, piece, error)) {
            container_stop(client);
            return false;
        }
    }
    return true;
}

static bool container_reshape(VfmContainerClient *client, GError **error)
{
    VfmGuestDma *dma = (VfmGuestDma *)client;

    if (!vfm_dma_settle(dma, error))
        return false;
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        VfmDmaPiece *piece = g_tree_node_key(node);
        g_autofree char *obstacle = NULL;

        if (vfm_ranges_contain(vfm_container_usable(dma->container), piece->start, piece->last))
            continue;
        obstacle = vfm_container_obstacle(dma->container, piece->start, piece->last);
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_RESERVED,
                    "guest memory %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER "x is in use and must stay reachable: "
                    "it is %s",
                    piece->start, piece->last, obstacle);
        return false;
    }
    return true;
}

static const VfmContainerClientOps container_ops = {
    .start = container_start,
    .stop = container_stop,
    .reshape = container_reshape,
};

VfmGuestDma *vfm_dma_make(VfmContainer *container, const GArray *windows, VfmDmaLedger *ledger)
{
    VfmGuestDma *dma = g_new0(VfmGuestDma, 1);

    dma->client.ops = &container_ops;
    dma->container = container;
    dma->ledger = ledger;
    dma->pinned_total = ledger ? vfm_dma_ledger_pinned_total(ledger) : &dma->own_total;
    dma->patience = OTHERS_USEC;
    dma->windows = windows && windows->len ? vfm_ranges_copy(windows) : NULL;
    dma->files = vfm_guest_files_new(ledger);
    dma->pieces = g_tree_new(compare_start);
    dma->waiting = g_ptr_array_new();
    g_mutex_init(&dma->lock);
    g_cond_init(&dma->released);
    return dma;
}

VfmGuestDma *vfm_guest_dma_new(VfmContainer *container, const GArray *windows)
{
    VfmGuestDma *dma = vfm_dma_make(container, windows, NULL);

    /* Nothing to map yet, so nothing can fail. */
    vfm_container_set_client(container, &dma->client, NULL);
    return dma;
}

void vfm_guest_dma_set_patience(VfmGuestDma *dma, int64_t usec)
{
    dma->patience = usec;
}

static void object_free(VfmGuestDma *dma)
{
    g_tree_unref(dma->pieces);
    g_ptr_array_unref(dma->waiting);
    g_clear_pointer(&dma->windows, g_array_unref);
    g_mutex_clear(&dma->lock);
    g_cond_clear(&dma->released);
    g_free(dma);
}

void vfm_guest_dma_free(VfmGuestDma *dma)
{
    if (!dma)
        return;
    g_assert(dma->clients == 0);
    vfm_dma_settle(dma, NULL);
    vfm_container_clear_client(dma->container);
    vfm_guest_files_free(dma->files);
    object_free(dma);
}

static gboolean map_free(gpointer key, gpointer value, gpointer data)
{
    g_free(key);
    return false;
}

void vfm_dma_abandon(VfmGuestDma *dma)
{
    for (unsigned i = 0; i < dma->waiting->len; i++) {
        VfmGuestDmaClient *client = dma->waiting->pdata[i];

        g_tree_foreach(client->maps, map_free, NULL);
        vfm_dma_client_free(client);
    }
    g_tree_foreach(dma->pieces, map_free, NULL);
    vfm_guest_files_abandon(dma->files);
    object_free(dma);
}

void vfm_guest_dma_usage(VfmGuestDma *dma, VfmGuestDmaUsage *usage)
{
    g_mutex_lock(&dma->lock);
    *usage = (VfmGuestDmaUsage){
        .clients = dma->clients,
        .pieces = g_tree_nnodes(dma->pieces),
        .bytes = dma->bytes,
        .lingering = dma->lingering,
        .skipped = dma->skipped,
        .pinned_total = *dma->pinned_total,
    };
    g_mutex_unlock(&dma->lock);
}

VfmVfuOffer vfm_guest_dma_offer(VfmGuestDma *dma)
{
    VfmContainerUsage usage;
    VfmVfuOffer offer = {0};

    g_mutex_lock(&dma->lock);
    vfm_container_usage(dma->container, &usage);
    offer.page_sizes = vfm_container_page(dma->container);
    g_mutex_unlock(&dma->lock);
    /* QEMU's own bound. */
    if (usage.budget.set)
        offer.max_dma_maps = MIN(usage.budget.value, 65535);
    return offer;
}

GArray *vfm_guest_dma_pieces(VfmGuestDma *dma)
{
    GArray *pieces = g_array_new(false, false, sizeof(VfmGuestDmaPiece));

    g_mutex_lock(&dma->lock);
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        const VfmDmaPiece *piece = g_tree_node_key(node);
        VfmGuestDmaPiece out = {
            .address = piece->start, .size = vfm_dma_piece_size(piece), .prot = piece->prot, .clients = piece->users};

        g_array_append_val(pieces, out);
    }
    g_mutex_unlock(&dma->lock);
    return pieces;
}
