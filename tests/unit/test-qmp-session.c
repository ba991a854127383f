/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "reply.h"
#include "session.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}"

static VfmSessionVerdict command(VfmSession *session, const char *text, char **reply)
{
    VfmMessage message;

    assert_true(vfm_message_read(&message, text, strlen(text)));
    return vfm_session_command(session, &message, reply);
}

static void qemu_says(VfmSession *session, const char *text)
{
    VfmMessage message;

    assert_true(vfm_message_read(&message, text, strlen(text)));
    if (message.greeting.at)
        assert_true(vfm_session_greeting(session, &message));
    else
        vfm_session_reply(session, &message);
}

static VfmSession first_client(const char *negotiation)
{
    VfmSession session = {0};
    g_autofree char *reply = NULL;

    vfm_session_connect(&session);
    qemu_says(&session, GREETING);
    vfm_session_greeted(&session);
    assert_int_equal(command(&session, negotiation, &reply), VFM_SESSION_FORWARD);
    assert_int_equal(session.client, VFM_CLIENT_GREETED);
    qemu_says(&session, "{\"return\": {}}");
    return session;
}

static void test_the_first_client_negotiates_with_qemu(void **state)
{
    VfmSession session = first_client("{\"execute\":\"qmp_capabilities\"}");

    assert_int_equal(session.qemu, VFM_QEMU_READY);
    assert_int_equal(session.client, VFM_CLIENT_READY);
    assert_true(session.oob_offered);
    assert_false(session.oob_enabled);
}

static void test_a_refused_negotiation_changes_nothing(void **state)
{
    VfmSession session = {0};
    char *reply;

    vfm_session_connect(&session);
    qemu_says(&session, GREETING);
    vfm_session_greeted(&session);
    assert_int_equal(command(&session, "{\"execute\":\"stop\"}", &reply), VFM_SESSION_FORWARD);
    qemu_says(&session, "{\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"\"}}");
    assert_int_equal(session.qemu, VFM_QEMU_GREETED);
}

static void test_later_clients_are_answered_here(void **state)
{
    VfmSession session = first_client("{\"execute\":\"qmp_capabilities\"}");
    g_autofree char *early = NULL, *done = NULL, *again = NULL;

    vfm_session_disconnect(&session);
    vfm_session_connect(&session);
    vfm_session_greeted(&session);
    assert_int_equal(command(&session, "{\"execute\":\"stop\",\"id\":1}", &early), VFM_SESSION_ANSWER);
    assert_non_null(strstr(early, "\"id\": 1, \"error\": {\"class\": \"CommandNotFound\""));
    assert_int_equal(command(&session, "{\"execute\":\"qmp_capabilities\",\"id\":\"libvirt-1\"}", &done),
                     VFM_SESSION_ANSWER);
    assert_string_equal(done, "{\"return\": {}, \"id\": \"libvirt-1\"}\r\n");
    assert_int_equal(session.client, VFM_CLIENT_READY);
    assert_int_equal(command(&session, "{\"execute\":\"stop\"}", &again), VFM_SESSION_FORWARD);
}

static void test_oob_is_what_the_first_negotiation_made_it(void **state)
{
    const char *with = "{\"execute\":\"qmp_capabilities\",\"arguments\":{\"enable\":[\"oob\"]}}";
    VfmSession session = first_client(with);
    g_autofree char *plain = NULL, *refused = NULL, *late = NULL;
    char *none;

    assert_true(session.oob_enabled);
    assert_int_equal(command(&session, "{\"exec-oob\":\"yank\"}", &none), VFM_SESSION_FORWARD);
    vfm_session_connect(&session);
    vfm_session_greeted(&session);
    assert_int_equal(command(&session, "{\"execute\":\"qmp_capabilities\"}", &plain), VFM_SESSION_ANSWER);
    assert_int_equal(command(&session, "{\"exec-oob\":\"yank\"}", &refused), VFM_SESSION_ANSWER);
    assert_non_null(strstr(refused, "exec-oob' is unexpected"));
    session = first_client("{\"execute\":\"qmp_capabilities\"}");
    vfm_session_connect(&session);
    vfm_session_greeted(&session);
    assert_int_equal(command(&session, with, &late), VFM_SESSION_ANSWER);
    assert_non_null(strstr(late, "error"));
    assert_int_equal(session.client, VFM_CLIENT_GREETED);
}

static void test_replies_are_one_ascii_line(void **state)
{
    g_autofree char *reply = vfm_reply_error((VfmSlice){"[1,\n2]", 6}, "a \"b\"\n\xc3\xa4 \xff \xf0\x9f\x98\x80");
    g_autofree char *event = vfm_reply_event("VFIOMEM_GUARD", "{\"a\": 1}");
    VfmMessage message;

    assert_string_equal(reply, "{\"id\": [1, 2], \"error\": {\"class\": \"GenericError\", \"desc\": "
                               "\"a \\\"b\\\"\\u000a\\u00e4 \\ufffd \\ud83d\\ude00\"}}\r\n");
    assert_true(vfm_message_read(&message, event, strlen(event)));
    assert_true(vfm_slice_is_string(message.event, "VFIOMEM_GUARD"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_client_negotiates_with_qemu),
        cmocka_unit_test(test_a_refused_negotiation_changes_nothing),
        cmocka_unit_test(test_later_clients_are_answered_here),
        cmocka_unit_test(test_oob_is_what_the_first_negotiation_made_it),
        cmocka_unit_test(test_replies_are_one_ascii_line),
    };

    return cmocka_run_group_tests_name("qmp-session", tests, NULL, NULL);
}
