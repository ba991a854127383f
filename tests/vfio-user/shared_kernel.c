/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "shared_kernel.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

typedef struct {
    VfmBackend base;
    SharedKernel *kernel;
    void (*step)(gpointer data);
    gpointer data;
} Shared;

SharedKernel *shared_kernel_new(void)
{
    SharedKernel *kernel =
        mmap(NULL, sizeof(*kernel), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    g_assert(kernel != MAP_FAILED);
    shared_kernel_reset(kernel);
    return kernel;
}

void shared_kernel_reset(SharedKernel *kernel)
{
    kernel->count = kernel->devices = kernel->fail_maps = 0;
    kernel->max = SHARED_KERNEL_MAPPINGS;
}

void shared_kernel_free(SharedKernel *kernel)
{
    munmap(kernel, sizeof(*kernel));
}

static bool attach(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    ((Shared *)backend)->kernel->devices++;
    return true;
}

static void detach(VfmBackend *backend, VfmBackendDevice *device)
{
    ((Shared *)backend)->kernel->devices--;
}

static bool adopt(VfmBackend *backend, VfmBackendDevice *device, GError **error)
{
    return true;
}

static bool claim(VfmBackend *backend, const VfmMapping *mapping)
{
    return true;
}

static bool limits(VfmBackend *backend, VfmBackendLimits *out, GError **error)
{
    out->page_sizes = ~UINT64_C(4095);
    out->max_mappings = VFM_SOME(((Shared *)backend)->kernel->max);
    return true;
}

static VfmMaybe available(VfmBackend *backend)
{
    const SharedKernel *kernel = ((Shared *)backend)->kernel;

    return VFM_SOME(kernel->max - kernel->count);
}

static int errno_of_map(SharedKernel *kernel, const VfmMapping *mapping)
{
    if (kernel->fail_maps && --kernel->fail_maps == 0)
        return ENOMEM;
    if (kernel->count >= kernel->max)
        return ENOSPC;
    for (unsigned i = 0; i < kernel->count; i++) {
        const SharedMapping *other = &kernel->mappings[i];

        if (mapping->iova < other->iova + other->size && other->iova < mapping->iova + mapping->size)
            return EEXIST;
    }
    return 0;
}

static bool map(VfmBackend *backend, const VfmMapping *mapping, GError **error)
{
    Shared *self = (Shared *)backend;
    SharedKernel *kernel = self->kernel;
    struct stat st;
    int errnum;

    self->step(self->data);
    g_assert(fstat(mapping->fd, &st) == 0);
    errnum = errno_of_map(kernel, mapping);
    if (errnum == 0)
        kernel->mappings[kernel->count++] = (SharedMapping){.iova = mapping->iova,
                                                            .size = mapping->size,
                                                            .offset = mapping->offset,
                                                            .inode = st.st_ino,
                                                            .serial = ++kernel->serial,
                                                            .prot = mapping->prot};
    else
        vfm_set_system_error(error, errnum, "shared kernel: map");
    self->step(self->data);
    return errnum == 0;
}

static bool unmap(VfmBackend *backend, uint64_t iova, uint64_t size, uint64_t *unmapped, GError **error)
{
    Shared *self = (Shared *)backend;
    SharedKernel *kernel = self->kernel;
    uint64_t end = iova + size;
    bool cuts = false;

    *unmapped = 0;
    self->step(self->data);
    for (unsigned i = 0; i < kernel->count; i++) {
        const SharedMapping *mapping = &kernel->mappings[i];
        uint64_t mapping_end = mapping->iova + mapping->size;

        cuts |= mapping->iova < end && iova < mapping_end && (mapping->iova < iova || mapping_end > end);
    }
    for (unsigned i = kernel->count; !cuts && i-- > 0;) {
        const SharedMapping *mapping = &kernel->mappings[i];

        if (mapping->iova < iova || mapping->iova >= end)
            continue;
        *unmapped += mapping->size;
        kernel->mappings[i] = kernel->mappings[--kernel->count];
    }
    if (cuts)
        vfm_set_system_error(error, EINVAL, "shared kernel: an unmap would cut a mapping");
    self->step(self->data);
    return !cuts;
}

static void backend_free(VfmBackend *backend)
{
    g_free(backend);
}

static const VfmBackendOps ops = {
    .name = "shared",
    .attach = attach,
    .detach = detach,
    .limits = limits,
    .map = map,
    .unmap = unmap,
    .available = available,
    .adopt = adopt,
    .claim = claim,
    .free = backend_free,
};

VfmBackend *shared_kernel_backend(SharedKernel *kernel, void (*step)(gpointer data), gpointer data)
{
    Shared *self = g_new0(Shared, 1);

    self->base.ops = &ops;
    self->kernel = kernel;
    self->step = step;
    self->data = data;
    return &self->base;
}
