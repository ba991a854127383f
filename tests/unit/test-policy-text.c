/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "error.h"
#include "policy_record.h"
#include "policy_text.h"

#define UUID "6d3f3a0e-6a54-4f0c-b8a3-5b7f8d5a0c11"

static void test_a_policy_comes_back_as_it_went(void **state)
{
    VfmPolicy policy = {.balloon = VFM_BALLOON_RESIZE, .required = true, .budget_mappings = VFM_SOME(1000)}, read = {0};
    g_autofree char *text = vfm_policy_to_text(&policy);

    assert_true(vfm_policy_from_text(&read, text, NULL));
    assert_true(read.present && read.required);
    assert_int_equal(read.balloon, VFM_BALLOON_RESIZE);
    assert_int_equal(read.budget_mappings.value, 1000);
    assert_false(read.budget_headroom.set);
}

static void test_unknown_words_are_named(void **state)
{
    const char *const wrong[] = {"ballon=refuse", "balloon=perhaps", "mappings=-1", "required", "required=true"};

    for (size_t i = 0; i < G_N_ELEMENTS(wrong); i++) {
        g_autoptr(GError) error = NULL;
        VfmPolicy policy = {0};

        assert_false(vfm_policy_from_text(&policy, wrong[i], &error));
        assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
        assert_non_null(strstr(error->message, wrong[i]));
    }
}

static void test_text_that_asks_for_the_helper_is_known(void **state)
{
    const char *const asks[] = {"owner=helper", "window=0x8000000:128M owner=helper", "balloon=pass required=yes",
                                "owner=helpr", "\trequired=true\n"};
    const char *const asks_not[] = {"", "owner=qemu required=no balloon=refuse", "balloon=perhaps", "mappings=-1 owner"};

    for (size_t i = 0; i < G_N_ELEMENTS(asks); i++)
        assert_true(vfm_policy_text_needs_helper(asks[i]));
    for (size_t i = 0; i < G_N_ELEMENTS(asks_not); i++)
        assert_false(vfm_policy_text_needs_helper(asks_not[i]));
}

static void test_only_a_uuid_makes_a_path(void **state)
{
    g_autofree char *path = vfm_policy_file("/x", UUID), *usual = vfm_policy_file(NULL, UUID);
    g_autofree char *none = vfm_policy_file("/x", "../../etc/passwd");

    assert_string_equal(path, "/x/" UUID ".policy");
    assert_string_equal(usual, VFM_POLICY_FOLDER "/" UUID ".policy");
    assert_null(none);
    assert_int_equal(vfm_policy_record_write("/tmp", "../../../../tmp/0123456789abcdef-012 x", 39), -1);
}

static void test_a_record_is_written_and_taken_away(void **state)
{
    g_autofree char *parent = g_dir_make_tmp("vfiomem-policy-XXXXXX", NULL);
    g_autofree char *folder = g_build_filename(parent, "run", NULL), *file = vfm_policy_file(folder, UUID);
    g_autofree char *text = NULL;
    const char *line = UUID " balloon=pass required=no";
    struct stat status;

    umask(077); /* the daemon's may be so, and QEMU's user has to read it all the same */
    assert_int_equal(vfm_policy_record_write(folder, line, strlen(line)), 0);
    assert_true(g_file_get_contents(file, &text, NULL, NULL));
    assert_string_equal(text, "balloon=pass required=no\n");
    assert_int_equal(stat(file, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    assert_int_equal(stat(folder, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0755);
    assert_int_equal(vfm_policy_record_write(folder, line, strlen(line)), 0); /* again, for a daemon that came back */
    assert_int_equal(vfm_policy_record_remove(folder, UUID, strlen(UUID)), 0);
    assert_int_equal(access(folder, F_OK), -1);
    assert_int_equal(vfm_policy_record_remove(folder, UUID, strlen(UUID)), 0);
    rmdir(parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_policy_comes_back_as_it_went),
        cmocka_unit_test(test_unknown_words_are_named),
        cmocka_unit_test(test_text_that_asks_for_the_helper_is_known),
        cmocka_unit_test(test_only_a_uuid_makes_a_path),
        cmocka_unit_test(test_a_record_is_written_and_taken_away),
    };

    return cmocka_run_group_tests_name("policy-text", tests, NULL, NULL);
}
