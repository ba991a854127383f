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

#define KIB 1024ull
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)

/* One guest, one container. Host addresses are numbers: nothing reads there. */
typedef struct {
    VfmMemoryMap *map;
    VfmBackend *backend;
    VfmContainer *container;
    VfmMapper *mapper;
} Scene;

static Scene scene_new(const VfmRecordOptions *record, const VfmMapperOptions *options)
{
    Scene scene = {.map = vfm_memory_map_new("guest"), .backend = vfm_backend_record_new(record)};

    scene.container = vfm_container_new("container 0", scene.backend, VFM_NONE);
    scene.mapper = vfm_mapper_new(scene.container, scene.map, options, NULL);
    assert_non_null(scene.mapper);
    return scene;
}

static void scene_free(Scene *scene)
{
    VfmContainerUsage usage;

    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.anomalies, 0);
    vfm_mapper_free(scene->mapper);
    assert_int_equal(vfm_backend_record_mappings(scene->backend), 0);
    vfm_container_free(scene->container);
    vfm_memory_map_free(scene->map);
}

static bool attach(Scene *scene, const char *name, const GArray *reserved, GError **error)
{
    VfmContainerDevice device = {.name = name, .fd = -1, .reserved = reserved};

    return vfm_container_attach(scene->container, &device, NULL, error);
}

static unsigned place(Scene *scene, const char *name, VfmRegionKind kind, uint64_t address, uint64_t size)
{
    VfmRegion *region = vfm_region_new(name, kind, size, kind == VFM_REGION_IO ? NULL : (void *)(16 * TIB), 7, 0);
    unsigned id = vfm_memory_map_place(scene->map, region, 0, size, address, 0, NULL);

    assert_int_not_equal(id, 0);
    vfm_region_unref(region);
    return id;
}

static VfmDiscard *place_sparse(Scene *scene, const char *name, uint64_t address, uint64_t size, uint64_t block)
{
    VfmRegion *region = vfm_region_new(name, VFM_REGION_RAM, size, (void *)(64 * TIB), 8, 0);
    VfmDiscard *discard = vfm_discard_new(name, size, block, false, NULL);

    region->discard = discard;
    assert_int_not_equal(vfm_memory_map_place(scene->map, region, 0, size, address, 0, NULL), 0);
    vfm_region_unref(region);
    return discard;
}

static bool print_mapping(void *data, const VfmMapping *mapping)
{
    g_string_append_printf(data, "%" G_GINT64_MODIFIER "x+%" G_GINT64_MODIFIER "x:%" G_GINT64_MODIFIER "x/%u%s ",
                           mapping->iova, mapping->size, mapping->offset, mapping->prot, mapping->peer ? "p" : "");
    return true;
}

static char *all_mappings(const VfmBackend *backend)
{
    GString *text = g_string_new("");

    vfm_backend_record_foreach(backend, print_mapping, text);
    return g_string_free(text, FALSE);
}

static void assert_mapped(const Scene *scene, const char *text)
{
    g_autofree char *mappings = all_mappings(scene->backend);

    assert_string_equal(mappings, text);
}

static char *all_left(const Scene *scene)
{
    GString *text = g_string_new("");
    g_autoptr(GArray) left = vfm_mapper_left_out(scene->mapper);

    for (unsigned i = 0; i < left->len; i++) {
        const VfmLeft *entry = &g_array_index(left, VfmLeft, i);

        g_string_append_printf(text, "%s:%s@%" G_GINT64_MODIFIER "x+%" G_GINT64_MODIFIER "x ", entry->region,
                               vfm_left_reason_name(entry->reason), entry->address, entry->size);
    }
    return g_string_free(text, FALSE);
}

static void assert_left(const Scene *scene, const char *text)
{
    g_autofree char *left = all_left(scene);

    assert_string_equal(left, text);
}

static void test_nothing_is_mapped_without_a_device(void **state)
{
    Scene scene = scene_new(NULL, NULL);

    place(&scene, "ram", VFM_REGION_RAM, 0, MIB);
    assert_mapped(&scene, "");
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_true(attach(&scene, "b", NULL, NULL));
    assert_true(vfm_container_detach(scene.container, "a", NULL));
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_true(vfm_container_detach(scene.container, "b", NULL));
    assert_mapped(&scene, "");
    scene_free(&scene);
}

static void test_boot_ram_takes_the_fewest_mappings(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *ram = vfm_region_new("ram", VFM_REGION_RAM, TIB, (void *)(16 * TIB), 7, 0);

    /* 1 TiB on q35: below 2 GiB and above 4 GiB. */
    vfm_memory_map_place(scene.map, ram, 0, 2 * GIB, 0, 0, NULL);
    vfm_memory_map_place(scene.map, ram, 2 * GIB, TIB - 2 * GIB, 4 * GIB, 0, NULL);
    vfm_region_unref(ram);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_int_equal(vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP), 2);
    assert_mapped(&scene, "0+80000000:0/3 100000000+ff80000000:80000000/3 ");
    scene_free(&scene);
}

static void test_blocks_are_aligned_in_the_region_not_in_the_guest(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *region = vfm_region_new("vm0", VFM_REGION_RAM, 8 * MIB, (void *)(64 * TIB), 8, 0);

    region->discard = vfm_discard_new("vm0", 8 * MIB, 2 * MIB, false, NULL);
    /* From 1 MiB into the region: the first block is seen by half. */
    vfm_memory_map_place(scene.map, region, MIB, 5 * MIB, 16 * MIB, 0, NULL);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(region->discard, 0, 6 * MIB, NULL));
    assert_mapped(&scene, "1000000+100000:100000/3 1100000+200000:200000/3 1300000+200000:400000/3 ");
    assert_true(vfm_discard_discard(region->discard, 2 * MIB, 2 * MIB, NULL));
    assert_mapped(&scene, "1000000+100000:100000/3 1300000+200000:400000/3 ");
    vfm_region_unref(region);
    scene_free(&scene);
}

static void test_a_discard_is_one_unmap(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", 4 * GIB, GIB, 2 * MIB);
    uint64_t unmaps;

    assert_true(attach(&scene, "a", NULL, NULL));
    for (unsigned i = 0; i < 512; i += 2)
        assert_true(vfm_discard_populate(vm0, i * 2 * MIB, 2 * MIB, NULL));
    unmaps = vfm_backend_record_calls(scene.backend, VFM_RECORD_UNMAP);
    assert_true(vfm_discard_discard(vm0, 0, GIB, NULL));
    assert_int_equal(vfm_backend_record_calls(scene.backend, VFM_RECORD_UNMAP), unmaps + 1);
    assert_mapped(&scene, "");
    scene_free(&scene);
}

static void test_edges_are_trimmed_and_listed(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *ram = vfm_region_new("ram", VFM_REGION_RAM, MIB, (void *)(16 * TIB), 7, 0);

    vfm_memory_map_place(scene.map, ram, 0x800, 0x3000, 0x10800, 0, NULL);
    vfm_memory_map_place(scene.map, ram, 0x100, 0x4000, 0x20000, 0, NULL); /* differs within the page */
    vfm_memory_map_place(scene.map, ram, 0x800, 0x800, 0x30800, 0, NULL);  /* less than a page */
    vfm_region_unref(ram);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, "11000+2000:1000/3 ");
    assert_left(&scene, "ram:edge@10800+800 ram:edge@13000+800 ram:misaligned@20000+4000 ram:edge@30800+800 ");
    scene_free(&scene);
}

static void test_rom_is_read_only_and_io_is_not_mapped(void **state)
{
    Scene scene = scene_new(NULL, NULL);

    assert_true(attach(&scene, "a", NULL, NULL));
    place(&scene, "rom", VFM_REGION_ROM, 0xc0000, 0x20000);
    place(&scene, "vga", VFM_REGION_IO, 0xa0000, 0x20000);
    place(&scene, "bar", VFM_REGION_BAR, 0xfe000000, 0x10000);
    assert_mapped(&scene, "c0000+20000:0/1 fe000000+10000:0/3p ");
    scene_free(&scene);
}

static GArray *reserved_range(uint64_t start, uint64_t end, VfmReservedType type)
{
    GArray *reserved = g_array_new(FALSE, FALSE, sizeof(VfmReserved));
    VfmReserved range = {start, end, type};

    return g_array_append_val(reserved, range);
}

static void test_a_newcomer_that_can_not_reach_ram_is_refused(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    g_autoptr(GArray) rmrr = reserved_range(0x80000, 0x80fff, VFM_RESERVED_DIRECT);
    g_autoptr(GArray) relaxed = reserved_range(0x80000, 0x80fff, VFM_RESERVED_DIRECT_RELAXABLE);
    g_autoptr(GArray) aperture = vfm_ranges_new();
    VfmContainerDevice narrow = {.name = "narrow", .fd = -1, .aperture = aperture};
    g_autoptr(GError) error = NULL;
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", 4 * GIB, GIB, 2 * MIB);

    place(&scene, "boot RAM", VFM_REGION_RAM, 0, MIB);
    assert_true(attach(&scene, "0000:01:00.0", NULL, NULL));
    assert_false(attach(&scene, "0000:02:00.0", rmrr, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_non_null(strstr(error->message, "boot RAM"));
    assert_non_null(strstr(error->message, "reserved region 0x80000-0x80fff (direct) of 0000:02:00.0"));
    g_clear_error(&error);
    assert_int_equal(vfm_container_devices(scene.container), 1);
    assert_int_equal(vfm_backend_record_devices(scene.backend), 1);
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_true(attach(&scene, "0000:03:00.0", relaxed, NULL));
    /* 39 bits reach all that is plugged, but not all that can be: 512 MiB at the end of vm0. */
    vfm_ranges_add(aperture, 0, 4 * GIB + 512 * MIB - 1);
    assert_true(vfm_discard_populate(vm0, 0, 2 * MIB, NULL));
    assert_false(vfm_container_attach(scene.container, &narrow, NULL, &error));
    assert_non_null(strstr(error->message, "beyond what the IOMMU of narrow can address"));
    /* The first device the same, however it is attached. */
    assert_true(vfm_container_detach(scene.container, "0000:01:00.0", NULL));
    assert_true(vfm_container_detach(scene.container, "0000:03:00.0", NULL));
    assert_false(attach(&scene, "0000:02:00.0", rmrr, NULL));
    assert_mapped(&scene, "");
    assert_int_equal(vfm_backend_record_devices(scene.backend), 0);
    scene_free(&scene);
}

static void test_ram_that_a_device_can_not_reach_is_refused_later_too(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    g_autoptr(GArray) msi = reserved_range(0xfee00000, 0xfeefffff, VFM_RESERVED_MSI);
    VfmRegion *dimm = vfm_region_new("dimm0", VFM_REGION_RAM, GIB, (void *)(32 * TIB), 9, 0);
    uint64_t calls;
    g_autoptr(GError) error = NULL;

    place(&scene, "boot RAM", VFM_REGION_RAM, 0, MIB);
    assert_true(attach(&scene, "a", msi, NULL));
    calls = vfm_backend_record_calls(scene.backend, VFM_RECORD_UNMAP);
    vfm_memory_map_begin(scene.map);
    vfm_memory_map_place(scene.map, dimm, 0, GIB, 3 * GIB, 0, NULL);
    assert_false(vfm_memory_map_commit(scene.map, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_non_null(strstr(error->message, "dimm0"));
    assert_mapped(&scene, "0+100000:0/3 ");
    /* Known beforehand: nothing was touched, not even for a moment. */
    assert_int_equal(vfm_backend_record_calls(scene.backend, VFM_RECORD_UNMAP), calls);
    vfm_region_unref(dimm);
    scene_free(&scene);
}

static void test_what_is_not_ram_makes_room_and_comes_back(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    g_autoptr(GArray) msi = reserved_range(0xfee00000, 0xfeefffff, VFM_RESERVED_MSI);
    g_autofree char *before = NULL;

    place(&scene, "bar", VFM_REGION_BAR, 0xfe000000, 0x1000000);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, "fe000000+1000000:0/3p ");
    assert_true(attach(&scene, "b", msi, NULL));
    assert_mapped(&scene, "fe000000+e00000:0/3p fef00000+100000:f00000/3p ");
    assert_left(&scene, "bar:reserved@fee00000+100000 ");
    before = all_mappings(scene.backend);
    assert_true(vfm_container_detach(scene.container, "b", NULL));
    assert_mapped(&scene, "fe000000+1000000:0/3p ");
    assert_left(&scene, "");
    /* The other way round it is the same. */
    assert_true(vfm_container_detach(scene.container, "a", NULL));
    assert_true(attach(&scene, "b", msi, NULL));
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, before);
    /* A kernel that refuses leaves the room to those that were there. */
    assert_true(vfm_container_detach(scene.container, "b", NULL));
    vfm_backend_record_fail(scene.backend, VFM_RECORD_ATTACH, 0, 1, EPERM);
    assert_false(attach(&scene, "b", msi, NULL));
    assert_mapped(&scene, "fe000000+1000000:0/3p ");
    scene_free(&scene);
}

static void test_what_only_the_kernel_knows_counts_too(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    g_autoptr(GArray) reach = vfm_ranges_new_all();
    g_autoptr(GError) error = NULL;

    place(&scene, "boot RAM", VFM_REGION_RAM, 0, MIB);
    vfm_ranges_subtract(reach, 0x40000, 0x40fff);
    vfm_backend_record_set_ranges(scene.backend, reach);
    assert_false(attach(&scene, "a", NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_RESERVED));
    assert_int_equal(vfm_backend_record_devices(scene.backend), 0);
    assert_mapped(&scene, "");
    vfm_backend_record_set_ranges(scene.backend, NULL);
    assert_true(attach(&scene, "a", NULL, NULL));
    scene_free(&scene);
}

static void test_a_peers_bar_may_fail(void **state)
{
    VfmRecordOptions no_bars = {.no_peer_bars = true};
    Scene scene = scene_new(NULL, NULL);

    place(&scene, "ram", VFM_REGION_RAM, 0, MIB);
    place(&scene, "bar", VFM_REGION_BAR, 0xfe000000, 0x4000);
    vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, 1, 1, EFAULT);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_left(&scene, "bar:failed@fe000000+4000 ");
    scene_free(&scene);

    scene = scene_new(&no_bars, NULL);
    place(&scene, "bar", VFM_REGION_BAR, 0xfe000000, 0x4000);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_int_equal(vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP), 0);
    assert_left(&scene, "bar:unsupported@fe000000+4000 ");
    scene_free(&scene);
}

static void test_ram_comes_before_bars_where_mappings_are_short(void **state)
{
    VfmRecordOptions two = {.max_mappings = VFM_SOME(2)};
    Scene scene = scene_new(&two, NULL);

    place(&scene, "bar", VFM_REGION_BAR, 0, 0x4000);
    place(&scene, "low", VFM_REGION_RAM, MIB, MIB);
    place(&scene, "high", VFM_REGION_RAM, 4 * MIB, MIB);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_mapped(&scene, "100000+100000:0/3 400000+100000:0/3 ");
    assert_left(&scene, "bar:failed@0+4000 ");
    scene_free(&scene);
}

static void test_failure_at_the_nth_map_leaves_the_state_before(void **state)
{
    /* A populate that two sections see, after every possible number of maps. */
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *region = vfm_region_new("vm0", VFM_REGION_RAM, 64 * MIB, (void *)(64 * TIB), 8, 0);
    g_autofree char *before = NULL;
    unsigned n;

    region->discard = vfm_discard_new("vm0", 64 * MIB, 2 * MIB, false, NULL);
    vfm_memory_map_place(scene.map, region, 0, 64 * MIB, GIB, 0, NULL);
    vfm_memory_map_place(scene.map, region, 8 * MIB, 32 * MIB, 2 * GIB, 0, NULL);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(region->discard, 0, 4 * MIB, NULL));
    before = all_mappings(scene.backend);
    for (n = 0;; n++) {
        g_autoptr(GError) error = NULL;
        VfmContainerUsage usage;

        vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, n, 1, EFAULT);
        if (vfm_discard_populate(region->discard, 4 * MIB, 60 * MIB, &error))
            break;
        assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, EFAULT));
        assert_mapped(&scene, before);
        assert_int_equal(vfm_discard_populated(region->discard), 4 * MIB);
        vfm_container_usage(scene.container, &usage);
        assert_int_equal(usage.mappings, 2);
        assert_int_equal(usage.pinned, 4 * MIB);
    }
    assert_int_equal(n, 30 + 16);

    /* The replay for the first device of a container. */
    vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, 0, 0, 0);
    assert_true(vfm_container_detach(scene.container, "a", NULL));
    for (n = 0;; n++) {
        vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, n, 1, EFAULT);
        if (attach(&scene, "a", NULL, NULL))
            break;
        assert_mapped(&scene, "");
        assert_int_equal(vfm_backend_record_devices(scene.backend), 0);
    }
    assert_int_equal(n, 32 + 16);
    vfm_region_unref(region);
    scene_free(&scene);
}

static void test_a_transaction_that_fails_anywhere_leaves_the_map_before(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *ram = vfm_region_new("ram", VFM_REGION_RAM, 16 * MIB, (void *)(16 * TIB), 7, 0);
    VfmRegion *dimm = vfm_region_new("dimm", VFM_REGION_RAM, 16 * MIB, (void *)(32 * TIB), 9, 0);
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", GIB, 16 * MIB, 2 * MIB);
    unsigned low = vfm_memory_map_place(scene.map, ram, 0, 16 * MIB, 0, 0, NULL), n, m;
    g_autofree char *before = NULL;

    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(vm0, 0, 16 * MIB, NULL));
    before = all_mappings(scene.backend);
    for (VfmRecordCall call = VFM_RECORD_MAP; call <= VFM_RECORD_UNMAP; call++) {
        for (n = 0;; n++) {
            g_autoptr(GError) error = NULL;
            bool done;

            vfm_backend_record_fail(scene.backend, call, n, 1, EIO);
            vfm_memory_map_begin(scene.map);
            for (m = 1; m < 5; m++)
                vfm_memory_map_place(scene.map, dimm, 0, m * MIB, m * 64 * MIB, 0, NULL);
            vfm_memory_map_move(scene.map, low, 8 * MIB, 0, NULL);
            /* Over a part of vm0, so that its section changes too. */
            vfm_memory_map_place(scene.map, dimm, 0, 2 * MIB, GIB + 4 * MIB, 1, NULL);
            done = vfm_memory_map_commit(scene.map, &error);
            vfm_backend_record_fail(scene.backend, call, 0, 0, 0);
            if (done)
                break;
            assert_mapped(&scene, before);
            assert_left(&scene, "");
        }
        assert_int_equal(n, call == VFM_RECORD_MAP ? 1 + 4 + 2 + 1 + 5 : 2);
        /* Back to where it began. */
        vfm_memory_map_begin(scene.map);
        for (unsigned id = 1; id < 2000; id++) {
            if (id != low && id != 1)
                vfm_memory_map_remove(scene.map, id, NULL);
        }
        vfm_memory_map_move(scene.map, low, 0, 0, NULL);
        assert_true(vfm_memory_map_commit(scene.map, NULL));
        assert_mapped(&scene, before);
    }
    vfm_region_unref(ram);
    vfm_region_unref(dimm);
    scene_free(&scene);
}

static void test_what_is_lost_on_the_way_back_is_listed_and_tried_again(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    unsigned ram = place(&scene, "ram", VFM_REGION_RAM, 0, MIB);
    g_autoptr(GError) error = NULL;

    assert_true(attach(&scene, "a", NULL, NULL));
    vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, 0, 3, EFAULT);
    assert_false(vfm_memory_map_move(scene.map, ram, 2 * MIB, 0, &error));
    assert_non_null(strstr(error->message, "the way back failed too"));
    assert_mapped(&scene, "");
    assert_left(&scene, "ram:lost@0+100000 ");
    place(&scene, "io", VFM_REGION_IO, GIB, MIB); /* any later change tries again */
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_left(&scene, "");
    scene_free(&scene);
}

/* ROM that the kernel refused must not be first on the way back: it would take what RAM had. */
static void test_refused_rom_takes_nothing_from_ram_on_the_way_back(void **state)
{
    VfmRecordOptions record = {.memlock = VFM_SOME(MIB)};
    Scene scene = scene_new(&record, NULL);
    g_autoptr(GArray) reserved = g_array_new(FALSE, FALSE, sizeof(VfmReserved));
    VfmReserved over_rom = {GIB, GIB + 64 * KIB - 1, VFM_RESERVED_RESERVED};
    VfmRegion *more = vfm_region_new("more", VFM_REGION_RAM, MIB + 4 * KIB, (void *)(16 * TIB), 7, 0);
    unsigned ram, rom;

    g_array_append_val(reserved, over_rom);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(attach(&scene, "b", reserved, NULL));
    ram = place(&scene, "ram", VFM_REGION_RAM, 0, MIB);
    rom = place(&scene, "rom", VFM_REGION_ROM, GIB, 64 * KIB);
    assert_true(vfm_container_detach(scene.container, "b", NULL)); /* now it could be reached, without memory for it */
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_left(&scene, "rom:failed@40000000+10000 ");

    vfm_memory_map_begin(scene.map);
    vfm_memory_map_remove(scene.map, ram, NULL);
    vfm_memory_map_remove(scene.map, rom, NULL);
    vfm_memory_map_place(scene.map, more, 0, more->size, 2 * GIB, 0, NULL);
    assert_false(vfm_memory_map_commit(scene.map, NULL));
    assert_mapped(&scene, "0+100000:0/3 ");
    assert_left(&scene, "rom:failed@40000000+10000 ");
    vfm_region_unref(more);
    scene_free(&scene);
}

static void test_lost_blocks_are_whole_again_after_their_discard(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmRegion *region = vfm_region_new("vm0", VFM_REGION_RAM, 8 * MIB, (void *)(64 * TIB), 8, 0);

    /* Seen at two places: one lets go, the other can't, and the first can't take it back. */
    region->discard = vfm_discard_new("vm0", 8 * MIB, 2 * MIB, false, NULL);
    vfm_memory_map_place(scene.map, region, 0, 8 * MIB, 16 * MIB, 0, NULL);
    vfm_memory_map_place(scene.map, region, 0, 8 * MIB, 32 * MIB, 0, NULL);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(region->discard, 0, 4 * MIB, NULL));
    vfm_backend_record_fail(scene.backend, VFM_RECORD_UNMAP, 1, 1, EIO);
    vfm_backend_record_fail(scene.backend, VFM_RECORD_MAP, 1, 1, EFAULT);
    assert_false(vfm_discard_discard(region->discard, 0, 4 * MIB, NULL));
    assert_mapped(&scene, "2000000+200000:0/3 2200000+200000:200000/3 ");
    assert_left(&scene, "vm0:lost@1000000+400000 ");
    assert_true(vfm_discard_discard(region->discard, 0, 4 * MIB, NULL));
    assert_left(&scene, "");
    assert_true(vfm_discard_populate(region->discard, 0, 2 * MIB, NULL));
    assert_mapped(&scene, "1000000+200000:0/3 2000000+200000:0/3 ");
    vfm_region_unref(region);
    scene_free(&scene);
}

static void test_the_budget_error_names_the_block_that_fits(void **state)
{
    VfmRecordOptions type1 = {.max_mappings = VFM_SOME(65535)};
    Scene scene = scene_new(&type1, NULL);
    VfmDiscard *vm0 = place_sparse(&scene, "virtio-mem vm0", 4 * GIB, 130 * GIB, 2 * MIB);
    VfmMapperUsage usage;
    g_autoptr(GError) error = NULL;
    uint64_t calls;

    place(&scene, "boot RAM", VFM_REGION_RAM, 0, 2 * GIB);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(vm0, 0, 65534 * 2 * MIB, NULL));
    assert_int_equal(vfm_backend_record_mappings(scene.backend), 65535);
    calls = vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP);
    assert_false(vfm_discard_populate(vm0, 65534 * 2 * MIB, 2 * MIB, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_BUDGET));
    assert_non_null(strstr(error->message, "virtio-mem vm0"));
    assert_non_null(strstr(error->message, "65535 of 65535"));
    assert_non_null(strstr(error->message, "blocks of 4194304 bytes would fit"));
    assert_int_equal(vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP), calls); /* known without asking */
    assert_int_equal(vfm_backend_record_mappings(scene.backend), 65535);
    vfm_mapper_usage(scene.mapper, &usage);
    assert_int_equal(usage.mappings, 65535);
    assert_int_equal(usage.mappings_at_full, 1 + 130 * 512);
    assert_int_equal(usage.budget.value, 65535);
    assert_true(vfm_container_verify(scene.container, NULL));
    scene_free(&scene);
}

static void test_a_kernel_that_has_less_than_it_said(void **state)
{
    VfmRecordOptions liar = {.max_mappings = VFM_SOME(100), .reported_max = 65535};
    Scene scene = scene_new(&liar, NULL);
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", 4 * GIB, GIB, 2 * MIB);
    g_autoptr(GError) error = NULL;

    assert_true(attach(&scene, "a", NULL, NULL));
    assert_false(vfm_discard_populate(vm0, 0, GIB, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_BUDGET));
    assert_non_null(strstr(error->message, "blocks of 16777216 bytes would fit"));
    assert_mapped(&scene, "");
    assert_int_equal(vfm_discard_populated(vm0), 0);
    scene_free(&scene);
}

static void test_the_memlock_error_says_how_much_is_needed(void **state)
{
    VfmRecordOptions limited = {.memlock = VFM_SOME(100 * MIB)};
    Scene scene = scene_new(&limited, NULL);
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", 4 * GIB, GIB, 2 * MIB);
    g_autoptr(GError) error = NULL;

    place(&scene, "boot RAM", VFM_REGION_RAM, 0, 64 * MIB);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_false(vfm_discard_populate(vm0, 0, 64 * MIB, &error)); /* runs out midway */
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
    assert_non_null(strstr(error->message, "67108864 bytes of locked memory, 134217728 in all"));
    assert_non_null(strstr(error->message, "RLIMIT_MEMLOCK (104857600 bytes) is exceeded"));
    assert_mapped(&scene, "0+4000000:0/3 ");
    assert_true(vfm_discard_populate(vm0, 0, 36 * MIB, NULL));
    scene_free(&scene);
}

static void test_blocks_smaller_than_a_page_of_the_iommu(void **state)
{
    VfmRecordOptions large = {.page = 64 * KIB};
    Scene scene = scene_new(&large, NULL);
    g_autoptr(GError) error = NULL;

    place_sparse(&scene, "vm0", 4 * GIB, MIB, 4 * KIB);
    assert_false(attach(&scene, "a", NULL, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
    assert_int_equal(vfm_backend_record_devices(scene.backend), 0);
    scene_free(&scene);
}

static void test_windows_are_all_that_is_reachable(void **state)
{
    g_autoptr(GArray) windows = vfm_ranges_new();
    g_autoptr(GArray) rmrr = reserved_range(0, 0xfffff, VFM_RESERVED_DIRECT);
    VfmMapperOptions options = {.windows = windows};
    Scene scene;
    VfmDiscard *vm0;

    vfm_ranges_add(windows, 0x200000, 0x2fffff);
    vfm_ranges_add(windows, 4 * GIB + MIB, 4 * GIB + 3 * MIB - 1);
    scene = scene_new(NULL, &options);
    vm0 = place_sparse(&scene, "vm0", 4 * GIB, GIB, 2 * MIB);
    place(&scene, "ram", VFM_REGION_RAM, 0, GIB);
    assert_true(attach(&scene, "a", rmrr, NULL)); /* a conflict outside of every window is none */
    assert_true(vfm_discard_populate(vm0, 0, 8 * MIB, NULL));
    assert_mapped(&scene, "200000+100000:200000/3 100100000+100000:100000/3 100200000+100000:200000/3 ");
    assert_true(vfm_discard_discard(vm0, 0, 2 * MIB, NULL));
    assert_mapped(&scene, "200000+100000:200000/3 100200000+100000:200000/3 ");
    scene_free(&scene);
}

static void test_a_balloon_is_refused_or_followed_at_a_price(void **state)
{
    for (int granular = 0; granular < 2; granular++) {
        VfmRecordOptions type1 = {.max_mappings = VFM_SOME(1000)};
        VfmMapperOptions options = {.page_granular = granular};
        Scene scene = scene_new(&type1, &options);
        VfmRegion *ram = vfm_region_new("ram", VFM_REGION_RAM, 2 * MIB, (void *)(16 * TIB), 7, 0);
        g_autoptr(GError) error = NULL;
        VfmPagePrice price;

        ram->discard = vfm_discard_new("balloon", 2 * MIB, 4 * KIB, true, NULL);
        ram->balloon = true;
        vfm_memory_map_place(scene.map, ram, 0, 2 * MIB, 0, 0, NULL);
        assert_true(attach(&scene, "a", NULL, NULL));
        vfm_mapper_page_granular_price(scene.mapper, &price);
        assert_int_equal(price.mappings_per_mib, 256);
        assert_int_equal(price.mappings, 512);
        assert_int_equal(price.mappings_now, 1);
        assert_true(price.fits);
        assert_int_equal(vfm_backend_record_mappings(scene.backend), granular ? 512 : 1);
        assert_int_equal(vfm_discard_discard(ram->discard, 8 * KIB, 4 * KIB, &error), granular);
        assert_true(granular || g_error_matches(error, VFM_REFUSED, VFM_REFUSED_INHIBITED));
        assert_int_equal(vfm_backend_record_find(scene.backend, 8 * KIB, NULL), !granular);
        assert_true(vfm_container_detach(scene.container, "a", NULL));
        assert_true(granular || vfm_discard_discard(ram->discard, 8 * KIB, 4 * KIB, NULL));
        vfm_region_unref(ram);
        scene_free(&scene);
    }
}

static void test_lists_come_in_portions(void **state)
{
    Scene scene = scene_new(NULL, NULL);
    VfmDiscard *vm0 = place_sparse(&scene, "vm0", GIB, GIB, 2 * MIB);
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(VfmMapperExtent));
    uint64_t from;

    place(&scene, "ram", VFM_REGION_RAM, 0, MIB);
    assert_true(attach(&scene, "a", NULL, NULL));
    assert_true(vfm_discard_populate(vm0, 0, 10 * MIB, NULL));
    assert_true(vfm_discard_populate(vm0, 20 * MIB, 2 * MIB, NULL));
    from = vfm_mapper_extents(scene.mapper, 0, 2, extents);
    assert_int_equal(extents->len, 2);
    assert_int_equal(from, GIB + 20 * MIB);
    assert_int_equal(g_array_index(extents, VfmMapperExtent, 1).count, 5);
    assert_int_equal(vfm_mapper_extents(scene.mapper, from, 100, extents), 0);
    assert_int_equal(extents->len, 3);
    /* From inside a row of blocks. */
    g_array_set_size(extents, 0);
    vfm_mapper_extents(scene.mapper, GIB + 4 * MIB, 1, extents);
    assert_int_equal(g_array_index(extents, VfmMapperExtent, 0).iova, GIB + 4 * MIB);
    assert_int_equal(g_array_index(extents, VfmMapperExtent, 0).count, 3);
    scene_free(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_mapped_without_a_device),
        cmocka_unit_test(test_boot_ram_takes_the_fewest_mappings),
        cmocka_unit_test(test_blocks_are_aligned_in_the_region_not_in_the_guest),
        cmocka_unit_test(test_a_discard_is_one_unmap),
        cmocka_unit_test(test_edges_are_trimmed_and_listed),
        cmocka_unit_test(test_rom_is_read_only_and_io_is_not_mapped),
        cmocka_unit_test(test_a_newcomer_that_can_not_reach_ram_is_refused),
        cmocka_unit_test(test_ram_that_a_device_can_not_reach_is_refused_later_too),
        cmocka_unit_test(test_what_is_not_ram_makes_room_and_comes_back),
        cmocka_unit_test(test_what_only_the_kernel_knows_counts_too),
        cmocka_unit_test(test_a_peers_bar_may_fail),
        cmocka_unit_test(test_ram_comes_before_bars_where_mappings_are_short),
        cmocka_unit_test(test_failure_at_the_nth_map_leaves_the_state_before),
        cmocka_unit_test(test_a_transaction_that_fails_anywhere_leaves_the_map_before),
        cmocka_unit_test(test_what_is_lost_on_the_way_back_is_listed_and_tried_again),
        cmocka_unit_test(test_refused_rom_takes_nothing_from_ram_on_the_way_back),
        cmocka_unit_test(test_lost_blocks_are_whole_again_after_their_discard),
        cmocka_unit_test(test_the_budget_error_names_the_block_that_fits),
        cmocka_unit_test(test_a_kernel_that_has_less_than_it_said),
        cmocka_unit_test(test_the_memlock_error_says_how_much_is_needed),
        cmocka_unit_test(test_blocks_smaller_than_a_page_of_the_iommu),
        cmocka_unit_test(test_windows_are_all_that_is_reachable),
        cmocka_unit_test(test_a_balloon_is_refused_or_followed_at_a_price),
        cmocka_unit_test(test_lists_come_in_portions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
