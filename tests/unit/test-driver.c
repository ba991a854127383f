/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The lifecycle's table: which operation reaches which member, and where a veto counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "driver.h"
#include "error.h"

static int calls[VFM_LIFECYCLE_UNKNOWN + 1];
static int reports;

static bool veto(const VfmLifecycleEvent *event, GError **error)
{
    calls[event->point]++;
    g_set_error(error, VFM_REFUSED, VFM_REFUSED_POLICY, "no");
    return false;
}

static void report(VfmSeverity severity, const char *text, void *data)
{
    assert_int_equal(severity, VFM_WARNING);
    assert_string_equal(text, "no");
    reports++;
}

static const VfmDriverOps stubborn = {"stubborn", veto, veto, veto, veto, veto, veto, veto, veto, veto};

static void test_names(void **state)
{
    static const char *const operations[] = {"prepare", "start",   "started",   "stopped", "release",
                                             "migrate", "restore", "reconnect", "attach"};

    for (int point = 0; point < VFM_LIFECYCLE_UNKNOWN; point++) {
        assert_int_equal(vfm_lifecycle_from_operation(operations[point]), point);
        assert_string_equal(vfm_lifecycle_name((VfmLifecycle)point), operations[point]);
    }
    assert_int_equal(vfm_lifecycle_from_operation("unknown"), VFM_LIFECYCLE_UNKNOWN);
    assert_int_equal(vfm_lifecycle_from_operation(""), VFM_LIFECYCLE_UNKNOWN);
}

static void test_veto(void **state)
{
    /* docs/hooks.rst: a failing reconnect kills the guest; stopped and release ignore it. */
    static const bool counts[] = {true, true, false, false, false, true, true, false, false};

    for (int point = 0; point < VFM_LIFECYCLE_UNKNOWN; point++) {
        VfmLifecycleEvent event = {.point = (VfmLifecycle)point, .report = report};
        g_autoptr(GError) error = NULL;

        reports = 0;
        assert_int_equal(vfm_driver_call(&stubborn, &event, &error), !counts[point]);
        assert_int_equal(calls[point], 1);
        assert_int_equal(error != NULL, counts[point]);
        assert_int_equal(reports, counts[point] ? 0 : 1);
    }
}

static void test_absent(void **state)
{
    const VfmDriverOps idle = {.name = "idle"};

    for (int point = 0; point <= VFM_LIFECYCLE_UNKNOWN; point++) {
        VfmLifecycleEvent event = {.point = (VfmLifecycle)point, .report = report};
        g_autoptr(GError) error = NULL;

        assert_true(vfm_driver_call(&idle, &event, &error));
        assert_null(error);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_veto),
        cmocka_unit_test(test_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
