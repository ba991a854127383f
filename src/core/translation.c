/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "translation.h"

/* A sparse region of the target that is seen: its discards take pieces back. */
typedef struct {
    VfmDiscardListener listener;
    VfmTranslation *translation;
    VfmSection section;
    GArray *ended; /* of VfmTranslated: what the last discard took back */
} Watch;

static void watch_free(gpointer data)
{
    Watch *watch = data;

    g_array_unref(watch->ended);
    g_free(watch);
}

struct VfmTranslation {
    char *name;
    VfmMemoryMap *target;
    VfmMapListener listener;
    GPtrArray *watches; /* of Watch */
    GPtrArray *listeners;
    GArray *gone;   /* of VfmSection: removed from the target; their pieces are yet to be looked at */
    GTree *by_iova; /* of VfmTranslated, owned here */
    GTree *by_gpa;  /* the same, by guest physical address, then IOVA */
    uint64_t pieces, max_pieces, revoked;
};

static int compare_iova(const void *a, const void *b, void *data)
{
    const VfmTranslated *x = a, *y = b;

    return (x->iova > y->iova) - (x->iova < y->iova);
}

static int compare_gpa(const void *a, const void *b, void *data)
{
    const VfmTranslated *x = a, *y = b;

    return x->gpa != y->gpa ? (x->gpa > y->gpa) - (x->gpa < y->gpa) : compare_iova(a, b, data);
}

/* The first piece that ends above @iova. Pieces don't overlap, so it is the one at or below, or the next. */
static GTreeNode *seek(const VfmTranslation *translation, uint64_t iova)
{
    VfmTranslated key = {.iova = iova};
    GTreeNode *next = g_tree_upper_bound(translation->by_iova, &key);
    GTreeNode *here = next ? g_tree_node_previous(next) : g_tree_node_last(translation->by_iova);
    const VfmTranslated *piece = here ? g_tree_node_key(here) : NULL;

    return piece && piece->iova + piece->size > iova ? here : next;
}

void vfm_translation_foreach(const VfmTranslation *translation, uint64_t iova, uint64_t size, VfmTranslationFunc fn,
                             void *data)
{
    uint64_t last = size - 1 > UINT64_MAX - iova ? UINT64_MAX : iova + size - 1;

    if (size == 0)
        return;
    for (GTreeNode *node = seek(translation, iova); node; node = g_tree_node_next(node)) {
        const VfmTranslated *piece = g_tree_node_key(node);

        if (piece->iova > last || !fn(data, piece))
            return;
    }
}

uint64_t vfm_translation_pieces(const VfmTranslation *translation)
{
    return translation->pieces;
}

uint64_t vfm_translation_revoked(const VfmTranslation *translation)
{
    return translation->revoked;
}

static void insert_piece(VfmTranslation *translation, const VfmTranslated *piece)
{
    VfmTranslated *entry = g_memdup2(piece, sizeof(*piece));

    g_tree_insert(translation->by_iova, entry, NULL);
    g_tree_insert(translation->by_gpa, entry, NULL);
    translation->pieces++;
}

static void remove_piece(VfmTranslation *translation, const VfmTranslated *piece)
{
    VfmTranslated key = *piece;

    g_tree_remove(translation->by_gpa, &key);
    g_tree_remove(translation->by_iova, &key); /* frees it */
    translation->pieces--;
}

/* An unmap that only undoes. Tried twice: what stays behind would be in the way of the next piece there. */
static bool let_go(VfmTranslationListener *listener, uint64_t iova, uint64_t size, GError **error)
{
    return listener->ops->unmap(listener, iova, size, NULL) || listener->ops->unmap(listener, iova, size, error);
}

/* Lets the first @count listeners let go of @piece, each whatever the others say. */
static void undo_map(const VfmTranslation *translation, const VfmTranslated *piece, unsigned count, GError **error)
{
    for (unsigned l = 0; l < count; l++) {
        g_autoptr(GError) second = NULL;

        if (!let_go(translation->listeners->pdata[l], piece->iova, piece->size, &second))
            vfm_error_append(error, "the way back failed too: %s", second->message);
    }
}

/* Gives @piece back to the first @count listeners, which let go of it for an end that failed. If one of them can't
 * have it, nobody has: then the piece is gone for good. */
static bool give_back(VfmTranslation *translation, const VfmTranslated *piece, unsigned count, GError **error)
{
    for (unsigned l = 0; l < count; l++) {
        VfmTranslationListener *listener = translation->listeners->pdata[l];
        VfmTranslated gone = *piece;

        if (listener->ops->map(listener, piece, error))
            continue;
        for (unsigned other = 0; other < translation->listeners->len; other++) {
            if (other < l || other >= count)
                let_go(translation->listeners->pdata[other], gone.iova, gone.size, NULL);
        }
        remove_piece(translation, &gone);
        translation->revoked++;
        return false;
    }
    return true;
}

/* Ends @pieces (of VfmTranslated), with all listeners and in the table, or none. @together: they are all that is in
 * iova..iova+size, one call for each listener does. */
static bool end_pieces(VfmTranslation *translation, const GArray *pieces, bool together, uint64_t iova, uint64_t size,
                       GError **error)
{
    unsigned calls = together ? MIN(pieces->len, 1) : pieces->len;

    for (unsigned call = 0; call < calls; call++) {
        const VfmTranslated *piece = &g_array_index((GArray *)pieces, VfmTranslated, call);

        for (unsigned l = 0; l < translation->listeners->len; l++) {
            VfmTranslationListener *listener = translation->listeners->pdata[l];

            if (listener->ops->unmap(listener, together ? iova : piece->iova, together ? size : piece->size, error))
                continue;
            for (unsigned i = 0; i < (together ? pieces->len : call + 1); i++) {
                g_autoptr(GError) second = NULL;

                if (!give_back(translation, &g_array_index((GArray *)pieces, VfmTranslated, i),
                               together || i == call ? l : translation->listeners->len, &second))
                    vfm_error_append(error, "the way back failed too: %s", second->message);
            }
            return false;
        }
    }
    for (unsigned i = 0; i < pieces->len; i++)
        remove_piece(translation, &g_array_index((GArray *)pieces, VfmTranslated, i));
    return true;
}

/* Whether @piece still leads to the memory it led to when it was mapped. */
static bool still_leads(const VfmTranslation *translation, const VfmTranslated *piece)
{
    const VfmSection *section = vfm_memory_map_find(translation->target, piece->gpa);
    uint64_t into = section ? piece->gpa - section->address : 0;

    return section && section->region->vaddr && piece->size <= section->size - into &&
           section->region->vaddr + section->offset + into == piece->vaddr;
}

/* Ends every piece whose memory is in gpa..gpa+size because it goes, all or none; with @moved only where the memory
 * there is another one now. @pieces becomes those that ended. */
static bool take_back(VfmTranslation *translation, uint64_t gpa, uint64_t size, bool moved, GArray *pieces,
                      GError **error)
{
    VfmTranslated key = {.gpa = gpa};

    g_array_set_size(pieces, 0);
    for (GTreeNode *node = g_tree_lower_bound(translation->by_gpa, &key); node; node = g_tree_node_next(node)) {
        const VfmTranslated *piece = g_tree_node_key(node);

        if (piece->gpa - gpa >= size)
            break;
        if (!moved || !still_leads(translation, piece))
            g_array_append_vals(pieces, piece, 1);
    }
    if (!end_pieces(translation, pieces, false, 0, 0, error)) {
        g_array_set_size(pieces, 0);
        return false;
    }
    translation->revoked += pieces->len;
    return true;
}

static bool any_piece(const VfmTranslation *translation, uint64_t gpa, uint64_t size)
{
    VfmTranslated key = {.gpa = gpa};
    GTreeNode *node = g_tree_lower_bound(translation->by_gpa, &key);
    GTreeNode *before = node ? g_tree_node_previous(node) : g_tree_node_last(translation->by_gpa);
    const VfmTranslated *below = before ? g_tree_node_key(before) : NULL;

    return (node && ((const VfmTranslated *)g_tree_node_key(node))->gpa - gpa < size) ||
           (below && below->gpa + below->size > gpa);
}

static bool on_populate(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    return true; /* the guest maps it anew */
}

static Watch *of_discards(VfmDiscardListener *listener)
{
    return (Watch *)((char *)listener - offsetof(Watch, listener));
}

/* The discard that ended these pieces was refused: the blocks stay, and so does what the guest mapped of them. A region
 * that is seen in several places has as many watches, so it may well be another one of ours that refused. */
static bool on_restore(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    Watch *watch = of_discards(listener);
    VfmTranslation *translation = watch->translation;
    uint64_t gpa = watch->section.address + (offset - watch->section.offset);
    bool restored = true;

    for (unsigned i = 0; i < watch->ended->len; i++) {
        const VfmTranslated *piece = &g_array_index(watch->ended, VfmTranslated, i);

        if (piece->gpa < gpa || piece->gpa - gpa >= size)
            continue;
        translation->revoked--;
        insert_piece(translation, piece); /* first, so that a listener that must let go again can count it */
        restored = give_back(translation, piece, translation->listeners->len, restored ? error : NULL) && restored;
    }
    return restored;
}

static bool on_discard(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    Watch *watch = of_discards(listener);
    uint64_t gpa = watch->section.address + (offset - watch->section.offset);

    g_array_set_size(watch->ended, 0);
    if (!watch->section.region->balloon)
        return take_back(watch->translation, gpa, size, false, watch->ended, error);
    if (!any_piece(watch->translation, gpa, size))
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_INHIBITED,
                "%s: %s at 0x%" G_GINT64_MODIFIER "x is mapped by the guest's IOMMU, its pages can't be given back",
                watch->translation->name, watch->section.region->name, gpa);
    return false;
}

static const VfmDiscardListenerOps discard_ops = {
    .populate = on_populate,
    .discard = on_discard,
    .restore = on_restore,
};

static VfmTranslation *of_listener(VfmMapListener *listener)
{
    return (VfmTranslation *)((char *)listener - offsetof(VfmTranslation, listener));
}

static bool on_add(VfmMapListener *listener, const VfmSection *section, GError **error)
{
    VfmTranslation *translation = of_listener(listener);
    Watch *watch;

    if (!section->region->discard)
        return true;
    watch = g_new0(Watch, 1);
    watch->listener = (VfmDiscardListener){&discard_ops, section->offset, section->size};
    watch->translation = translation;
    watch->section = *section;
    watch->ended = g_array_new(FALSE, FALSE, sizeof(VfmTranslated));
    if (!vfm_discard_add_listener(section->region->discard, &watch->listener, error)) {
        watch_free(watch);
        return false;
    }
    g_ptr_array_add(translation->watches, watch);
    return true;
}

static bool on_remove(VfmMapListener *listener, const VfmSection *section, GError **error)
{
    VfmTranslation *translation = of_listener(listener);

    g_array_append_vals(translation->gone, section, 1);
    for (unsigned i = 0; i < translation->watches->len; i++) {
        Watch *watch = translation->watches->pdata[i];

        if (watch->section.address != section->address)
            continue;
        vfm_discard_remove_listener(section->region->discard, &watch->listener);
        g_ptr_array_remove_index(translation->watches, i);
        break;
    }
    return true;
}

/*
 * A section often goes only to come back with another size, because something beside it changed. So pieces are
 * looked at when all is done: those that still lead to the same memory stay. By then nobody can refuse, so an unmap
 * that fails is tried again, at once and at the end of each later transaction. Where one was undone, all lead where
 * they led.
 */
static void on_end(VfmMapListener *listener, bool kept)
{
    VfmTranslation *translation = of_listener(listener);
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(VfmTranslated));

    for (unsigned i = 0; i < translation->gone->len;) {
        VfmSection section = g_array_index(translation->gone, VfmSection, i);
        g_autoptr(GError) error = NULL;

        if (take_back(translation, section.address, section.size, true, pieces, NULL) ||
            take_back(translation, section.address, section.size, true, pieces, &error)) {
            g_array_remove_index(translation->gone, i);
            continue;
        }
        g_warning("%s: memory went that is still mapped: %s", translation->name, error->message);
        i++;
    }
}

static const VfmMapListenerOps map_ops = {.remove = on_remove, .add = on_add, .end = on_end};

VfmTranslation *vfm_translation_new(const char *name, VfmMemoryMap *target, uint64_t max_pieces, GError **error)
{
    VfmTranslation *translation = g_new0(VfmTranslation, 1);

    translation->name = g_strdup(name);
    translation->target = target;
    translation->listener.ops = &map_ops;
    translation->max_pieces = max_pieces ? max_pieces : 65535;
    translation->watches = g_ptr_array_new_with_free_func(watch_free);
    translation->listeners = g_ptr_array_new();
    translation->gone = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    translation->by_iova = g_tree_new_full(compare_iova, NULL, g_free, NULL);
    translation->by_gpa = g_tree_new_full(compare_gpa, NULL, NULL, NULL);
    if (!vfm_memory_map_add_listener(target, &translation->listener, error)) {
        vfm_translation_free(translation);
        return NULL;
    }
    return translation;
}

void vfm_translation_free(VfmTranslation *translation)
{
    if (!translation)
        return;
    g_warn_if_fail(translation->listeners->len == 0);
    vfm_memory_map_remove_listener(translation->target, &translation->listener, NULL);
    g_tree_unref(translation->by_gpa);
    g_tree_unref(translation->by_iova);
    g_ptr_array_unref(translation->watches);
    g_array_unref(translation->gone);
    g_ptr_array_unref(translation->listeners);
    g_free(translation->name);
    g_free(translation);
}

static bool refuse_state(const VfmTranslation *translation, uint64_t iova, uint64_t gpa, const char *why,
                         GError **error)
{
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                "%s: can't translate 0x%" G_GINT64_MODIFIER "x to 0x%" G_GINT64_MODIFIER "x: %s", translation->name,
                iova, gpa, why);
    return false;
}

/* The piece that starts at @iova and leads to @gpa: as much of @size as one section and one block hold. */
static bool translate(const VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t gpa, unsigned prot,
                      VfmTranslated *piece, GError **error)
{
    const VfmSection *section = vfm_memory_map_find(translation->target, gpa);
    const VfmRegion *region = section ? section->region : NULL;
    uint64_t offset, length;

    if (!section || region->kind == VFM_REGION_IO || region->kind == VFM_REGION_IOMMU)
        return refuse_state(translation, iova, gpa, "there is no memory", error);
    offset = section->offset + (gpa - section->address);
    length = MIN(size, section->size - (gpa - section->address));
    if (region->discard && !region->balloon) {
        uint64_t block = vfm_discard_block(region->discard);

        length = MIN(length, block - (offset & (block - 1)));
        if (!vfm_discard_is_populated(region->discard, offset, length))
            return refuse_state(translation, iova, gpa,
                                "the block is discarded; the guest must plug it before devices may reach it", error);
    }
    if (region->kind == VFM_REGION_ROM)
        prot &= (unsigned)~VFM_PROT_WRITE;
    if (!prot)
        return refuse_state(translation, iova, gpa, "it can only be read", error);
    *piece = (VfmTranslated){.iova = iova,
                             .size = length,
                             .gpa = gpa,
                             .vaddr = region->vaddr + offset,
                             .fd = region->fd,
                             .offset = region->fd_offset + offset,
                             .prot = prot,
                             .peer = region->kind == VFM_REGION_BAR};
    return true;
}

static bool same_piece(const VfmTranslated *a, const VfmTranslated *b)
{
    return a->iova == b->iova && a->size == b->size && a->gpa == b->gpa && a->prot == b->prot;
}

/* Collects the new pieces of a request; those that are there already are left out. */
static bool collect(const VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t gpa, unsigned prot,
                    GArray *fresh, GError **error)
{
    while (size) {
        VfmTranslated piece;
        GTreeNode *node = seek(translation, iova);
        const VfmTranslated *there = node ? g_tree_node_key(node) : NULL;

        if (!translate(translation, iova, size, gpa, prot, &piece, error))
            return false;
        if (there && there->iova < iova + piece.size) {
            if (!same_piece(there, &piece))
                return refuse_state(translation, iova, gpa, "it is translated otherwise already; unmap it first",
                                    error);
        } else {
            if (translation->pieces + fresh->len >= translation->max_pieces) {
                g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                            "%s: the guest's IOMMU has %" G_GUINT64_FORMAT " mappings already, no more are allowed",
                            translation->name, translation->pieces);
                return false;
            }
            g_array_append_val(fresh, piece);
        }
        iova += piece.size;
        gpa += piece.size;
        size -= piece.size;
    }
    return true;
}

/* Tells @listener of @fresh; on failure takes back what it has of them. */
static bool tell_map(VfmTranslationListener *listener, const GArray *fresh, GError **error)
{
    for (unsigned i = 0; i < fresh->len; i++) {
        if (listener->ops->map(listener, &g_array_index((GArray *)fresh, VfmTranslated, i), error))
            continue;
        while (i-- > 0) {
            const VfmTranslated *piece = &g_array_index((GArray *)fresh, VfmTranslated, i);
            g_autoptr(GError) second = NULL;

            if (!let_go(listener, piece->iova, piece->size, &second))
                vfm_error_append(error, "the way back failed too: %s", second->message);
        }
        return false;
    }
    return true;
}

bool vfm_translation_map(VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t gpa, unsigned prot,
                         GError **error)
{
    g_autoptr(GArray) fresh = g_array_new(FALSE, FALSE, sizeof(VfmTranslated));

    if (size == 0 || size > UINT64_MAX - iova || size > UINT64_MAX - gpa) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "%s: %" G_GUINT64_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x to 0x%" G_GINT64_MODIFIER
                    "x are no range of addresses",
                    translation->name, size, iova, gpa);
        return false;
    }
    if (!collect(translation, iova, size, gpa, prot, fresh, error))
        return false;
    for (unsigned i = 0; i < fresh->len; i++)
        insert_piece(translation, &g_array_index(fresh, VfmTranslated, i));
    for (unsigned l = 0; l < translation->listeners->len; l++) {
        if (tell_map(translation->listeners->pdata[l], fresh, error))
            continue;
        for (unsigned i = 0; i < fresh->len; i++) {
            const VfmTranslated *piece = &g_array_index(fresh, VfmTranslated, i);

            undo_map(translation, piece, l, error);
            remove_piece(translation, piece);
        }
        return false;
    }
    return true;
}

bool vfm_translation_unmap(VfmTranslation *translation, uint64_t iova, uint64_t size, uint64_t *unmapped,
                           GError **error)
{
    uint64_t last = size > UINT64_MAX - iova ? UINT64_MAX : iova + size - 1, bytes = 0;
    g_autoptr(GArray) pieces = g_array_new(FALSE, FALSE, sizeof(VfmTranslated));

    if (unmapped)
        *unmapped = 0;
    if (size == 0)
        return true;
    for (GTreeNode *node = seek(translation, iova); node; node = g_tree_node_next(node)) {
        const VfmTranslated *piece = g_tree_node_key(node);

        if (piece->iova > last)
            break;
        if (piece->iova < iova || piece->iova + piece->size - 1 > last) {
            g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                        "%s: unmapping 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                        "x would cut the mapping at 0x%" G_GINT64_MODIFIER "x",
                        translation->name, iova, last, piece->iova);
            return false;
        }
        bytes += piece->size;
        g_array_append_vals(pieces, piece, 1);
    }
    if (!end_pieces(translation, pieces, true, iova, last - iova + 1, error))
        return false;
    if (unmapped)
        *unmapped = bytes;
    return true;
}

bool vfm_translation_add_listener(VfmTranslation *translation, VfmTranslationListener *listener, GError **error)
{
    for (GTreeNode *node = g_tree_node_first(translation->by_iova); node; node = g_tree_node_next(node)) {
        const VfmTranslated *piece = g_tree_node_key(node);
        g_autoptr(GError) second = NULL;

        if (listener->ops->map(listener, piece, error))
            continue;
        if (piece->iova && !let_go(listener, 0, piece->iova, &second))
            vfm_error_append(error, "the way back failed too: %s", second->message);
        return false;
    }
    g_ptr_array_add(translation->listeners, listener);
    return true;
}

void vfm_translation_remove_listener(VfmTranslation *translation, VfmTranslationListener *listener)
{
    g_ptr_array_remove(translation->listeners, listener);
}
