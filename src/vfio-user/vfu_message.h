/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_message.h - one vfio-user message with its descriptors, read from and written to a socket.
 *
 * A message owns its payload and the descriptors that came with it; whatever
 * is not taken (vfm_vfu_message_steal_fd) is closed with it, in every case. Nothing
 * a peer says is believed: sizes are bounded before anything is allocated, a
 * descriptor too many ends the connection.
 *
 * The socket is a connected SOCK_STREAM Unix socket in blocking mode. Reading and
 * writing may happen in different threads; two readers or two writers need a lock.
 */
#pragma once

#include <stdbool.h>

#include "error.h"
#include "vfu_protocol.h"

typedef struct {
    uint64_t number; /* in its session, from 1 on */
    VfmVfuHeader header;
    uint8_t *data; /* the payload; NULL if there is none */
    uint32_t length;
    int fds[VFM_VFU_MAX_FDS]; /* -1 once stolen */
    unsigned n_fds;
} VfmVfuMessage;

typedef enum { VFM_VFU_RECEIVED, VFM_VFU_END, VFM_VFU_BROKEN } VfmVfuReceive;

/*
 * Reads one message into *@message (a new one; free it). VFM_VFU_END where the peer hung up between
 * messages. VFM_VFU_BROKEN with @error: VFM_INPUT_ERROR for a message that can't be (size, type,
 * descriptors) or ended half way, VFM_SYSTEM_ERROR from the socket; the stream can't be used any more.
 */
VfmVfuReceive vfm_vfu_receive(int socket, VfmVfuMessage **message, GError **error);

/* Sends a reply to @request with @length bytes of payload and, if @fd is not -1, that descriptor (borrowed).
 * The caller has checked that the peer wants a reply. Errors: VFM_SYSTEM_ERROR. */
bool vfm_vfu_reply(int socket, const VfmVfuHeader *request, const void *data, uint32_t length, int fd, GError **error);

/* Sends an error reply: the header alone, with @errnum (positive). Errors: VFM_SYSTEM_ERROR. */
bool vfm_vfu_reply_error(int socket, const VfmVfuHeader *request, int errnum, GError **error);

/* The descriptor @index, now the caller's; -1 if there is none. */
int vfm_vfu_message_steal_fd(VfmVfuMessage *message, unsigned index);

void vfm_vfu_message_free(VfmVfuMessage *message);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmVfuMessage, vfm_vfu_message_free)
