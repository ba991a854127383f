/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * container.h - one DMA context: a backend, the devices in it, and its account.
 *
 * A container owns its backend and knows what every attached device can reach
 * (the backend's ranges, less each device's reserved regions and what is above its
 * aperture), how many mappings it holds and how many bytes they pin. It has no
 * picture of the guest: a client (the mapper, mapper.h) decides what is mapped and
 * is asked before a device comes in that would narrow the usable addresses.
 *
 * So order does not matter: whatever the sequence of attaches and detaches, the
 * same devices lead to the same usable addresses and the same mappings. While no
 * device is attached nothing is mapped.
 *
 * Rules: reserved regions of type direct-relaxable may be mapped over, all others
 * not (Linux drivers/vfio/vfio_iommu_type1.c, vfio_iommu_resv_exclude). Units:
 * bytes. Threads: no locking, one thread at a time.
 */
#pragma once

#include "backend.h"
#include "host.h"

typedef struct VfmContainer VfmContainer;
typedef struct VfmContainerClient VfmContainerClient;

/* A device as its owner presents it. Only read during the call, except for @fd. */
typedef struct {
    const char *name;       /* "0000:01:00.0"; unique in the container */
    int fd;                 /* as VfmBackendDevice.fd: consumed on success only; -1 for record */
    const GArray *reserved; /* of VfmReserved, of its IOMMU group; NULL: none known */
    const GArray *aperture; /* of VfmIovaRange; NULL: not known before the kernel says */
} VfmContainerDevice;

/* Who maps. All calls come from within container functions. */
typedef struct {
    /* The first device is in: map everything. On failure nothing stays mapped. */
    bool (*start)(VfmContainerClient *client, GError **error);
    /* The last device leaves: unmap everything. */
    void (*stop)(VfmContainerClient *client);
    /* From now on only what vfm_container_usable() says may be mapped, wider or narrower than before.
     * Guest RAM outside: VFM_REFUSED_RESERVED and no change. */
    bool (*reshape)(VfmContainerClient *client, GError **error);
} VfmContainerClientOps;

struct VfmContainerClient {
    const VfmContainerClientOps *ops;
};

/* What the container holds. */
typedef struct {
    uint64_t mappings;
    VfmMaybe budget;    /* how many it may hold: the lower of kernel and policy; not set: no limit.
                         * Where the kernel said ENOSPC earlier than it had announced: that number */
    uint64_t pinned;    /* bytes of guest memory mapped, hence charged to RLIMIT_MEMLOCK */
    uint64_t peer;      /* bytes of other devices' BARs mapped, not charged */
    uint64_t anomalies; /* unmaps whose size was not what we had mapped: a bug here or in the kernel */
} VfmContainerUsage;

/* A container without devices on @backend, which is consumed. @name is copied ("container 0").
 * @budget_cap lowers the kernel's budget, never raises it. Never fails. */
VfmContainer *vfm_container_new(const char *name, VfmBackend *backend, VfmMaybe budget_cap);

/* Detaches what is left (the client is stopped) and frees the backend. The client must be gone. */
void vfm_container_free(VfmContainer *container);

/* The name given at creation; borrowed. */
const char *vfm_container_name(const VfmContainer *container);
/* The backend; borrowed, and to be called only for what changes nothing. */
VfmBackend *vfm_container_backend(const VfmContainer *container);

/* Registers the one client (borrowed), and starts it if a device is attached. Errors: the client's. */
bool vfm_container_set_client(VfmContainer *container, VfmContainerClient *client, GError **error);
/* Stops and forgets the client. */
void vfm_container_clear_client(VfmContainer *container);

/*
 * Attaches @device. Its reserved regions and aperture are checked against guest RAM
 * first (the client's reshape), then the kernel is asked, then the ranges the kernel
 * reports are checked too; the first device also starts the client. On failure the
 * container and all its mappings are as before, and @device->fd still is the caller's.
 * Errors: VFM_REFUSED_RESERVED; VFM_REFUSED_MEMLOCK; VFM_REFUSED_BUDGET;
 * VFM_INPUT_CONFLICT if the name is taken; VFM_SYSTEM_ERROR from the kernel's attach,
 * with *@another (if not NULL) true where a container of its own is worth a try.
 */
bool vfm_container_attach(VfmContainer *container, const VfmContainerDevice *device, bool *another, GError **error);

/* Detaches; what its restrictions kept out is mapped again if possible (what can't be is on the
 * client's list). An unknown name is VFM_INPUT_USAGE. */
bool vfm_container_detach(VfmContainer *container, const char *name, GError **error);

/* --- taking over from a process that died; backend_adopt.h says what the kernel keeps */

/* Descriptors of a device, plainly, as the container holds them; numbers in the shared table. */
typedef struct {
    int32_t fd;        /* type1: its group's, the same for all devices of the group; iommufd: the cdev; -1 for record */
    int32_t device_fd; /* the device's: iommufd: the same */
} VfmDeviceHold;

/* For whoever keeps a note: what a successor needs (vfm_backend_adopt, vfm_container_adopt). To be noted after each
 * attach, and the device's taken off the note *before* it is detached: descriptors that no note names are closed by
 * the successor. False: no such device. */
bool vfm_container_hold(const VfmContainer *container, const char *name, VfmDeviceHold *hold);

/* A device that a predecessor attached, in an own container on an adopted backend; before there is a client. Changes
 * nothing in the kernel. @device's fd is not looked at. On failure the device is lost and its descriptors are closed
 * (but for a group's that others are in). Errors: VFM_SYSTEM_ERROR, VFM_INPUT_CONFLICT. */
bool vfm_container_adopt(VfmContainer *container, const VfmContainerDevice *device, const VfmDeviceHold *hold,
                         GError **error);

/* As vfm_container_set_client(), for a client whose mappings stand already: it is not started. It tells
 * of them with vfm_container_adopt_mapping(). */
void vfm_container_adopt_client(VfmContainer *container, VfmContainerClient *client);

/* A mapping that stands is counted, and charged to this process where the kernel can do that. */
void vfm_container_adopt_mapping(VfmContainer *container, const VfmMapping *mapping);

/* Unmaps what a predecessor may or may not have mapped, and is not counted. Nothing there is success. */
bool vfm_container_clear(VfmContainer *container, uint64_t iova, uint64_t size, GError **error);

/* Number of devices. */
unsigned vfm_container_devices(const VfmContainer *container);
/* The descriptor to reach a device (VfmBackendDevice.device_fd); borrowed; -1 if it is not there. */
int vfm_container_device_fd(const VfmContainer *container, const char *name);
/* Name of device @index, in order of attaching; borrowed; NULL beyond the last. */
const char *vfm_container_device_name(const VfmContainer *container, unsigned index);

/* Smallest mapping and alignment, in bytes. Host page size until the first device is attached. */
uint64_t vfm_container_page(const VfmContainer *container);
/* Of VfmIovaRange: what all attached devices can reach. Borrowed until the next attach or detach. */
const GArray *vfm_container_usable(const VfmContainer *container);
/* Why start..last can't be reached by all devices, for messages: "reserved region 0xfee00000-0xfeefffff (msi) of
 * 0000:01:00.0", "above the aperture of ...". Free with g_free(). */
char *vfm_container_obstacle(const VfmContainer *container, uint64_t start, uint64_t last);
/* Whether peer BARs are worth a try. */
bool vfm_container_peer_bars(const VfmContainer *container);
/* Bytes this process may lock, asked now; not set: no limit or not known. */
VfmMaybe vfm_container_memlock(const VfmContainer *container);
/* Fills in @usage. O(1), no system call. */
void vfm_container_usage(const VfmContainer *container, VfmContainerUsage *usage);
/* Mappings that still fit; UINT64_MAX without a limit. O(1), no system call. */
uint64_t vfm_container_left(const VfmContainer *container);

/* One mapping, counted. For the client. Memory of a predecessor that the kernel charges to nobody counts for
 * RLIMIT_MEMLOCK here. Errors: VFM_REFUSED_BUDGET (ours or the kernel's ENOSPC),
 * VFM_REFUSED_MEMLOCK (ENOMEM), VFM_SYSTEM_ERROR. */
bool vfm_container_map(VfmContainer *container, const VfmMapping *mapping, GError **error);

/* Unmaps iova..iova+size in one call. The client says what it believes is in there: @mappings,
 * and @bytes, of which @peer_bytes are peers' BARs; a different size from the kernel counts as an
 * anomaly. Errors: VFM_SYSTEM_ERROR, nothing changed. */
bool vfm_container_unmap(VfmContainer *container, uint64_t iova, uint64_t size, uint64_t mappings, uint64_t bytes,
                         uint64_t peer_bytes, GError **error);

/* Compares our count with the kernel's (type1: dma_avail). Errors: VFM_REFUSED_STATE with both numbers.
 * True where the kernel has no count. */
bool vfm_container_verify(const VfmContainer *container, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmContainer, vfm_container_free)
