/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <string.h>

#include "discard.h"
#include "error.h"

struct VfmDiscard {
    char *name;
    uint64_t size;
    uint64_t block;
    unsigned shift;      /* log2 of block */
    uint64_t blocks;     /* the last one may be shorter */
    uint64_t populated;  /* bytes */
    uint64_t *bitmap;    /* one bit per block */
    size_t bitmap_bytes; /* calloc'ed: pages of it that were never touched cost nothing */
    GPtrArray *listeners;
    bool busy; /* listeners are being called */
};

VfmDiscard *vfm_discard_new(const char *name, uint64_t size, uint64_t block, bool populated, GError **error)
{
    VfmDiscard *discard;

    if (block == 0 || (block & (block - 1)) != 0 || size == 0 || size > UINT64_MAX - block) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "%s: can't keep track of %" G_GUINT64_FORMAT " bytes in blocks of %" G_GUINT64_FORMAT
                    ": the block size must be a power of two, the size above zero",
                    name, size, block);
        return NULL;
    }
    discard = g_new0(VfmDiscard, 1);
    discard->name = g_strdup(name);
    discard->size = size;
    discard->block = block;
    discard->shift = __builtin_ctzll(block);
    discard->blocks = (size + block - 1) >> discard->shift;
    discard->bitmap_bytes = (discard->blocks + 63) / 64 * sizeof(uint64_t);
    discard->bitmap = g_malloc0(discard->bitmap_bytes);
    discard->listeners = g_ptr_array_new();
    if (populated) {
        memset(discard->bitmap, 0xff, discard->bitmap_bytes);
        if (discard->blocks % 64)
            discard->bitmap[discard->blocks / 64] = (1ull << (discard->blocks % 64)) - 1;
        discard->populated = size;
    }
    return discard;
}

void vfm_discard_free(VfmDiscard *discard)
{
    if (!discard)
        return;
    g_warn_if_fail(discard->listeners->len == 0);
    g_ptr_array_unref(discard->listeners);
    g_free(discard->bitmap);
    g_free(discard->name);
    g_free(discard);
}

const char *vfm_discard_name(const VfmDiscard *discard)
{
    return discard->name;
}

uint64_t vfm_discard_size(const VfmDiscard *discard)
{
    return discard->size;
}

uint64_t vfm_discard_block(const VfmDiscard *discard)
{
    return discard->block;
}

uint64_t vfm_discard_populated(const VfmDiscard *discard)
{
    return discard->populated;
}

size_t vfm_discard_footprint(const VfmDiscard *discard)
{
    return sizeof(*discard) + discard->bitmap_bytes + strlen(discard->name) + 1 +
           discard->listeners->len * sizeof(gpointer);
}

/* The bits from..to (exclusive) that lie in word @word, as a mask. */
static uint64_t word_mask(uint64_t word, uint64_t from, uint64_t to)
{
    uint64_t mask = UINT64_MAX;

    if (word == from / 64)
        mask &= UINT64_MAX << (from % 64);
    if (word == to / 64)
        mask &= (1ull << (to % 64)) - 1;
    return mask;
}

static void set_bits(VfmDiscard *discard, uint64_t from, uint64_t to, bool value)
{
    for (uint64_t word = from / 64; word * 64 < to; word++) {
        uint64_t mask = word_mask(word, from, to);

        if (value)
            discard->bitmap[word] |= mask;
        else
            discard->bitmap[word] &= ~mask;
    }
}

static uint64_t count_bits(const VfmDiscard *discard, uint64_t from, uint64_t to)
{
    uint64_t count = 0;

    for (uint64_t word = from / 64; word * 64 < to; word++)
        count += (uint64_t)__builtin_popcountll(discard->bitmap[word] & word_mask(word, from, to));
    return count;
}

/* The first block in from..to (exclusive) whose bit is @value; @to if there is none. */
static uint64_t find_bit(const VfmDiscard *discard, bool value, uint64_t from, uint64_t to)
{
    for (uint64_t word = from / 64; word * 64 < to; word++) {
        uint64_t bits = (value ? discard->bitmap[word] : ~discard->bitmap[word]) & word_mask(word, from, to);

        if (bits)
            return word * 64 + (uint64_t)__builtin_ctzll(bits);
    }
    return to;
}

static bool bit_at(const VfmDiscard *discard, uint64_t block)
{
    return discard->bitmap[block / 64] >> (block % 64) & 1;
}

/* Blocks that touch offset..offset+size, clipped to the region; false if none does. */
static bool touched(const VfmDiscard *discard, uint64_t offset, uint64_t size, uint64_t *from, uint64_t *to)
{
    uint64_t end;

    if (size == 0 || offset >= discard->size)
        return false;
    end = size > discard->size - offset ? discard->size : offset + size;
    *from = offset >> discard->shift;
    *to = ((end - 1) >> discard->shift) + 1;
    return true;
}

uint64_t vfm_discard_count(const VfmDiscard *discard, uint64_t offset, uint64_t size, uint64_t *bytes)
{
    uint64_t from, to, end, count;

    if (bytes)
        *bytes = 0;
    if (!touched(discard, offset, size, &from, &to))
        return 0;
    end = size > discard->size - offset ? discard->size : offset + size;
    count = count_bits(discard, from, to);
    if (bytes && count) {
        *bytes = count << discard->shift;
        if (bit_at(discard, from))
            *bytes -= offset - (from << discard->shift);
        if (bit_at(discard, to - 1))
            *bytes -= (to << discard->shift) - end;
    }
    return count;
}

bool vfm_discard_is_populated(const VfmDiscard *discard, uint64_t offset, uint64_t size)
{
    uint64_t from, to;

    return touched(discard, offset, size, &from, &to) && size <= discard->size - offset &&
           find_bit(discard, false, from, to) == to;
}

bool vfm_discard_any_populated(const VfmDiscard *discard, uint64_t offset, uint64_t size)
{
    uint64_t from, to;

    return touched(discard, offset, size, &from, &to) && find_bit(discard, true, from, to) != to;
}

bool vfm_discard_next_run(const VfmDiscard *discard, bool populated, uint64_t offset, uint64_t end, uint64_t *run,
                          uint64_t *run_size)
{
    uint64_t from, to, first, last, run_end;

    end = MIN(end, discard->size);
    if (end <= offset || !touched(discard, offset, end - offset, &from, &to))
        return false;
    first = find_bit(discard, populated, from, to);
    if (first == to)
        return false;
    last = find_bit(discard, !populated, first, to);
    *run = MAX(first << discard->shift, offset);
    run_end = MIN(last << discard->shift, end);
    *run_size = run_end - *run;
    return true;
}

bool vfm_discard_replay(const VfmDiscard *discard, bool populated, uint64_t offset, uint64_t size, VfmDiscardRunFunc fn,
                        void *data, GError **error)
{
    uint64_t end = size > UINT64_MAX - offset ? UINT64_MAX : offset + size;
    uint64_t run, run_size;

    while (vfm_discard_next_run(discard, populated, offset, end, &run, &run_size)) {
        if (!fn(data, run, run_size, error))
            return false;
        offset = run + run_size;
    }
    return true;
}

/* A request must consist of whole blocks; only the region's last one may be shorter. */
static bool check_request(const VfmDiscard *discard, const char *verb, uint64_t offset, uint64_t size, GError **error)
{
    uint64_t mask = discard->block - 1;

    if (size != 0 && offset < discard->size && size <= discard->size - offset && (offset & mask) == 0 &&
        (((offset + size) & mask) == 0 || offset + size == discard->size))
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                "%s: can't %s %" G_GUINT64_FORMAT " bytes at offset 0x%" G_GINT64_MODIFIER
                "x: not whole blocks of %" G_GUINT64_FORMAT " within its %" G_GUINT64_FORMAT " bytes",
                discard->name, verb, size, offset, discard->block, discard->size);
    return false;
}

/* The part of offset..offset+size that @listener listens to; false if none. */
static bool clip(const VfmDiscardListener *listener, uint64_t offset, uint64_t size, uint64_t *start, uint64_t *length)
{
    uint64_t end = MIN(offset + size, listener->offset + listener->size);

    *start = MAX(offset, listener->offset);
    if (*start >= end)
        return false;
    *length = end - *start;
    return true;
}

/* Gives back to @listener what it had let go of in offset..offset+size. Each run by itself: that one can't be had is
 * no reason to go without the next. */
static void restore(const VfmDiscard *discard, VfmDiscardListener *listener, uint64_t offset, uint64_t size,
                    GError **error)
{
    uint64_t end = offset + size, run, run_size;

    for (; vfm_discard_next_run(discard, true, offset, end, &run, &run_size); offset = run + run_size) {
        g_autoptr(GError) second = NULL;
        bool restored = listener->ops->restore ? listener->ops->restore(listener, run, run_size, &second)
                                               : listener->ops->populate(listener, run, run_size, &second);

        if (!restored)
            vfm_error_append(error, "a listener could not take back what it had let go: %s", second->message);
    }
}

/* A discard that only undoes. Tried twice: what stays behind would be in the way of the blocks' next life. */
static bool let_go(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    return listener->ops->discard(listener, offset, size, NULL) ||
           listener->ops->discard(listener, offset, size, error);
}

bool vfm_discard_populate(VfmDiscard *discard, uint64_t offset, uint64_t size, GError **error)
{
    uint64_t from = 0, to = 0, start, length;

    g_return_val_if_fail(!discard->busy, false);
    if (!check_request(discard, "populate", offset, size, error))
        return false;
    touched(discard, offset, size, &from, &to);
    if (find_bit(discard, true, from, to) != to) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s: can't populate %" G_GUINT64_FORMAT " bytes at offset 0x%" G_GINT64_MODIFIER
                    "x: a block of them is in use already",
                    discard->name, size, offset);
        return false;
    }
    /* The bits are set before listeners hear of it, so that one that must let go again can count what it holds. */
    set_bits(discard, from, to, true);
    discard->busy = true;
    for (unsigned i = 0; i < discard->listeners->len; i++) {
        VfmDiscardListener *listener = discard->listeners->pdata[i];

        if (!clip(listener, offset, size, &start, &length) || listener->ops->populate(listener, start, length, error))
            continue;
        while (i-- > 0) {
            g_autoptr(GError) second = NULL;

            listener = discard->listeners->pdata[i];
            if (clip(listener, offset, size, &start, &length) && !let_go(listener, start, length, &second))
                vfm_error_append(error, "a listener could not be rolled back: %s", second->message);
        }
        set_bits(discard, from, to, false);
        discard->busy = false;
        return false;
    }
    discard->busy = false;
    discard->populated += size;
    return true;
}

bool vfm_discard_discard(VfmDiscard *discard, uint64_t offset, uint64_t size, GError **error)
{
    uint64_t from = 0, to = 0, start, length, bytes;

    g_return_val_if_fail(!discard->busy, false);
    if (!check_request(discard, "discard", offset, size, error))
        return false;
    touched(discard, offset, size, &from, &to);
    if (vfm_discard_count(discard, offset, size, &bytes) == 0)
        return true;
    discard->busy = true;
    for (unsigned i = 0; i < discard->listeners->len; i++) {
        VfmDiscardListener *listener = discard->listeners->pdata[i];

        if (!clip(listener, offset, size, &start, &length) || !vfm_discard_any_populated(discard, start, length) ||
            listener->ops->discard(listener, start, length, error))
            continue;
        while (i-- > 0) {
            listener = discard->listeners->pdata[i];
            if (clip(listener, offset, size, &start, &length))
                restore(discard, listener, start, length, error);
        }
        discard->busy = false;
        return false;
    }
    set_bits(discard, from, to, false);
    discard->busy = false;
    discard->populated -= bytes;
    return true;
}

bool vfm_discard_add_listener(VfmDiscard *discard, VfmDiscardListener *listener, GError **error)
{
    uint64_t offset = listener->offset, end = listener->offset + listener->size, run, run_size;

    g_return_val_if_fail(!discard->busy, false);
    discard->busy = true;
    while (vfm_discard_next_run(discard, true, offset, end, &run, &run_size)) {
        if (!listener->ops->populate(listener, run, run_size, error)) {
            g_autoptr(GError) second = NULL;

            if (vfm_discard_any_populated(discard, listener->offset, run - listener->offset) &&
                !let_go(listener, listener->offset, run - listener->offset, &second))
                vfm_error_append(error, "the replay could not be undone: %s", second->message);
            discard->busy = false;
            return false;
        }
        offset = run + run_size;
    }
    discard->busy = false;
    g_ptr_array_add(discard->listeners, listener);
    return true;
}

void vfm_discard_remove_listener(VfmDiscard *discard, VfmDiscardListener *listener)
{
    g_ptr_array_remove(discard->listeners, listener);
}
