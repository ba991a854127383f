/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device_context.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "backend_adopt.h"
#include "backend_iommufd.h"
#include "backend_type1.h"
#include "host_read.h"
#include "log.h"
#include "vfio_device.h"

struct VfmDeviceContext {
    VfmDevicesState *state;
    VfmBackendKind wanted;
    VfmMaybe budget;
    GArray *windows;
    VfmHost *host;
    bool iommufd;            /* what the container is */
    VfmContainer *container; /* NULL before the first device */
    VfmGuestDma *dma;
};

VfmDeviceContext *vfm_device_context_new(const VfmPolicy *policy, VfmDevicesState *state)
{
    VfmDeviceContext *context = g_new0(VfmDeviceContext, 1);
    g_autoptr(GError) error = NULL;

    context->state = state;
    context->wanted = policy->backend;
    context->budget = policy->budget_mappings;
    if (policy->windows && policy->windows->len) {
        context->windows = vfm_ranges_new();
        for (unsigned i = 0; i < policy->windows->len; i++) {
            const VfmWindow *window = &g_array_index(policy->windows, VfmWindow, i);

            vfm_ranges_add(context->windows, window->start, window->start + (window->size - 1));
        }
    }
    context->host = vfm_host_read("/", &error);
    if (!context->host)
        vfm_log("reserved regions of devices are not known: %s", error->message);
    return context;
}

void vfm_device_context_free(VfmDeviceContext *context)
{
    if (!context)
        return;
    g_clear_pointer(&context->dma, vfm_guest_dma_free);
    g_clear_pointer(&context->container, vfm_container_free);
    g_clear_pointer(&context->host, vfm_host_free);
    g_clear_pointer(&context->windows, g_array_unref);
    g_free(context);
}

static VfmBackend *open_type1(GError **error)
{
    int fd = vfm_vfio_open_container(error);
    VfmBackend *backend = fd < 0 ? NULL : vfm_backend_type1_new(fd, error);

    if (!backend && fd >= 0)
        close(fd);
    return backend;
}

static VfmBackend *open_iommufd(GError **error)
{
    int fd = vfm_vfio_open_iommufd(error);
    VfmBackend *backend;

    if (fd < 0)
        return NULL;
    /* Counting per process, as type1 does, is a privilege; without it the user's processes share one count. */
    backend = vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_PROCESS, NULL);
    if (!backend)
        backend = vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_USER, error);
    if (!backend)
        close(fd);
    return backend;
}

static VfmBackend *open_backend(const VfmDeviceContext *context, GError **error)
{
    VfmBackend *backend = NULL;

    if (context->wanted != VFM_BACKEND_IOMMUFD)
        backend = open_type1(context->wanted == VFM_BACKEND_TYPE1 ? error : NULL);
    if (!backend && context->wanted != VFM_BACKEND_TYPE1)
        backend = open_iommufd(error);
    return backend;
}

static void use_backend(VfmDeviceContext *context, VfmBackend *backend)
{
    VfmBackendHold hold;

    backend->ops->hold(backend, &hold);
    context->iommufd = hold.kind == VFM_BACKEND_IOMMUFD;
    context->container = vfm_container_new("container 0", backend, context->budget);
}

static bool need_container(VfmDeviceContext *context, GError **error)
{
    VfmBackend *backend;

    if (context->container)
        return true;
    backend = open_backend(context, error);
    if (!backend)
        return false;
    use_backend(context, backend);
    context->dma = vfm_guest_dma_resume(context->container, context->windows, context->state->ledger, error);
    if (!context->dma) {
        g_clear_pointer(&context->container, vfm_container_free);
        return false;
    }
    vfm_guest_dma_disown(context->dma);
    return true;
}

static const GArray *reserved_of(const VfmDeviceContext *context, const char *address)
{
    const VfmIommuGroup *group = context->host ? vfm_host_find_group(context->host, address) : NULL;

    return group && group->reserved_known ? group->reserved : NULL;
}

/* Whatever is mapped, known or not: as long as QEMU has a device's descriptor, closing ours does not end it. */
static void unmap_all(const VfmContainer *container)
{
    VfmBackend *backend = vfm_container_backend(container);
    uint64_t half = UINT64_C(1) << 63, unmapped;

    backend->ops->unmap(backend, 0, half, &unmapped, NULL);
    backend->ops->unmap(backend, half, half, &unmapped, NULL);
}

bool vfm_device_context_resume(VfmDeviceContext *context, GError **error)
{
    VfmDevicesShared *shared = context->state->shared;
    VfmBackend *backend = NULL;

    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        VfmDeviceSlot *slot = &shared->slots[i];
        VfmContainerDevice device = {.name = slot->address, .fd = -1, .reserved = reserved_of(context, slot->address)};
        g_autoptr(GError) local = NULL;
        int silencer;

        if (slot->stage != VFM_DEVICE_SERVED)
            continue;
        if (!backend) {
            backend = vfm_backend_adopt(&shared->context, error);
            if (!backend)
                return false;
            use_backend(context, backend);
        }
        /* Before its descriptor may be closed: QEMU has one, too, so the device would go on. */
        silencer = fcntl(slot->hold.device_fd, F_DUPFD_CLOEXEC, 0);
        if (!vfm_container_adopt(context->container, &device, &slot->hold, &local)) {
            vfm_log("%s: can't be taken over: %s", slot->address, local->message);
            if (silencer >= 0)
                vfm_vfio_silence(silencer);
            vfm_pci_vectors_forget(&slot->pci.vectors);
            slot->stage = VFM_DEVICE_DEAD;
        }
        if (silencer >= 0)
            close(silencer);
    }
    if (!backend)
        return true;
    context->dma = vfm_guest_dma_resume(context->container, context->windows, context->state->ledger, error);
    if (context->dma)
        return true;
    /* The devices are silenced before anything of theirs is unmapped. */
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        if (shared->slots[i].stage == VFM_DEVICE_SERVED)
            vfm_vfio_silence(shared->slots[i].hold.device_fd);
    unmap_all(context->container);
    g_clear_pointer(&context->container, vfm_container_free);
    return false;
}

void vfm_device_context_resumed(VfmDeviceContext *context)
{
    if (context->dma)
        vfm_guest_dma_disown(context->dma);
}

/* The group's descriptor: a group can be opened once, so a second device of it shares the first one's. */
static int open_group(const VfmDeviceContext *context, int group, GError **error)
{
    const VfmDevicesShared *shared = context->state->shared;
    int fd;

    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        if (shared->slots[i].stage != VFM_DEVICE_SERVED || shared->slots[i].group != group)
            continue;
        fd = fcntl(shared->slots[i].hold.fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0)
            vfm_set_system_error(error, errno, "duplicating the descriptor of group %d failed", group);
        return fd;
    }
    return vfm_vfio_open_group(group, error);
}

/* The descriptor that the backend wants; the caller's. */
static int open_device(const VfmDeviceContext *context, VfmDeviceSlot *slot, GError **error)
{
    VfmVfioPlace place;

    if (!vfm_vfio_find("/sys", slot->address, &place, error))
        return -1;
    slot->group = place.group;
    if (!context->iommufd)
        return open_group(context, place.group, error);
    if (!place.cdev[0]) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s has no VFIO character device: bind it to vfio-pci (managed='yes'), or choose backend='type1'",
                    slot->address);
        return -1;
    }
    return vfm_vfio_open_cdev(place.cdev, error);
}

bool vfm_device_context_attach(VfmDeviceContext *context, VfmDeviceSlot *slot, GError **error)
{
    VfmContainerDevice device = {.name = slot->address, .reserved = reserved_of(context, slot->address)};
    bool done;

    if (!need_container(context, error))
        return false;
    device.fd = open_device(context, slot, error);
    if (device.fd < 0)
        return false;
    vfm_guest_dma_lock(context->dma);
    done = vfm_container_attach(context->container, &device, NULL, error);
    if (done) {
        const VfmBackend *backend = vfm_container_backend(context->container);

        vfm_container_hold(context->container, slot->address, &slot->hold);
        /* With more than one it is noted already, and counts. */
        if (vfm_container_devices(context->container) == 1)
            backend->ops->hold(backend, &context->state->shared->context);
    }
    vfm_guest_dma_unlock(context->dma);
    if (!done)
        close(device.fd);
    return done;
}

void vfm_device_context_detach(VfmDeviceContext *context, const VfmDeviceSlot *slot)
{
    g_autoptr(GError) error = NULL;

    vfm_guest_dma_lock(context->dma);
    if (!vfm_container_detach(context->container, slot->address, &error))
        vfm_log("%s: %s", slot->address, error->message);
    vfm_guest_dma_unlock(context->dma);
}

VfmGuestDma *vfm_device_context_dma(const VfmDeviceContext *context)
{
    return context->dma;
}

bool vfm_device_context_is_iommufd(const VfmDeviceContext *context)
{
    return context->iommufd;
}

void vfm_device_context_usage(VfmDeviceContext *context, VfmContainerUsage *usage, VfmGuestDmaUsage *dma)
{
    *usage = (VfmContainerUsage){0};
    *dma = (VfmGuestDmaUsage){0};
    if (!context->dma)
        return;
    vfm_guest_dma_usage(context->dma, dma);
    vfm_guest_dma_lock(context->dma);
    vfm_container_usage(context->container, usage);
    vfm_guest_dma_unlock(context->dma);
}
