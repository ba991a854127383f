/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "assignment.h"
#include "backend_record.h"

#define MIB (1024ull * 1024)

typedef struct {
    VfmRecordOptions record; /* of backends to come */
    unsigned opened;
    int fail; /* errno of opening; 0: works */
    VfmMemoryMap *map;
    VfmInhibit *inhibit;
    VfmAssignment *assignment;
} Scene;

static VfmBackend *open_backend(void *data, GError **error)
{
    Scene *scene = data;

    if (scene->fail) {
        vfm_set_system_error(error, scene->fail, "can't open /dev/vfio/vfio");
        return NULL;
    }
    scene->opened++;
    return vfm_backend_record_new(&scene->record);
}

static int begin(void **state)
{
    Scene *scene = g_new0(Scene, 1);
    VfmAssignmentOptions options = {.open = open_backend, .open_data = scene};
    VfmRegion *ram = vfm_region_new("boot RAM", VFM_REGION_RAM, MIB, (void *)(1ull << 40), -1, 0);

    scene->map = vfm_memory_map_new("guest");
    vfm_memory_map_place(scene->map, ram, 0, MIB, 0, 0, NULL);
    vfm_region_unref(ram);
    options.inhibit = scene->inhibit = vfm_inhibit_new();
    scene->assignment = vfm_assignment_new(&options);
    *state = scene;
    return 0;
}

static int end(void **state)
{
    Scene *scene = *state;

    vfm_assignment_free(scene->assignment);
    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 0);
    vfm_inhibit_free(scene->inhibit);
    vfm_memory_map_free(scene->map);
    g_free(scene);
    return 0;
}

static bool attach(Scene *scene, const char *name, VfmMemoryMap *view, GError **error)
{
    VfmAssignedDevice device = {.device = {.name = name, .fd = -1}, .view = view ? view : scene->map};

    return vfm_assignment_attach(scene->assignment, &device, error);
}

static void test_devices_share_one_container(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    assert_true(attach(scene, "a", NULL, NULL));
    assert_true(attach(scene, "b", NULL, NULL));
    assert_int_equal(vfm_assignment_containers(scene->assignment), 1);
    assert_null(vfm_assignment_reason(scene->assignment, 0));
    assert_ptr_equal(vfm_assignment_find(scene->assignment, "a"), vfm_assignment_find(scene->assignment, "b"));
    assert_false(attach(scene, "a", NULL, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT));
    assert_true(vfm_assignment_detach(scene->assignment, "a", NULL));
    assert_int_equal(vfm_assignment_containers(scene->assignment), 1);
    assert_true(vfm_assignment_detach(scene->assignment, "b", NULL));
    assert_int_equal(vfm_assignment_containers(scene->assignment), 0);
    assert_false(vfm_assignment_detach(scene->assignment, "b", NULL));
}

static void test_another_one_only_where_the_kernel_refuses(void **state)
{
    Scene *scene = *state;
    VfmContainerUsage usage;

    scene->record.no_sharing = true;
    assert_true(attach(scene, "a", NULL, NULL));
    assert_true(attach(scene, "b", NULL, NULL));
    assert_int_equal(vfm_assignment_containers(scene->assignment), 2);
    assert_null(vfm_assignment_reason(scene->assignment, 0));
    assert_non_null(strstr(vfm_assignment_reason(scene->assignment, 1), "b can't share this context"));
    for (unsigned i = 0; i < 2; i++) {
        vfm_container_usage(vfm_assignment_container(scene->assignment, i), &usage);
        assert_int_equal(usage.mappings, 1);
    }
    assert_string_equal(vfm_container_name(vfm_assignment_container(scene->assignment, 1)), "container 1");
}

static void test_other_refusals_are_final(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    assert_true(attach(scene, "a", NULL, NULL));
    vfm_backend_record_fail(vfm_container_backend(vfm_assignment_container(scene->assignment, 0)), VFM_RECORD_ATTACH, 0,
                            1, EPERM);
    assert_false(attach(scene, "b", NULL, &error));
    assert_int_equal(error->code, EPERM);
    assert_int_equal(scene->opened, 1);
    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 1);
}

static void test_holds_are_given_back_on_every_error(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    scene->fail = ENOENT;
    assert_false(attach(scene, "a", NULL, &error));
    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 0);
    g_clear_error(&error);
    scene->fail = 0;
    scene->record.memlock = VFM_SOME(4096);
    assert_false(attach(scene, "a", NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 0);
    assert_int_equal(vfm_assignment_containers(scene->assignment), 0);
    g_clear_error(&error);
    scene->record.memlock = VFM_NONE;
    assert_true(vfm_inhibit_take(scene->inhibit, VFM_HOLD_REQUIRE_ALL, "guest_memfd", NULL));
    assert_false(attach(scene, "a", NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_INHIBITED));
    assert_int_equal(scene->opened, 1);
    assert_true(vfm_inhibit_release(scene->inhibit, VFM_HOLD_REQUIRE_ALL, "guest_memfd"));
}

static void test_a_view_of_its_own_is_a_container_of_its_own(void **state)
{
    Scene *scene = *state;
    g_autoptr(VfmMemoryMap) behind_viommu = vfm_memory_map_new("viommu");
    VfmContainerUsage usage;

    assert_true(attach(scene, "a", NULL, NULL));
    assert_true(attach(scene, "b", behind_viommu, NULL));
    assert_int_equal(vfm_assignment_containers(scene->assignment), 2);
    assert_null(vfm_assignment_reason(scene->assignment, 1));
    vfm_container_usage(vfm_assignment_find(scene->assignment, "b"), &usage);
    assert_int_equal(usage.mappings, 0);
    assert_true(vfm_assignment_detach(scene->assignment, "b", NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_devices_share_one_container, begin, end),
        cmocka_unit_test_setup_teardown(test_another_one_only_where_the_kernel_refuses, begin, end),
        cmocka_unit_test_setup_teardown(test_other_refusals_are_final, begin, end),
        cmocka_unit_test_setup_teardown(test_holds_are_given_back_on_every_error, begin, end),
        cmocka_unit_test_setup_teardown(test_a_view_of_its_own_is_a_container_of_its_own, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
