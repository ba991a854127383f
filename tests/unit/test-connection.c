/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The libvirt module against libvirt's own test driver (test:///default: one running domain "test", one
 * network "default"), which needs no daemon. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "connection.h"
#include "error.h"

#define URI "test:///default"

static void test_domain_xml(void **state)
{
    g_autoptr(GError) error = NULL;
    unsigned libvirt = 0, hypervisor = 0;
    g_autofree char *xml = vfm_connection_domain_xml(URI, "test", false, &libvirt, &hypervisor, &error);
    g_autofree char *by_uuid = NULL;
    g_autofree char *missing = NULL;

    assert_null(error);
    assert_non_null(strstr(xml, "<name>test</name>"));
    assert_true(libvirt >= 9000000);
    assert_int_equal(hypervisor, 2);
    by_uuid = vfm_connection_domain_xml(URI, "6695eb01-f6a4-8304-79aa-97f2502e193f", true, NULL, NULL, &error);
    assert_null(error);
    assert_non_null(strstr(by_uuid, "<name>test</name>"));
    missing = vfm_connection_domain_xml(URI, "nobody", false, NULL, NULL, &error);
    assert_null(missing);
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT));
    assert_non_null(strstr(error->message, "nobody"));
}

static void test_uri(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_false(vfm_connection_versions("nonsense:///x", NULL, NULL, &error));
    assert_non_null(error);
    assert_non_null(strstr(error->message, "nonsense:///x"));
}

static void test_names(void **state)
{
    g_autoptr(GError) error = NULL;
    g_auto(GStrv) names = vfm_connection_domain_names(URI, &error);

    assert_null(error);
    assert_string_equal(names[0], "test");
    assert_null(names[1]);
}

static void test_define(void **state)
{
    g_autoptr(GError) error = NULL;

    assert_true(vfm_connection_define(
        URI, "<domain type='test'><name>new</name><memory>1024</memory><os><type>hvm</type></os></domain>", &error));
    assert_null(error);
    assert_false(vfm_connection_define(URI, "<domain type='test'><name>new", &error));
    assert_true(error->domain == VFM_INPUT_ERROR);
    g_clear_error(&error);
    /* An element that the schema does not know: --validate. */
    assert_false(vfm_connection_define(
        URI, "<domain type='test'><name>n2</name><memory>1024</memory><os><type>hvm</type></os><nonsense/></domain>",
        &error));
    assert_true(error->domain == VFM_INPUT_ERROR);
}

static void test_monitor(void **state)
{
    g_autoptr(GError) error = NULL;

    /* The test driver has no monitor: libvirt's own words arrive, nothing crashes. */
    assert_null(vfm_connection_monitor(URI, "test", "{\"execute\":\"query-status\"}", &error));
    assert_non_null(error);
    assert_non_null(strstr(error->message, "'test'"));
}

static void test_resolve(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmDomain) domain = vfm_domain_new();
    VfmAssigned *assigned;

    assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE);
    assigned->network = g_strdup("default"); /* NAT: no device at all */
    assigned->unresolved = true;
    assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);
    assigned->address = g_strdup("0000:01:00.0");
    assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE);
    assigned->network = g_strdup("nowhere");
    assigned->unresolved = true;

    assert_true(vfm_connection_resolve(URI, domain, &error));
    assert_null(error);
    assert_int_equal(domain->assigned->len, 2);
    assigned = domain->assigned->pdata[0];
    assert_string_equal(assigned->address, "0000:01:00.0");
    assigned = domain->assigned->pdata[1];
    assert_string_equal(assigned->network, "nowhere");
    assert_true(assigned->unresolved);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_domain_xml), cmocka_unit_test(test_uri),     cmocka_unit_test(test_names),
        cmocka_unit_test(test_define),     cmocka_unit_test(test_monitor), cmocka_unit_test(test_resolve),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
