/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Guest memory in huge pages: what helper mode may leave pinned while firmware reshapes it, and what it must not. */
#include "guest_dma.h"
#include "kernel_view.h"
#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define HUGE (2 * MIB)
#define RAM (16 * HUGE)

typedef struct {
    VfmContainer *container;
    VfmGuestDma *dma;
    VfmGuestDmaClient *client;
    int ram;
} Scene;

static void reserve_huge_pages(const char *count)
{
    int fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY | O_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, count, strlen(count)), strlen(count));
    close(fd);
}

static int setup(void **state)
{
    VfmContainerDevice device = {.name = place_device(0, false)};
    g_autoptr(GError) error = NULL;
    Scene *scene = g_new0(Scene, 1);

    reserve_huge_pages("16");
    scene->ram = memfd_create("ram", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
    if (scene->ram < 0)
        g_error("no huge pages here: %s", g_strerror(errno));
    assert_int_equal(ftruncate(scene->ram, (off_t)RAM), 0);
    scene->container = vfm_container_new("container 0", place_backend(), VFM_NONE);
    device.fd = place_open(device.name);
    if (!vfm_container_attach(scene->container, &device, NULL, &error))
        g_error("%s", error->message);
    place_close_groups();
    scene->dma = vfm_guest_dma_new(scene->container, NULL);
    scene->client = vfm_guest_dma_join(scene->dma, "one");
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    Scene *scene = *state;

    vfm_guest_dma_leave(scene->client);
    vfm_guest_dma_free(scene->dma);
    assert_int_equal(place_held(), 0);
    vfm_container_free(scene->container);
    close(scene->ram);
    reserve_huge_pages("0");
    g_free(scene);
    return 0;
}

static void map(Scene *scene, uint64_t start, uint64_t end)
{
    const VfmVfuDmaMap map = {.flags = 3, .offset = start, .address = start, .size = end - start};
    g_autoptr(GError) error = NULL;

    if (!vfm_guest_dma_map(scene->client, &map, scene->ram, &error))
        g_error("%s", error->message);
}

static void unmap(Scene *scene, uint64_t start, uint64_t end)
{
    uint64_t unmapped;

    assert_true(vfm_guest_dma_unmap(scene->client, start, end - start, &unmapped, NULL));
    assert_int_equal(unmapped, end - start);
}

static uint64_t pinned_total(Scene *scene)
{
    VfmGuestDmaUsage usage;

    vfm_guest_dma_usage(scene->dma, &usage);
    return usage.pinned_total;
}

/* As firmware has QEMU do it, on a file that pinning has filled. */
static void pinned_once(void **state)
{
    Scene *scene = *state;

    map(scene, 0, 640 * 1024);
    map(scene, MIB, RAM);
    assert_int_equal(place_held(), RAM - 384 * 1024);
    for (unsigned i = 0; i < 4; i++) {
        unmap(scene, MIB, RAM);
        assert_int_equal(place_held(), RAM - 384 * 1024);
        map(scene, MIB, RAM);
    }
    assert_int_equal(pinned_total(scene), RAM - 384 * 1024);
    unmap(scene, MIB, RAM);
    vfm_guest_dma_settle(scene->dma);
    assert_int_equal(place_held(), 640 * 1024);
}

/* What somebody took out of the file must not stay with the device. */
static void punched(void **state)
{
    Scene *scene = *state;

    map(scene, MIB, RAM);
    assert_int_equal(fallocate(scene->ram, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4 * HUGE, HUGE), 0);
    unmap(scene, MIB, RAM);
    assert_int_equal(place_held(), 0);
    /* The file tells no more than that something is missing, so nothing lingers. */
    map(scene, MIB, 2 * HUGE);
    unmap(scene, MIB, 2 * HUGE);
    assert_int_equal(place_held(), 0);
}

/* Pages that are reserved are not there. */
static void reserved_only(void **state)
{
    Scene *scene = *state;
    void *reserving = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_SHARED, scene->ram, 0);

    assert_ptr_not_equal(reserving, MAP_FAILED);
    map(scene, MIB, 8 * HUGE);
    unmap(scene, MIB, 8 * HUGE);
    assert_int_equal(place_held(), 0);
    munmap(reserving, RAM);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(pinned_once), TEST(punched), TEST(reserved_only)};

    return cmocka_run_group_tests_name(place_is_iommufd() ? "huge pages on iommufd" : "huge pages on type1", tests,
                                       NULL, NULL);
}
