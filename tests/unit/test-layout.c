/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Single rules of the guest memory map; tests/integration/test-layout compares whole maps with QEMU's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "layout.h"
#include "plan_domain.h"

static const VfmRange *range_at(const VfmLayout *layout, uint64_t start)
{
    for (guint i = 0; i < layout->ranges->len; i++) {
        const VfmRange *range = &g_array_index(layout->ranges, VfmRange, i);

        if (range->start == start)
            return range;
    }
    return NULL;
}

static const VfmPlace *place_of(const VfmLayout *layout, unsigned index)
{
    return &g_array_index(layout->places, VfmPlace, index);
}

static void test_q35_splits_at_2816_mib(void **state)
{
    g_autoptr(VfmDomain) small = plan_domain(2815 * VFM_MIB, 0), large = plan_domain(2816 * VFM_MIB, 0);
    g_auto(VfmLayout) a, b;
    const uint64_t none[1] = {0};

    vfm_layout_init(&a, small, NULL, none);
    vfm_layout_init(&b, large, NULL, none);
    assert_null(range_at(&a, 4 * VFM_GIB));
    assert_int_equal(range_at(&b, 4 * VFM_GIB)->size, 768 * VFM_MIB);
    assert_int_equal(range_at(&b, VFM_MIB)->size, 2047 * VFM_MIB);
}

static void test_cells_never_share_a_mapping(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(VFM_GIB, 0);
    VfmCell second = {.id = 1, .memory = 3 * VFM_GIB};
    g_auto(VfmLayout) layout;
    const uint64_t none[1] = {0};

    g_array_append_val(domain->cells, second);
    domain->boot += second.memory;
    vfm_layout_init(&layout, domain, NULL, none);
    assert_int_equal(range_at(&layout, VFM_MIB)->size, VFM_GIB - VFM_MIB);
    assert_int_equal(range_at(&layout, VFM_MIB)->cell, 0);
    assert_int_equal(range_at(&layout, VFM_GIB)->size, VFM_GIB);
    assert_int_equal(range_at(&layout, VFM_GIB)->cell, 1);
    assert_int_equal(range_at(&layout, 4 * VFM_GIB)->cell, 1);
}

static void test_virtio_mem_is_aligned_to_its_block(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(VFM_GIB, 32 * VFM_GIB);
    g_auto(VfmLayout) layout;
    const uint64_t blocks[] = {2 * VFM_MIB, 512 * VFM_MIB};

    plan_virtio_mem(domain, VFM_GIB + 2 * VFM_MIB, blocks[0]);
    plan_virtio_mem(domain, VFM_GIB, blocks[1]);
    vfm_layout_init(&layout, domain, NULL, blocks);
    assert_int_equal(place_of(&layout, 0)->address, 4 * VFM_GIB);
    assert_int_equal(place_of(&layout, 1)->address, 4 * VFM_GIB + 1536 * VFM_MIB);
    assert_string_equal(range_at(&layout, 4 * VFM_GIB)->name, "virtio-mem 0");
}

static void test_amd_moves_memory_above_1_tib(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 1024 * VFM_GIB);
    g_auto(VfmLayout) moved, old;
    const uint64_t none[1] = {0};

    domain->amd_cpu = true;
    vfm_layout_init(&moved, domain, NULL, none);
    assert_non_null(range_at(&moved, VFM_TIB));
    g_free(domain->machine_name);
    domain->machine_name = g_strdup("pc-q35-7.0");
    vfm_layout_init(&old, domain, NULL, none);
    assert_non_null(range_at(&old, 4 * VFM_GIB));
}

static void test_unknown_machines_have_sizes_but_no_addresses(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 8 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;

    domain->arch = VFM_ARCH_S390X;
    domain->machine = VFM_MACHINE_OTHER;
    plan_virtio_mem(domain, VFM_GIB, VFM_MIB);
    plan = vfm_plan_new(domain, NULL);
    assert_false(plan->map_known);
    assert_false(plan_memory(plan, 0)->address.set);
    assert_null(plan_finding(plan, "memory-device-unplaceable"));
}

static void test_huge_numbers_do_not_wrap(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(UINT64_MAX - VFM_MIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    domain->max_memory = VFM_SOME(UINT64_MAX);
    domain->slots = VFM_SOME(UINT64_MAX);
    plan_virtio_mem(domain, UINT64_MAX, 1);
    plan_virtio_mem(domain, 0, 0);
    plan_hostdev(domain, NULL);
    plan = vfm_plan_new(domain, NULL);
    assert_true(vfm_plan_has_errors(plan));
    assert_true(plan->memlock_limit.value == UINT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_q35_splits_at_2816_mib),
        cmocka_unit_test(test_cells_never_share_a_mapping),
        cmocka_unit_test(test_virtio_mem_is_aligned_to_its_block),
        cmocka_unit_test(test_amd_moves_memory_above_1_tib),
        cmocka_unit_test(test_unknown_machines_have_sizes_but_no_addresses),
        cmocka_unit_test(test_huge_numbers_do_not_wrap),
    };

    return cmocka_run_group_tests_name("layout", tests, NULL, NULL);
}
