/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_domain.h"

static void test_126_gib_of_2_mib_blocks_exceed_type1_under_kvm(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 130 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GPtrArray) edits = NULL;
    const VfmFinding *finding;

    plan_hostdev(domain, "0000:01:00.0");
    plan_virtio_mem(domain, 126 * VFM_GIB, 2 * VFM_MIB)->block_line = 17;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->containers->len, 1);
    assert_int_equal(plan->budget.value, 65535);
    assert_int_equal(plan_memory(plan, 0)->mappings_now, 64512);
    assert_int_equal(plan_memory(plan, 0)->recommended_block.value, 4 * VFM_MIB);
    finding = plan_finding(plan, "mapping-budget-exceeded");
    assert_non_null(finding);
    assert_int_equal(finding->line, 17);
    assert_int_equal(plan_count(plan, VFM_ERROR), 1);
    edits = vfm_plan_edits(plan, domain, NULL);
    assert_int_equal(edits->len, 1);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->value, 4 * VFM_MIB);
    assert_string_equal(((VfmEdit *)edits->pdata[0])->why, "mapping-budget-exceeded");
}

static void test_126_gib_of_2_mib_blocks_fit_under_tcg(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 130 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GPtrArray) edits = NULL;

    domain->accel = VFM_ACCEL_TCG;
    plan_hostdev(domain, "0000:01:00.0");
    plan_virtio_mem(domain, 126 * VFM_GIB, 2 * VFM_MIB);
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan_memory(plan, 0)->recommended_block.value, 2 * VFM_MIB);
    assert_false(vfm_plan_has_errors(plan));
    edits = vfm_plan_edits(plan, domain, NULL);
    assert_int_equal(edits->len, 0);
}

static void test_iommufd_has_no_budget(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 1028 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;
    VfmPlanOptions options = {.libvirt_version = VFM_VERSION(12, 1, 0)};

    plan_hostdev(domain, "0000:01:00.0")->iommufd = true;
    plan_virtio_mem(domain, 1024 * VFM_GIB, 2 * VFM_MIB);
    plan = vfm_plan_new(domain, &options);
    assert_int_equal(plan->backend, VFM_BACKEND_IOMMUFD);
    assert_false(plan->budget.set);
    assert_int_equal(plan_memory(plan, 0)->recommended_block.value, 2 * VFM_MIB);
    assert_false(vfm_plan_has_errors(plan));
}

static void test_libvirt_limit_is_memory_plus_one_gib(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(512 * VFM_MIB, VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;

    plan_hostdev(domain, "0000:01:00.0");
    plan_virtio_mem(domain, 512 * VFM_MIB, 2 * VFM_MIB);
    plan = vfm_plan_new(domain, NULL);
    /* Seen with libvirt 12.8: "Max locked memory" 2 GiB; and 256 KiB of ROM beside the guest's memory locked. */
    assert_int_equal(plan->memlock_limit.value, 2 * VFM_GIB);
    assert_int_equal(plan->memlock_required, VFM_GIB + 256 * VFM_KIB);
    assert_int_equal(plan->memlock_from, VFM_LIMIT_LIBVIRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_126_gib_of_2_mib_blocks_exceed_type1_under_kvm),
        cmocka_unit_test(test_126_gib_of_2_mib_blocks_fit_under_tcg),
        cmocka_unit_test(test_iommufd_has_no_budget),
        cmocka_unit_test(test_libvirt_limit_is_memory_plus_one_gib),
    };

    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
