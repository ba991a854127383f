/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * All devices of a guest on the real kernel: they share a container, another is tried only where the
 * kernel refuses, and whatever fails leaves devices, mappings, descriptors and inhibition as they were.
 */
#include "assignment.h"
#include "kernel_view.h"
#include "place.h"
#include "scene.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK (2 * MIB)
#define COPY EDU_BUFFER_SIZE

typedef struct {
    Scene *scene; /* its memory; its own container stays empty */
    Memory *boot, *vmem;
    VfmInhibit *inhibit;
    VfmAssignment *assignment;
} Fixture;

static VfmBackend *open_backend(void *data, GError **error)
{
    return place_backend();
}

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->scene = scene_new();
    f->boot = scene_add_memory(f->scene, "boot RAM", 0, 16 * MIB, 0);
    f->vmem = scene_add_memory(f->scene, "virtio-mem", 4 * GIB, 32 * MIB, BLOCK);
    f->inhibit = vfm_inhibit_new();
    f->assignment = vfm_assignment_new(&(VfmAssignmentOptions){.open = open_backend, .inhibit = f->inhibit});
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    vfm_assignment_free(f->assignment);
    assert_int_equal(vfm_inhibit_count(f->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 0);
    vfm_inhibit_free(f->inhibit);
    scene_free(f->scene);
    g_free(f);
    assert_int_equal(place_held(), 0);
    return 0;
}

static bool assign(Fixture *f, const char *name, GError **error)
{
    VfmAssignedDevice device = {
        .device = {.name = name,
                   .fd = place_open(name),
                   .reserved = vfm_host_find_group(f->scene->host, name)->reserved},
        .view = f->scene->map,
        .group = place_is_iommufd() ? VFM_NONE : VFM_SOME((uint64_t)place_group(name)),
    };
    if (vfm_assignment_attach(f->assignment, &device, error))
        return true;
    assert_int_equal(close(device.device.fd), 0);
    return false;
}

static void assign_ok(Fixture *f, const char *name)
{
    g_autoptr(GError) error = NULL;
    if (!assign(f, name, &error))
        fail_msg("%s", error->message);
}

/* The device brings what is at the start of boot RAM into the block at @offset. */
static void assert_reaches(Fixture *f, const char *name, uint64_t offset, int pattern)
{
    Edu edu;

    edu_open(&edu, vfm_container_device_fd(vfm_assignment_find(f->assignment, name), name));
    memset(f->boot->cpu, pattern, COPY);
    edu_copy(&edu, 0, f->vmem->address + offset, COPY);
    assert_memory_equal(f->vmem->cpu + offset, f->boot->cpu, COPY);
    edu_close(&edu);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    DIR *dir = opendir("/proc/self/fd");

    assert_non_null(dir);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void all_share_one_container(void **state)
{
    Fixture *f = *state;
    const char *names[] = {place_device(0, false), place_device(1, false), place_device(0, true),
                           place_device(1, true)};

    memory_plug(f->vmem, 0, 4 * BLOCK);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        assign_ok(f, names[i]);
    assert_int_equal(vfm_assignment_containers(f->assignment), 1);
    assert_null(vfm_assignment_reason(f->assignment, 0));
    /* Pinned and charged once, however many devices. */
    assert_int_equal(place_held(), 16 * MIB + 4 * BLOCK);
    /* type1: once per group; iommufd: once per device. */
    assert_int_equal(vfm_inhibit_count(f->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), place_is_iommufd() ? 4 : 3);
    memory_plug(f->vmem, 8 * BLOCK, BLOCK);
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++)
        assert_reaches(f, names[i], 8 * BLOCK, 0x11 * (int)(i + 1));
    for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
        g_autoptr(GError) error = NULL;
        assert_true(vfm_assignment_detach(f->assignment, names[i], &error));
    }
    assert_int_equal(vfm_assignment_containers(f->assignment), 0);
    assert_int_equal(place_held(), 0);
}

/* The third device has a firmware-reserved region. Linux gives such a device to nobody, in whatever container. */
static void refused_everywhere(void **state)
{
    Fixture *f = *state;
    const char *first = place_device(0, false), *reserved = place_device(2, false);
    unsigned before;

    memory_plug(f->vmem, 0, BLOCK);
    assign_ok(f, first);
    place_open(reserved); /* the group's own descriptor, which stays, is opened before counting */
    before = open_descriptors();
    for (unsigned i = 0; i < 3; i++) {
        g_autoptr(GError) error = NULL;
        assert_false(assign(f, reserved, &error));
        if (!i)
            print_message("refused: %s\n", error->message);
        assert_non_null(strstr(error->message, reserved));
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(vfm_assignment_containers(f->assignment), 1);
    assert_null(vfm_assignment_find(f->assignment, reserved));
    assert_int_equal(vfm_inhibit_count(f->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 1);
    assert_int_equal(place_held(), 16 * MIB + BLOCK);
    assert_reaches(f, first, 0, 0x55);
}

/* Locked memory does not suffice: the first device, then a further one with nothing more to pin. */
static void refused_for_locked_memory(void **state)
{
    Fixture *f = *state;
    unsigned before = open_descriptors();

    memory_plug(f->vmem, 0, 4 * BLOCK);
    if (!place_is_iommufd()) { /* opens and keeps the group */
        close(place_open(place_device(0, false)));
        before++;
    }
    kernel_limit_locked(20 * MIB);
    for (unsigned i = 0; i < 3; i++) {
        g_autoptr(GError) error = NULL;
        assert_false(assign(f, place_device(0, false), &error));
        assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
        assert_int_equal(open_descriptors(), before);
        assert_int_equal(place_held(), 0);
    }
    kernel_limit_locked(24 * MIB);
    assign_ok(f, place_device(0, false));
    assign_ok(f, place_device(1, false));
    assert_reaches(f, place_device(1, false), BLOCK, 0x66);
    kernel_limit_locked(UINT64_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(all_share_one_container),
        TEST(refused_everywhere),
        TEST(refused_for_locked_memory),
    };
    return cmocka_run_group_tests_name(place_is_iommufd() ? "assignment on iommufd" : "assignment on type1", tests,
                                       NULL, NULL);
}
