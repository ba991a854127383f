/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_control.h - the mapping process's end of the socket to the mediator (devices_wire.h).
 *
 * Answers requests by way of a device server, and tells events. What has to be known of earlier requests is plain
 * memory without pointers, so that it can lie where it outlives its process. Threads: requests one; events any.
 */
#pragma once

#include "device_server.h"
#include "devices_wire.h"

typedef struct {
    uint64_t added;   /* number of the last add; 0: none yet */
    char reply[1024]; /* and its answer */
    char socket[128]; /* where it is served; "": it failed, or was forgotten */
} VfmDevicesControl;

/* Takes one packet from @socket and answers it. False: the mediator is gone. */
bool vfm_devices_control_serve(VfmDevicesControl *control, int socket, VfmDeviceServer *server);

/* Tells @action (devices_wire.h) of @device (NULL: none). Never waits; -1: nobody listens. */
void vfm_devices_control_tell(int socket, const char *action, const char *device, const char *text);
