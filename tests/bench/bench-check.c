/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-check.c - what a whole `vfiomem check` costs.
 *
 *   bench-check VFIOMEM XMLLINT DOMAIN.xml DIRECTORY
 *
 * 1. The process `vfiomem check DOMAIN.xml` against `xmllint --noout DOMAIN.xml`: both in turn, so that both meet
 *    the same machine; the median of each, and their ratio. Aim: at most 2.0.
 * 2. Growth: what each domain adds between 100 and 1,000 in one call, against what each adds between 1 and 100; the
 *    start of the process is in neither. Aim: linear, at most 1.2. The domains are those of DIRECTORY, linked over
 *    and over into directories of their own.
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
#define BULK_ROUNDS 15

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
    static const guint counts[] = {1, 100, 1000};
    double times[G_N_ELEMENTS(counts)][BULK_ROUNDS], total[G_N_ELEMENTS(counts)], early, late;
    char *folders[G_N_ELEMENTS(counts)];

    for (guint i = 0; i < G_N_ELEMENTS(counts); i++)
        folders[i] = make_directory(source, counts[i]);
    for (guint round = 0; round < BULK_ROUNDS; round++) {
        for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
            char *check[] = {vfiomem, (char *)"check", folders[i], NULL};

            times[i][round] = run(check);
        }
    }
    for (guint i = 0; i < G_N_ELEMENTS(counts); i++) {
        remove_directory(folders[i]);
        g_free(folders[i]);
        total[i] = median(times[i], BULK_ROUNDS);
    }
    early = (total[1] - total[0]) / (counts[1] - counts[0]);
    late = (total[2] - total[1]) / (counts[2] - counts[1]);
    printf("1000 domains in one call %.0f ms; each adds %.3f ms up to 100 and %.3f ms from there: ratio %.2f (aim: at "
           "most 1.2)\n",
           total[2] * 1e3, early * 1e3, late * 1e3, late / early);
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
