/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * layout.h - the guest memory map as QEMU lays it out at power-on.
 *
 * Where boot RAM, ROM and memory devices lie in guest physical space decides
 * how many mappings they need and whether a reserved region of the host hits
 * them. Only what VFIO maps is listed: RAM, read-only RAM, memory devices.
 * PCI BARs (video memory, peers) are placed by the guest and are not here.
 *
 * A VfmLayout owns its arrays. Pure computation; thread-safe.
 *
 * Sources: QEMU hw/i386/pc.c, pc_q35.c, pc_piix.c, x86.c, hw/arm/virt.c,
 * hw/mem/memory-device.c; tests/integration/test-layout compares with QEMU.
 */
#pragma once

#include "plan.h"

typedef enum {
    VFM_PLACE_OK = 0,
    VFM_PLACE_UNKNOWN,       /* the machine's rules are not known here, or the device has no place in RAM (SGX) */
    VFM_PLACE_NO_REGION,     /* no maxMemory above the boot RAM: there is no device memory region */
    VFM_PLACE_SIZE_ALIGN,    /* size is not a multiple of the backend's alignment */
    VFM_PLACE_ADDRESS_ALIGN, /* given address is not a multiple of it */
    VFM_PLACE_OUTSIDE,       /* given address outside the device memory region */
    VFM_PLACE_CONFLICT,      /* given address overlaps .other */
    VFM_PLACE_TOO_BIG,       /* sizes of all devices exceed maxMemory less boot RAM */
    VFM_PLACE_FRAGMENTED     /* no gap left that is aligned and large enough */
} VfmPlaceResult;

typedef struct {
    VfmPlaceResult result;
    uint64_t address; /* if OK */
    uint64_t size;    /* of the mapped region: an nvdimm's is less its label */
    uint64_t align;
    unsigned other; /* CONFLICT: index of the device in the way */
} VfmPlace;

typedef struct {
    bool known;           /* the machine's rules are known; else .ranges has sizes at made-up addresses */
    GArray *ranges;       /* of VfmRange, ascending, disjoint */
    GArray *places;       /* of VfmPlace, one for each of VfmDomain.memory_devices */
    VfmMaybe region_base; /* device memory region; not set: none */
    uint64_t region_size;
    uint64_t region_limit; /* bytes of devices it takes: maxMemory less boot RAM */
    uint64_t above_4g;     /* where RAM above 4 GiB starts: 4 GiB, or 1 TiB beside AMD's hole */
    uint64_t end;          /* one past the highest address QEMU uses, the 64-bit PCI hole included (x86) */
} VfmLayout;

/*
 * @blocks: the block size of each memory device (0 for those without), in the
 * domain's order: a virtio-mem device is aligned to its block.
 */
void vfm_layout_init(VfmLayout *layout, const VfmDomain *domain, const VfmPlanOptions *options, const uint64_t *blocks);
void vfm_layout_clear(VfmLayout *layout);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VfmLayout, vfm_layout_clear)
