/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_command.h - one vfio-user command: checked, carried out, answered.
 *
 * A target is a device as it described itself when the session began; every
 * command is held against that. Only the session's executing thread uses it.
 *
 * A command that is wrong or fails is answered with an errno, and the connection goes on.
 */
#pragma once

#include "vfu_message.h"
#include "vfu_session.h"

typedef struct {
    GByteArray *info; /* struct vfio_region_info and capabilities; NULL: the index is not there */
    uint64_t size;
    uint32_t flags;
    int fd; /* borrowed from the device; -1: not to be mapped */
} VfmVfuRegion;

typedef struct {
    VfmVfuDevice *device; /* NULL in a refusing session */
    VfmVfuOffer offer;
    VfmVfuClient client;
    bool negotiated;
    struct vfio_device_info info;
    GArray *regions; /* of VfmVfuRegion */
    GArray *irqs;    /* of struct vfio_irq_info; argsz 0: the index is not there */
} VfmVfuTarget;

/* Asks the device for its regions and interrupts. Errors: VFM_INPUT_ERROR where it describes more than QEMU accepts. */
bool vfm_vfu_target_init(VfmVfuTarget *target, VfmVfuDevice *device, const VfmVfuOffer *offer, GError **error);
void vfm_vfu_target_clear(VfmVfuTarget *target);

/* Carries out @message and prepares the answer to it in @reply, none if it wants none. */
void vfm_vfu_command(VfmVfuTarget *target, const VfmVfuMessage *message, VfmVfuReply *reply);

/* The answer to @message of a client whose device is lost: maps and unmaps of memory succeed, without being done, so
 * that the guest can go on with its other devices; all else fails. */
void vfm_vfu_command_lost(const VfmVfuMessage *message, VfmVfuReply *reply);
