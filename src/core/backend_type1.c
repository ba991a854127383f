/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend_type1.h"

#include "backend_error.h"

#include <errno.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

/* What a kernel without VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL (before 5.10) allows: the module's default. */
#define DEFAULT_ENTRY_LIMIT 65535

/* A group is told from another by its device node, so that a duplicated descriptor is recognised. */
typedef struct {
    dev_t node;
    int fd;
    unsigned devices;
} Type1Group;

typedef struct {
    int device_fd;
    dev_t node; /* of its group */
} Type1Device;

typedef struct {
    VfmBackend base;
    int container_fd;
    GArray *groups;        /* of Type1Group */
    GArray *devices;       /* of Type1Device */
    VfmMaybe max_mappings; /* of the present context; not set: no limit, or no context */
    bool update_vaddr;     /* adopted, and the kernel can move mappings to another process */
    uint64_t claimable;    /* bytes this process may still lock by that */
} Type1;

static Type1Group *find_group(Type1 *self, dev_t node)
{
    for (guint i = 0; i < self->groups->len; i++) {
        Type1Group *group = &g_array_index(self->groups, Type1Group, i);
        if (group->node == node)
            return group;
    }
    return NULL;
}

/* VFIO_IOMMU_GET_INFO with all its capabilities: the kernel says how much room it wants. */
static struct vfio_iommu_type1_info *read_info(Type1 *self)
{
    uint32_t size = sizeof(struct vfio_iommu_type1_info);
    for (;;) {
        struct vfio_iommu_type1_info *info = g_malloc0(size);
        info->argsz = size;
        if (ioctl(self->container_fd, VFIO_IOMMU_GET_INFO, info) < 0) {
            int saved = errno;
            g_free(info);
            errno = saved;
            return NULL;
        }
        if (info->argsz <= size)
            return info;
        size = info->argsz;
        g_free(info);
    }
}

/* The capability @id, of at least @size bytes, or NULL. */
static const void *find_capability(const struct vfio_iommu_type1_info *info, uint16_t id, size_t size)
{
    if (!(info->flags & VFIO_IOMMU_INFO_CAPS))
        return NULL;
    /* Offsets only grow in what kernels write; insisting on it bounds the walk. */
    for (uint32_t offset = info->cap_offset, previous = 0; offset > previous;) {
        const struct vfio_info_cap_header *header = (const void *)((const char *)info + offset);
        if (offset + sizeof(*header) > info->argsz)
            return NULL;
        if (header->id == id)
            return offset + size <= info->argsz ? header : NULL;
        previous = offset;
        offset = header->next;
    }
    return NULL;
}

static VfmMaybe left_in(const struct vfio_iommu_type1_info *info)
{
    const struct vfio_iommu_type1_info_dma_avail *cap =
        find_capability(info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(*cap));
    /* iommufd's compatibility layer says UINT32_MAX, always: it has no limit (Linux iommufd/vfio_compat.c). */
    return cap && cap->avail != UINT32_MAX ? VFM_SOME(cap->avail) : VFM_NONE;
}

/* The first group has joined: choose type1 v2 and learn the total while nothing is mapped. */
static bool make_context(Type1 *self, const VfmBackendDevice *device, GError **error)
{
    if (ioctl(self->container_fd, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        vfm_set_attach_error(error, "type1", device->name, "choosing the type1 v2 IOMMU", errno);
        return false;
    }
    g_autofree struct vfio_iommu_type1_info *info = read_info(self);
    if (!info) {
        vfm_set_attach_error(error, "type1", device->name, "asking the container for its limits", errno);
        return false;
    }
    self->max_mappings = left_in(info);
    if (!find_capability(info, VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, sizeof(struct vfio_iommu_type1_info_dma_avail)))
        self->max_mappings = VFM_SOME(DEFAULT_ENTRY_LIMIT);
    return true;
}

/* A group that is new to the container. */
static bool join(Type1 *self, const VfmBackendDevice *device, GError **error)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};

    if (ioctl(device->fd, VFIO_GROUP_GET_STATUS, &status) < 0) {
        vfm_set_attach_error(error, "type1", device->name, "asking its group for its state", errno);
        return false;
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_VIABLE)) {
        vfm_set_system_error(error, EPERM,
                             "type1: attaching %s: its group is not viable, a host driver still holds a device of it "
                             "(bind every device of the group to vfio-pci)",
                             device->name);
        return false;
    }
    if (ioctl(device->fd, VFIO_GROUP_SET_CONTAINER, &self->container_fd) < 0) {
        vfm_set_attach_error(error, "type1", device->name, "adding its group to the container", errno);
        return false;
    }
    if (!self->groups->len && !make_context(self, device, error)) {
        ioctl(device->fd, VFIO_GROUP_UNSET_CONTAINER);
        return false;
    }
    return true;
}

static bool type1_attach(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    Type1 *self = (Type1 *)backend;
    struct stat info;

    if (fstat(device->fd, &info) < 0) {
        vfm_set_attach_error(error, "type1", device->name, "looking at its group's descriptor", errno);
        return false;
    }
    Type1Group *known = find_group(self, info.st_rdev);
    if (!known && !join(self, device, error))
        return false;

    int device_fd = ioctl(device->fd, VFIO_GROUP_GET_DEVICE_FD, device->name);
    if (device_fd < 0) {
        vfm_set_attach_error(error, "type1", device->name, "opening it through its group", errno);
        if (!known)
            ioctl(device->fd, VFIO_GROUP_UNSET_CONTAINER);
        return false;
    }
    if (known) {
        close(device->fd);
        device->fd = known->fd;
    }
    device->device_fd = device_fd;
    g_array_append_vals(self->devices, &(Type1Device){.device_fd = device_fd, .node = info.st_rdev}, 1);
    if (known) {
        known->devices++;
    } else {
        g_array_append_vals(self->groups, &(Type1Group){.node = info.st_rdev, .fd = device->fd, .devices = 1}, 1);
    }
    return true;
}

static bool take_device(Type1 *self, int device_fd, dev_t *node)
{
    for (guint i = 0; i < self->devices->len; i++) {
        Type1Device *device = &g_array_index(self->devices, Type1Device, i);
        if (device->device_fd == device_fd) {
            *node = device->node;
            g_array_remove_index_fast(self->devices, i);
            return true;
        }
    }
    return false;
}

static void type1_detach(VfmBackend *backend, VfmBackendDevice *device)
{
    Type1 *self = (Type1 *)backend;
    dev_t node;

    g_return_if_fail(take_device(self, device->device_fd, &node));
    close(device->device_fd);
    device->device_fd = -1;

    Type1Group *group = find_group(self, node);
    if (--group->devices)
        return;
    /* Also done by the kernel when the group's last descriptor goes, but a duplicate may outlive us. */
    ioctl(group->fd, VFIO_GROUP_UNSET_CONTAINER);
    close(group->fd);
    g_array_remove_index_fast(self->groups, (guint)(group - &g_array_index(self->groups, Type1Group, 0)));
    if (!self->groups->len)
        self->max_mappings = VFM_NONE;
}

static bool type1_limits(VfmBackend *backend, VfmBackendLimits *limits, GError **error)
{
    Type1 *self = (Type1 *)backend;
    if (!self->groups->len) {
        vfm_set_system_error(error, ENODEV, "type1: a container has no limits before a device is attached");
        return false;
    }
    g_autofree struct vfio_iommu_type1_info *info = read_info(self);
    if (!info) {
        vfm_set_system_error(error, errno, "type1: asking the container for its limits");
        return false;
    }
    limits->page_sizes = (info->flags & VFIO_IOMMU_INFO_PGSIZES) ? info->iova_pgsizes : 0;
    /* Kernels before 5.10 leave it out where the IOMMU can do any page size the CPU can. */
    if (!limits->page_sizes)
        limits->page_sizes = ~((uint64_t)sysconf(_SC_PAGESIZE) - 1);
    limits->max_mappings = self->max_mappings;
    limits->memlock = vfm_memlock_limit();
    limits->peer_bars = true;

    g_array_set_size(limits->ranges, 0);
    const struct vfio_iommu_type1_info_cap_iova_range *cap =
        find_capability(info, VFIO_IOMMU_TYPE1_INFO_CAP_IOVA_RANGE, sizeof(*cap));
    size_t room = cap ? info->argsz - (size_t)((const char *)cap->iova_ranges - (const char *)info) : 0;
    for (uint32_t i = 0; cap && i < cap->nr_iovas && (i + 1) * sizeof(cap->iova_ranges[0]) <= room; i++) {
        VfmIovaRange range = {.start = cap->iova_ranges[i].start, .last = cap->iova_ranges[i].end};
        g_array_append_val(limits->ranges, range);
    }
    return true;
}

static void set_map_error(VfmBackend *backend, const VfmMapping *mapping, int errnum, GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = ranges};
    bool known = type1_limits(backend, &limits, NULL);

    vfm_set_map_error(error, "type1", mapping, known ? &limits : NULL, errnum);
}

static bool type1_map(VfmBackend *backend, const VfmMapping *mapping, GError **error)
{
    Type1 *self = (Type1 *)backend;
    struct vfio_iommu_type1_dma_map request = {
        .argsz = sizeof(request),
        .flags = (mapping->prot & VFM_PROT_READ ? VFIO_DMA_MAP_FLAG_READ : 0U) |
                 (mapping->prot & VFM_PROT_WRITE ? VFIO_DMA_MAP_FLAG_WRITE : 0U),
        .vaddr = (uintptr_t)mapping->vaddr,
        .iova = mapping->iova,
        .size = mapping->size,
    };

    if (ioctl(self->container_fd, VFIO_IOMMU_MAP_DMA, &request) == 0)
        return true;
    set_map_error(backend, mapping, errno, error);
    return false;
}

static bool type1_unmap(VfmBackend *backend, uint64_t iova, uint64_t size, uint64_t *unmapped, GError **error)
{
    Type1 *self = (Type1 *)backend;
    struct vfio_iommu_type1_dma_unmap request = {.argsz = sizeof(request), .iova = iova, .size = size};

    *unmapped = 0;
    /* Without a context nothing is mapped, and the kernel would call the request itself invalid. */
    if (!self->groups->len)
        return true;
    if (ioctl(self->container_fd, VFIO_IOMMU_UNMAP_DMA, &request) < 0) {
        vfm_set_unmap_error(error, "type1", iova, size, errno);
        return false;
    }
    *unmapped = request.size;
    return true;
}

static VfmMaybe type1_available(VfmBackend *backend)
{
    Type1 *self = (Type1 *)backend;
    if (!self->groups->len)
        return VFM_NONE;
    g_autofree struct vfio_iommu_type1_info *info = read_info(self);
    return info ? left_in(info) : VFM_NONE;
}

static void type1_hold(const VfmBackend *backend, VfmBackendHold *hold)
{
    const Type1 *self = (const Type1 *)backend;

    *hold = (VfmBackendHold){.kind = VFM_BACKEND_TYPE1,
                             .fd = self->container_fd,
                             .limited = self->max_mappings.set,
                             .max_mappings = self->max_mappings.value};
}

/* Whether the descriptors are a group that is in a container, and a device. */
static bool check_adopted(const VfmBackendDevice *device, dev_t *node, GError **error)
{
    struct vfio_group_status status = {.argsz = sizeof(status)};
    struct vfio_device_info device_info = {.argsz = sizeof(device_info)};
    struct stat info;
    const char *what = NULL;

    if (fstat(device->fd, &info) < 0 || ioctl(device->fd, VFIO_GROUP_GET_STATUS, &status) < 0)
        what = "asking its group for its state";
    else if (ioctl(device->device_fd, VFIO_DEVICE_GET_INFO, &device_info) < 0)
        what = "asking it for its kind";
    if (what) {
        vfm_set_system_error(error, errno, "type1: taking over %s: %s", device->name, what);
        return false;
    }
    if (!(status.flags & VFIO_GROUP_FLAGS_CONTAINER_SET)) {
        vfm_set_system_error(error, ENODEV, "type1: taking over %s: its group is in no container any more",
                             device->name);
        return false;
    }
    *node = info.st_rdev;
    return true;
}

static bool type1_adopt(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    Type1 *self = (Type1 *)backend;
    Type1Group *known = NULL;
    dev_t node = 0;

    for (guint i = 0; i < self->groups->len && !known; i++)
        if (g_array_index(self->groups, Type1Group, i).fd == device->fd)
            known = &g_array_index(self->groups, Type1Group, i);
    if (!check_adopted(device, &node, error)) {
        close(device->device_fd);
        if (!known)
            close(device->fd);
        return false;
    }
    g_array_append_vals(self->devices, &(Type1Device){.device_fd = device->device_fd, .node = node}, 1);
    if (known)
        known->devices++;
    else
        g_array_append_vals(self->groups, &(Type1Group){.node = node, .fd = device->fd, .devices = 1}, 1);
    return true;
}

/* Takes the address away and gives it one here. Where a predecessor died in between, the first step has been done, and
 * doing it again would fail; so the second is tried first, which does no harm otherwise. */
static bool type1_claim(VfmBackend *backend, const VfmMapping *mapping)
{
    Type1 *self = (Type1 *)backend;
    struct vfio_iommu_type1_dma_map here = {
        .argsz = sizeof(here),
        .flags = VFIO_DMA_MAP_FLAG_VADDR,
        .vaddr = (uintptr_t)mapping->vaddr,
        .iova = mapping->iova,
        .size = mapping->size,
    };

    if (!self->update_vaddr || mapping->peer)
        return false;
    /* Once its address is taken away it must get one, or nothing can be attached any more (EBUSY): so the kernel must
     * have no reason to refuse. */
    if (mapping->size > self->claimable)
        return false;
    self->claimable -= mapping->size;
    if (ioctl(self->container_fd, VFIO_IOMMU_MAP_DMA, &here) == 0)
        return true;
    struct vfio_iommu_type1_dma_unmap away = {
        .argsz = sizeof(away), .flags = VFIO_DMA_UNMAP_FLAG_VADDR, .iova = mapping->iova, .size = mapping->size};
    return ioctl(self->container_fd, VFIO_IOMMU_UNMAP_DMA, &away) == 0 &&
           ioctl(self->container_fd, VFIO_IOMMU_MAP_DMA, &here) == 0;
}

static void type1_free(VfmBackend *backend)
{
    Type1 *self = (Type1 *)backend;

    /* A caller who still has devices attached has forgotten them: nobody else would close these. */
    for (guint i = 0; i < self->devices->len; i++)
        close(g_array_index(self->devices, Type1Device, i).device_fd);
    for (guint i = 0; i < self->groups->len; i++)
        close(g_array_index(self->groups, Type1Group, i).fd);
    g_array_unref(self->devices);
    g_array_unref(self->groups);
    close(self->container_fd);
    g_free(self);
}

static const VfmBackendOps type1_ops = {
    .name = "type1",
    .attach = type1_attach,
    .detach = type1_detach,
    .limits = type1_limits,
    .map = type1_map,
    .unmap = type1_unmap,
    .available = type1_available,
    .hold = type1_hold,
    .adopt = type1_adopt,
    .claim = type1_claim,
    .free = type1_free,
};

static bool is_container(int container_fd, GError **error)
{
    int version = ioctl(container_fd, VFIO_GET_API_VERSION);
    if (version < 0) {
        vfm_set_system_error(error, errno, "type1: descriptor %d is no VFIO container", container_fd);
        return false;
    }
    if (version != VFIO_API_VERSION) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "type1: the kernel's VFIO has version %d, only %d is known", version, VFIO_API_VERSION);
        return false;
    }
    return true;
}

static Type1 *make(int container_fd)
{
    Type1 *self = g_new0(Type1, 1);

    self->base.ops = &type1_ops;
    self->container_fd = container_fd;
    self->groups = g_array_new(FALSE, FALSE, sizeof(Type1Group));
    self->devices = g_array_new(FALSE, FALSE, sizeof(Type1Device));
    return self;
}

VfmBackend *vfm_backend_type1_new(int container_fd, GError **error)
{
    if (!is_container(container_fd, error))
        return NULL;
    if (ioctl(container_fd, VFIO_CHECK_EXTENSION, VFIO_TYPE1v2_IOMMU) <= 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "type1: the kernel has no type1 v2 IOMMU; load vfio_iommu_type1");
        return NULL;
    }
    return &make(container_fd)->base;
}

/* Before 6.0 an unmap of what another process mapped did nothing, and called that success. */
static bool lets_others_unmap(void)
{
    struct utsname system;

    return uname(&system) == 0 && g_ascii_strtoull(system.release, NULL, 10) >= 6;
}

VfmBackend *vfm_backend_type1_adopt(const VfmBackendHold *hold, GError **error)
{
    if (!lets_others_unmap()) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "type1: Linux before 6.0 lets nobody unmap what a process that is gone has mapped");
        return NULL;
    }
    if (!is_container(hold->fd, error))
        return NULL;
    Type1 *self = make(hold->fd);
    if (hold->limited)
        self->max_mappings = VFM_SOME(hold->max_mappings);
    VfmMaybe limit = vfm_memlock_limit();
    self->claimable = limit.set ? limit.value : UINT64_MAX;
    self->update_vaddr = ioctl(hold->fd, VFIO_CHECK_EXTENSION, VFIO_UPDATE_VADDR) > 0;
    return &self->base;
}
