/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fake_vfu_device.h - a vfio-user device in memory, for tests: configuration space, one 4 KiB BAR, one interrupt kind
 * with four vectors; it notes what was asked of it.
 */
#pragma once

#include "guest_dma.h"
#include "vfu_session.h"

enum { FAKE_BAR_SIZE = 4096, FAKE_CONFIG_SIZE = 256, FAKE_VECTORS = 4, FAKE_CAP_SIZE = 32 };

typedef struct {
    VfmVfuDevice vfu; /* first */
    uint8_t bar[FAKE_BAR_SIZE];
    uint8_t config[FAKE_CONFIG_SIZE];
    int bar_fd; /* offered for mmap, with a capability in the region's info; -1: no */
    /* What came, in order. */
    GArray *maps; /* of VfmVfuDmaMap */
    unsigned map_fds, unmaps, resets, gones, idles;
    struct vfio_irq_set last_irq;
    int last_irq_fd;          /* of its first descriptor; -2: without descriptors */
    bool broken_off;          /* gone with a reason */
    VfmGuestDmaClient *guest; /* if set: where DMA goes, until the client is gone */
    unsigned more_regions;    /* than PCI has; QEMU takes 100 in all */
    int fail_map_at;          /* counts down; at 0 the map fails with ENOSPC; negative: never */
} FakeVfuDevice;

FakeVfuDevice *fake_vfu_device_new(void);
void fake_vfu_device_free(FakeVfuDevice *device);
