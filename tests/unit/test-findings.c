/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The list of ids, the code that uses them and docs/findings.md say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "finding_id.h"

static const char *const names[] = {
#define NAME(name, id, severity) "VFM_FINDING_" #name,
    VFM_FINDING_IDS(NAME)
#undef NAME
};

static char *read_file(const char *folder, const char *name)
{
    const char *root = g_getenv("VFIOMEM_SOURCE");
    g_autofree char *path = g_build_filename(root ? root : ".", folder, name, NULL);
    char *text = NULL;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        fail_msg("%s can't be read", path);
    return text;
}

static void test_ids_are_kebab_case_and_unique(void **state)
{
    for (int i = 0; i < VFM_FINDING_COUNT; i++) {
        const char *id = vfm_finding_id_name((VfmFindingId)i);

        for (const char *at = id; *at; at++)
            assert_true(g_ascii_islower(*at) || *at == '-');
        for (int j = 0; j < i; j++)
            assert_string_not_equal(id, vfm_finding_id_name((VfmFindingId)j));
    }
}

static void test_every_id_is_documented(void **state)
{
    g_autofree char *doc = read_file("docs", "findings.md");

    for (int i = 0; i < VFM_FINDING_COUNT; i++) {
        const char *id = vfm_finding_id_name((VfmFindingId)i);
        g_autofree char *row =
            g_strdup_printf("\n| `%s` | %s", id, vfm_severity_name(vfm_finding_id_severity((VfmFindingId)i)));

        if (!strstr(doc, row))
            fail_msg("docs/findings.md has no row for %s with its usual severity first", id);
    }
}

static void test_every_documented_id_exists(void **state)
{
    g_autofree char *doc = read_file("docs", "findings.md");
    g_auto(GStrv) lines = g_strsplit(doc, "\n", -1);
    int rows = 0;

    for (char **line = lines; *line; line++) {
        g_autofree char *id = NULL;
        bool known = false;

        if (!g_str_has_prefix(*line, "| `"))
            continue;
        id = g_strndup(*line + 3, strcspn(*line + 3, "`"));
        for (int i = 0; i < VFM_FINDING_COUNT; i++)
            known |= g_str_equal(id, vfm_finding_id_name((VfmFindingId)i));
        if (!known)
            fail_msg("docs/findings.md documents %s, which no code can say", id);
        rows++;
    }
    assert_int_equal(rows, VFM_FINDING_COUNT);
}

static void test_every_id_is_used(void **state)
{
    static const char *const files[] = {"findings_budget.c",  "findings_discards.c", "findings_host.c",
                                        "findings_memlock.c", "findings_memory.c",   "findings_policy.c",
                                        "findings_viommu.c"};
    g_autoptr(GString) code = g_string_new(NULL);

    for (size_t i = 0; i < G_N_ELEMENTS(files); i++) {
        g_autofree char *text = read_file("src/core", files[i]);

        g_string_append(code, text);
    }
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++)
        if (!strstr(code->str, names[i]))
            fail_msg("%s is never found", names[i]);
}

static void test_a_finding_is_one_line_whatever_the_domain_says(void **state)
{
    g_autoptr(GPtrArray) findings = vfm_findings_new();
    const VfmFinding *finding = vfm_findings_add(findings, VFM_ERROR, "an-id", 1, "rename \r%s", "file %s",
                                                 "a\nb\x7f"
                                                 "c");

    assert_string_equal(finding->message, "file a?b?c");
    assert_string_equal(finding->fix, "rename ?%s");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_finding_is_one_line_whatever_the_domain_says),
        cmocka_unit_test(test_ids_are_kebab_case_and_unique),
        cmocka_unit_test(test_every_id_is_documented),
        cmocka_unit_test(test_every_documented_id_exists),
        cmocka_unit_test(test_every_id_is_used),
    };

    return cmocka_run_group_tests_name("findings", tests, NULL, NULL);
}
