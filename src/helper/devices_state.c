/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices_state.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend_adopt.h"
#include "descriptors.h"
#include "log.h"
#include "vfio_device.h"

VfmDevicesState *vfm_devices_state_new(int ready, GError **error)
{
    g_autoptr(VfmDevicesState) state = g_new0(VfmDevicesState, 1);
    void *shared =
        mmap(NULL, sizeof(*state->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    state->start = g_array_new(false, false, sizeof(int));
    vfm_descriptors_open(state->start);
    state->ready = ready;
    for (unsigned i = 0; i < state->start->len; i++)
        if (g_array_index(state->start, int, i) == ready)
            g_array_remove_index_fast(state->start, i--);
    if (shared == MAP_FAILED) {
        vfm_set_system_error(error, errno, "no memory for what survives a crash");
        return NULL;
    }
    state->shared = shared;
    state->ledger = vfm_dma_ledger_new(NULL, error);
    if (!state->ledger)
        return NULL;
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        state->shared->slots[i].listener = -1;
        state->journals[i] = vfm_vfu_journal_new(error);
        if (!state->journals[i])
            return NULL;
    }
    return g_steal_pointer(&state);
}

void vfm_devices_state_free(VfmDevicesState *state)
{
    if (!state)
        return;
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        vfm_vfu_journal_free(state->journals[i]);
    vfm_dma_ledger_free(state->ledger);
    g_array_unref(state->start);
    if (state->shared)
        munmap(state->shared, sizeof(*state->shared));
    g_free(state);
}

bool vfm_device_slot_is_connected(const VfmDevicesState *state, unsigned slot)
{
    return vfm_vfu_journal_state(state->journals[slot])->phase != VFM_VFU_UNUSED;
}

/* All that is somebody's. */
static GArray *owned(const VfmDevicesState *state)
{
    GArray *fds = g_array_new(false, false, sizeof(int));
    const VfmDevicesShared *shared = state->shared;

    g_array_append_vals(fds, state->start->data, state->start->len);
    if (!shared->started)
        g_array_append_val(fds, state->ready);
    vfm_dma_ledger_descriptors(state->ledger, fds);
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        const VfmDeviceSlot *slot = &shared->slots[i];

        vfm_vfu_journal_descriptors(state->journals[i], fds);
        if (slot->stage != VFM_DEVICE_SERVED)
            continue;
        g_array_append_val(fds, shared->context.fd);
        g_array_append_val(fds, slot->hold.fd);
        g_array_append_val(fds, slot->hold.device_fd);
        g_array_append_val(fds, slot->listener);
        vfm_pci_vectors_descriptors(&slot->pci.vectors, fds);
    }
    return fds;
}

void vfm_devices_state_sweep(const VfmDevicesState *state)
{
    g_autoptr(GArray) fds = owned(state);

    vfm_descriptors_close_others(fds);
}

/* The connection that the predecessor accepted and did not note: a connected socket that is nobody's. */
static int find_accepted(const VfmDevicesState *state)
{
    g_autoptr(GArray) fds = owned(state), open = g_array_new(false, false, sizeof(int));
    g_autoptr(GHashTable) known = g_hash_table_new(NULL, NULL);

    vfm_descriptors_open(open);
    for (unsigned i = 0; i < fds->len; i++)
        g_hash_table_add(known, GINT_TO_POINTER(g_array_index(fds, int, i)));
    for (unsigned i = 0; i < open->len; i++) {
        int fd = g_array_index(open, int, i), listening = 1;
        socklen_t length = sizeof(listening);

        if (!g_hash_table_contains(known, GINT_TO_POINTER(fd)) &&
            getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &length) == 0 && !listening)
            return fd;
    }
    return -1;
}

void vfm_devices_state_recover(VfmDevicesState *state)
{
    VfmDevicesShared *shared = state->shared;
    int accepted = -1;

    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        vfm_vfu_journal_recover(state->journals[i]);
    vfm_devices_control_recover(&shared->control);
    if (shared->accepting && !vfm_device_slot_is_connected(state, shared->accepting - 1))
        accepted = find_accepted(state);
    /* What it may offer is known later: vfm_device_server_new() takes it up. */
    if (accepted >= 0)
        vfm_vfu_journal_open(state->journals[shared->accepting - 1], accepted, &(VfmVfuOffer){0});
    shared->accepting = 0;
    vfm_devices_state_sweep(state);
}

void vfm_devices_state_give_up(const VfmDevicesState *state)
{
    const VfmDevicesShared *shared = state->shared;
    VfmBackend *backend = vfm_backend_adopt(&shared->context, NULL);

    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++) {
        const VfmDeviceSlot *slot = &shared->slots[i];
        VfmBackendDevice device = {.name = slot->address, .fd = slot->hold.fd, .device_fd = slot->hold.device_fd};

        if (slot->stage != VFM_DEVICE_SERVED)
            continue;
        vfm_vfio_silence(slot->hold.device_fd);
        /* A context without a device is nothing to the kernel, and nothing would be unmapped. */
        if (backend)
            backend->ops->adopt(backend, &device, NULL);
    }
    /* QEMU has descriptors of the devices, too, which keep what is mapped. */
    if (backend) {
        uint64_t half = UINT64_C(1) << 63, unmapped;

        backend->ops->unmap(backend, 0, half, &unmapped, NULL);
        backend->ops->unmap(backend, half, half, &unmapped, NULL);
    }
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        if (shared->slots[i].stage != VFM_DEVICE_NONE)
            unlink(shared->slots[i].path);
    /* A connection that ends without an answer to its first message can end QEMU. */
    for (unsigned i = 0; i < VFM_DEVICE_SLOTS; i++)
        if (vfm_device_slot_is_connected(state, i))
            vfm_vfu_journal_refuse(state->journals[i]);
}
