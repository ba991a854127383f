/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "emulator_argv.h"

#define CHARDEV "socket,id=charmonitor,fd=23,server=on,wait=off"
#define MON "chardev=charmonitor,id=monitor,mode=control"

static void expect_none(const char *const *argv)
{
    VfmMonitorArgument monitor;

    assert_false(vfm_emulator_find_monitor((char *const *)argv, &monitor));
}

static void test_finds_libvirts_monitor(void **state)
{
    const char *const argv[] = {"qemu", "-chardev", "pty,id=charserial0", "-chardev", CHARDEV, "-mon", MON, NULL};
    const char *const old[] = {"qemu", "--chardev", "socket,id=m,fd=4,server,nowait", "--mon", "chardev=m,mode=control",
                               NULL};
    /* libvirt 12.8. */
    const char *const object[] = {"qemu",
                                  "-object",
                                  "{\"qom-type\":\"secret\",\"id\":\"masterKey0\"}",
                                  "-chardev",
                                  CHARDEV,
                                  "-object",
                                  "{\"qom-type\":\"monitor-qmp\",\"id\":\"monitor\",\"chardev\":\"charmonitor\"}",
                                  NULL};
    VfmMonitorArgument monitor;

    assert_true(vfm_emulator_find_monitor((char *const *)object, &monitor));
    assert_int_equal(monitor.index, 4);
    assert_true(vfm_emulator_find_monitor((char *const *)argv, &monitor));
    assert_int_equal(monitor.index, 4);
    assert_int_equal(monitor.fd, 23);
    assert_true(vfm_emulator_find_monitor((char *const *)old, &monitor));
    assert_int_equal(monitor.fd, 4);
}

static void test_leaves_everything_else_alone(void **state)
{
    const char *const probing[] = {"qemu", "-S", "-qmp", "unix:/x/qmp.monitor,server=on,wait=off", "-daemonize", NULL};
    const char *const human[] = {"qemu", "-chardev", CHARDEV, "-mon", "chardev=charmonitor,mode=readline", NULL};
    const char *const readline[] = {"qemu",
                                    "-chardev",
                                    CHARDEV,
                                    "-object",
                                    "{\"qom-type\":\"monitor-hmp\",\"id\":\"m\",\"chardev\":\"charmonitor\"}",
                                    NULL};
    const char *const other[] = {"qemu", "-chardev", CHARDEV, "-mon", "chardev=charmonitor2,mode=control", NULL};
    const char *const client[] = {"qemu", "-chardev", "socket,id=charmonitor,fd=23", "-mon", MON, NULL};
    const char *const path[] = {"qemu", "-chardev", "socket,id=charmonitor,path=/x,server=on", "-mon", MON, NULL};
    const char *const number[] = {"qemu", "-chardev", "socket,id=charmonitor,fd=2x,server=on", "-mon", MON, NULL};
    const char *const cut[] = {"qemu", "-mon", MON, "-chardev", NULL};
    const char *const none[] = {"qemu", NULL};

    expect_none(probing);
    expect_none(human);
    expect_none(readline);
    expect_none(other);
    expect_none(client);
    expect_none(path);
    expect_none(number);
    expect_none(cut);
    expect_none(none);
}

static void test_rewrites_only_what_must_change(void **state)
{
    g_autofree char *plain = vfm_emulator_rewrite_chardev(CHARDEV, 23);
    g_autofree char *odd = vfm_emulator_rewrite_chardev("socket,id=a,,b,logfile=/x,,server=on,fd=1,nowait,server", 9);

    assert_string_equal(plain, "socket,id=charmonitor,fd=23,server=off");
    assert_string_equal(odd, "socket,id=a,,b,logfile=/x,,server=on,fd=9,server=off");
}

static void test_options_know_double_commas(void **state)
{
    g_autofree char *value = vfm_emulator_option("a,id=x,,y,,,id=z", "id");
    g_autofree char *absent = vfm_emulator_option("socket,idx=3", "id");
    g_autofree char *first = vfm_emulator_option("id", "id");

    assert_string_equal(value, "x,y,");
    assert_null(absent);
    assert_null(first);
}

static void test_names_lead_to_their_emulator(void **state)
{
    const char *const cases[][3] = {
        {"vfiomem-qemu", "x86_64", "qemu-system-x86_64"},
        {"vfiomem-qemu", "i686", "qemu-system-i386"},
        {"vfiomem-qemu", "ppc64le", "qemu-system-ppc64"},
        {"vfiomem-qemu-system-aarch64", "x86_64", "qemu-system-aarch64"},
        {"vfiomem-qemu-kvm", "x86_64", "qemu-kvm"},
        {"anything", "s390x", "qemu-system-s390x"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *target = vfm_emulator_target(cases[i][0], cases[i][1]);

        assert_string_equal(target, cases[i][2]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_finds_libvirts_monitor),         cmocka_unit_test(test_leaves_everything_else_alone),
        cmocka_unit_test(test_rewrites_only_what_must_change), cmocka_unit_test(test_options_know_double_commas),
        cmocka_unit_test(test_names_lead_to_their_emulator),
    };

    return cmocka_run_group_tests_name("emulator-argv", tests, NULL, NULL);
}
