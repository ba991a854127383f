/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend_iommufd.h"

#include "backend_error.h"
#include "iommufd_abi.h"

#include <errno.h>
#include <linux/vfio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* What all address spaces of one descriptor share. */
typedef struct {
    int fd;
    unsigned refs;
    VfmIommufdAccount account;
    bool no_map_file; /* the kernel said it does not know IOMMU_IOAS_MAP_FILE */
    GArray *bound;    /* of dev_t: devices that were ever bound here */
} Context;

typedef struct {
    VfmBackend base;
    Context *context;
    uint32_t ioas;
    GArray *devices; /* of int: descriptors of attached devices */
} Iommufd;

static void context_unref(Context *context)
{
    if (--context->refs)
        return;
    close(context->fd);
    g_array_unref(context->bound);
    g_free(context);
}

static bool take_fd(GArray *fds, int fd)
{
    for (guint i = 0; i < fds->len; i++) {
        if (g_array_index(fds, int, i) == fd) {
            g_array_remove_index_fast(fds, i);
            return true;
        }
    }
    return false;
}

static bool was_bound(const Context *context, dev_t node)
{
    for (guint i = 0; i < context->bound->len; i++) {
        if (g_array_index(context->bound, dev_t, i) == node)
            return true;
    }
    return false;
}

/* An open device is bound to one iommufd for good, also if its attach then fails, or if it is detached while a
 * duplicate of its descriptor is kept. Binding it again is EINVAL; where the earlier binding was to this very iommufd
 * that is no obstacle, and where it was not, attaching says so. */
static bool bind_device(Context *context, const VfmBackendDevice *device, GError **error)
{
    struct vfm_vfio_bind_iommufd bind = {.argsz = sizeof(bind), .iommufd = context->fd};
    struct stat info;

    if (fstat(device->fd, &info) < 0) {
        vfm_set_attach_error(error, "iommufd", device->name, "looking at its descriptor", errno);
        return false;
    }
    bool before = was_bound(context, info.st_rdev);
    if (ioctl(device->fd, VFM_VFIO_DEVICE_BIND_IOMMUFD, &bind) < 0 && !(errno == EINVAL && before)) {
        vfm_set_attach_error(error, "iommufd", device->name, "binding it to iommufd", errno);
        return false;
    }
    if (!before)
        g_array_append_val(context->bound, info.st_rdev);
    return true;
}

static bool iommufd_attach(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfm_vfio_attach_iommufd_pt attach = {.argsz = sizeof(attach), .pt_id = self->ioas};

    if (!bind_device(self->context, device, error))
        return false;
    if (ioctl(device->fd, VFM_VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach) < 0) {
        vfm_set_attach_error(error, "iommufd", device->name, "giving it the address space", errno);
        return false;
    }
    device->device_fd = device->fd;
    g_array_append_val(self->devices, device->fd);
    return true;
}

static void iommufd_detach(VfmBackend *backend, VfmBackendDevice *device)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfm_vfio_detach_iommufd_pt detach = {.argsz = sizeof(detach)};

    g_return_if_fail(take_fd(self->devices, device->device_fd));
    /* Explicitly: a BAR that is still mapped keeps the file open beyond close(), and DMA must end now. */
    ioctl(device->device_fd, VFM_VFIO_DEVICE_DETACH_IOMMUFD_PT, &detach);
    close(device->device_fd);
    device->device_fd = -1;
}

static bool iommufd_limits(VfmBackend *backend, VfmBackendLimits *limits, GError **error)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfm_ioas_iova_ranges request = {.size = sizeof(request), .ioas_id = self->ioas};

    /* The number of ranges can grow between two calls only if somebody else attaches; ask until it fits. */
    do {
        g_array_set_size(limits->ranges, request.num_iovas);
        request.allowed_iovas = (uintptr_t)limits->ranges->data;
        if (ioctl(self->context->fd, VFM_IOMMU_IOAS_IOVA_RANGES, &request) == 0) {
            g_array_set_size(limits->ranges, request.num_iovas);
            /* Below a page only while no IOMMU is behind it. */
            limits->page_sizes = ~(MAX(request.out_iova_alignment, (uint64_t)sysconf(_SC_PAGESIZE)) - 1);
            limits->max_mappings = VFM_NONE;
            limits->memlock = vfm_memlock_limit();
            /* Until kernels map dma-bufs, pinning a BAR is EFAULT (QEMU docs/devel/vfio-iommufd.rst). */
            limits->peer_bars = false;
            return true;
        }
    } while (errno == EMSGSIZE && request.num_iovas > limits->ranges->len);
    vfm_set_system_error(error, errno, "iommufd: asking for the usable IOVA ranges");
    return false;
}

/* Pins by descriptor and offset, so that the mapping does not depend on this process's own one. True if it was made. */
static bool map_file(Iommufd *self, const VfmMapping *mapping, uint32_t flags)
{
    struct vfm_ioas_map_file request = {
        .size = sizeof(request),
        .flags = flags,
        .ioas_id = self->ioas,
        .fd = mapping->fd,
        .start = mapping->offset,
        .length = mapping->size,
        .iova = mapping->iova,
    };
    if (ioctl(self->context->fd, VFM_IOMMU_IOAS_MAP_FILE, &request) == 0)
        return true;
    if (errno == ENOTTY)
        self->context->no_map_file = true;
    return false;
}

static void set_map_error(VfmBackend *backend, const VfmMapping *mapping, int errnum, GError **error)
{
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = ranges};
    bool known = iommufd_limits(backend, &limits, NULL);

    vfm_set_map_error(error, "iommufd", mapping, known ? &limits : NULL, errnum);
}

static bool iommufd_map(VfmBackend *backend, const VfmMapping *mapping, GError **error)
{
    Iommufd *self = (Iommufd *)backend;
    uint32_t flags = VFM_IOAS_FIXED_IOVA | (mapping->prot & VFM_PROT_READ ? VFM_IOAS_READABLE : 0U) |
                     (mapping->prot & VFM_PROT_WRITE ? VFM_IOAS_WRITEABLE : 0U);

    /* Whatever it fails with (a file that is no memfd, an older kernel), the address decides: the
     * descriptor is only a hint, and the errors of the second call are the ones explained. */
    if (mapping->fd >= 0 && !mapping->peer && !self->context->no_map_file && map_file(self, mapping, flags))
        return true;

    struct vfm_ioas_map request = {
        .size = sizeof(request),
        .flags = flags,
        .ioas_id = self->ioas,
        .user_va = (uintptr_t)mapping->vaddr,
        .length = mapping->size,
        .iova = mapping->iova,
    };
    if (ioctl(self->context->fd, VFM_IOMMU_IOAS_MAP, &request) == 0)
        return true;

    set_map_error(backend, mapping, errno, error);
    return false;
}

/* Whether something is mapped at the page @iova. Copying it onto itself asks without changing anything: the
 * kernel looks up the source first (ENOENT), then refuses the occupied target. */
static bool is_mapped(Iommufd *self, uint64_t iova, uint64_t page)
{
    struct vfm_ioas_copy request = {
        .size = sizeof(request),
        .flags = VFM_IOAS_FIXED_IOVA | VFM_IOAS_READABLE,
        .dst_ioas_id = self->ioas,
        .src_ioas_id = self->ioas,
        .length = page,
        .dst_iova = iova,
        .src_iova = iova,
    };
    return ioctl(self->context->fd, VFM_IOMMU_IOAS_COPY, &request) == 0 || errno != ENOENT;
}

static bool iommufd_unmap(VfmBackend *backend, uint64_t iova, uint64_t size, uint64_t *unmapped, GError **error)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfm_ioas_unmap request = {.size = sizeof(request), .ioas_id = self->ioas, .iova = iova, .length = size};

    *unmapped = 0;
    if (ioctl(self->context->fd, VFM_IOMMU_IOAS_UNMAP, &request) == 0) {
        *unmapped = request.length;
        return true;
    }
    int errnum = errno;
    /* The kernel says ENOENT both where nothing is mapped, which is fine, and where a mapping would be cut. A
     * mapping that is cut reaches over one of the range's ends. */
    if (errnum == ENOENT && size) {
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
        uint64_t last_page = (iova + (size - 1)) & ~(page - 1);
        if (!is_mapped(self, iova & ~(page - 1), page) && !is_mapped(self, last_page, page))
            return true;
        errnum = EINVAL;
    }
    vfm_set_unmap_error(error, "iommufd", iova, size, errnum);
    return false;
}

static VfmMaybe iommufd_available(VfmBackend *backend)
{
    return VFM_NONE;
}

static void iommufd_hold(const VfmBackend *backend, VfmBackendHold *hold)
{
    const Iommufd *self = (const Iommufd *)backend;

    *hold = (VfmBackendHold){
        .kind = VFM_BACKEND_IOMMUFD, .fd = self->context->fd, .ioas = self->ioas, .account = self->context->account};
}

/* VFIO_DEVICE_GET_INFO works on a cdev only while it is bound, which it is to our iommufd or to none. */
static bool iommufd_adopt(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfio_device_info device_info = {.argsz = sizeof(device_info)};
    struct stat info;

    if (fstat(device->device_fd, &info) < 0 || ioctl(device->device_fd, VFIO_DEVICE_GET_INFO, &device_info) < 0) {
        vfm_set_system_error(error, errno, "iommufd: taking over %s: asking it for its kind", device->name);
        close(device->device_fd);
        return false;
    }
    if (!was_bound(self->context, info.st_rdev))
        g_array_append_val(self->context->bound, info.st_rdev);
    g_array_append_val(self->devices, device->device_fd);
    return true;
}

/* The user's count stays right by itself; a dead process's can't be moved. */
static bool iommufd_claim(VfmBackend *backend, const VfmMapping *mapping)
{
    return ((const Iommufd *)backend)->context->account == VFM_IOMMUFD_ACCOUNT_USER;
}

static void iommufd_free(VfmBackend *backend)
{
    Iommufd *self = (Iommufd *)backend;
    struct vfm_iommu_destroy destroy = {.size = sizeof(destroy), .id = self->ioas};

    /* A caller who still has devices attached has forgotten them: nobody else would close these. */
    for (guint i = 0; i < self->devices->len; i++)
        close(g_array_index(self->devices, int, i));
    g_array_unref(self->devices);
    /* The descriptor may live on (beside, or in another process); the mappings must not. */
    ioctl(self->context->fd, VFM_IOMMU_DESTROY, &destroy);
    context_unref(self->context);
    g_free(self);
}

static const VfmBackendOps iommufd_ops = {
    .name = "iommufd",
    .attach = iommufd_attach,
    .detach = iommufd_detach,
    .limits = iommufd_limits,
    .map = iommufd_map,
    .unmap = iommufd_unmap,
    .available = iommufd_available,
    .hold = iommufd_hold,
    .adopt = iommufd_adopt,
    .claim = iommufd_claim,
    .free = iommufd_free,
};

static bool allocate(int fd, uint32_t *ioas, GError **error)
{
    struct vfm_ioas_alloc alloc = {.size = sizeof(alloc)};

    if (ioctl(fd, VFM_IOMMU_IOAS_ALLOC, &alloc) < 0) {
        vfm_set_system_error(error, errno, "iommufd: making an address space with descriptor %d", fd);
        return false;
    }
    *ioas = alloc.out_ioas_id;
    return true;
}

static VfmBackend *make(Context *context, uint32_t ioas)
{
    Iommufd *self = g_new0(Iommufd, 1);

    context->refs++;
    self->base.ops = &iommufd_ops;
    self->context = context;
    self->ioas = ioas;
    self->devices = g_array_new(FALSE, FALSE, sizeof(int));
    return &self->base;
}

VfmBackend *vfm_backend_iommufd_new(int iommufd, VfmIommufdAccount account, GError **error)
{
    struct vfm_iommu_option option = {
        .size = sizeof(option),
        .option_id = VFM_IOMMU_OPTION_RLIMIT_MODE,
        .op = VFM_IOMMU_OPTION_SET,
        .val64 = 1,
    };
    uint32_t ioas;

    if (account == VFM_IOMMUFD_ACCOUNT_PROCESS && ioctl(iommufd, VFM_IOMMU_OPTION, &option) < 0) {
        vfm_set_system_error(error, errno,
                             "iommufd: choosing to charge locked memory to the process (needs CAP_SYS_RESOURCE)");
        return NULL;
    }
    if (!allocate(iommufd, &ioas, error))
        return NULL;
    Context *context = g_new0(Context, 1);
    context->fd = iommufd;
    context->account = account;
    context->bound = g_array_new(FALSE, FALSE, sizeof(dev_t));
    return make(context, ioas);
}

VfmBackend *vfm_backend_iommufd_new_beside(VfmBackend *first, GError **error)
{
    uint32_t ioas;

    g_return_val_if_fail(first->ops == &iommufd_ops, NULL);
    Context *context = ((Iommufd *)first)->context;
    return allocate(context->fd, &ioas, error) ? make(context, ioas) : NULL;
}

VfmBackend *vfm_backend_iommufd_adopt(const VfmBackendHold *hold, GError **error)
{
    struct vfm_ioas_iova_ranges request = {.size = sizeof(request), .ioas_id = hold->ioas};

    /* EMSGSIZE: there are ranges, and there is no room for them. */
    if (ioctl(hold->fd, VFM_IOMMU_IOAS_IOVA_RANGES, &request) < 0 && errno != EMSGSIZE) {
        vfm_set_system_error(error, errno, "iommufd: address space %u of descriptor %d", hold->ioas, hold->fd);
        return NULL;
    }
    Context *context = g_new0(Context, 1);
    context->fd = hold->fd;
    context->account = (VfmIommufdAccount)hold->account;
    context->bound = g_array_new(FALSE, FALSE, sizeof(dev_t));
    return make(context, hold->ioas);
}
