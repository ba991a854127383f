/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "takeover_clients.h"

#include <errno.h>
#include <linux/vfio.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static int tagged(uint64_t tag)
{
    int fd = memfd_create("tagged", MFD_CLOEXEC);

    assert_int_equal(pwrite(fd, &tag, sizeof(tag), 0), sizeof(tag));
    return fd;
}

Expected *begin_message(Client *client, uint16_t command, uint32_t flags, const void *payload, uint32_t length,
                        const void *more, uint32_t more_length)
{
    VfmVfuHeader header = {.id = (uint16_t)client->asked,
                           .command = command,
                           .size = (uint32_t)sizeof(header) + length + more_length,
                           .flags = flags};
    Expected *expected = g_new0(Expected, 1);

    g_byte_array_set_size(client->out, 0);
    client->sent = 0;
    g_byte_array_append(client->out, (const uint8_t *)&header, sizeof(header));
    g_byte_array_append(client->out, payload, length);
    if (more_length)
        g_byte_array_append(client->out, more, more_length);
    expected->number = client->asked++;
    expected->command = command;
    expected->payload = g_byte_array_new();
    if (flags & VFM_VFU_NO_REPLY) {
        g_byte_array_unref(expected->payload);
        g_free(expected);
        return NULL;
    }
    g_queue_push_tail(client->expected, expected);
    return expected;
}

static void ask_version(Client *client)
{
    static const char json[] = "\0\0\0\0{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
                               "\"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true,\"x\":0}}";
    static const char answer[] = "\0\0\0\0{\"capabilities\":{\"max_dma_maps\":7,\"max_msg_fds\":16,"
                                 "\"max_data_xfer_size\":16777216,\"pgsizes\":4096,\"write_multiple\":true}}";
    Expected *expected = begin_message(client, VFM_VFU_VERSION, 0, json, sizeof(json), NULL, 0);

    g_byte_array_append(expected->payload, (const uint8_t *)answer, sizeof(answer));
}

static void ask_write(Client *client)
{
    VfmVfuRegionAccess access = {.count = (uint32_t)g_rand_int_range(client->rand, 1, 3000)};
    bool silent = g_rand_int_range(client->rand, 0, 3) == 0;
    g_autofree uint8_t *data = NULL;
    Expected *expected;

    if (g_rand_int_range(client->rand, 0, 40) == 0)
        access.count = LARGE;
    access.offset = (uint64_t)g_rand_int_range(client->rand, 0, (gint32)(BAR_SIZE - access.count));
    data = g_malloc(access.count);
    for (uint32_t i = 0; i < access.count; i++)
        data[i] = (uint8_t)(client->asked + i);
    memcpy(client->bar + access.offset, data, access.count);
    expected = begin_message(client, VFM_VFU_REGION_WRITE, silent ? VFM_VFU_NO_REPLY : 0, &access, sizeof(access), data,
                             access.count);
    if (expected)
        g_byte_array_append(expected->payload, (const uint8_t *)&access, sizeof(access));
}

static void ask_read(Client *client)
{
    VfmVfuRegionAccess access = {.count = (uint32_t)g_rand_int_range(client->rand, 1, 3000)};
    Expected *expected;

    if (g_rand_int_range(client->rand, 0, 40) == 0) {
        access.count = LARGE;
        client->large++;
    }
    access.offset = (uint64_t)g_rand_int_range(client->rand, 0, (gint32)(BAR_SIZE - access.count));
    expected = begin_message(client, VFM_VFU_REGION_READ, 0, &access, sizeof(access), NULL, 0);
    g_byte_array_append(expected->payload, (const uint8_t *)&access, sizeof(access));
    g_byte_array_append(expected->payload, client->bar + access.offset, access.count);
}

void ask_map(Client *client)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = ++client->maps << 12, .size = 4096};

    client->fds[client->n_fds++] = tagged(map.address);
    client->with_fds++;
    begin_message(client, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), NULL, 0);
}

static void ask_unmap(Client *client)
{
    VfmVfuDmaUnmap unmap = {.argsz = sizeof(unmap), .address = 4096, .size = 8192};
    Expected *expected = begin_message(client, VFM_VFU_DMA_UNMAP, 0, &unmap, sizeof(unmap), NULL, 0);

    unmap.size /= 2;
    g_byte_array_append(expected->payload, (const uint8_t *)&unmap, sizeof(unmap));
}

static void ask_irqs(Client *client)
{
    struct vfio_irq_set set = {.argsz = sizeof(set),
                               .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                               .count = (uint32_t)g_rand_int_range(client->rand, 1, 9)};

    for (uint32_t i = 0; i < set.count; i++)
        client->fds[client->n_fds++] = tagged(client->asked * 16 + i);
    client->with_fds++;
    begin_message(client, VFM_VFU_DEVICE_SET_IRQS, 0, &set, sizeof(set), NULL, 0);
}

static void ask_region_info(Client *client)
{
    struct vfio_region_info region = {.argsz = sizeof(region)};
    Expected *expected = begin_message(client, VFM_VFU_DEVICE_GET_REGION_INFO, 0, &region, sizeof(region), NULL, 0);

    region.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP;
    region.size = BAR_SIZE;
    g_byte_array_append(expected->payload, (const uint8_t *)&region, sizeof(region));
    expected->fd = true;
}

void ask_impossible(Client *client)
{
    Expected *expected = begin_message(client, 39, 0, "?", 1, NULL, 0);

    expected->status = ENOTSUP;
}

void ask(Client *client)
{
    static void (*const kinds[])(Client *) = {ask_write, ask_read,        ask_map,       ask_unmap,
                                              ask_irqs,  ask_region_info, ask_impossible};

    if (client->asked == 0)
        ask_version(client);
    else
        kinds[g_rand_int_range(client->rand, 0, G_N_ELEMENTS(kinds))](client);
}

static void send_some(Client *client)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VFM_VFU_MAX_FDS)];
    } control;
    size_t left = client->out->len - client->sent, most = (size_t)g_rand_int_range(client->rand, 1, 60000);
    struct iovec iov = {client->out->data + client->sent, MIN(left, most)};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t n;

    if (client->n_fds) {
        struct cmsghdr *c = &control.align;

        memset(&control, 0, sizeof(control));
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(sizeof(int) * client->n_fds);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int) * client->n_fds);
        memcpy(CMSG_DATA(c), client->fds, sizeof(int) * client->n_fds);
    }
    n = sendmsg(client->socket, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0) {
        assert_int_equal(errno, EAGAIN);
        return;
    }
    client->sent += (size_t)n;
    while (client->n_fds)
        close(client->fds[--client->n_fds]);
}

static void check_answer(Client *client, const VfmVfuHeader *header, const uint8_t *payload)
{
    Expected *expected = g_queue_pop_head(client->expected);

    assert_non_null(expected);
    assert_int_equal(header->id, (uint16_t)expected->number);
    assert_int_equal(header->command, expected->command);
    assert_int_equal(header->error, expected->status);
    assert_int_equal(header->size - sizeof(*header), expected->payload->len);
    if (expected->payload->len)
        assert_memory_equal(payload, expected->payload->data, expected->payload->len);
    assert_int_equal(client->in_fds, expected->fd);
    client->in_fds = 0;
    client->answered++;
    g_byte_array_unref(expected->payload);
    g_free(expected);
}

static void hear(Client *client)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * VFM_VFU_MAX_FDS)];
    } control;
    VfmVfuHeader header = {0};
    uint8_t part[65536];
    size_t want = sizeof(header) - client->in->len;
    struct iovec iov = {part, 0};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    ssize_t n;

    if (client->in->len >= sizeof(header)) {
        memcpy(&header, client->in->data, sizeof(header));
        want = header.size - client->in->len;
    }
    iov.iov_len = MIN(want, sizeof(part));
    n = recvmsg(client->socket, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        print_error("the connection ended: %s\n", client->core->why);
    assert_true(n > 0);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
        unsigned count = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

        for (unsigned i = 0; i < count; i++)
            close(((const int *)(const void *)CMSG_DATA(c))[i]);
        client->in_fds += count;
    }
    g_byte_array_append(client->in, part, (guint)n);
    if (client->in->len < sizeof(header))
        return;
    memcpy(&header, client->in->data, sizeof(header));
    if (client->in->len == header.size) {
        check_answer(client, &header, client->in->data + sizeof(header));
        g_byte_array_set_size(client->in, 0);
    }
}

void client_init(Client *client, const Core *core, int socket, guint32 seed)
{
    client->core = core;
    client->socket = socket;
    client->rand = g_rand_new_with_seed(seed);
    client->out = g_byte_array_new();
    client->in = g_byte_array_new();
    client->expected = g_queue_new();
}

void client_clear(Client *client)
{
    close(client->socket);
    assert_int_equal(client->n_fds, 0);
    g_byte_array_unref(client->out);
    g_byte_array_unref(client->in);
    g_queue_free(client->expected);
    g_rand_free(client->rand);
}

void turn(Client *clients, bool more)
{
    struct pollfd slots[CLIENTS];

    for (unsigned i = 0; i < CLIENTS; i++) {
        if (more && clients[i].sent == clients[i].out->len && g_queue_get_length(clients[i].expected) < IN_FLIGHT)
            ask(&clients[i]);
        slots[i] = (struct pollfd){.fd = clients[i].socket,
                                   .events = (short)((clients[i].sent < clients[i].out->len ? POLLOUT : 0) |
                                                     (g_queue_is_empty(clients[i].expected) ? 0 : POLLIN))};
    }
    assert_true(poll(slots, CLIENTS, 20000) > 0); /* nothing for 20 s: a message or an answer was lost */
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (slots[i].revents & POLLOUT)
            send_some(&clients[i]);
        /* Now and then a client that does not listen, so that answers are sent in parts. */
        if ((slots[i].revents & (POLLIN | POLLHUP)) && g_rand_int_range(clients[i].rand, 0, 4))
            hear(&clients[i]);
    }
}

bool quiet(const Client *clients)
{
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].sent < clients[i].out->len || !g_queue_is_empty(clients[i].expected))
            return false;
    return true;
}
