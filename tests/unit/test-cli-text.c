/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "plan_budget_text.h"
#include "size_text.h"
#include "terminal.h"

#include <string.h>

static void test_sizes_are_short_and_say_when_they_are_rounded(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1 byte"},
        {1023, "1023 bytes"},
        {1024, "1 KiB"},
        {1536, "1.5 KiB"},
        {1025, "~1 KiB"},
        {2 << 20, "2 MiB"},
        {(UINT64_C(127) << 30) + (UINT64_C(512) << 20), "127.5 GiB"},
        {134217984 * UINT64_C(1024), "~128 GiB"},
        {UINT64_C(1) << 63, "8 EiB"},
        {UINT64_MAX, "~15.9 EiB"},
    };

    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *text = vfm_size_text(cases[i].bytes);

        assert_string_equal(text, cases[i].text);
    }
}

static void expect_bar(uint64_t used, uint64_t limit, unsigned filled, const char *percent)
{
    g_autofree char *bar = vfm_bar_text(used, limit);
    unsigned count = 0;

    for (const char *c = bar; *c; c++)
        count += *c == '#';
    assert_int_equal(count, filled);
    assert_non_null(strstr(bar, percent));
}

static void test_a_bar_is_full_only_if_all_is_used(void **state)
{
    expect_bar(0, 100, 0, "]   0 %");
    expect_bar(50, 100, 15, "]  50 %");
    expect_bar(65534, 65535, 29, "]  99 %");
    expect_bar(65535, 65535, 30, "] 100 %");
    expect_bar(65536, 65535, 30, "] 101 %");
    expect_bar(UINT64_MAX, UINT64_MAX, 30, "] 100 %");
    expect_bar(UINT64_MAX, 1, 30, "over 999 %");
    expect_bar(0, 0, 0, "]   0 %");
    expect_bar(1, 0, 30, "over 999 %");
}

static void test_nothing_that_a_terminal_obeys_is_printable(void **state)
{
    g_autofree char *escapes = vfm_printable("a\033[31mb\a\x7f");
    g_autofree char *lines = vfm_printable("a\nb\tc\r");
    g_autofree char *csi = vfm_printable("a\xc2\x9b"
                                         "31m");
    g_autofree char *broken = vfm_printable("a\xff"
                                            "b");
    g_autofree char *umlaut = vfm_printable("\xc3\xbc");
    g_autofree char *nothing = vfm_printable(NULL);

    assert_string_equal(escapes, "a?[31mb??");
    assert_string_equal(lines, "a b c ");
    assert_null(strstr(csi, "\xc2\x9b"));
    assert_true(g_utf8_validate(csi, -1, NULL));
    assert_true(g_utf8_validate(broken, -1, NULL));
    assert_string_equal(umlaut, "\xc3\xbc");
    assert_string_equal(nothing, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes_are_short_and_say_when_they_are_rounded),
        cmocka_unit_test(test_a_bar_is_full_only_if_all_is_used),
        cmocka_unit_test(test_nothing_that_a_terminal_obeys_is_printable),
    };

    return cmocka_run_group_tests_name("cli-text", tests, NULL, NULL);
}
