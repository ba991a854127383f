/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_message.h - one vfio-user command as it came, and the answer to it.
 *
 * Views: whoever holds the bytes (vfu_journal.h) has bounded them before, and
 * owns them and the descriptors.
 */
#pragma once

#include <stdbool.h>

#include "error.h"
#include "vfu_protocol.h"

typedef struct {
    uint64_t number; /* in its session, from 1 on */
    VfmVfuHeader header;
    const uint8_t *data; /* the payload */
    uint32_t length;
    int fds[VFM_VFU_MAX_FDS];
    unsigned n_fds;
} VfmVfuMessage;

typedef struct {
    uint8_t *bytes;  /* where to write it, header first: VFM_VFU_MAX_MESSAGE bytes of room */
    uint32_t length; /* to fill; 0: the client wants no answer */
    int fd;          /* to fill: borrowed; -1: none goes with it */
} VfmVfuReply;

/* The answer to @request with @length bytes of payload that are in their place already, or the header alone with
 * @errnum (positive). */
void vfm_vfu_reply(VfmVfuReply *reply, const VfmVfuHeader *request, uint32_t length, int fd);
void vfm_vfu_reply_error(VfmVfuReply *reply, const VfmVfuHeader *request, int errnum);
