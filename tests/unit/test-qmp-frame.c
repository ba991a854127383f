/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "frame.h"
#include "message.h"

/* Feeds @text in pieces of @step and writes one line a result: "M:<text>" or "B:<why>". */
static char *split(const char *text, size_t length, size_t step, size_t max, bool lines)
{
    GString *out = g_string_new(NULL);
    VfmFrame frame;
    size_t start = 0, at = 0;

    vfm_frame_init(&frame, max, lines);
    while (at < length) {
        size_t used;
        VfmFrameResult result = vfm_frame_feed(&frame, text + at, MIN(step, length - at), &used);

        assert_true(used > 0);
        at += used;
        if (result == VFM_FRAME_MESSAGE) {
            while (start < at && strchr(" \r\n\t", text[start]))
                start++;
            g_string_append(out, "M:");
            g_string_append_len(out, text + start, (gssize)(at - start));
            g_string_append_c(out, '|');
        } else if (result == VFM_FRAME_BAD) {
            g_string_append_printf(out, "B:%s|", vfm_frame_why(&frame));
        }
        if (result != VFM_FRAME_MORE)
            start = at;
    }
    return g_string_free(out, FALSE);
}

static void check(const char *text, size_t max, bool lines, const char *expected)
{
    for (size_t step = 1; step <= strlen(text); step++) {
        g_autofree char *got = split(text, strlen(text), step, max, lines);

        assert_string_equal(got, expected);
    }
}

static void test_texts_end_where_they_end_however_cut(void **state)
{
    check("{\"a\":1}{\"b\":[{}]}\r\n {} ", 100, false, "M:{\"a\":1}|M:{\"b\":[{}]}|M:{}|");
    check("[1]['}']", 100, false, "M:[1]|M:['}']|");
}

static void test_brackets_inside_strings_do_not_count(void **state)
{
    check("{\"a\":\"}{\\\"}\"}{'b':'\\'}'}", 100, false, "M:{\"a\":\"}{\\\"}\"}|M:{'b':'\\'}'}|");
}

static void test_lines_keep_their_newline(void **state)
{
    check("{\"return\": {}}\r\n{\"event\": \"X\"}\r\n", 100, true, "M:{\"return\": {}}\r\n|M:{\"event\": \"X\"}\r\n|");
}

static void test_unbalanced_texts_end_where_qemu_ends_them(void **state)
{
    check("{]{}", 100, false, "M:{]|M:{}|");
    check("[}[]", 100, false, "M:[}|M:[]|");
}

static void test_stray_bytes_are_bad_and_do_not_hide_what_follows(void **state)
{
    g_autofree char *whole = split("xyz{}", 5, 5, 100, false);

    assert_string_equal(whole, "B:bytes outside of any object|M:{}|");
}

static void test_a_control_byte_starts_afresh(void **state)
{
    check("{\"a\":\x01{}", 100, false, "B:a control byte inside of a text|M:{}|");
    check("{\"a\":\"\x01{}", 100, false, "B:a control byte inside of a string|M:{}|");
    check("{\"a\":\"\n{}", 100, false, "B:a control byte inside of a string|M:{}|");
    check("{\"a\":\"\xff{}", 100, false, "B:a control byte inside of a string|M:{}|");
}

static void test_a_nul_byte_is_a_control_byte(void **state)
{
    g_autofree char *got = split("{\0{}", 4, 1, 100, false);

    assert_string_equal(got, "B:a control byte inside of a text|M:{}|");
}

static void test_too_long_texts_are_skipped_whole(void **state)
{
    /* The object inside must not be taken for a text of its own. */
    check("{\"x\":\"0123456789\",\"y\":{\"execute\":\"quit\"}}{}", 12, false, "B:the text is too long|M:{}|");
}

static void test_white_space_is_never_too_long(void **state)
{
    check("                        {}", 3, false, "M:{}|");
}

static void test_deep_nesting_is_bounded(void **state)
{
    g_autoptr(GString) text = g_string_new(NULL);
    g_autofree char *got = NULL, *fine = NULL;

    for (int i = 0; i < VFM_FRAME_MAX_DEPTH; i++)
        g_string_append_c(text, '[');
    for (int i = 0; i < VFM_FRAME_MAX_DEPTH; i++)
        g_string_append_c(text, ']');
    fine = split(text->str, text->len, 7, 1 << 20, false);
    assert_true(g_str_has_prefix(fine, "M:[[["));
    g_string_prepend_c(text, '[');
    g_string_append(text, "]{}");
    got = split(text->str, text->len, 7, 1 << 20, false);
    assert_string_equal(got, "B:nesting is deeper than 1024|M:{}|");
}

static void test_members_are_slices(void **state)
{
    const char *text = " {\"execute\" : \"balloon\", \"arguments\":{\"id\":3}, \"id\": [1, \"x}\"] } \r\n";
    VfmMessage message;

    assert_true(vfm_message_read(&message, text, strlen(text)));
    assert_true(vfm_slice_is_string(message.execute, "balloon"));
    assert_false(vfm_slice_is_string(message.execute, "ballo"));
    assert_true(vfm_slice_has_prefix(message.execute, "ball"));
    assert_memory_equal(message.arguments.at, "{\"id\":3}", message.arguments.length);
    assert_int_equal(message.id.length, strlen("[1, \"x}\"]"));
    assert_null(message.event.at);
}

static void test_odd_objects_have_no_members(void **state)
{
    const char *odd[] = {"[]",    "{",          "{}",         "{\"a\"}", "{\"a\":}",        "{\"id\":1,\"id\":2}",
                         "{a:1}", "{\"a\":1,}", "{\"a\":1}x", "",        "{\"\\u0069d\":1}"};

    for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
        VfmMessage message;

        assert_false(vfm_message_read(&message, odd[i], strlen(odd[i])));
        assert_null(message.id.at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_end_where_they_end_however_cut),
        cmocka_unit_test(test_brackets_inside_strings_do_not_count),
        cmocka_unit_test(test_lines_keep_their_newline),
        cmocka_unit_test(test_unbalanced_texts_end_where_qemu_ends_them),
        cmocka_unit_test(test_stray_bytes_are_bad_and_do_not_hide_what_follows),
        cmocka_unit_test(test_a_control_byte_starts_afresh),
        cmocka_unit_test(test_a_nul_byte_is_a_control_byte),
        cmocka_unit_test(test_too_long_texts_are_skipped_whole),
        cmocka_unit_test(test_white_space_is_never_too_long),
        cmocka_unit_test(test_deep_nesting_is_bounded),
        cmocka_unit_test(test_members_are_slices),
        cmocka_unit_test(test_odd_objects_have_no_members),
    };

    return cmocka_run_group_tests_name("qmp-frame", tests, NULL, NULL);
}
