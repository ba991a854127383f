/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Sizes have to mean what they mean to libvirt; the expectations were taken from `virsh define` of libvirt 9.0. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "error.h"
#include "nodeset.h"
#include "number.h"

#define KIB UINT64_C(1024)

static void test_units_are_libvirts(void **state)
{
    static const struct {
        const char *text, *unit;
        uint64_t kib;
    } cases[] = {
        {"4", "b", 1},
        {"4", "B", 1},
        {"4", "byte", 1},
        {"4", "Bytes", 1},
        {"1024", "bytes", 1},
        {"1025", "bytes", 2},
        {"0", "GiB", 0},
        {"4", NULL, 4},
        {"4", "", 4},
        {"4", "K", 4},
        {"4", "k", 4},
        {"4", "KB", 4},
        {"4", "kb", 4},
        {"4", "KiB", 4},
        {"4", "KIB", 4},
        {"4", "M", 4096},
        {"4", "MB", 3907},
        {"4", "mib", 4096},
        {"4", "G", 4194304},
        {"4", "gb", 3906250},
        {"4", "GiB", 4194304},
        {"4", "T", UINT64_C(4294967296)},
        {"4", "TB", UINT64_C(3906250000)},
        {"4", "TiB", UINT64_C(4294967296)},
        {"4", "P", UINT64_C(4398046511104)},
        {"4", "PB", UINT64_C(3906250000000)},
        {"4", "PiB", UINT64_C(4398046511104)},
        {"4", "E", UINT64_C(4503599627370496)},
        {"4", "EB", UINT64_C(3906250000000000)},
        {"4", "EiB", UINT64_C(4503599627370496)},
        {"7", "EiB", UINT64_C(7881299347898368)},
        {" 4096", NULL, 4096},
        {"+4096", NULL, 4096},
        {"9223372036854774783", "b", UINT64_C(9007199254740991)},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t bytes = 1;

        if (!vfm_memory_size_parse(cases[i].text, cases[i].unit, &bytes, &error))
            fail_msg("%s %s: %s", cases[i].text, cases[i].unit, error->message);
        if (bytes != cases[i].kib * KIB)
            fail_msg("%s %s: %" G_GUINT64_FORMAT " bytes", cases[i].text, cases[i].unit, bytes);
    }
}

static void test_what_libvirt_refuses_is_refused(void **state)
{
    static const struct {
        const char *text, *unit;
        int code;
    } cases[] = {
        {"4", "Ki", VFM_INPUT_SYNTAX},
        {"4", "bit", VFM_INPUT_SYNTAX},
        {"4", "XiB", VFM_INPUT_SYNTAX},
        {"4", "iB", VFM_INPUT_SYNTAX},
        {"4", "GiBs", VFM_INPUT_SYNTAX},
        {"4", " GiB", VFM_INPUT_SYNTAX},
        {"4096 ", NULL, VFM_INPUT_SYNTAX},
        {"0x1000", NULL, VFM_INPUT_SYNTAX},
        {"4096.5", NULL, VFM_INPUT_SYNTAX},
        {"4,096", NULL, VFM_INPUT_SYNTAX},
        {"", NULL, VFM_INPUT_SYNTAX},
        {"   ", NULL, VFM_INPUT_SYNTAX},
        {"much", NULL, VFM_INPUT_SYNTAX},
        {"+", NULL, VFM_INPUT_SYNTAX},
        {"-4096", NULL, VFM_INPUT_RANGE},
        {" -1", "GiB", VFM_INPUT_RANGE},
        {"16", "EiB", VFM_INPUT_RANGE},
        {"8", "EiB", VFM_INPUT_RANGE},
        {"10", "EB", VFM_INPUT_RANGE},
        {"9223372036854775807", "b", VFM_INPUT_RANGE},
        {"18446744073709551615", NULL, VFM_INPUT_RANGE},
        {"18446744073709551616", "b", VFM_INPUT_RANGE},
        {"99999999999999999999", NULL, VFM_INPUT_RANGE},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t bytes;

        if (vfm_memory_size_parse(cases[i].text, cases[i].unit, &bytes, &error))
            fail_msg("'%s' %s was taken as %" G_GUINT64_FORMAT, cases[i].text, cases[i].unit, bytes);
        assert_int_equal(error->domain, VFM_INPUT_ERROR);
        if (error->code != cases[i].code)
            fail_msg("'%s' %s: code %d, %s", cases[i].text, cases[i].unit, error->code, error->message);
    }
}

static void test_nodesets(void **state)
{
    static const struct {
        const char *text;
        const char *nodes; /* one character for each of 8 nodes; NULL: refused */
    } cases[] = {
        {"0", "x......."},
        {"0-3", "xxxx...."},
        {"0-3,^2", "xx.x...."},
        {"7,0", "x......x"},
        {" 1 , 2 ", ".xx....."},
        {"0-7,^0", ".xxxxxxx"},
        {"8", NULL},
        {"0-8", NULL},
        {"3-1", NULL},
        {"", NULL},
        {"a", NULL},
        {"1,", NULL},
        {"0,^0", NULL},
        {"-1", NULL},
        {"99999999999999999999", NULL},
        {"1 2", NULL},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(GError) error = NULL;
        bool set[8] = {false};
        bool good = vfm_nodeset_parse(cases[i].text, 8, set, &error);

        if (good != (cases[i].nodes != NULL))
            fail_msg("'%s': %s", cases[i].text, error ? error->message : "taken");
        for (int node = 0; good && node < 8; node++)
            assert_int_equal(set[node], cases[i].nodes[node] == 'x');
        assert_true(good || error->domain == VFM_INPUT_ERROR);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_units_are_libvirts),
        cmocka_unit_test(test_what_libvirt_refuses_is_refused),
        cmocka_unit_test(test_nodesets),
    };

    return cmocka_run_group_tests_name("number", tests, NULL, NULL);
}
