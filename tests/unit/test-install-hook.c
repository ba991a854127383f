/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Installing the hook into a tree the test makes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"
#include "install_hook.h"

typedef struct {
    char *root, *entry, *program;
} Tree;

static int make_tree(void **state)
{
    Tree *tree = g_new0(Tree, 1);

    tree->root = g_dir_make_tmp("vfiomem-install-XXXXXX", NULL);
    assert_non_null(tree->root);
    tree->entry = g_build_filename(tree->root, "etc/libvirt/hooks/qemu.d/50-vfiomem", NULL);
    tree->program = g_build_filename(tree->root, "vfiomem-hook", NULL);
    assert_true(g_file_set_contents(tree->program, "#!/bin/sh\n", -1, NULL));
    assert_int_equal(chmod(tree->program, 0755), 0);
    *state = tree;
    return 0;
}

static int drop_tree(void **state)
{
    Tree *tree = *state;
    g_autofree char *command = g_strdup_printf("rm -rf '%s'", tree->root);

    assert_int_equal(system(command), 0);
    g_free(tree->root);
    g_free(tree->entry);
    g_free(tree->program);
    g_free(tree);
    return 0;
}

/* Runs it and returns the report, NULL with @error if it failed. */
static char *install(const Tree *tree, bool remove, bool dry_run, GError **error)
{
    const VfmHookInstall wish = {.root = tree->root, .program = tree->program, .remove = remove, .dry_run = dry_run};
    g_autoptr(GString) report = g_string_new(NULL);

    if (!vfm_hook_install(&wish, report, error))
        return NULL;
    return g_string_free(g_steal_pointer(&report), FALSE);
}

static void test_install_and_remove(void **state)
{
    const Tree *tree = *state;
    g_autofree char *dry = install(tree, false, true, NULL);
    g_autofree char *made = NULL, *again = NULL, *target = NULL, *removed = NULL, *nothing = NULL;

    assert_non_null(strstr(dry, "would make"));
    assert_false(g_file_test(tree->entry, G_FILE_TEST_IS_SYMLINK));
    made = install(tree, false, false, NULL);
    assert_non_null(strstr(made, "made "));
    assert_non_null(strstr(made, "not running"));
    target = g_file_read_link(tree->entry, NULL);
    assert_string_equal(target, tree->program);
    again = install(tree, false, false, NULL);
    assert_non_null(strstr(again, "there already"));

    g_free(g_steal_pointer(&dry));
    dry = install(tree, true, true, NULL);
    assert_non_null(strstr(dry, "would remove"));
    assert_true(g_file_test(tree->entry, G_FILE_TEST_IS_SYMLINK));
    removed = install(tree, true, false, NULL);
    assert_non_null(strstr(removed, "removed "));
    assert_false(g_file_test(tree->entry, G_FILE_TEST_IS_SYMLINK));
    nothing = install(tree, true, false, NULL);
    assert_non_null(strstr(nothing, "nothing to remove"));
}

static void test_others(void **state)
{
    const Tree *tree = *state;
    g_autofree char *folder = g_path_get_dirname(tree->entry);
    g_autofree char *other = g_build_filename(folder, "10-other", NULL);
    g_autofree char *plain = g_build_filename(folder, "20-not-executable", NULL);
    g_autofree char *report = NULL, *text = NULL;

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_true(g_file_set_contents(other, "theirs", -1, NULL));
    assert_int_equal(chmod(other, 0755), 0);
    assert_true(g_file_set_contents(plain, "theirs", -1, NULL));
    assert_int_equal(chmod(plain, 0644), 0);
    report = install(tree, false, false, NULL);
    assert_non_null(strstr(report, "10-other"));
    assert_null(strstr(report, "20-not-executable"));
    assert_true(g_file_get_contents(other, &text, NULL, NULL));
    assert_string_equal(text, "theirs");
}

static void test_taken(void **state)
{
    const Tree *tree = *state;
    g_autofree char *folder = g_path_get_dirname(tree->entry);
    g_autoptr(GError) error = NULL;

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_true(g_file_set_contents(tree->entry, "theirs", -1, NULL));
    assert_null(install(tree, false, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    g_clear_error(&error);
    assert_null(install(tree, true, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    assert_true(g_file_test(tree->entry, G_FILE_TEST_IS_REGULAR));
    g_clear_error(&error);
    assert_int_equal(unlink(tree->entry), 0);
    assert_int_equal(symlink("/usr/bin/other-tool", tree->entry), 0);
    assert_null(install(tree, false, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
}

static void test_moved_and_missing(void **state)
{
    Tree *tree = *state;
    g_autofree char *folder = g_path_get_dirname(tree->entry);
    g_autofree char *report = NULL;
    g_autoptr(GError) error = NULL;

    /* A link of ours from an earlier place is replaced. */
    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_int_equal(symlink("/old/place/vfiomem-hook", tree->entry), 0);
    report = install(tree, false, false, &error);
    assert_non_null(strstr(report, "/old/place/vfiomem-hook"));
    assert_int_equal(unlink(tree->program), 0);
    assert_null(install(tree, false, false, &error));
    assert_true(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE));
}

/* A daemon in the tree's /proc; btime 1000, started 500 ticks later. */
static void put_daemon(const Tree *tree, const char *started)
{
    g_autofree char *command = g_strdup_printf(
        "cd '%s' && mkdir -p run proc/77 && echo 77 > run/libvirtd.pid && echo libvirtd > proc/77/comm && "
        "printf 'cpu 1\nbtime 1000\n' > proc/stat && "
        "echo '77 (lib) virtd) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 %s 0' > proc/77/stat",
        tree->root, started);

    assert_int_equal(system(command), 0);
}

static void test_restart(void **state)
{
    const Tree *tree = *state;
    g_autofree char *folder = g_path_get_dirname(tree->entry);
    g_autofree char *other = g_build_filename(folder, "10-other", NULL);
    g_autofree char *alone = NULL, *late = NULL, *early = NULL, *stale = NULL;

    put_daemon(tree, "500");
    alone = install(tree, false, true, NULL);
    assert_non_null(strstr(alone, "systemctl restart libvirtd"));

    /* Another hook, but younger than the daemon: it was not there when the daemon looked. */
    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_true(g_file_set_contents(other, "theirs", -1, NULL));
    assert_int_equal(chmod(other, 0755), 0);
    late = install(tree, false, true, NULL);
    assert_non_null(strstr(late, "systemctl restart libvirtd"));

    /* A daemon that starts in the far future is younger than the hook. */
    put_daemon(tree, "99999999999999");
    early = install(tree, false, true, NULL);
    assert_non_null(strstr(early, "calls qemu hooks already"));

    /* The PID is somebody else's by now. */
    g_autofree char *comm = g_build_filename(tree->root, "proc/77/comm", NULL);
    assert_true(g_file_set_contents(comm, "bash\n", -1, NULL));
    stale = install(tree, false, true, NULL);
    assert_non_null(strstr(stale, "not running"));
}

/* Debian enforces a profile for libvirtd, in which /usr/local/bin does not occur. */
static void test_apparmor(void **state)
{
    const Tree *tree = *state;
    g_autofree char *profiles = g_build_filename(tree->root, "sys/kernel/security/apparmor/profiles", NULL);
    g_autofree char *folder = g_path_get_dirname(profiles);
    g_autofree char *local = g_build_filename(tree->root, "etc/apparmor.d/local", NULL);
    g_autofree char *rules = g_build_filename(local, "usr.sbin.libvirtd", NULL);
    g_autofree char *rule = g_strdup_printf("  %s PUx,\n", tree->program);
    g_autofree char *complaining = NULL, *allowed = NULL;
    const VfmHookInstall in_system = {.root = tree->root, .program = "/usr/bin/env", .dry_run = true};
    g_autoptr(GString) report = g_string_new(NULL);
    g_autoptr(GError) error = NULL;

    assert_int_equal(g_mkdir_with_parents(folder, 0755), 0);
    assert_int_equal(g_mkdir_with_parents(local, 0755), 0);
    assert_true(g_file_set_contents(profiles, "lsb_release (enforce)\nlibvirtd (enforce)\n", -1, NULL));
    assert_null(install(tree, false, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    assert_non_null(strstr(error->message, "AppArmor"));
    assert_false(g_file_test(tree->entry, G_FILE_TEST_IS_SYMLINK));
    assert_true(vfm_hook_install(&in_system, report, NULL));

    assert_true(g_file_set_contents(rules, rule, -1, NULL));
    allowed = install(tree, false, true, NULL);
    assert_non_null(allowed);
    assert_int_equal(unlink(rules), 0);
    assert_true(g_file_set_contents(profiles, "libvirtd (complain)\nother//libvirtd (enforce)\n", -1, NULL));
    complaining = install(tree, false, true, NULL);
    assert_non_null(complaining);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_install_and_remove, make_tree, drop_tree),
        cmocka_unit_test_setup_teardown(test_others, make_tree, drop_tree),
        cmocka_unit_test_setup_teardown(test_taken, make_tree, drop_tree),
        cmocka_unit_test_setup_teardown(test_moved_and_missing, make_tree, drop_tree),
        cmocka_unit_test_setup_teardown(test_restart, make_tree, drop_tree),
        cmocka_unit_test_setup_teardown(test_apparmor, make_tree, drop_tree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
