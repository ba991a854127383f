/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A vfio-user session over a socket pair: what a client may say, may not say, and what it hears. */
#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_vfu_device.h"
#include "vfu_client.h"

typedef struct {
    FakeVfuDevice *device;
    VfmVfuJournal *journal;
    VfmVfuSession *session;
    int client;
    unsigned fds_before;
} Scene;

static int setup(void **state)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 1000, .page_sizes = 4096};
    Scene *scene = g_new0(Scene, 1);
    int sockets[2];

    scene->fds_before = open_fds();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    scene->device = fake_vfu_device_new();
    scene->client = sockets[0];
    scene->journal = vfm_vfu_journal_new(NULL);
    assert_non_null(scene->journal);
    scene->session = vfm_vfu_session_new(scene->journal, sockets[1], &scene->device->vfu, &offer);
    *state = scene;
    return 0;
}

static void hang_up(Scene *scene)
{
    close(scene->client);
    scene->client = -1;
    vfm_vfu_session_wait(scene->session);
}

static int teardown(void **state)
{
    Scene *scene = *state;

    if (scene->client >= 0)
        close(scene->client);
    vfm_vfu_session_free(scene->session);
    assert_int_equal(vfm_vfu_journal_state(scene->journal)->phase, VFM_VFU_UNUSED);
    vfm_vfu_journal_free(scene->journal);
    assert_int_equal(scene->device->gones, 1);
    fake_vfu_device_free(scene->device);
    /* Whatever was said, no descriptor is left. */
    assert_int_equal(open_fds(), scene->fds_before);
    g_free(scene);
    return 0;
}

static void test_version(void **state)
{
    Scene *scene = *state;
    char answer[512] = "";

    assert_int_equal(
        negotiate_with(scene->client, qemu_capabilities, sizeof(qemu_capabilities), answer, sizeof(answer)), 0);
    assert_non_null(strstr(answer + 4, "\"max_dma_maps\":1000"));
    assert_non_null(strstr(answer + 4, "\"write_multiple\":true"));
    /* Once. */
    assert_int_equal(negotiate_with(scene->client, qemu_capabilities, sizeof(qemu_capabilities), NULL, 0), EINVAL);
}

static void test_version_never_raised(void **state)
{
    static const char few[] =
        "{\"capabilities\":{\"max_dma_maps\":7                                                    "
        "                                                                                       }}";
    Scene *scene = *state;
    char answer[512] = "";

    assert_int_equal(negotiate_with(scene->client, few, sizeof(few), answer, sizeof(answer)), 0);
    assert_non_null(strstr(answer + 4, "\"max_dma_maps\":7,"));
    assert_null(strstr(answer + 4, "write_multiple"));
}

static void test_bad_versions(void **state)
{
    static const struct {
        const char *json;
        size_t length;
        int status;
    } cases[] = {
#define TEXT(t) t, sizeof(t)
        {TEXT("not json"), EINVAL},
        {TEXT("[1]"), EINVAL},
        {TEXT("{\"capabilities\":3}"), EINVAL},
        {TEXT("{\"capabilities\":{\"max_dma_maps\":-1}}"), EINVAL},
        {TEXT("{\"capabilities\":{\"max_dma_maps\":\"many\"}}"), EINVAL},
        {TEXT("{\"capabilities\":{\"pgsizes\":0}}"), EINVAL},
        {TEXT("{\"capabilities\":{\"write_multiple\":1}}"), EINVAL},
        {TEXT("{}\0{}"), EINVAL},   /* a NUL within */
        {"{}", 2, EINVAL},          /* no NUL at the end */
        {TEXT("\xff\xfe"), EINVAL}, /* no UTF-8 */
        {TEXT("{}"), ENOTSUP},      /* too short to answer within */
    };
    Scene *scene = *state;

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++)
        assert_int_equal(negotiate_with(scene->client, cases[i].json, cases[i].length, NULL, 0), cases[i].status);
    /* Deep nesting is refused before it is parsed. */
    {
        g_autofree char *deep = g_malloc(100000);

        memset(deep, '[', 100000);
        assert_int_equal(negotiate_with(scene->client, deep, 100000, NULL, 0), EINVAL);
    }
    for (size_t length = 0; length <= 2; length += 2) {
        command(scene->client, 9, VFM_VFU_VERSION, "\0\0", length);
        assert_int_equal(reply(scene->client, 9, NULL, 0, NULL, NULL), EINVAL);
    }
    /* Another major version. */
    {
        g_autofree uint8_t *payload = g_malloc0(4 + sizeof(qemu_capabilities));

        payload[0] = 1;
        memcpy(payload + 4, qemu_capabilities, sizeof(qemu_capabilities));
        command(scene->client, 10, VFM_VFU_VERSION, payload, 4 + sizeof(qemu_capabilities));
        assert_int_equal(reply(scene->client, 10, NULL, 0, NULL, NULL), ENOTSUP);
    }
    /* And the connection still stands. */
    negotiate(scene->client);
}

static void test_nothing_before_version(void **state)
{
    Scene *scene = *state;

    for (uint16_t number = 0; number < 40; number++) {
        if (number == VFM_VFU_VERSION)
            continue;
        command(scene->client, number, number, NULL, 0);
        assert_int_not_equal(reply(scene->client, number, NULL, 0, NULL, NULL), 0);
    }
    assert_int_equal(scene->device->resets, 0);
}

static void test_device_info(void **state)
{
    Scene *scene = *state;
    uint32_t info[4] = {16, 0, 0, 0};
    size_t length = 0;

    negotiate(scene->client);
    command(scene->client, 2, VFM_VFU_DEVICE_GET_INFO, info, sizeof(info));
    assert_int_equal(reply(scene->client, 2, info, sizeof(info), &length, NULL), 0);
    assert_int_equal(length, 16);
    assert_int_equal(info[1], VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET);
    assert_int_equal(info[2], VFIO_PCI_NUM_REGIONS);
    assert_int_equal(info[3], VFIO_PCI_NUM_IRQS);
    command(scene->client, 3, VFM_VFU_DEVICE_GET_INFO, info, 4);
    assert_int_equal(reply(scene->client, 3, NULL, 0, NULL, NULL), EINVAL);
}

static void test_region_info(void **state)
{
    Scene *scene = *state;
    struct vfio_region_info info = {.argsz = sizeof(info)};

    negotiate(scene->client);
    command(scene->client, 2, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
    assert_int_equal(reply(scene->client, 2, &info, sizeof(info), NULL, NULL), 0);
    assert_int_equal(info.size, FAKE_BAR_SIZE);
    for (uint32_t index = VFIO_PCI_VGA_REGION_INDEX; index < VFIO_PCI_VGA_REGION_INDEX + 3; index++) {
        info.index = index;
        command(scene->client, 3, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
        assert_int_equal(reply(scene->client, 3, NULL, 0, NULL, NULL), EINVAL);
    }
    info.index = UINT32_MAX;
    command(scene->client, 4, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
    assert_int_equal(reply(scene->client, 4, NULL, 0, NULL, NULL), EINVAL);
}

static void test_region_info_with_capability(void **state)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 0, .page_sizes = 4096};
    struct vfio_region_info info = {.argsz = sizeof(info)};
    FakeVfuDevice *device = fake_vfu_device_new();
    VfmVfuJournal *journal = vfm_vfu_journal_new(NULL);
    VfmVfuSession *session;
    size_t length;
    int sockets[2], fd;

    device->bar_fd = eventfd(0, EFD_CLOEXEC);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    session = vfm_vfu_session_new(journal, sockets[1], &device->vfu, &offer);
    negotiate(sockets[0]);
    /* Too little room: the size that is needed, and no descriptor yet. */
    command(sockets[0], 2, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
    assert_int_equal(reply(sockets[0], 2, &info, sizeof(info), &length, &fd), 0);
    assert_int_equal(length, sizeof(info));
    assert_int_equal(info.argsz, sizeof(info) + FAKE_CAP_SIZE);
    assert_int_equal(info.cap_offset, 0);
    /* QEMU refuses a device that has the flag and no offset. */
    assert_false(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
    assert_int_equal(fd, -1);
    command(sockets[0], 3, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
    assert_int_equal(reply(sockets[0], 3, &info, sizeof(info), &length, &fd), 0);
    assert_int_equal(length, sizeof(info) + FAKE_CAP_SIZE);
    assert_int_equal(info.cap_offset, sizeof(info));
    assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
    assert_true(fd >= 0);
    close(fd);
    close(sockets[0]);
    vfm_vfu_session_free(session);
    vfm_vfu_journal_free(journal);
    close(device->bar_fd);
    fake_vfu_device_free(device);
}

static void test_region_access(void **state)
{
    static const struct {
        uint32_t region;
        uint64_t offset;
        uint32_t count;
        bool ok;
    } cases[] = {
        {0, 0, 4, true},
        {0, 0, FAKE_BAR_SIZE, true},
        {0, FAKE_BAR_SIZE - 1, 1, true},
        {0, FAKE_BAR_SIZE - 1, 2, false},
        {0, FAKE_BAR_SIZE, 1, false},
        {0, UINT64_MAX, 4, false},
        {0, UINT64_MAX - 3, 4, false},
        {0, 0, FAKE_BAR_SIZE + 1, false},
        {0, 0, 0, false},
        {0, 0, UINT32_MAX, false},
        {1, 0, 1, false}, /* an empty BAR */
        {VFIO_PCI_VGA_REGION_INDEX, 0, 1, false},
        {9, 0, 1, false},
        {UINT32_MAX, 0, 1, false},
    };
    Scene *scene = *state;

    negotiate(scene->client);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        VfmVfuRegionAccess access = {.offset = cases[i].offset, .region = cases[i].region, .count = cases[i].count};
        size_t length = 0;
        int status;

        command(scene->client, i, VFM_VFU_REGION_READ, &access, sizeof(access));
        status = reply(scene->client, i, NULL, 0, &length, NULL);
        assert_int_equal(status == 0, cases[i].ok);
        if (cases[i].ok)
            assert_int_equal(length, sizeof(access) + cases[i].count);
    }
}

static void test_region_write(void **state)
{
    Scene *scene = *state;
    struct {
        VfmVfuRegionAccess access;
        uint8_t data[8];
    } write = {{.offset = 16, .region = 0, .count = 8}, {1, 2, 3, 4, 5, 6, 7, 8}};

    negotiate(scene->client);
    command(scene->client, 2, VFM_VFU_REGION_WRITE, &write, sizeof(write));
    assert_int_equal(reply(scene->client, 2, NULL, 0, NULL, NULL), 0);
    assert_memory_equal(scene->device->bar + 16, write.data, 8);
    /* More or less data than claimed. */
    command(scene->client, 3, VFM_VFU_REGION_WRITE, &write, sizeof(write) - 1);
    assert_int_equal(reply(scene->client, 3, NULL, 0, NULL, NULL), EINVAL);
    write.access.count = 4;
    command(scene->client, 4, VFM_VFU_REGION_WRITE, &write, sizeof(write));
    assert_int_equal(reply(scene->client, 4, NULL, 0, NULL, NULL), EINVAL);
    /* Read-only. */
    write.access.count = 8;
    write.access.region = VFIO_PCI_ROM_REGION_INDEX;
    command(scene->client, 5, VFM_VFU_REGION_WRITE, &write, sizeof(write));
    assert_int_equal(reply(scene->client, 5, NULL, 0, NULL, NULL), ENOTSUP);
    /* No answer where none is wanted: the next answer is the next command's. */
    write.access.region = 0;
    write.access.offset = 64;
    command_fds(scene->client, 6, VFM_VFU_REGION_WRITE, VFM_VFU_NO_REPLY, &write, sizeof(write), NULL, 0);
    command(scene->client, 7, VFM_VFU_DEVICE_RESET, NULL, 0);
    assert_int_equal(reply(scene->client, 7, NULL, 0, NULL, NULL), 0);
    assert_memory_equal(scene->device->bar + 64, write.data, 8);
    assert_int_equal(scene->device->resets, 1);
}

static void test_write_multi(void **state)
{
    Scene *scene = *state;
    struct {
        uint64_t count;
        VfmVfuWriteOne one[3];
    } multi = {3, {{8, 0, 1, "a"}, {9, 0, 2, "bc"}, {4, VFIO_PCI_CONFIG_REGION_INDEX, 4, "defg"}}};

    negotiate(scene->client);
    command(scene->client, 2, VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi));
    assert_int_equal(reply(scene->client, 2, NULL, 0, NULL, NULL), 0);
    assert_memory_equal(scene->device->bar + 8, "abc", 3);
    assert_memory_equal(scene->device->config + 4, "defg", 4);
    /* One that can't be: none is done. */
    multi.one[0].data[0] = 'X';
    multi.one[2].offset = FAKE_CONFIG_SIZE;
    command(scene->client, 3, VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi));
    assert_int_equal(reply(scene->client, 3, NULL, 0, NULL, NULL), EINVAL);
    assert_memory_equal(scene->device->bar + 8, "abc", 3);
    multi.one[2].offset = 0;
    multi.one[1].count = 9;
    command(scene->client, 4, VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi));
    assert_int_equal(reply(scene->client, 4, NULL, 0, NULL, NULL), EINVAL);
    /* A count that is not what came, and one that would wrap. */
    multi.one[1].count = 2;
    multi.count = 2;
    command(scene->client, 5, VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi));
    assert_int_equal(reply(scene->client, 5, NULL, 0, NULL, NULL), EINVAL);
    multi.count = UINT64_MAX / sizeof(VfmVfuWriteOne) + 4;
    command(scene->client, 6, VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi));
    assert_int_equal(reply(scene->client, 6, NULL, 0, NULL, NULL), EINVAL);
}

static void test_irqs(void **state)
{
    enum { NONE = VFIO_IRQ_SET_DATA_NONE, BOOL = VFIO_IRQ_SET_DATA_BOOL, EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD };
    enum { TRIGGER = VFIO_IRQ_SET_ACTION_TRIGGER, MASK = VFIO_IRQ_SET_ACTION_MASK };
    enum { INTX = VFIO_PCI_INTX_IRQ_INDEX, MSI = VFIO_PCI_MSI_IRQ_INDEX, MSIX = VFIO_PCI_MSIX_IRQ_INDEX };
    static const struct {
        uint32_t flags, index, start, count;
        unsigned fds;
        bool ok;
    } cases[] = {
        {EVENTFD | TRIGGER, MSIX, 0, 4, 4, true},
        {EVENTFD | TRIGGER, MSIX, 3, 1, 1, true},
        {EVENTFD | TRIGGER, MSIX, 0, 4, 0, true}, /* take them away */
        {EVENTFD | TRIGGER, MSIX, 0, 4, 3, false},
        {EVENTFD | TRIGGER, MSIX, 0, 5, 5, false},
        {EVENTFD | TRIGGER, MSIX, 4, 1, 1, false},
        {EVENTFD | TRIGGER, MSIX, UINT32_MAX, 1, 1, false},
        {EVENTFD | TRIGGER, MSIX, 1, UINT32_MAX, 1, false},
        {EVENTFD | TRIGGER, MSIX, 0, 0, 0, false},
        {EVENTFD | TRIGGER, MSI, 0, 1, 1, false}, /* has none */
        {EVENTFD | TRIGGER, 77, 0, 1, 1, false},
        {NONE | TRIGGER, MSIX, 0, 0, 0, true},  /* disable */
        {NONE | TRIGGER, MSIX, 0, 4, 1, false}, /* a descriptor for nothing */
        {NONE | MASK, INTX, 0, 1, 0, true},
        {NONE | MASK, MSIX, 0, 1, 0, false},    /* not maskable */
        {BOOL | TRIGGER, MSIX, 0, 1, 0, false}, /* without its byte */
        {NONE | EVENTFD | TRIGGER, MSIX, 0, 1, 1, false},
        {NONE | TRIGGER | MASK, INTX, 0, 1, 0, false},
        {NONE, INTX, 0, 1, 0, false},
        {TRIGGER, INTX, 0, 1, 0, false},
        {NONE | TRIGGER | 0x100, INTX, 0, 1, 0, false},
    };
    Scene *scene = *state;
    int fds[8];

    negotiate(scene->client);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        struct vfio_irq_set set = {.argsz = sizeof(set),
                                   .flags = cases[i].flags,
                                   .index = cases[i].index,
                                   .start = cases[i].start,
                                   .count = cases[i].count};
        int status;

        scene->device->last_irq.flags = 0;
        command_fds(scene->client, i, VFM_VFU_DEVICE_SET_IRQS, 0, &set, sizeof(set), fds, cases[i].fds);
        status = reply(scene->client, i, NULL, 0, NULL, NULL);
        if ((status == 0) != cases[i].ok)
            print_error("case %zu: %d\n", i, status);
        assert_int_equal(status == 0, cases[i].ok);
        assert_int_equal(scene->device->last_irq.flags, cases[i].ok ? cases[i].flags : 0);
        if (cases[i].ok && (cases[i].flags & EVENTFD))
            assert_true(cases[i].fds ? scene->device->last_irq_fd >= 0 : scene->device->last_irq_fd == -1);
    }
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

static void test_dma(void **state)
{
    static const struct {
        uint32_t flags;
        uint64_t offset, address, size;
        unsigned fds;
        bool ok;
    } cases[] = {
        {3, 0, 0, 4096, 1, true},        {1, 0, 0xfffc0000, 0x40000, 0, true}, /* a ROM */
        {3, 0, 0, 4096, 2, false},       {3, 0, 0, 0, 1, false},
        {3, 0, UINT64_MAX, 2, 1, false}, {3, UINT64_MAX, 0, 2, 1, false},
        {7, 0, 0, 4096, 1, false},
    };
    Scene *scene = *state;
    VfmVfuDmaUnmap unmap = {.argsz = sizeof(unmap), .address = 0, .size = 8192};
    int fds[2] = {eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC)};

    negotiate(scene->client);
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        VfmVfuDmaMap map = {.argsz = sizeof(map),
                            .flags = cases[i].flags,
                            .offset = cases[i].offset,
                            .address = cases[i].address,
                            .size = cases[i].size};

        command_fds(scene->client, i, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), fds, cases[i].fds);
        assert_int_equal(reply(scene->client, i, NULL, 0, NULL, NULL) == 0, cases[i].ok);
    }
    assert_int_equal(scene->device->maps->len, 2);
    assert_int_equal(scene->device->map_fds, 1);
    /* The device's refusal is the errno QEMU knows. */
    {
        VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .size = 4096};

        scene->device->fail_map_at = 0;
        command_fds(scene->client, 50, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), fds, 1);
        assert_int_equal(reply(scene->client, 50, NULL, 0, NULL, NULL), ENOSPC);
    }
    command(scene->client, 60, VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap));
    assert_int_equal(reply(scene->client, 60, &unmap, sizeof(unmap), NULL, NULL), 0);
    assert_int_equal(unmap.size, 8192);
    unmap.flags = VFM_VFU_DMA_UNMAP_ALL;
    unmap.size = 0;
    command(scene->client, 61, VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap));
    assert_int_equal(reply(scene->client, 61, &unmap, sizeof(unmap), NULL, NULL), 0);
    assert_int_equal(unmap.size, 42);
    unmap = (VfmVfuDmaUnmap){.argsz = sizeof(unmap), .address = UINT64_MAX, .size = 2};
    command(scene->client, 62, VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap));
    assert_int_equal(reply(scene->client, 62, NULL, 0, NULL, NULL), EINVAL);
    assert_int_equal(scene->device->unmaps, 2);
    close(fds[0]);
    close(fds[1]);
}

/* QEMU sends hundreds of maps without waiting, and its socket buffer must not be the limit. */
static void test_pipelined(void **state)
{
    enum { COUNT = 20000 };
    Scene *scene = *state;
    VfmVfuRegionAccess access = {.region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 4};

    negotiate(scene->client);
    /* In strides below what two socket buffers hold, so that one thread is enough. */
    for (unsigned base = 0; base < COUNT; base += 200) {
        for (unsigned i = 0; i < 200; i++)
            command(scene->client, base + i, VFM_VFU_REGION_READ, &access, sizeof(access));
        for (unsigned i = 0; i < 200; i++)
            assert_int_equal(reply(scene->client, base + i, NULL, 0, NULL, NULL), 0);
    }
}

static void test_too_many_descriptors(void **state)
{
    Scene *scene = *state;
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .size = 4096};
    int fds[40];

    negotiate(scene->client);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    command_fds(scene->client, 2, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), fds, G_N_ELEMENTS(fds));
    vfm_vfu_session_wait(scene->session);
    assert_true(scene->device->broken_off);
    assert_int_equal(scene->device->maps->len, 0);
    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        close(fds[i]);
}

static void ends_broken(Scene *scene, const void *bytes, size_t length, bool close_after)
{
    send_raw(scene->client, bytes, length, NULL, 0);
    if (close_after)
        hang_up(scene);
    else
        vfm_vfu_session_wait(scene->session);
    assert_true(scene->device->broken_off);
    assert_int_equal(vfm_vfu_journal_state(scene->journal)->left, close_after);
}

static void test_size_too_small(void **state)
{
    VfmVfuHeader header = {.command = VFM_VFU_VERSION, .size = 15};

    ends_broken(*state, &header, sizeof(header), false);
}

static void test_size_too_large(void **state)
{
    VfmVfuHeader header = {.command = VFM_VFU_VERSION, .size = UINT32_MAX};

    ends_broken(*state, &header, sizeof(header), false);
}

static void test_reply_instead_of_command(void **state)
{
    VfmVfuHeader header = {.command = VFM_VFU_DMA_READ, .size = sizeof(header), .flags = VFM_VFU_TYPE_REPLY};

    ends_broken(*state, &header, sizeof(header), false);
}

static void test_half_header(void **state)
{
    VfmVfuHeader header = {.command = VFM_VFU_VERSION, .size = sizeof(header)};

    ends_broken(*state, &header, 7, true);
}

static void test_half_payload(void **state)
{
    uint8_t bytes[20] = {0};
    VfmVfuHeader header = {.command = VFM_VFU_VERSION, .size = 100};

    memcpy(bytes, &header, sizeof(header));
    ends_broken(*state, bytes, sizeof(bytes), true);
}

static void test_hang_up(void **state)
{
    Scene *scene = *state;

    negotiate(scene->client);
    hang_up(scene);
    assert_int_equal(scene->device->gones, 1);
    assert_false(scene->device->broken_off);
    assert_true(vfm_vfu_journal_state(scene->journal)->left);
}

/* The same, noticed where it is answered. */
static void test_hang_up_before_the_answer(void **state)
{
    const VfmVfuRegionAccess access = {.region = VFIO_PCI_BAR0_REGION_INDEX, .count = FAKE_BAR_SIZE};
    Scene *scene = *state;

    negotiate(scene->client);
    for (uint16_t id = 2; id < 1000; id++)
        command(scene->client, id, VFM_VFU_REGION_READ, &access, sizeof(access));
    hang_up(scene);
    assert_false(scene->device->broken_off);
    assert_true(vfm_vfu_journal_state(scene->journal)->left);
}

/* A client that is dead while somebody else has its end: answers that nobody takes keep nobody waiting. */
static void test_cut(void **state)
{
    const VfmVfuRegionAccess access = {.region = VFIO_PCI_BAR0_REGION_INDEX, .count = FAKE_BAR_SIZE};
    Scene *scene = *state;

    negotiate(scene->client);
    /* Many times what a socket holds. */
    for (uint16_t id = 2; id < 1000; id++)
        command(scene->client, id, VFM_VFU_REGION_READ, &access, sizeof(access));
    command(scene->client, 1000, VFM_VFU_DEVICE_RESET, NULL, 0);
    vfm_vfu_session_cut(scene->session);
    vfm_vfu_session_wait(scene->session);
    g_clear_pointer(&scene->session, vfm_vfu_session_free);
    assert_int_equal(scene->device->resets, 0);
    assert_false(scene->device->broken_off);
}

/* A predecessor's connection @socket: one question about a region, whose answer with @fd was prepared and not sent. */
static VfmVfuJournal *journal_with_answer(int socket, uint16_t id, int fd)
{
    VfmVfuJournal *journal = vfm_vfu_journal_new(NULL);
    const VfmVfuClient negotiated = {0};
    VfmVfuReply answer = {.fd = fd};
    VfmVfuMessage message;

    assert_non_null(journal);
    vfm_vfu_journal_open(journal, socket, &(VfmVfuOffer){.page_sizes = 4096});
    while (!vfm_vfu_journal_message(journal, &message)) {
        vfm_vfu_journal_prepare_receive(journal);
        vfm_vfu_journal_received(journal, vfm_vfu_journal_receive(journal));
    }
    assert_int_equal(message.header.id, id);
    answer.bytes = vfm_vfu_journal_reply(journal);
    memset(answer.bytes + sizeof(VfmVfuHeader), 7, sizeof(struct vfio_region_info));
    vfm_vfu_reply(&answer, &message.header, sizeof(struct vfio_region_info), fd);
    vfm_vfu_journal_answer(journal, answer.length, fd, &negotiated);
    vfm_vfu_journal_recover(journal);
    return journal;
}

/* The number of a lost device's descriptor may be anything by now. What else was prepared is still right. */
static void test_prepared_answers_of_a_lost_device(void **state)
{
    const struct vfio_region_info info = {.argsz = sizeof(info)};

    for (int with = 0; with < 2; with++) {
        struct vfio_region_info answer;
        VfmVfuJournal *journal;
        int sockets[2], fd;

        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
        command(sockets[0], 77, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
        journal = journal_with_answer(sockets[1], 77, with ? STDERR_FILENO : -1);
        {
            g_autoptr(VfmVfuSession) session = vfm_vfu_session_resume(journal, NULL);

            assert_int_equal(reply(sockets[0], 77, &answer, sizeof(answer), NULL, &fd), with ? EIO : 0);
            assert_int_equal(fd, -1);
            /* The next one is answered. */
            command(sockets[0], 78, VFM_VFU_DEVICE_GET_REGION_INFO, &info, sizeof(info));
            assert_int_equal(reply(sockets[0], 78, NULL, 0, NULL, NULL), EIO);
        }
        vfm_vfu_journal_free(journal);
        close(sockets[0]);
    }
}

/* What QEMU would not take: it is told, by answers. A connection that is closed instead can abort it. */
static void test_refusing(void **state)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 1000, .page_sizes = 4096};
    g_autoptr(VfmVfuJournal) journal = vfm_vfu_journal_new(NULL);
    FakeVfuDevice *device = fake_vfu_device_new();
    VfmVfuSession *session;
    int sockets[2];

    device->more_regions = 100;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    session = vfm_vfu_session_new(journal, sockets[1], &device->vfu, &offer);
    assert_int_equal(negotiate_with(sockets[0], qemu_capabilities, sizeof(qemu_capabilities), NULL, 0), EINVAL);
    /* It is the client who hangs up. */
    command(sockets[0], 2, VFM_VFU_DEVICE_RESET, NULL, 0);
    assert_int_equal(reply(sockets[0], 2, NULL, 0, NULL, NULL), EINVAL);
    assert_false(vfm_vfu_session_ended(session));
    close(sockets[0]);
    vfm_vfu_session_wait(session);
    vfm_vfu_session_free(session);
    assert_int_equal(device->resets, 0);
    assert_int_equal(device->gones, 1);
    fake_vfu_device_free(device);
}

int main(void)
{
#define SCENE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        SCENE(test_version),
        SCENE(test_version_never_raised),
        SCENE(test_bad_versions),
        SCENE(test_nothing_before_version),
        SCENE(test_device_info),
        SCENE(test_region_info),
        cmocka_unit_test(test_region_info_with_capability),
        SCENE(test_region_access),
        SCENE(test_region_write),
        SCENE(test_write_multi),
        SCENE(test_irqs),
        SCENE(test_dma),
        SCENE(test_pipelined),
        SCENE(test_too_many_descriptors),
        SCENE(test_size_too_small),
        SCENE(test_size_too_large),
        SCENE(test_reply_instead_of_command),
        SCENE(test_half_header),
        SCENE(test_half_payload),
        SCENE(test_hang_up),
        SCENE(test_hang_up_before_the_answer),
        SCENE(test_cut),
        cmocka_unit_test(test_prepared_answers_of_a_lost_device),
        cmocka_unit_test(test_refusing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
