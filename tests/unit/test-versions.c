/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Versions are read from a tree the test makes: soname links, a capabilities cache, a dpkg status file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib/gstdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"
#include "version_asked.h"
#include "versions.h"

static int make_root(void **state)
{
    char *root = g_dir_make_tmp("vfiomem-versions-XXXXXX", NULL);

    assert_non_null(root);
    *state = root;
    return 0;
}

static int drop_root(void **state)
{
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", (char *)*state);

    assert_int_equal(system(command), 0);
    g_free(*state);
    return 0;
}

static void put(const char *root, const char *path, const char *text)
{
    g_autofree char *file = g_build_filename(root, path, NULL);
    g_autofree char *folder = g_path_get_dirname(file);

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_true(g_file_set_contents(file, text, -1, NULL));
}

static void put_link(const char *root, const char *path, const char *target)
{
    g_autofree char *file = g_build_filename(root, path, NULL);
    g_autofree char *folder = g_path_get_dirname(file);

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    unlink(file);
    assert_int_equal(symlink(target, file), 0);
}

static void put_cache(const char *root, long long ctime, const char *version)
{
    g_autofree char *text = g_strdup_printf("<qemuCaps>\n  <emulator>/usr/bin/qemu-system-x86_64</emulator>\n"
                                            "  <qemuctime>%lld</qemuctime>\n  <selfvers>9000000</selfvers>\n"
                                            "  <flag name='kvm'/>\n  <version>%s</version>\n</qemuCaps>\n",
                                            ctime, version);

    /* sha256 of "/usr/bin/qemu-system-x86_64", as libvirt 9.0 names the file. */
    put(root,
        "var/cache/libvirt/qemu/capabilities/926803a9278e445ec919c2b6cbd8c1c449c75b26dcb1686b774314180376c725.xml",
        text);
}

static long long ctime_of(const char *root, const char *path)
{
    g_autofree char *file = g_build_filename(root, path, NULL);
    struct stat about;

    assert_int_equal(stat(file, &about), 0);
    return about.st_ctime;
}

static void test_libvirt(void **state)
{
    const char *root = *state;

    assert_int_equal(vfm_libvirt_version_below(root), 0);
    put_link(root, "usr/lib64/libvirt.so.0", "libvirt.so.0.12008.1");
    assert_int_equal(vfm_libvirt_version_below(root), VFM_VERSION(12, 8, 1));
    put_link(root, "usr/lib64/libvirt.so.0", "../lib/libvirt.so.0.9000.0");
    assert_int_equal(vfm_libvirt_version_below(root), VFM_VERSION(9, 0, 0));
    static const char *const odd[] = {
        "libvirt.so.0",     "libvirt.so.0.",         "libvirt.so.0.9000",
        "libvirt.so.0.x.1", "libvirt.so.0.9000.0.1", "libvirt.so.0.99999999999999999999.0",
        "elsewhere",
    };
    for (size_t i = 0; i < G_N_ELEMENTS(odd); i++) {
        put_link(root, "usr/lib64/libvirt.so.0", odd[i]);
        assert_int_equal(vfm_libvirt_version_below(root), 0);
    }
}

static void test_qemu_from_cache(void **state)
{
    const char *root = *state;

    assert_int_equal(vfm_qemu_version_below(root, NULL), 0);
    put(root, "usr/bin/qemu-system-x86_64", "");
    put_cache(root, ctime_of(root, "usr/bin/qemu-system-x86_64"), "7002022");
    assert_int_equal(vfm_qemu_version_below(root, NULL), VFM_VERSION(7, 2, 22));
    assert_int_equal(vfm_qemu_version_below(root, "/usr/bin/qemu-system-x86_64"), VFM_VERSION(7, 2, 22));
    assert_int_equal(vfm_qemu_version_below(root, "/usr/bin/other"), 0);

    /* Replaced since: what libvirt knew says nothing any more. */
    put_cache(root, ctime_of(root, "usr/bin/qemu-system-x86_64") - 1, "7002022");
    assert_int_equal(vfm_qemu_version_below(root, NULL), 0);
    put_cache(root, ctime_of(root, "usr/bin/qemu-system-x86_64"), "99999999999999999999999");
    assert_int_equal(vfm_qemu_version_below(root, NULL), 0);
}

static void test_qemu_from_dpkg(void **state)
{
    const char *root = *state;
    static const char other[] = "Package: qemu-system-data\nStatus: install ok installed\nVersion: 1:6.0\n\n";
    g_autofree char *installed = g_strconcat(
        other, "Package: qemu-system-common\nStatus: install ok installed\nVersion: 1:7.2+dfsg-7+deb12u18\n\n", NULL);
    g_autofree char *removed = g_strconcat(
        other, "Package: qemu-system-common\nStatus: deinstall ok config-files\nVersion: 1:7.2+dfsg-7\n\n", NULL);

    put(root, "var/lib/dpkg/status", installed);
    assert_int_equal(vfm_qemu_version_below(root, NULL), VFM_VERSION(7, 2, 0));
    assert_int_equal(vfm_qemu_version_below(root, "/opt/qemu/bin/qemu-system-x86_64"), 0);
    put(root, "var/lib/dpkg/status", removed);
    assert_int_equal(vfm_qemu_version_below(root, NULL), 0);
}

static void test_text(void **state)
{
    g_autofree char *known = vfm_version_text(VFM_VERSION(12, 8, 1));
    g_autofree char *unknown = vfm_version_text(0);

    assert_string_equal(known, "12.8.1");
    assert_string_equal(unknown, "unknown");
    assert_int_equal(vfm_version_parse("9.0.0"), VFM_VERSION(9, 0, 0));
    assert_int_equal(vfm_version_parse("11.1"), VFM_VERSION(11, 1, 0));
    assert_int_equal(vfm_version_parse("10"), VFM_VERSION(10, 0, 0));
    static const char *const odd[] = {"", ".", "9.", "9..0", "x", "9.0.0.0", "1000", "9.0x", "-1"};
    for (size_t i = 0; i < G_N_ELEMENTS(odd); i++)
        assert_int_equal(vfm_version_parse(odd[i]), 0);
}

/* A program that says it is QEMU, and is taken to be one if it runs as nobody. */
static char *put_program(const char *root, const char *name, mode_t mode, const char *says)
{
    g_autofree char *text = g_strdup_printf("#!/bin/sh\n[ \"$1\" = -version ] && [ -z \"$VFIOMEM_POLICY\" ] && "
                                            "[ $(id -u) = 65534 ] && [ $(id -g) = 65534 ] && echo '%s'\n",
                                            says);
    char *file = g_build_filename(root, name, NULL);

    put(root, name, text);
    assert_int_equal(chmod(file, mode), 0);
    return file;
}

static void test_emulators_are_asked(void **state)
{
    static const char old[] = "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18)";
    static const struct {
        const char *name, *says;
        mode_t mode;
        unsigned version;
    } programs[] = {
        {"vfiomem-qemu", old, 0755, VFM_VERSION(7, 2, 22)},
        {"vfiomem-qemu-kvm", "QEMU emulator version 11.1.0", 0555, VFM_VERSION(11, 1, 0)},
        {"vfiomem-qemu-9", "QEMU emulator version 9.0", 0755, VFM_VERSION(9, 0, 0)},
        {"vfiomem-qemu-odd", "QEMU emulator version soon", 0755, 0},
        {"vfiomem-qemu-silent", "", 0755, 0},
        {"vfiomem-qemu-group", old, 0775, 0},
        {"vfiomem-qemu-all", old, 0757, 0},
        {"vfiomem-qemu-idle", old, 0644, 0},
        {"qemu-system-x86_64", old, 0755, 0},
        {"reboot", old, 0755, 0},
    };
    const char *root = *state;
    g_autofree char *foreign = NULL, *disguise = g_build_filename(root, "vfiomem-qemu-link", NULL);
    g_autofree char *real = g_build_filename(root, "qemu-system-x86_64", NULL);

    if (geteuid() != 0)
        skip(); /* nothing that others own is started */
    g_setenv("VFIOMEM_POLICY", "owner=helper", TRUE);
    for (size_t i = 0; i < G_N_ELEMENTS(programs); i++) {
        g_autofree char *file = put_program(root, programs[i].name, programs[i].mode, programs[i].says);

        if (vfm_qemu_version_asked(file, NULL) != programs[i].version)
            fail_msg("%s: %u", programs[i].name, vfm_qemu_version_asked(file, NULL));
    }
    g_unsetenv("VFIOMEM_POLICY");
    put_link(root, "vfiomem-qemu-link", "vfiomem-qemu-kvm");
    assert_int_equal(vfm_qemu_version_asked(disguise, NULL), VFM_VERSION(11, 1, 0));
    assert_int_equal(vfm_qemu_version_asked(disguise, real), VFM_VERSION(7, 2, 22));
    put_link(root, "vfiomem-qemu-link", "reboot");
    assert_int_equal(vfm_qemu_version_asked(disguise, NULL), 0);
    assert_int_equal(vfm_qemu_version_asked(real, disguise), 0);
    foreign = put_program(root, "vfiomem-qemu-foreign", 0755, old);
    assert_int_equal(chown(foreign, 1000, 1000), 0);
    assert_int_equal(vfm_qemu_version_asked(foreign, NULL), 0);
    assert_int_equal(vfm_qemu_version_asked("/nowhere/vfiomem-qemu", NULL), 0);
    assert_int_equal(vfm_qemu_version_asked("vfiomem-qemu", NULL), 0);
    assert_int_equal(vfm_qemu_version_asked(NULL, NULL), 0);
}

static void test_wrappers_are_known_by_name(void **state)
{
    assert_true(vfm_emulator_is_wrapper("/usr/bin/vfiomem-qemu"));
    assert_true(vfm_emulator_is_wrapper("/opt/vfiomem-qemu-system-aarch64"));
    assert_false(vfm_emulator_is_wrapper("/usr/bin/qemu-system-x86_64"));
    assert_false(vfm_emulator_is_wrapper("/opt/vfiomem-qemu/qemu"));
    assert_false(vfm_emulator_is_wrapper(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_libvirt, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_qemu_from_cache, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_qemu_from_dpkg, make_root, drop_root),
        cmocka_unit_test_setup_teardown(test_emulators_are_asked, make_root, drop_root),
        cmocka_unit_test(test_wrappers_are_known_by_name),
        cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
