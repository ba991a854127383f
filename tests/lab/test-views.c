/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Other ways to see guest memory, told by the device: windows, a virtual IOMMU, a
 * balloon that is followed page by page, another device's BAR.
 */
#include "kernel_view.h"
#include "place.h"
#include "scene.h"

#include <linux/vfio.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define BLOCK (2 * MIB)
#define PAGE (4 * KIB)
#define COPY EDU_BUFFER_SIZE
#define RW (VFM_PROT_READ | VFM_PROT_WRITE)

static void assert_refused(GError *error, int code, const char *text)
{
    assert_non_null(error);
    print_message("refused: %s\n", error->message);
    if (!g_error_matches(error, VFM_REFUSED, code) || !strstr(error->message, text))
        fail_msg("expected refusal %d with \"%s\"", code, text);
}

/* The device brings @pattern from @from (where @source is) to @to (where @target is). */
static void assert_copied(Edu *edu, uint64_t from, uint8_t *source, uint64_t to, uint8_t *target, int pattern)
{
    memset(source, pattern, COPY);
    memset(target, 0, COPY);
    edu_copy(edu, from, to, COPY);
    assert_memory_equal(source, target, COPY);
}

static void assert_copy_faults(Edu *edu, uint64_t from, uint64_t to)
{
    uint64_t before = kernel_faults();
    edu_copy(edu, from, to, COPY);
    assert_true(kernel_fault_since(before));
}

/* Only what is in a window is reachable, and only that is pinned. */
static void windows_bound_the_device(void **state)
{
    g_autoptr(GArray) windows = vfm_ranges_new();
    vfm_ranges_add(windows, MIB, 2 * MIB - 1);
    vfm_ranges_add(windows, 4 * GIB + 2 * BLOCK, 4 * GIB + 4 * BLOCK - 1);
    Scene *scene = scene_new_with(&(VfmMapperOptions){.windows = windows}, false);
    Memory *boot = scene_add_memory(scene, "boot RAM", 0, 16 * MIB, 0);
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 16 * BLOCK, BLOCK);
    Edu *edu = scene_attach(scene, place_device(0, false));

    memory_plug(memory, 0, 16 * BLOCK);
    scene_verify(scene);
    assert_int_equal(place_held(), MIB + 2 * BLOCK);
    assert_copied(edu, MIB, boot->cpu + MIB, 4 * GIB + 3 * BLOCK, memory->cpu + 3 * BLOCK, 0x11);
    memset(boot->cpu, 0x22, COPY);
    assert_copy_faults(edu, MIB, 0);
    assert_int_equal(boot->cpu[0], 0x22);
    assert_copy_faults(edu, MIB, 4 * GIB + 4 * BLOCK);
    assert_int_equal(memory->cpu[4 * BLOCK], 0);
    scene_free(scene);
}

/* Behind a virtual IOMMU the device reaches what the guest maps there, and only as long as the memory is in use. */
static void viommu_is_followed(void **state)
{
    Scene *scene = scene_new_with(NULL, true);
    Memory *boot = scene_add_memory(scene, "boot RAM", 0, 16 * MIB, 0);
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 16 * BLOCK, BLOCK);
    Edu *edu = scene_attach(scene, place_device(0, false));
    g_autoptr(GError) error = NULL;

    assert_int_equal(place_held(), 0);
    memory_plug(memory, 0, 4 * BLOCK);
    assert_int_equal(place_held(), 0);
    assert_true(vfm_translation_map(scene->viommu, 64 * MIB, MIB, 2 * MIB, RW, &error));
    assert_true(vfm_translation_map(scene->viommu, 80 * MIB, BLOCK, 4 * GIB + BLOCK, RW, &error));
    scene_verify(scene);
    assert_int_equal(place_held(), MIB + BLOCK);
    assert_copied(edu, 64 * MIB, boot->cpu + 2 * MIB, 80 * MIB, memory->cpu + BLOCK, 0x31);
    assert_copied(edu, 82 * MIB - COPY, memory->cpu + 2 * BLOCK - COPY, 65 * MIB - COPY, boot->cpu + 3 * MIB - COPY,
                  0x32);
    assert_copy_faults(edu, 64 * MIB, 2 * MIB); /* guest physical is no address of this device */

    /* Nobody gets at memory that is not in use. */
    assert_false(vfm_translation_map(scene->viommu, 96 * MIB, BLOCK, 4 * GIB + 8 * BLOCK, RW, &error));
    assert_refused(error, VFM_REFUSED_STATE, "discarded");
    memory_unplug(memory, BLOCK, BLOCK);
    scene_verify(scene);
    assert_int_equal(place_held(), MIB);
    assert_copy_faults(edu, 64 * MIB, 80 * MIB);
    assert_true(memory_is_hole(memory, BLOCK, BLOCK));

    /* The late second device in this context sees the same. */
    Edu *second = scene_attach(scene, place_device(1, false));
    memory_plug(memory, BLOCK, BLOCK);
    g_clear_error(&error);
    assert_true(vfm_translation_map(scene->viommu, 90 * MIB, BLOCK, 4 * GIB + BLOCK, RW, &error));
    assert_copied(second, 64 * MIB, boot->cpu + 2 * MIB, 90 * MIB, memory->cpu + BLOCK, 0x33);
    assert_copied(edu, 90 * MIB, memory->cpu + BLOCK, 64 * MIB, boot->cpu + 2 * MIB, 0x34);
    assert_true(vfm_translation_unmap(scene->viommu, 0, 1ULL << 38, NULL, &error));
    assert_int_equal(place_held(), 0);
    assert_copy_faults(edu, 64 * MIB, 90 * MIB);
    scene_free(scene);
}

static Memory *ballooned(Scene *scene)
{
    Memory *memory = scene_add_memory(scene, "boot RAM", 0, 4 * MIB, PAGE);
    g_autoptr(GError) error = NULL;

    /* Placed without blocks in use; a balloon starts with all of them. */
    memory->region->balloon = true;
    if (!vfm_memory_map_remove(scene->map, memory->placement, &error))
        fail_msg("%s", error->message);
    memory_plug(memory, 0, memory->size);
    memory->placement = vfm_memory_map_place(scene->map, memory->region, 0, memory->size, 0, 0, &error);
    if (!memory->placement)
        fail_msg("%s", error->message);
    return memory;
}

/* By default the balloon is forbidden, because nobody would follow it... */
static void balloon_is_refused(void **state)
{
    Scene *scene = scene_new();
    Memory *memory = ballooned(scene);
    Edu *edu = scene_attach(scene, place_device(0, false));
    g_autoptr(GError) error = NULL;
    VfmContainerUsage usage;

    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.mappings, 1);
    assert_false(vfm_discard_discard(memory->discard, MIB, PAGE, &error));
    assert_refused(error, VFM_REFUSED_INHIBITED, "boot RAM");
    assert_copied(edu, MIB, memory->cpu + MIB, 2 * MIB, memory->cpu + 2 * MIB, 0x41);
    scene_free(scene);
}

/* ...and page by page it works, at its price. */
static void balloon_is_followed_page_by_page(void **state)
{
    Scene *scene = scene_new_with(&(VfmMapperOptions){.page_granular = true}, false);
    Memory *memory = ballooned(scene);
    Edu *edu = scene_attach(scene, place_device(0, false));
    VfmPagePrice price;
    VfmContainerUsage usage;

    vfm_container_usage(scene->container, &usage);
    vfm_mapper_page_granular_price(scene->mapper, &price);
    assert_int_equal(price.mappings_per_mib, 256);
    assert_int_equal(usage.mappings, 1024);
    memset(memory->cpu + MIB, 'A', PAGE);
    memory_unplug(memory, MIB, PAGE);
    scene_verify(scene);
    assert_copy_faults(edu, 0, MIB);
    assert_true(memory_is_hole(memory, MIB, PAGE));
    memory_plug(memory, MIB, PAGE);
    assert_copied(edu, MIB, memory->other + MIB, 2 * MIB, memory->cpu + 2 * MIB, 'B');
    scene_verify(scene);
    scene_free(scene);
}

/* One device writes into another's register: BARs are mapped where the kernel can, and never pinned or fatal. */
static void peer_bars_are_tried(void **state)
{
    Scene *scene = scene_new();
    Memory *boot = scene_add_memory(scene, "boot RAM", 0, MIB, 0);
    Edu *one = scene_attach(scene, place_device(0, false));
    Edu *two = scene_attach(scene, place_device(1, false));
    g_autoptr(VfmRegion) bar =
        vfm_region_new("BAR 0 of the second", VFM_REGION_BAR, two->bar_size, (void *)two->bar, -1, 0);
    g_autoptr(GError) error = NULL;
    unsigned placement = vfm_memory_map_place(scene->map, bar, 0, bar->size, 0xc0000000, 0, &error);

    assert_true(placement); /* whatever comes of it */
    scene_verify(scene);
    g_autoptr(GArray) left = vfm_mapper_left_out(scene->mapper);
    if (place_is_iommufd()) {
        assert_int_equal(left->len, 1);
        assert_string_equal(vfm_left_reason_name(g_array_index(left, VfmLeft, 0).reason), "unsupported");
    } else {
        assert_int_equal(left->len, 0);
        /* edu answers a write to 0x04 with the value's complement. */
        *(uint32_t *)boot->cpu = 0x12345678;
        edu_copy(one, 0, 0xc0000004, 4);
        assert_int_equal(*(volatile uint32_t *)(two->bar + 4), ~0x12345678U);
    }
    assert_copied(one, 0, boot->cpu, MIB / 2, boot->cpu + MIB / 2, 0x51);
    assert_true(vfm_memory_map_remove(scene->map, placement, &error));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_bound_the_device), cmocka_unit_test(viommu_is_followed),
        cmocka_unit_test(balloon_is_refused),       cmocka_unit_test(balloon_is_followed_page_by_page),
        cmocka_unit_test(peer_bars_are_tried),
    };
    return cmocka_run_group_tests_name(place_is_iommufd() ? "views on iommufd" : "views on type1", tests, NULL, NULL);
}
