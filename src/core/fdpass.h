/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * fdpass.h - bytes and the descriptors that travel with them over a UNIX socket.
 *
 * Two small objects, both plain memory without pointers to the heap, so that
 * they can lie in memory that outlives the process that uses them:
 *
 * VfmTransfer: one receive or send. It is made so that whoever looks at it
 * later, even after a SIGKILL between any two instructions, knows whether the
 * transfer took place: recvmmsg(2) and sendmmsg(2) write the number of bytes
 * into the header themselves, before they return to the caller
 * (Linux: net/socket.c, do_recvmmsg, __sys_sendmmsg). Plain recvmsg would give
 * it only in a register that dies with the process.
 *
 * VfmFdRing with VfmFdSpan: descriptors waiting in a stream, each with the
 * offset of the byte it came with. The ring holds the entries, the span says
 * which of them count; adding writes beyond the span and then moves a copy of
 * the span, so that a span that is replaced at once never shows half a change.
 * The ring owns no descriptor: taking one out hands it to the caller.
 *
 * One thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

/* Most descriptors of one message (Linux: SCM_MAX_FD). */
#define VFM_FD_MESSAGE_MAX 253
/* Entries of a ring: what one stream may hold in flight. A power of two. */
#define VFM_FD_RING_SIZE 1024u

typedef struct {
    struct mmsghdr header;
    struct iovec data;
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VFM_FD_MESSAGE_MAX)];
    } control;
} VfmTransfer;

/* Gets @transfer ready to receive up to @size bytes into @data. Nothing has been done then. */
void vfm_transfer_prepare_receive(VfmTransfer *transfer, void *data, size_t size);

/* Gets @transfer ready to send @size bytes with @n_fds descriptors, which stay the caller's. */
void vfm_transfer_prepare_send(VfmTransfer *transfer, const void *data, size_t size, const int *fds, unsigned n_fds);

/* Does the prepared transfer without waiting. Returns 0 when it was done, else errno (EAGAIN where the socket is not
 * ready). Received descriptors are close-on-exec. A peer that is gone raises no signal. */
int vfm_transfer_receive(VfmTransfer *transfer, int socket);
int vfm_transfer_send(VfmTransfer *transfer, int socket);

/* Whether the prepared transfer took place; *@bytes gets its bytes, 0 at the end of the stream. True however the
 * process that did it ended. */
bool vfm_transfer_done(const VfmTransfer *transfer, size_t *bytes);

/* The descriptors of a finished receive, at most VFM_FD_MESSAGE_MAX, now the caller's. *@truncated tells that the
 * kernel had to drop some (no free descriptor). */
unsigned vfm_transfer_fds(const VfmTransfer *transfer, int *fds, bool *truncated);

typedef struct {
    uint64_t offset;
    int32_t fd;
} VfmFdEntry;

typedef struct {
    VfmFdEntry entries[VFM_FD_RING_SIZE];
} VfmFdRing;

typedef struct {
    uint32_t head, tail; /* free-running; tail - head entries count */
} VfmFdSpan;

unsigned vfm_fd_span_count(VfmFdSpan span);
unsigned vfm_fd_span_room(VfmFdSpan span);

/* Adds @fd, which came with the byte at @offset; offsets never fall. There must be room. */
void vfm_fd_ring_push(VfmFdRing *ring, VfmFdSpan *span, uint64_t offset, int fd);

/* The first entry whose descriptor has not been taken, or NULL. Borrowed. */
const VfmFdEntry *vfm_fd_ring_front(const VfmFdRing *ring, VfmFdSpan span);

/* The descriptors of the front's offset, at most VFM_FD_MESSAGE_MAX; they stay in the ring. */
unsigned vfm_fd_ring_peek(const VfmFdRing *ring, VfmFdSpan span, int *fds);

/* Takes the front out; it is the caller's. There must be one. */
int vfm_fd_ring_take(const VfmFdRing *ring, VfmFdSpan *span);
