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
    edits = vfm_plan_edits(plan, domain, &options);
    assert_int_equal(edits->len, 2);
    assert_int_equal(((VfmEdit *)edits->pdata[0])->kind, VFM_EDIT_MEMFD_SHARED);
    assert_int_equal(((VfmEdit *)edits->pdata[1])->kind, VFM_EDIT_EMULATOR);
    assert_string_equal(((VfmEdit *)edits->pdata[1])->text, VFM_DEFAULT_EMULATOR);
}

/* What is planned is what the helper does: it takes type1 where there is a container, and tells QEMU its budget. */
static void test_the_plan_has_the_helpers_backend_and_budget(void **state)
{
    static const struct {
        VfmBackendKind wanted;
        VfmMaybe entry_limit;
        VfmSwitch iommufd, compat;
        VfmMaybe policy;
        VfmBackendKind backend;
        VfmMaybe budget, offered;
    } cases[] = {
        /* nothing known of the host */
        {VFM_BACKEND_AUTO, {0}, VFM_ABSENT, VFM_ABSENT, {0}, VFM_BACKEND_TYPE1, {true, 65535}, {true, 65535}},
        {VFM_BACKEND_AUTO, {true, 3000}, VFM_ON, VFM_OFF, {0}, VFM_BACKEND_TYPE1, {true, 3000}, {true, 3000}},
        {VFM_BACKEND_TYPE1, {true, 3000}, VFM_ON, VFM_OFF, {0}, VFM_BACKEND_TYPE1, {true, 3000}, {true, 3000}},
        /* VFIO has a container, but its limit is not known */
        {VFM_BACKEND_AUTO, {0}, VFM_ON, VFM_OFF, {0}, VFM_BACKEND_TYPE1, {true, 65535}, {true, 65535}},
        /* iommufd's compatibility layer: type1's calls without its limit */
        {VFM_BACKEND_AUTO, {0}, VFM_ON, VFM_ON, {0}, VFM_BACKEND_TYPE1, {0}, {0}},
        /* a kernel without containers */
        {VFM_BACKEND_AUTO, {0}, VFM_ON, VFM_ABSENT, {0}, VFM_BACKEND_IOMMUFD, {0}, {0}},
        {VFM_BACKEND_IOMMUFD, {true, 3000}, VFM_ON, VFM_OFF, {0}, VFM_BACKEND_IOMMUFD, {0}, {0}},
        /* the policy's budget is the helper's own, and it tells QEMU of no more than that */
        {VFM_BACKEND_IOMMUFD, {0}, VFM_ON, VFM_OFF, {true, 4000}, VFM_BACKEND_IOMMUFD, {true, 4000}, {true, 4000}},
        {VFM_BACKEND_IOMMUFD, {0}, VFM_ON, VFM_OFF, {true, 100000}, VFM_BACKEND_IOMMUFD, {true, 100000}, {true, 65535}},
        {VFM_BACKEND_TYPE1, {true, 90000}, VFM_ON, VFM_OFF, {0}, VFM_BACKEND_TYPE1, {true, 90000}, {true, 65535}},
        {VFM_BACKEND_TYPE1, {0}, VFM_ON, VFM_OFF, {true, 90000}, VFM_BACKEND_TYPE1, {true, 65535}, {true, 65535}},
    };

    /* With devices, with those of a running guest, and before the first. */
    for (size_t i = 0; i < G_N_ELEMENTS(cases) * 3; i++) {
        size_t c = i / 3;
        g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
        g_autoptr(VfmHost) host = vfm_host_new();
        VfmPlanOptions options = {.host = host};
        g_autoptr(VfmPlan) plan = NULL;

        if (i % 3 < 2)
            vfm_domain_add_assigned(domain, i % 3 ? VFM_ASSIGNED_USER : VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);
        host->dma_entry_limit = cases[c].entry_limit;
        host->iommufd = cases[c].iommufd;
        host->vfio_compat = cases[c].compat;
        domain->policy.present = true;
        domain->policy.owner = VFM_OWNER_HELPER;
        domain->policy.backend = cases[c].wanted;
        domain->policy.budget_mappings = cases[c].policy;
        plan = vfm_plan_new(domain, &options);
        if (plan->backend != cases[c].backend || plan->budget.set != cases[c].budget.set ||
            plan->budget.value != cases[c].budget.value || plan->qemu_limit.set != cases[c].offered.set ||
            plan->qemu_limit.value != cases[c].offered.value)
            fail_msg("case %zu, devices %zu: %s, budget %" G_GUINT64_FORMAT ", offered %" G_GUINT64_FORMAT, c, i % 3,
                     vfm_backend_kind_name(plan->backend), plan->budget.value, plan->qemu_limit.value);
        /* A budget above the kernel's is not used, and only that is told. */
        assert_true(!plan_finding(plan, "policy-budget") ==
                    !(cases[c].policy.set && cases[c].policy.value > cases[c].budget.value));
    }
}

/* In a running guest they are vfio-user-pci to QEMU; one of qemu:commandline is another server's. */
static void test_the_helpers_devices_are_one_container_in_qemu_too(void **state)
{
    g_autoptr(VfmDomain) domain = plan_domain(8 * VFM_GIB, 0);
    g_autoptr(VfmPlan) plan = NULL, foreign = NULL;

    vfm_domain_add_assigned(domain, VFM_ASSIGNED_USER, VFM_VIA_HOSTDEV);
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_USER, VFM_VIA_HOSTDEV);
    plan_hostdev(domain, "0000:43:00.0"); /* as device_add has it */
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_USER, VFM_VIA_COMMANDLINE);
    domain->policy.present = true;
    domain->policy.owner = VFM_OWNER_HELPER;
    plan = vfm_plan_new(domain, NULL);
    assert_int_equal(plan->containers->len, 2);
    assert_int_equal(container(plan, 0)->assigned->len, 3);
    assert_true(container(plan, 0)->pins && !container(plan, 0)->on_demand);
    assert_false(container(plan, 1)->pins);
    assert_true(plan->memlock_required >= 8 * VFM_GIB && plan->memlock_required < 9 * VFM_GIB);
    assert_true(plan->memlock_set && plan->memlock_limit.value == 9 * VFM_GIB);
    domain->policy.owner = VFM_OWNER_QEMU;
    foreign = vfm_plan_new(domain, NULL);
    assert_int_equal(foreign->containers->len, 4);
    assert_false(container(foreign, 0)->pins);
}

/* One container for all devices can't follow a vIOMMU, whatever it is; an interrupt remapper needs no following. */
static void test_the_helper_refuses_a_viommu(void **state)
{
    static const struct {
        VfmIommu iommu;
        VfmArch arch;
        unsigned libvirt;
        const char *says; /* NULL: fine */
    } cases[] = {
        {{.model = VFM_IOMMU_INTEL}, VFM_ARCH_X86_64, 0, "the intel vIOMMU"},
        {{.model = VFM_IOMMU_INTEL, .caching_mode = VFM_ON, .iotlb = VFM_ON}, VFM_ARCH_X86_64, 0, "the intel vIOMMU"},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_ON}, VFM_ARCH_X86_64, 0, "the intel vIOMMU"},
        {{.model = VFM_IOMMU_INTEL, .implicit = true}, VFM_ARCH_X86_64, 0, "libvirt adds an intel vIOMMU"},
        {{.model = VFM_IOMMU_AMD, .passthrough = VFM_ON}, VFM_ARCH_X86_64, 0, "the amd vIOMMU"},
        {{.model = VFM_IOMMU_AMD, .dma_translation = VFM_OFF}, VFM_ARCH_X86_64, 0, "the amd vIOMMU"},
        {{.model = VFM_IOMMU_VIRTIO}, VFM_ARCH_X86_64, 0, "the virtio vIOMMU"},
        {{.model = VFM_IOMMU_SMMUV3}, VFM_ARCH_AARCH64, 0, "the smmuv3 vIOMMU"},
        {{.model = VFM_IOMMU_OTHER}, VFM_ARCH_RISCV64, 0, "vIOMMU"},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF}, VFM_ARCH_X86_64, 0, NULL},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF}, VFM_ARCH_X86_64, VFM_VERSION(10, 7, 0), NULL},
        /* Before, libvirt drops the attribute. */
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF},
         VFM_ARCH_X86_64,
         VFM_VERSION(10, 6, 0),
         "the intel vIOMMU"},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF, .from_commandline = true},
         VFM_ARCH_X86_64,
         VFM_VERSION(9, 0, 0),
         NULL},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF}, VFM_ARCH_PPC64, 0, "ppc64 guests"},
        {{.model = VFM_IOMMU_INTEL, .dma_translation = VFM_OFF}, VFM_ARCH_S390X, 0, "s390x guests"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autoptr(VfmDomain) domain = three_devices();
        VfmPlanOptions options = {.libvirt_version = cases[i].libvirt};
        g_autoptr(VfmPlan) plan = NULL;
        const VfmFinding *finding;

        *vfm_domain_add_iommu(domain, cases[i].iommu.model) = cases[i].iommu;
        domain->arch = cases[i].arch;
        domain->policy.present = true;
        domain->policy.owner = VFM_OWNER_HELPER;
        plan = vfm_plan_new(domain, &options);
        finding = plan_finding(plan, "helper-viommu");
        assert_int_equal(plan->containers->len, 1);
        if (!cases[i].says != !finding)
            fail_msg("case %zu: %s", i, finding ? finding->message : "nothing found");
        if (!finding)
            continue;
        assert_int_equal(finding->severity, VFM_ERROR);
        assert_non_null(strstr(finding->message, cases[i].says));
        assert_non_null(strstr(finding->fix, "owner='qemu'"));
        /* Under QEMU's own mappings it is no error of this kind. */
        domain->policy.owner = VFM_OWNER_QEMU;
        g_clear_pointer(&plan, vfm_plan_free);
        plan = vfm_plan_new(domain, &options);
        assert_null(plan_finding(plan, "helper-viommu"));
    }
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
        cmocka_unit_test(test_the_plan_has_the_helpers_backend_and_budget),
        cmocka_unit_test(test_the_helpers_devices_are_one_container_in_qemu_too),
        cmocka_unit_test(test_the_helper_refuses_a_viommu),
        cmocka_unit_test(test_a_policy_without_devices_plans_for_one),
    };

    return cmocka_run_group_tests_name("containers", tests, NULL, NULL);
}
