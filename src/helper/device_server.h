/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device_server.h - the devices of one guest: assigned here, mapped here, served to QEMU.
 *
 * Owns the DMA context that all devices of the guest share (device_context.h), and for each device its private
 * listening socket and, once QEMU has connected, its session. A socket lives in a folder that only
 * QEMU's user can enter, accepts one connection, from QEMU's process only, and is gone
 * from the folder then. A device that leaves (QEMU hung up) is reset, detached and free
 * for others.
 *
 * What it has stands in a state that outlives its process (devices_state.h): one that is made on the state of a
 * predecessor that died goes on where that was. QEMU notices a short delay.
 *
 * Threads: one, which is the caller's; sessions have their own and only meet it in guest_dma's lock.
 */
#pragma once

#include "guest_dma.h"

typedef struct VfmDeviceServer VfmDeviceServer;
typedef struct VfmDevicesState VfmDevicesState;

/* Something happened to a device: @action and what @text is are those of devices_wire.h. From any thread. */
typedef void (*VfmDeviceServerNotice)(const char *action, const char *device, const char *text, gpointer data);

typedef struct {
    const char *folder;           /* for sockets: exists, private */
    int qemu_pid;                 /* the only peer that is served */
    const VfmPolicy *policy;      /* backend, budget, windows */
    VfmDevicesState *state;       /* borrowed; recovered */
    VfmDeviceServerNotice notice; /* may be NULL */
    gpointer notice_data;
} VfmDeviceServerOptions;

/* The options are copied but for the state. Never fails: the kernel is asked with the first device, and a
 * predecessor's device that can't be taken over is lost: silenced, detached, its connection answered with errors. */
VfmDeviceServer *vfm_device_server_new(const VfmDeviceServerOptions *options);

/* QEMU is known to be dead: its connections are cut, so that whoever else has its ends of them (a child that it forked)
 * keeps nobody waiting. */
void vfm_device_server_cut(VfmDeviceServer *server);

/* Ends all sessions, unmaps and detaches everything, removes the sockets. */
void vfm_device_server_free(VfmDeviceServer *server);

/* Opens the device and attaches it. Returns the path of its socket, borrowed for as long as the device is there; one
 * that waits for QEMU already is the answer, too. Errors: VFM_INPUT_CONFLICT if QEMU has it already; those of
 * vfio_device.h and vfm_container_attach(). */
const char *vfm_device_server_add(VfmDeviceServer *server, const char *address, GError **error);

/* The path of a device that waits for QEMU; NULL: there is none. */
const char *vfm_device_server_waiting(const VfmDeviceServer *server, const char *address);

/* Gives a device back that QEMU never connected to. False: there is none at @path, or it is in use. */
bool vfm_device_server_forget(VfmDeviceServer *server, const char *path);

/* Descriptors to poll for reading: appended to @pollfds (of struct pollfd). */
void vfm_device_server_watch(VfmDeviceServer *server, GArray *pollfds);
/* One of them is readable. False: it is not ours. */
bool vfm_device_server_ready(VfmDeviceServer *server, int fd);

/* What is mapped, as one JSON object in one line; docs/monitor-commands.md has its members. To be freed. */
char *vfm_device_server_status(VfmDeviceServer *server);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDeviceServer, vfm_device_server_free)
