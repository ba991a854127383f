/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A hostile vfio-user client. The input is a series of commands: number, flags, descriptors, length, payload. Each is
 * carried out by the real command layer on a device in memory, its maps by the real set of mappings on a record;
 * nothing may be read or written out of bounds, no descriptor left open, nothing left mapped, and what is mapped is
 * never more than was sent.
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_SIZE = 1 << 24 };

typedef struct {
    FakeVfuDevice *fake;
    VfmVfuDeviceOps ops;
} Fuzzed;

static VfmGuestDmaClient *client; /* one input at a time */

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    return vfm_guest_dma_map(client, map, fd < 0 ? fd : fcntl(fd, F_DUPFD_CLOEXEC, 0), error);
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    return vfm_guest_dma_unmap(client, address, size, unmapped, error);
}

static void drain(int socket)
{
    char bytes[65536];

    while (recv(socket, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
        ;
}

/* The next command out of the input, or NULL at its end. */
static VfmVfuMessage *next(const uint8_t **data, size_t *size, int memory)
{
    VfmVfuMessage *message;
    uint16_t length;

    if (*size < 5)
        return NULL;
    message = g_new0(VfmVfuMessage, 1);
    message->header.command = (*data)[0] % 20;
    message->header.flags = (*data)[1] & VFM_VFU_NO_REPLY;
    message->n_fds = (*data)[2] % 4;
    memcpy(&length, *data + 3, sizeof(length));
    *data += 5;
    *size -= 5;
    message->length = MIN(length, *size);
    message->data = g_memdup2(*data, message->length);
    message->header.size = sizeof(message->header) + message->length;
    *data += message->length;
    *size -= message->length;
    for (unsigned i = 0; i < message->n_fds; i++)
        message->fds[i] = fcntl(memory, F_DUPFD_CLOEXEC, 0);
    return message;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 64, .page_sizes = 4096};
    const VfmRecordOptions options = {.max_mappings = VFM_SOME(64)};
    VfmContainerDevice device = {.name = "fuzzed", .fd = -1};
    VfmBackend *backend = vfm_backend_record_new(&options);
    VfmContainer *container = vfm_container_new("container 0", backend, VFM_NONE);
    VfmGuestDma *dma = vfm_guest_dma_new(container, NULL);
    Fuzzed fuzzed = {.fake = fake_vfu_device_new()};
    VfmVfuTarget target = {0};
    VfmVfuMessage *message;
    int sockets[2], memory = memfd_create("fuzzed", MFD_CLOEXEC);

    g_assert(ftruncate(memory, FILE_SIZE) == 0);
    g_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
    g_assert(vfm_container_attach(container, &device, NULL, NULL));
    vfm_guest_dma_set_patience(dma, 0);
    client = vfm_guest_dma_join(dma, "fuzzed");
    fuzzed.ops = *fuzzed.fake->vfu.ops;
    fuzzed.ops.dma_map = dma_map;
    fuzzed.ops.dma_unmap = dma_unmap;
    fuzzed.fake->vfu.ops = &fuzzed.ops;
    g_assert(vfm_vfu_target_init(&target, &fuzzed.fake->vfu, &offer, NULL));
    while ((message = next(&data, &size, memory))) {
        g_assert(vfm_vfu_command(&target, sockets[0], message, NULL));
        vfm_vfu_message_free(message);
        drain(sockets[1]);
        g_assert(vfm_backend_record_mappings(backend) <= 64);
        /* Without the version nothing is done; most inputs would never get it right. */
        target.negotiated = true;
    }
    vfm_guest_dma_leave(client);
    g_assert(vfm_backend_record_mappings(backend) == 0);
    vfm_vfu_target_clear(&target);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
    fake_vfu_device_free(fuzzed.fake);
    close(sockets[0]);
    close(sockets[1]);
    /* No descriptor was left: the lowest free number is that of the first. */
    {
        int probe = fcntl(memory, F_DUPFD_CLOEXEC, 3);

        g_assert(probe < memory + 4);
        close(probe);
    }
    close(memory);
    return 0;
}
