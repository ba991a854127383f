/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fake_vfu_device.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static FakeVfuDevice *of(VfmVfuDevice *vfu)
{
    return (FakeVfuDevice *)vfu;
}

static void info(VfmVfuDevice *vfu, struct vfio_device_info *out)
{
    *out = (struct vfio_device_info){
        .argsz = sizeof(*out),
        .flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET,
        .num_regions = VFIO_PCI_NUM_REGIONS + of(vfu)->more_regions,
        .num_irqs = VFIO_PCI_NUM_IRQS,
    };
}

static bool region_info(VfmVfuDevice *vfu, uint32_t index, GByteArray *out, int *fd, GError **error)
{
    struct vfio_region_info region = {.argsz = sizeof(region), .index = index};
    uint8_t capability[FAKE_CAP_SIZE] = {0};

    if (index == VFIO_PCI_VGA_REGION_INDEX) {
        g_set_error(error, VFM_SYSTEM_ERROR, EINVAL, "no VGA");
        return false;
    }
    region.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    if (index == VFIO_PCI_BAR0_REGION_INDEX) {
        region.size = FAKE_BAR_SIZE;
        if (of(vfu)->bar_fd >= 0) {
            region.flags |= VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS;
            region.argsz += sizeof(capability);
            region.cap_offset = sizeof(region);
            *fd = of(vfu)->bar_fd;
        }
    } else if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
        region.size = FAKE_CONFIG_SIZE;
    } else if (index == VFIO_PCI_ROM_REGION_INDEX) {
        region.size = 64;
        region.flags = VFIO_REGION_INFO_FLAG_READ;
    }
    g_byte_array_append(out, (const uint8_t *)&region, sizeof(region));
    if (region.argsz > sizeof(region))
        g_byte_array_append(out, capability, sizeof(capability));
    return true;
}

static bool irq_info(VfmVfuDevice *vfu, struct vfio_irq_info *irq, GError **error)
{
    if (irq->index == VFIO_PCI_MSIX_IRQ_INDEX) {
        irq->count = FAKE_VECTORS;
        irq->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE;
    } else if (irq->index == VFIO_PCI_INTX_IRQ_INDEX) {
        irq->count = 1;
        irq->flags = VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
    } else if (irq->index == VFIO_PCI_ERR_IRQ_INDEX || irq->index == VFIO_PCI_REQ_IRQ_INDEX) {
        irq->count = 1;
        irq->flags = VFIO_IRQ_INFO_EVENTFD;
    } else {
        irq->count = 0;
        irq->flags = 0;
    }
    return true;
}

static bool set_irqs(VfmVfuDevice *vfu, const struct vfio_irq_set *set, const uint8_t *bools, const int *fds,
                     GError **error)
{
    of(vfu)->last_irq = *set;
    of(vfu)->last_irq_fd = fds ? fds[0] : -2;
    return true;
}

static uint8_t *place(VfmVfuDevice *vfu, uint32_t region, uint64_t offset)
{
    static uint8_t rom[64];

    if (region == VFIO_PCI_BAR0_REGION_INDEX)
        return of(vfu)->bar + offset;
    if (region == VFIO_PCI_CONFIG_REGION_INDEX)
        return of(vfu)->config + offset;
    return rom + offset;
}

static bool region_read(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, void *data, uint32_t count, GError **error)
{
    memcpy(data, place(vfu, region, offset), count);
    return true;
}

static bool region_write(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, const void *data, uint32_t count,
                         GError **error)
{
    memcpy(place(vfu, region, offset), data, count);
    return true;
}

static bool reset(VfmVfuDevice *vfu, GError **error)
{
    of(vfu)->resets++;
    return true;
}

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    FakeVfuDevice *device = of(vfu);
    bool fails = device->fail_map_at == 0;

    if (device->guest)
        return vfm_guest_dma_map(device->guest, map, fd, error);
    device->map_fds += fd >= 0;
    if (device->fail_map_at >= 0)
        device->fail_map_at--;
    if (fails) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET, "full");
        return false;
    }
    g_array_append_val(device->maps, *map);
    return true;
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    if (of(vfu)->guest)
        return vfm_guest_dma_unmap(of(vfu)->guest, address, size, unmapped, error);
    of(vfu)->unmaps++;
    *unmapped = size == UINT64_MAX ? 42 : size;
    return true;
}

static void idle(VfmVfuDevice *vfu)
{
    of(vfu)->idles++;
}

static void gone(VfmVfuDevice *vfu, const GError *why)
{
    of(vfu)->gones++;
    of(vfu)->broken_off = why != NULL;
    g_clear_pointer(&of(vfu)->guest, vfm_guest_dma_leave);
}

static const VfmVfuDeviceOps fake_ops = {
    .info = info,
    .region_info = region_info,
    .irq_info = irq_info,
    .set_irqs = set_irqs,
    .read = region_read,
    .write = region_write,
    .reset = reset,
    .dma_map = dma_map,
    .dma_unmap = dma_unmap,
    .idle = idle,
    .gone = gone,
};

FakeVfuDevice *fake_vfu_device_new(void)
{
    FakeVfuDevice *device = g_new0(FakeVfuDevice, 1);

    device->vfu.ops = &fake_ops;
    device->bar_fd = -1;
    device->fail_map_at = -1;
    device->maps = g_array_new(false, false, sizeof(VfmVfuDmaMap));
    return device;
}

void fake_vfu_device_free(FakeVfuDevice *device)
{
    g_array_unref(device->maps);
    g_free(device);
}
