/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device_server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "device_context.h"
#include "devices_wire.h"
#include "log.h"
#include "vfio_device.h"

struct VfmDeviceServer {
    char *folder;
    int qemu_pid;
    VfmDevicesState *state;
    VfmDeviceContext *context;
    struct {
        VfmPciDevice *device;   /* NULL for a dead one */
        VfmVfuSession *session; /* NULL before QEMU connects */
    } served[VFM_DEVICE_SLOTS];
    int ended; /* eventfd: a session ended */
    VfmDeviceServerNotice notice;
    gpointer notice_data;
};

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

static VfmDeviceSlot *slot_of(const VfmDeviceServer *server, unsigned i)
{
    return &server->state->shared->slots[i];
}

/* Stores of a slot's content come before that of the stage from which on it counts, and after that of the one from
 * which on it does not. */
static void set_stage(VfmDeviceSlot *slot, VfmDeviceStage stage)
{
    __atomic_store_n(&slot->stage, stage, __ATOMIC_SEQ_CST);
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

static void stop_listening(VfmDeviceSlot *slot)
{
    int listener = slot->listener;

    slot->listener = -1;
    if (listener < 0)
        return;
    unlink(slot->path);
    close(listener);
}

static bool is_qemu(const VfmDeviceServer *server, int fd, const char *address)
{
    struct ucred peer = {0};
    socklen_t length = sizeof(peer);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.pid == server->qemu_pid)
        return true;
    vfm_log("%s: process %d is not this guest's QEMU and is not served", address, (int)peer.pid);
    return false;
}

/* --- devices come and go */

/* @why: QEMU has it no more, which is told; NULL: it was told to be lost, or nobody was told that it is there. */
static void leave(VfmDeviceServer *server, unsigned i, bool attached, const char *why)
{
    VfmDeviceSlot *slot = slot_of(server, i);

    set_stage(slot, VFM_DEVICE_LEAVING);
    /* First, so that a successor knows by what is still there that it may have to be told again. */
    if (why)
        tell(server, VFM_DEVICES_LEFT, slot->address, why);
    stop_listening(slot);
    g_clear_pointer(&server->served[i].session, vfm_vfu_session_free);
    g_clear_pointer(&server->served[i].device, vfm_pci_device_free);
    if (attached)
        vfm_device_context_detach(server->context, slot);
    set_stage(slot, VFM_DEVICE_NONE);
}

/* The slot of @address; VFM_DEVICE_SLOTS: none. */
static unsigned find(const VfmDeviceServer *server, const char *address)
{
    unsigned i = 0;

    while (i < VFM_DEVICE_SLOTS &&
           (slot_of(server, i)->stage == VFM_DEVICE_NONE || strcmp(slot_of(server, i)->address, address) != 0))
        i++;
    return i;
}

/* Whether QEMU closed its connection. If we did, over nonsense that it said, the guest has the device, dead, until
 * QEMU unplugs it, which we don't see then. */
static bool has_left(const VfmDeviceServer *server, unsigned i)
{
    return vfm_vfu_journal_state(server->state->journals[i])->left;
}

static void reap(VfmDeviceServer *server)
{
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        VfmVfuSession *session = server->served[i].session;

        if (!session || !vfm_vfu_session_ended(session))
            continue;
        leave(server, i, slot_of(server, i)->stage == VFM_DEVICE_SERVED, has_left(server, i) ? "QEMU hung up" : NULL);
    }
}

static bool begin(VfmDeviceServer *server, unsigned i, const char *address, GError **error)
{
    VfmDeviceSlot *slot = slot_of(server, i);
    VfmDevicesShared *shared = server->state->shared;

    slot->hold = (VfmDeviceHold){-1, -1};
    slot->listener = -1;
    if (g_strlcpy(slot->address, address, sizeof(slot->address)) >= sizeof(slot->address) ||
        (size_t)g_snprintf(slot->path, sizeof(slot->path), "%s/%u.sock", server->folder, shared->sockets++) >=
            sizeof(slot->path)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE,
                    "%s: the address, or the path of a socket in %s, is too long", address, server->folder);
        return false;
    }
    set_stage(slot, VFM_DEVICE_COMING);
    return true;
}

static bool serve(VfmDeviceServer *server, unsigned i, GError **error)
{
    VfmDeviceSlot *slot = slot_of(server, i);

    server->served[i].device =
        vfm_pci_device_new(slot->address, slot->hold.device_fd, vfm_device_context_dma(server->context), &slot->pci,
                           notice, server, error);
    if (!server->served[i].device)
        return false;
    slot->listener = listen_at(slot->path, error);
    return slot->listener >= 0;
}

const char *vfm_device_server_add(VfmDeviceServer *server, const char *address, GError **error)
{
    unsigned i;

    /* QEMU may add a device again as soon as it has seen it go, which is before we are told. */
    reap(server);
    /* Whoever asked before has lost the answer (a mediator's worker that was followed by another one). */
    if (vfm_device_server_waiting(server, address))
        return vfm_device_server_waiting(server, address);
    if (find(server, address) < VFM_DEVICE_SLOTS) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s is assigned to this guest already", address);
        return NULL;
    }
    for (i = 0; i < VFM_DEVICE_SLOTS && slot_of(server, i)->stage != VFM_DEVICE_NONE; i++)
        ;
    if (i == VFM_DEVICE_SLOTS) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "%s: a guest can have %d devices served at a time", address,
                    VFM_DEVICE_SLOTS);
        return NULL;
    }
    if (!begin(server, i, address, error))
        return NULL;
    if (!vfm_device_context_attach(server->context, slot_of(server, i), error)) {
        set_stage(slot_of(server, i), VFM_DEVICE_NONE);
        return NULL;
    }
    if (!serve(server, i, error)) {
        leave(server, i, true, NULL);
        return NULL;
    }
    set_stage(slot_of(server, i), VFM_DEVICE_SERVED);
    if (!vfm_pci_device_can_reset(server->served[i].device))
        vfm_log("%s: the kernel can't reset this device alone: it is not reset when the guest is", address);
    tell(server, VFM_DEVICES_SERVED, address, slot_of(server, i)->path);
    return slot_of(server, i)->path;
}

const char *vfm_device_server_waiting(const VfmDeviceServer *server, const char *address)
{
    unsigned i = find(server, address);

    return i < VFM_DEVICE_SLOTS && slot_of(server, i)->stage == VFM_DEVICE_SERVED && !server->served[i].session
               ? slot_of(server, i)->path
               : NULL;
}

bool vfm_device_server_forget(VfmDeviceServer *server, const char *path)
{
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        if (slot_of(server, i)->stage != VFM_DEVICE_SERVED || server->served[i].session ||
            strcmp(slot_of(server, i)->path, path) != 0)
            continue;
        leave(server, i, true, "QEMU did not take it");
        return true;
    }
    return false;
}

static void connected(VfmDeviceServer *server, unsigned i)
{
    VfmDeviceSlot *slot = slot_of(server, i);
    VfmDevicesShared *shared = server->state->shared;
    VfmVfuOffer offer = vfm_guest_dma_offer(vfm_device_context_dma(server->context));
    int fd;

    /* From here on a connected socket that is nobody's is this slot's: see vfm_devices_state_recover(). */
    __atomic_store_n(&shared->accepting, i + 1, __ATOMIC_SEQ_CST);
    fd = accept4(slot->listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd >= 0 && !is_qemu(server, fd, slot->address)) {
        close(fd);
        fd = -1;
    }
    if (fd >= 0) {
        server->served[i].session =
            vfm_vfu_session_new(server->state->journals[i], fd, vfm_pci_device_vfu(server->served[i].device), &offer);
        vfm_vfu_session_notify(server->served[i].session, server->ended);
    }
    __atomic_store_n(&shared->accepting, 0, __ATOMIC_SEQ_CST);
    if (fd >= 0)
        stop_listening(slot);
}

/* --- taking over */

/* What was on its way in or out is not there any more: its descriptors were nobody's. */
static void clear_halfway(VfmDeviceServer *server, unsigned i)
{
    VfmDeviceSlot *slot = slot_of(server, i);

    /* A dead one's socket was nobody's, too, should the predecessor have got no further: the number may be another's.
     */
    if (slot->stage == VFM_DEVICE_DEAD && slot->listener >= 0) {
        unlink(slot->path);
        slot->listener = -1;
    }
    if (slot->stage != VFM_DEVICE_COMING && slot->stage != VFM_DEVICE_LEAVING)
        return;
    if (vfm_device_slot_is_connected(server->state, i) ? has_left(server, i) : slot->listener >= 0)
        tell(server, VFM_DEVICES_LEFT, slot->address, "it was being detached");
    if (vfm_device_slot_is_connected(server->state, i))
        vfm_vfu_journal_clear(server->state->journals[i]);
    unlink(slot->path);
    slot->listener = -1;
    vfm_log("%s was being attached or detached and is detached now", slot->address);
    set_stage(slot, VFM_DEVICE_NONE);
}

/* Its connection goes on, with answers. One that QEMU did not reach yet must not wait there for an answer. */
static void tell_lost(VfmDeviceServer *server, unsigned i, const char *why)
{
    VfmDeviceSlot *slot = slot_of(server, i);

    stop_listening(slot);
    tell(server, VFM_DEVICES_LOST, slot->address, why);
    if (vfm_device_slot_is_connected(server->state, i))
        return;
    tell(server, VFM_DEVICES_LEFT, slot->address, "QEMU did not have it yet");
    set_stage(slot, VFM_DEVICE_NONE);
}

/* The device can't go on. */
static void lose(VfmDeviceServer *server, unsigned i, const char *why)
{
    VfmDeviceSlot *slot = slot_of(server, i);

    vfm_log("%s: lost: %s", slot->address, why);
    vfm_vfio_silence(slot->hold.device_fd);
    vfm_pci_vectors_forget(&slot->pci.vectors);
    set_stage(slot, VFM_DEVICE_DEAD);
    if (vfm_device_slot_is_connected(server->state, i))
        vfm_vfu_journal_set_fate(server->state->journals[i], VFM_VFU_LOST);
    tell_lost(server, i, why);
}

static void resume_device(VfmDeviceServer *server, unsigned i)
{
    VfmDeviceSlot *slot = slot_of(server, i);
    VfmVfuJournal *journal = server->state->journals[i];
    g_autoptr(GError) error = NULL;

    if (slot->stage == VFM_DEVICE_DEAD)
        tell_lost(server, i, "it could not be taken over from the process that served it");
    if (slot->stage != VFM_DEVICE_SERVED)
        return;
    /* Telling the device so has crashed as well. */
    if (vfm_vfu_journal_crashes(journal) >= 2 * VFM_VFU_CRASHES)
        vfm_vfio_silence(slot->hold.device_fd);
    server->served[i].device =
        vfm_pci_device_resume(slot->address, slot->hold.device_fd, vfm_device_context_dma(server->context), &slot->pci,
                              notice, server, &error);
    if (server->served[i].device) {
        bool held = vfm_pci_device_held(server->served[i].device);

        /* The predecessor may have died before it could; what was told already is not told on. */
        tell(server, VFM_DEVICES_SERVED, slot->address, slot->path);
        tell(server, held ? VFM_DEVICES_HELD : VFM_DEVICES_RELEASED, slot->address,
             held ? "kept from DMA: part of guest memory could not be mapped for it" : "may do DMA");
        return;
    }
    lose(server, i, error->message);
    vfm_device_context_detach(server->context, slot);
}

static void resume_connection(VfmDeviceServer *server, unsigned i)
{
    VfmDeviceSlot *slot = slot_of(server, i);
    VfmVfuJournal *journal = server->state->journals[i];
    VfmPciDevice *device = server->served[i].device;

    if (!vfm_device_slot_is_connected(server->state, i))
        return;
    /* Accepted, and no more. */
    if (vfm_vfu_journal_offer(journal)->page_sizes == 0 && device) {
        VfmVfuOffer offer = vfm_guest_dma_offer(vfm_device_context_dma(server->context));

        if (!is_qemu(server, vfm_vfu_journal_socket(journal), slot->address)) {
            vfm_vfu_journal_clear(journal);
            return;
        }
        vfm_vfu_journal_set_offer(journal, &offer);
    }
    stop_listening(slot);
    server->served[i].session = vfm_vfu_session_resume(journal, device ? vfm_pci_device_vfu(device) : NULL);
    vfm_vfu_session_notify(server->served[i].session, server->ended);
}

static void resume(VfmDeviceServer *server)
{
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        clear_halfway(server, i);
    if (!vfm_device_context_resume(server->context, &error)) {
        for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
            if (slot_of(server, i)->stage == VFM_DEVICE_SERVED)
                lose(server, i, error->message);
        vfm_devices_state_sweep(server->state);
    }
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        resume_device(server, i);
    vfm_device_context_resumed(server->context);
    server->ended = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        resume_connection(server, i);
}

VfmDeviceServer *vfm_device_server_new(const VfmDeviceServerOptions *options)
{
    VfmDeviceServer *server = g_new0(VfmDeviceServer, 1);

    server->folder = g_strdup(options->folder);
    server->qemu_pid = options->qemu_pid;
    server->state = options->state;
    server->notice = options->notice;
    server->notice_data = options->notice_data;
    server->context = vfm_device_context_new(options->policy, options->state);
    resume(server);
    return server;
}

void vfm_device_server_watch(VfmDeviceServer *server, GArray *pollfds)
{
    struct pollfd slot = {.fd = server->ended, .events = POLLIN};

    g_array_append_val(pollfds, slot);
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        slot.fd = slot_of(server, i)->listener;
        if (slot.fd >= 0 && slot_of(server, i)->stage == VFM_DEVICE_SERVED)
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
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        if (slot_of(server, i)->stage == VFM_DEVICE_SERVED && slot_of(server, i)->listener == fd) {
            connected(server, i);
            return true;
        }
    }
    return false;
}

char *vfm_device_server_status(VfmDeviceServer *server)
{
    g_autoptr(GString) out = g_string_new("{\"owner\":\"helper\",\"backend\":");
    VfmContainerUsage usage;
    VfmGuestDmaUsage dma;
    const char *separator = "";

    vfm_device_context_usage(server->context, &usage, &dma);
    g_string_append_printf(out, "\"%s\",\"mappings\":%" G_GUINT64_FORMAT ",\"budget\":",
                           vfm_device_context_is_iommufd(server->context) ? "iommufd" : "type1", usage.mappings);
    if (usage.budget.set)
        g_string_append_printf(out, "%" G_GUINT64_FORMAT, usage.budget.value);
    else
        g_string_append(out, "null");
    g_string_append_printf(out,
                           ",\"pinned\":%" G_GUINT64_FORMAT ",\"pinned-total\":%" G_GUINT64_FORMAT
                           ",\"unmappable\":%" G_GUINT64_FORMAT ",\"restarts\":%u,\"devices\":[",
                           usage.pinned, dma.pinned_total, dma.skipped, server->state->shared->restarts);
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        const VfmDeviceSlot *slot = slot_of(server, i);
        VfmPciDevice *device = server->served[i].device;

        if (slot->stage == VFM_DEVICE_NONE)
            continue;
        g_string_append_printf(out, "%s{\"address\":\"%s\",\"socket\":\"%s\",\"connected\":%s,\"held\":%s}", separator,
                               slot->address, slot->path, server->served[i].session ? "true" : "false",
                               device && vfm_pci_device_held(device) ? "true" : "false");
        separator = ",";
    }
    g_string_append(out, "]}");
    return g_string_free(g_steal_pointer(&out), false);
}

void vfm_device_server_cut(VfmDeviceServer *server)
{
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        if (server->served[i].session)
            vfm_vfu_session_cut(server->served[i].session);
}

void vfm_device_server_free(VfmDeviceServer *server)
{
    if (!server)
        return;
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        if (slot_of(server, i)->stage != VFM_DEVICE_NONE)
            leave(server, i, slot_of(server, i)->stage == VFM_DEVICE_SERVED, NULL);
    g_clear_pointer(&server->context, vfm_device_context_free);
    close(server->ended);
    g_free(server->folder);
    g_free(server);
}
