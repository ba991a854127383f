/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "diff.h"

#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static void expect(const char *old_text, const char *new_text, const char *diff)
{
    g_autofree char *text = vfm_diff(old_text, new_text, "a", "b");

    assert_string_equal(text, diff);
}

#define HEAD "--- a\n+++ b\n"

static void test_equal_texts_have_none(void **state)
{
    expect("", "", "");
    expect("x\ny", "x\ny", "");
}

static void test_one_changed_line_has_three_lines_around(void **state)
{
    expect("1\n2\n3\n4\n5\n6\n7\n8\n9\n", "1\n2\n3\n4\nV\n6\n7\n8\n9\n",
           HEAD "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-5\n+V\n 6\n 7\n 8\n");
}

static void test_edges(void **state)
{
    expect("", "1\n", HEAD "@@ -0,0 +1 @@\n+1\n");
    expect("1\n", "", HEAD "@@ -1 +0,0 @@\n-1\n");
    expect("1\n2\n", "0\n1\n2\n", HEAD "@@ -1,2 +1,3 @@\n+0\n 1\n 2\n");
    expect("1\n2", "1\n2\n", HEAD "@@ -1,2 +1,2 @@\n 1\n-2\n\\ No newline at end of file\n+2\n");
}

static void test_far_changes_are_two_hunks_and_near_ones_are_one(void **state)
{
    expect("a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
           HEAD "@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n");
    expect("a\n1\n2\n3\n4\n5\n6\nb\n", "A\n1\n2\n3\n4\n5\n6\nB\n",
           HEAD "@@ -1,8 +1,8 @@\n-a\n+A\n 1\n 2\n 3\n 4\n 5\n 6\n-b\n+B\n");
}

/* Applies a diff the way patch does, trusting line numbers. NULL if it does not fit. */
static char *patched(const char *old_text, const char *diff)
{
    g_auto(GStrv) old_lines = g_strsplit(old_text, "\n", -1);
    g_auto(GStrv) lines = g_strsplit(diff, "\n", -1);
    g_autoptr(GPtrArray) out = g_ptr_array_new();
    guint at = 0;

    for (guint i = 2; lines[i]; i++) {
        unsigned start;

        if (sscanf(lines[i], "@@ -%u", &start) == 1) {
            const char *comma = strchr(lines[i], ',');
            const char *plus = strchr(lines[i], '+');
            const bool none = comma && comma < plus && comma[1] == '0' && comma[2] == ' ';

            for (; at < (none ? start : start - 1); at++)
                g_ptr_array_add(out, old_lines[at]);
        } else if (lines[i][0] == ' ' || lines[i][0] == '-') {
            if (!old_lines[at] || !g_str_equal(old_lines[at], lines[i] + 1))
                return NULL;
            if (lines[i][0] == ' ')
                g_ptr_array_add(out, old_lines[at]);
            at++;
        } else if (lines[i][0] == '+') {
            g_ptr_array_add(out, lines[i] + 1);
        }
    }
    for (; old_lines[at]; at++)
        g_ptr_array_add(out, old_lines[at]);
    if (!*old_text)
        g_ptr_array_add(out, (gpointer) ""); /* what g_strsplit() leaves out of an empty text: what follows its end */
    g_ptr_array_add(out, NULL);
    return g_strjoinv("\n", (char **)out->pdata);
}

static char *random_text(GRand *rand, guint lines, guint alphabet)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < lines; i++)
        g_string_append_printf(text, "%c\n", 'a' + g_rand_int_range(rand, 0, (gint)alphabet));
    return g_string_free(text, FALSE);
}

static void test_random_texts_can_be_patched(void **state)
{
    const guint32 seed = g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);

    print_message("seed %u\n", seed);
    for (guint i = 0; i < 3000; i++) {
        g_autofree char *a = random_text(rand, (guint)g_rand_int_range(rand, 0, 30), 1 + i % 5);
        g_autofree char *b = random_text(rand, (guint)g_rand_int_range(rand, 0, 30), 1 + i % 5);
        g_autofree char *diff = vfm_diff(a, b, "a", "b");
        g_autofree char *back = *diff ? patched(a, diff) : g_strdup(a);

        if (g_strcmp0(back, b) != 0)
            fail_msg("seed %u: from\n%s to\n%s by\n%s gives\n%s", seed, a, b, diff, back ? back : "nothing");
    }
}

static void test_texts_with_nothing_in_common_stay_bounded(void **state)
{
    g_autoptr(GString) a = g_string_new(NULL), b = g_string_new(NULL);
    g_autofree char *diff = NULL;
    g_autofree char *back = NULL;

    for (guint i = 0; i < 20000; i++) {
        g_string_append_printf(a, "a%u\n", i);
        g_string_append_printf(b, "b%u\n", i);
    }
    diff = vfm_diff(a->str, b->str, "a", "b");
    back = patched(a->str, diff);
    assert_string_equal(back, b->str);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_texts_have_none),
        cmocka_unit_test(test_one_changed_line_has_three_lines_around),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_far_changes_are_two_hunks_and_near_ones_are_one),
        cmocka_unit_test(test_random_texts_can_be_patched),
        cmocka_unit_test(test_texts_with_nothing_in_common_stay_bounded),
    };

    return cmocka_run_group_tests_name("diff", tests, NULL, NULL);
}
