/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A client that says everything wrong, beside an honest one of the same guest. Each has a device; both share the one
 * set of mappings. After each thing said: what is mapped is only what was given, page by page, by whom it was given;
 * the honest client's memory is mapped and its questions are answered. At the end no descriptor is left.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend_record.h"
#include "fake_vfu_device.h"
#include "vfu_client.h"

#define PAGE UINT64_C(4096)
#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)
#define HONEST_SIZE (64 * MIB)
#define HOSTILE_SIZE (4 * MIB)
#define HOSTILE_AT (16 * GIB)

/* Files of guest memory whose pages tell which they are. */
enum { HONEST = 0x686f6e, HOSTILE = 0x686f73 };

typedef struct {
    FakeVfuDevice *device;
    VfmVfuJournal *journal;
    VfmVfuSession *session;
    int client;
} Peer;

typedef struct {
    uint64_t address, size, offset;
    unsigned prot;
    int file; /* HONEST, HOSTILE */
} Given;

typedef struct {
    VfmBackend *backend;
    VfmContainer *container;
    VfmGuestDma *dma;
    Peer honest, hostile;
    int honest_memory, hostile_memory; /* memfds */
    GArray *given;                     /* of Given: what may be mapped */
    bool emptied;                      /* the hostile file lost its pages: their tags are gone */
    uint16_t id;
    unsigned fds_before, said;
} Scene;

static int make_memory(uint64_t size, uint32_t tag, unsigned flags)
{
    int fd = memfd_create("guest", MFD_CLOEXEC | flags);
    uint64_t *base;

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(base, MAP_FAILED);
    for (uint64_t page = 0; page < size / PAGE; page++)
        base[page * PAGE / 8] = (uint64_t)tag << 32 | page;
    munmap(base, size);
    return fd;
}

static void peer_connect(Scene *scene, Peer *peer, const char *name)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 1000, .page_sizes = 4096};
    int sockets[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    peer->device = fake_vfu_device_new();
    peer->device->guest = vfm_guest_dma_join(scene->dma, name);
    peer->client = sockets[0];
    peer->journal = vfm_vfu_journal_new(NULL);
    assert_non_null(peer->journal);
    peer->session = vfm_vfu_session_new(peer->journal, sockets[1], &peer->device->vfu, &offer);
}

static void peer_hang_up(Peer *peer)
{
    close(peer->client);
    vfm_vfu_session_free(peer->session);
    vfm_vfu_journal_free(peer->journal);
    assert_int_equal(peer->device->gones, 1);
    fake_vfu_device_free(peer->device);
}

static int map_with(Scene *scene, int client, const VfmVfuDmaMap *map, int fd)
{
    command_fds(client, ++scene->id, VFM_VFU_DMA_MAP, 0, map, sizeof(*map), &fd, fd >= 0);
    return reply(client, scene->id, NULL, 0, NULL, NULL);
}

static void honest_maps(Scene *scene, uint64_t address, uint64_t size, uint64_t offset)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .offset = offset, .address = address, .size = size};
    Given given = {address, size, offset, VFM_PROT_READ | VFM_PROT_WRITE, HONEST};

    assert_int_equal(map_with(scene, scene->honest.client, &map, scene->honest_memory), 0);
    g_array_append_val(scene->given, given);
}

static int setup(void **state)
{
    VfmContainerDevice attached = {.name = "0000:01:00.0", .fd = -1};
    Scene *scene = g_new0(Scene, 1);

    scene->fds_before = open_fds();
    scene->backend = vfm_backend_record_new(NULL);
    scene->container = vfm_container_new("container 0", scene->backend, VFM_NONE);
    scene->dma = vfm_guest_dma_new(scene->container, NULL);
    vfm_guest_dma_set_patience(scene->dma, 1000);
    assert_true(vfm_container_attach(scene->container, &attached, NULL, NULL));
    scene->given = g_array_new(false, false, sizeof(Given));
    scene->honest_memory = make_memory(HONEST_SIZE, HONEST, 0);
    scene->hostile_memory = make_memory(HOSTILE_SIZE, HOSTILE, MFD_ALLOW_SEALING);
    peer_connect(scene, &scene->honest, "honest");
    negotiate(scene->honest.client);
    honest_maps(scene, 0, 640 << 10, 0);
    honest_maps(scene, MIB, 47 * MIB, MIB);
    for (unsigned i = 0; i < 8; i++) /* virtio-mem's blocks */
        honest_maps(scene, 4 * GIB + i * 2 * MIB, 2 * MIB, 48 * MIB + i * 2 * MIB);
    peer_connect(scene, &scene->hostile, "hostile");
    *state = scene;
    return 0;
}

/* --- what must always be true */

static const Given *who_gave(const Scene *scene, const VfmMapping *mapping)
{
    for (unsigned i = 0; i < scene->given->len; i++) {
        const Given *given = &g_array_index(scene->given, Given, i);

        if (mapping->iova >= given->address && mapping->size <= given->size &&
            mapping->iova - given->address <= given->size - mapping->size)
            return given;
    }
    return NULL;
}

static bool check_mapping(void *data, const VfmMapping *mapping)
{
    const Scene *scene = data;
    const Given *given = who_gave(scene, mapping);
    uint64_t first;

    if (!given)
        fail_msg("%#lx+%#lx is mapped and was not given", mapping->iova, mapping->size);
    first = given->offset + (mapping->iova - given->address);
    assert_int_equal(mapping->prot & ~given->prot, 0);
    assert_int_equal(mapping->offset, first);
    if (given->file == HOSTILE && scene->emptied)
        return true;
    /* The memory itself: both ends. */
    for (uint64_t at = 0; at < mapping->size; at += MAX(mapping->size - PAGE, PAGE)) {
        uint64_t tag = *(const volatile uint64_t *)((const char *)mapping->vaddr + at);

        assert_int_equal(tag, (uint64_t)given->file << 32 | (first + at) / PAGE);
    }
    return true;
}

static void check(Scene *scene)
{
    VfmVfuRegionAccess access = {.offset = scene->said % 200, .region = VFIO_PCI_CONFIG_REGION_INDEX, .count = 4};
    VfmVfuDmaMap again = {.argsz = sizeof(again), .flags = 3, .address = 12 * GIB, .size = PAGE};
    VfmVfuDmaUnmap off = {.argsz = sizeof(off), .address = 12 * GIB, .size = PAGE};

    scene->said++;
    /* The honest one is served: it reads, and now and then gets and gives memory. */
    command(scene->honest.client, ++scene->id, VFM_VFU_REGION_READ, &access, sizeof(access));
    assert_int_equal(reply(scene->honest.client, scene->id, NULL, 0, NULL, NULL), 0);
    if (scene->said % 16 == 0) {
        assert_int_equal(map_with(scene, scene->honest.client, &again, scene->honest_memory), 0);
        command(scene->honest.client, ++scene->id, VFM_VFU_DMA_UNMAP, &off, sizeof(off));
        assert_int_equal(reply(scene->honest.client, scene->id, NULL, 0, NULL, NULL), 0);
    }
    vfm_guest_dma_settle(scene->dma);
    vfm_guest_dma_lock(scene->dma);
    vfm_backend_record_foreach(scene->backend, check_mapping, scene);
    for (unsigned i = 0; i < scene->given->len; i++) {
        const Given *given = &g_array_index(scene->given, Given, i);
        VfmMapping mapping;

        for (uint64_t at = given->address; given->file == HONEST && at < given->address + given->size;
             at = mapping.iova + mapping.size)
            if (!vfm_backend_record_find(scene->backend, at, &mapping))
                fail_msg("%#lx of the honest client is mapped no more", at);
    }
    vfm_guest_dma_unlock(scene->dma);
}

static void forget_hostile(Scene *scene)
{
    for (unsigned i = scene->given->len; i-- > 0;)
        if (g_array_index(scene->given, Given, i).file == HOSTILE)
            g_array_remove_index(scene->given, i);
}

static int teardown(void **state)
{
    Scene *scene = *state;

    peer_hang_up(&scene->hostile);
    forget_hostile(scene);
    check(scene); /* nothing of it is left */
    peer_hang_up(&scene->honest);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 0);
    vfm_guest_dma_free(scene->dma);
    vfm_container_free(scene->container);
    g_array_unref(scene->given);
    close(scene->honest_memory);
    close(scene->hostile_memory);
    assert_int_equal(open_fds(), scene->fds_before);
    g_free(scene);
    return 0;
}

/* --- the hostile one */

static void hostile_again(Scene *scene)
{
    peer_hang_up(&scene->hostile);
    forget_hostile(scene);
    check(scene);
    peer_connect(scene, &scene->hostile, "hostile");
    negotiate(scene->hostile.client);
}

static void hostile_unmaps_all(Scene *scene)
{
    VfmVfuDmaUnmap all = {.argsz = sizeof(all), .flags = VFM_VFU_DMA_UNMAP_ALL};

    command(scene->hostile.client, ++scene->id, VFM_VFU_DMA_UNMAP, &all, sizeof(all));
    assert_int_equal(reply(scene->hostile.client, scene->id, NULL, 0, NULL, NULL), 0);
    forget_hostile(scene);
}

/* A map by the hostile client; returns the errno of the answer. What is accepted counts as given. */
static int hostile_maps(Scene *scene, const VfmVfuDmaMap *map, int fd)
{
    int status = map_with(scene, scene->hostile.client, map, fd);

    if (status == 0 && fd >= 0) {
        Given given = {map->address, map->size, map->offset, 0, HOSTILE};

        given.prot |= map->flags & VFM_VFU_DMA_READABLE ? VFM_PROT_READ : 0;
        given.prot |= map->flags & VFM_VFU_DMA_WRITEABLE ? VFM_PROT_WRITE : 0;
        assert_true(map->offset < HOSTILE_SIZE && map->size <= HOSTILE_SIZE - map->offset);
        g_array_append_val(scene->given, given);
    }
    check(scene);
    return status;
}

static void test_every_command_before_and_after_the_version(void **state)
{
    Scene *scene = *state;
    uint8_t payload[64] = {0};
    unsigned refused = 0;

    for (unsigned number = 0; number < 40; number++) {
        if (number == VFM_VFU_VERSION)
            continue;
        command_fds(scene->hostile.client, ++scene->id, number, 0, payload, sizeof(payload), &scene->hostile_memory, 1);
        refused += reply(scene->hostile.client, scene->id, NULL, 0, NULL, NULL) != 0;
        check(scene);
    }
    assert_int_equal(refused, 39);
    negotiate(scene->hostile.client);
    assert_int_equal(negotiate_with(scene->hostile.client, qemu_capabilities, sizeof(qemu_capabilities), NULL, 0),
                     EINVAL);
    check(scene);
}

static void test_places_that_are_none(void **state)
{
    static const struct {
        uint64_t address, size, offset;
        int status; /* -1: any failure */
    } cases[] = {
        {HOSTILE_AT, HOSTILE_SIZE, 0, 0},
        {HOSTILE_AT, HOSTILE_SIZE + PAGE, 0, EINVAL}, /* beyond the file's end */
        {HOSTILE_AT, PAGE, HOSTILE_SIZE, EINVAL},
        {HOSTILE_AT, 2 * PAGE, HOSTILE_SIZE - PAGE, EINVAL},
        /* Offset and size are 2^64 together: in front of the file's mapping, if believed. */
        {HOSTILE_AT, PAGE, UINT64_MAX - (PAGE - 1), EINVAL},
        {HOSTILE_AT, HOSTILE_SIZE, UINT64_MAX - (HOSTILE_SIZE - 1), EINVAL},
        {HOSTILE_AT, 2 * PAGE, UINT64_MAX - (PAGE - 1), EINVAL},
        {HOSTILE_AT, UINT64_C(1) << 63, UINT64_C(1) << 63, EINVAL},
        {HOSTILE_AT, UINT64_MAX - (PAGE - 1), PAGE, EINVAL},
        {HOSTILE_AT + 1, PAGE, 0, EINVAL},
        {HOSTILE_AT, PAGE + 1, 0, EINVAL},
        {HOSTILE_AT, PAGE, 1, EINVAL},
        {HOSTILE_AT, PAGE - 1, 0, EINVAL},
        {HOSTILE_AT, 0, 0, EINVAL},
        {UINT64_MAX - (PAGE - 1), PAGE, 0, EINVAL}, /* no container reaches the last page there is */
        {UINT64_MAX - (PAGE - 1), 2 * PAGE, 0, EINVAL},
        /* Over, within, across the edges of and around what the honest client has. */
        {4 * GIB, 2 * MIB, 0, EEXIST},
        {4 * GIB + PAGE, PAGE, 0, EEXIST},
        {4 * GIB - PAGE, 2 * PAGE, 0, EEXIST},
        {4 * GIB + 16 * MIB - PAGE, 2 * PAGE, 0, EEXIST},
        {0, PAGE, 0, EEXIST},
        {640 << 10, PAGE, 0, 0}, /* a hole of its */
        {(640 << 10) - PAGE, 2 * PAGE, 0, EEXIST},
        {47 * MIB, HOSTILE_SIZE, 0, EEXIST},
    };
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        VfmVfuDmaMap map = {.argsz = sizeof(map),
                            .flags = 3,
                            .offset = cases[i].offset,
                            .address = cases[i].address,
                            .size = cases[i].size};
        int status = hostile_maps(scene, &map, scene->hostile_memory);

        if (status != cases[i].status)
            fail_msg("case %u: %d", i, status);
        hostile_unmaps_all(scene);
        check(scene);
    }
}

/* Unmaps reach only what is one's own. */
static void test_unmaps_of_what_is_not_its(void **state)
{
    static const struct {
        uint32_t flags;
        uint64_t address, size;
    } cases[] = {
        {0, 0, 640 << 10},
        {0, 0, UINT64_MAX},
        {VFM_VFU_DMA_UNMAP_ALL, 0, 0},
        {0, 4 * GIB, 2 * MIB},
        {0, 4 * GIB + PAGE, PAGE},
        {0, UINT64_MAX, 1},
        {0, 0, 0},
        {0, UINT64_MAX, UINT64_MAX},
        {4, 0, PAGE},
        {VFM_VFU_DMA_UNMAP_ALL, UINT64_MAX, UINT64_MAX},
        {0xffffffff, 0, 0},
    };
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        VfmVfuDmaUnmap unmap = {
            .argsz = sizeof(unmap), .flags = cases[i].flags, .address = cases[i].address, .size = cases[i].size};

        command(scene->hostile.client, ++scene->id, VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap));
        if (reply(scene->hostile.client, scene->id, &unmap, sizeof(unmap), NULL, NULL) == 0)
            assert_int_equal(unmap.size, 0);
        check(scene);
    }
}

static int reopened(int fd, int flags)
{
    g_autofree char *path = g_strdup_printf("/proc/self/fd/%d", fd);
    int again = open(path, flags | O_CLOEXEC);

    assert_true(again >= 0);
    return again;
}

static void test_descriptors_that_are_no_memory(void **state)
{
    Scene *scene = *state;
    int ends[2], kinds[16], n = 0, refused = 0;

    negotiate(scene->hostile.client);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    kinds[n++] = ends[0];
    kinds[n++] = ends[1];
    kinds[n++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    kinds[n++] = open("/dev/zero", O_RDWR | O_CLOEXEC);
    kinds[n++] = open("/dev/null", O_RDWR | O_CLOEXEC);
    kinds[n++] = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    kinds[n++] = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
    kinds[n++] = open("/sys/kernel/mm/transparent_hugepage/enabled", O_RDONLY | O_CLOEXEC);
    kinds[n++] = eventfd(0, EFD_CLOEXEC);
    kinds[n++] = epoll_create1(EPOLL_CLOEXEC);
    kinds[n++] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    kinds[n++] = memfd_create("empty", MFD_CLOEXEC);
    kinds[n++] = reopened(scene->hostile_memory, O_PATH);
    kinds[n++] = reopened(scene->hostile_memory, O_WRONLY);
    for (int i = 0; i < n; i++) {
        VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = PAGE};

        if (kinds[i] < 0)
            continue; /* not on this machine */
        if (hostile_maps(scene, &map, kinds[i]) == 0)
            fail_msg("descriptor %d was taken for memory", i);
        refused++;
        close(kinds[i]);
    }
    assert_true(refused >= 12);
}

/* A file that may only be read is good for memory that may only be read, and does not stand in for one that is more. */
static void test_memory_that_may_only_be_read(void **state)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = PAGE};
    Scene *scene = *state;
    int read_only = reopened(scene->hostile_memory, O_RDONLY), sealed;

    negotiate(scene->hostile.client);
    assert_int_equal(hostile_maps(scene, &map, read_only), EINVAL);
    map.flags = VFM_VFU_DMA_READABLE;
    assert_int_equal(hostile_maps(scene, &map, read_only), 0);
    map.flags = 3;
    map.address += PAGE;
    assert_int_equal(hostile_maps(scene, &map, scene->hostile_memory), 0);
    hostile_unmaps_all(scene);
    /* The same by a seal. */
    sealed = make_memory(HOSTILE_SIZE, HOSTILE, MFD_ALLOW_SEALING);
    assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW), 0);
    assert_int_equal(hostile_maps(scene, &map, sealed), EINVAL);
    map.flags = VFM_VFU_DMA_READABLE;
    assert_int_equal(hostile_maps(scene, &map, sealed), 0);
    close(read_only);
    close(sealed);
}

/* Neither this process nor the kernel touches pages that are gone. */
static void test_memory_that_goes_away(void **state)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = HOSTILE_SIZE};
    VfmVfuDmaMap low = {.argsz = sizeof(low), .flags = 3, .address = 256 * MIB, .size = HOSTILE_SIZE};
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    assert_int_equal(hostile_maps(scene, &map, scene->hostile_memory), 0);
    assert_int_equal(hostile_maps(scene, &low, scene->hostile_memory), 0);
    scene->emptied = true;
    assert_int_equal(fallocate(scene->hostile_memory, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, HOSTILE_SIZE / 2),
                     0);
    check(scene);
    assert_int_equal(ftruncate(scene->hostile_memory, PAGE), 0);
    check(scene);
    low.address += 64 * MIB;
    assert_int_equal(hostile_maps(scene, &low, scene->hostile_memory), EINVAL);
    low.size = PAGE;
    assert_int_equal(hostile_maps(scene, &low, scene->hostile_memory), 0);
    assert_int_equal(ftruncate(scene->hostile_memory, 0), 0);
    check(scene);
    low.address += 64 * MIB;
    assert_int_equal(hostile_maps(scene, &low, scene->hostile_memory), EINVAL);
    hostile_unmaps_all(scene);
    check(scene);
    /* Larger than it was: not what was looked at first. */
    assert_int_equal(ftruncate(scene->hostile_memory, HOSTILE_SIZE), 0);
    assert_int_equal(hostile_maps(scene, &map, scene->hostile_memory), 0);
    assert_int_equal(ftruncate(scene->hostile_memory, 0), 0);
    check(scene);
}

/* Huge pages need not exist for a map of them to be asked for. */
static void test_huge_pages(void **state)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = PAGE};
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    if (fd < 0)
        skip();
    assert_int_equal(ftruncate(fd, (off_t)HOSTILE_SIZE), 0);
    scene->emptied = true;
    hostile_maps(scene, &map, fd);
    map.address += HOSTILE_SIZE;
    map.size = HOSTILE_SIZE;
    hostile_maps(scene, &map, fd);
    close(fd);
}

static void test_too_many_and_too_few_descriptors(void **state)
{
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = PAGE};
    static const uint16_t commands[] = {VFM_VFU_DMA_UNMAP,    VFM_VFU_DEVICE_GET_INFO, VFM_VFU_REGION_READ,
                                        VFM_VFU_DEVICE_RESET, VFM_VFU_DEVICE_SET_IRQS, 77};
    Scene *scene = *state;
    uint8_t payload[64] = {0};
    int fds[VFM_VFU_MAX_FDS + 8];

    for (unsigned i = 0; i < G_N_ELEMENTS(fds); i++)
        fds[i] = scene->hostile_memory;
    negotiate(scene->hostile.client);
    for (unsigned n = 2; n <= VFM_VFU_MAX_FDS; n++) {
        command_fds(scene->hostile.client, ++scene->id, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), fds, n);
        assert_int_equal(reply(scene->hostile.client, scene->id, NULL, 0, NULL, NULL), EINVAL);
        check(scene);
    }
    assert_int_equal(hostile_maps(scene, &map, -1), 0); /* like a ROM: nothing is mapped */
    hostile_unmaps_all(scene);
    for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
        command_fds(scene->hostile.client, ++scene->id, commands[i], 0, payload, sizeof(payload), fds, VFM_VFU_MAX_FDS);
        reply(scene->hostile.client, scene->id, NULL, 0, NULL, NULL);
        check(scene);
    }
    /* A descriptor too many ends the connection, and takes nothing with it. */
    command_fds(scene->hostile.client, ++scene->id, VFM_VFU_DMA_MAP, 0, &map, sizeof(map), fds, VFM_VFU_MAX_FDS + 1);
    vfm_vfu_session_wait(scene->hostile.session);
    assert_true(scene->hostile.device->broken_off);
    check(scene);
}

/* --- each field of each command */

typedef struct {
    uint16_t command;
    const void *payload;
    uint32_t length;
    uint32_t fields; /* bit i: a field of eight bytes begins at 4 * i; the others have four */
    bool with_fd;
} Template;

/* The answer, if there is one: a broken connection has none. True: it stands. */
static bool answered(Scene *scene, int *status)
{
    Peer *hostile = &scene->hostile;
    char byte;

    if (recv(hostile->client, &byte, 1, MSG_PEEK) <= 0)
        return false;
    *status = reply(hostile->client, scene->id, NULL, 0, NULL, NULL);
    return true;
}

static void note_map(Scene *scene, const Template *template, const uint8_t *payload, uint32_t length)
{
    VfmVfuDmaMap map;
    Given given = {.file = HOSTILE};

    if (template->command != VFM_VFU_DMA_MAP || length < sizeof(map))
        return;
    memcpy(&map, payload, sizeof(map));
    given.address = map.address;
    given.size = map.size;
    given.offset = map.offset;
    given.prot |= map.flags & VFM_VFU_DMA_READABLE ? VFM_PROT_READ : 0;
    given.prot |= map.flags & VFM_VFU_DMA_WRITEABLE ? VFM_PROT_WRITE : 0;
    assert_true(map.offset < HOSTILE_SIZE && map.size <= HOSTILE_SIZE - map.offset);
    g_array_append_val(scene->given, given);
}

static void say(Scene *scene, const Template *template, const uint8_t *payload, uint32_t length)
{
    int status = 0;

    command_fds(scene->hostile.client, ++scene->id, template->command, 0, payload, length, &scene->hostile_memory,
                template->with_fd);
    if (!answered(scene, &status)) {
        vfm_vfu_session_wait(scene->hostile.session);
        hostile_again(scene);
        return;
    }
    if (status == 0 && template->with_fd)
        note_map(scene, template, payload, length);
    check(scene);
    hostile_unmaps_all(scene);
}

static void fill(uint8_t *payload, const Template *template)
{
    if (template->length)
        memcpy(payload, template->payload, template->length);
}

static void each_field(Scene *scene, const Template *template)
{
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      7,
                                      0x7f,
                                      0xff,
                                      PAGE - 1,
                                      PAGE,
                                      PAGE + 1,
                                      INT32_MAX,
                                      UINT64_C(1) << 31,
                                      UINT32_MAX - (PAGE - 1),
                                      UINT32_MAX,
                                      UINT64_C(1) << 32,
                                      INT64_MAX,
                                      UINT64_C(1) << 63,
                                      UINT64_MAX - (PAGE - 1),
                                      UINT64_MAX};
    g_autofree uint8_t *payload = g_malloc0(template->length + 64);

    fill(payload, template);
    say(scene, template, payload, template->length);
    for (uint32_t at = 0; at + 4 <= template->length;) {
        uint32_t size = template->fields >> (at / 4) & 1 ? 8 : 4;

        for (unsigned v = 0; v < G_N_ELEMENTS(values); v++) {
            fill(payload, template);
            memcpy(payload + at, &values[v], size);
            say(scene, template, payload, template->length);
        }
        at += size;
    }
    /* Each length, and some too many. */
    fill(payload, template);
    for (uint32_t length = 0; length <= template->length + 9; length++)
        say(scene, template, payload, length);
}

static void test_each_field_of_each_command(void **state)
{
    const VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = 2 * PAGE};
    const VfmVfuDmaUnmap unmap = {.argsz = sizeof(unmap), .address = HOSTILE_AT, .size = 2 * PAGE};
    const uint32_t info[4] = {16, 0, 0, 0};
    const struct vfio_region_info region = {.argsz = sizeof(region)};
    const struct vfio_irq_info irq = {.argsz = sizeof(irq)};
    const struct vfio_irq_set set = {.argsz = sizeof(set),
                                     .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                     .index = VFIO_PCI_MSIX_IRQ_INDEX,
                                     .count = 1};
    const VfmVfuRegionAccess read = {.offset = 8, .region = 0, .count = 8};
    const struct {
        VfmVfuRegionAccess access;
        uint8_t data[8];
    } write = {{.offset = 8, .region = 0, .count = 8}, {1}};
    const struct {
        uint64_t count;
        VfmVfuWriteOne one[2];
    } multi = {2, {{8, 0, 1, "a"}, {9, 0, 2, "bc"}}};
    const struct {
        VfmVfuVersion version;
        char json[12];
    } version = {{0, 0}, "{}"};
    const Template templates[] = {
        {VFM_VFU_VERSION, &version, sizeof(version), 0, false},
        {VFM_VFU_DMA_MAP, &map, sizeof(map), 1 << 2 | 1 << 4 | 1 << 6, true},
        {VFM_VFU_DMA_MAP, &map, sizeof(map), 1 << 2 | 1 << 4 | 1 << 6, false},
        {VFM_VFU_DMA_UNMAP, &unmap, sizeof(unmap), 1 << 2 | 1 << 4, false},
        {VFM_VFU_DEVICE_GET_INFO, info, sizeof(info), 0, false},
        {VFM_VFU_DEVICE_GET_REGION_INFO, &region, sizeof(region), 1 << 4 | 1 << 6, false},
        {VFM_VFU_DEVICE_GET_REGION_IO_FDS, &region, sizeof(region), 0, false},
        {VFM_VFU_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), 0, false},
        {VFM_VFU_DEVICE_SET_IRQS, &set, sizeof(set), 0, false},
        {VFM_VFU_DEVICE_SET_IRQS, &set, sizeof(set), 0, true},
        {VFM_VFU_REGION_READ, &read, sizeof(read), 1, false},
        {VFM_VFU_REGION_WRITE, &write, sizeof(write), 1, false},
        {VFM_VFU_REGION_WRITE_MULTI, &multi, sizeof(multi), 1 | 1 << 2, false},
        {VFM_VFU_DMA_READ, &read, sizeof(read), 1, false},
        {VFM_VFU_DMA_WRITE, &read, sizeof(read), 1, false},
        {VFM_VFU_DEVICE_RESET, NULL, 0, 0, false},
    };
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    for (unsigned i = 0; i < G_N_ELEMENTS(templates); i++)
        each_field(scene, &templates[i]);
    print_message("%u things said\n", scene->said);
}

static void test_each_field_of_the_header(void **state)
{
    static const uint32_t sizes[] = {0, 1, 15, 17, 47, 49, VFM_VFU_MAX_MESSAGE + 1, INT32_MAX, UINT32_MAX};
    VfmVfuDmaMap map = {.argsz = sizeof(map), .flags = 3, .address = HOSTILE_AT, .size = PAGE};
    struct {
        VfmVfuHeader header;
        VfmVfuDmaMap map;
    } message;
    Scene *scene = *state;
    int status;

    negotiate(scene->hostile.client);
    for (unsigned command = 0; command < 300; command = command < 40 ? command + 1 : command * 2) {
        if (command == VFM_VFU_DMA_MAP)
            continue;
        say(scene, &(Template){command, &map, sizeof(map), 0, true}, (const uint8_t *)&map, sizeof(map));
    }
    /* Sizes that are not the message's: what follows is read as something else, or never comes. */
    for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
        message.header = (VfmVfuHeader){.id = ++scene->id, .command = VFM_VFU_DMA_MAP, .size = sizes[i]};
        message.map = map;
        send_raw(scene->hostile.client, &message, sizeof(message), &scene->hostile_memory, 1);
        check(scene);
        hostile_again(scene);
    }
    for (unsigned bit = 0; bit < 32; bit++) {
        message.header = (VfmVfuHeader){
            .id = ++scene->id, .command = VFM_VFU_DMA_UNMAP, .size = sizeof(message), .flags = 1u << bit};
        message.map = (VfmVfuDmaMap){0};
        send_raw(scene->hostile.client, &message, sizeof(message), NULL, 0);
        check(scene);
        hostile_again(scene);
    }
    /* The error number of a command means nothing. */
    message.header = (VfmVfuHeader){
        .id = ++scene->id, .command = VFM_VFU_DEVICE_RESET, .size = sizeof(VfmVfuHeader), .error = UINT32_MAX};
    send_raw(scene->hostile.client, &message, sizeof(VfmVfuHeader), NULL, 0);
    assert_true(answered(scene, &status));
    assert_int_equal(status, 0);
    check(scene);
}

/* Bytes in any pieces, with a descriptor at each, and no end. */
static void test_descriptors_at_every_byte(void **state)
{
    VfmVfuHeader header = {.command = VFM_VFU_DMA_MAP, .size = sizeof(header) + sizeof(VfmVfuDmaMap)};
    Scene *scene = *state;

    negotiate(scene->hostile.client);
    for (unsigned cut = 1; cut <= sizeof(header); cut++) {
        for (unsigned i = 0; i < cut; i++)
            send_raw(scene->hostile.client, (const uint8_t *)&header + i, 1, &scene->hostile_memory, 1);
        check(scene);
        hostile_again(scene);
    }
}

int main(void)
{
#define SCENE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        SCENE(test_every_command_before_and_after_the_version),
        SCENE(test_places_that_are_none),
        SCENE(test_unmaps_of_what_is_not_its),
        SCENE(test_descriptors_that_are_no_memory),
        SCENE(test_memory_that_may_only_be_read),
        SCENE(test_memory_that_goes_away),
        SCENE(test_huge_pages),
        SCENE(test_too_many_and_too_few_descriptors),
        SCENE(test_each_field_of_each_command),
        SCENE(test_each_field_of_the_header),
        SCENE(test_descriptors_at_every_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
