/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Maps over a vfio-user session: what comes while a slow one runs, and as many as were offered.
 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend_record.h"
#include "fake_vfu_device.h"
#include "vfu_client.h"

enum { BLOCK = 4096, WHILE_SLOW = 700, BUDGET = 7 };

static FakeVfuDevice *device;
static VfmVfuDeviceOps slow_ops;
static int entered, gate; /* eventfds: the first map runs; it may end */

static bool slow_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    eventfd_t count;

    if (device->maps->len == 0 && (eventfd_write(entered, 1) < 0 || eventfd_read(gate, &count) < 0))
        abort();
    g_array_append_val(device->maps, *map);
    return true;
}

static void send_map(int socket, unsigned i, int memory)
{
    const VfmVfuDmaMap map = {.argsz = sizeof(map),
                              .flags = VFM_VFU_DMA_READABLE | VFM_VFU_DMA_WRITEABLE,
                              .address = (uint64_t)i * BLOCK,
                              .size = BLOCK};

    command_fds(socket, (uint16_t)i, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), &memory, 1);
}

/* As many descriptors as may wait, in the hundreds unless this process may have very few. */
static unsigned allow_descriptors(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    /* vfu_journal.c gives a connection an eighth. */
    return (unsigned)MIN(limit.rlim_cur / 8 - 1, WHILE_SLOW);
}

/* QEMU sends hundreds of maps without waiting. Were they left in the socket until the first one is done, QEMU would be
 * stuck in sending as long as that takes, with its lock held. */
static void test_messages_are_taken_while_a_map_runs(void **state)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 65535, .page_sizes = BLOCK};
    unsigned n = allow_descriptors(), before;
    g_autoptr(VfmVfuJournal) journal = vfm_vfu_journal_new(NULL);
    int sockets[2], memory = memfd_create("guest", MFD_CLOEXEC), least = 0;
    VfmVfuSession *session;
    eventfd_t count;

    assert_non_null(journal);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    /* What the socket itself holds is a few messages. */
    assert_int_equal(setsockopt(sockets[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof(least)), 0);
    entered = eventfd(0, EFD_CLOEXEC);
    gate = eventfd(0, EFD_CLOEXEC);
    device = fake_vfu_device_new();
    slow_ops = *device->vfu.ops;
    slow_ops.dma_map = slow_map;
    device->vfu.ops = &slow_ops;
    session = vfm_vfu_session_new(journal, sockets[1], &device->vfu, &offer);
    negotiate(sockets[0]);

    send_map(sockets[0], 0, memory);
    assert_int_equal(eventfd_read(entered, &count), 0);
    before = open_fds();
    for (unsigned i = 1; i <= n; i++) {
        struct pollfd slot = {.fd = sockets[0], .events = POLLOUT};

        /* Nobody takes them: the time-out only says so instead of waiting for ever. */
        if (poll(&slot, 1, 10000) != 1)
            fail_msg("only %u of %u messages were taken while the first map ran", i - 1, n);
        send_map(sockets[0], i, memory);
    }
    /* Their descriptors are this process's by now, but for those of the last few messages. */
    assert_true(open_fds() + 32 >= before + n);
    assert_int_equal(device->maps->len, 0);

    assert_int_equal(eventfd_write(gate, 1), 0);
    for (unsigned i = 0; i <= n; i++)
        assert_int_equal(reply(sockets[0], (uint16_t)i, NULL, 0, NULL, NULL), 0);
    assert_int_equal(device->maps->len, n + 1);
    for (unsigned i = 0; i <= n; i++)
        assert_int_equal(g_array_index(device->maps, VfmVfuDmaMap, i).address, (uint64_t)i * BLOCK);
    close(sockets[0]);
    vfm_vfu_session_wait(session);
    vfm_vfu_session_free(session);
    fake_vfu_device_free(device);
    close(entered);
    close(gate);
    close(memory);
}

/* What QEMU is told at the start, it can have; one more is refused with what it expects then. */
static void test_the_offer_is_the_budget(void **state)
{
    static const struct {
        VfmMaybe kernel, policy;
        const char *told;
    } cases[] = {
        {{true, BUDGET}, {false, 0}, "\"max_dma_maps\":7,"},
        {{true, 65535}, {true, BUDGET}, "\"max_dma_maps\":7,"},
        {{true, BUDGET}, {true, 65535}, "\"max_dma_maps\":7,"},
        {{false, 0}, {false, 0}, "\"max_dma_maps\":0,"}, /* iommufd: QEMU does not count */
    };

    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        const VfmRecordOptions options = {.max_mappings = cases[i].kernel};
        const VfmContainerDevice attached = {.name = "0000:01:00.0", .fd = -1};
        VfmContainer *container = vfm_container_new("0", vfm_backend_record_new(&options), cases[i].policy);
        g_autoptr(VfmVfuJournal) journal = vfm_vfu_journal_new(NULL);
        int sockets[2], memory = memfd_create("guest", MFD_CLOEXEC);
        VfmVfuSession *session;
        char answer[512] = "";
        VfmVfuOffer offer;
        VfmGuestDma *dma;

        assert_int_equal(ftruncate(memory, BLOCK), 0);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        dma = vfm_guest_dma_new(container, NULL);
        assert_true(vfm_container_attach(container, &attached, NULL, NULL));
        offer = vfm_guest_dma_offer(dma);
        device = fake_vfu_device_new();
        device->guest = vfm_guest_dma_join(dma, "client");
        session = vfm_vfu_session_new(journal, sockets[1], &device->vfu, &offer);
        assert_int_equal(
            negotiate_with(sockets[0], qemu_capabilities, sizeof(qemu_capabilities), answer, sizeof(answer)), 0);
        assert_non_null(strstr(answer + 4, cases[i].told));
        for (unsigned map = 0; map < BUDGET + 1; map++) {
            /* Blocks above 4 GiB: each is one mapping. */
            send_map(sockets[0], (16u << 20) + map, memory);
            assert_int_equal(reply(sockets[0], (uint16_t)map, NULL, 0, NULL, NULL),
                             map < BUDGET || !offer.max_dma_maps ? 0 : ENOSPC);
        }
        close(sockets[0]);
        vfm_vfu_session_wait(session);
        vfm_vfu_session_free(session);
        fake_vfu_device_free(device);
        vfm_guest_dma_free(dma);
        vfm_container_free(container);
        close(memory);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_taken_while_a_map_runs),
        cmocka_unit_test(test_the_offer_is_the_budget),
    };

    return cmocka_run_group_tests_name("vfu-maps", tests, NULL, NULL);
}
