/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_domain.h"

static unsigned count(const VfmPlan *plan, VfmHoldKind kind)
{
    unsigned n = 0;

    for (guint i = 0; i < plan->holds->len; i++)
        n += g_array_index(plan->holds, VfmHold, i).kind == kind;
    return n;
}

static VfmDomain *with_balloon(void)
{
    VfmDomain *domain = plan_domain(8 * VFM_GIB, 32 * VFM_GIB);

    domain->balloon.present = true;
    domain->balloon.line = 40;
    return domain;
}

static void test_hostdevs_inhibit_the_balloon(void **state)
{
    g_autoptr(VfmDomain) domain = with_balloon();
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GPtrArray) edits = NULL;

    plan_hostdev(domain, "0000:41:00.0");
    plan_hostdev(domain, "0000:42:00.0");
    domain->balloon.free_page_reporting = VFM_ON;
    domain->balloon.autodeflate = VFM_ON;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(count(plan, VFM_HOLD_DISABLE_UNCOORDINATED), 2);
    assert_string_equal(g_array_index(plan->holds, VfmHold, 1).holder, "hostdev 0000:42:00.0");
    assert_false(plan->balloon_effective);
    assert_int_equal(plan_finding(plan, "balloon-inhibited")->line, 40);
    assert_non_null(strstr(plan_finding(plan, "balloon-inhibited")->message, "hostdev 0000:41:00.0 and 1 other"));
    assert_non_null(plan_finding(plan, "free-page-reporting-inhibited"));
    assert_non_null(plan_finding(plan, "autodeflate-inhibited"));
    edits = vfm_plan_edits(plan, domain, NULL);
    assert_int_equal(edits->len, 2);
}

static void test_unassigned_and_unresolved_hold_nothing(void **state)
{
    g_autoptr(VfmDomain) domain = with_balloon();
    g_autoptr(VfmPlan) plan = NULL;

    plan_hostdev(domain, "0000:41:00.0")->unassigned = true;
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE)->unresolved = true;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->holds->len, 0);
    assert_int_equal(plan->containers->len, 0);
    assert_true(plan->balloon_effective);
    assert_int_equal(plan->findings->len, 1);
    assert_non_null(plan_finding(plan, "network-unresolved"));
}

static void test_a_mediated_device_may_keep_its_balloon(void **state)
{
    g_autoptr(VfmDomain) domain = with_balloon();
    g_autoptr(VfmPlan) before = NULL, after = NULL;
    VfmAssigned *mdev = vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV);

    mdev->model = g_strdup("vfio-pci");
    mdev->alias = g_strdup("hostdev0");
    before = vfm_plan_new(domain, NULL);
    assert_non_null(plan_finding(before, "mdev-balloon-inhibited"));
    assert_null(plan_finding(before, "balloon-inhibited"));
    assert_non_null(strstr(plan_finding(before, "mdev-balloon-inhibited")->fix, "hostdev0"));
    mdev->balloon_allowed = VFM_ON;
    after = vfm_plan_new(domain, NULL);
    assert_true(after->balloon_effective);
    assert_int_equal(plan_count(after, VFM_WARNING), 0);
    assert_non_null(plan_finding(after, "mdev-balloon-allowed"));
}

static void test_a_pci_device_beside_it_decides(void **state)
{
    g_autoptr(VfmDomain) domain = with_balloon();
    g_autoptr(VfmPlan) plan = NULL;

    vfm_domain_add_assigned(domain, VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV)->balloon_allowed = VFM_ON;
    plan_hostdev(domain, "0000:41:00.0");
    plan = vfm_plan_new(domain, NULL);
    assert_non_null(plan_finding(plan, "balloon-inhibited"));
    assert_null(plan_finding(plan, "mdev-balloon-allowed"));
}

/* Takers of D, against virtio-mem's C. */
static void test_virtio_mem_conflicts_with_who_forbids_all(void **state)
{
    for (int i = 0; i < 5; i++) {
        g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 32 * VFM_GIB);
        g_autoptr(VfmPlan) plan = NULL;

        plan_virtio_mem(domain, VFM_GIB, 2 * VFM_MIB);
        if (i == 0)
            vfm_domain_add_assigned(domain, VFM_ASSIGNED_NVME, VFM_VIA_DISK);
        if (i == 1)
            vfm_domain_add_assigned(domain, VFM_ASSIGNED_VDPA, VFM_VIA_INTERFACE);
        if (i == 2)
            domain->launch_security = g_strdup("sev");
        if (i == 3) {
            domain->arch = VFM_ARCH_PPC64;
            plan_hostdev(domain, "0004:04:00.0");
        }
        if (i == 4)
            plan_hostdev(domain, "0000:41:00.0"); /* only uncoordinated: goes with virtio-mem */
        plan = vfm_plan_new(domain, NULL);
        assert_int_equal(count(plan, VFM_HOLD_REQUIRE_COORDINATED), 1);
        assert_int_equal(plan_finding(plan, "discard-conflict") != NULL, i != 4);
    }
}

static void test_confidential_guests_by_version(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    VfmPlanOptions old = {.qemu_version = VFM_VERSION(10, 0, 0), .libvirt_version = VFM_VERSION(12, 1, 0)};
    VfmPlanOptions recent = {.qemu_version = VFM_VERSION(10, 1, 0), .libvirt_version = VFM_VERSION(12, 1, 0)};
    g_autoptr(VfmPlan) a = NULL, b = NULL, c = NULL;
    VfmAssigned *assigned = plan_hostdev(domain, "0000:41:00.0");

    domain->launch_security = g_strdup("tdx");
    a = vfm_plan_new(domain, &old);
    assert_int_equal(count(a, VFM_HOLD_REQUIRE_ALL), 1);
    assert_non_null(plan_finding(a, "confidential-passthrough"));
    b = vfm_plan_new(domain, &recent); /* type1 can't hold granules of 4 KiB */
    assert_int_equal(count(b, VFM_HOLD_REQUIRE_COORDINATED), 1);
    assert_non_null(plan_finding(b, "confidential-passthrough"));
    assigned->iommufd = true;
    c = vfm_plan_new(domain, &recent);
    assert_null(plan_finding(c, "confidential-passthrough"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hostdevs_inhibit_the_balloon),
        cmocka_unit_test(test_unassigned_and_unresolved_hold_nothing),
        cmocka_unit_test(test_a_mediated_device_may_keep_its_balloon),
        cmocka_unit_test(test_a_pci_device_beside_it_decides),
        cmocka_unit_test(test_virtio_mem_conflicts_with_who_forbids_all),
        cmocka_unit_test(test_confidential_guests_by_version),
    };

    return cmocka_run_group_tests_name("holds", tests, NULL, NULL);
}
