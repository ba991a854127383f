/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "container.h"

typedef struct {
    VfmBackendDevice backend; /* its name is owned here; passed to attach and detach alike */
    char *name;
    GArray *reserved; /* of VfmReserved */
    GArray *aperture; /* of VfmIovaRange, NULL: not known */
} Device;

struct VfmContainer {
    char *name;
    VfmBackend *backend;
    VfmContainerClient *client;
    bool started;
    GPtrArray *devices; /* of Device */
    VfmMaybe budget_cap;
    VfmMaybe budget;     /* the lower of the kernel's and the cap */
    VfmMaybe refused_at; /* mappings held when the kernel said ENOSPC */
    uint64_t page;
    bool peer_bars;
    GArray *reach;  /* of VfmIovaRange: what the backend reported last */
    GArray *usable; /* of VfmIovaRange: @reach less what the devices can't */
    uint64_t mappings, pinned, peer, anomalies;
    uint64_t uncharged; /* bytes of @pinned, at most, that the kernel charges to a process that is gone */
};

static void device_free(gpointer data)
{
    Device *device = data;

    g_free(device->name);
    g_array_unref(device->reserved);
    if (device->aperture)
        g_array_unref(device->aperture);
    g_free(device);
}

static Device *device_new(const VfmContainerDevice *spec)
{
    Device *device = g_new0(Device, 1);

    device->name = g_strdup(spec->name);
    device->backend = (VfmBackendDevice){.name = device->name, .fd = spec->fd, .device_fd = -1};
    device->reserved = g_array_new(FALSE, FALSE, sizeof(VfmReserved));
    if (spec->reserved && spec->reserved->len)
        g_array_append_vals(device->reserved, spec->reserved->data, spec->reserved->len);
    device->aperture = spec->aperture ? vfm_ranges_copy(spec->aperture) : NULL;
    return device;
}

static uint64_t host_page(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

VfmContainer *vfm_container_new(const char *name, VfmBackend *backend, VfmMaybe budget_cap)
{
    VfmContainer *container = g_new0(VfmContainer, 1);

    container->name = g_strdup(name);
    container->backend = backend;
    container->budget_cap = budget_cap;
    container->budget = budget_cap;
    container->devices = g_ptr_array_new_with_free_func(device_free);
    container->page = host_page();
    container->reach = vfm_ranges_new_all();
    container->usable = vfm_ranges_new_all();
    return container;
}

void vfm_container_free(VfmContainer *container)
{
    if (!container)
        return;
    while (container->devices->len) {
        const Device *last = container->devices->pdata[container->devices->len - 1];

        vfm_container_detach(container, last->name, NULL);
    }
    g_warn_if_fail(!container->client);
    container->backend->ops->free(container->backend);
    g_ptr_array_unref(container->devices);
    g_array_unref(container->reach);
    g_array_unref(container->usable);
    g_free(container->name);
    g_free(container);
}

const char *vfm_container_name(const VfmContainer *container)
{
    return container->name;
}

VfmBackend *vfm_container_backend(const VfmContainer *container)
{
    return container->backend;
}

static Device *find_device(const VfmContainer *container, const char *name, unsigned *index)
{
    for (unsigned i = 0; i < container->devices->len; i++) {
        Device *device = container->devices->pdata[i];

        if (strcmp(device->name, name) == 0) {
            if (index)
                *index = i;
            return device;
        }
    }
    return NULL;
}

unsigned vfm_container_devices(const VfmContainer *container)
{
    return container->devices->len;
}

const char *vfm_container_device_name(const VfmContainer *container, unsigned index)
{
    return index < container->devices->len ? ((Device *)container->devices->pdata[index])->name : NULL;
}

int vfm_container_device_fd(const VfmContainer *container, const char *name)
{
    const Device *device = find_device(container, name, NULL);

    return device ? device->backend.device_fd : -1;
}

uint64_t vfm_container_page(const VfmContainer *container)
{
    return container->page;
}

const GArray *vfm_container_usable(const VfmContainer *container)
{
    return container->usable;
}

bool vfm_container_peer_bars(const VfmContainer *container)
{
    return container->peer_bars;
}

/* A relaxable region is one that firmware wants identity-mapped for its own use before the driver takes over. */
static bool forbids(const VfmReserved *reserved)
{
    return reserved->type != VFM_RESERVED_DIRECT_RELAXABLE;
}

static const char *reserved_type_name(VfmReservedType type)
{
    switch (type) {
    case VFM_RESERVED_DIRECT:
        return "direct";
    case VFM_RESERVED_DIRECT_RELAXABLE:
        return "direct-relaxable";
    case VFM_RESERVED_MSI:
        return "msi";
    case VFM_RESERVED_RESERVED:
        break;
    }
    return "reserved";
}

char *vfm_container_obstacle(const VfmContainer *container, uint64_t start, uint64_t last)
{
    for (unsigned i = 0; i < container->devices->len; i++) {
        const Device *device = container->devices->pdata[i];

        for (unsigned j = 0; j < device->reserved->len; j++) {
            const VfmReserved *reserved = &g_array_index(device->reserved, VfmReserved, j);

            if (forbids(reserved) && reserved->start <= last && reserved->end >= start)
                return g_strdup_printf("reserved region 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x (%s) of %s",
                                       reserved->start, reserved->end, reserved_type_name(reserved->type),
                                       device->name);
        }
        if (device->aperture && !vfm_ranges_contain(device->aperture, start, last))
            return g_strdup_printf("beyond what the IOMMU of %s can address", device->name);
    }
    return g_strdup("outside the ranges the kernel reports for this container");
}

static GArray *compute_usable(const GArray *reach, const GPtrArray *devices)
{
    GArray *usable = vfm_ranges_copy(reach);

    for (unsigned i = 0; i < devices->len; i++) {
        const Device *device = devices->pdata[i];

        if (device->aperture) {
            GArray *both = vfm_ranges_intersect(usable, device->aperture);

            g_array_unref(usable);
            usable = both;
        }
        for (unsigned j = 0; j < device->reserved->len; j++) {
            const VfmReserved *reserved = &g_array_index(device->reserved, VfmReserved, j);

            if (forbids(reserved))
                vfm_ranges_subtract(usable, reserved->start, reserved->end);
        }
    }
    return usable;
}

static VfmMaybe lower(VfmMaybe a, VfmMaybe b)
{
    if (!a.set || !b.set)
        return a.set ? a : b;
    return a.value < b.value ? a : b;
}

/* Reads the backend's limits anew; on failure nothing changes. */
static bool read_limits(VfmContainer *container, GError **error)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();
    VfmBackendLimits limits = {.ranges = ranges};

    if (!container->backend->ops->limits(container->backend, &limits, error))
        return false;
    g_array_unref(container->reach);
    container->reach = ranges->len ? g_array_ref(ranges) : vfm_ranges_new_all();
    container->page = limits.page_sizes ? limits.page_sizes & -limits.page_sizes : host_page();
    container->peer_bars = limits.peer_bars;
    container->budget = lower(limits.max_mappings, container->budget_cap);
    return true;
}

VfmMaybe vfm_container_memlock(const VfmContainer *container)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();
    VfmBackendLimits limits = {.ranges = ranges};

    return container->backend->ops->limits(container->backend, &limits, NULL) ? limits.memlock : VFM_NONE;
}

/* Lets the client follow what the devices and the backend's ranges allow now; on failure the old usable set stays. */
static bool reshape(VfmContainer *container, bool forced, GError **error)
{
    GArray *before = container->usable;
    bool changed;

    container->usable = compute_usable(container->reach, container->devices);
    changed = forced || !vfm_ranges_equal(before, container->usable);
    if (changed && container->started && !container->client->ops->reshape(container->client, error)) {
        g_array_unref(container->usable);
        container->usable = before;
        container->client->ops->reshape(container->client, NULL); /* what had been changed before the refusal */
        return false;
    }
    g_array_unref(before);
    return true;
}

static bool start(VfmContainer *container, GError **error)
{
    if (!container->client || !container->client->ops->start(container->client, error))
        return !container->client;
    container->started = true;
    return true;
}

static void stop(VfmContainer *container)
{
    if (!container->started)
        return;
    container->started = false;
    container->client->ops->stop(container->client);
    /* What the client could not unmap piece by piece goes as a whole; the kernel would drop it with the last device. */
    for (unsigned i = 0; container->mappings && i < container->usable->len; i++) {
        const VfmIovaRange *range = &g_array_index(container->usable, VfmIovaRange, i);
        uint64_t first = range->start & -container->page;
        uint64_t size = (range->last & -container->page) - first, unmapped;

        if (container->backend->ops->unmap(container->backend, first, size, &unmapped, NULL) && unmapped)
            container->anomalies++;
    }
    container->mappings = container->pinned = container->peer = container->uncharged = 0;
}

bool vfm_container_set_client(VfmContainer *container, VfmContainerClient *client, GError **error)
{
    g_return_val_if_fail(!container->client, false);
    container->client = client;
    if (container->devices->len && !start(container, error)) {
        container->client = NULL;
        return false;
    }
    return true;
}

void vfm_container_clear_client(VfmContainer *container)
{
    stop(container);
    container->client = NULL;
}

/* Gives an errno of attach or map its meaning. */
static void explain(const VfmContainer *container, const char *what, GError **error, GError *cause)
{
    if (g_error_matches(cause, VFM_SYSTEM_ERROR, ENOMEM)) {
        VfmMaybe memlock = vfm_container_memlock(container);
        g_autofree char *limit =
            memlock.set ? g_strdup_printf("the limit is %" G_GUINT64_FORMAT, memlock.value) : g_strdup("see ulimit -l");

        g_set_error(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK,
                    "%s: %s: RLIMIT_MEMLOCK exceeded with %" G_GUINT64_FORMAT " bytes locked (%s); raise the limit",
                    container->name, what, container->pinned, limit);
        g_error_free(cause);
    } else if (g_error_matches(cause, VFM_SYSTEM_ERROR, ENOSPC)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                    "%s: %s: all %" G_GUINT64_FORMAT " mappings that the kernel allows are used", container->name, what,
                    container->mappings);
        g_error_free(cause);
    } else {
        g_propagate_prefixed_error(error, cause, "%s: %s: ", container->name, what);
    }
}

/* The way back of an attach: the newcomer's restrictions go, then the client widens again. */
static void forget_newcomer(VfmContainer *container, bool attached, uint64_t page, GError **error)
{
    Device *device = container->devices->pdata[container->devices->len - 1];
    g_autoptr(GError) second = NULL;

    if (attached)
        container->backend->ops->detach(container->backend, &device->backend);
    g_ptr_array_set_size(container->devices, (int)container->devices->len - 1);
    if (container->devices->len == 0) {
        g_array_unref(container->reach);
        g_array_unref(container->usable);
        container->reach = vfm_ranges_new_all();
        container->usable = vfm_ranges_new_all();
        container->page = host_page();
        container->budget = container->budget_cap;
        container->mappings = container->pinned = container->peer = container->uncharged = 0;
        return;
    }
    if (attached && !read_limits(container, &second))
        vfm_error_append(error, "the way back failed too: %s", second->message);
    /* Tried twice: if an unmap fails now, the narrower state would stay for no reason that lasts. */
    else if (!reshape(container, container->page != page, NULL) && !reshape(container, true, &second))
        vfm_error_append(error, "the way back failed too: %s", second->message);
}

/* Before the backend has taken it. */
static void drop_fd(Device *device)
{
    if (device->backend.fd >= 0)
        close(device->backend.fd);
}

bool vfm_container_attach(VfmContainer *container, const VfmContainerDevice *spec, bool *another, GError **error)
{
    bool first = container->devices->len == 0;
    uint64_t page = container->page;
    GError *cause = NULL;
    Device *device;

    if (another)
        *another = false;
    if (find_device(container, spec->name, NULL)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s: device %s is attached already", container->name,
                    spec->name);
        return false;
    }
    /* The backend gets a duplicate, so that the caller's descriptor outlives a failure after the kernel took it. */
    device = device_new(spec);
    if (spec->fd >= 0) {
        device->backend.fd = fcntl(spec->fd, F_DUPFD_CLOEXEC, 0);
        if (device->backend.fd < 0) {
            vfm_set_system_error(error, errno, "%s: can't attach %s: duplicating its descriptor", container->name,
                                 spec->name);
            device_free(device);
            return false;
        }
    }
    /* What we know of the newcomer is settled first: its conflicts with RAM refuse it, and what is not RAM
     * makes room, because the kernel refuses to attach a device over a mapping it can't have. */
    g_ptr_array_add(container->devices, device);
    if (!reshape(container, false, error)) {
        drop_fd(device);
        g_ptr_array_set_size(container->devices, (int)container->devices->len - 1);
        return false;
    }
    if (!container->backend->ops->attach(container->backend, &device->backend, &cause)) {
        g_autofree char *what = g_strdup_printf("can't attach %s", spec->name);

        if (another)
            *another = g_error_matches(cause, VFM_SYSTEM_ERROR, EINVAL) ||
                       g_error_matches(cause, VFM_SYSTEM_ERROR, EOPNOTSUPP);
        explain(container, what, error, cause);
        drop_fd(device);
        forget_newcomer(container, false, page, error);
        return false;
    }
    /* Now the kernel's own word on what is reachable counts as well. */
    if (!read_limits(container, error) || !reshape(container, !first && container->page != page, error) ||
        (first && !start(container, error))) {
        g_prefix_error(error, "can't attach %s: ", spec->name);
        forget_newcomer(container, true, page, error);
        return false;
    }
    if (spec->fd >= 0)
        close(spec->fd);
    return true;
}

bool vfm_container_detach(VfmContainer *container, const char *name, GError **error)
{
    unsigned index = 0;
    Device *device = find_device(container, name, &index);
    uint64_t page = container->page;

    if (!device) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "%s: there is no device %s", container->name, name);
        return false;
    }
    if (container->devices->len == 1) {
        stop(container);
        forget_newcomer(container, true, page, NULL);
        return true;
    }
    container->backend->ops->detach(container->backend, &device->backend);
    g_ptr_array_remove_index(container->devices, index);
    /* Wider than before, never narrower: nothing in here can be refused, only left out and listed. */
    read_limits(container, NULL);
    reshape(container, container->page != page, NULL);
    return true;
}

void vfm_container_usage(const VfmContainer *container, VfmContainerUsage *usage)
{
    *usage = (VfmContainerUsage){.mappings = container->mappings,
                                 .budget = lower(container->budget, container->refused_at),
                                 .pinned = container->pinned,
                                 .peer = container->peer,
                                 .anomalies = container->anomalies};
}

uint64_t vfm_container_left(const VfmContainer *container)
{
    if (!container->budget.set)
        return UINT64_MAX;
    return container->mappings < container->budget.value ? container->budget.value - container->mappings : 0;
}

static bool refuse_map(VfmContainer *container, const VfmMapping *mapping, GError **error, GError *cause)
{
    g_autofree char *what = g_strdup_printf("can't map %" G_GUINT64_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x",
                                            mapping->size, mapping->iova);

    if (!cause) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                    "%s: %s: the budget of %" G_GUINT64_FORMAT " mappings is used up", container->name, what,
                    container->budget.value);
        return false;
    }
    if (g_error_matches(cause, VFM_SYSTEM_ERROR, ENOSPC))
        container->refused_at = VFM_SOME(container->mappings);
    explain(container, what, error, cause);
    return false;
}

/* What is charged to nobody is still locked; the limit is meant for all of it. */
static bool exceeds_memlock(VfmContainer *container, const VfmMapping *mapping, GError **cause)
{
    VfmMaybe memlock = vfm_container_memlock(container);

    if (mapping->peer || !memlock.set ||
        (mapping->size <= memlock.value && container->pinned <= memlock.value - mapping->size))
        return false;
    vfm_set_system_error(cause, ENOMEM, "with what was locked by a process that is gone");
    return true;
}

bool vfm_container_map(VfmContainer *container, const VfmMapping *mapping, GError **error)
{
    GError *cause = NULL;

    if (G_UNLIKELY(container->budget.set && container->mappings >= container->budget.value))
        return refuse_map(container, mapping, error, NULL);
    if (G_UNLIKELY(container->uncharged && exceeds_memlock(container, mapping, &cause)))
        return refuse_map(container, mapping, error, cause);
    if (G_UNLIKELY(!container->backend->ops->map(container->backend, mapping, &cause)))
        return refuse_map(container, mapping, error, cause);
    container->mappings++;
    if (mapping->peer)
        container->peer += mapping->size;
    else
        container->pinned += mapping->size;
    return true;
}

bool vfm_container_unmap(VfmContainer *container, uint64_t iova, uint64_t size, uint64_t mappings, uint64_t bytes,
                         uint64_t peer_bytes, GError **error)
{
    uint64_t unmapped = 0;

    if (!container->backend->ops->unmap(container->backend, iova, size, &unmapped, error)) {
        g_prefix_error(error,
                       "%s: can't unmap %" G_GUINT64_FORMAT " bytes at 0x%" G_GINT64_MODIFIER "x: ", container->name,
                       size, iova);
        return false;
    }
    if (unmapped != bytes)
        container->anomalies++;
    container->mappings -= MIN(mappings, container->mappings);
    container->peer -= MIN(peer_bytes, container->peer);
    container->pinned -= MIN(bytes - peer_bytes, container->pinned);
    container->uncharged = MIN(container->uncharged, container->pinned);
    return true;
}

bool vfm_container_hold(const VfmContainer *container, const char *name, VfmDeviceHold *hold)
{
    const Device *device = find_device(container, name, NULL);

    if (device)
        *hold = (VfmDeviceHold){.fd = device->backend.fd, .device_fd = device->backend.device_fd};
    return device != NULL;
}

bool vfm_container_adopt(VfmContainer *container, const VfmContainerDevice *spec, const VfmDeviceHold *hold,
                         GError **error)
{
    Device *device;

    g_return_val_if_fail(!container->client, false);
    if (find_device(container, spec->name, NULL)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s: device %s is attached already", container->name,
                    spec->name);
        return false;
    }
    device = device_new(spec);
    device->backend.fd = hold->fd;
    device->backend.device_fd = hold->device_fd;
    if (!container->backend->ops->adopt(container->backend, &device->backend, error)) {
        g_prefix_error(error, "%s: ", container->name);
        device_free(device);
        return false;
    }
    g_ptr_array_add(container->devices, device);
    /* Nothing is mapped over what it can't reach: that was seen to when it was attached. */
    if (!read_limits(container, error) || !reshape(container, false, error)) {
        container->backend->ops->detach(container->backend, &device->backend);
        g_ptr_array_set_size(container->devices, (int)container->devices->len - 1);
        return false;
    }
    return true;
}

void vfm_container_adopt_client(VfmContainer *container, VfmContainerClient *client)
{
    g_return_if_fail(!container->client);
    container->client = client;
    container->started = container->devices->len > 0;
}

void vfm_container_adopt_mapping(VfmContainer *container, const VfmMapping *mapping)
{
    container->mappings++;
    if (mapping->peer)
        container->peer += mapping->size;
    else
        container->pinned += mapping->size;
    if (!mapping->peer && !container->backend->ops->claim(container->backend, mapping))
        container->uncharged += mapping->size;
}

bool vfm_container_clear(VfmContainer *container, uint64_t iova, uint64_t size, GError **error)
{
    uint64_t unmapped;

    if (container->backend->ops->unmap(container->backend, iova, size, &unmapped, error))
        return true;
    g_prefix_error(error, "%s: can't unmap what a process that is gone may have mapped at 0x%" G_GINT64_MODIFIER "x: ",
                   container->name, iova);
    return false;
}

bool vfm_container_verify(const VfmContainer *container, GError **error)
{
    VfmMaybe available = container->backend->ops->available(container->backend);
    g_autoptr(GArray) ranges = vfm_ranges_new();
    VfmBackendLimits limits = {.ranges = ranges};

    if (!available.set)
        return true;
    if (!container->backend->ops->limits(container->backend, &limits, error))
        return false;
    if (!limits.max_mappings.set || limits.max_mappings.value - container->mappings == available.value)
        return true;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                "%s: we count %" G_GUINT64_FORMAT " mappings and the kernel %" G_GUINT64_FORMAT, container->name,
                container->mappings, limits.max_mappings.value - available.value);
    return false;
}
