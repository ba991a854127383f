/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "ranges.h"

static void assert_ranges(const GArray *ranges, unsigned count, ...)
{
    va_list args;

    assert_int_equal(ranges->len, count);
    va_start(args, count);
    for (unsigned i = 0; i < count; i++) {
        const VfmIovaRange *range = &g_array_index((GArray *)ranges, VfmIovaRange, i);

        assert_int_equal(range->start, va_arg(args, uint64_t));
        assert_int_equal(range->last, va_arg(args, uint64_t));
    }
    va_end(args);
}

#define U(x) ((uint64_t)(x))

static void test_touching_and_overlapping_ranges_become_one(void **state)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();

    vfm_ranges_add(ranges, 10, 19);
    vfm_ranges_add(ranges, 30, 39);
    vfm_ranges_add(ranges, 50, 59);
    assert_ranges(ranges, 3, U(10), U(19), U(30), U(39), U(50), U(59));
    vfm_ranges_add(ranges, 20, 29);
    assert_ranges(ranges, 2, U(10), U(39), U(50), U(59));
    vfm_ranges_add(ranges, 0, 100);
    assert_ranges(ranges, 1, U(0), U(100));
    vfm_ranges_add(ranges, 7, 6); /* empty */
    assert_ranges(ranges, 1, U(0), U(100));
}

static void test_the_top_of_64_bits_is_an_address(void **state)
{
    g_autoptr(GArray) ranges = vfm_ranges_new_all();

    assert_true(vfm_ranges_contain(ranges, 0, UINT64_MAX));
    vfm_ranges_subtract(ranges, UINT64_MAX, UINT64_MAX);
    assert_ranges(ranges, 1, U(0), UINT64_MAX - 1);
    vfm_ranges_subtract(ranges, 0, 0);
    assert_ranges(ranges, 1, U(1), UINT64_MAX - 1);
    vfm_ranges_add(ranges, UINT64_MAX, UINT64_MAX);
    vfm_ranges_add(ranges, 0, 0);
    assert_ranges(ranges, 1, U(0), UINT64_MAX);
}

static void test_subtracting_splits_shortens_and_removes(void **state)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();

    vfm_ranges_add(ranges, 10, 19);
    vfm_ranges_add(ranges, 30, 39);
    vfm_ranges_subtract(ranges, 14, 15);
    assert_ranges(ranges, 3, U(10), U(13), U(16), U(19), U(30), U(39));
    vfm_ranges_subtract(ranges, 12, 31);
    assert_ranges(ranges, 2, U(10), U(11), U(32), U(39));
    vfm_ranges_subtract(ranges, 0, 100);
    assert_ranges(ranges, 0);
}

static void test_sets_against_a_bitmap(void **state)
{
    /* Every operation against 64 bits of truth. */
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);
    g_autoptr(GArray) ranges = vfm_ranges_new();
    uint64_t truth = 0;

    for (unsigned step = 0; step < 20000; step++) {
        unsigned start = (unsigned)g_rand_int_range(rand, 0, 64), last = (unsigned)g_rand_int_range(rand, 0, 64);
        uint64_t bits = last < start ? 0 : (last == 63 ? UINT64_MAX : (1ull << (last + 1)) - 1) & (UINT64_MAX << start);
        g_autoptr(GArray) clip = NULL;
        g_autoptr(GArray) both = NULL;
        uint64_t seen = 0;

        if (g_rand_boolean(rand)) {
            vfm_ranges_add(ranges, start, last);
            truth |= bits;
        } else {
            vfm_ranges_subtract(ranges, start, last);
            truth &= ~bits;
        }
        for (unsigned i = 0; i < ranges->len; i++) {
            const VfmIovaRange *range = &g_array_index(ranges, VfmIovaRange, i);

            assert_true(range->start <= range->last);
            assert_true(i == 0 || g_array_index(ranges, VfmIovaRange, i - 1).last + 1 < range->start);
            for (uint64_t bit = range->start; bit <= range->last; bit++)
                seen |= 1ull << bit;
        }
        assert_true(seen == truth);
        assert_true(last < start || vfm_ranges_contain(ranges, start, last) == ((truth & bits) == bits));
        clip = vfm_ranges_clip(ranges, start, last);
        both = vfm_ranges_intersect(ranges, clip);
        assert_true(vfm_ranges_equal(both, clip));
        seen = 0;
        for (unsigned i = 0; i < clip->len; i++) {
            for (uint64_t bit = g_array_index(clip, VfmIovaRange, i).start;
                 bit <= g_array_index(clip, VfmIovaRange, i).last; bit++)
                seen |= 1ull << bit;
        }
        assert_true(seen == (truth & bits));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_touching_and_overlapping_ranges_become_one),
        cmocka_unit_test(test_the_top_of_64_bits_is_an_address),
        cmocka_unit_test(test_subtracting_splits_shortens_and_removes),
        cmocka_unit_test(test_sets_against_a_bitmap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
