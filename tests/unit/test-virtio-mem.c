/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "error.h"
#include "virtio_mem.h"

#define MIB (1024ull * 1024)
#define GIB (1024 * MIB)
#define BLOCK (2 * MIB)
#define AT (4 * GIB)

typedef struct {
    VfmDiscard *discard;
    VfmInhibit *inhibit;
    VfmVirtioMem *device;
} Scene;

static int begin(void **state)
{
    Scene *scene = g_new0(Scene, 1);

    scene->discard = vfm_discard_new("vm0", 2 * GIB, BLOCK, false, NULL);
    scene->inhibit = vfm_inhibit_new();
    scene->device = vfm_virtio_mem_new("virtio-mem vm0", scene->discard, AT, 256 * MIB, scene->inhibit, NULL);
    assert_non_null(scene->device);
    *state = scene;
    return 0;
}

static int end(void **state)
{
    Scene *scene = *state;

    vfm_virtio_mem_free(scene->device);
    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_REQUIRE_COORDINATED), 0);
    vfm_inhibit_free(scene->inhibit);
    vfm_discard_free(scene->discard);
    g_free(scene);
    return 0;
}

static void test_requested_size_bounds_what_is_plugged(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT, 1, NULL), VFM_VIRTIO_MEM_NACK);
    assert_false(vfm_virtio_mem_resize(scene->device, BLOCK + 1, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
    g_clear_error(&error);
    assert_false(vfm_virtio_mem_resize(scene->device, 2 * GIB + BLOCK, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE));
    assert_true(vfm_virtio_mem_resize(scene->device, 4 * BLOCK, NULL));
    assert_int_equal(vfm_virtio_mem_usable(scene->device), 4 * BLOCK + 256 * MIB);
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT, 4, NULL), VFM_VIRTIO_MEM_ACK);
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT + 4 * BLOCK, 1, NULL), VFM_VIRTIO_MEM_NACK);
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), 4 * BLOCK);
}

static void test_wrong_requests_are_errors(void **state)
{
    Scene *scene = *state;
    VfmVirtioMem *device = scene->device;

    assert_true(vfm_virtio_mem_resize(device, 64 * MIB, NULL));
    assert_int_equal(vfm_virtio_mem_plug(device, AT + 1, 1, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_plug(device, AT - BLOCK, 1, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_plug(device, AT + 320 * MIB, 1, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_plug(device, AT, 0, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_unplug(device, AT, 1, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_plug(device, AT + BLOCK, 2, NULL), VFM_VIRTIO_MEM_ACK);
    assert_int_equal(vfm_virtio_mem_plug(device, AT, 2, NULL), VFM_VIRTIO_MEM_ERROR); /* one of them is plugged */
    assert_int_equal(vfm_virtio_mem_unplug(device, AT, 2, NULL), VFM_VIRTIO_MEM_ERROR);
    assert_int_equal(vfm_virtio_mem_plugged(device), 2 * BLOCK);
    assert_int_equal(vfm_virtio_mem_unplug(device, AT + BLOCK, 2, NULL), VFM_VIRTIO_MEM_ACK);
}

static void test_the_usable_region_shrinks_only_when_all_is_unplugged(void **state)
{
    Scene *scene = *state;

    assert_true(vfm_virtio_mem_resize(scene->device, GIB, NULL));
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT + GIB, 100, NULL), VFM_VIRTIO_MEM_ACK);
    assert_true(vfm_virtio_mem_resize(scene->device, 0, NULL));
    assert_int_equal(vfm_virtio_mem_usable(scene->device), GIB + 256 * MIB);
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), 100 * BLOCK); /* a resize unplugs nothing */
    assert_int_equal(vfm_virtio_mem_unplug_all(scene->device, NULL), VFM_VIRTIO_MEM_ACK);
    assert_int_equal(vfm_virtio_mem_usable(scene->device), 0);
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), 0);
    assert_true(vfm_virtio_mem_resize(scene->device, 2 * GIB, NULL));
    assert_int_equal(vfm_virtio_mem_usable(scene->device), 2 * GIB); /* never beyond the region */
}

static void test_a_migration_makes_it_busy(void **state)
{
    Scene *scene = *state;

    assert_true(vfm_virtio_mem_resize(scene->device, GIB, NULL));
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT, 1, NULL), VFM_VIRTIO_MEM_ACK);
    vfm_virtio_mem_set_migrating(scene->device, true);
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT + BLOCK, 1, NULL), VFM_VIRTIO_MEM_BUSY);
    assert_int_equal(vfm_virtio_mem_unplug(scene->device, AT, 1, NULL), VFM_VIRTIO_MEM_BUSY);
    assert_int_equal(vfm_virtio_mem_unplug_all(scene->device, NULL), VFM_VIRTIO_MEM_BUSY);
    assert_false(vfm_virtio_mem_reset(scene->device, NULL));
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), BLOCK);
    vfm_virtio_mem_set_migrating(scene->device, false);
    assert_true(vfm_virtio_mem_reset(scene->device, NULL));
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), 0);
    assert_int_equal(vfm_virtio_mem_requested(scene->device), GIB); /* the guest plugs again after boot */
}

static bool refuse(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET, "no mappings left");
    return false;
}

static void test_a_listener_that_refuses_makes_it_busy(void **state)
{
    Scene *scene = *state;
    const VfmDiscardListenerOps ops = {.populate = refuse, .discard = refuse};
    VfmDiscardListener listener = {&ops, 0, 2 * GIB};
    g_autoptr(GError) error = NULL;

    assert_true(vfm_virtio_mem_resize(scene->device, GIB, NULL));
    assert_true(vfm_discard_add_listener(scene->discard, &listener, NULL));
    assert_int_equal(vfm_virtio_mem_plug(scene->device, AT, 1, &error), VFM_VIRTIO_MEM_BUSY);
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_BUDGET));
    assert_int_equal(vfm_virtio_mem_plugged(scene->device), 0);
    vfm_discard_remove_listener(scene->discard, &listener);
}

static void test_it_needs_coordinated_discards(void **state)
{
    Scene *scene = *state;
    g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();
    g_autoptr(GError) error = NULL;

    assert_int_equal(vfm_inhibit_count(scene->inhibit, VFM_HOLD_REQUIRE_COORDINATED), 1);
    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_DISABLE_ALL, "vhost-vdpa", NULL));
    assert_null(vfm_virtio_mem_new("vm1", scene->discard, AT, 0, inhibit, &error));
    assert_non_null(strstr(error->message, "vhost-vdpa"));
    g_clear_error(&error);
    assert_null(vfm_virtio_mem_new("vm1", scene->discard, AT + 4096, 0, NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_requested_size_bounds_what_is_plugged, begin, end),
        cmocka_unit_test_setup_teardown(test_wrong_requests_are_errors, begin, end),
        cmocka_unit_test_setup_teardown(test_the_usable_region_shrinks_only_when_all_is_unplugged, begin, end),
        cmocka_unit_test_setup_teardown(test_a_migration_makes_it_busy, begin, end),
        cmocka_unit_test_setup_teardown(test_a_listener_that_refuses_makes_it_busy, begin, end),
        cmocka_unit_test_setup_teardown(test_it_needs_coordinated_discards, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
