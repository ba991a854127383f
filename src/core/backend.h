/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend.h - how one DMA context talks to whoever does the mapping.
 *
 * A backend is one IOVA space: a type1 container, an iommufd IOAS, or a record
 * of what would be mapped. It keeps no picture of the guest and makes no
 * policy; it turns one request into one kernel call and the kernel's errno into
 * a typed error. The container (container.h) above it owns the state.
 *
 * Descriptors are handed in by the caller. A backend owns the ones it is
 * created with and those of attached devices, and closes them when freed or
 * detached. All calls on one backend come from one thread at a time.
 *
 * Errors are VFM_SYSTEM_ERROR with the kernel's errno as code and a text that
 * names the call; the container gives two of them their meaning: ENOSPC from map
 * is the mapping budget, ENOMEM from map or attach is RLIMIT_MEMLOCK. Every
 * operation fails without any change.
 */
#pragma once

#include "domain.h"
#include "error.h"
#include "ranges.h"

typedef struct {
    uint64_t page_sizes;   /* bitmap of IOMMU page sizes; the lowest set bit is the smallest mapping and
                            * the alignment of iova, size and vaddr. Never less than the kernel accepts */
    VfmMaybe max_mappings; /* total the context may hold, used ones included (type1: dma_avail is what
                            * is LEFT, so the backend adds its own count); not set: no limit (iommufd) */
    VfmMaybe memlock;      /* bytes this process may lock now; not set: no limit or not known */
    bool peer_bars;        /* mappings with @peer can work at all; false: don't try */
    GArray *ranges;        /* of VfmIovaRange, ascending; empty: everything (mdev-only type1) */
} VfmBackendLimits;

typedef enum { VFM_PROT_READ = 1, VFM_PROT_WRITE = 2 } VfmProt;

typedef struct {
    uint64_t iova, size;
    void *vaddr;     /* where this process has the memory mapped */
    int fd;          /* the memory's descriptor, or -1: only a hint for map-from-file */
    uint64_t offset; /* of @vaddr in @fd */
    unsigned prot;   /* VfmProt */
    bool peer;       /* another device's BAR: not pinned, not charged, and allowed to fail */
} VfmMapping;

/* A device to attach. @fd is consumed on success only: type1 wants the group's
 * descriptor, iommufd the device cdev's; record ignores it. Linux lets a group
 * be opened once at a time, so for a second device of a group type1 wants a
 * duplicate of the first one's descriptor. */
typedef struct {
    const char *name; /* "0000:01:00.0" or an mdev's UUID: type1 asks the group for the device by it */
    int fd;           /* after success: what the backend holds (type1: one descriptor for all devices of a group) */
    int device_fd;    /* out: type1: from VFIO_GROUP_GET_DEVICE_FD; iommufd: the cdev itself. Borrowed */
} VfmBackendDevice;

typedef struct VfmBackend VfmBackend;

/* What a backend holds, in plain numbers: enough for another process that shares the table of descriptors to take it
 * over (backend_adopt.h). Changes with attach and detach. */
typedef struct {
    uint32_t kind;         /* VfmBackendKind; VFM_BACKEND_AUTO: can't be taken over */
    int32_t fd;            /* the container, or /dev/iommu */
    uint32_t ioas;         /* iommufd: id of the address space */
    uint32_t account;      /* iommufd: VfmIommufdAccount */
    uint32_t limited;      /* type1: @max_mappings is known */
    uint32_t reserved;     /* 0 */
    uint64_t max_mappings; /* type1: the total, which the kernel only tells while nothing is mapped */
} VfmBackendHold;

typedef struct {
    const char *name; /* "type1", "iommufd", "record" */

    /* Adds a device to the context. EINVAL or EOPNOTSUPP mean that this device and this context don't
     * go together, and another context is worth a try; every other errno is final. */
    bool (*attach)(VfmBackend *backend, VfmBackendDevice *device, GError **error);
    void (*detach)(VfmBackend *backend, VfmBackendDevice *device);

    /* Current limits; re-read after every attach and detach. @limits->ranges is made by the caller. */
    bool (*limits)(VfmBackend *backend, VfmBackendLimits *limits, GError **error);

    /* One mapping. Never replaces: an overlap is an error (EEXIST). The hot path: no allocation. */
    bool (*map)(VfmBackend *backend, const VfmMapping *mapping, GError **error);

    /* Every mapping wholly inside the range, in one call; cutting one is an error.
     * Nothing there is success with *@unmapped 0 bytes. */
    bool (*unmap)(VfmBackend *backend, uint64_t iova, uint64_t size, uint64_t *unmapped, GError **error);

    /* Mappings that still fit, as the kernel counts; not set where it has no limit. */
    VfmMaybe (*available)(VfmBackend *backend);

    /* --- for a successor of a process that died. All may be NULL: then nothing can be taken over. */

    void (*hold)(const VfmBackend *backend, VfmBackendHold *hold);

    /* A device that a predecessor attached: @device->fd and ->device_fd are what they were in it. Changes nothing in
     * the kernel. On failure they are closed, but for a group's that other devices are in. */
    bool (*adopt)(VfmBackend *backend, VfmBackendDevice *device, GError **error);

    /* A mapping that a predecessor made is from now on this process's: its locked memory is charged here.
     * DMA goes on meanwhile. False: it stays charged to nobody; otherwise it is as good. */
    bool (*claim)(VfmBackend *backend, const VfmMapping *mapping);

    void (*free)(VfmBackend *backend);
} VfmBackendOps;

struct VfmBackend {
    const VfmBackendOps *ops;
};
