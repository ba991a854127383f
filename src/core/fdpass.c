/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "fdpass.h"

#include <errno.h>
#include <string.h>

/* No transfer can have this many bytes: the kernel cuts one at INT_MAX. */
#define NOT_DONE UINT_MAX

/* The compiler must not move the preparation past the system call of another instruction stream: what a successor
 * reads is memory, not this function's view of it. */
#define ORDER() __asm__ __volatile__("" ::: "memory")

static void prepare(VfmTransfer *transfer, void *data, size_t size, size_t control)
{
    transfer->data = (struct iovec){.iov_base = data, .iov_len = size};
    transfer->header.msg_hdr = (struct msghdr){
        .msg_iov = &transfer->data,
        .msg_iovlen = 1,
        .msg_control = control ? transfer->control.bytes : NULL,
        .msg_controllen = control,
    };
    transfer->header.msg_len = NOT_DONE;
    ORDER();
}

void vfm_transfer_prepare_receive(VfmTransfer *transfer, void *data, size_t size)
{
    /* Both its pages are to be there: one that is missing can't be had any more by a process that is being killed, and
     * the kernel would drop the descriptors that were to be named in it. */
    transfer->control.bytes[0] = 0;
    transfer->control.bytes[sizeof(transfer->control.bytes) - 1] = 0;
    prepare(transfer, data, size, sizeof(transfer->control.bytes));
}

void vfm_transfer_prepare_send(VfmTransfer *transfer, const void *data, size_t size, const int *fds, unsigned n_fds)
{
    size_t bytes = sizeof(int) * n_fds;

    g_assert(n_fds <= VFM_FD_MESSAGE_MAX);
    if (n_fds) {
        struct cmsghdr *header = (struct cmsghdr *)transfer->control.bytes;

        memset(transfer->control.bytes, 0, CMSG_SPACE(bytes));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(header), fds, bytes);
    }
    prepare(transfer, (void *)(uintptr_t)data, size, n_fds ? CMSG_SPACE(bytes) : 0);
}

int vfm_transfer_receive(VfmTransfer *transfer, int socket)
{
    bool again = true;
    int n;

    for (;;) {
        n = recvmmsg(socket, &transfer->header, 1, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
        if (n >= 0)
            return 0;
        if (errno == EINTR)
            continue;
        /* Unlike recvmsg, recvmmsg reports an error that waits on the socket before it looks for data (Linux:
         * net/socket.c, do_recvmmsg): a peer that hung up leaves ECONNRESET in front of its last words. */
        if (errno == EAGAIN || !again)
            return errno;
        again = false;
    }
}

int vfm_transfer_send(VfmTransfer *transfer, int socket)
{
    int n;

    do
        n = sendmmsg(socket, &transfer->header, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : 0;
}

bool vfm_transfer_done(const VfmTransfer *transfer, size_t *bytes)
{
    ORDER();
    *bytes = transfer->header.msg_len == NOT_DONE ? 0 : transfer->header.msg_len;
    return transfer->header.msg_len != NOT_DONE;
}

unsigned vfm_transfer_fds(const VfmTransfer *transfer, int *fds, bool *truncated)
{
    struct msghdr *message = (struct msghdr *)&transfer->header.msg_hdr;
    unsigned n = 0;

    *truncated = message->msg_flags & MSG_CTRUNC;
    if (!message->msg_control || message->msg_controllen < sizeof(struct cmsghdr))
        return 0;
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at; at = CMSG_NXTHDR(message, at)) {
        unsigned count = (unsigned)((at->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
            continue;
        count = MIN(count, VFM_FD_MESSAGE_MAX - n);
        memcpy(fds + n, CMSG_DATA(at), count * sizeof(int));
        n += count;
    }
    return n;
}

unsigned vfm_fd_span_count(VfmFdSpan span)
{
    return span.tail - span.head;
}

unsigned vfm_fd_span_room(VfmFdSpan span)
{
    return VFM_FD_RING_SIZE - vfm_fd_span_count(span);
}

void vfm_fd_ring_push(VfmFdRing *ring, VfmFdSpan *span, uint64_t offset, int fd)
{
    g_assert(vfm_fd_span_room(*span) > 0);
    ring->entries[span->tail++ % VFM_FD_RING_SIZE] = (VfmFdEntry){.offset = offset, .fd = fd};
}

const VfmFdEntry *vfm_fd_ring_front(const VfmFdRing *ring, VfmFdSpan span)
{
    return vfm_fd_span_count(span) ? &ring->entries[span.head % VFM_FD_RING_SIZE] : NULL;
}

unsigned vfm_fd_ring_peek(const VfmFdRing *ring, VfmFdSpan span, int *fds)
{
    const VfmFdEntry *front = vfm_fd_ring_front(ring, span);
    unsigned n = 0;

    while (n < VFM_FD_MESSAGE_MAX && n < vfm_fd_span_count(span)) {
        const VfmFdEntry *entry = &ring->entries[(span.head + n) % VFM_FD_RING_SIZE];

        if (entry->offset != front->offset)
            break;
        fds[n++] = entry->fd;
    }
    return n;
}

int vfm_fd_ring_take(const VfmFdRing *ring, VfmFdSpan *span)
{
    g_assert(vfm_fd_span_count(*span) > 0);
    return ring->entries[span->head++ % VFM_FD_RING_SIZE].fd;
}
