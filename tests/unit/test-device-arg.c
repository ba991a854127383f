/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "device_arg.h"
#include "error.h"

static void test_both_forms_say_the_same(void **state)
{
    static const struct {
        const char *text, *key, *value; /* NULL: absent */
    } cases[] = {
        {"vfio-pci,host=01:00.0", "driver", "vfio-pci"},
        {"vfio-pci,host=01:00.0", "host", "01:00.0"},
        {"vfio-pci,host=01:00.0", "id", NULL},
        {"driver=vfio-pci", "driver", "vfio-pci"},
        {"x,path=a,,b,,,c=d", "path", "a,b,"},
        {"x,path=a,,b,,,c=d", "c", "d"},
        {"x,a=1,a=2", "a", "2"},
        {"x,multifunction", "multifunction", "on"},
        {"x,a=", "a", ""},
        {"x,a=b=c", "a", "b=c"},
        {"x,,y", "driver", "x,y"},
        {"", "driver", NULL},
        {"{}", "driver", NULL},
        {" { \"driver\" : \"vfio-pci\" } ", "driver", "vfio-pci"},
        {"{'driver':'vfio-pci'}", "driver", "vfio-pci"},
        {"{\"a\":true,\"b\":false,\"c\":null,\"d\":-1.5e+3}", "a", "true"},
        {"{\"a\":true,\"b\":false,\"c\":null,\"d\":-1.5e+3}", "d", "-1.5e+3"},
        {"{\"socket\":{\"type\":\"unix\",\"path\":\"/x\"}}", "socket.path", "/x"},
        {"{\"a\":[1,{\"b\":2},[]],\"c\":3}", "a", "[1,{\"b\":2},[]]"},
        {"{\"a\":[1,{\"b\":2},[]],\"c\":3}", "b", NULL},
        {"{\"a\":[1,{\"b\":2},[]],\"c\":3}", "c", "3"},
        {"{\"a\":\"\\u00e4\\ud83d\\ude00\\n\\\"\\/\"}", "a", "\xc3\xa4\xf0\x9f\x98\x80\n\"/"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(cases[i].text, "driver", &error);

        if (!arg)
            fail_msg("%s: %s", cases[i].text, error->message);
        if (g_strcmp0(vfm_device_arg_get(arg, cases[i].key), cases[i].value) != 0)
            fail_msg("%s: %s is %s", cases[i].text, cases[i].key, vfm_device_arg_get(arg, cases[i].key));
    }
}

static void test_broken_arguments(void **state)
{
    static const char *const bad[] = {
        "x,=1",
        "=x",
        "{",
        "{}x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{,}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":+1}",
        "{\"a\":tru}",
        "{\"a\":\"x}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\ude00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\u0000\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":1,\"a\":2}",
        "{\"a\":{\"b\":1,\"b\":2}}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        g_autoptr(GError) error = NULL;
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(bad[i], "driver", &error);

        if (arg)
            fail_msg("%s was taken", bad[i]);
        assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
    }
}

static void test_depth_is_bounded(void **state)
{
    static const char *const parts[][3] = {{"{\"a\":", "{\"a\":", "}"}, {"{\"a\":", "[", "]"}};

    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
        for (int depth = VFM_DEVICE_ARG_DEPTH - 2; depth < VFM_DEVICE_ARG_DEPTH + 2; depth += 3) {
            g_autoptr(GString) text = g_string_new(parts[i][0]);
            g_autoptr(VfmDeviceArg) arg = NULL;

            for (int n = 0; n < depth; n++)
                g_string_append(text, parts[i][1]);
            g_string_append_c(text, '1');
            for (int n = 0; n < depth; n++)
                g_string_append(text, parts[i][2]);
            g_string_append_c(text, '}');
            arg = vfm_device_arg_parse(text->str, "driver", NULL);
            assert_int_equal(arg != NULL, depth < VFM_DEVICE_ARG_DEPTH);
        }
    }
}

static void test_properties_are_bounded(void **state)
{
    g_autoptr(GString) keyval = g_string_new("x");
    g_autoptr(GString) json = g_string_new("{");
    g_autoptr(GError) error = NULL;

    for (int i = 0; i <= VFM_DEVICE_ARG_PROPERTIES; i++) {
        g_string_append(keyval, ",k=1");
        g_string_append_printf(json, "\"k%d\":1,", i);
    }
    g_string_append(json, "\"z\":1}");
    assert_null(vfm_device_arg_parse(keyval->str, "driver", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE));
    g_clear_error(&error);
    assert_null(vfm_device_arg_parse(json->str, "driver", &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE));
}

static void test_sizes_are_qemus(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"4096", true, 4096},
        {"1B", true, 1},
        {"2k", true, 2048},
        {"2M", true, UINT64_C(2) << 20},
        {"1.5G", true, UINT64_C(3) << 29},
        {"0x200000", true, 0x200000},
        {"15E", true, UINT64_C(15) << 60},
        {"18446744073709551615", true, UINT64_MAX},
        {"16E", false, 0},
        {"18446744073709551616", false, 0},
        {"0x10000000000000000", false, 0},
        {"-1", false, 0},
        {"", false, 0},
        {"2MB", false, 0},
        {"2 M", false, 0},
        {"1.5", false, 0},
        {"M", false, 0},
        {"0xM", false, 0},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autofree char *text = g_strconcat("x,size=", cases[i].text, NULL);
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(text, "driver", NULL);
        g_autoptr(GError) error = NULL;
        VfmMaybe size;

        if (vfm_device_arg_size(arg, "size", &size, &error) != cases[i].good)
            fail_msg("%s: %s", text, error ? error->message : "taken");
        if (cases[i].good && (!size.set || size.value != cases[i].value))
            fail_msg("%s: %" G_GUINT64_FORMAT, text, size.value);
        assert_true(cases[i].good || error->domain == VFM_INPUT_ERROR);
    }
}

static void test_switches(void **state)
{
    g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse("x,a=on,b=no,c=true,d=maybe", "driver", NULL);
    g_autoptr(GError) error = NULL;
    VfmSwitch value;

    assert_true(vfm_device_arg_switch(arg, "a", &value, &error) && value == VFM_ON);
    assert_true(vfm_device_arg_switch(arg, "b", &value, &error) && value == VFM_OFF);
    assert_true(vfm_device_arg_switch(arg, "c", &value, &error) && value == VFM_ON);
    assert_true(vfm_device_arg_switch(arg, "e", &value, &error) && value == VFM_ABSENT);
    assert_false(vfm_device_arg_switch(arg, "d", &value, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX));
}

static void test_changes_keep_the_rest(void **state)
{
    static const struct {
        const char *before, *number, *off;
    } cases[] = {
        {"v,a=1,b=x,,y", "v,a=1,b=x,,y,k=7", "v,a=1,b=x,,y,k=off"},
        {"v,k=1,b=2", "v,k=7,b=2", "v,k=off,b=2"},
        {"v,k=1,k=2", "v,k=7,k=7", "v,k=off,k=off"},
        {"v,k,b=2", "v,k=7,b=2", "v,k=off,b=2"},
        {"{ \"a\" : \"}\" }", "{ \"a\" : \"}\",\"k\":7 }", "{ \"a\" : \"}\",\"k\":false }"},
        {"{}", "{\"k\":7}", "{\"k\":false}"},
        {"{\"k\": \"1\" , \"b\":2}", "{\"k\": 7 , \"b\":2}", "{\"k\": false , \"b\":2}"},
        {"{\"b\":{\"k\":1}}", "{\"b\":{\"k\":1},\"k\":7}", "{\"b\":{\"k\":1},\"k\":false}"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(cases[i].before, "driver", NULL);
        g_autofree char *number = vfm_device_arg_with_number(arg, "k", 7);
        g_autofree char *off = vfm_device_arg_with_switch(arg, "k", false);

        assert_string_equal(number, cases[i].number);
        assert_string_equal(off, cases[i].off);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_both_forms_say_the_same), cmocka_unit_test(test_broken_arguments),
        cmocka_unit_test(test_depth_is_bounded),        cmocka_unit_test(test_properties_are_bounded),
        cmocka_unit_test(test_sizes_are_qemus),         cmocka_unit_test(test_switches),
        cmocka_unit_test(test_changes_keep_the_rest),
    };

    return cmocka_run_group_tests_name("device-arg", tests, NULL, NULL);
}
