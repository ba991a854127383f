/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_domain.h"

#define ROM (256 * VFM_KIB) /* mapped beside the guest's memory */

static VfmPlan *with_libvirt(const VfmDomain *domain, unsigned version)
{
    VfmPlanOptions options = {.libvirt_version = version};

    return vfm_plan_new(domain, &options);
}

static void two_gpus(VfmDomain *domain)
{
    plan_hostdev(domain, "0000:41:00.0");
    plan_hostdev(domain, "0000:c1:00.0");
}

static void test_nothing_assigned_needs_nothing(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = vfm_plan_new(domain, NULL);

    assert_int_equal(plan->memlock_required, 0);
    assert_false(plan->memlock_limit.set);
    assert_int_equal(plan->memlock_from, VFM_LIMIT_LIBVIRT);
}

static void test_devices_share_without_a_viommu(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(96 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    two_gpus(domain);
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->memlock_required, 96 * VFM_GIB + ROM);
    assert_int_equal(plan->memlock_limit.value, 97 * VFM_GIB);
}

static void test_libvirt_does_not_count_the_command_line(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(4 * VFM_GIB, 64 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL;

    plan_hostdev(domain, "0000:41:00.0");
    plan_virtio_mem(domain, 8 * VFM_GIB, 4 * VFM_MIB)->from_commandline = true;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->memlock_required, 12 * VFM_GIB + ROM);
    assert_int_equal(plan->memlock_limit.value, 5 * VFM_GIB);
    assert_non_null(plan_finding(plan, "memlock-uncounted"));
}

static void test_a_viommu_multiplies_since_8_7(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(96 * VFM_GIB, 0);
    g_autoptr(VfmPlan) recent = NULL, old = NULL;

    two_gpus(domain);
    vfm_domain_add_iommu(domain, VFM_IOMMU_INTEL)->caching_mode = VFM_ON;
    recent = with_libvirt(domain, VFM_VERSION(9, 0, 0));
    old = with_libvirt(domain, VFM_VERSION(8, 6, 0));
    assert_int_equal(recent->memlock_required, 192 * VFM_GIB + 2 * ROM);
    assert_int_equal(recent->memlock_limit.value, 193 * VFM_GIB);
    assert_null(plan_finding(recent, "memlock-uncounted"));
    assert_non_null(plan_finding(recent, "viommu-memlock"));
    assert_int_equal(old->memlock_limit.value, 97 * VFM_GIB);
    assert_non_null(plan_finding(old, "memlock-uncounted"));
}

static void test_iommufd_hostdevs_count_like_others(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(16 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    plan_hostdev(domain, "0000:41:00.0")->iommufd = true;
    plan = with_libvirt(domain, VFM_VERSION(12, 1, 0));
    assert_int_equal(plan->memlock_limit.value, 17 * VFM_GIB);
}

static void test_vdpa_and_nvme_each_add_a_share(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL, old = NULL;

    plan_hostdev(domain, "0000:41:00.0");
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_VDPA, VFM_VIA_INTERFACE);
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_NVME, VFM_VIA_DISK);
    plan = with_libvirt(domain, VFM_VERSION(9, 0, 0));
    old = with_libvirt(domain, VFM_VERSION(7, 1, 0));
    assert_int_equal(plan->memlock_limit.value, 25 * VFM_GIB);
    assert_int_equal(old->memlock_limit.value, 17 * VFM_GIB);
    assert_non_null(plan_finding(old, "memlock-uncounted"));
    assert_int_equal(plan->containers->len, 3);
}

static void test_hard_limit_wins_over_everything(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GPtrArray) edits = NULL;

    plan_hostdev(domain, "0000:41:00.0");
    domain->backing.locked = true;
    domain->hard_limit = VFM_SOME(8 * VFM_GIB);
    domain->memtune_line = 5;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->memlock_from, VFM_LIMIT_HARD_LIMIT);
    assert_int_equal(plan_finding(plan, "memlock-hard-limit")->line, 5);
    edits = vfm_plan_edits(plan, domain, NULL);
    assert_int_equal(edits->len, 1);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->kind, VFM_EDIT_HARD_LIMIT);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->value, 9 * VFM_GIB);
}

static void test_locked_is_unlimited(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    plan_hostdev(domain, "0000:41:00.0");
    domain->backing.locked = true;
    plan = vfm_plan_new(domain, NULL);
    assert_false(plan->memlock_limit.set);
    assert_int_equal(plan->memlock_from, VFM_LIMIT_UNLIMITED);
    assert_false(vfm_plan_has_errors(plan));
}

static void test_hot_plug_under_a_hard_limit_warns(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 32 * VFM_GIB);
    g_autoptr(VfmPlan) plan = NULL, after = NULL;
    g_autoptr(GPtrArray) edits = NULL;

    domain->slots = VFM_SOME(4);
    plan_hostdev(domain, "0000:41:00.0");
    domain->hard_limit = VFM_SOME(10 * VFM_GIB);
    plan = vfm_plan_new(domain, NULL);
    assert_false(vfm_plan_has_errors(plan));
    assert_non_null(plan_finding(plan, "memlock-hotplug"));
    edits = vfm_plan_edits(plan, domain, NULL);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->value, 33 * VFM_GIB);
    domain->hard_limit = VFM_SOME(33 * VFM_GIB);
    after = vfm_plan_new(domain, NULL);
    assert_null(plan_finding(after, "memlock-hotplug"));
}

static void test_command_line_devices_are_not_counted(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_COMMANDLINE);

    assigned->address = g_strdup("0000:41:00.0");
    assigned->line = 33;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->memlock_limit.value, 64 * VFM_MIB); /* the daemon's own */
    assert_int_equal(plan_finding(plan, "memlock-uncounted")->line, 33);
    assert_int_equal(plan_finding(plan, "memlock-uncounted")->severity, VFM_WARNING); /* it may have been raised */
}

static void test_only_mediated_devices_warn(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV)->model = g_strdup("vfio-pci");
    domain->hard_limit = VFM_SOME(4 * VFM_GIB);
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan_finding(plan, "memlock-hard-limit")->severity, VFM_WARNING);
}

static void test_channel_devices_lock_nothing(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL;

    vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV)->model = g_strdup("vfio-ap");
    domain->balloon.present = true;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->memlock_required, 0);
    assert_true(plan->balloon_effective);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_assigned_needs_nothing),
        cmocka_unit_test(test_devices_share_without_a_viommu),
        cmocka_unit_test(test_libvirt_does_not_count_the_command_line),
        cmocka_unit_test(test_a_viommu_multiplies_since_8_7),
        cmocka_unit_test(test_iommufd_hostdevs_count_like_others),
        cmocka_unit_test(test_vdpa_and_nvme_each_add_a_share),
        cmocka_unit_test(test_hard_limit_wins_over_everything),
        cmocka_unit_test(test_locked_is_unlimited),
        cmocka_unit_test(test_hot_plug_under_a_hard_limit_warns),
        cmocka_unit_test(test_command_line_devices_are_not_counted),
        cmocka_unit_test(test_only_mediated_devices_warn),
        cmocka_unit_test(test_channel_devices_lock_nothing),
    };

    return cmocka_run_group_tests_name("memlock", tests, NULL, NULL);
}
