/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device_server.h - the devices of one guest: assigned here, mapped here, served to QEMU.
 *
 * Owns the container that all devices of the guest share, the guest's one set of
 * mappings (guest_dma.h), and for each device its descriptor, its private listening socket
 * and, once QEMU has connected, its session. A socket lives in a folder that only
 * QEMU's user can enter, accepts one connection, from QEMU's process only, and is gone
 * from the folder then. A device that leaves (QEMU hung up) is reset, detached and free
 * for others.
 *
 * Never asks for more than QEMU has: it runs as QEMU's user with QEMU's limits,
 * and opens the files that QEMU would open.
 *
 * Threads: one, which is the caller's; sessions have their own and only meet it in guest_dma's lock.
 */
#pragma once

#include "guest_dma.h"

typedef struct VfmDeviceServer VfmDeviceServer;

/* Something happened to a device: @action and what @text is are those of devices_wire.h. From any thread. */
typedef void (*VfmDeviceServerNotice)(const char *action, const char *device, const char *text, gpointer data);

typedef struct {
    const char *folder;           /* for sockets: exists, private */
    int qemu_pid;                 /* the only peer that is served */
    const VfmPolicy *policy;      /* backend, budget, windows */
    VfmDeviceServerNotice notice; /* may be NULL */
    gpointer notice_data;
} VfmDeviceServerOptions;

/* The options are copied. Never fails: the kernel is asked with the first device. */
VfmDeviceServer *vfm_device_server_new(const VfmDeviceServerOptions *options);

/* Ends all sessions, unmaps and detaches everything, removes the sockets. */
void vfm_device_server_free(VfmDeviceServer *server);

/* Opens the device and attaches it. Returns the path of its socket, borrowed for as long as the device is there; one
 * that waits for QEMU already is the answer, too. Errors: VFM_INPUT_CONFLICT if QEMU has it already; those of vfio_device.h and vfm_container_attach(). */
const char *vfm_device_server_add(VfmDeviceServer *server, const char *address, GError **error);

/* Gives a device back that QEMU never connected to. False: there is none at @path, or it is in use. */
bool vfm_device_server_forget(VfmDeviceServer *server, const char *path);

/* Descriptors to poll for reading: appended to @pollfds (of struct pollfd). */
void vfm_device_server_watch(VfmDeviceServer *server, GArray *pollfds);
/* One of them is readable. False: it is not ours. */
bool vfm_device_server_ready(VfmDeviceServer *server, int fd);

/* What is mapped, as one JSON object in one line; docs/monitor-commands.md has its members. To be freed. */
char *vfm_device_server_status(VfmDeviceServer *server);

unsigned vfm_device_server_devices(const VfmDeviceServer *server);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDeviceServer, vfm_device_server_free)
