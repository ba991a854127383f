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
    return vfm_guest_dma_map(client, map, fd, error);
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    return vfm_guest_dma_unmap(client, address, size, unmapped, error);
}

/* The next command out of the input; false at its end. */
static bool next(const uint8_t **data, size_t *size, int memory, VfmVfuMessage *message)
{
    uint16_t length;

    if (*size < 5)
        return false;
    message->number++;
    message->header = (VfmVfuHeader){.command = (*data)[0] % 20, .flags = (*data)[1] & VFM_VFU_NO_REPLY};
    message->n_fds = (*data)[2] % 4;
    memcpy(&length, *data + 3, sizeof(length));
    *data += 5;
    *size -= 5;
    message->length = MIN(length, *size);
    /* A copy of its own size, so that reading beyond it is seen. */
    message->data = g_memdup2(*data, message->length);
    message->header.size = sizeof(message->header) + message->length;
    *data += message->length;
    *size -= message->length;
    for (unsigned i = 0; i < message->n_fds; i++)
        message->fds[i] = fcntl(memory, F_DUPFD_CLOEXEC, 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 64, .page_sizes = 4096};
    static uint8_t room[VFM_VFU_MAX_MESSAGE];
    const VfmRecordOptions options = {.max_mappings = VFM_SOME(64)};
    VfmContainerDevice device = {.name = "fuzzed", .fd = -1};
    VfmBackend *backend = vfm_backend_record_new(&options);
    VfmContainer *container = vfm_container_new("container 0", backend, VFM_NONE);
    VfmGuestDma *dma = vfm_guest_dma_new(container, NULL);
    Fuzzed fuzzed = {.fake = fake_vfu_device_new()};
    VfmVfuTarget target = {0};
    VfmVfuReply reply = {.bytes = room};
    VfmVfuMessage message = {0};
    int memory = memfd_create("fuzzed", MFD_CLOEXEC);

    g_assert(ftruncate(memory, FILE_SIZE) == 0);
    g_assert(vfm_container_attach(container, &device, NULL, NULL));
    vfm_guest_dma_set_patience(dma, 0);
    client = vfm_guest_dma_join(dma, "fuzzed");
    fuzzed.ops = *fuzzed.fake->vfu.ops;
    fuzzed.ops.dma_map = dma_map;
    fuzzed.ops.dma_unmap = dma_unmap;
    fuzzed.fake->vfu.ops = &fuzzed.ops;
    g_assert(vfm_vfu_target_init(&target, &fuzzed.fake->vfu, &offer, NULL));
    while (next(&data, &size, memory, &message)) {
        vfm_vfu_command(&target, &message, &reply);
        g_assert(reply.length <= VFM_VFU_MAX_MESSAGE);
        g_free((void *)message.data);
        for (unsigned i = 0; i < message.n_fds; i++)
            close(message.fds[i]);
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
    /* No descriptor was left: the lowest free number is that of the first. */
    {
        int probe = fcntl(memory, F_DUPFD_CLOEXEC, 3);

        g_assert(probe < memory + 4);
        close(probe);
    }
    close(memory);
    return 0;
}
