/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a device reaches through the engine, told by the device itself (edu.h).
 *
 * The control comes first: the same discard and reuse of memory without us ends in
 * device and CPU seeing different pages. If it ever stops to, these tests prove nothing.
 */
#include "kernel_view.h"
#include "place.h"
#include "scene.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK (2 * MIB)
#define COPY EDU_BUFFER_SIZE

typedef struct {
    Scene *scene;
    Memory *boot; /* 16 MiB at 0 */
    Memory *vmem; /* 64 MiB in blocks of 2 MiB at 4 GiB */
    Edu *edu;     /* of device 0 */
    const char *device;
} Fixture;

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->scene = scene_new();
    f->boot = scene_add_memory(f->scene, "boot RAM", 0, 16 * MIB, 0);
    f->vmem = scene_add_memory(f->scene, "virtio-mem", 4 * GIB, 64 * MIB, BLOCK);
    f->device = place_device(0, false);
    f->edu = scene_attach(f->scene, f->device);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    scene_verify(f->scene);
    scene_free(f->scene);
    g_free(f);
    assert_int_equal(place_held(), 0);
    return 0;
}

static uint64_t block_at(const Fixture *f, unsigned block)
{
    return f->vmem->address + block * BLOCK;
}

/* The device brings what the CPU wrote at @from to @to. */
static void assert_reached(Edu *edu, Memory *memory, uint64_t from, uint64_t to, int pattern)
{
    memset(memory->cpu + from, pattern, COPY);
    memset(memory->cpu + to, 0, COPY);
    edu_copy(edu, memory->address + from, memory->address + to, COPY);
    assert_memory_equal(memory->cpu + to, memory->cpu + from, COPY);
    assert_int_equal(memory->other[to + COPY - 1], pattern);
}

/* The device writes @pattern (by way of boot RAM) to @address, and the IOMMU stops it. */
static void assert_write_faults(Fixture *f, Edu *edu, uint64_t address, int pattern)
{
    uint64_t before = kernel_faults();

    memset(f->boot->cpu, pattern, COPY);
    edu_copy(edu, 0, address, COPY);
    assert_true(kernel_fault_since(before));
}

/* What the device finds at @address never gets anywhere: what it brings from there is not @secret. */
static void assert_read_faults(Fixture *f, Edu *edu, uint64_t address, int secret)
{
    uint64_t before = kernel_faults();

    memset(f->boot->cpu, 0x3c, COPY);
    edu_copy(edu, address, 0, COPY);
    assert_true(kernel_fault_since(before));
    for (unsigned i = 0; i < COPY; i++)
        assert_int_not_equal(f->boot->cpu[i], secret);
}

/* The balloon's corruption: the memory is mapped once and for all, the page goes and comes back as another. */
static void control_without_us(void **state)
{
    Scene *bare = scene_new();
    VfmBackend *backend = vfm_container_backend(bare->container);
    Edu *edu = scene_attach(bare, place_device(0, false));
    /* Outside of the map, so that nobody follows. */
    Memory memory = {.fd = memfd_create("control", MFD_CLOEXEC), .size = 2 * BLOCK};
    g_autoptr(GError) error = NULL;
    uint64_t unmapped;

    assert_int_equal(ftruncate(memory.fd, 2 * BLOCK), 0);
    memory.cpu = mmap(NULL, 2 * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, memory.fd, 0);
    VfmMapping mapping = {.iova = 4 * GIB,
                          .size = 2 * BLOCK,
                          .vaddr = memory.cpu,
                          .fd = memory.fd,
                          .prot = VFM_PROT_READ | VFM_PROT_WRITE};
    assert_true(backend->ops->map(backend, &mapping, &error));

    memset(memory.cpu, 'A', COPY);
    memory_punch(&memory, 0, BLOCK);
    memset(memory.cpu, 'B', COPY); /* the guest uses the block again: a new page */
    edu_copy(edu, 4 * GIB, 4 * GIB + BLOCK, COPY);
    assert_int_equal(memory.cpu[BLOCK], 'A'); /* the device still reads the old one */
    memset(memory.cpu + BLOCK, 'C', COPY);
    edu_copy(edu, 4 * GIB + BLOCK, 4 * GIB, COPY);
    assert_int_equal(memory.cpu[0], 'B'); /* and what it writes is lost */
    print_message("control: device and CPU see different pages, as expected without us\n");

    assert_true(backend->ops->unmap(backend, 4 * GIB, 2 * BLOCK, &unmapped, &error));
    munmap(memory.cpu, 2 * BLOCK);
    close(memory.fd);
    scene_free(bare);
}

static void populated_is_reached(void **state)
{
    Fixture *f = *state;

    assert_reached(f->edu, f->boot, 0, 15 * MIB, 0x51);
    memory_plug(f->vmem, 3 * BLOCK, 2 * BLOCK);
    assert_reached(f->edu, f->vmem, 3 * BLOCK, 5 * BLOCK - COPY, 0x52);
    scene_verify(f->scene);
    /* Guest physical = IOVA across regions: from boot RAM into the block and back. */
    memset(f->boot->cpu + MIB, 0x53, COPY);
    edu_copy(f->edu, MIB, block_at(f, 4), COPY);
    assert_int_equal(f->vmem->cpu[4 * BLOCK], 0x53);
    edu_copy(f->edu, block_at(f, 3), MIB, COPY);
    assert_int_equal(f->boot->cpu[MIB], 0x52);
}

static void discarded_is_not_reached(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    int log = kernel_log_open();

    memory_plug(f->vmem, 0, 3 * BLOCK);
    assert_reached(f->edu, f->vmem, BLOCK, 2 * BLOCK, 0x61);
    /* Let go without punching first: the old page is still there to see that nothing happens to it. */
    assert_true(vfm_discard_discard(f->vmem->discard, BLOCK, BLOCK, &error));
    assert_write_faults(f, f->edu, block_at(f, 1), 0x62);
    assert_true(kernel_log_fault(log, block_at(f, 1), COPY)); /* and the kernel names the very address */
    close(log);
    assert_int_equal(f->vmem->cpu[BLOCK], 0x61);
    assert_read_faults(f, f->edu, block_at(f, 1), 0x61);
    memory_punch(f->vmem, BLOCK, BLOCK);
    assert_write_faults(f, f->edu, block_at(f, 1) + BLOCK - COPY, 0x63);
    assert_true(memory_is_hole(f->vmem, BLOCK, BLOCK));
    /* Its neighbours are unharmed, and what was never plugged is out of reach, too. */
    assert_reached(f->edu, f->vmem, 0, 2 * BLOCK, 0x64);
    assert_write_faults(f, f->edu, block_at(f, 20), 0x65);
    assert_true(memory_is_hole(f->vmem, 3 * BLOCK, 29 * BLOCK));
}

/* The scene of the control, with us. */
static void replugged_reaches_the_new_page(void **state)
{
    Fixture *f = *state;

    memory_plug(f->vmem, 0, 2 * BLOCK);
    memset(f->vmem->cpu, 'A', COPY);
    memory_unplug(f->vmem, 0, BLOCK);
    assert_true(memory_is_hole(f->vmem, 0, BLOCK));
    memory_plug(f->vmem, 0, BLOCK);
    memset(f->vmem->other, 'B', COPY);
    edu_copy(f->edu, block_at(f, 0), block_at(f, 1), COPY);
    assert_int_equal(f->vmem->cpu[BLOCK], 'B');
    memset(f->vmem->cpu + BLOCK, 'C', COPY);
    edu_copy(f->edu, block_at(f, 1), block_at(f, 0), COPY);
    assert_int_equal(f->vmem->cpu[0], 'C');
    assert_int_equal(f->vmem->other[COPY - 1], 'C');
}

/* The second device comes late, and leaves early. */
static void late_device_sees_the_same(void **state)
{
    Fixture *f = *state;
    const char *late = place_device(1, false);
    Edu *second;

    memory_plug(f->vmem, 0, 4 * BLOCK);
    memory_unplug(f->vmem, BLOCK, BLOCK);
    second = scene_attach(f->scene, late);
    assert_reached(second, f->boot, 0, 8 * MIB, 0x71);
    assert_reached(second, f->vmem, 0, 2 * BLOCK, 0x72);
    assert_write_faults(f, second, block_at(f, 1), 0x73);
    assert_true(memory_is_hole(f->vmem, BLOCK, BLOCK));
    scene_verify(f->scene);

    /* From here on both follow. */
    memory_plug(f->vmem, 8 * BLOCK, BLOCK);
    memory_unplug(f->vmem, 0, BLOCK);
    assert_reached(f->edu, f->vmem, 8 * BLOCK, 2 * BLOCK, 0x74);
    assert_reached(second, f->vmem, 8 * BLOCK, 3 * BLOCK, 0x75);
    assert_write_faults(f, f->edu, block_at(f, 0), 0x76);
    assert_write_faults(f, second, block_at(f, 0), 0x77);

    /* The one that was there first leaves; the other one goes on. */
    scene_detach(f->scene, f->device);
    memory_plug(f->vmem, 16 * BLOCK, BLOCK);
    assert_reached(second, f->vmem, 16 * BLOCK, 3 * BLOCK, 0x78);
    scene_verify(f->scene);
}

/* Two functions behind one bridge: one group, one container. */
static void devices_of_one_group(void **state)
{
    Fixture *f = *state;
    Edu *one, *two;

    memory_plug(f->vmem, 0, 2 * BLOCK);
    one = scene_attach(f->scene, place_device(0, true));
    two = scene_attach(f->scene, place_device(1, true));
    assert_reached(one, f->vmem, 0, BLOCK, 0x81);
    scene_detach(f->scene, place_device(0, true));
    assert_reached(two, f->vmem, BLOCK, 0, 0x82);
    scene_detach(f->scene, place_device(1, true));
    scene_verify(f->scene);
}

/* Nothing stays mapped after the last device; the next one finds what is in use by then. */
static void last_device_leaves(void **state)
{
    Fixture *f = *state;

    memory_plug(f->vmem, 0, 4 * BLOCK);
    scene_detach(f->scene, f->device);
    assert_int_equal(place_held(), 0);
    memory_unplug(f->vmem, 0, BLOCK);
    memory_plug(f->vmem, 5 * BLOCK, BLOCK);
    assert_int_equal(place_held(), 0);
    f->edu = scene_attach(f->scene, f->device);
    assert_reached(f->edu, f->vmem, BLOCK, 5 * BLOCK, 0x91);
    assert_write_faults(f, f->edu, block_at(f, 0), 0x92);
}

/* A DIMM, and one that goes away again. */
static void memory_comes_and_goes(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    Memory *dimm = scene_add_memory(f->scene, "dimm0", 8 * GIB, 16 * MIB, 0);

    assert_reached(f->edu, dimm, 0, 8 * MIB, 0xa1);
    scene_verify(f->scene);
    assert_true(vfm_memory_map_remove(f->scene->map, dimm->placement, &error));
    assert_write_faults(f, f->edu, 8 * GIB, 0xa2);
    assert_int_equal(dimm->cpu[0], 0xa1);
    /* Elsewhere it is reachable there, and only there. */
    dimm->address = 9 * GIB;
    dimm->placement = vfm_memory_map_place(f->scene->map, dimm->region, 0, dimm->size, dimm->address, 0, &error);
    assert_true(dimm->placement);
    assert_reached(f->edu, dimm, 0, 8 * MIB, 0xa3);
    assert_write_faults(f, f->edu, 8 * GIB, 0xa4);
}

/* Firmware reserves 1 MiB at 128 MiB for the third device (lab --reserve). */
static void reserved_region_refuses_the_device(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    Memory *dimm = scene_add_memory(f->scene, "dimm0", 0x7000000, 32 * MIB, 0);

    assert_false(scene_try_attach(f->scene, place_device(2, false), &error));
    print_message("refused: %s\n", error->message);
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_non_null(strstr(error->message, "dimm0"));
    assert_non_null(strstr(error->message, place_device(2, false)));
    scene_verify(f->scene);
    assert_reached(f->edu, dimm, MIB, 0x1000000, 0xb1); /* into the very region */
    memory_plug(f->vmem, 0, BLOCK);
    assert_reached(f->edu, f->vmem, 0, MIB, 0xb2);
}

/* RAM where no device can reach (x86: the interrupt window) is refused when it comes, and nothing else changes. */
static void reserved_region_refuses_the_memory(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;

    assert_null(scene_try_memory(f->scene, "dimm0", 0xfe000000, 32 * MIB, 0, &error));
    print_message("refused: %s\n", error->message);
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    scene_verify(f->scene);
    assert_reached(f->edu, f->boot, 0, MIB, 0xb3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(control_without_us),
        TEST(populated_is_reached),
        TEST(discarded_is_not_reached),
        TEST(replugged_reaches_the_new_page),
        TEST(late_device_sees_the_same),
        TEST(devices_of_one_group),
        TEST(last_device_leaves),
        TEST(memory_comes_and_goes),
        TEST(reserved_region_refuses_the_device),
        TEST(reserved_region_refuses_the_memory),
    };
    return cmocka_run_group_tests_name(place_is_iommufd() ? "dma on iommufd" : "dma on type1", tests, NULL, NULL);
}
