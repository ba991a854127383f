/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_message.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

void vfm_vfu_message_free(VfmVfuMessage *message)
{
    if (!message)
        return;
    for (unsigned i = 0; i < message->n_fds; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    g_free(message->data);
    g_free(message);
}

int vfm_vfu_message_steal_fd(VfmVfuMessage *message, unsigned index)
{
    int fd;

    if (index >= message->n_fds)
        return -1;
    fd = message->fds[index];
    message->fds[index] = -1;
    return fd;
}

/* Takes over what came in @msg's control data; whatever is too much is closed. False if it was too much. */
static bool take_fds(VfmVfuMessage *message, struct msghdr *msg)
{
    bool fits = !(msg->msg_flags & MSG_CTRUNC);

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
        const int *fds = (const int *)(const void *)CMSG_DATA(c);
        size_t count;

        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            if (message->n_fds < VFM_VFU_MAX_FDS) {
                message->fds[message->n_fds++] = fds[i];
            } else {
                close(fds[i]);
                fits = false;
            }
        }
    }
    return fits;
}

/* Reads exactly @length bytes. 1: done; 0: the peer hung up before the first byte; -1 with @error. */
static int read_exactly(int socket, void *buffer, size_t length, VfmVfuMessage *message, GError **error)
{
    size_t done = 0;

    while (done < length) {
        /* Room for one descriptor too many, so that a peer that sends more is noticed and none leaks. */
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(sizeof(int) * (VFM_VFU_MAX_FDS + 1))];
        } control;
        struct iovec iov = {.iov_base = (char *)buffer + done, .iov_len = length - done};
        struct msghdr msg = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
        ssize_t n = recvmsg(socket, &msg, MSG_CMSG_CLOEXEC);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == ECONNRESET && done == 0)
                return 0;
            vfm_set_system_error(error, errno, "vfio-user: reading from the client failed");
            return -1;
        }
        if (!take_fds(message, &msg)) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE,
                        "vfio-user: the client sent more than %d descriptors with one message", VFM_VFU_MAX_FDS);
            return -1;
        }
        if (n == 0) {
            if (done == 0)
                return 0;
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                        "vfio-user: the client hung up after %zu of %zu bytes", done, length);
            return -1;
        }
        done += n;
    }
    return 1;
}

VfmVfuReceive vfm_vfu_receive(int socket, VfmVfuMessage **result, GError **error)
{
    g_autoptr(VfmVfuMessage) message = g_new0(VfmVfuMessage, 1);
    VfmVfuHeader *header = &message->header;
    int got = read_exactly(socket, header, sizeof(*header), message, error);

    *result = NULL;
    if (got <= 0)
        return got == 0 ? VFM_VFU_END : VFM_VFU_BROKEN;
    if ((header->flags & VFM_VFU_TYPE_MASK) != VFM_VFU_TYPE_COMMAND) {
        /* We never send commands, so a reply answers nothing. */
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "vfio-user: message of type %u where only commands are expected",
                    header->flags & VFM_VFU_TYPE_MASK);
        return VFM_VFU_BROKEN;
    }
    if (header->size < sizeof(*header) || header->size > VFM_VFU_MAX_MESSAGE) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE,
                    "vfio-user: command %u claims %u bytes; %zu to %u are possible", header->command, header->size,
                    sizeof(*header), (unsigned)VFM_VFU_MAX_MESSAGE);
        return VFM_VFU_BROKEN;
    }
    message->length = header->size - sizeof(*header);
    if (message->length > 0) {
        message->data = g_malloc(message->length);
        got = read_exactly(socket, message->data, message->length, message, error);
        if (got == 0)
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                        "vfio-user: the client hung up before the payload of command %u", header->command);
        if (got <= 0)
            return VFM_VFU_BROKEN;
    }
    *result = g_steal_pointer(&message);
    return VFM_VFU_RECEIVED;
}

static bool send_all(int socket, struct iovec *iov, unsigned n_iov, int fd, GError **error)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n_iov};

    if (fd >= 0) {
        struct cmsghdr *c;

        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &fd, sizeof(int));
    }
    while (msg.msg_iovlen > 0) {
        ssize_t n = sendmsg(socket, &msg, MSG_NOSIGNAL);

        if (n < 0) {
            if (errno == EINTR)
                continue;
            vfm_set_system_error(error, errno, "vfio-user: answering the client failed");
            return false;
        }
        /* The descriptor travelled with the first byte. */
        msg.msg_control = NULL;
        msg.msg_controllen = 0;
        while (msg.msg_iovlen > 0 && (size_t)n >= msg.msg_iov->iov_len) {
            n -= msg.msg_iov->iov_len;
            msg.msg_iov++;
            msg.msg_iovlen--;
        }
        if (msg.msg_iovlen > 0) {
            msg.msg_iov->iov_base = (char *)msg.msg_iov->iov_base + n;
            msg.msg_iov->iov_len -= n;
        }
    }
    return true;
}

bool vfm_vfu_reply(int socket, const VfmVfuHeader *request, const void *data, uint32_t length, int fd, GError **error)
{
    VfmVfuHeader header = {
        .id = request->id,
        .command = request->command,
        .size = sizeof(header) + length,
        .flags = VFM_VFU_TYPE_REPLY,
    };
    struct iovec iov[2] = {{&header, sizeof(header)}, {(void *)data, length}};

    return send_all(socket, iov, length ? 2 : 1, fd, error);
}

bool vfm_vfu_reply_error(int socket, const VfmVfuHeader *request, int errnum, GError **error)
{
    VfmVfuHeader header = {
        .id = request->id,
        .command = request->command,
        .size = sizeof(header),
        .flags = VFM_VFU_TYPE_REPLY | VFM_VFU_ERROR,
        .error = errnum,
    };
    struct iovec iov = {&header, sizeof(header)};

    return send_all(socket, &iov, 1, -1, error);
}
