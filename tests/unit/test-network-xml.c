/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "error.h"
#include "network_xml.h"

static void expect(const char *xml, bool wanted)
{
    g_autoptr(GError) error = NULL;
    bool hostdev = !wanted;

    assert_true(vfm_network_xml_is_hostdev(xml, strlen(xml), &hostdev, &error));
    assert_null(error);
    assert_int_equal(hostdev, wanted);
}

static void test_modes(void **state)
{
    expect("<network><name>a</name><forward mode='hostdev' managed='yes'><pf dev='eth3'/></forward></network>", true);
    expect("<network><name>a</name><forward mode='nat'/></network>", false);
    expect("<network><name>a</name><forward/></network>", false);
    expect("<network><name>a</name></network>", false);
    /* Only the forward element counts, not text or comments that look like it. */
    expect("<network><name>forward mode='hostdev'</name><!-- <forward mode='hostdev'/> --></network>", false);
}

static void test_bad(void **state)
{
    static const char *const bad[] = {"", "<network>", "<domain/>", "hello", "<network><forward mode='hostdev'"};

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autoptr(GError) error = NULL;
        bool hostdev;

        assert_false(vfm_network_xml_is_hostdev(bad[i], strlen(bad[i]), &hostdev, &error));
        assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_modes), cmocka_unit_test(test_bad)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
