/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* One set of mappings out of what several vfio-user clients say, on a backend that records. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend_record.h"
#include "guest_dma.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

typedef struct {
    VfmBackend *backend;
    VfmContainer *container;
    VfmGuestDma *dma;
    int ram; /* memfd of 4 GiB */
} Scene;

static Scene *scene_new(const VfmRecordOptions *options, const GArray *windows)
{
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    Scene *scene = g_new0(Scene, 1);

    scene->backend = vfm_backend_record_new(options);
    scene->container = vfm_container_new("container 0", scene->backend, VFM_NONE);
    scene->dma = vfm_guest_dma_new(scene->container, windows);
    vfm_guest_dma_set_patience(scene->dma, G_USEC_PER_SEC / 20);
    scene->ram = memfd_create("ram", MFD_CLOEXEC);
    assert_int_equal(ftruncate(scene->ram, 4 * GIB), 0);
    assert_true(vfm_container_attach(scene->container, &device, NULL, NULL));
    return scene;
}

static void scene_free(Scene *scene)
{
    VfmGuestDmaUsage usage;

    vfm_guest_dma_usage(scene->dma, &usage);
    if (usage.clients) /* a test that failed; its own message counts */
        return;
    vfm_guest_dma_free(scene->dma);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 0);
    vfm_container_free(scene->container);
    close(scene->ram);
    g_free(scene);
}

static int setup(void **state)
{
    *state = scene_new(NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    scene_free(*state);
    return 0;
}

static bool map_at(Scene *scene, VfmGuestDmaClient *client, uint64_t address, uint64_t size, uint64_t offset,
                   uint32_t flags, GError **error)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = flags, .offset = offset, .address = address, .size = size};

    /* As QEMU: a new descriptor each time. */
    int fd = dup(scene->ram);
    bool done = vfm_guest_dma_map(client, &map, fd, error);

    close(fd);
    return done;
}

/* Boot RAM: offset and address agree. */
static void map_ram(Scene *scene, VfmGuestDmaClient *client, uint64_t from, uint64_t to)
{
    g_autoptr(GError) error = NULL;

    if (!map_at(scene, client, from, to - from, from, 3, &error))
        fail_msg("%s", error->message);
}

static uint64_t unmap(VfmGuestDmaClient *client, uint64_t from, uint64_t to)
{
    g_autoptr(GError) error = NULL;
    uint64_t unmapped;

    if (!vfm_guest_dma_unmap(client, from, to - from, &unmapped, &error))
        fail_msg("%s", error->message);
    return unmapped;
}

/* The memory exists, as it does once the kernel has pinned it (only allocated, SEEK_HOLE calls it a hole). */
static void touch(Scene *scene, uint64_t from, uint64_t to)
{
    void *at = mmap(NULL, to - from, PROT_READ | PROT_WRITE, MAP_SHARED, scene->ram, from);

    assert_true(at != MAP_FAILED);
    assert_int_equal(madvise(at, to - from, MADV_POPULATE_WRITE), 0);
    munmap(at, to - from);
}

static void assert_mapped(Scene *scene, uint64_t address, uint64_t offset)
{
    VfmMapping mapping;

    assert_true(vfm_backend_record_find(scene->backend, address, &mapping));
    assert_int_equal(mapping.offset + (address - mapping.iova), offset);
}

static void assert_unmapped(Scene *scene, uint64_t address)
{
    assert_false(vfm_backend_record_find(scene->backend, address, NULL));
}

/* What QEMU 11.1 sends while SeaBIOS programs the PAM registers of a 64 MiB guest. */
static void firmware_storm(Scene *scene, VfmGuestDmaClient *client)
{
    uint64_t end = 64 * MIB;

    map_ram(scene, client, 0, 0xa0000);
    map_ram(scene, client, 0xc0000, end);
    unmap(client, 0xc0000, end);
    map_ram(scene, client, 0x100000, end);
    map_ram(scene, client, 0xc0000, 0xe0000);
    unmap(client, 0xc0000, 0xe0000);
    unmap(client, 0x100000, end);
    map_ram(scene, client, 0xc0000, 0xd8000);
    map_ram(scene, client, 0xf0000, end);
    unmap(client, 0xc0000, 0xd8000);
    unmap(client, 0xf0000, end);
    unmap(client, 0, 0xa0000);
    map_ram(scene, client, 0, 0xc3000);
    map_ram(scene, client, 0xe8000, 0xf0000);
    map_ram(scene, client, 0x100000, end);
    assert_true(map_at(scene, client, 0xc3000, 0x25000, 0xc3000, 1, NULL));
    assert_true(map_at(scene, client, 0xf0000, 0x10000, 0xf0000, 1, NULL));
}

static void test_ram_is_pinned_once_in_a_boot(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");
    VfmGuestDmaUsage usage;
    VfmMapping mapping;

    touch(scene, 0, 64 * MIB);
    firmware_storm(scene, client);
    vfm_guest_dma_settle(scene->dma);
    vfm_guest_dma_usage(scene->dma, &usage);
    assert_int_equal(usage.bytes, 64 * MIB);
    assert_int_equal(vfm_backend_record_bytes(scene->backend), 64 * MIB);
    /* Only the first MiB, whose protection changes, is pinned more than once. */
    assert_in_range(usage.pinned_total, 64 * MIB, 65 * MIB);
    /* And it ends as it has to. */
    assert_mapped(scene, 0, 0);
    assert_true(vfm_backend_record_find(scene->backend, 0xc2000, &mapping));
    assert_int_equal(mapping.prot, VFM_PROT_READ | VFM_PROT_WRITE);
    assert_true(vfm_backend_record_find(scene->backend, 0xc3000, &mapping));
    assert_int_equal(mapping.prot, VFM_PROT_READ);
    assert_true(vfm_backend_record_find(scene->backend, 0xe8000, &mapping));
    assert_int_equal(mapping.prot, VFM_PROT_READ | VFM_PROT_WRITE);
    vfm_guest_dma_leave(client);
}

static void test_two_devices_pin_once(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *one = vfm_guest_dma_join(scene->dma, "one"), *two = vfm_guest_dma_join(scene->dma, "two");
    VfmGuestDmaUsage usage;

    touch(scene, 0, 256 * MIB);
    map_ram(scene, one, MIB, 256 * MIB);
    map_ram(scene, two, MIB, 256 * MIB);
    vfm_guest_dma_usage(scene->dma, &usage);
    assert_int_equal(usage.pinned_total, 255 * MIB);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 1);
    vfm_guest_dma_leave(one);
    assert_mapped(scene, MIB, MIB);
    vfm_guest_dma_leave(two);
    assert_unmapped(scene, MIB);
}

static void test_blocks_go_in_one_call(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");
    uint64_t base = 4 * GIB, block = 2 * MIB, before;

    touch(scene, 128 * MIB, 256 * MIB);
    for (unsigned i = 0; i < 256; i++)
        assert_true(map_at(scene, client, base + i * block, block, i * block, 3, NULL));
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 256);
    before = vfm_backend_record_calls(scene->backend, VFM_RECORD_UNMAP);
    /* What the guest gives back is gone when the answer goes out, though the file still has it. */
    assert_int_equal(unmap(client, base + 64 * block, base + 128 * block), 64 * block);
    assert_int_equal(vfm_backend_record_calls(scene->backend, VFM_RECORD_UNMAP), before + 1);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 192);
    assert_unmapped(scene, base + 64 * block);
    assert_mapped(scene, base + 63 * block, 63 * block);
    assert_mapped(scene, base + 128 * block, 128 * block);
    /* Holes and nothing: success. */
    assert_int_equal(unmap(client, base, base + 256 * block), 192 * block);
    assert_int_equal(unmap(client, base, base + 256 * block), 0);
    vfm_guest_dma_leave(client);
}

static void test_what_was_punched_never_lingers(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");

    touch(scene, 256 * MIB, 768 * MIB);
    map_ram(scene, client, 256 * MIB, 512 * MIB);
    map_ram(scene, client, 512 * MIB, 768 * MIB);
    assert_int_equal(fallocate(scene->ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 300 * MIB, 4096), 0);
    unmap(client, 256 * MIB, 768 * MIB);
    assert_unmapped(scene, 256 * MIB);
    assert_mapped(scene, 512 * MIB, 512 * MIB); /* lingers */
    vfm_guest_dma_settle(scene->dma);
    assert_unmapped(scene, 512 * MIB);
    vfm_guest_dma_leave(client);
}

static void test_lingering_gives_way(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");

    touch(scene, 256 * MIB, 512 * MIB);
    map_ram(scene, client, 256 * MIB, 512 * MIB);
    unmap(client, 256 * MIB, 512 * MIB);
    /* Other memory at the same place. */
    assert_true(map_at(scene, client, 256 * MIB, 256 * MIB, 768 * MIB, 3, NULL));
    assert_mapped(scene, 256 * MIB, 768 * MIB);
    vfm_guest_dma_leave(client);
}

static void test_lingering_does_not_cost_the_budget(void **state)
{
    Scene *scene = scene_new(&(VfmRecordOptions){.max_mappings = VFM_SOME(1)}, NULL);
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");

    touch(scene, 256 * MIB, 512 * MIB);
    map_ram(scene, client, 256 * MIB, 512 * MIB);
    unmap(client, 256 * MIB, 512 * MIB);
    map_ram(scene, client, 512 * MIB, 768 * MIB);
    assert_unmapped(scene, 256 * MIB);
    vfm_guest_dma_leave(client);
    scene_free(scene);
}

static void test_without_descriptor(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");
    VfmVfuDmaMap rom = {.flags = 1, .address = 0xfffc0000, .size = 0x40000};
    VfmGuestDmaUsage usage;

    assert_true(vfm_guest_dma_map(client, &rom, -1, NULL));
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 0);
    vfm_guest_dma_usage(scene->dma, &usage);
    assert_int_equal(usage.skipped, 1);
    assert_int_equal(unmap(client, 0xfffc0000, 4 * GIB), 0x40000);
    vfm_guest_dma_usage(scene->dma, &usage);
    assert_int_equal(usage.skipped, 0);
    vfm_guest_dma_leave(client);
}

static void test_window(void **state)
{
    g_autoptr(GArray) windows = vfm_ranges_new();
    VfmGuestDmaClient *client;
    Scene *scene;

    vfm_ranges_add(windows, 256 * MIB, 512 * MIB - 1);
    scene = scene_new(NULL, windows);
    client = vfm_guest_dma_join(scene->dma, "one");
    map_ram(scene, client, 0, 0xa0000);
    map_ram(scene, client, MIB, 1024 * MIB);
    assert_int_equal(vfm_backend_record_bytes(scene->backend), 256 * MIB);
    assert_unmapped(scene, 256 * MIB - 4096);
    assert_mapped(scene, 256 * MIB, 256 * MIB);
    assert_mapped(scene, 512 * MIB - 4096, 512 * MIB - 4096);
    assert_unmapped(scene, 512 * MIB);
    assert_int_equal(unmap(client, MIB, 1024 * MIB), 1023 * MIB);
    vfm_guest_dma_leave(client);
    scene_free(scene);
}

static void assert_refused(bool done, GError **error, GQuark domain, int code)
{
    assert_false(done);
    assert_non_null(*error);
    assert_true(g_error_matches(*error, domain, code));
    g_clear_error(error);
}

static void test_refusals(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");
    VfmVfuDmaMap map = {.flags = 3, .address = 8 * GIB, .size = 4096};
    GError *error = NULL;
    uint64_t unmapped;
    int pipes[2];

    map_ram(scene, client, MIB, 2 * MIB);
    assert_refused(map_at(scene, client, 2 * MIB - 4096, 8192, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_STATE);
    assert_refused(map_at(scene, client, 5 * GIB, 4096, 4 * GIB, 3, &error), &error, VFM_INPUT_ERROR, VFM_INPUT_RANGE);
    assert_refused(map_at(scene, client, 5 * GIB + 1, 4096, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT);
    assert_refused(map_at(scene, client, 5 * GIB, 100, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_refused(vfm_guest_dma_map(client, &map, pipes[0], &error), &error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX);
    assert_int_equal(close(pipes[0]), 0); /* only borrowed */
    close(pipes[1]);
    assert_refused(vfm_guest_dma_unmap(client, MIB, 4096, &unmapped, &error), &error, VFM_REFUSED,
                   VFM_REFUSED_ALIGNMENT);
    assert_mapped(scene, MIB, MIB);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 1);
    vfm_guest_dma_leave(client);
}

static void test_out_of_reach(void **state)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();
    VfmGuestDmaClient *client;
    GError *error = NULL;
    Scene *scene;

    vfm_ranges_add(ranges, 0, 0xfedfffff);
    vfm_ranges_add(ranges, 0xfef00000, (UINT64_C(1) << 39) - 1);
    scene = scene_new(&(VfmRecordOptions){.ranges = ranges}, NULL);
    client = vfm_guest_dma_join(scene->dma, "one");
    assert_refused(map_at(scene, client, 0xfee00000, 4096, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_RESERVED);
    assert_refused(map_at(scene, client, UINT64_C(1) << 39, 4096, 0, 3, &error), &error, VFM_REFUSED,
                   VFM_REFUSED_RESERVED);
    vfm_guest_dma_leave(client);
    scene_free(scene);
}

/* For every n: the n-th mapping of one request fails, and everything is as before. */
static void test_all_or_nothing(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *one = vfm_guest_dma_join(scene->dma, "one"), *two = vfm_guest_dma_join(scene->dma, "two");
    GError *error = NULL;
    uint64_t needed, mappings, bytes;

    /* The other client has a part of it already. */
    map_ram(scene, two, 0xf0000, 2 * MIB);
    mappings = vfm_backend_record_mappings(scene->backend);
    bytes = vfm_backend_record_bytes(scene->backend);
    for (needed = 0;; needed++) {
        vfm_backend_record_fail(scene->backend, VFM_RECORD_MAP, needed, 1, ENOMEM);
        if (map_at(scene, one, 0x98000, 3 * MIB - 0x98000, 0x98000, 3, &error))
            break;
        assert_refused(false, &error, VFM_REFUSED, VFM_REFUSED_MEMLOCK);
        assert_int_equal(vfm_backend_record_mappings(scene->backend), mappings);
        assert_int_equal(vfm_backend_record_bytes(scene->backend), bytes);
    }
    vfm_backend_record_fail(scene->backend, VFM_RECORD_MAP, 0, 0, 0);
    /* 0x98000 to 0xa0000, 80 pages, and the rest behind the other's. */
    assert_int_equal(needed, 1 + 80 + 1);
    vfm_guest_dma_leave(one);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), mappings);
    vfm_guest_dma_leave(two);
}

static gpointer let_go(gpointer data)
{
    uint64_t unmapped;

    vfm_guest_dma_unmap(data, 256 * MIB, 256 * MIB, &unmapped, NULL);
    return NULL;
}

/* QEMU took the old memory from both before it gives the new one to the first; the second's message is late. */
static void test_waits_for_the_other(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *one = vfm_guest_dma_join(scene->dma, "one"), *two = vfm_guest_dma_join(scene->dma, "two");
    GError *error = NULL;
    GThread *thread;

    vfm_guest_dma_set_patience(scene->dma, 60 * G_USEC_PER_SEC);
    touch(scene, 256 * MIB, 512 * MIB);
    map_ram(scene, one, 256 * MIB, 512 * MIB);
    map_ram(scene, two, 256 * MIB, 512 * MIB);
    unmap(one, 256 * MIB, 512 * MIB);
    thread = g_thread_new("late", let_go, two);
    assert_true(map_at(scene, one, 256 * MIB, 256 * MIB, 768 * MIB, 3, &error));
    g_thread_join(thread);
    assert_mapped(scene, 256 * MIB, 768 * MIB);
    /* If it never lets go, that is an error, not a hang. */
    vfm_guest_dma_set_patience(scene->dma, 1000);
    assert_refused(map_at(scene, two, 256 * MIB, 256 * MIB, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_STATE);
    assert_mapped(scene, 256 * MIB, 768 * MIB);
    /* Nor does each map that QEMU sent with it wait as long again. */
    vfm_guest_dma_set_patience(scene->dma, INT64_C(3600) * G_USEC_PER_SEC);
    assert_refused(map_at(scene, two, 256 * MIB, 128 * MIB, 0, 3, &error), &error, VFM_REFUSED, VFM_REFUSED_STATE);
    vfm_guest_dma_leave(one);
    vfm_guest_dma_leave(two);
}

/* A device whose reserved region lies in guest memory is refused, the first goes on. */
static void test_newcomer_in_conflict(void **state)
{
    Scene *scene = *state;
    VfmGuestDmaClient *client = vfm_guest_dma_join(scene->dma, "one");
    g_autoptr(GArray) reserved = g_array_new(false, false, sizeof(VfmReserved));
    VfmReserved region = {.start = 300 * MIB, .end = 300 * MIB + 4095, .type = VFM_RESERVED_DIRECT};
    VfmContainerDevice device = {.name = "0000:02:00.0", .fd = -1, .reserved = reserved};
    GError *error = NULL;

    g_array_append_val(reserved, region);
    map_ram(scene, client, 256 * MIB, 512 * MIB);
    assert_refused(vfm_container_attach(scene->container, &device, NULL, &error), &error, VFM_REFUSED,
                   VFM_REFUSED_RESERVED);
    assert_mapped(scene, 300 * MIB, 300 * MIB);
    assert_int_equal(vfm_container_devices(scene->container), 1);
    unmap(client, 256 * MIB, 512 * MIB);
    assert_true(vfm_container_attach(scene->container, &device, NULL, &error));
    vfm_guest_dma_leave(client);
}

int main(void)
{
#define SCENE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        SCENE(test_ram_is_pinned_once_in_a_boot),
        SCENE(test_two_devices_pin_once),
        SCENE(test_blocks_go_in_one_call),
        SCENE(test_what_was_punched_never_lingers),
        SCENE(test_lingering_gives_way),
        cmocka_unit_test(test_lingering_does_not_cost_the_budget),
        SCENE(test_without_descriptor),
        cmocka_unit_test(test_window),
        SCENE(test_refusals),
        cmocka_unit_test(test_out_of_reach),
        SCENE(test_all_or_nothing),
        SCENE(test_waits_for_the_other),
        SCENE(test_newcomer_in_conflict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
