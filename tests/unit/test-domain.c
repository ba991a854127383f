/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "domain.h"
#include "error.h"
#include "finding.h"
#include "host.h"

static void test_names_never_leave_their_table(void **state)
{
    assert_string_equal(vfm_assigned_kind_name(VFM_ASSIGNED_NVME), "nvme");
    assert_string_equal(vfm_assigned_kind_name((VfmAssignedKind)99), "unknown");
    assert_string_equal(vfm_arch_name(VFM_ARCH_RISCV64), "riscv64");
    assert_string_equal(vfm_machine_name(VFM_MACHINE_VIRT), "virt");
}

static void test_findings_sort_by_severity_line_and_id(void **state)
{
    g_autoptr(GPtrArray) findings = vfm_findings_new();

    vfm_findings_add(findings, VFM_INFO, "c", 1, NULL, "info");
    vfm_findings_add(findings, VFM_ERROR, "b", 9, "do it", "size %d", 7);
    vfm_findings_add(findings, VFM_ERROR, "a", 9, NULL, "other");
    vfm_findings_add(findings, VFM_ERROR, "z", 2, NULL, "first");
    vfm_findings_sort(findings);
    assert_string_equal(((VfmFinding *)findings->pdata[0])->id, "z");
    assert_string_equal(((VfmFinding *)findings->pdata[1])->id, "a");
    assert_string_equal(((VfmFinding *)findings->pdata[2])->message, "size 7");
    assert_string_equal(((VfmFinding *)findings->pdata[3])->id, "c");
}

static void test_host_finds_the_group_of_a_device(void **state)
{
    g_autoptr(VfmHost) host = vfm_host_new();
    VfmIommuGroup *group = vfm_host_add_group(host, 7);

    vfm_iommu_group_add_device(group, "0000:0a:00.1");
    assert_ptr_equal(vfm_host_find_group(host, "0000:0A:00.1"), group);
    assert_null(vfm_host_find_group(host, "0000:0a:00.2"));
    assert_null(vfm_host_find_group(NULL, "0000:0a:00.1"));
}

static void test_system_errors_spell_errno_out(void **state)
{
    g_autoptr(GError) error = NULL;

    vfm_set_system_error(&error, 12, "map of %s", "boot RAM");
    assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, 12));
    assert_string_equal(error->message, "map of boot RAM: Cannot allocate memory");
}

/* A policy that is carried on whole: what is forgotten here would silently not be kept at run time. */
static void test_policy_copy(void **state)
{
    g_autoptr(VfmDomain) domain = vfm_domain_new();
    VfmWindow windows[] = {{.start = 0, .size = 4096}, {.start = 1 << 20, .size = 8192}};
    VfmPolicy from = {.present = true,
                      .owner = VFM_OWNER_HELPER,
                      .backend = VFM_BACKEND_IOMMUFD,
                      .required = true,
                      .budget_mappings = VFM_SOME(100),
                      .budget_headroom = VFM_SOME(7),
                      .balloon = VFM_BALLOON_PASS,
                      .windows = g_array_new(FALSE, FALSE, sizeof(VfmWindow)),
                      .resize_present = true,
                      .resize_max = VFM_SOME(1 << 30)};
    GArray *own = domain->policy.windows;

    g_array_append_vals(from.windows, windows, 2);
    for (unsigned again = 0; again < 2; again++) {
        vfm_policy_copy(&domain->policy, &from);
        assert_ptr_equal(domain->policy.windows, own);
        assert_int_equal(own->len, 2);
        assert_memory_equal(own->data, windows, sizeof(windows));
        assert_int_equal(domain->policy.owner, VFM_OWNER_HELPER);
        assert_int_equal(domain->policy.budget_headroom.value, 7);
        assert_true(domain->policy.required && domain->policy.resize_max.set);
    }
    g_array_unref(from.windows);
    from.windows = NULL;
    vfm_policy_copy(&domain->policy, &from);
    assert_int_equal(own->len, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_never_leave_their_table),
        cmocka_unit_test(test_findings_sort_by_severity_line_and_id),
        cmocka_unit_test(test_host_finds_the_group_of_a_device),
        cmocka_unit_test(test_system_errors_spell_errno_out),
        cmocka_unit_test(test_policy_copy),
    };

    return cmocka_run_group_tests_name("domain", tests, NULL, NULL);
}
