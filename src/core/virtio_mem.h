/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * virtio_mem.h - a virtio-mem device's rules on top of a discard manager.
 *
 * Decides what a guest's request gets: ACK, NACK, BUSY or ERROR, as the virtio
 * specification and QEMU's hw/virtio/virtio-mem.c have it, and then lets the discard
 * manager do it. It owns requested and usable size; the populated blocks are the discard
 * manager's, which it borrows. It holds require-coordinated while it exists.
 *
 * Units: bytes; addresses are guest physical. Threads: no locking, one at a time.
 */
#pragma once

#include "discard.h"
#include "inhibit.h"

typedef struct VfmVirtioMem VfmVirtioMem;

typedef enum {
    VFM_VIRTIO_MEM_ACK,
    VFM_VIRTIO_MEM_NACK, /* more than requested */
    VFM_VIRTIO_MEM_BUSY, /* not now: migration, or a listener refused */
    VFM_VIRTIO_MEM_ERROR /* outside the usable region, misaligned, or a block in the wrong state */
} VfmVirtioMemAnswer;

/* A device at @address whose blocks are @discard's (borrowed, must outlive it), nothing requested.
 * @usable_extent is how far beyond the requested size the guest may plug (QEMU: 256 MiB on x86 and
 * s390x, 1 GiB on arm). @inhibit may be NULL. Errors: VFM_REFUSED_INHIBITED; VFM_REFUSED_ALIGNMENT if
 * address or size are no multiples of the block, or the block is below 1 MiB. */
VfmVirtioMem *vfm_virtio_mem_new(const char *name, VfmDiscard *discard, uint64_t address, uint64_t usable_extent,
                                 VfmInhibit *inhibit, GError **error);
/* Gives the hold back; blocks stay as they are. NULL is fine. */
void vfm_virtio_mem_free(VfmVirtioMem *device);

/* New requested size: VFM_REFUSED_ALIGNMENT if no multiple of the block, VFM_INPUT_RANGE if above the
 * region. The usable region grows with it and shrinks only on unplug-all and reset. Unplugs nothing. */
bool vfm_virtio_mem_resize(VfmVirtioMem *device, uint64_t requested, GError **error);

/* While set (a migration runs), every plug and unplug is BUSY. */
void vfm_virtio_mem_set_migrating(VfmVirtioMem *device, bool migrating);

/* The guest plugs @blocks (the request's 16-bit count) at @address. All or nothing; @error (may be NULL) says why for
 * anything but ACK, and is for the log: the guest gets only the answer. */
VfmVirtioMemAnswer vfm_virtio_mem_plug(VfmVirtioMem *device, uint64_t address, unsigned blocks, GError **error);
/* The guest unplugs @blocks at @address, as above. ACK comes after every listener has unmapped them. */
VfmVirtioMemAnswer vfm_virtio_mem_unplug(VfmVirtioMem *device, uint64_t address, unsigned blocks, GError **error);
/* The guest unplugs everything: one discard of the whole region, and the usable region may shrink. */
VfmVirtioMemAnswer vfm_virtio_mem_unplug_all(VfmVirtioMem *device, GError **error);

/* System reset: everything unplugged, requested size kept. During a migration, or if a listener
 * refuses, memory stays plugged (false, @error): the guest driver must unplug all itself. */
bool vfm_virtio_mem_reset(VfmVirtioMem *device, GError **error);

/* Bytes that are requested. */
uint64_t vfm_virtio_mem_requested(const VfmVirtioMem *device);
/* Bytes from the start within which the guest may plug. */
uint64_t vfm_virtio_mem_usable(const VfmVirtioMem *device);
/* Bytes that are plugged. */
uint64_t vfm_virtio_mem_plugged(const VfmVirtioMem *device);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmVirtioMem, vfm_virtio_mem_free)
