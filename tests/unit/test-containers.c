/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_domain.h"

static const VfmPlanContainer *container(const VfmPlan *plan, unsigned index)
{
    return g_ptr_array_index(plan->containers, index);
}

static VfmDomain *three_devices(void)
{
    VfmDomain *domain = plan_domain(8 * VFM_GIB, 0);

    plan_hostdev(domain, "0000:41:00.0");
    plan_hostdev(domain, "0000:42:00.0");
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV);
    return domain;
}

static void test_devices_share_one(void **state)
{
    g_autoptr(VfmDomain) domain = three_devices();
    g_autoptr(VfmPlan) plan = vfm_plan_new(domain, NULL);

    assert_int_equal(plan->containers->len, 1);
    assert_null(container(plan, 0)->reason);
    assert_int_equal(container(plan, 0)->assigned->len, 3);
    assert_int_equal(container(plan, 0)->budget.value, 65535);
    assert_int_equal(container(plan, 0)->mappings_now, plan->map->len);
}

static void test_a_viommu_separates_and_says_why(void **state)
{
    g_autoptr(VfmDomain) domain = three_devices();
    g_autoptr(VfmPlan) plan = NULL;

    vfm_domain_add_iommu(domain, VFM_IOMMU_VIRTIO);
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->containers->len, 3);
    assert_null(container(plan, 0)->reason);
    assert_non_null(strstr(container(plan, 2)->reason, "virtio vIOMMU"));
}

static void test_backends_do_not_mix(void **state)
{
    g_autoptr(VfmDomain) domain = three_devices();
    VfmPlanOptions recent = {.libvirt_version = VFM_VERSION(12, 8, 0)}, old = {.libvirt_version = VFM_VERSION(9, 0, 0)};
    g_autoptr(VfmPlan) mixed = NULL, ignored = NULL;

    ((VfmAssigned *)g_ptr_array_index(domain->assigned, 1))->iommufd = true;
    mixed = vfm_plan_new(domain, &recent);
    assert_int_equal(mixed->containers->len, 2);
    assert_int_equal(container(mixed, 1)->backend, VFM_BACKEND_IOMMUFD);
    assert_false(container(mixed, 1)->budget.set);
    assert_int_equal(mixed->backend, VFM_BACKEND_TYPE1); /* the one with a limit decides */
    assert_int_equal(mixed->budget.value, 65535);
    assert_non_null(plan_finding(mixed, "backend-mixed"));
    ignored = vfm_plan_new(domain, &old);
    assert_int_equal(ignored->containers->len, 1);
    assert_non_null(plan_finding(ignored, "iommufd-ignored"));
}

static void test_the_host_sets_the_budget(void **state)
{
    g_autoptr(VfmDomain) domain = three_devices();
    g_autoptr(VfmHost) host = vfm_host_new();
    VfmPlanOptions options = {.host = host};
    g_autoptr(VfmPlan) limited = NULL, compat = NULL, policy = NULL;

    host->dma_entry_limit = VFM_SOME(1000000);
    limited = vfm_plan_new(domain, &options);
    assert_int_equal(limited->budget.value, 1000000);
    domain->policy.present = true;
    domain->policy.budget_mappings = VFM_SOME(4000);
    policy = vfm_plan_new(domain, &options);
    assert_int_equal(policy->budget.value, 4000);
    assert_int_equal(policy->qemu_limit.value, 1000000);
    domain->policy.budget_mappings = VFM_NONE;
    host->vfio_compat = VFM_ON; /* iommufd behind /dev/vfio/vfio has no entry limit */
    compat = vfm_plan_new(domain, &options);
    assert_false(compat->budget.set);
}

static void test_the_helper_speaks_vfio_user(void **state)
{
    g_autoptr(VfmDomain) domain = three_devices();
    g_autoptr(VfmHost) host = vfm_host_new();
    VfmPlanOptions options = {.host = host};
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GPtrArray) edits = NULL;

    host->iommufd = VFM_ON;
    domain->policy.present = true;
    domain->policy.owner = VFM_OWNER_HELPER;
    plan = vfm_plan_new(domain, &options);
    assert_int_equal(plan->backend, VFM_BACKEND_IOMMUFD);
    assert_int_equal(plan->budget.value, 65535); /* max_dma_maps, whatever the kernel holds */
    edits = vfm_plan_edits(plan, domain, &options);
    assert_int_equal(edits->len, 2);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->kind, VFM_EDIT_MEMFD_SHARED);
    assert_int_equal(((VfmEdit *)edits->pdata[1])->kind, VFM_EDIT_EMULATOR);
    assert_string_equal(((VfmEdit *)edits->pdata[1])->text, VFM_DEFAULT_EMULATOR);
}

static void test_a_policy_without_devices_plans_for_one(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(2 * VFM_GIB, 256 * VFM_GIB);
    g_autoptr(VfmPlan) without = NULL, with = NULL;

    plan_virtio_mem(domain, 128 * VFM_GIB, 2 * VFM_MIB);
    without = vfm_plan_new(domain, NULL);
    assert_int_equal(plan_memory(without, 0)->recommended_block.value, 2 * VFM_MIB);
    assert_int_equal(without->findings->len, 0);
    domain->policy.present = true;
    with = vfm_plan_new(domain, NULL);
    assert_int_equal(plan_memory(with, 0)->recommended_block.value, 4 * VFM_MIB);
    assert_non_null(plan_finding(with, "mapping-budget-exceeded"));
    assert_int_equal(with->containers->len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_share_one),
        cmocka_unit_test(test_a_viommu_separates_and_says_why),
        cmocka_unit_test(test_backends_do_not_mix),
        cmocka_unit_test(test_the_host_sets_the_budget),
        cmocka_unit_test(test_the_helper_speaks_vfio_user),
        cmocka_unit_test(test_a_policy_without_devices_plans_for_one),
    };

    return cmocka_run_group_tests_name("containers", tests, NULL, NULL);
}
