/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "error.h"
#include "inhibit.h"

/* The table of QEMU's system/physmem.c: row taken while column is held. */
static const bool busy[VFM_HOLD_KINDS][VFM_HOLD_KINDS] = {
    /*        D      U      R      C */
    /* D */ {false, false, true, true},
    /* U */ {false, false, true, false},
    /* R */ {true, true, false, false},
    /* C */ {true, false, false, false},
};

static void test_every_pair_follows_the_table(void **state)
{
    for (unsigned taken = 0; taken < VFM_HOLD_KINDS; taken++) {
        for (unsigned held = 0; held < VFM_HOLD_KINDS; held++) {
            g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();
            g_autoptr(GError) error = NULL;

            assert_true(vfm_inhibit_take(inhibit, held, "the first", NULL));
            assert_int_equal(vfm_inhibit_take(inhibit, taken, "the second", &error), !busy[taken][held]);
            if (busy[taken][held]) {
                assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_INHIBITED));
                assert_non_null(strstr(error->message, "the first"));
                assert_int_equal(vfm_inhibit_count(inhibit, taken), held == taken);
                /* Once the obstacle is gone it works. */
                assert_true(vfm_inhibit_release(inhibit, held, "the first"));
                assert_true(vfm_inhibit_take(inhibit, taken, "the second", NULL));
            }
        }
    }
}

static void test_holds_are_counted_by_name(void **state)
{
    g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();
    g_autoptr(GArray) list = NULL;

    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_REQUIRE_COORDINATED, "virtio-mem vm0", NULL));
    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device a", NULL));
    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device b", NULL));
    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device a", NULL));
    list = vfm_inhibit_list(inhibit);
    assert_int_equal(list->len, 3);
    assert_string_equal(g_array_index(list, VfmInhibitHold, 0).holder, "device a");
    assert_int_equal(g_array_index(list, VfmInhibitHold, 0).count, 2);
    assert_string_equal(g_array_index(list, VfmInhibitHold, 2).holder, "virtio-mem vm0");
    assert_false(vfm_inhibit_allows(inhibit, false));
    assert_true(vfm_inhibit_allows(inhibit, true));

    assert_true(vfm_inhibit_release(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device a"));
    assert_true(vfm_inhibit_release(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device a"));
    assert_false(vfm_inhibit_release(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device a"));
    assert_false(vfm_inhibit_allows(inhibit, false));
    assert_true(vfm_inhibit_release(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED, "device b"));
    assert_true(vfm_inhibit_allows(inhibit, false));
}

static bool attach(VfmInhibit *inhibit, const char *name, int group, bool mdev, bool allowed, GError **error)
{
    VfmInhibitDevice device = {name, group < 0 ? VFM_NONE : VFM_SOME((uint64_t)group), mdev, allowed};

    return vfm_inhibit_attach(inhibit, &device, error);
}

static void test_a_group_holds_once_and_until_its_last_device(void **state)
{
    g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();

    assert_true(attach(inhibit, "a", 7, false, false, NULL));
    assert_true(attach(inhibit, "b", 7, false, false, NULL));
    assert_true(attach(inhibit, "c", -1, false, false, NULL));
    assert_true(attach(inhibit, "d", -1, false, false, NULL));
    assert_int_equal(vfm_inhibit_count(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 3);
    vfm_inhibit_detach(inhibit, "a");
    assert_int_equal(vfm_inhibit_count(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 3);
    vfm_inhibit_detach(inhibit, "a");
    vfm_inhibit_detach(inhibit, "b");
    vfm_inhibit_detach(inhibit, "c");
    vfm_inhibit_detach(inhibit, "d");
    assert_int_equal(vfm_inhibit_count(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 0);
}

static void test_mediated_devices_opt_out_together(void **state)
{
    g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();
    g_autoptr(GError) error = NULL;

    assert_false(attach(inhibit, "0000:01:00.0", 1, false, true, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT));
    g_clear_error(&error);
    assert_true(attach(inhibit, "mdev-a", 2, true, true, NULL));
    assert_true(vfm_inhibit_allows(inhibit, false));
    assert_false(attach(inhibit, "mdev-b", 2, true, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_INHIBITED));
    g_clear_error(&error);
    assert_true(attach(inhibit, "mdev-b", 2, true, true, NULL));
    assert_false(attach(inhibit, "mdev-b", 2, true, true, &error));
    g_clear_error(&error);
    /* QEMU takes the hold before it looks at the option, so even these are refused. */
    assert_true(vfm_inhibit_take(inhibit, VFM_HOLD_REQUIRE_ALL, "guest_memfd", NULL));
    assert_false(attach(inhibit, "mdev-c", 3, true, true, &error));
    assert_non_null(strstr(error->message, "guest_memfd"));
    vfm_inhibit_detach(inhibit, "mdev-a");
    vfm_inhibit_detach(inhibit, "mdev-b");
    assert_true(vfm_inhibit_release(inhibit, VFM_HOLD_REQUIRE_ALL, "guest_memfd"));
    assert_true(attach(inhibit, "mdev-b", 2, true, false, NULL));
    assert_int_equal(vfm_inhibit_count(inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), 1);
}

static void test_random_holds_against_four_numbers(void **state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(11);
    g_autoptr(VfmInhibit) inhibit = vfm_inhibit_new();
    unsigned counts[VFM_HOLD_KINDS][4] = {{0}}, sums[VFM_HOLD_KINDS] = {0};

    for (unsigned step = 0; step < 100000; step++) {
        unsigned kind = (unsigned)g_rand_int_range(rand, 0, VFM_HOLD_KINDS),
                 who = (unsigned)g_rand_int_range(rand, 0, 4);
        char holder[] = {(char)('a' + who), '\0'};

        if (g_rand_boolean(rand)) {
            bool refused = false;

            for (unsigned other = 0; other < VFM_HOLD_KINDS; other++)
                refused |= busy[kind][other] && sums[other];
            assert_int_equal(vfm_inhibit_take(inhibit, kind, holder, NULL), !refused);
            counts[kind][who] += !refused;
            sums[kind] += !refused;
        } else {
            assert_int_equal(vfm_inhibit_release(inhibit, kind, holder), counts[kind][who] > 0);
            sums[kind] -= counts[kind][who] > 0;
            counts[kind][who] -= counts[kind][who] > 0;
        }
        assert_int_equal(vfm_inhibit_count(inhibit, kind), sums[kind]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pair_follows_the_table),
        cmocka_unit_test(test_holds_are_counted_by_name),
        cmocka_unit_test(test_a_group_holds_once_and_until_its_last_device),
        cmocka_unit_test(test_mediated_devices_opt_out_together),
        cmocka_unit_test(test_random_holds_against_four_numbers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
