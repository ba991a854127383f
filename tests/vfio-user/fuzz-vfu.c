/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile vfio-user client. The input is a series of writes to the connection, some of any bytes, some a whole message
 * of a chosen command, each with descriptors. They are received and framed by the real journal and carried out by the
 * real command layer on a device in memory, maps by the real set of mappings on a record. Nothing may be read or
 * written out of bounds, no descriptor left open, nothing left mapped. After each message what is mapped is what the
 * client was told, no more and no less, at the place in the file that it named; beside that only what lingers.
 */
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "backend_record.h"
#include "fake_vfu_device.h"
#include "guest_dma.h"
#include "vfu_command.h"
#include "vfu_journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { PAGE = 4096, FILE_SIZE = 1 << 24, BUDGET = 64 };

/* How the next write is made of the input. */
typedef enum { WRITE_BYTES, WRITE_MESSAGE, WRITE_MAP, WRITE_UNMAP, WRITES } Write;

/* One input at a time. The last page of the memory file, and each before it, begins with its own offset. */
static VfmVfuJournal *journal;
static int memory = -1;
static VfmGuestDmaClient *client;
static GArray *told; /* of VfmVfuDmaMap: maps with a descriptor that succeeded and were not unmapped */

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    if (!vfm_guest_dma_map(client, map, fd, error))
        return false;
    if (fd >= 0)
        g_array_append_val(told, *map);
    return true;
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    if (!vfm_guest_dma_unmap(client, address, size, unmapped, error))
        return false;
    for (unsigned i = told->len; i-- > 0;) {
        const VfmVfuDmaMap *map = &g_array_index(told, VfmVfuDmaMap, i);

        if (map->address >= address && map->address + (map->size - 1) <= address + (size - 1))
            g_array_remove_index_fast(told, i);
    }
    return true;
}

static void make_memory(void)
{
    memory = memfd_create("fuzzed", MFD_CLOEXEC);
    g_assert(memory >= 0 && ftruncate(memory, FILE_SIZE) == 0);
    for (uint64_t at = 0; at < FILE_SIZE; at += PAGE)
        g_assert(pwrite(memory, &at, sizeof(at), (off_t)at) == sizeof(at));
}

/* --- what the client does */

/* Takes @n bytes of the input into @into; zeroes where there are no more. */
static void take(const uint8_t **data, size_t *size, void *into, size_t n)
{
    size_t there = MIN(n, *size);

    memset(into, 0, n);
    memcpy(into, *data, there);
    *data += there;
    *size -= there;
}

static void say(int socket, const void *bytes, size_t length, unsigned n_fds)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 32)];
    } control;
    struct iovec iov = {(void *)bytes, length};
    struct msghdr out = {.msg_iov = &iov, .msg_iovlen = 1};

    memset(&control, 0, sizeof(control));
    if (n_fds) {
        out.msg_control = &control;
        out.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        for (unsigned i = 0; i < n_fds; i++)
            memcpy(CMSG_DATA(&control.header) + i * sizeof(int), &memory, sizeof(int));
    }
    if (length)
        g_assert(sendmsg(socket, &out, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)length);
}

static void say_message(int socket, uint8_t command, uint8_t flags, const void *payload, size_t length, unsigned n_fds)
{
    g_autofree uint8_t *bytes = g_malloc(sizeof(VfmVfuHeader) + length);
    VfmVfuHeader header = {.command = command,
                           .flags = flags & VFM_VFU_NO_REPLY,
                           .size = (uint32_t)(sizeof(VfmVfuHeader) + length)};

    memcpy(bytes, &header, sizeof(header));
    if (length)
        memcpy(bytes + sizeof(header), payload, length);
    say(socket, bytes, sizeof(header) + length, n_fds);
}

/* The next write; false at the input's end. */
static bool write_next(int socket, const uint8_t **data, size_t *size)
{
    uint8_t payload[512];
    struct __attribute__((packed)) {
        uint8_t how, n_fds, command, flags;
        uint16_t length;
    } head;
    struct __attribute__((packed)) {
        uint32_t page; /* 16 TiB, so that both sides of 4 GiB are met */
        uint16_t pages, offset;
    } place;

    if (*size == 0)
        return false;
    take(data, size, &head, sizeof(head));
    head.n_fds %= 20;
    if (head.how % WRITES <= WRITE_MESSAGE) {
        head.length = (uint16_t)MIN(head.length % (sizeof(payload) + 1), *size);
        take(data, size, payload, head.length);
        if (head.how % WRITES == WRITE_BYTES)
            say(socket, payload, head.length, head.n_fds);
        else
            say_message(socket, head.command % 20, head.flags, payload, head.length, head.n_fds);
        return true;
    }
    take(data, size, &place, sizeof(place));
    if (head.how % WRITES == WRITE_MAP) {
        const VfmVfuDmaMap map = {.argsz = sizeof(map),
                                  .flags = head.flags & 3,
                                  .address = (uint64_t)place.page * PAGE,
                                  .offset = (uint64_t)place.offset * PAGE,
                                  .size = (uint64_t)place.pages * PAGE};

        say_message(socket, VFM_VFU_DMA_MAP, head.flags, &map, sizeof(map), head.n_fds % 3);
    } else {
        const VfmVfuDmaUnmap unmap = {.argsz = sizeof(unmap),
                                      .flags = head.command % 8 == 7 ? VFM_VFU_DMA_UNMAP_ALL : 0,
                                      .address = head.command % 8 == 7 ? 0 : (uint64_t)place.page * PAGE,
                                      .size = head.command % 8 == 7 ? 0 : (uint64_t)place.pages * PAGE};

        say_message(socket, VFM_VFU_DMA_UNMAP, head.flags, &unmap, sizeof(unmap), 0);
    }
    return true;
}

/* Takes the answers and what came with them. */
static void listen_to(int socket)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int) * 32)];
    } control;
    uint8_t sink[65536];
    ssize_t n;

    do {
        struct iovec iov = {sink, sizeof(sink)};
        struct msghdr in = {
            .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

        n = recvmsg(socket, &in, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        for (struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&in) : NULL; c; c = CMSG_NXTHDR(&in, c)) {
            for (size_t at = 0; at < c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
                int fd;

                memcpy(&fd, CMSG_DATA(c) + at, sizeof(fd));
                close(fd);
            }
        }
    } while (n > 0);
}

/* --- what is true then */

static const VfmVfuDmaMap *told_of(uint64_t address, uint64_t size)
{
    for (unsigned i = 0; i < told->len; i++) {
        const VfmVfuDmaMap *map = &g_array_index(told, VfmVfuDmaMap, i);

        if (address >= map->address && address - map->address < map->size &&
            size <= map->size - (address - map->address))
            return map;
    }
    return NULL;
}

/* That these are the file's bytes, which the place in memory says itself. */
static void check_bytes(const VfmMapping *mapping)
{
    uint64_t first, last;

    g_assert(mapping->offset <= FILE_SIZE && mapping->size <= FILE_SIZE - mapping->offset);
    memcpy(&first, mapping->vaddr, sizeof(first));
    memcpy(&last, (const uint8_t *)mapping->vaddr + mapping->size - PAGE, sizeof(last));
    g_assert(first == mapping->offset && last == mapping->offset + mapping->size - PAGE);
}

static void check_mapped(VfmGuestDma *dma, const VfmBackend *backend)
{
    g_autoptr(GArray) pieces = vfm_guest_dma_pieces(dma);
    uint64_t wanted = 0, mapped = 0;

    g_assert(pieces->len == vfm_backend_record_mappings(backend) && pieces->len <= BUDGET);
    for (unsigned i = 0; i < told->len; i++)
        wanted += g_array_index(told, VfmVfuDmaMap, i).size;
    for (unsigned i = 0; i < pieces->len; i++) {
        const VfmGuestDmaPiece *piece = &g_array_index(pieces, VfmGuestDmaPiece, i);
        const VfmVfuDmaMap *map = told_of(piece->address, piece->size);
        VfmMapping mapping;

        g_assert(vfm_backend_record_find(backend, piece->address, &mapping));
        g_assert(mapping.iova == piece->address && mapping.size == piece->size);
        check_bytes(&mapping);
        if (piece->clients == 0) {
            g_assert(piece->address + piece->size <= UINT64_C(1) << 32);
            continue;
        }
        g_assert(map && mapping.offset - map->offset == piece->address - map->address);
        g_assert(mapping.prot == (map->flags & (VFM_VFU_DMA_READABLE | VFM_VFU_DMA_WRITEABLE)));
        mapped += piece->size;
    }
    /* Each lies in one that was told, and those don't overlap: together they are all of them. */
    g_assert(mapped == wanted);
}

/* --- the server's side, one step after the other */

static void receive_all(void)
{
    int status = 0;

    while (status == 0 && vfm_vfu_journal_state(journal)->reading == VFM_VFU_READING &&
           vfm_vfu_journal_has_room(journal)) {
        vfm_vfu_journal_prepare_receive(journal);
        status = vfm_vfu_journal_receive(journal);
        if (status == 0)
            vfm_vfu_journal_received(journal, status);
    }
}

static void carry_out(VfmVfuTarget *target, VfmVfuMessage *message)
{
    VfmVfuReply reply = {.bytes = vfm_vfu_journal_reply(journal), .fd = -1};
    /* A copy of its own size, so that reading beyond it is seen. */
    g_autofree uint8_t *payload = g_memdup2(message->data, message->length);

    g_assert(message->n_fds <= VFM_VFU_MAX_FDS);
    g_assert(message->header.size == sizeof(message->header) + message->length);
    message->data = payload;
    vfm_vfu_command(target, message, &reply);
    g_assert(reply.length <= VFM_VFU_MAX_MESSAGE);
    /* Without the version nothing is done; most inputs would never get it right. */
    target->negotiated = true;
    vfm_vfu_journal_answer(journal, reply.length, reply.fd, &target->client);
    if (!vfm_vfu_journal_state(journal)->reply_length)
        return;
    vfm_vfu_journal_prepare_send(journal);
    vfm_vfu_journal_sent(journal, vfm_vfu_journal_send(journal));
    g_assert(!vfm_vfu_journal_state(journal)->reply_length);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const VfmVfuOffer offer = {.max_dma_maps = BUDGET, .page_sizes = PAGE};
    const VfmRecordOptions options = {.max_mappings = VFM_SOME(BUDGET)};
    const VfmContainerDevice device = {.name = "fuzzed", .fd = -1};
    VfmBackend *backend = vfm_backend_record_new(&options);
    VfmContainer *container = vfm_container_new("container 0", backend, VFM_NONE);
    VfmGuestDma *dma = vfm_guest_dma_new(container, NULL);
    FakeVfuDevice *fake = fake_vfu_device_new();
    VfmVfuDeviceOps ops = *fake->vfu.ops;
    VfmVfuTarget target = {0};
    VfmVfuMessage message;
    int sockets[2], lowest;

    if (memory < 0) {
        make_memory();
        journal = vfm_vfu_journal_new(NULL);
        g_assert(journal);
    }
    told = g_array_new(false, false, sizeof(VfmVfuDmaMap));
    lowest = fcntl(memory, F_DUPFD_CLOEXEC, 3);
    close(lowest);
    g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    g_assert(vfm_container_attach(container, &device, NULL, NULL));
    vfm_guest_dma_set_patience(dma, 0);
    client = vfm_guest_dma_join(dma, "fuzzed");
    ops.dma_map = dma_map;
    ops.dma_unmap = dma_unmap;
    fake->vfu.ops = &ops;
    fake->bar_fd = memory; /* there is a descriptor to be answered with */
    g_assert(vfm_vfu_target_init(&target, &fake->vfu, &offer, NULL));
    vfm_vfu_journal_open(journal, sockets[1], &offer);
    while (write_next(sockets[0], &data, &size)) {
        receive_all();
        while (vfm_vfu_journal_message(journal, &message)) {
            carry_out(&target, &message);
            check_mapped(dma, backend);
            listen_to(sockets[0]);
        }
        if (vfm_vfu_journal_state(journal)->reading != VFM_VFU_READING)
            break;
    }
    close(sockets[0]);
    vfm_vfu_journal_clear(journal);
    vfm_guest_dma_leave(client);
    g_assert(vfm_backend_record_mappings(backend) == 0);
    vfm_vfu_target_clear(&target);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
    fake_vfu_device_free(fake);
    g_array_unref(told);
    /* No descriptor was left: the lowest free number is what it was. */
    g_assert(fcntl(memory, F_DUPFD_CLOEXEC, 3) == lowest);
    close(lowest);
    return 0;
}
