/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amount.h"
#include "blocks.h"

static void test_no_limit_gives_the_smallest(void **state)
{
    VfmBlockItem items[] = {{.size = VFM_TIB, .min = 2 * VFM_MIB, .max = VFM_GIB}};

    assert_true(vfm_blocks_minimise(items, 1, VFM_NONE));
    assert_int_equal(items[0].block, 2 * VFM_MIB);
    assert_true(vfm_blocks_minimise(items, 0, VFM_SOME(0)));
}

static void test_exactly_the_capacity_fits(void **state)
{
    VfmBlockItem items[] = {{.size = 64 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB}};

    assert_true(vfm_blocks_minimise(items, 1, VFM_SOME(32768)));
    assert_int_equal(items[0].block, 2 * VFM_MIB);
    assert_true(vfm_blocks_minimise(items, 1, VFM_SOME(32767)));
    assert_int_equal(items[0].block, 4 * VFM_MIB);
}

static void test_the_largest_device_gives_way_first(void **state)
{
    VfmBlockItem items[] = {{.size = 16 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB},
                            {.size = 96 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB},
                            {.size = 16 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB}};

    /* 8192 + 24576 + 8192 = 40960 if only the large one has 4 MiB */
    assert_true(vfm_blocks_minimise(items, 3, VFM_SOME(40960)));
    assert_int_equal(items[0].block, 2 * VFM_MIB);
    assert_int_equal(items[1].block, 4 * VFM_MIB);
    assert_int_equal(items[2].block, 2 * VFM_MIB);
    /* one less, and one of the small ones must follow, but not to 8 MiB */
    assert_true(vfm_blocks_minimise(items, 3, VFM_SOME(40959)));
    assert_int_equal(items[0].block, 4 * VFM_MIB);
    assert_int_equal(items[1].block, 4 * VFM_MIB);
    assert_int_equal(items[2].block, 2 * VFM_MIB);
}

static void test_one_forced_large_block_does_not_excuse_the_others(void **state)
{
    VfmBlockItem items[] = {{.size = 8 * VFM_GIB, .min = VFM_GIB, .max = VFM_GIB}, /* 1 GiB huge pages */
                            {.size = 64 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB}};

    assert_true(vfm_blocks_minimise(items, 2, VFM_SOME(32767)));
    assert_int_equal(items[0].block, VFM_GIB);
    assert_int_equal(items[1].block, 4 * VFM_MIB);
}

static void test_what_can_not_fit_is_said(void **state)
{
    VfmBlockItem items[] = {{.size = 3 * VFM_MIB, .min = VFM_MIB, .max = VFM_MIB},
                            {.size = 8 * VFM_GIB, .min = 2 * VFM_MIB, .max = VFM_GIB}};

    assert_false(vfm_blocks_minimise(items, 2, VFM_SOME(10)));
    assert_true(vfm_blocks_minimise(items, 2, VFM_SOME(11)));
    assert_int_equal(items[1].block, VFM_GIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_limit_gives_the_smallest),
        cmocka_unit_test(test_exactly_the_capacity_fits),
        cmocka_unit_test(test_the_largest_device_gives_way_first),
        cmocka_unit_test(test_one_forced_large_block_does_not_excuse_the_others),
        cmocka_unit_test(test_what_can_not_fit_is_said),
    };

    return cmocka_run_group_tests_name("blocks", tests, NULL, NULL);
}
