/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-check.c - what a whole `vfiomem check` costs.
 *
 *   bench-check VFIOMEM XMLLINT DOMAIN.xml DIRECTORY
 *
 * 1. The process `vfiomem check DOMAIN.xml` against `xmllint --noout DOMAIN.xml`: both in turn, so that both meet
 *    the same machine; the median of each, and their ratio. Aim: at most 2.0.
 * 2. 1,000 domains in one call against 100: time per domain, and the ratio. Aim: linear, at most 1.1. The domains are
 *    those of DIRECTORY, linked over and over into directories of their own.
 */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ROUNDS 300
#define BULK_ROUNDS 7

extern char **environ;

/* Runs it with its output thrown away. Seconds. Ends the benchmark if it cannot be run, or says that its input is
 * unusable. */
static double run(char **argv)
{
    posix_spawn_file_actions_t actions;
    gint64 start;
    pid_t pid;
    int status, failure;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
    start = g_get_monotonic_time();
    failure = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
    if (failure || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) > 1) {
        fprintf(stderr, "%s %s: %s\n", argv[0], argv[1], failure ? g_strerror(failure) : "failed");
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
    return (double)(g_get_monotonic_time() - start) / G_USEC_PER_SEC;
}

static gint compare_doubles(gconstpointer a, gconstpointer b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(double *values, guint count)
{
    qsort(values, count, sizeof(*values), compare_doubles);
    return values[count / 2];
}

static void bench_one(char *vfiomem, char *xmllint, char *domain)
{
    char *check[] = {vfiomem, (char *)"check", domain, NULL};
    char *lint[] = {xmllint, (char *)"--noout", domain, NULL};
    double checks[ROUNDS], lints[ROUNDS], ours, theirs;

    run(check), run(lint);
    for (guint i = 0; i < ROUNDS; i++) {
        lints[i] = run(lint);
        checks[i] = run(check);
    }
    ours = median(checks, ROUNDS);
    theirs = median(lints, ROUNDS);
    printf("vfiomem check %.2f ms, xmllint --noout %.2f ms: ratio %.2f (aim: at most 2.0)\n", ours * 1e3, theirs * 1e3,
           ours / theirs);
}

/* A directory with @count domains. */
static char *make_directory(const char *source, guint count)
{
    char *path = g_dir_make_tmp("vfiomem-bench-XXXXXX", NULL);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GDir *dir = g_dir_open(source, 0, NULL);
    const char *name;

    if (!path || !dir) {
        fprintf(stderr, "%s: %s\n", source, g_strerror(errno));
        exit(1);
    }
    while ((name = g_dir_read_name(dir)))
        if (g_str_has_suffix(name, ".xml"))
            g_ptr_array_add(names, g_build_filename(source, name, NULL));
    g_dir_close(dir);
    for (guint i = 0; i < count; i++) {
        g_autofree char *link = g_strdup_printf("%s/%04u.xml", path, i);

        if (!names->len || symlink(names->pdata[i % names->len], link) < 0) {
            fprintf(stderr, "%s: %s\n", link, g_strerror(errno));
            exit(1);
        }
    }
    return path;
}

static void remove_directory(const char *path)
{
    GDir *dir = g_dir_open(path, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *file = g_build_filename(path, name, NULL);

        g_unlink(file);
    }
    if (dir)
        g_dir_close(dir);
    g_rmdir(path);
}

static void bench_many(char *vfiomem, const char *source)
{
    g_autofree char *few = make_directory(source, 100);
    g_autofree char *many = make_directory(source, 1000);
    char *check_few[] = {vfiomem, (char *)"check", few, NULL};
    char *check_many[] = {vfiomem, (char *)"check", many, NULL};
    double of_few[BULK_ROUNDS], of_many[BULK_ROUNDS], one_of_few, one_of_many;

    for (guint i = 0; i < BULK_ROUNDS; i++) {
        of_few[i] = run(check_few);
        of_many[i] = run(check_many);
    }
    remove_directory(few);
    remove_directory(many);
    one_of_few = median(of_few, BULK_ROUNDS) / 100;
    one_of_many = median(of_many, BULK_ROUNDS) / 1000;
    printf("one of 1000 domains %.3f ms, one of 100 domains %.3f ms: ratio %.2f (aim: at most 1.1)\n",
           one_of_many * 1e3, one_of_few * 1e3, one_of_many / one_of_few);
}

int main(int argc, char **argv)
{
    if (argc != 5) {
        fprintf(stderr, "usage: bench-check VFIOMEM XMLLINT DOMAIN.xml DIRECTORY\n");
        return 2;
    }
    bench_one(argv[1], argv[2], argv[3]);
    bench_many(argv[1], argv[4]);
    return 0;
}
