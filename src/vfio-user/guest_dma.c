/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guest_dma.h"

#include <errno.h>
#include <unistd.h>

#include "guest_file.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* Where firmware reshapes memory (q35, i440fx): by the page from 640 KiB to 1 MiB, in pieces below 4 GiB. */
#define SHADOW_START (640 * KIB)
#define SHADOW_END MIB
#define LOW_PIECE (256 * MIB)
#define LOW_END (4 * GIB)
#define PAGE (4 * KIB)

/* How long a map waits for another client's unmap, which QEMU sent before it. */
#define OTHERS_USEC (4 * G_USEC_PER_SEC)

/* Mapped in the kernel as one, or to be when a device is there. Address of the tree's key, so @start comes first. */
typedef struct {
    uint64_t start, last;
    VfmGuestFile *file;
    uint64_t offset;
    unsigned prot;
    unsigned users; /* clients that have it; 0: lingering */
    bool mapped;
} Piece;

/* A map as a client sent it. */
typedef struct {
    uint64_t start, last;
    bool skipped; /* no descriptor, nothing mapped */
} ClientMap;

struct VfmGuestDmaClient {
    VfmGuestDma *dma;
    char *name;
    GTree *maps; /* of ClientMap */
};

struct VfmGuestDma {
    VfmContainerClient client; /* first: what the container sees */
    VfmContainer *container;
    GArray *windows; /* of VfmIovaRange; NULL: everything */
    VfmGuestFiles *files;
    GTree *pieces;
    unsigned clients;
    uint64_t bytes, lingering, skipped, pinned_total;
    int64_t patience;
    GMutex lock;
    GCond released; /* a client let go of something */
};

static int compare_start(gconstpointer a, gconstpointer b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return left < right ? -1 : left > right;
}

/* Keys are the elements themselves; both kinds begin with start and last. The first that ends at or after @address. */
static GTreeNode *first_ending_from(GTree *tree, uint64_t address)
{
    GTreeNode *node = g_tree_upper_bound(tree, &address); /* starts above */
    GTreeNode *before = node ? g_tree_node_previous(node) : g_tree_node_last(tree);

    if (before) {
        const ClientMap *map = g_tree_node_key(before);

        if (map->last >= address)
            return before;
    }
    return node;
}

static uint64_t piece_size(const Piece *piece)
{
    return piece->last - piece->start + 1;
}

static bool piece_map(VfmGuestDma *dma, Piece *piece, GError **error)
{
    VfmMapping mapping = {
        .iova = piece->start,
        .size = piece_size(piece),
        .vaddr = piece->file->base + piece->offset,
        .fd = piece->file->fd,
        .offset = piece->offset,
        .prot = piece->prot,
    };

    if (vfm_container_devices(dma->container) == 0)
        return true;
    if (!vfm_container_map(dma->container, &mapping, error))
        return false;
    piece->mapped = true;
    dma->pinned_total += mapping.size;
    return true;
}

static void piece_forget(VfmGuestDma *dma, Piece *piece)
{
    g_tree_remove(dma->pieces, piece);
    dma->bytes -= piece_size(piece);
    if (piece->users == 0)
        dma->lingering -= piece_size(piece);
    vfm_guest_files_put(dma->files, piece->file);
    g_free(piece);
}

/* Unmaps and forgets @count pieces without users that lie side by side, in one call. On failure they linger. */
static bool drop_run(VfmGuestDma *dma, Piece **run, unsigned count, GError **error)
{
    uint64_t start = run[0]->start, size = run[count - 1]->last - start + 1;

    if (run[0]->mapped && !vfm_container_unmap(dma->container, start, size, count, size, 0, error))
        return false;
    for (unsigned i = 0; i < count; i++)
        piece_forget(dma, run[i]);
    return true;
}

/* Drops all of @doomed (Piece* by address, without users), joined to the longest runs. */
static bool drop(VfmGuestDma *dma, GPtrArray *doomed, GError **error)
{
    bool all = true;

    for (unsigned i = 0, n; i < doomed->len; i += n) {
        Piece **run = (Piece **)&doomed->pdata[i];

        for (n = 1; i + n < doomed->len; n++)
            if (run[n]->start != run[n - 1]->last + 1 || run[n]->mapped != run[0]->mapped)
                break;
        /* Go on after a failure: the rest must not stay reachable. The first error is told. */
        if (!drop_run(dma, run, n, all ? error : NULL))
            all = false;
    }
    return all;
}

static bool settle(VfmGuestDma *dma, GError **error)
{
    g_autoptr(GPtrArray) doomed = NULL;

    if (dma->lingering == 0)
        return true;
    doomed = g_ptr_array_new();
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        Piece *piece = g_tree_node_key(node);

        if (piece->users == 0)
            g_ptr_array_add(doomed, piece);
    }
    return drop(dma, doomed, error);
}

/* Whether what nobody has any more may stay for a while: see guest_dma.h, Lingering. */
static bool may_linger(const Piece *piece)
{
    return piece->mapped && piece->last < LOW_END &&
           vfm_guest_file_is_full(piece->file, piece->offset, piece_size(piece));
}

static void piece_let_go(VfmGuestDma *dma, Piece *piece)
{
    if (--piece->users == 0)
        dma->lingering += piece_size(piece);
}

static void piece_take(VfmGuestDma *dma, Piece *piece)
{
    if (piece->users++ == 0)
        dma->lingering -= piece_size(piece);
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

/* A map in the making: what to take back if it fails. */
typedef struct {
    VfmGuestDma *dma;
    const VfmVfuDmaMap *map;
    VfmGuestFile *file;
    unsigned prot;
    GPtrArray *taken; /* of Piece*, each with a user of ours */
    gint64 until;     /* for others, set with the first wait */
} Undertaking;

static bool same_memory(const Undertaking *work, const Piece *piece)
{
    return piece->file == work->file && piece->prot == work->prot &&
           piece->offset == work->map->offset + (piece->start - work->map->address);
}

/* Makes a piece of start..last, where nothing is. */
static bool add_piece(Undertaking *work, uint64_t start, uint64_t last, GError **error)
{
    VfmGuestDma *dma = work->dma;
    g_autoptr(GError) local = NULL;
    Piece *piece = g_new0(Piece, 1);

    piece->start = start;
    piece->last = last;
    piece->file = work->file;
    piece->offset = work->map->offset + (start - work->map->address);
    piece->prot = work->prot;
    piece->users = 1;
    if (!piece_map(dma, piece, &local)) {
        /* What only lingers must not be why new memory does not fit. */
        if (dma->lingering == 0 || !settle(dma, NULL) || !piece_map(dma, piece, NULL)) {
            g_propagate_error(error, g_steal_pointer(&local));
            g_free(piece);
            return false;
        }
    }
    vfm_guest_file_ref(piece->file);
    g_tree_insert(dma->pieces, piece, piece);
    dma->bytes += piece_size(piece);
    g_ptr_array_add(work->taken, piece);
    return true;
}

/* @piece is in the way. True if it is gone, or something changed: look again. */
static bool make_way(Undertaking *work, Piece *piece, GError **error)
{
    VfmGuestDma *dma = work->dma;

    if (piece->users == 0)
        return drop_run(dma, &piece, 1, error);
    if (!work->until)
        work->until = g_get_monotonic_time() + dma->patience;
    if (g_cond_wait_until(&dma->released, &dma->lock, work->until))
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                "guest memory at %#" G_GINT64_MODIFIER "x is described differently by another device of the guest, "
                "which did not let go of it",
                piece->start);
    return false;
}

/* Covers start..last with pieces, existing ones where they are the same memory. */
static bool cover(Undertaking *work, uint64_t start, uint64_t last, GError **error)
{
    VfmGuestDma *dma = work->dma;
    uint64_t at = start;

    for (;;) {
        uint64_t end = cut_after(at, last);
        GTreeNode *node = first_ending_from(dma->pieces, at);
        Piece *piece = node ? g_tree_node_key(node) : NULL;

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

static void take_back(Undertaking *work)
{
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();

    for (unsigned i = 0; i < work->taken->len; i++) {
        Piece *piece = work->taken->pdata[i];

        piece_let_go(work->dma, piece);
        if (piece->users == 0 && !may_linger(piece))
            g_ptr_array_add(doomed, piece);
    }
    /* By address, as they were taken. What can't be unmapped lingers and is tried again. */
    drop(work->dma, doomed, NULL);
    g_cond_broadcast(&work->dma->released);
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

static bool map_parts(Undertaking *work, GError **error)
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
        if (!cover(work, part->start, part->last, error))
            return false;
    }
    return true;
}

static bool remember(VfmGuestDmaClient *client, uint64_t start, uint64_t last, bool skipped)
{
    ClientMap *map = g_new(ClientMap, 1);

    *map = (ClientMap){.start = start, .last = last, .skipped = skipped};
    g_tree_insert(client->maps, map, map);
    client->dma->skipped += skipped;
    return true;
}

static bool map_locked(VfmGuestDmaClient *client, const VfmVfuDmaMap *map, int fd, GError **error)
{
    VfmGuestDma *dma = client->dma;
    uint64_t last = map->address + (map->size - 1);
    GTreeNode *node = first_ending_from(client->maps, map->address);
    Undertaking work = {.dma = dma, .map = map};
    bool done;

    if (node && ((const ClientMap *)g_tree_node_key(node))->start <= last) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s: guest memory at %#" G_GINT64_MODIFIER "x is mapped already", client->name, map->address);
        if (fd >= 0)
            close(fd);
        return false;
    }
    if (fd < 0)
        return remember(client, map->address, last, true);
    if (!check_place(dma, map, error)) {
        close(fd);
        return false;
    }
    work.file = vfm_guest_files_get(dma->files, fd, map->offset + map->size, error);
    if (!work.file)
        return false;
    if (map->flags & VFM_VFU_DMA_READABLE)
        work.prot |= VFM_PROT_READ;
    if (map->flags & VFM_VFU_DMA_WRITEABLE)
        work.prot |= VFM_PROT_WRITE;
    work.taken = g_ptr_array_new();
    done = map_parts(&work, error);
    if (done)
        remember(client, map->address, last, false);
    else
        take_back(&work);
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

/* The client no longer has @map: lets go of its pieces, collects those to unmap. */
static void let_go_of(VfmGuestDmaClient *client, const ClientMap *map, GPtrArray *doomed, bool linger)
{
    VfmGuestDma *dma = client->dma;

    if (map->skipped) {
        dma->skipped--;
        return;
    }
    for (GTreeNode *node = first_ending_from(dma->pieces, map->start); node; node = g_tree_node_next(node)) {
        Piece *piece = g_tree_node_key(node);

        if (piece->start > map->last)
            break;
        piece_let_go(dma, piece);
        if (piece->users == 0 && !(linger && may_linger(piece)))
            g_ptr_array_add(doomed, piece);
    }
}

static bool unmap_locked(VfmGuestDmaClient *client, uint64_t start, uint64_t last, bool linger, uint64_t *unmapped,
                         GError **error)
{
    g_autoptr(GPtrArray) gone = g_ptr_array_new();
    g_autoptr(GPtrArray) doomed = g_ptr_array_new();
    bool done;

    *unmapped = 0;
    for (GTreeNode *node = first_ending_from(client->maps, start); node; node = g_tree_node_next(node)) {
        ClientMap *map = g_tree_node_key(node);

        if (map->start > last)
            break;
        if (map->start < start || map->last > last) {
            g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                        "%s: an unmap of %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER
                        "x would cut the map %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER "x",
                        client->name, start, last, map->start, map->last);
            return false;
        }
        g_ptr_array_add(gone, map);
    }
    for (unsigned i = 0; i < gone->len; i++) {
        ClientMap *map = gone->pdata[i];

        let_go_of(client, map, doomed, linger);
        *unmapped += map->last - map->start + 1;
        g_tree_remove(client->maps, map);
        g_free(map);
    }
    done = drop(client->dma, doomed, error);
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

VfmGuestDmaClient *vfm_guest_dma_join(VfmGuestDma *dma, const char *name)
{
    VfmGuestDmaClient *client = g_new0(VfmGuestDmaClient, 1);

    client->dma = dma;
    client->name = g_strdup(name);
    client->maps = g_tree_new(compare_start);
    g_mutex_lock(&dma->lock);
    dma->clients++;
    g_mutex_unlock(&dma->lock);
    return client;
}

void vfm_guest_dma_leave(VfmGuestDmaClient *client)
{
    VfmGuestDma *dma = client->dma;
    uint64_t unmapped;

    g_mutex_lock(&dma->lock);
    unmap_locked(client, 0, UINT64_MAX, false, &unmapped, NULL);
    if (--dma->clients == 0)
        settle(dma, NULL);
    g_mutex_unlock(&dma->lock);
    g_tree_unref(client->maps);
    g_free(client->name);
    g_free(client);
}

void vfm_guest_dma_settle(VfmGuestDma *dma)
{
    g_mutex_lock(&dma->lock);
    settle(dma, NULL);
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
        Piece *piece = g_tree_node_key(node);

        if (piece->mapped &&
            vfm_container_unmap(dma->container, piece->start, piece_size(piece), 1, piece_size(piece), 0, NULL))
            piece->mapped = false;
    }
}

static bool container_start(VfmContainerClient *client, GError **error)
{
    VfmGuestDma *dma = (VfmGuestDma *)client;

    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        Piece *piece = g_tree_node_key(node);

        if (!piece->mapped && !piece_map(dma, piece, error)) {
            container_stop(client);
            return false;
        }
    }
    return true;
}

static bool container_reshape(VfmContainerClient *client, GError **error)
{
    VfmGuestDma *dma = (VfmGuestDma *)client;

    if (!settle(dma, error))
        return false;
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        Piece *piece = g_tree_node_key(node);
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

VfmGuestDma *vfm_guest_dma_new(VfmContainer *container, const GArray *windows)
{
    VfmGuestDma *dma = g_new0(VfmGuestDma, 1);

    dma->client.ops = &container_ops;
    dma->container = container;
    dma->patience = OTHERS_USEC;
    dma->windows = windows && windows->len ? vfm_ranges_copy(windows) : NULL;
    dma->files = vfm_guest_files_new();
    dma->pieces = g_tree_new(compare_start);
    g_mutex_init(&dma->lock);
    g_cond_init(&dma->released);
    /* Nothing to map yet, so nothing can fail. */
    vfm_container_set_client(container, &dma->client, NULL);
    return dma;
}

void vfm_guest_dma_set_patience(VfmGuestDma *dma, int64_t usec)
{
    dma->patience = usec;
}

void vfm_guest_dma_free(VfmGuestDma *dma)
{
    if (!dma)
        return;
    g_assert(dma->clients == 0);
    settle(dma, NULL);
    vfm_container_clear_client(dma->container);
    g_tree_unref(dma->pieces);
    vfm_guest_files_free(dma->files);
    g_clear_pointer(&dma->windows, g_array_unref);
    g_mutex_clear(&dma->lock);
    g_cond_clear(&dma->released);
    g_free(dma);
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
        .pinned_total = dma->pinned_total,
    };
    g_mutex_unlock(&dma->lock);
}

GArray *vfm_guest_dma_pieces(VfmGuestDma *dma)
{
    GArray *pieces = g_array_new(false, false, sizeof(VfmGuestDmaPiece));

    g_mutex_lock(&dma->lock);
    for (GTreeNode *node = g_tree_node_first(dma->pieces); node; node = g_tree_node_next(node)) {
        const Piece *piece = g_tree_node_key(node);
        VfmGuestDmaPiece out = {
            .address = piece->start, .size = piece_size(piece), .prot = piece->prot, .clients = piece->users};

        g_array_append_val(pieces, out);
    }
    g_mutex_unlock(&dma->lock);
    return pieces;
}
