/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-field-cases.c - reports from the field, as domain XML: each must yield
 * exactly one finding of the highest severity there is, the one docs/findings.md
 * names, with a mend and the line to look at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "domain_xml.h"
#include "host_json.h"
#include "plan_domain.h"

static char *data(const char *folder, const char *name, gsize *length)
{
    const char *root = g_getenv("VFIOMEM_SOURCE");
    g_autofree char *path = g_build_filename(root ? root : ".", "tests/data", folder, name, NULL);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, length, NULL))
        fail_msg("%s can't be read", path);
    return text;
}

/* Plans @domain_file on @host_file; checks that @id is the only finding of @severity and that none is worse. */
static void expect(const char *domain_file, const char *host_file, const char *id, VfmSeverity severity)
{
    gsize length = 0;
    g_autoptr(GError) error = NULL;
    g_autofree char *text = data("domains", domain_file, &length);
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(text, length, domain_file, &error);
    g_autofree char *host_text = data(".", host_file, &length);
    g_autoptr(VfmHost) host = vfm_host_from_json(host_text, length, host_file, &error);
    VfmPlanOptions options = {
        .host = host, .libvirt_version = VFM_VERSION(9, 0, 0), .qemu_version = VFM_VERSION(7, 2, 22)};
    g_autoptr(VfmPlan) plan = NULL;
    const VfmFinding *finding;

    assert_null(error);
    plan = vfm_plan_new(domain, &options);
    finding = plan_finding(plan, id);
    if (!finding)
        fail_msg("%s: no %s", domain_file, id);
    assert_int_equal(finding->severity, severity);
    assert_ptr_equal(finding, g_ptr_array_index(plan->findings, 0));
    assert_int_equal(plan_count(plan, severity), 1);
    assert_true(finding->line > 0);
    assert_true(severity == VFM_INFO || finding->fix);
}

static void test_126_gib_in_blocks_of_2_mib(void **state)
{
    expect("virtio-mem-126g-type1.xml", "host.json", "mapping-budget-exceeded", VFM_ERROR);
}

static void test_two_gpus_and_a_viommu_libvirt_does_not_see(void **state)
{
    expect("viommu-commandline.xml", "host.json", "memlock-uncounted", VFM_ERROR);
}

static void test_two_gpus_and_a_viommu_under_a_hard_limit(void **state)
{
    expect("viommu-two-gpus-hard-limit.xml", "host.json", "memlock-hard-limit", VFM_ERROR);
}

static void test_memory_hot_plug_with_sriov_under_a_hard_limit(void **state)
{
    expect("nfv-hard-limit-dimm.xml", "host.json", "memlock-hard-limit", VFM_ERROR);
}

static void test_setmem_that_changes_nothing(void **state)
{
    expect("gpu-setmem-default-balloon.xml", "host.json", "balloon-inhibited", VFM_WARNING);
}

static void test_mediated_device_that_may_keep_its_balloon(void **state)
{
    expect("vgpu-nvidia-pair.xml", "host.json", "mdev-balloon-inhibited", VFM_WARNING);
    expect("vgpu-balloon-allowed.xml", "host.json", "mdev-balloon-allowed", VFM_INFO);
}

static void test_guest_ram_over_a_reserved_region(void **state)
{
    expect("reserved-region-rmrr.xml", "host-intel.json", "reserved-region-in-ram", VFM_ERROR);
    expect("amd-1tib-conflict.xml", "host-amd.json", "reserved-region-in-ram", VFM_ERROR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_126_gib_in_blocks_of_2_mib),
        cmocka_unit_test(test_two_gpus_and_a_viommu_libvirt_does_not_see),
        cmocka_unit_test(test_two_gpus_and_a_viommu_under_a_hard_limit),
        cmocka_unit_test(test_memory_hot_plug_with_sriov_under_a_hard_limit),
        cmocka_unit_test(test_setmem_that_changes_nothing),
        cmocka_unit_test(test_mediated_device_that_may_keep_its_balloon),
        cmocka_unit_test(test_guest_ram_over_a_reserved_region),
    };

    return cmocka_run_group_tests_name("field-cases", tests, NULL, NULL);
}
