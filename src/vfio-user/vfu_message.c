/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_message.h"

#include <string.h>

static void finish(VfmVfuReply *reply, const VfmVfuHeader *request, uint32_t length, uint32_t flags, int errnum)
{
    const VfmVfuHeader header = {
        .id = request->id,
        .command = request->command,
        .size = sizeof(header) + length,
        .flags = VFM_VFU_TYPE_REPLY | flags,
        .error = errnum,
    };

    memcpy(reply->bytes, &header, sizeof(header));
    reply->length = header.size;
}

void vfm_vfu_reply(VfmVfuReply *reply, const VfmVfuHeader *request, uint32_t length, int fd)
{
    finish(reply, request, length, 0, 0);
    reply->fd = fd;
}

void vfm_vfu_reply_error(VfmVfuReply *reply, const VfmVfuHeader *request, int errnum)
{
    finish(reply, request, 0, VFM_VFU_ERROR, errnum);
    reply->fd = -1;
}
