/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_session.h - one vfio-user client (QEMU) and the one PCI device it is served.
 *
 * The session owns the socket, reads and answers the client's commands in
 * order, and checks every index, offset, size, count and descriptor against
 * what the device said of itself before the device's operations see them. It knows
 * nothing of VFIO or of mapping: those are behind VfmVfuDeviceOps.
 *
 * Two threads of its own: one reads, so that messages are taken off the socket
 * while a slow mapping runs (QEMU sends hundreds without waiting); one carries them out
 * and answers. What lies between them is in a journal (vfu_journal.h), bounded, so that a client that floods just
 * waits, and a process that follows this one takes the session up where it was.
 *
 * A command may be carried out twice if a worker died over it: reads, writes and resets of the device are then done
 * again, interrupts are set again to the same descriptors, and maps and unmaps have a number to be known by.
 *
 * A device that can't describe itself is refused with answers: every message gets an error. Closing the connection
 * instead can abort QEMU (QEMU 11.1: assertion in error_setv on 7 of 12 cold starts). All other refusals come before
 * QEMU has a connection. A device that is lost because workers crash over a command of its client has answers, too: the
 * device is told that its client is gone, commands are answered with errors, and maps of memory, which other devices of
 * the guest may need, with success.
 */
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>

#include "error.h"
#include "vfu_journal.h"
#include "vfu_protocol.h"
#include "vfu_version.h"

typedef struct VfmVfuDevice VfmVfuDevice;
typedef struct VfmVfuSession VfmVfuSession;

/*
 * What a device offers. All calls come from the session's thread, one at a time.
 * Errors become the errno of the answer: vfm_vfu_errno().
 */
typedef struct {
    /* Flags, number of regions and of interrupt kinds: as VFIO_DEVICE_GET_INFO. Asked once. */
    void (*info)(VfmVfuDevice *device, struct vfio_device_info *info);
    /* Fills @info, empty, with struct vfio_region_info and its capabilities (argsz and cap_offset set). *@fd, if the
     * region can be mapped, is the descriptor the client may mmap at info.offset; borrowed. Asked once per region. */
    bool (*region_info)(VfmVfuDevice *device, uint32_t index, GByteArray *info, int *fd, GError **error);
    /* As VFIO_DEVICE_GET_IRQ_INFO; @info->index is set. Asked once per index. */
    bool (*irq_info)(VfmVfuDevice *device, struct vfio_irq_info *info, GError **error);
    /* As VFIO_DEVICE_SET_IRQS. @bools: @set->count bytes with DATA_BOOL, else NULL. @fds: @set->count borrowed
     * descriptors with DATA_EVENTFD, each -1 to take one away, else NULL. */
    bool (*set_irqs)(VfmVfuDevice *device, const struct vfio_irq_set *set, const uint8_t *bools, const int *fds,
                     GError **error);
    /* @offset + @count lie in the region; @count is not 0. */
    bool (*read)(VfmVfuDevice *device, uint32_t region, uint64_t offset, void *data, uint32_t count, GError **error);
    bool (*write)(VfmVfuDevice *device, uint32_t region, uint64_t offset, const void *data, uint32_t count,
                  GError **error);
    bool (*reset)(VfmVfuDevice *device, GError **error);
    /* Guest memory appears at @map->address: @fd (borrowed, -1: memory that can't be shared, like a ROM) at
     * @map->offset. Size is not 0, nothing wraps. On failure nothing changed. @message numbers the session's messages,
     * from 1 on; the same number again means that it is carried out again. */
    bool (*dma_map)(VfmVfuDevice *device, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error);
    /* Every map inside the range goes; none is success with *@unmapped 0. @message as above. */
    bool (*dma_unmap)(VfmVfuDevice *device, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error);
    /* The client has been quiet for about a second: a time for what can wait. May be NULL. */
    void (*idle)(VfmVfuDevice *device);
    /* The client is gone, or broken (@why, else NULL). The last call, from the session's thread: unmap, forget
     * interrupts. Another process may have begun with it. The session itself must be freed by another thread. */
    void (*gone)(VfmVfuDevice *device, const GError *why);
} VfmVfuDeviceOps;

struct VfmVfuDevice {
    const VfmVfuDeviceOps *ops;
};

/* Crashes over one message until its device is given up. */
enum { VFM_VFU_CRASHES = 3 };

/* Serves @device (borrowed) on @socket (consumed: a connected stream socket), in @journal, which is unused and is
 * borrowed. Its threads start at once. @offer is copied. Never fails: a device that can't describe itself is refused as
 * said above. */
VfmVfuSession *vfm_vfu_session_new(VfmVfuJournal *journal, int socket, VfmVfuDevice *device, const VfmVfuOffer *offer);

/* Goes on where another process was; @journal is open or over and was recovered. @device NULL: it is lost, and nothing
 * of it, like a descriptor in an answer that was prepared, is told any more. */
VfmVfuSession *vfm_vfu_session_resume(VfmVfuJournal *journal, VfmVfuDevice *device);

/* The client is known to be dead, whatever its connection looks like: somebody else may have its end, who neither reads
 * nor hangs up. Nothing more is carried out or answered. Any thread but the session's. */
void vfm_vfu_session_cut(VfmVfuSession *session);

/* Ends the connection if it still stands, waits for the threads (and so for gone()), frees, and clears the journal. Not
 * from an operation. What came is carried out and answered first, so a client that does not read is waited for unless
 * the session was cut. */
void vfm_vfu_session_free(VfmVfuSession *session);

/* For handlers of the signals that a crash raises: notes in the journal if this thread is a session's. */
void vfm_vfu_session_note_crash(void);

/* Whether the client is gone; any thread. */
bool vfm_vfu_session_ended(VfmVfuSession *session);

/* Adds 1 to the eventfd (borrowed, must outlive the session) once the client is gone, at once if it is already. */
void vfm_vfu_session_notify(VfmVfuSession *session, int eventfd);

/* Waits until it is. */
void vfm_vfu_session_wait(VfmVfuSession *session);

/* The errno that says best to QEMU what @error is: ENOSPC for the budget, ENOMEM for locked memory, EBUSY for
 * inhibition, EEXIST, ENOTSUP, EINVAL, or the system's own. Never 0. */
int vfm_vfu_errno(const GError *error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmVfuSession, vfm_vfu_session_free)
