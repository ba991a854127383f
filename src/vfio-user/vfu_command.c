/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_command.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* What QEMU takes of a server (hw/vfio-user/device.c). */
enum { MAX_REGIONS = 100, MAX_IRQS = 50 };

/* An answer's payload in the making. */
typedef struct {
    uint8_t *data; /* where it goes */
    uint32_t length;
    int fd; /* borrowed; -1 */
} Payload;

typedef bool (*Handler)(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error);

/* The most that an answer can carry. */
enum { PAYLOAD_MAX = VFM_VFU_MAX_MESSAGE - sizeof(VfmVfuHeader) };

static void put(Payload *payload, const void *data, uint32_t length)
{
    memcpy(payload->data, data, length);
    payload->length = length;
}

static bool bad(GError **error, VfmInputError code, const char *format, ...) G_GNUC_PRINTF(3, 4);

static bool bad(GError **error, VfmInputError code, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VFM_INPUT_ERROR, code, "vfio-user: %s", what);
    return false;
}

/* Copies the fixed part of the payload; false if there is less. */
static bool fixed_part(const VfmVfuMessage *message, void *into, size_t size, GError **error)
{
    if (message->length < size)
        return bad(error, VFM_INPUT_SYNTAX, "command %u has %u bytes of payload, %zu are needed",
                   message->header.command, message->length, size);
    memcpy(into, message->data, size);
    return true;
}

static const VfmVfuRegion *find_region(const VfmVfuTarget *target, uint32_t index, GError **error)
{
    const VfmVfuRegion *region = NULL;

    if (index < target->regions->len)
        region = &g_array_index(target->regions, VfmVfuRegion, index);
    if (!region || !region->info) {
        bad(error, VFM_INPUT_RANGE, "the device has no region %u", index);
        return NULL;
    }
    return region;
}

static bool do_version(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    g_autofree uint8_t *answer = NULL;
    uint32_t length = 0;

    if (target->negotiated)
        return bad(error, VFM_INPUT_CONFLICT, "the version was negotiated already");
    if (!vfm_vfu_version_parse(message->data, message->length, &target->client, error))
        return false;
    answer = vfm_vfu_version_reply(&target->client, &target->offer, message->length, &length, error);
    if (!answer)
        return false;
    put(payload, answer, length);
    target->negotiated = true;
    return true;
}

static bool do_dma_map(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    VfmVfuDmaMap map;

    if (!fixed_part(message, &map, sizeof(map), error))
        return false;
    if (message->n_fds > 1)
        return bad(error, VFM_INPUT_SYNTAX, "a DMA map with %u descriptors", message->n_fds);
    if (map.flags & ~(uint32_t)(VFM_VFU_DMA_READABLE | VFM_VFU_DMA_WRITEABLE))
        return bad(error, VFM_INPUT_UNSUPPORTED, "a DMA map with unknown flags %#x", map.flags);
    if (!map.flags)
        return bad(error, VFM_INPUT_SYNTAX, "a DMA map of memory that is neither read nor written");
    /* The end of the range in the file must be a number, too: 2^64 would pass for 0. */
    if (map.size == 0 || map.address + (map.size - 1) < map.address || map.size > UINT64_MAX - map.offset)
        return bad(error, VFM_INPUT_RANGE,
                   "a DMA map of %#" G_GINT64_MODIFIER "x bytes at %#" G_GINT64_MODIFIER "x is empty or wraps",
                   map.size, map.address);
    return target->device->ops->dma_map(target->device, message->number, &map, message->n_fds ? message->fds[0] : -1,
                                        error);
}

static bool do_dma_unmap(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    VfmVfuDmaUnmap unmap;
    uint64_t unmapped = 0, size;

    if (!fixed_part(message, &unmap, sizeof(unmap), error))
        return false;
    if (unmap.flags & ~(uint32_t)VFM_VFU_DMA_UNMAP_ALL)
        return bad(error, VFM_INPUT_UNSUPPORTED, "a DMA unmap with unknown flags %#x", unmap.flags);
    if (unmap.flags & VFM_VFU_DMA_UNMAP_ALL) {
        unmap.address = 0;
        size = UINT64_MAX;
    } else {
        size = unmap.size;
        if (size == 0 || unmap.address + (size - 1) < unmap.address)
            return bad(error, VFM_INPUT_RANGE,
                       "a DMA unmap of %#" G_GINT64_MODIFIER "x bytes at %#" G_GINT64_MODIFIER "x is empty or wraps",
                       size, unmap.address);
    }
    if (!target->device->ops->dma_unmap(target->device, message->number, unmap.address, size, &unmapped, error))
        return false;
    /* As type1 v2: success with what was there, also where nothing was. */
    unmap.argsz = sizeof(unmap);
    unmap.size = unmapped;
    put(payload, &unmap, sizeof(unmap));
    return true;
}

static bool do_device_info(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    enum { WIRE_SIZE = 16 }; /* the protocol's struct ends with num_irqs */

    if (message->length < WIRE_SIZE)
        return bad(error, VFM_INPUT_SYNTAX, "a device info request of %u bytes", message->length);
    target->info.argsz = WIRE_SIZE;
    put(payload, &target->info, WIRE_SIZE);
    return true;
}

static bool do_region_info(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    struct vfio_region_info request;
    const VfmVfuRegion *region;

    if (!fixed_part(message, &request, sizeof(request), error))
        return false;
    region = find_region(target, request.index, error);
    if (!region)
        return false;
    if (request.argsz < region->info->len) {
        /* The capabilities do not fit: say how much room they need, and no descriptor before they do. The flag goes,
         * too: QEMU takes it without an offset for nonsense (hw/vfio-user/device.c), not for a reason to ask again. */
        struct vfio_region_info brief;

        memcpy(&brief, region->info->data, sizeof(brief));
        brief.flags &= ~(uint32_t)VFIO_REGION_INFO_FLAG_CAPS;
        brief.cap_offset = 0;
        put(payload, &brief, sizeof(brief));
        return true;
    }
    put(payload, region->info->data, region->info->len);
    payload->fd = region->fd;
    return true;
}

static bool do_irq_info(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    struct vfio_irq_info request;
    const struct vfio_irq_info *info = NULL;

    if (!fixed_part(message, &request, sizeof(request), error))
        return false;
    if (request.index < target->irqs->len)
        info = &g_array_index(target->irqs, struct vfio_irq_info, request.index);
    if (!info || !info->argsz)
        return bad(error, VFM_INPUT_RANGE, "the device has no interrupts of index %u", request.index);
    put(payload, info, sizeof(*info));
    return true;
}

/* Whether exactly one bit of @mask is set in @flags. */
static bool one_of(uint32_t flags, uint32_t mask)
{
    return (flags & mask) && !((flags & mask) & ((flags & mask) - 1));
}

static bool do_set_irqs(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    const struct vfio_irq_info *info = NULL;
    g_autofree int *fds = NULL;
    struct vfio_irq_set set;
    uint32_t data_length;
    const uint8_t *data;

    if (!fixed_part(message, &set, sizeof(set), error))
        return false;
    data = message->data + sizeof(set);
    data_length = message->length - sizeof(set);
    if (set.index < target->irqs->len)
        info = &g_array_index(target->irqs, struct vfio_irq_info, set.index);
    if (!info || !info->argsz)
        return bad(error, VFM_INPUT_RANGE, "the device has no interrupts of index %u", set.index);
    if (!one_of(set.flags, VFIO_IRQ_SET_DATA_TYPE_MASK) || !one_of(set.flags, VFIO_IRQ_SET_ACTION_TYPE_MASK) ||
        (set.flags & ~(uint32_t)(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK)))
        return bad(error, VFM_INPUT_UNSUPPORTED, "interrupt flags %#x are not one kind of data and one action",
                   set.flags);
    if (set.start > info->count || set.count > info->count - set.start)
        return bad(error, VFM_INPUT_RANGE, "interrupts %u + %u of index %u, which has %u", set.start, set.count,
                   set.index, info->count);
    if (!(set.flags & VFIO_IRQ_SET_ACTION_TRIGGER) && !(info->flags & VFIO_IRQ_INFO_MASKABLE))
        return bad(error, VFM_INPUT_UNSUPPORTED, "interrupts of index %u can't be masked", set.index);
    if (set.count == 0 && (set.start != 0 || !(set.flags & VFIO_IRQ_SET_DATA_NONE)))
        return bad(error, VFM_INPUT_RANGE, "an interrupt request for none of index %u", set.index);
    if (message->n_fds && !(set.flags & VFIO_IRQ_SET_DATA_EVENTFD))
        return bad(error, VFM_INPUT_SYNTAX, "descriptors with an interrupt request that takes none");
    if (set.flags & VFIO_IRQ_SET_DATA_EVENTFD) {
        if (!(info->flags & VFIO_IRQ_INFO_EVENTFD))
            return bad(error, VFM_INPUT_UNSUPPORTED, "interrupts of index %u have no eventfds", set.index);
        if (message->n_fds && message->n_fds != set.count)
            return bad(error, VFM_INPUT_SYNTAX, "%u descriptors for %u interrupts", message->n_fds, set.count);
        fds = g_new(int, set.count);
        for (uint32_t i = 0; i < set.count; i++)
            fds[i] = message->n_fds ? message->fds[i] : -1;
    }
    if ((set.flags & VFIO_IRQ_SET_DATA_BOOL) && data_length < set.count)
        return bad(error, VFM_INPUT_SYNTAX, "%u bytes for %u interrupts", data_length, set.count);
    set.argsz = sizeof(set);
    return target->device->ops->set_irqs(target->device, &set, set.flags & VFIO_IRQ_SET_DATA_BOOL ? data : NULL, fds,
                                         error);
}

static bool check_access(const VfmVfuTarget *target, uint32_t index, uint64_t offset, uint32_t count, uint32_t need,
                         GError **error)
{
    const VfmVfuRegion *region = find_region(target, index, error);

    if (!region)
        return false;
    if (!(region->flags & need))
        return bad(error, VFM_INPUT_UNSUPPORTED, "region %u can't be %s", index,
                   need == VFIO_REGION_INFO_FLAG_READ ? "read" : "written");
    if (count == 0 || count > VFM_VFU_MAX_TRANSFER)
        return bad(error, VFM_INPUT_RANGE, "an access of %u bytes; 1 to %d are possible", count, VFM_VFU_MAX_TRANSFER);
    if (offset > region->size || count > region->size - offset)
        return bad(error, VFM_INPUT_RANGE,
                   "an access of %u bytes at %#" G_GINT64_MODIFIER "x in region %u of %#" G_GINT64_MODIFIER "x bytes",
                   count, offset, index, region->size);
    return true;
}

static bool do_region_read(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    VfmVfuRegionAccess access;

    if (!fixed_part(message, &access, sizeof(access), error) ||
        !check_access(target, access.region, access.offset, access.count, VFIO_REGION_INFO_FLAG_READ, error))
        return false;
    put(payload, &access, sizeof(access));
    if (!target->device->ops->read(target->device, access.region, access.offset, payload->data + sizeof(access),
                                   access.count, error))
        return false;
    payload->length += access.count;
    return true;
}

static bool do_region_write(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    VfmVfuRegionAccess access;

    if (!fixed_part(message, &access, sizeof(access), error) ||
        !check_access(target, access.region, access.offset, access.count, VFIO_REGION_INFO_FLAG_WRITE, error))
        return false;
    if (message->length - sizeof(access) != access.count)
        return bad(error, VFM_INPUT_SYNTAX, "a write of %u bytes carries %zu", access.count,
                   message->length - sizeof(access));
    if (!target->device->ops->write(target->device, access.region, access.offset, message->data + sizeof(access),
                                    access.count, error))
        return false;
    put(payload, &access, sizeof(access));
    return true;
}

static bool do_write_multi(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    uint64_t count = 0;

    if (!fixed_part(message, &count, sizeof(count), error))
        return false;
    if (count > (message->length - sizeof(count)) / sizeof(VfmVfuWriteOne) ||
        message->length - sizeof(count) != count * sizeof(VfmVfuWriteOne))
        return bad(error, VFM_INPUT_SYNTAX, "%" G_GUINT64_FORMAT " writes in %u bytes", count, message->length);
    /* All are checked before the first is done. */
    for (uint64_t i = 0; i < count; i++) {
        VfmVfuWriteOne one;

        memcpy(&one, message->data + sizeof(count) + i * sizeof(one), sizeof(one));
        if (one.count > sizeof(one.data))
            return bad(error, VFM_INPUT_RANGE, "a write of %u bytes among several; 8 are possible", one.count);
        if (!check_access(target, one.region, one.offset, one.count, VFIO_REGION_INFO_FLAG_WRITE, error))
            return false;
    }
    for (uint64_t i = 0; i < count; i++) {
        VfmVfuWriteOne one;

        memcpy(&one, message->data + sizeof(count) + i * sizeof(one), sizeof(one));
        if (!target->device->ops->write(target->device, one.region, one.offset, one.data, one.count, error))
            return false;
    }
    put(payload, &count, sizeof(count));
    return true;
}

static bool do_reset(VfmVfuTarget *target, const VfmVfuMessage *message, Payload *payload, GError **error)
{
    if (!(target->info.flags & VFIO_DEVICE_FLAGS_RESET))
        return bad(error, VFM_INPUT_UNSUPPORTED, "the device can't be reset");
    return target->device->ops->reset(target->device, error);
}

static const Handler handlers[] = {
    [VFM_VFU_VERSION] = do_version,
    [VFM_VFU_DMA_MAP] = do_dma_map,
    [VFM_VFU_DMA_UNMAP] = do_dma_unmap,
    [VFM_VFU_DEVICE_GET_INFO] = do_device_info,
    [VFM_VFU_DEVICE_GET_REGION_INFO] = do_region_info,
    [VFM_VFU_DEVICE_GET_IRQ_INFO] = do_irq_info,
    [VFM_VFU_DEVICE_SET_IRQS] = do_set_irqs,
    [VFM_VFU_REGION_READ] = do_region_read,
    [VFM_VFU_REGION_WRITE] = do_region_write,
    [VFM_VFU_DEVICE_RESET] = do_reset,
    [VFM_VFU_REGION_WRITE_MULTI] = do_write_multi,
};

void vfm_vfu_command(VfmVfuTarget *target, const VfmVfuMessage *message, VfmVfuReply *reply)
{
    const VfmVfuHeader *header = &message->header;
    Handler handler = header->command < G_N_ELEMENTS(handlers) ? handlers[header->command] : NULL;
    Payload payload = {.data = reply->bytes + sizeof(VfmVfuHeader), .fd = -1};
    g_autoptr(GError) failure = NULL;
    bool done = false;

    if (!handler)
        bad(&failure, VFM_INPUT_UNSUPPORTED, "command %u is not served", header->command);
    else if (!target->negotiated && header->command != VFM_VFU_VERSION)
        bad(&failure, VFM_INPUT_CONFLICT, "command %u before the version", header->command);
    else
        done = handler(target, message, &payload, &failure);
    reply->length = 0;
    reply->fd = -1;
    if (header->flags & VFM_VFU_NO_REPLY)
        return;
    if (done)
        vfm_vfu_reply(reply, header, payload.length, payload.fd);
    else
        vfm_vfu_reply_error(reply, header, vfm_vfu_errno(failure));
}

void vfm_vfu_command_lost(const VfmVfuMessage *message, VfmVfuReply *reply)
{
    const VfmVfuHeader *header = &message->header;
    bool unmap = header->command == VFM_VFU_DMA_UNMAP && message->length >= sizeof(VfmVfuDmaUnmap);

    reply->length = 0;
    reply->fd = -1;
    if (header->flags & VFM_VFU_NO_REPLY)
        return;
    if (unmap)
        memcpy(reply->bytes + sizeof(*header), message->data, sizeof(VfmVfuDmaUnmap));
    if (unmap || header->command == VFM_VFU_DMA_MAP)
        vfm_vfu_reply(reply, header, unmap ? sizeof(VfmVfuDmaUnmap) : 0, -1);
    else
        vfm_vfu_reply_error(reply, header, EIO);
}

bool vfm_vfu_target_init(VfmVfuTarget *target, VfmVfuDevice *device, const VfmVfuOffer *offer, GError **error)
{
    target->device = device;
    target->offer = *offer;
    target->regions = g_array_new(false, true, sizeof(VfmVfuRegion));
    target->irqs = g_array_new(false, true, sizeof(struct vfio_irq_info));
    device->ops->info(device, &target->info);
    if (target->info.num_regions > MAX_REGIONS || target->info.num_irqs > MAX_IRQS)
        return bad(error, VFM_INPUT_TOO_LARGE,
                   "the device has %u regions and %u kinds of interrupts; QEMU takes %d and %d",
                   target->info.num_regions, target->info.num_irqs, MAX_REGIONS, MAX_IRQS);
    for (uint32_t i = 0; i < target->info.num_regions; i++) {
        VfmVfuRegion region = {.info = g_byte_array_new(), .fd = -1};

        /* An index without a region (VGA on most devices) is an error for the client who asks, not for the device. */
        if (device->ops->region_info(device, i, region.info, &region.fd, NULL) &&
            region.info->len >= sizeof(struct vfio_region_info) && region.info->len <= PAYLOAD_MAX) {
            const struct vfio_region_info *info = (const void *)region.info->data;

            region.size = info->size;
            region.flags = info->flags;
        } else {
            g_clear_pointer(&region.info, g_byte_array_unref);
        }
        g_array_append_val(target->regions, region);
    }
    for (uint32_t i = 0; i < target->info.num_irqs; i++) {
        struct vfio_irq_info info = {.argsz = sizeof(info), .index = i};

        if (!device->ops->irq_info(device, &info, NULL))
            info = (struct vfio_irq_info){0};
        else
            info.argsz = sizeof(info);
        g_array_append_val(target->irqs, info);
    }
    return true;
}

void vfm_vfu_target_clear(VfmVfuTarget *target)
{
    if (target->regions) {
        for (unsigned i = 0; i < target->regions->len; i++)
            g_clear_pointer(&g_array_index(target->regions, VfmVfuRegion, i).info, g_byte_array_unref);
        g_clear_pointer(&target->regions, g_array_unref);
    }
    g_clear_pointer(&target->irqs, g_array_unref);
}
