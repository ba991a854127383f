/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Children that answer, die, lie and flood: shell one-liners in the driver's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib.h>
#include <string.h>
#include <unistd.h>

#include "hook_child.h"

static VfmChildResult result;

static void run(const char *script, const char *input)
{
    char *argv[] = {(char *)"/bin/sh", (char *)"-c", (char *)script, NULL};

    memset(&result, 0xa5, sizeof result);
    vfm_hook_child_run(argv, input, strlen(input), &result);
}

static void test_consents(void **state)
{
    const char *at = result.answer, *line;
    size_t length;

    run("read x; echo \"warning: got $x\"; echo 'noise'; echo 'warning: two'", "hello\n");
    assert_int_equal(result.outcome, VFM_CHILD_CONSENTS);
    at = result.answer;
    assert_int_equal(vfm_hook_child_next(&at, "warning: ", &line, &length), 1);
    assert_int_equal(length, strlen("got hello"));
    assert_memory_equal(line, "got hello", length);
    assert_int_equal(vfm_hook_child_next(&at, "warning: ", &line, &length), 1);
    assert_memory_equal(line, "two", 3);
    assert_int_equal(vfm_hook_child_next(&at, "warning: ", &line, &length), 0);
}

static void test_refuses(void **state)
{
    run("echo 'warning: w'; echo 'refuse: because'; exit 1", "");
    assert_int_equal(result.outcome, VFM_CHILD_REFUSES);
    assert_string_equal(result.sentence, "because");
    run("echo 'unusable: no XML'; exit 2", "");
    assert_int_equal(result.outcome, VFM_CHILD_UNUSABLE);
    assert_string_equal(result.sentence, "no XML");
}

static void test_broken(void **state)
{
    run("kill -SEGV $$", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    assert_non_null(strstr(result.sentence, "signal 11"));
    run("echo 'warning: w'; echo 'libxml2.so.2: cannot open shared object file' >&2; exit 127", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    assert_string_equal(result.sentence, "exit status 127 (libxml2.so.2: cannot open shared object file)");
    /* A status without its sentence is no verdict. */
    run("exit 1", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    run("exit 2", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    /* Nor is a sentence from one that was killed after it. */
    run("echo 'refuse: no'; kill -KILL $$", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
}

static void test_missing(void **state)
{
    char *argv[] = {(char *)"/proc/no-such-driver", NULL};

    vfm_hook_child_run(argv, "", 0, &result);
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    assert_non_null(strstr(result.sentence, "/proc/no-such-driver: No such file"));
}

static void test_flood(void **state)
{
    g_autofree char *input = g_strnfill(4 * 1024 * 1024, 'x');

    /* More than a pipe holds in, more than the answer holds out, and nobody waits for anybody. */
    run("head -c 1000000 /dev/zero | tr '\\0' 'a'; exit 0", input);
    assert_int_equal(result.outcome, VFM_CHILD_CONSENTS);
    assert_int_equal(strlen(result.answer), sizeof result.answer - 1);
    run("head -c 100000 /dev/zero | tr '\\0' 'a'; exit 3", "");
    assert_int_equal(result.outcome, VFM_CHILD_BROKEN);
    assert_true(strlen(result.sentence) < 400);
}

static void test_limits(void **state)
{
    run("ulimit -c; ulimit -n; ulimit -t; echo \"$(ulimit -f)\" | grep -q '^0$' || echo 'writes files'", "");
    assert_int_equal(result.outcome, VFM_CHILD_CONSENTS);
    assert_string_equal(result.answer, "0\n64\n10\n");
    run("grep NoNewPrivs /proc/self/status", "");
    assert_string_equal(result.answer, "NoNewPrivs:\t1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_consents), cmocka_unit_test(test_refuses), cmocka_unit_test(test_broken),
        cmocka_unit_test(test_missing),  cmocka_unit_test(test_flood),   cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
