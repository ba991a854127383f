/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The fallback for when nothing else works: it must find every way a device gets at memory, in any quoting, in
 * text that no parser would take. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "hook_scan.h"

static void found(const char *text, const char *words)
{
    const char *got = vfm_hook_scan(text, strlen(text));

    assert_non_null(got);
    assert_non_null(strstr(got, words));
}

static void nothing(const char *text)
{
    assert_null(vfm_hook_scan(text, strlen(text)));
}

static void test_devices(void **state)
{
    found("<hostdev mode='subsystem' type='pci' managed='yes'>", "PCI");
    found("<hostdev mode=\"subsystem\" type=\"pci\">", "PCI");
    found("<hostdev\n  type='mdev'", "mediated");
    found("<devices><hostdev mode='subsystem' type='usb'/><hostdev type='pci'", "PCI");
    found("<interface type='hostdev'>", "interface");
    found("<interface type='vdpa'>", "vdpa");
    found("<disk type='nvme' device='disk'>", "nvme");
    found("<disk type='vhostvdpa'>", "vhostvdpa");
    found("<mirror><source type='nvme'/>", "NVMe");
    found("<qemu:arg value='vfio-pci,host=01:00.0'/>", "vfio-pci");
    found("{\"driver\":\"vfio-user-pci\"}", "vfio-user-pci");
    found("<vfiomem:policy xmlns:vfiomem='urn:vfiomem:domain:1'>", "policy");
}

static void test_others(void **state)
{
    nothing("");
    nothing("<hostdev mode='subsystem' type='usb'>");
    nothing("<hostdev mode='subsystem' type='scsi'>");
    nothing("<interface type='network'><source network='default'/>");
    nothing("<disk type='file'><source file='/pci'/></disk>");
    /* The word is in another element than the one that counts. */
    nothing("<hostdev mode='subsystem' type='usb'><address type='pci'/>");
}

static void test_bytes(void **state)
{
    static const char with_nul[] = "garbage\0\377<hostdev\0type='pci'";

    assert_non_null(vfm_hook_scan(with_nul, sizeof with_nul - 1));
    assert_null(vfm_hook_scan("<hostdev type='pci'", 8)); /* never behind the end */
    assert_null(vfm_hook_scan("<hostdev type='pci'", 16));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
