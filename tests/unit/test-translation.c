/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backend_record.h"
#include "error.h"
#include "mapper.h"
#include "translation.h"

#define MIB (1024ull * 1024)
#define GIB (1024 * MIB)
#define BLOCK (2 * MIB)

/* A guest with RAM, a sparse region, ROM and a BAR, and one device behind a vIOMMU. */
typedef struct {
    VfmMemoryMap *guest, *view;
    VfmRegion *ram, *sparse, *rom, *bar, *window;
    VfmTranslation *translation;
    VfmBackend *backend;
    VfmContainer *container;
    VfmMapper *mapper;
    unsigned ram_id;
} Scene;

static unsigned place(VfmMemoryMap *map, VfmRegion *region, uint64_t address)
{
    return vfm_memory_map_place(map, region, 0, region->size, address, 0, NULL);
}

static int begin(void **state)
{
    Scene *scene = g_new0(Scene, 1);
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};

    scene->guest = vfm_memory_map_new("guest");
    scene->ram = vfm_region_new("ram", VFM_REGION_RAM, 64 * MIB, (void *)(1ull << 40), 5, 0);
    scene->sparse = vfm_region_new("vm0", VFM_REGION_RAM, GIB, (void *)(2ull << 40), 6, 0);
    scene->sparse->discard = vfm_discard_new("vm0", GIB, BLOCK, false, NULL);
    scene->rom = vfm_region_new("rom", VFM_REGION_ROM, MIB, (void *)(3ull << 40), -1, 0);
    scene->bar = vfm_region_new("bar", VFM_REGION_BAR, MIB, (void *)(4ull << 40), -1, 0);
    scene->ram_id = place(scene->guest, scene->ram, 0);
    place(scene->guest, scene->sparse, 4 * GIB);
    place(scene->guest, scene->rom, GIB);
    place(scene->guest, scene->bar, 2 * GIB);
    scene->translation = vfm_translation_new("viommu", scene->guest, 2000, NULL);
    assert_non_null(scene->translation);

    scene->view = vfm_memory_map_new("0000:01:00.0");
    scene->window = vfm_region_new("iommu", VFM_REGION_IOMMU, 1ull << 48, NULL, -1, 0);
    scene->window->translation = scene->translation;
    place(scene->view, scene->window, 0);
    scene->backend = vfm_backend_record_new(NULL);
    scene->container = vfm_container_new("container 0", scene->backend, VFM_NONE);
    scene->mapper = vfm_mapper_new(scene->container, scene->view, NULL, NULL);
    assert_true(vfm_container_attach(scene->container, &device, NULL, NULL));
    *state = scene;
    return 0;
}

static int end(void **state)
{
    Scene *scene = *state;
    VfmContainerUsage usage;

    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.anomalies, 0);
    assert_int_equal(usage.mappings, vfm_backend_record_mappings(scene->backend));
    vfm_mapper_free(scene->mapper);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 0);
    vfm_container_free(scene->container);
    vfm_memory_map_free(scene->view);
    vfm_translation_free(scene->translation);
    vfm_memory_map_free(scene->guest);
    vfm_region_unref(scene->ram);
    vfm_region_unref(scene->sparse);
    vfm_region_unref(scene->rom);
    vfm_region_unref(scene->bar);
    vfm_region_unref(scene->window);
    g_free(scene);
    return 0;
}

static bool map(Scene *scene, uint64_t iova, uint64_t size, uint64_t gpa, GError **error)
{
    return vfm_translation_map(scene->translation, iova, size, gpa, VFM_PROT_READ | VFM_PROT_WRITE, error);
}

static uint64_t mappings(const Scene *scene)
{
    return vfm_backend_record_mappings(scene->backend);
}

static void test_iova_leads_to_the_memory_behind_the_guests_address(void **state)
{
    Scene *scene = *state;
    VfmMapping mapping;
    uint64_t unmapped;

    assert_int_equal(mappings(scene), 0); /* nothing before the guest says so */
    assert_true(map(scene, 0x10000, 0x4000, 0x300000, NULL));
    assert_true(vfm_backend_record_find(scene->backend, 0x10000, &mapping));
    assert_int_equal(mapping.size, 0x4000);
    assert_ptr_equal(mapping.vaddr, (uint8_t *)(1ull << 40) + 0x300000);
    assert_true(map(scene, 0x10000, 0x4000, 0x300000, NULL)); /* the same again */
    assert_int_equal(mappings(scene), 1);
    assert_false(map(scene, 0x12000, 0x1000, 0x400000, NULL)); /* something else there */
    assert_false(vfm_translation_unmap(scene->translation, 0x11000, 0x1000, &unmapped, NULL));
    assert_true(vfm_translation_unmap(scene->translation, 0, 1ull << 40, &unmapped, NULL));
    assert_int_equal(unmapped, 0x4000);
    assert_int_equal(mappings(scene), 0);
}

static void test_what_is_no_memory_is_refused(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;
    VfmMapping mapping;

    assert_false(map(scene, 0, 0x1000, 3 * GIB, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    g_clear_error(&error);
    assert_false(map(scene, 0, 0x2000, 64 * MIB - 0x1000, &error)); /* leaves the RAM */
    assert_int_equal(mappings(scene), 0);
    g_clear_error(&error);
    assert_false(map(scene, 0, 0x800, 0, &error)); /* not a whole page */
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
    assert_int_equal(vfm_translation_pieces(scene->translation), 0);
    g_clear_error(&error);
    assert_false(map(scene, UINT64_MAX - 10, 0x1000, 0, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE));
    assert_true(map(scene, 0, 0x1000, GIB, NULL));
    assert_true(vfm_backend_record_find(scene->backend, 0, &mapping));
    assert_int_equal(mapping.prot, VFM_PROT_READ); /* ROM, whatever the guest asks */
    assert_false(vfm_translation_map(scene->translation, 0x1000, 0x1000, GIB, VFM_PROT_WRITE, NULL));
    assert_true(map(scene, 0x2000, 0x1000, 2 * GIB, NULL));
    assert_true(vfm_backend_record_find(scene->backend, 0x2000, &mapping));
    assert_true(mapping.peer);
}

static void test_discarded_blocks_are_refused_and_taken_back(void **state)
{
    Scene *scene = *state;
    VfmDiscard *vm0 = scene->sparse->discard;
    g_autoptr(GError) error = NULL;

    assert_true(vfm_discard_populate(vm0, 0, 2 * BLOCK, NULL));
    assert_false(map(scene, GIB, 3 * BLOCK, 4 * GIB, &error)); /* the third one is not there */
    assert_non_null(strstr(error->message, "discarded"));
    assert_int_equal(mappings(scene), 0);
    assert_true(map(scene, GIB + 0x1000, 2 * BLOCK - 0x2000, 4 * GIB + 0x1000, NULL));
    assert_int_equal(mappings(scene), 2);                            /* cut at the block */
    assert_true(map(scene, 2 * GIB, 0x1000, 4 * GIB + BLOCK, NULL)); /* the second block once more */
    assert_true(vfm_discard_discard(vm0, BLOCK, BLOCK, NULL));
    assert_int_equal(mappings(scene), 1);
    assert_int_equal(vfm_translation_revoked(scene->translation), 2);
    /* The block's next life is reached only after the guest maps it anew. */
    assert_true(vfm_discard_populate(vm0, BLOCK, BLOCK, NULL));
    assert_int_equal(mappings(scene), 1);
    assert_true(map(scene, GIB + 0x1000, 2 * BLOCK - 0x2000, 4 * GIB + 0x1000, NULL)); /* replay of the whole */
    assert_int_equal(mappings(scene), 2);
}

static void test_an_unmap_that_fails_keeps_the_block(void **state)
{
    Scene *scene = *state;
    VfmDiscard *vm0 = scene->sparse->discard;

    assert_true(vfm_discard_populate(vm0, 0, BLOCK, NULL));
    assert_true(map(scene, 0, BLOCK, 4 * GIB, NULL));
    vfm_backend_record_fail(scene->backend, VFM_RECORD_UNMAP, 0, 1, EIO);
    assert_false(vfm_discard_discard(vm0, 0, BLOCK, NULL));
    assert_int_equal(vfm_discard_populated(vm0), BLOCK);
    assert_int_equal(mappings(scene), 1);
    assert_true(vfm_discard_discard(vm0, 0, BLOCK, NULL));
    assert_int_equal(mappings(scene), 0);
}

/* Something in front of a block makes two sections of the region, and two watches: the second one's failure must not
 * cost the guest what the first one had let go already. */
static void test_a_refused_discard_keeps_the_block_in_every_section(void **state)
{
    Scene *scene = *state;
    VfmDiscard *vm0 = scene->sparse->discard;
    VfmRegion *hole = vfm_region_new("vga", VFM_REGION_IO, 0x20000, NULL, -1, 0);
    VfmMapping mapping;

    assert_int_not_equal(vfm_memory_map_place(scene->guest, hole, 0, 0x20000, 4 * GIB + 0xa0000, 1, NULL), 0);
    assert_true(vfm_discard_populate(vm0, 0, BLOCK, NULL));
    assert_true(map(scene, 0x1000, 0x1000, 4 * GIB + 0x1000, NULL));
    assert_true(map(scene, 0x8000, 0x2000, 4 * GIB + 0x4000, NULL));
    assert_true(map(scene, 0x100000, 0x1000, 4 * GIB + 0x100000, NULL));
    for (unsigned n = 0; n < 3; n++) {
        vfm_backend_record_fail(scene->backend, VFM_RECORD_UNMAP, n, 1, EIO);
        assert_false(vfm_discard_discard(vm0, 0, BLOCK, NULL));
        assert_int_equal(vfm_translation_pieces(scene->translation), 3);
        assert_int_equal(vfm_translation_revoked(scene->translation), 0);
        assert_int_equal(mappings(scene), 3);
        assert_true(vfm_backend_record_find(scene->backend, 0x8000, &mapping));
        assert_int_equal(mapping.size, 0x2000);
        assert_ptr_equal(mapping.vaddr, scene->sparse->vaddr + 0x4000);
    }
    assert_true(vfm_discard_discard(vm0, 0, BLOCK, NULL));
    assert_int_equal(vfm_translation_revoked(scene->translation), 3);
    assert_int_equal(mappings(scene), 0);
    vfm_region_unref(hole);
}

static bool agree(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    return true;
}

static bool refuse(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "not now");
    return false;
}

static void test_what_can_not_be_had_back_after_a_refusal_is_nowhere(void **state)
{
    static const VfmDiscardListenerOps ops = {.populate = agree, .discard = refuse};
    Scene *scene = *state;
    VfmDiscard *vm0 = scene->sparse->discard;
    VfmDiscardListener listener = {&ops, 0, GIB};
    g_autoptr(GError) error = NULL;

    assert_true(vfm_discard_populate(vm0, 0, 2 * BLOCK, NULL));
    assert_true(map(scene, 0, 2 * BLOCK, 4 * GIB, NULL));
    assert_true(vfm_discard_add_listener(vm0, &listener, NULL));
    vfm_backend_record_fail(scene->backend, VFM_RECORD_MAP, 0, 1, ENOMEM);
    assert_false(vfm_discard_discard(vm0, 0, 2 * BLOCK, &error));
    assert_non_null(strstr(error->message, "not now"));
    assert_non_null(strstr(error->message, "could not take back"));
    assert_int_equal(vfm_translation_pieces(scene->translation), 1);
    assert_int_equal(vfm_translation_revoked(scene->translation), 1);
    assert_int_equal(mappings(scene), 1);
    assert_true(vfm_backend_record_find(scene->backend, BLOCK, NULL));
    assert_true(map(scene, 0, 2 * BLOCK, 4 * GIB, NULL)); /* the guest can map it again: the block is in use */
    assert_int_equal(mappings(scene), 2);
    vfm_discard_remove_listener(vm0, &listener);
}

static void test_memory_that_went_is_let_go_even_if_an_unmap_fails(void **state)
{
    Scene *scene = *state;
    unsigned id = scene->ram_id;

    assert_true(map(scene, 0x10000, 0x1000, 0x300000, NULL));
    assert_true(map(scene, 0x20000, 0x1000, 0x400000, NULL));
    vfm_backend_record_fail(scene->backend, VFM_RECORD_UNMAP, 1, 1, EIO);
    assert_true(vfm_memory_map_move(scene->guest, id, 8 * MIB, 0, NULL));
    assert_int_equal(mappings(scene), 0);
    assert_int_equal(vfm_translation_pieces(scene->translation), 0);
}

static void test_memory_that_moves_is_let_go_and_what_stays_stays(void **state)
{
    Scene *scene = *state;
    VfmRegion *hole = vfm_region_new("vga", VFM_REGION_IO, 0x20000, NULL, -1, 0);
    uint64_t unmaps;
    unsigned id;

    assert_true(map(scene, 0x10000, 0x1000, 0xa0000, NULL));
    assert_true(map(scene, 0x20000, 0x1000, 0x300000, NULL));
    unmaps = vfm_backend_record_calls(scene->backend, VFM_RECORD_UNMAP);
    /* The hole cuts the section in two: only what is hidden goes. */
    id = vfm_memory_map_place(scene->guest, hole, 0, 0x20000, 0xa0000, 1, NULL);
    assert_int_not_equal(id, 0);
    assert_int_equal(mappings(scene), 1);
    assert_true(vfm_backend_record_find(scene->backend, 0x20000, NULL));
    assert_int_equal(vfm_backend_record_calls(scene->backend, VFM_RECORD_UNMAP), unmaps + 1);
    assert_true(vfm_memory_map_remove(scene->guest, id, NULL));
    assert_int_equal(mappings(scene), 1);
    assert_true(vfm_memory_map_move(scene->guest, scene->ram_id, 8 * MIB, 0, NULL));
    assert_int_equal(mappings(scene), 0);
    vfm_region_unref(hole);
}

static void test_failure_at_the_nth_piece_leaves_the_table_before(void **state)
{
    Scene *scene = *state;
    VfmDiscard *vm0 = scene->sparse->discard;
    unsigned n;

    assert_true(vfm_discard_populate(vm0, 0, 10 * BLOCK, NULL));
    assert_true(map(scene, 0, 0x1000, 0, NULL));
    for (n = 0;; n++) {
        vfm_backend_record_fail(scene->backend, VFM_RECORD_MAP, n, 1, EFAULT);
        if (map(scene, GIB, 10 * BLOCK, 4 * GIB, NULL))
            break;
        assert_int_equal(mappings(scene), 1);
        assert_int_equal(vfm_translation_pieces(scene->translation), 1);
    }
    assert_int_equal(n, 10);
}

static void test_late_devices_get_a_replay(void **state)
{
    Scene *scene = *state;
    VfmBackend *backend = vfm_backend_record_new(NULL);
    VfmContainer *container = vfm_container_new("container 1", backend, VFM_NONE);
    VfmMapper *mapper = vfm_mapper_new(container, scene->view, NULL, NULL);
    VfmContainerDevice device = {.name = "0000:02:00.0", .fd = -1};

    for (uint64_t i = 0; i < 100; i++)
        assert_true(map(scene, GIB + i * 0x2000, 0x1000, i * 0x3000, NULL));
    for (unsigned n = 0; n < 100; n += 9) {
        vfm_backend_record_fail(backend, VFM_RECORD_MAP, n, 1, EFAULT);
        assert_false(vfm_container_attach(container, &device, NULL, NULL));
        assert_int_equal(vfm_backend_record_mappings(backend), 0);
    }
    vfm_backend_record_fail(backend, VFM_RECORD_MAP, 0, 0, 0);
    assert_true(vfm_container_attach(container, &device, NULL, NULL));
    assert_int_equal(vfm_backend_record_mappings(backend), 100);
    /* Both follow, and a failure of one is a failure of both. */
    vfm_backend_record_fail(backend, VFM_RECORD_MAP, 0, 1, EFAULT);
    assert_false(map(scene, 0, 0x1000, 0, NULL));
    assert_int_equal(mappings(scene), 100);
    vfm_backend_record_fail(backend, VFM_RECORD_UNMAP, 0, 1, EIO);
    assert_false(vfm_translation_unmap(scene->translation, 0, UINT64_MAX, NULL, NULL));
    assert_int_equal(mappings(scene), 100);
    assert_true(vfm_translation_unmap(scene->translation, 0, UINT64_MAX, NULL, NULL));
    assert_int_equal(mappings(scene) + vfm_backend_record_mappings(backend), 0);
    vfm_mapper_free(mapper);
    vfm_container_free(container);
}

static void test_a_guest_can_not_make_pieces_without_end(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    for (uint64_t i = 0; i < 2000; i++)
        assert_true(map(scene, i * 0x2000, 0x1000, 0, NULL));
    assert_false(map(scene, GIB, 0x1000, 0, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_BUDGET));
    assert_true(vfm_translation_unmap(scene->translation, 0, 0x2000, NULL, NULL));
    assert_true(map(scene, GIB, 0x1000, 0, NULL));
}

static void test_reserved_iova_is_refused_to_guest_and_newcomer(void **state)
{
    Scene *scene = *state;
    g_autoptr(GArray) reserved = g_array_new(FALSE, FALSE, sizeof(VfmReserved));
    VfmReserved msi = {0xfee00000, 0xfeefffff, VFM_RESERVED_MSI};
    VfmContainerDevice second = {.name = "0000:01:00.1", .fd = -1, .reserved = reserved};
    g_autoptr(GError) error = NULL;

    g_array_append_val(reserved, msi);
    assert_true(map(scene, 0xfee00000, 0x1000, 0, NULL));
    assert_false(vfm_container_attach(scene->container, &second, NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_true(vfm_translation_unmap(scene->translation, 0xfee00000, 0x1000, NULL, NULL));
    assert_true(vfm_container_attach(scene->container, &second, NULL, NULL));
    g_clear_error(&error);
    assert_false(map(scene, 0xfee00000, 0x1000, 0, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_non_null(strstr(error->message, "0000:01:00.1"));
}

static void test_bypass_is_a_change_of_the_view(void **state)
{
    Scene *scene = *state;
    unsigned ram;

    assert_true(map(scene, GIB, 0x1000, 0, NULL));
    /* The vIOMMU is switched off: all RAM at its own address, over the IOMMU window; and on again. */
    ram = vfm_memory_map_place(scene->view, scene->ram, 0, 64 * MIB, 0, 1, NULL);
    assert_int_not_equal(ram, 0);
    assert_int_equal(mappings(scene), 2);
    assert_true(vfm_memory_map_remove(scene->view, ram, NULL));
    assert_int_equal(mappings(scene), 1);
    assert_true(vfm_backend_record_find(scene->backend, GIB, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_iova_leads_to_the_memory_behind_the_guests_address, begin, end),
        cmocka_unit_test_setup_teardown(test_what_is_no_memory_is_refused, begin, end),
        cmocka_unit_test_setup_teardown(test_discarded_blocks_are_refused_and_taken_back, begin, end),
        cmocka_unit_test_setup_teardown(test_an_unmap_that_fails_keeps_the_block, begin, end),
        cmocka_unit_test_setup_teardown(test_a_refused_discard_keeps_the_block_in_every_section, begin, end),
        cmocka_unit_test_setup_teardown(test_what_can_not_be_had_back_after_a_refusal_is_nowhere, begin, end),
        cmocka_unit_test_setup_teardown(test_memory_that_went_is_let_go_even_if_an_unmap_fails, begin, end),
        cmocka_unit_test_setup_teardown(test_memory_that_moves_is_let_go_and_what_stays_stays, begin, end),
        cmocka_unit_test_setup_teardown(test_failure_at_the_nth_piece_leaves_the_table_before, begin, end),
        cmocka_unit_test_setup_teardown(test_late_devices_get_a_replay, begin, end),
        cmocka_unit_test_setup_teardown(test_a_guest_can_not_make_pieces_without_end, begin, end),
        cmocka_unit_test_setup_teardown(test_reserved_iova_is_refused_to_guest_and_newcomer, begin, end),
        cmocka_unit_test_setup_teardown(test_bypass_is_a_change_of_the_view, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
