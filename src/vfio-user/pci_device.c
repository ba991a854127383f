/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pci_device.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Capabilities of one region: sparse areas and little else. More is a kernel we don't know. */
enum { MAX_REGION_INFO = 65536 };

/* VfmPciDeviceState.held */
enum { FREE, HELD, RELEASING };

struct VfmPciDevice {
    VfmVfuDevice vfu; /* first: what the session sees */
    char *name;
    int fd;
    struct vfio_device_info info;
    uint64_t *region_offsets; /* in the descriptor, by index */
    VfmPciVectors *vectors;
    VfmGuestDma *dma;
    VfmGuestDmaClient *client;
    VfmPciDeviceState *state, own_state; /* the former may be the latter */
    VfmPciDeviceNotice notice;
    gpointer notice_data;
};

static VfmPciDevice *of(VfmVfuDevice *vfu)
{
    return (VfmPciDevice *)vfu;
}

static bool config_access(VfmPciDevice *device, bool write, uint64_t offset, void *data, size_t size, GError **error)
{
    off_t at = device->region_offsets[VFIO_PCI_CONFIG_REGION_INDEX] + offset;
    ssize_t n = write ? pwrite(device->fd, data, size, at) : pread(device->fd, data, size, at);

    if (n == (ssize_t)size)
        return true;
    vfm_set_system_error(error, n < 0 ? errno : EIO,
                         "%s: %s its configuration space at %#" G_GINT64_MODIFIER "x failed", device->name,
                         write ? "writing" : "reading", offset);
    return false;
}

static void tell(VfmPciDevice *device, VfmPciNotice kind, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void tell(VfmPciDevice *device, VfmPciNotice kind, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    if (!device->notice)
        return;
    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    device->notice(kind, device->name, text, device->notice_data);
}

/* One store, where it stands in the source: a successor relies on the order. */
static void store(uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static bool is_held(const VfmPciDevice *device)
{
    return __atomic_load_n(&device->state->held, __ATOMIC_SEQ_CST) == HELD;
}

static const VfmPciDeviceFailed *failed(const VfmPciDevice *device)
{
    return &device->state->failed[device->state->current];
}

/* The two ranges with the least between them become one. */
static void join_nearest(GArray *ranges)
{
    const VfmIovaRange *range = (const VfmIovaRange *)(void *)ranges->data;
    unsigned best = 0;

    for (unsigned i = 1; i + 1 < ranges->len; i++)
        if (range[i + 1].start - range[i].last < range[best + 1].start - range[best].last)
            best = i;
    vfm_ranges_add(ranges, range[best].start, range[best + 1].last);
}

/* Adds start..last to the failed ranges, or takes it out. */
static void change_failed(VfmPciDevice *device, bool add, uint64_t start, uint64_t last)
{
    uint32_t other = 1 - device->state->current;
    VfmPciDeviceFailed *next = &device->state->failed[other];
    const VfmPciDeviceFailed *now = failed(device);
    g_autoptr(GArray) ranges = vfm_ranges_new();

    g_array_append_vals(ranges, now->ranges, now->count);
    if (add)
        vfm_ranges_add(ranges, start, last);
    else
        vfm_ranges_subtract(ranges, start, last);
    while (ranges->len > VFM_PCI_DEVICE_FAILED)
        join_nearest(ranges);
    next->count = ranges->len;
    if (ranges->len)
        memcpy(next->ranges, ranges->data, ranges->len * sizeof(next->ranges[0]));
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    store(&device->state->current, other);
}

/* Sets the device's bus mastering to what it may be: the guest's wish, unless held. */
static bool write_bus_master(VfmPciDevice *device, GError **error)
{
    uint16_t command;

    if (!config_access(device, false, PCI_COMMAND, &command, sizeof(command), error))
        return false;
    command = GUINT16_FROM_LE(command) & ~PCI_COMMAND_MASTER;
    if (device->state->guest_bus_master && !is_held(device))
        command |= PCI_COMMAND_MASTER;
    command = GUINT16_TO_LE(command);
    return config_access(device, true, PCI_COMMAND, &command, sizeof(command), error);
}

static void tell_held(VfmPciDevice *device)
{
    const VfmIovaRange *first = &failed(device)->ranges[0];

    tell(device, VFM_PCI_HELD,
         "kept from DMA: guest memory %#" G_GINT64_MODIFIER "x-%#" G_GINT64_MODIFIER
         "x could not be mapped for it, and QEMU goes on without",
         first->start, first->last);
}

/* Kept from DMA if memory failed and QEMU has gone on: see "Half-mapped devices" in pci_device.h. */
static bool before_use(VfmPciDevice *device, GError **error)
{
    if (failed(device)->count == 0 || is_held(device))
        return true;
    store(&device->state->held, HELD);
    if (!write_bus_master(device, error)) {
        store(&device->state->held, FREE);
        return false;
    }
    tell_held(device);
    return true;
}

/* A message about start..last came. If it leaves out a range that failed, then the message that virtio-mem sends next
 * has not come for that one. */
static void before_change(VfmPciDevice *device, uint64_t start, uint64_t last)
{
    const VfmPciDeviceFailed *now = failed(device);

    for (uint32_t i = 0; i < now->count; i++) {
        if (now->ranges[i].start < start || now->ranges[i].last > last) {
            /* Where that fails it is tried again with the next message, or in a while. */
            before_use(device, NULL);
            return;
        }
    }
}

static void release(VfmPciDevice *device)
{
    g_autoptr(GError) error = NULL;

    store(&device->state->held, RELEASING);
    if (write_bus_master(device, &error))
        tell(device, VFM_PCI_RELEASED, "may do DMA again: all guest memory is mapped for it");
    else
        tell(device, VFM_PCI_FAILED, "all guest memory is mapped for it again, but letting it do DMA failed: %s",
             error->message);
    store(&device->state->held, FREE);
}

/* A range is the guest's no more, or is mapped after all. */
static void after_change(VfmPciDevice *device, uint64_t start, uint64_t last)
{
    if (failed(device)->count == 0)
        return;
    change_failed(device, false, start, last);
    if (failed(device)->count == 0 && is_held(device))
        release(device);
}

static void device_info(VfmVfuDevice *vfu, struct vfio_device_info *info)
{
    *info = of(vfu)->info;
    info->argsz = sizeof(*info);
    info->cap_offset = 0;
    info->flags &= VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI;
}

static struct vfio_region_info *query_region(VfmPciDevice *device, uint32_t index, GError **error)
{
    g_autofree struct vfio_region_info *info = g_malloc0(sizeof(*info));
    uint32_t size = sizeof(*info);

    /* Once for the size, once for the capabilities. */
    for (int round = 0; round < 2; round++) {
        info->argsz = size;
        info->index = index;
        if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, info) < 0) {
            vfm_set_system_error(error, errno, "%s: VFIO_DEVICE_GET_REGION_INFO of region %u failed", device->name,
                                 index);
            return NULL;
        }
        if (info->argsz <= size)
            return g_steal_pointer(&info);
        if (info->argsz > MAX_REGION_INFO)
            break;
        size = info->argsz;
        g_free(info);
        info = g_malloc0(size);
    }
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "%s: region %u describes itself in more than %d bytes",
                device->name, index, MAX_REGION_INFO);
    return NULL;
}

static bool region_info(VfmVfuDevice *vfu, uint32_t index, GByteArray *out, int *fd, GError **error)
{
    VfmPciDevice *device = of(vfu);
    g_autofree struct vfio_region_info *info = query_region(device, index, error);

    if (!info)
        return false;
    g_byte_array_append(out, (const uint8_t *)info, info->argsz);
    if (info->flags & VFIO_REGION_INFO_FLAG_MMAP)
        *fd = device->fd;
    return true;
}

static bool irq_info(VfmVfuDevice *vfu, struct vfio_irq_info *info, GError **error)
{
    VfmPciDevice *device = of(vfu);

    info->argsz = sizeof(*info);
    if (ioctl(device->fd, VFIO_DEVICE_GET_IRQ_INFO, info) == 0)
        return true;
    vfm_set_system_error(error, errno, "%s: VFIO_DEVICE_GET_IRQ_INFO of index %u failed", device->name, info->index);
    return false;
}

static int ask_kernel(struct vfio_irq_set *set, gpointer data)
{
    return ioctl(((VfmPciDevice *)data)->fd, VFIO_DEVICE_SET_IRQS, set);
}

static bool set_irqs(VfmVfuDevice *vfu, const struct vfio_irq_set *request, const uint8_t *bools, const int *fds,
                     GError **error)
{
    VfmPciDevice *device = of(vfu);
    size_t element = fds ? sizeof(int) : bools ? 1 : 0;
    size_t size = sizeof(*request) + request->count * element;
    g_autofree struct vfio_irq_set *set = g_malloc0(size);

    if (!before_use(device, error))
        return false;
    *set = *request;
    set->argsz = size;
    if (element)
        memcpy(set->data, fds ? (const void *)fds : bools, request->count * element);
    if (vfm_pci_vectors_set(device->vectors, set) == 0)
        return true;
    vfm_set_system_error(error, errno, "%s: VFIO_DEVICE_SET_IRQS of index %u, %u + %u, flags %#x failed", device->name,
                         set->index, set->start, set->count, set->flags);
    return false;
}

/* Whether an access to the configuration space has the byte with the bus master bit. */
static bool has_command(uint32_t region, uint64_t offset, uint32_t count)
{
    return region == VFIO_PCI_CONFIG_REGION_INDEX && offset <= PCI_COMMAND && count > PCI_COMMAND - offset;
}

static bool region_read(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, void *data, uint32_t count, GError **error)
{
    VfmPciDevice *device = of(vfu);
    ssize_t n;

    if (!before_use(device, error))
        return false;
    n = pread(device->fd, data, count, device->region_offsets[region] + offset);
    if (n != (ssize_t)count) {
        vfm_set_system_error(error, n < 0 ? errno : EIO,
                             "%s: reading %u bytes at %#" G_GINT64_MODIFIER "x of region %u failed", device->name,
                             count, offset, region);
        return false;
    }
    if (has_command(region, offset, count) && is_held(device) && device->state->guest_bus_master)
        ((uint8_t *)data)[PCI_COMMAND - offset] |= PCI_COMMAND_MASTER;
    return true;
}

static bool region_write(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, const void *data, uint32_t count,
                         GError **error)
{
    VfmPciDevice *device = of(vfu);
    g_autofree uint8_t *changed = NULL;
    ssize_t n;

    if (!before_use(device, error))
        return false;
    if (has_command(region, offset, count)) {
        changed = g_memdup2(data, count);
        store(&device->state->guest_bus_master, (changed[PCI_COMMAND - offset] & PCI_COMMAND_MASTER) != 0);
        if (is_held(device))
            changed[PCI_COMMAND - offset] &= ~PCI_COMMAND_MASTER;
        data = changed;
    }
    n = pwrite(device->fd, data, count, device->region_offsets[region] + offset);
    if (n == (ssize_t)count)
        return true;
    vfm_set_system_error(error, n < 0 ? errno : EIO,
                         "%s: writing %u bytes at %#" G_GINT64_MODIFIER "x of region %u failed", device->name, count,
                         offset, region);
    return false;
}

static bool reset(VfmVfuDevice *vfu, GError **error)
{
    VfmPciDevice *device = of(vfu);

    /* The kernel saves the configuration space and restores it: bus mastering is what it was, and held stays held. */
    if (ioctl(device->fd, VFIO_DEVICE_RESET) == 0)
        return true;
    vfm_set_system_error(error, errno, "%s: resetting it failed", device->name);
    return false;
}

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    VfmPciDevice *device = of(vfu);
    g_autoptr(GError) local = NULL;
    uint64_t last = map->address + (map->size - 1);

    before_change(device, map->address, last);
    vfm_guest_dma_message(device->client, message);
    if (vfm_guest_dma_map(device->client, map, fd, &local)) {
        after_change(device, map->address, last);
        return true;
    }
    change_failed(device, true, map->address, last);
    tell(device, VFM_PCI_FAILED, "%s", local->message);
    g_propagate_error(error, g_steal_pointer(&local));
    return false;
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    VfmPciDevice *device = of(vfu);
    g_autoptr(GError) local = NULL;
    uint64_t last = size >= UINT64_MAX - address ? UINT64_MAX : address + (size - 1);

    before_change(device, address, last);
    vfm_guest_dma_message(device->client, message);
    if (!vfm_guest_dma_unmap(device->client, address, size, unmapped, &local)) {
        tell(device, VFM_PCI_FAILED, "%s", local->message); /* QEMU prints it and goes on */
        g_propagate_error(error, g_steal_pointer(&local));
        return false;
    }
    after_change(device, address, last);
    return true;
}

static void idle(VfmVfuDevice *vfu)
{
    before_use(of(vfu), NULL);
    vfm_guest_dma_settle(of(vfu)->dma);
}

/* No interrupt into descriptors of a QEMU that is gone, no DMA into memory that is let go of. */
static void silence(VfmPciDevice *device)
{
    store(&device->state->guest_bus_master, false);
    write_bus_master(device, NULL);
    vfm_pci_vectors_forget(&device->state->vectors);
    for (uint32_t i = 0; i < device->info.num_irqs; i++) {
        struct vfio_irq_set off = {
            .argsz = sizeof(off), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, .index = i};

        ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &off);
    }
    if (device->info.flags & VFIO_DEVICE_FLAGS_RESET)
        ioctl(device->fd, VFIO_DEVICE_RESET);
}

static void gone(VfmVfuDevice *vfu, const GError *why)
{
    VfmPciDevice *device = of(vfu);

    silence(device);
    g_clear_pointer(&device->client, vfm_guest_dma_leave);
    if (why)
        tell(device, VFM_PCI_LOST, "its connection to QEMU ended: %s", why->message);
}

static const VfmVfuDeviceOps device_ops = {
    .info = device_info,
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

static VfmPciDevice *make(const char *name, int fd, VfmGuestDma *dma, VfmPciDeviceState *state,
                          VfmPciDeviceNotice notice, gpointer data, GError **error)
{
    g_autoptr(VfmPciDevice) device = g_new0(VfmPciDevice, 1);

    device->vfu.ops = &device_ops;
    device->name = g_strdup(name);
    device->fd = fd;
    device->notice = notice;
    device->notice_data = data;
    device->state = state ? state : &device->own_state;
    device->dma = dma;
    device->vectors = vfm_pci_vectors_new(&device->state->vectors, ask_kernel, device);
    device->info.argsz = sizeof(device->info);
    if (ioctl(fd, VFIO_DEVICE_GET_INFO, &device->info) < 0) {
        vfm_set_system_error(error, errno, "%s: VFIO_DEVICE_GET_INFO failed", name);
        return NULL;
    }
    if (!(device->info.flags & VFIO_DEVICE_FLAGS_PCI) || device->info.num_regions <= VFIO_PCI_CONFIG_REGION_INDEX) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "%s is no PCI device for VFIO; only PCI devices can be served over vfio-user", name);
        return NULL;
    }
    device->region_offsets = g_new0(uint64_t, device->info.num_regions);
    for (uint32_t i = 0; i < device->info.num_regions; i++) {
        g_autofree struct vfio_region_info *info = query_region(device, i, NULL);

        if (info)
            device->region_offsets[i] = info->offset;
    }
    return g_steal_pointer(&device);
}

static bool join(VfmPciDevice *device, GError **error)
{
    device->client = vfm_guest_dma_join(device->dma, device->name);
    if (!device->client)
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                    "%s: there are more devices than the record of mappings has places for", device->name);
    return device->client != NULL;
}

VfmPciDevice *vfm_pci_device_new(const char *name, int fd, VfmGuestDma *dma, VfmPciDeviceState *state,
                                 VfmPciDeviceNotice notice, gpointer data, GError **error)
{
    g_autoptr(VfmPciDevice) device = NULL;

    if (state)
        *state = (VfmPciDeviceState){0};
    device = make(name, fd, dma, state, notice, data, error);
    if (!device)
        return NULL;
    return join(device, error) ? g_steal_pointer(&device) : NULL;
}

VfmPciDevice *vfm_pci_device_resume(const char *name, int fd, VfmGuestDma *dma, VfmPciDeviceState *state,
                                    VfmPciDeviceNotice notice, gpointer data, GError **error)
{
    g_autoptr(VfmPciDevice) device = make(name, fd, dma, state, notice, data, error);

    if (!device)
        return NULL;
    device->client = vfm_guest_dma_rejoin(dma, name);
    if (!device->client && !join(device, error))
        return NULL;
    vfm_pci_vectors_resume(device->vectors);
    /* The predecessor may have decided and not yet done it. */
    if (state->held == RELEASING || (state->held == HELD && failed(device)->count == 0)) {
        release(device);
    } else if (state->held == HELD) {
        if (!write_bus_master(device, error))
            return NULL;
        /* Perhaps for the first time: the predecessor may have died before it could. */
        tell_held(device);
    }
    return g_steal_pointer(&device);
}

void vfm_pci_device_free(VfmPciDevice *device)
{
    if (!device)
        return;
    if (device->client)
        vfm_guest_dma_leave(device->client);
    g_clear_pointer(&device->vectors, vfm_pci_vectors_free);
    g_free(device->region_offsets);
    g_free(device->name);
    g_free(device);
}

VfmVfuDevice *vfm_pci_device_vfu(VfmPciDevice *device)
{
    return &device->vfu;
}

bool vfm_pci_device_can_reset(const VfmPciDevice *device)
{
    return device->info.flags & VFIO_DEVICE_FLAGS_RESET;
}

bool vfm_pci_device_held(VfmPciDevice *device)
{
    return is_held(device);
}
