/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_json.h"

#include <string.h>

/* The writer looks at a plan's fields only, so one made by hand shows exactly which field goes where. */
typedef struct {
    VfmPlan plan;
    VfmDomain *domain;
} Fixture;

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);

    f->domain = vfm_domain_new();
    g_free(f->domain->name);
    f->domain->name = g_strdup("web");
    f->plan.memory = g_ptr_array_new_with_free_func(g_free);
    f->plan.containers = g_ptr_array_new_with_free_func(g_free);
    f->plan.findings = vfm_findings_new();
    f->plan.backend = VFM_BACKEND_TYPE1;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;

    vfm_domain_free(f->domain);
    g_ptr_array_unref(f->plan.memory);
    g_ptr_array_unref(f->plan.containers);
    g_ptr_array_unref(f->plan.findings);
    g_free(f);
    return 0;
}

static void test_an_empty_domain_has_every_member(void **state)
{
    Fixture *f = *state;
    g_autofree char *text = NULL;

    g_free(f->domain->name);
    f->domain->name = g_strdup("");
    text = vfm_plan_to_json(f->domain, &f->plan, false);
    assert_string_equal(text, "{\"domain\":\"\",\"uuid\":null,\"assigned\":[],"
                              "\"memory\":{\"boot\":0,\"max\":null,\"devices\":[]},"
                              "\"balloon\":{\"present\":false,\"effective\":false,\"free_page_reporting\":false,"
                              "\"autodeflate\":false},\"viommu\":null,"
                              "\"mappings\":{\"backend\":\"type1\",\"containers\":0,\"per_container\":0,"
                              "\"budget\":null},"
                              "\"memlock\":{\"required\":0,\"limit\":null,\"limit_from\":\"libvirt\"},"
                              "\"findings\":[]}");
}

static void test_every_member_comes_from_its_field(void **state)
{
    Fixture *f = *state;
    VfmDomain *domain = f->domain;
    VfmPlanContainer *container = g_new0(VfmPlanContainer, 1);
    VfmPlanContainer *fuller = g_new0(VfmPlanContainer, 1);
    VfmPlanMemory *memory = g_new0(VfmPlanMemory, 1);
    VfmPlanMemory *dimm = g_new0(VfmPlanMemory, 1);
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);
    g_autofree char *text = NULL;
    VfmFinding *finding;

    domain->uuid = g_strdup("u-1");
    domain->boot = 4096;
    domain->max_memory = VFM_SOME(UINT64_MAX);
    assigned->address = g_strdup("0000:01:00.0");
    assigned->managed = true;
    vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE)->iommufd = true;
    vfm_domain_add_memory(domain, VFM_MEM_VIRTIO_MEM, 7);
    ((VfmMemoryDevice *)g_ptr_array_index(domain->memory_devices, 0))->model_name = g_strdup("virtio-mem");
    vfm_domain_add_memory(domain, VFM_MEM_DIMM, 8);
    memory->model = VFM_MEM_VIRTIO_MEM;
    memory->node = VFM_SOME(0);
    memory->size = UINT64_C(1) << 63;
    memory->block = VFM_SOME(2);
    memory->requested = VFM_SOME(0);
    memory->recommended_block = VFM_SOME(4);
    dimm->size = 8;
    g_ptr_array_add(f->plan.memory, memory);
    g_ptr_array_add(f->plan.memory, dimm);
    domain->balloon.present = true;
    domain->balloon.free_page_reporting = VFM_ON;
    domain->balloon.autodeflate = VFM_OFF;
    vfm_domain_add_iommu(domain, VFM_IOMMU_VIRTIO);
    container->mappings_now = 3;
    container->mappings_recommended = 99;
    fuller->mappings_now = 5;
    g_ptr_array_add(f->plan.containers, container);
    g_ptr_array_add(f->plan.containers, fuller);
    f->plan.backend = VFM_BACKEND_IOMMUFD;
    f->plan.budget = VFM_SOME(65535);
    f->plan.memlock_required = 10;
    f->plan.memlock_limit = VFM_SOME(11);
    f->plan.memlock_from = VFM_LIMIT_HARD_LIMIT;
    finding = vfm_findings_add(f->plan.findings, VFM_WARNING, "some-id", 12, "do \"it\"", "x");
    /* A finding has no such characters; whoever writes JSON does not rely on that. */
    g_free(finding->message);
    finding->message = g_strdup("a\tb\x01");
    vfm_findings_add(f->plan.findings, VFM_INFO, "other", 0, NULL, "bad utf-8: \xff");
    text = vfm_plan_to_json(domain, &f->plan, false);
    assert_string_equal(
        text, "{\"domain\":\"web\",\"uuid\":\"u-1\",\"assigned\":["
              "{\"kind\":\"pci\",\"address\":\"0000:01:00.0\",\"via\":\"hostdev\",\"managed\":true,\"iommufd\":false},"
              "{\"kind\":\"pci\",\"address\":null,\"via\":\"interface\",\"managed\":false,\"iommufd\":true}],"
              "\"memory\":{\"boot\":4096,\"max\":18446744073709551615,\"devices\":["
              "{\"model\":\"virtio-mem\",\"node\":0,\"size\":9223372036854775808,\"block\":2,\"requested\":0,"
              "\"recommended_block\":4},"
              "{\"model\":\"dimm\",\"node\":null,\"size\":8,\"block\":null,\"requested\":null,"
              "\"recommended_block\":null}]},"
              "\"balloon\":{\"present\":true,\"effective\":false,\"free_page_reporting\":true,\"autodeflate\":false},"
              "\"viommu\":\"virtio\","
              "\"mappings\":{\"backend\":\"iommufd\",\"containers\":2,\"per_container\":5,\"budget\":65535},"
              "\"memlock\":{\"required\":10,\"limit\":11,\"limit_from\":\"hard_limit\"},"
              "\"findings\":["
              "{\"id\":\"some-id\",\"severity\":\"warning\",\"message\":\"a\\tb\\u0001\",\"fix\":\"do \\\"it\\\"\","
              "\"line\":12},"
              "{\"id\":\"other\",\"severity\":\"info\",\"message\":\"bad utf-8: \xef\xbf\xbd\",\"fix\":null,"
              "\"line\":null}]}");
}

static void test_pretty_text_differs_in_white_space_only(void **state)
{
    Fixture *f = *state;
    g_autofree char *compact = vfm_plan_to_json(f->domain, &f->plan, false);
    g_autofree char *pretty = vfm_plan_to_json(f->domain, &f->plan, true);
    g_autoptr(GString) squeezed = g_string_new(NULL);

    assert_true(g_str_has_prefix(pretty, "{\n  \"domain\": \"web\",\n"));
    assert_true(g_str_has_suffix(pretty, "\n}\n"));
    for (const char *c = pretty; *c; c++) {
        if (*c != ' ' && *c != '\n')
            g_string_append_c(squeezed, *c);
    }
    assert_string_equal(squeezed->str, compact);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_an_empty_domain_has_every_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_member_comes_from_its_field, setup, teardown),
        cmocka_unit_test_setup_teardown(test_pretty_text_differs_in_white_space_only, setup, teardown),
    };

    return cmocka_run_group_tests_name("plan-json", tests, NULL, NULL);
}
