/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_protocol.h - the vfio-user wire format, as far as a server of PCI devices needs it.
 *
 * Source: QEMU docs/interop/vfio-user.rst (protocol version 0.x). All integers are
 * in the host's byte order; both ends are on one host. Device, region and interrupt
 * payloads are the kernel's own structs of <linux/vfio.h> and are not repeated here.
 */
#pragma once

#include <assert.h>
#include <stdint.h>

enum {
    VFM_VFU_VERSION = 1,
    VFM_VFU_DMA_MAP = 2,
    VFM_VFU_DMA_UNMAP = 3,
    VFM_VFU_DEVICE_GET_INFO = 4,
    VFM_VFU_DEVICE_GET_REGION_INFO = 5,
    VFM_VFU_DEVICE_GET_REGION_IO_FDS = 6,
    VFM_VFU_DEVICE_GET_IRQ_INFO = 7,
    VFM_VFU_DEVICE_SET_IRQS = 8,
    VFM_VFU_REGION_READ = 9,
    VFM_VFU_REGION_WRITE = 10,
    VFM_VFU_DMA_READ = 11,
    VFM_VFU_DMA_WRITE = 12,
    VFM_VFU_DEVICE_RESET = 13,
    VFM_VFU_REGION_WRITE_MULTI = 15,
};

/* Header flags: bits 0 to 3 are the type. */
enum {
    VFM_VFU_TYPE_MASK = 0xf,
    VFM_VFU_TYPE_COMMAND = 0,
    VFM_VFU_TYPE_REPLY = 1,
    VFM_VFU_NO_REPLY = 0x10,
    VFM_VFU_ERROR = 0x20,
};

typedef struct {
    uint16_t id; /* the sender's: echoed, never interpreted */
    uint16_t command;
    uint32_t size; /* with this header */
    uint32_t flags;
    uint32_t error; /* positive errno of an error reply */
} VfmVfuHeader;
static_assert(sizeof(VfmVfuHeader) == 16, "wire format");

typedef struct {
    uint16_t major, minor;
    /* then optional JSON with a terminating NUL */
} VfmVfuVersion;
static_assert(sizeof(VfmVfuVersion) == 4, "wire format");

enum { VFM_VFU_DMA_READABLE = 1, VFM_VFU_DMA_WRITEABLE = 2 };

typedef struct {
    uint32_t argsz, flags;
    uint64_t offset, address, size;
} VfmVfuDmaMap;
static_assert(sizeof(VfmVfuDmaMap) == 32, "wire format");

/* The specification calls flags unused; QEMU sets the kernel's VFIO_DMA_UNMAP_FLAG_ALL to unmap everything
 * (hw/vfio-user/container.c). */
enum { VFM_VFU_DMA_UNMAP_ALL = 2 };

typedef struct {
    uint32_t argsz, flags;
    uint64_t address, size;
} VfmVfuDmaUnmap;
static_assert(sizeof(VfmVfuDmaUnmap) == 24, "wire format");

typedef struct {
    uint64_t offset;
    uint32_t region, count;
    /* then @count bytes in a write's request and a read's reply */
} VfmVfuRegionAccess;
static_assert(sizeof(VfmVfuRegionAccess) == 16, "wire format");

typedef struct {
    uint64_t offset;
    uint32_t region, count;
    uint8_t data[8];
} VfmVfuWriteOne;
static_assert(sizeof(VfmVfuWriteOne) == 24, "wire format");

/* Bounds of ours. A peer that goes beyond one is answered E2BIG or cut off; none can make us
 * allocate more than a message, or hold more descriptors than these. */
enum {
    /* In one message; QEMU sends at most what we say, and 16 is its own bound. */
    VFM_VFU_MAX_FDS = 16,
    /* Bytes of one region access. QEMU reads an option ROM in one access, none that is larger than this
     * (hw/vfio-user/device.c), and PCI bounds ROMs so. */
    VFM_VFU_MAX_TRANSFER = 16 * 1048576,
    VFM_VFU_MAX_MESSAGE = VFM_VFU_MAX_TRANSFER + 4096,
    /* Of the version's JSON, so that nesting can't exhaust the stack. */
    VFM_VFU_MAX_VERSION = 4096,
    /* Read and not yet carried out, per connection. */
    VFM_VFU_MAX_QUEUE_MESSAGES = 4096,
    VFM_VFU_MAX_QUEUE_BYTES = 8 * 1048576,
};
