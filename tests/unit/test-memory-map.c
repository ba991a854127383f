/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "error.h"
#include "memory_map.h"

#define K 1024u

/* Writes down what it hears, as one line of text. */
typedef struct {
    VfmMapListener base;
    GString *heard;
    const char *refuse; /* an entry that is refused, e.g. "+rom" */
} Witness;

static bool hear(Witness *witness, char sign, const VfmSection *section, GError **error)
{
    g_autofree char *entry = g_strdup_printf("%c%s", sign, section->region->name);

    if (witness->refuse && strcmp(entry, witness->refuse) == 0) {
        witness->refuse = NULL;
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "the witness refuses %s", entry);
        return false;
    }
    g_string_append_printf(witness->heard, "%s@%u+%u/%u ", entry, (unsigned)(section->address / K),
                           (unsigned)(section->size / K), (unsigned)(section->offset / K));
    return true;
}

static bool on_remove(VfmMapListener *listener, const VfmSection *section, GError **error)
{
    return hear((Witness *)listener, '-', section, error);
}

static bool on_add(VfmMapListener *listener, const VfmSection *section, GError **error)
{
    return hear((Witness *)listener, '+', section, error);
}

static void on_end(VfmMapListener *listener, bool kept)
{
    g_string_append(((Witness *)listener)->heard, kept ? "." : "!");
}

static const VfmMapListenerOps witness_ops = {.remove = on_remove, .add = on_add, .end = on_end};

typedef struct {
    VfmMemoryMap *map;
    VfmRegion *ram, *rom, *io;
    Witness witness;
} Scene;

static int begin(void **state)
{
    Scene *scene = g_new0(Scene, 1);

    scene->map = vfm_memory_map_new("guest");
    scene->ram = vfm_region_new("ram", VFM_REGION_RAM, 100 * K, (void *)0x100000, -1, 0);
    scene->rom = vfm_region_new("rom", VFM_REGION_ROM, 100 * K, (void *)0x200000, -1, 0);
    scene->io = vfm_region_new("io", VFM_REGION_IO, 100 * K, NULL, -1, 0);
    scene->witness = (Witness){.base = {&witness_ops}, .heard = g_string_new("")};
    assert_true(vfm_memory_map_add_listener(scene->map, &scene->witness.base, NULL));
    *state = scene;
    return 0;
}

static int end(void **state)
{
    Scene *scene = *state;

    vfm_memory_map_remove_listener(scene->map, &scene->witness.base, NULL);
    vfm_memory_map_free(scene->map);
    vfm_region_unref(scene->ram);
    vfm_region_unref(scene->rom);
    vfm_region_unref(scene->io);
    g_string_free(scene->witness.heard, TRUE);
    g_free(scene);
    return 0;
}

static void assert_heard(Scene *scene, const char *text)
{
    assert_string_equal(scene->witness.heard->str, text);
    g_string_set_size(scene->witness.heard, 0);
}

static void test_overlays_cut_and_rejoin(void **state)
{
    Scene *scene = *state;
    unsigned hole;

    g_string_set_size(scene->witness.heard, 0);
    assert_int_not_equal(vfm_memory_map_place(scene->map, scene->ram, 0, 100 * K, 0, 0, NULL), 0);
    assert_heard(scene, "+ram@0+100/0 .");
    hole = vfm_memory_map_place(scene->map, scene->io, 0, 10 * K, 40 * K, 1, NULL);
    assert_heard(scene, "-ram@0+100/0 +ram@0+40/0 +io@40+10/0 +ram@50+50/50 .");
    assert_true(vfm_memory_map_remove(scene->map, hole, NULL));
    assert_heard(scene, "-ram@0+40/0 -io@40+10/0 -ram@50+50/50 +ram@0+100/0 .");
}

static void test_only_the_difference_is_told(void **state)
{
    Scene *scene = *state;
    unsigned rom;

    vfm_memory_map_place(scene->map, scene->ram, 0, 50 * K, 0, 0, NULL);
    rom = vfm_memory_map_place(scene->map, scene->rom, 0, 10 * K, 60 * K, 0, NULL);
    g_string_set_size(scene->witness.heard, 0);
    vfm_memory_map_begin(scene->map);
    vfm_memory_map_begin(scene->map);
    assert_true(vfm_memory_map_move(scene->map, rom, 70 * K, 0, NULL));
    assert_true(vfm_memory_map_move(scene->map, rom, 80 * K, 0, NULL));
    assert_true(vfm_memory_map_commit(scene->map, NULL));
    assert_heard(scene, "");
    assert_true(vfm_memory_map_commit(scene->map, NULL));
    assert_heard(scene, "-rom@60+10/0 +rom@80+10/0 .");
    /* Hidden by what is higher: no news. */
    vfm_memory_map_place(scene->map, scene->io, 0, 10 * K, 10 * K, -1, NULL);
    assert_heard(scene, "");
    /* Among equals, the later one is seen. */
    vfm_memory_map_place(scene->map, scene->io, 0, 50 * K, 0, 0, NULL);
    assert_heard(scene, "-ram@0+50/0 +io@0+50/0 .");
}

static void test_a_refusal_undoes_all_of_it(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;
    unsigned ram = vfm_memory_map_place(scene->map, scene->ram, 0, 50 * K, 0, 0, NULL);

    g_string_set_size(scene->witness.heard, 0);
    scene->witness.refuse = "+rom";
    vfm_memory_map_begin(scene->map);
    assert_true(vfm_memory_map_move(scene->map, ram, 4 * K, 0, NULL));
    assert_int_not_equal(vfm_memory_map_place(scene->map, scene->rom, 0, 8 * K, 80 * K, 0, NULL), 0);
    assert_false(vfm_memory_map_commit(scene->map, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    assert_heard(scene, "-ram@0+50/0 +ram@4+50/0 -ram@4+50/0 +ram@0+50/0 !");
    assert_int_equal(vfm_memory_map_sections(scene->map)->len, 1);
    assert_non_null(vfm_memory_map_find(scene->map, 0));
    assert_int_equal(scene->rom->refs, 1);
    /* And the same works later. */
    assert_int_not_equal(vfm_memory_map_place(scene->map, scene->rom, 0, 8 * K, 80 * K, 0, NULL), 0);
    assert_heard(scene, "+rom@80+8/0 .");
}

static void test_late_listeners_hear_everything_or_leave(void **state)
{
    Scene *scene = *state;
    Witness late = {.base = {&witness_ops}, .heard = g_string_new("")};
    g_autoptr(GError) error = NULL;

    vfm_memory_map_place(scene->map, scene->ram, 0, 50 * K, 0, 0, NULL);
    vfm_memory_map_place(scene->map, scene->rom, 0, 10 * K, 60 * K, 0, NULL);
    late.refuse = "+rom";
    assert_false(vfm_memory_map_add_listener(scene->map, &late.base, &error));
    assert_string_equal(late.heard->str, "+ram@0+50/0 -ram@0+50/0 !");
    g_string_set_size(late.heard, 0);
    assert_true(vfm_memory_map_add_listener(scene->map, &late.base, NULL));
    assert_string_equal(late.heard->str, "+ram@0+50/0 +rom@60+10/0 .");
    g_string_set_size(late.heard, 0);
    assert_true(vfm_memory_map_remove_listener(scene->map, &late.base, NULL));
    assert_string_equal(late.heard->str, "-rom@60+10/0 -ram@0+50/0 .");
    g_string_free(late.heard, TRUE);
}

static void test_nonsense_is_an_error(void **state)
{
    Scene *scene = *state;
    g_autoptr(GError) error = NULL;

    assert_int_equal(vfm_memory_map_place(scene->map, scene->ram, 0, 0, 0, 0, &error), 0);
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE));
    g_clear_error(&error);
    assert_int_equal(vfm_memory_map_place(scene->map, scene->ram, 50 * K, 51 * K, 0, 0, &error), 0);
    g_clear_error(&error);
    assert_int_equal(vfm_memory_map_place(scene->map, scene->ram, 0, K, UINT64_MAX - K + 1, 0, &error), 0);
    g_clear_error(&error);
    assert_false(vfm_memory_map_remove(scene->map, 99, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE));
    vfm_memory_map_begin(scene->map);
    vfm_memory_map_place(scene->map, scene->ram, 0, K, 0, 0, NULL);
    vfm_memory_map_abort(scene->map);
    assert_int_equal(vfm_memory_map_sections(scene->map)->len, 0);
    assert_null(vfm_memory_map_find(scene->map, 0));
}

static void count_release(gpointer data)
{
    ++*(unsigned *)data;
}

static void test_a_region_lives_as_long_as_it_is_placed(void **state)
{
    Scene *scene = *state;
    VfmRegion *region = vfm_region_new("dimm", VFM_REGION_RAM, 4 * K, (void *)0x1000, -1, 0);
    unsigned released = 0, id;

    region->release = count_release;
    region->release_data = &released;
    id = vfm_memory_map_place(scene->map, region, 0, 4 * K, 0, 0, NULL);
    vfm_region_unref(region);
    assert_int_equal(released, 0);
    assert_true(vfm_memory_map_remove(scene->map, id, NULL));
    assert_int_equal(released, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_overlays_cut_and_rejoin, begin, end),
        cmocka_unit_test_setup_teardown(test_only_the_difference_is_told, begin, end),
        cmocka_unit_test_setup_teardown(test_a_refusal_undoes_all_of_it, begin, end),
        cmocka_unit_test_setup_teardown(test_late_listeners_hear_everything_or_leave, begin, end),
        cmocka_unit_test_setup_teardown(test_nonsense_is_an_error, begin, end),
        cmocka_unit_test_setup_teardown(test_a_region_lives_as_long_as_it_is_placed, begin, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
