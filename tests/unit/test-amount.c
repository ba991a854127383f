/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "amount.h"
#include "machine_version.h"
#include "memory_backend.h"
#include "plan.h"

static void says(uint64_t bytes, const char *expected)
{
    g_autofree char *text = vfm_amount(bytes);

    assert_string_equal(text, expected);
}

static void test_amounts_are_exact_and_short(void **state)
{
    says(0, "0 bytes");
    says(17, "17 bytes");
    says(2 * VFM_MIB, "2 MiB");
    says(126 * VFM_GIB, "126 GiB");
    says(1026 * VFM_MIB, "1026 MiB");
    says(8 * VFM_GIB + 256 * VFM_KIB, "8 GiB + 256 KiB");
    says(192 * VFM_GIB + 512 * VFM_KIB, "192 GiB + 512 KiB");
    says(UINT64_MAX, "18446744073709551615 bytes");
    says(UINT64_C(1) << 63, "8 EiB");
}

static void test_sums_stop_instead_of_wrapping(void **state)
{
    assert_true(vfm_add(UINT64_MAX, 1) == UINT64_MAX);
    assert_true(vfm_mul(UINT64_C(1) << 63, 2) == UINT64_MAX);
    assert_true(vfm_round_up(UINT64_MAX - 1, 4096) == UINT64_MAX);
    assert_true(vfm_round_up(4097, 4096) == 8192);
    assert_true(vfm_round_up(8192, 4096) == 8192);
    assert_false(vfm_is_power_of_two(0));
    assert_false(vfm_is_power_of_two(6));
    assert_true(vfm_is_power_of_two(UINT64_C(1) << 63));
}

static void test_nodesets(void **state)
{
    assert_true(vfm_nodeset_contains(NULL, 7));
    assert_true(vfm_nodeset_contains("0-3", 3));
    assert_false(vfm_nodeset_contains("0-3", 4));
    assert_true(vfm_nodeset_contains("1,4-6", 5));
    assert_false(vfm_nodeset_contains("0-3,^2", 2));
    assert_true(vfm_nodeset_contains("0-3,^2", 1));
    assert_false(vfm_nodeset_contains("", 0));
    assert_false(vfm_nodeset_contains("x", 0));
    assert_true(vfm_nodeset_contains(" 0 - , 2", 2));
}

static void test_machine_types_name_their_qemu(void **state)
{
    assert_int_equal(vfm_machine_version("pc-q35-7.2"), VFM_VERSION(7, 2, 0));
    assert_int_equal(vfm_machine_version("pc-i440fx-10.1"), VFM_VERSION(10, 1, 0));
    assert_int_equal(vfm_machine_version("pc-q35-rhel9.2.0"), VFM_VERSION(7, 2, 0));
    assert_int_equal(vfm_machine_version("pc-q35-rhel8.6.0"), VFM_VERSION(4, 2, 0));
    assert_int_equal(vfm_machine_version("pc-q35-jammy"), VFM_VERSION(6, 2, 0));
    assert_int_equal(vfm_machine_version("pc-q35-noble-hpb"), 0);
    assert_int_equal(vfm_machine_version("q35"), 0);
    assert_int_equal(vfm_machine_version(NULL), 0);
    assert_int_equal(vfm_machine_version("pc-q35-99999999999999999999.1"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_amounts_are_exact_and_short),
        cmocka_unit_test(test_sums_stop_instead_of_wrapping),
        cmocka_unit_test(test_nodesets),
        cmocka_unit_test(test_machine_types_name_their_qemu),
    };

    return cmocka_run_group_tests_name("amount", tests, NULL, NULL);
}
