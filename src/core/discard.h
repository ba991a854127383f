/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * discard.h - which blocks of a sparse region are in use, and who must know.
 *
 * One discard manager sits on one region. It owns the populated bitmap (one bit
 * per block and nothing else per block) and a list of listeners. A block comes
 * into use only after every listener agreed, and all or nothing: when one
 * refuses, those before it are rolled back and nothing changed. A block is
 * given back only after every listener let go of it; the caller may punch the
 * hole and tell the guest once the function returned. That order is the
 * coordination; the manager itself never touches memory and never decides
 * whether a request is allowed (virtio_mem.h does).
 *
 * The rules are those of QEMU's RamDiscardManager (include/system/ram-discard-manager
 * and hw/virtio/virtio-mem.c), made stricter in two points: a replay that fails
 * undoes all of itself, and a listener may refuse a discard.
 *
 * Units: offsets and sizes are bytes within the region, multiples of the block
 * size (only the region's last block may be shorter). Errors: VFM_REFUSED with
 * VFM_REFUSED_ALIGNMENT or _STATE, or what a listener set. Threads: no locking;
 * one thread at a time; listeners must not call back into populate or discard.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VfmDiscard VfmDiscard;
typedef struct VfmDiscardListener VfmDiscardListener;

typedef struct {
    /* offset..offset+size is about to come into use; no block of it was. Either all of
     * it becomes usable, or @error is set and nothing changed. */
    bool (*populate)(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error);

    /* Let go of offset..offset+size, in one step. Parts may never have been populated.
     * Refusing (false, @error set, nothing changed) keeps the blocks populated. */
    bool (*discard)(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error);

    /* As populate, for blocks that this listener let go of a moment ago because of a discard that another
     * one refused. They count as populated whatever it returns: on failure it must remember that it does
     * not have them. NULL: populate is called. */
    bool (*restore)(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error);
} VfmDiscardListenerOps;

/* Embedded by the listener, which fills it in before it registers. Callbacks get
 * ranges clipped to offset..offset+size. Both may lie inside a block. */
struct VfmDiscardListener {
    const VfmDiscardListenerOps *ops;
    uint64_t offset, size;
};

/* A manager for a region of @size bytes in blocks of @block bytes (a power of two),
 * all discarded, or all populated if @populated. @name is for messages and is copied.
 * Errors: VFM_REFUSED_ALIGNMENT if @block is no power of two or @size is 0. Free with
 * vfm_discard_free(), when no listener is left. */
VfmDiscard *vfm_discard_new(const char *name, uint64_t size, uint64_t block, bool populated, GError **error);
/* Frees it; NULL is fine. No listener may be left. */
void vfm_discard_free(VfmDiscard *discard);

/* The name given at creation; borrowed. */
const char *vfm_discard_name(const VfmDiscard *discard);
/* Bytes of the region. O(1), as are the next two. */
uint64_t vfm_discard_size(const VfmDiscard *discard);
/* Bytes of a block, a power of two. */
uint64_t vfm_discard_block(const VfmDiscard *discard);
/* Bytes that are populated. */
uint64_t vfm_discard_populated(const VfmDiscard *discard);
/* Bytes this manager occupies, for accounts and the benchmark: bitmap and constant. */
size_t vfm_discard_footprint(const VfmDiscard *discard);

/* Brings offset..offset+size into use, telling every listener first. Refused with
 * VFM_REFUSED_STATE if a block of it already is (QEMU: virtio-mem answers ERROR).
 * On failure nothing changed. O(blocks in the range). */
bool vfm_discard_populate(VfmDiscard *discard, uint64_t offset, uint64_t size, GError **error);

/* Gives offset..offset+size back: one call to each listener, whatever the mix of
 * populated and discarded blocks in it; none if no block was in use. On failure the
 * blocks stay populated, and listeners that had let go are asked to take them again;
 * where one of those can't, it keeps a record of its own and @error says so. */
bool vfm_discard_discard(VfmDiscard *discard, uint64_t offset, uint64_t size, GError **error);

/* Whether every block that touches offset..offset+size is populated, and the range is within the region. Any alignment.
 */
bool vfm_discard_is_populated(const VfmDiscard *discard, uint64_t offset, uint64_t size);
/* Whether any block that touches offset..offset+size is populated. Any alignment. */
bool vfm_discard_any_populated(const VfmDiscard *discard, uint64_t offset, uint64_t size);

/* Number of populated blocks that touch offset..offset+size, and in @bytes (if not NULL)
 * the populated bytes within it. Any alignment. */
uint64_t vfm_discard_count(const VfmDiscard *discard, uint64_t offset, uint64_t size, uint64_t *bytes);

/* Finds the first maximal run of populated (or not populated) bytes within @offset and
 * @end, clipped to them. false if there is none. */
bool vfm_discard_next_run(const VfmDiscard *discard, bool populated, uint64_t offset, uint64_t end, uint64_t *run,
                          uint64_t *run_size);

/* One run, in bytes of the region; false stops the replay, with @error set. */
typedef bool (*VfmDiscardRunFunc)(void *data, uint64_t offset, uint64_t size, GError **error);
/* Calls @fn for each maximal run that is populated (or, with @populated false, is not)
 * within offset..offset+size, ascending; stops when @fn returns false and returns that. */
bool vfm_discard_replay(const VfmDiscard *discard, bool populated, uint64_t offset, uint64_t size, VfmDiscardRunFunc fn,
                        void *data, GError **error);

/* Registers @listener (borrowed until removed) and replays what is populated to it, run
 * by run. If it refuses one, all of the replay is undone in one discard and it is not
 * registered. Order of registration is order of notification. */
bool vfm_discard_add_listener(VfmDiscard *discard, VfmDiscardListener *listener, GError **error);

/* Forgets @listener, without a callback: it must have let go of everything itself. */
void vfm_discard_remove_listener(VfmDiscard *discard, VfmDiscardListener *listener);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDiscard, vfm_discard_free)
