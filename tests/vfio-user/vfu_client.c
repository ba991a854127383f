/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <cmocka.h>

#include "vfu_client.h"

unsigned open_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

void send_raw(int socket, const void *data, size_t length, const int *fds, unsigned n_fds)
{
    char control[CMSG_SPACE(sizeof(int) * 64)];
    struct iovec iov = {.iov_base = (void *)data, .iov_len = length};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (n_fds) {
        struct cmsghdr *c;

        memset(control, 0, sizeof(control));
        msg.msg_control = control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
    }
    assert_int_equal(sendmsg(socket, &msg, MSG_NOSIGNAL), length);
}

void command_fds(int socket, uint16_t id, uint16_t command, uint32_t flags, const void *payload, uint32_t length,
                 const int *fds, unsigned n_fds)
{
    VfmVfuHeader header = {.id = id, .command = command, .size = sizeof(header) + length, .flags = flags};
    g_autofree uint8_t *bytes = g_malloc(header.size);

    memcpy(bytes, &header, sizeof(header));
    if (length)
        memcpy(bytes + sizeof(header), payload, length);
    send_raw(socket, bytes, header.size, fds, n_fds);
}

void command(int socket, uint16_t id, uint16_t number, const void *payload, uint32_t length)
{
    command_fds(socket, id, number, 0, payload, length, NULL, 0);
}

/* Reads one reply; its errno (0: success), payload into @payload (@room bytes), descriptor into *@fd. */
int reply(int socket, uint16_t id, void *payload, size_t room, size_t *length, int *fd)
{
    char control[CMSG_SPACE(sizeof(int))];
    VfmVfuHeader header;
    struct iovec iov = {.iov_base = &header, .iov_len = sizeof(header)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *c;
    uint8_t sink[8192];
    size_t rest;

    assert_int_equal(recvmsg(socket, &msg, MSG_WAITALL), sizeof(header));
    c = CMSG_FIRSTHDR(&msg);
    if (fd)
        *fd = -1;
    if (c) {
        assert_non_null(fd);
        memcpy(fd, CMSG_DATA(c), sizeof(int));
    }
    assert_int_equal(header.id, id);
    assert_int_equal(header.flags & VFM_VFU_TYPE_MASK, VFM_VFU_TYPE_REPLY);
    rest = header.size - sizeof(header);
    assert_true(rest <= sizeof(sink));
    if (rest)
        assert_int_equal(recv(socket, sink, rest, MSG_WAITALL), rest);
    if (length)
        *length = rest;
    if (payload)
        memcpy(payload, sink, MIN(rest, room));
    if (header.flags & VFM_VFU_ERROR) {
        assert_int_equal(rest, 0); /* an error reply is the header alone */
        assert_int_not_equal(header.error, 0);
        return header.error;
    }
    return 0;
}

const char qemu_capabilities[QEMU_CAPABILITIES_SIZE] =
    "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,\"pgsizes\":4096,"
    "\"write_multiple\":true,\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456}}}";

int negotiate_with(int socket, const char *json, size_t length, char *answer, size_t room)
{
    g_autofree uint8_t *payload = g_malloc0(4 + length);
    size_t got = 0;
    int status;

    memcpy(payload + 4, json, length);
    command(socket, 1, VFM_VFU_VERSION, payload, 4 + length);
    status = reply(socket, 1, answer, room, &got, NULL);
    if (status == 0)
        assert_true(got <= 4 + length); /* QEMU takes no longer reply than its request */
    return status;
}

void negotiate(int socket)
{
    assert_int_equal(negotiate_with(socket, qemu_capabilities, sizeof(qemu_capabilities), NULL, 0), 0);
}
