/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "virtio_mem.h"

#define MIN_BLOCK (1024u * 1024u)

struct VfmVirtioMem {
    char *name;
    VfmDiscard *discard;
    VfmInhibit *inhibit;
    uint64_t address;
    uint64_t usable_extent;
    uint64_t requested;
    uint64_t usable;
    bool migrating;
};

VfmVirtioMem *vfm_virtio_mem_new(const char *name, VfmDiscard *discard, uint64_t address, uint64_t usable_extent,
                                 VfmInhibit *inhibit, GError **error)
{
    uint64_t block = vfm_discard_block(discard), mask = block - 1;
    VfmVirtioMem *device;

    if (block < MIN_BLOCK || ((address | vfm_discard_size(discard)) & mask) != 0) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "%s: address 0x%" G_GINT64_MODIFIER "x and size %" G_GUINT64_FORMAT
                    " must be multiples of the block size %" G_GUINT64_FORMAT ", and that at least 1 MiB",
                    name, address, vfm_discard_size(discard), block);
        return NULL;
    }
    if (inhibit && !vfm_inhibit_take(inhibit, VFM_HOLD_REQUIRE_COORDINATED, name, error))
        return NULL;
    device = g_new0(VfmVirtioMem, 1);
    device->name = g_strdup(name);
    device->discard = discard;
    device->inhibit = inhibit;
    device->address = address;
    device->usable_extent = usable_extent;
    return device;
}

void vfm_virtio_mem_free(VfmVirtioMem *device)
{
    if (!device)
        return;
    if (device->inhibit)
        vfm_inhibit_release(device->inhibit, VFM_HOLD_REQUIRE_COORDINATED, device->name);
    g_free(device->name);
    g_free(device);
}

uint64_t vfm_virtio_mem_requested(const VfmVirtioMem *device)
{
    return device->requested;
}

uint64_t vfm_virtio_mem_usable(const VfmVirtioMem *device)
{
    return device->usable;
}

uint64_t vfm_virtio_mem_plugged(const VfmVirtioMem *device)
{
    return vfm_discard_populated(device->discard);
}

void vfm_virtio_mem_set_migrating(VfmVirtioMem *device, bool migrating)
{
    device->migrating = migrating;
}

/* min(region, requested + extent), rounded up to the block; nothing where nothing is requested. Shrinks only
 * where it may. Source: virtio_mem_resize_usable_region() in QEMU's hw/virtio/virtio-mem.c. */
static void update_usable(VfmVirtioMem *device, bool may_shrink)
{
    uint64_t size = vfm_discard_size(device->discard), mask = vfm_discard_block(device->discard) - 1;
    uint64_t usable = 0;

    if (device->requested) {
        usable = device->requested > size - MIN(size, device->usable_extent)
                     ? size
                     : device->requested + device->usable_extent;
        usable = MIN(size, (usable + mask) & ~mask);
    }
    if (usable > device->usable || may_shrink)
        device->usable = usable;
}

bool vfm_virtio_mem_resize(VfmVirtioMem *device, uint64_t requested, GError **error)
{
    uint64_t size = vfm_discard_size(device->discard), block = vfm_discard_block(device->discard);

    if (requested & (block - 1)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "%s: requested size %" G_GUINT64_FORMAT " is no multiple of the block size %" G_GUINT64_FORMAT,
                    device->name, requested, block);
        return false;
    }
    if (requested > size) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "%s: requested size %" G_GUINT64_FORMAT " exceeds the region's %" G_GUINT64_FORMAT, device->name,
                    requested, size);
        return false;
    }
    device->requested = requested;
    update_usable(device, false);
    return true;
}

static VfmVirtioMemAnswer answer(VfmVirtioMemAnswer what, const VfmVirtioMem *device, const char *why, GError **error)
{
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "%s: %s", device->name, why);
    return what;
}

/* The checks that plug and unplug share, in QEMU's order; ACK: go on. */
static VfmVirtioMemAnswer check_request(const VfmVirtioMem *device, uint64_t address, uint64_t size, bool plugged,
                                        GError **error)
{
    uint64_t offset = address - device->address;
    bool right;

    if (size == 0 || address < device->address || (offset & (vfm_discard_block(device->discard) - 1)) != 0 ||
        size > device->usable || offset > device->usable - size)
        return answer(VFM_VIRTIO_MEM_ERROR, device, "the guest's request is misaligned or outside the usable region",
                      error);
    right = plugged ? vfm_discard_is_populated(device->discard, offset, size)
                    : !vfm_discard_any_populated(device->discard, offset, size);
    if (!right)
        return answer(VFM_VIRTIO_MEM_ERROR, device,
                      plugged ? "the guest unplugs a block that is not plugged"
                              : "the guest plugs a block that is plugged already",
                      error);
    if (device->migrating)
        return answer(VFM_VIRTIO_MEM_BUSY, device, "a migration is running", error);
    return VFM_VIRTIO_MEM_ACK;
}

VfmVirtioMemAnswer vfm_virtio_mem_plug(VfmVirtioMem *device, uint64_t address, unsigned blocks, GError **error)
{
    uint64_t size = blocks * vfm_discard_block(device->discard), plugged = vfm_virtio_mem_plugged(device);
    VfmVirtioMemAnswer checked;

    if (plugged > device->requested || size > device->requested - plugged)
        return answer(VFM_VIRTIO_MEM_NACK, device, "the guest plugs more than is requested", error);
    checked = check_request(device, address, size, false, error);
    if (checked != VFM_VIRTIO_MEM_ACK)
        return checked;
    return vfm_discard_populate(device->discard, address - device->address, size, error) ? VFM_VIRTIO_MEM_ACK
                                                                                         : VFM_VIRTIO_MEM_BUSY;
}

VfmVirtioMemAnswer vfm_virtio_mem_unplug(VfmVirtioMem *device, uint64_t address, unsigned blocks, GError **error)
{
    uint64_t size = blocks * vfm_discard_block(device->discard);
    VfmVirtioMemAnswer checked = check_request(device, address, size, true, error);

    if (checked != VFM_VIRTIO_MEM_ACK)
        return checked;
    return vfm_discard_discard(device->discard, address - device->address, size, error) ? VFM_VIRTIO_MEM_ACK
                                                                                        : VFM_VIRTIO_MEM_BUSY;
}

VfmVirtioMemAnswer vfm_virtio_mem_unplug_all(VfmVirtioMem *device, GError **error)
{
    if (device->migrating)
        return answer(VFM_VIRTIO_MEM_BUSY, device, "a migration is running", error);
    if (!vfm_discard_discard(device->discard, 0, vfm_discard_size(device->discard), error))
        return VFM_VIRTIO_MEM_BUSY;
    update_usable(device, true);
    return VFM_VIRTIO_MEM_ACK;
}

bool vfm_virtio_mem_reset(VfmVirtioMem *device, GError **error)
{
    return vfm_virtio_mem_unplug_all(device, error) == VFM_VIRTIO_MEM_ACK;
}
