/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend_iommufd.h"
#include "backend_type1.h"
#include "devices_wire.h"
#include "host_read.h"
#include "log.h"
#include "pci_device.h"
#include "vfio_device.h"

typedef struct {
    char *address;
    char *path;   /* of the socket */
    int listener; /* -1 once QEMU has connected */
    VfmPciDevice *device;
    VfmVfuJournal *journal; /* the session's */
    VfmVfuSession *session; /* NULL before */
} Served;

struct VfmDeviceServer {
    char *folder;
    int qemu_pid;
    VfmBackendKind wanted;
    VfmMaybe budget;
    GArray *windows;

    VfmHost *host;
    bool iommufd;            /* what the container is */
    VfmContainer *container; /* NULL before the first device */
    VfmGuestDma *dma;
    GPtrArray *served;  /* of Served* */
    GHashTable *groups; /* number -> descriptor: a group can be opened once */
    int ended;          /* eventfd: a session ended */
    unsigned sockets;   /* so far, for names */
    VfmDeviceServerNotice notice;
    gpointer notice_data;
};

VfmDeviceServer *vfm_device_server_new(const VfmDeviceServerOptions *options)
{
    VfmDeviceServer *server = g_new0(VfmDeviceServer, 1);
    g_autoptr(GError) error = NULL;

    server->folder = g_strdup(options->folder);
    server->qemu_pid = options->qemu_pid;
    server->notice = options->notice;
    server->notice_data = options->notice_data;
    server->wanted = options->policy->backend;
    server->budget = options->policy->budget_mappings;
    if (options->policy->windows && options->policy->windows->len) {
        server->windows = vfm_ranges_new();
        for (unsigned i = 0; i < options->policy->windows->len; i++) {
            const VfmWindow *window = &g_array_index(options->policy->windows, VfmWindow, i);

            vfm_ranges_add(server->windows, window->start, window->start + (window->size - 1));
        }
    }
    server->host = vfm_host_read("/", &error);
    if (!server->host)
        vfm_log("reserved regions of devices are not known: %s", error->message);
    server->served = g_ptr_array_new();
    server->groups = g_hash_table_new(NULL, NULL);
    server->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return server;
}

static void tell(const VfmDeviceServer *server, const char *action, const char *device, const char *text)
{
    if (server->notice)
        server->notice(action, device, text, server->notice_data);
}

static void notice(VfmPciNotice kind, const char *device, const char *text, gpointer data)
{
    static const char *const actions[] = {
        [VFM_PCI_HELD] = VFM_DEVICES_HELD,
        [VFM_PCI_RELEASED] = VFM_DEVICES_RELEASED,
        [VFM_PCI_FAILED] = VFM_DEVICES_FAILED,
        [VFM_PCI_LOST] = VFM_DEVICES_LOST,
    };

    vfm_log("%s: %s", device, text);
    tell(data, actions[kind], device, text);
}

/* --- the container */

static bool open_type1(VfmDeviceServer *server, GError **error)
{
    int fd = vfm_vfio_open_container(error);
    VfmBackend *backend = fd < 0 ? NULL : vfm_backend_type1_new(fd, error);

    if (!backend) {
        if (fd >= 0)
            close(fd);
        return false;
    }
    server->iommufd = false;
    server->container = vfm_container_new("container 0", backend, server->budget);
    return true;
}

static bool open_iommufd(VfmDeviceServer *server, GError **error)
{
    int fd = vfm_vfio_open_iommufd(error);
    VfmBackend *backend;

    if (fd < 0)
        return false;
    /* Counting per process, as type1 does, is a privilege; without it the user's processes share one count. */
    backend = vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_PROCESS, NULL);
    if (!backend)
        backend = vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_USER, error);
    if (!backend) {
        close(fd);
        return false;
    }
    server->iommufd = true;
    server->container = vfm_container_new("container 0", backend, server->budget);
    return true;
}

static bool need_container(VfmDeviceServer *server, GError **error)
{
    if (server->container)
        return true;
    if (server->wanted == VFM_BACKEND_IOMMUFD) {
        if (!open_iommufd(server, error))
            return false;
    } else if (!open_type1(server, server->wanted == VFM_BACKEND_TYPE1 ? error : NULL)) {
        if (server->wanted == VFM_BACKEND_TYPE1 || !open_iommufd(server, error))
            return false;
    }
    server->dma = vfm_guest_dma_new(server->container, server->windows);
    return true;
}

/* The descriptor that the backend wants for @address; the caller's. */
static int open_device(VfmDeviceServer *server, const char *address, GError **error)
{
    VfmVfioPlace place;
    int fd;

    if (!vfm_vfio_find("/sys", address, &place, error))
        return -1;
    if (server->iommufd) {
        if (!place.cdev[0]) {
            g_set_error(
                error, VFM_REFUSED, VFM_REFUSED_STATE,
                "%s has no VFIO character device: bind it to vfio-pci (managed='yes'), or choose backend='type1'",
                address);
            return -1;
        }
        return vfm_vfio_open_cdev(place.cdev, error);
    }
    fd = GPOINTER_TO_INT(g_hash_table_lookup(server->groups, GINT_TO_POINTER(place.group)));
    if (!fd) {
        fd = vfm_vfio_open_group(place.group, error);
        if (fd < 0)
            return -1;
        g_hash_table_insert(server->groups, GINT_TO_POINTER(place.group), GINT_TO_POINTER(fd));
    }
    fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        vfm_set_system_error(error, errno, "%s: duplicating its group's descriptor failed", address);
    return fd;
}

/* Closes the groups that no served device is in: only then others can have them. */
static void close_idle_groups(VfmDeviceServer *server)
{
    GHashTableIter iter;
    gpointer group, fd;

    g_hash_table_iter_init(&iter, server->groups);
    while (g_hash_table_iter_next(&iter, &group, &fd)) {
        bool used = false;

        for (unsigned i = 0; i < server->served->len && !used; i++) {
            const Served *served = server->served->pdata[i];
            VfmVfioPlace place;

            used = vfm_vfio_find("/sys", served->address, &place, NULL) && place.group == GPOINTER_TO_INT(group);
        }
        if (!used) {
            close(GPOINTER_TO_INT(fd));
            g_hash_table_iter_remove(&iter);
        }
    }
}

static bool attach(VfmDeviceServer *server, const char *address, GError **error)
{
    const VfmIommuGroup *group = server->host ? vfm_host_find_group(server->host, address) : NULL;
    VfmContainerDevice device = {.name = address,
                                 .fd = open_device(server, address, error),
                                 .reserved = group && group->reserved_known ? group->reserved : NULL};
    bool done;

    if (device.fd < 0)
        return false;
    vfm_guest_dma_lock(server->dma);
    done = vfm_container_attach(server->container, &device, NULL, error);
    vfm_guest_dma_unlock(server->dma);
    if (!done)
        close(device.fd);
    return done;
}

static void detach(VfmDeviceServer *server, const char *address)
{
    g_autoptr(GError) error = NULL;

    vfm_guest_dma_lock(server->dma);
    if (!vfm_container_detach(server->container, address, &error))
        vfm_log("%s: %s", address, error->message);
    vfm_guest_dma_unlock(server->dma);
}

/* --- sockets */

static int listen_at(const char *path, GError **error)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = -1;

    if (strlen(path) >= sizeof(address.sun_path)) {
        vfm_set_system_error(error, ENAMETOOLONG, "%s", path);
        return -1;
    }
    strcpy(address.sun_path, path);
    unlink(path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || chmod(path, 0600) < 0 ||
        listen(fd, 1) < 0) {
        vfm_set_system_error(error, errno, "listening at %s failed", path);
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

static void stop_listening(Served *served)
{
    if (served->listener < 0)
        return;
    close(served->listener);
    served->listener = -1;
    unlink(served->path);
}

static void served_free(VfmDeviceServer *server, Served *served)
{
    stop_listening(served);
    g_clear_pointer(&served->session, vfm_vfu_session_free);
    g_clear_pointer(&served->journal, vfm_vfu_journal_free);
    g_clear_pointer(&served->device, vfm_pci_device_free);
    detach(server, served->address);
    g_free(served->address);
    g_free(served->path);
    g_free(served);
}

static Served *find(VfmDeviceServer *server, const char *address)
{
    for (unsigned i = 0; i < server->served->len; i++) {
        Served *served = server->served->pdata[i];

        if (strcmp(served->address, address) == 0)
            return served;
    }
    return NULL;
}

static void reap(VfmDeviceServer *server)
{
    for (unsigned i = server->served->len; i-- > 0;) {
        Served *served = server->served->pdata[i];

        if (!served->session || !vfm_vfu_session_ended(served->session))
            continue;
        g_ptr_array_remove_index(server->served, i);
        tell(server, VFM_DEVICES_LEFT, served->address, "QEMU hung up");
        served_free(server, served);
    }
    close_idle_groups(server);
}

const char *vfm_device_server_add(VfmDeviceServer *server, const char *address, GError **error)
{
    Served *served;
    int fd;

    /* QEMU may add a device again as soon as it has seen it go, which is before we are told. */
    reap(server);
    served = find(server, address);
    /* Whoever asked before has lost the answer (a mediator's worker that was followed by another one). */
    if (served && !served->session)
        return served->path;
    if (served) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s is assigned to this guest already", address);
        return NULL;
    }
    if (!need_container(server, error) || !attach(server, address, error))
        return NULL;
    served = g_new0(Served, 1);
    served->address = g_strdup(address);
    served->path = g_strdup_printf("%s/%u.sock", server->folder, server->sockets++);
    served->listener = -1;
    vfm_guest_dma_lock(server->dma);
    fd = vfm_container_device_fd(server->container, address);
    vfm_guest_dma_unlock(server->dma);
    served->journal = vfm_vfu_journal_new(error);
    if (served->journal)
        served->device = vfm_pci_device_new(address, fd, server->dma, NULL, notice, server, error);
    if (served->device)
        served->listener = listen_at(served->path, error);
    if (served->listener < 0) {
        served_free(server, served);
        return NULL;
    }
    g_ptr_array_add(server->served, served);
    tell(server, VFM_DEVICES_SERVED, address, served->path);
    return served->path;
}

bool vfm_device_server_forget(VfmDeviceServer *server, const char *path)
{
    for (unsigned i = 0; i < server->served->len; i++) {
        Served *served = server->served->pdata[i];

        if (strcmp(served->path, path) != 0 || served->session)
            continue;
        g_ptr_array_remove_index(server->served, i);
        tell(server, VFM_DEVICES_LEFT, served->address, "QEMU did not take it");
        served_free(server, served);
        close_idle_groups(server);
        return true;
    }
    return false;
}

/* What QEMU may hold by its own count. iommufd has no limit: 0 switches the check off. */
static VfmVfuOffer offer_of(VfmDeviceServer *server)
{
    VfmContainerUsage usage;
    VfmVfuOffer offer = {0};

    vfm_guest_dma_lock(server->dma);
    vfm_container_usage(server->container, &usage);
    offer.page_sizes = vfm_container_page(server->container);
    vfm_guest_dma_unlock(server->dma);
    if (usage.budget.set)
        offer.max_dma_maps = MIN(usage.budget.value, 65535);
    return offer;
}

static void connected(VfmDeviceServer *server, Served *served)
{
    VfmVfuOffer offer = offer_of(server);
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);
    int fd = accept4(served->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0)
        return;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.pid != server->qemu_pid) {
        vfm_log("%s: process %d is not this guest's QEMU and is not served", served->address, (int)peer.pid);
        close(fd);
        return;
    }
    stop_listening(served);
    served->session = vfm_vfu_session_new(served->journal, fd, vfm_pci_device_vfu(served->device), &offer);
    vfm_vfu_session_notify(served->session, server->ended);
}

void vfm_device_server_watch(VfmDeviceServer *server, GArray *pollfds)
{
    struct pollfd slot = {.fd = server->ended, .events = POLLIN};

    g_array_append_val(pollfds, slot);
    for (unsigned i = 0; i < server->served->len; i++) {
        slot.fd = ((const Served *)server->served->pdata[i])->listener;
        if (slot.fd >= 0)
            g_array_append_val(pollfds, slot);
    }
}

bool vfm_device_server_ready(VfmDeviceServer *server, int fd)
{
    if (fd == server->ended) {
        uint64_t count;

        if (read(fd, &count, sizeof(count)) == sizeof(count))
            reap(server);
        return true;
    }
    for (unsigned i = 0; i < server->served->len; i++) {
        Served *served = server->served->pdata[i];

        if (served->listener == fd) {
            connected(server, served);
            return true;
        }
    }
    return false;
}

char *vfm_device_server_status(VfmDeviceServer *server)
{
    g_autoptr(GString) out = g_string_new("{\"owner\":\"helper\",\"backend\":");
    VfmContainerUsage usage = {0};
    VfmGuestDmaUsage dma = {0};

    if (server->container) {
        vfm_guest_dma_usage(server->dma, &dma);
        vfm_guest_dma_lock(server->dma);
        vfm_container_usage(server->container, &usage);
        vfm_guest_dma_unlock(server->dma);
    }
    g_string_append_printf(out, "\"%s\",\"mappings\":%" G_GUINT64_FORMAT ",\"budget\":",
                           server->iommufd ? "iommufd" : "type1", usage.mappings);
    if (usage.budget.set)
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, usage.budget.value);
    else
        g_string_append(out, "null");
    g_string_append_printf(out,
                           ",\"pinned\":%" G_GUINT64_FORMAT ",\"pinned-total\":%" G_GUINT64_FORMAT
                           ",\"unmappable\":%" G_GUINT64_FORMAT ",\"devices\":[",
                           usage.pinned, dma.pinned_total, dma.skipped);
    for (unsigned i = 0; i < server->served->len; i++) {
        const Served *served = server->served->pdata[i];

        g_string_append_printf(out, "%s{\"address\":\"%s\",\"socket\":\"%s\",\"connected\":%s,\"held\":%s}",
                               i ? "," : "", served->address, served->path, served->session ? "true" : "false",
                               vfm_pci_device_held(served->device) ? "true" : "false");
    }
    g_string_append(out, "]}");
    return g_string_free(g_steal_pointer(&out), false);
}

unsigned vfm_device_server_devices(const VfmDeviceServer *server)
{
    return server->served->len;
}

void vfm_device_server_free(VfmDeviceServer *server)
{
    if (!server)
        return;
    while (server->served->len > 0)
        served_free(server, g_ptr_array_steal_index(server->served, server->served->len - 1));
    close_idle_groups(server);
    g_clear_pointer(&server->dma, vfm_guest_dma_free);
    g_clear_pointer(&server->container, vfm_container_free);
    g_clear_pointer(&server->host, vfm_host_free);
    g_clear_pointer(&server->windows, g_array_unref);
    g_ptr_array_unref(server->served);
    g_hash_table_unref(server->groups);
    close(server->ended);
    g_free(server->folder);
    g_free(server);
}
