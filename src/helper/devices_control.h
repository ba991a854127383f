/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_control.h - the mapping process's end of the socket to the mediator (devices_wire.h).
 *
 * Answers requests by way of a device server, and tells events. What has to be known of earlier requests is plain
 * memory, so that it can lie (at the same address) where it outlives its process, and so is what is being answered: no
 * request is lost, and none answered twice, if that dies at any instruction. Threads: requests one; events any.
 */
#pragma once

#include "device_server.h"
#include "devices_wire.h"
#include "fdpass.h"

enum { VFM_DEVICES_PACKET_MAX = 4096 };

typedef struct {
    uint64_t added;   /* number of the last add; 0: none yet */
    char reply[1024]; /* and its answer */
    char socket[128]; /* where it is served; "": it failed, or was forgotten */
    /* The packet that is being dealt with, line by line. */
    uint32_t length;   /* 0: none */
    uint32_t at;       /* the line that is to be answered next */
    uint32_t begun;    /* 1 and the line that is being carried out */
    uint32_t tries;    /* how often */
    uint32_t answered; /* 1 and the line that @answer is for */
    uint32_t answer_length;
    uint32_t sending; /* 1 and the line whose answer is being sent */
    volatile uint32_t receiving;
    uint32_t ended; /* the mediator is gone */
    VfmTransfer receive, send;
    char packet[VFM_DEVICES_PACKET_MAX + 1];
    char answer[VFM_DEVICES_LINE_MAX];
} VfmDevicesControl;

/* After the process that had it died: finishes its last transfer. */
void vfm_devices_control_recover(VfmDevicesControl *control);

/* Whether something is to be answered already, without anything new on the socket; no more when the mediator is gone.
 */
bool vfm_devices_control_pending(const VfmDevicesControl *control);

/* Whether an answer is there for which the socket had no room, as the mediator does not read: to be served when it has.
 * Nothing else is taken from it until then. */
bool vfm_devices_control_waits(const VfmDevicesControl *control);

/* Takes one packet from @socket, if there is none yet, and answers it as far as the socket takes answers; never waits.
 * What a predecessor had begun to attach was detached meanwhile and is answered with an error; all else is carried out
 * again. False: the mediator is gone. */
bool vfm_devices_control_serve(VfmDevicesControl *control, int socket, VfmDeviceServer *server);

/* Tells @action (devices_wire.h) of @device (NULL: none). Never waits; -1: nobody listens. */
void vfm_devices_control_tell(int socket, const char *action, const char *device, const char *text);
