/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guest_dma.h - what all vfio-user clients of one guest say of its memory, made one set of mappings.
 *
 * QEMU describes the guest's memory once for every vfio-user device, over a
 * connection each. This object owns the union of what they say: memory that several
 * clients describe alike is mapped, and so pinned, once, and goes with the last of
 * them. It is the client (container.h) of the one container that all these devices are in,
 * and owns the files behind the memory: each is mapped into this process once,
 * however many descriptors of it arrive.
 *
 * Cutting. Kernel mappings can't be split, and QEMU's firmware reshapes low memory dozens
 * of times in a boot (PAM and SMRAM registers; hw/pci-host/q35.c). So RAM between 640 KiB and
 * 1 MiB is mapped by the page, what is below 4 GiB is cut at 1 MiB and every 256 MiB, and a change leaves
 * the other pieces alone. Above 4 GiB every map is one mapping: virtio-mem's blocks stay separate.
 *
 * Lingering. A piece that the last client unmaps below 4 GiB stays mapped until something
 * else wants its place, or the guest has been quiet for a while: QEMU most often maps the same
 * memory again at once, and RAM is then pinned once in a boot, not five times. That is
 * safe for memory which nobody can discard; whoever discards punches a hole into the file before the
 * unmap (QEMU hw/virtio/virtio-mem.c), and a piece that has a hole never lingers. Nor does one of a file that can't
 * tell; one in huge pages can only say that there is a hole somewhere.
 *
 * Order. QEMU removes from all devices what changed before it adds to any, but each
 * connection is a stream of its own. A map that collides with what another client still holds
 * therefore waits for that client's unmap, which was sent before; up to 20 s for all maps that follow an unmap, then it
 * fails: QEMU waits for the answer to the last of them only, and longer.
 *
 * Survival. With a ledger (dma_ledger.h) all of this is noted in memory that outlives the process, and a successor goes
 * on with it (vfm_guest_dma_resume). What was answered stands; of a message that was being carried
 * out, nothing stands or all of it, or it is finished when it is carried out again under the same number
 * (vfm_guest_dma_message), with the same answer. Nothing that stands is unmapped meanwhile, not for a moment.
 *
 * Units: bytes; addresses are guest physical, equal to IOVA. Threads: any; one lock inside, which also guards
 * the container: others use it between vfm_guest_dma_lock() and _unlock().
 */
#pragma once

#include "container.h"
#include "dma_ledger.h"
#include "vfu_protocol.h"
#include "vfu_version.h"

typedef struct VfmGuestDma VfmGuestDma;
typedef struct VfmGuestDmaClient VfmGuestDmaClient;

typedef struct {
    uint64_t clients;
    uint64_t pieces;       /* mappings in the kernel, lingering ones included */
    uint64_t bytes;        /* and the memory in them */
    uint64_t lingering;    /* bytes that no client wants any more */
    uint64_t skipped;      /* maps without a descriptor (ROMs, other devices' BARs), now */
    uint64_t pinned_total; /* bytes pinned since the beginning: tells how often RAM was pinned */
} VfmGuestDmaUsage;

/* One mapping, for lists. */
typedef struct {
    uint64_t address, size;
    unsigned prot;    /* VfmProt */
    unsigned clients; /* 0: lingering */
} VfmGuestDmaPiece;

/* On @container (borrowed, must outlive it), as its client. @windows (of VfmIovaRange, copied): only what lies inside
 * is mapped; NULL: everything. */
VfmGuestDma *vfm_guest_dma_new(VfmContainer *container, const GArray *windows);

/*
 * The same with its state in @ledger (borrowed, must outlive it). If a predecessor left something in there, it is taken
 * over: what was half done is unmapped or completed, what is nobody's lingers or goes by the rules above. Then
 * @container must be made of adopted parts (vfm_backend_adopt, vfm_container_adopt): with no device in it,
 * nothing is mapped any more. An empty ledger is a beginning, and @container an ordinary one.
 *
 * NULL and @error if it can't be: then everything has to end, as what is mapped is not what should be. Errors:
 * VFM_REFUSED_STATE if the kernel counts other mappings; VFM_SYSTEM_ERROR; those of vfm_guest_dma_map(). Can be killed
 * and done again like everything else.
 *
 * Next, in this order: vfm_guest_dma_rejoin() for each client that goes on, vfm_guest_dma_disown(), then the messages
 * that were being carried out, again.
 */
VfmGuestDma *vfm_guest_dma_resume(VfmContainer *container, const GArray *windows, VfmDmaLedger *ledger, GError **error);

/* How long a client's maps together wait for another client to let go, in microseconds, from the first wait after an
 * unmap of its own on; 20 seconds unless set. */
void vfm_guest_dma_set_patience(VfmGuestDma *dma, int64_t usec);

/* All clients must have left. Unmaps what lingers. */
void vfm_guest_dma_free(VfmGuestDma *dma);

/* A client, @name for messages. With a ledger @name is unique, at most 59 bytes, and NULL means that the ledger is
 * full; never NULL without. */
VfmGuestDmaClient *vfm_guest_dma_join(VfmGuestDma *dma, const char *name);

/* The client @name of a predecessor, with all its maps; once. NULL: there is none (or it was leaving, and has left). */
VfmGuestDmaClient *vfm_guest_dma_rejoin(VfmGuestDma *dma, const char *name);

/* Clients of a predecessor that nobody has rejoined leave. */
void vfm_guest_dma_disown(VfmGuestDma *dma);

/* What follows carries out the client's message @number, at most one map or unmap: not 0, another one for each message,
 * and the same again when a successor repeats it. A new number says that the answer to the one before is kept
 * safe. Without it (0) everything works, but can't be repeated. From the client's thread. */
void vfm_guest_dma_message(VfmGuestDmaClient *client, uint64_t number);

/* Unmaps all that only this client held, at once, and forgets it. */
void vfm_guest_dma_leave(VfmGuestDmaClient *client);

/*
 * @map as it came (size not 0, nothing wraps), with its descriptor (borrowed; -1: success, nothing is mapped). On
 * failure nothing changed. Errors: VFM_REFUSED_STATE if the client holds part of the range already (EEXIST), or another
 * client's view of it does not go away in time; VFM_REFUSED_ALIGNMENT; VFM_REFUSED_RESERVED outside of what the devices
 * can reach; VFM_REFUSED_BUDGET (a full ledger, too), _MEMLOCK; VFM_INPUT_ERROR for a descriptor that is no memory or
 * too short; VFM_SYSTEM_ERROR.
 */
bool vfm_guest_dma_map(VfmGuestDmaClient *client, const VfmVfuDmaMap *map, int fd, GError **error);

/* Everything of this client inside the range; *@unmapped: the bytes it was. A map of this client that the range cuts:
 * VFM_REFUSED_ALIGNMENT and no change. */
bool vfm_guest_dma_unmap(VfmGuestDmaClient *client, uint64_t address, uint64_t size, uint64_t *unmapped,
                         GError **error);

/* Unmaps what lingers. */
void vfm_guest_dma_settle(VfmGuestDma *dma);

void vfm_guest_dma_lock(VfmGuestDma *dma);
void vfm_guest_dma_unlock(VfmGuestDma *dma);

void vfm_guest_dma_usage(VfmGuestDma *dma, VfmGuestDmaUsage *usage);
/* What a client may hold by its own count: the container's budget. One without a limit offers 0, which switches QEMU's
 * check off. */
VfmVfuOffer vfm_guest_dma_offer(VfmGuestDma *dma);
/* New array of VfmGuestDmaPiece, by address. */
GArray *vfm_guest_dma_pieces(VfmGuestDma *dma);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmGuestDma, vfm_guest_dma_free)
