/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_version.h - the first message of a vfio-user connection and its answer.
 *
 * Pure: bytes in, bytes out. Source: QEMU docs/interop/vfio-user.rst
 * (VFIO_USER_VERSION) and hw/vfio-user/proxy.c, which accepts no reply longer
 * than its request, wants the terminating NUL, and takes max_dma_maps as the
 * mapping budget of its headroom check (0: no check).
 */
#pragma once

#include <stdbool.h>

#include "error.h"
#include "vfu_protocol.h"

/* What the client said, with the specification's defaults for what it did not say. */
typedef struct {
    uint16_t major, minor;
    uint64_t max_msg_fds;        /* it can receive in one message */
    uint64_t max_data_xfer_size; /* bytes */
    uint64_t max_dma_maps;
    uint64_t page_sizes; /* bitmap */
    bool write_multiple;
} VfmVfuClient;

/* What we offer. */
typedef struct {
    uint64_t max_dma_maps; /* QEMU's budget; 0: no limit. Never raised above the client's */
    uint64_t page_sizes;   /* bitmap of mapping sizes we can hold; the lowest counts */
} VfmVfuOffer;

/* Reads the payload of a VERSION command. Errors: VFM_INPUT_ERROR; unknown members are ignored, a known member of the
 * wrong type or an impossible value is not. */
bool vfm_vfu_version_parse(const void *payload, uint32_t length, VfmVfuClient *client, GError **error);

/* The payload of the reply, at most @room bytes, with its length in *@length. Free with g_free(). Errors:
 * VFM_INPUT_ERROR if the client's version is not ours or @room is too small for even the shortest answer. */
uint8_t *vfm_vfu_version_reply(const VfmVfuClient *client, const VfmVfuOffer *offer, uint32_t room, uint32_t *length,
                               GError **error);
