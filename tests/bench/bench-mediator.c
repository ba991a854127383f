/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The monitor through the mediator against the direct socket and against a plain socat relay, in one run, taking turns.
 * Three real QEMUs that do nothing else. Prints medians and ratios; exits with 1 if a target of docs/mediator.md is
 * missed.
 *
 * usage: bench-mediator VFIOMEM-QEMU QEMU SOCAT
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <glib.h>

#define STATUS "{\"execute\":\"query-status\"}\r\n"
#define SCHEMA "{\"execute\":\"query-qmp-schema\"}\r\n"

enum { DIRECT, MEDIATED, SOCAT, WAYS };

static const char *const way_names[WAYS] = {"direct", "mediated", "socat"};

typedef struct {
    pid_t qemu, relay;
    char *path, *relay_path;
    int socket;
    char *buffer;
    size_t used;
    GArray *medians[2]; /* of double, microseconds, one a round: status, schema */
} Way;

static void die(const char *what)
{
    fprintf(stderr, "bench-mediator: %s: %s\n", what, strerror(errno));
    exit(2);
}

static struct sockaddr_un address(const char *path)
{
    struct sockaddr_un out = {.sun_family = AF_UNIX};

    g_strlcpy(out.sun_path, path, sizeof(out.sun_path));
    return out;
}

/* As libvirt does it: listens first, then hands the descriptor over. */
static pid_t start_qemu(const char *program, const char *real, const char *path)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un at = address(path);
    g_autofree char *chardev = g_strdup_printf("socket,id=charmonitor,fd=%d,server=on,wait=off", fd);
    pid_t pid;

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(fd, 1) < 0)
        die(path);
    pid = fork();
    if (pid == 0) {
        setenv("VFIOMEM_QEMU", real, 1);
        execl(program, program, "-display", "none", "-machine", "q35,accel=tcg", "-m", "64", "-S", "-nodefaults",
              "-chardev", chardev, "-mon", "chardev=charmonitor,id=monitor,mode=control", NULL);
        die(program);
    }
    close(fd);
    return pid;
}

static pid_t start_socat(const char *program, const char *listen_path, const char *connect_path)
{
    g_autofree char *from = g_strdup_printf("UNIX-LISTEN:%s", listen_path);
    g_autofree char *to = g_strdup_printf("UNIX-CONNECT:%s", connect_path);
    pid_t pid = fork();

    if (pid == 0) {
        execl(program, program, from, to, NULL);
        die(program);
    }
    return pid;
}

static void read_line(Way *way)
{
    for (;;) {
        ssize_t n;

        if (way->used && way->buffer[way->used - 1] == '\n') {
            way->used = 0;
            return;
        }
        n = read(way->socket, way->buffer + way->used, (1 << 20) - way->used);
        if (n <= 0)
            die("the monitor ended");
        way->used += (size_t)n;
    }
}

static double ask(Way *way, const char *command)
{
    struct timespec before, after;
    gint64 end;

    clock_gettime(CLOCK_MONOTONIC, &before);
    if (write(way->socket, command, strlen(command)) < 0)
        die("write");
    read_line(way);
    clock_gettime(CLOCK_MONOTONIC, &after);
    end = (after.tv_sec - before.tv_sec) * 1000000000ll + after.tv_nsec - before.tv_nsec;
    return (double)end / 1000.0;
}

static void connect_way(Way *way)
{
    const char *path = way->relay_path ? way->relay_path : way->path;
    struct sockaddr_un at = address(path);

    way->socket = socket(AF_UNIX, SOCK_STREAM, 0);
    for (int i = 0; connect(way->socket, (struct sockaddr *)&at, sizeof(at)) < 0; i++) {
        if (i > 500)
            die(path);
        g_usleep(10000); /* socat is not there yet */
    }
    way->buffer = g_malloc(1 << 20);
    read_line(way);
    ask(way, "{\"execute\":\"qmp_capabilities\"}\r\n");
    for (int i = 0; i < 2; i++)
        way->medians[i] = g_array_new(FALSE, FALSE, sizeof(double));
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static double median(GArray *values)
{
    qsort(values->data, values->len, sizeof(double), compare);
    return g_array_index(values, double, values->len / 2);
}

static void measure(Way *ways, int which, const char *command, int rounds, int block)
{
    g_autoptr(GArray) times = g_array_new(FALSE, FALSE, sizeof(double));

    for (int round = 0; round < rounds; round++) {
        for (int i = 0; i < WAYS; i++) {
            Way *way = &ways[(i + round) % WAYS]; /* nobody is always first */
            double middle;

            ask(way, command);
            g_array_set_size(times, 0);
            for (int k = 0; k < block; k++) {
                double time = ask(way, command);

                g_array_append_val(times, time);
            }
            middle = median(times);
            g_array_append_val(way->medians[which], middle);
        }
    }
}

/* Median over rounds of the ratio within a round: what else the machine does hits all ways of a round alike. */
static double ratio(const Way *ways, int which, int of, int to)
{
    g_autoptr(GArray) ratios = g_array_new(FALSE, FALSE, sizeof(double));

    for (guint i = 0; i < ways[of].medians[which]->len; i++) {
        double value =
            g_array_index(ways[of].medians[which], double, i) / g_array_index(ways[to].medians[which], double, i);

        g_array_append_val(ratios, value);
    }
    return median(ratios);
}

static long private_kib(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup", (int)pid), *text = NULL;
    long total = 0;

    if (!g_file_get_contents(path, &text, NULL, NULL))
        return -1;
    for (char *at = text; (at = strstr(at, "\nPrivate_")); at++) {
        long kib;

        if (sscanf(strchr(at, ':') + 1, "%ld", &kib) == 1 && !g_str_has_prefix(at + 1, "Private_Hugetlb"))
            total += kib;
    }
    return total;
}

/* Both processes of the helper beside the QEMU @qemu. */
static long helper_kib(pid_t qemu)
{
    g_autofree char *mark = g_strdup_printf("--qemu-pid=%d", (int)qemu);
    g_autoptr(GDir) dir = g_dir_open("/proc", 0, NULL);
    const char *name;
    long total = 0;

    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_strdup_printf("/proc/%s/cmdline", name), *text = NULL;
        gsize length = 0;

        if (g_ascii_isdigit(*name) && g_file_get_contents(path, &text, &length, NULL) &&
            memmem(text, length, mark, strlen(mark)))
            total += private_kib((pid_t)atoi(name));
    }
    return total;
}

int main(int argc, char **argv)
{
    g_autofree char *folder = g_dir_make_tmp("vfiomem-bench-XXXXXX", NULL);
    Way ways[WAYS] = {0};
    double ratios[3];
    bool good;
    long kib;

    if (argc != 4)
        return 2;
    for (int i = 0; i < WAYS; i++) {
        ways[i].path = g_strdup_printf("%s/%s", folder, way_names[i]);
        ways[i].qemu = start_qemu(i == MEDIATED ? argv[1] : argv[2], argv[2], ways[i].path);
    }
    ways[SOCAT].relay_path = g_strdup_printf("%s/relay", folder);
    ways[SOCAT].relay = start_socat(argv[3], ways[SOCAT].relay_path, ways[SOCAT].path);
    for (int i = 0; i < WAYS; i++)
        connect_way(&ways[i]);
    measure(ways, 0, STATUS, 100, 50);
    measure(ways, 1, SCHEMA, 30, 3);
    ratios[0] = ratio(ways, 0, MEDIATED, DIRECT);
    ratios[1] = ratio(ways, 0, MEDIATED, SOCAT);
    ratios[2] = ratio(ways, 1, MEDIATED, DIRECT);
    for (int i = 0; i < WAYS; i++)
        printf("%-9s query-status %7.1f us   query-qmp-schema %8.1f us\n", way_names[i], median(ways[i].medians[0]),
               median(ways[i].medians[1]));
    ask(&ways[MEDIATED], "{\"execute\":\"vfiomem-query-status\"}\r\n"); /* json-glib has been used, too */
    kib = helper_kib(ways[MEDIATED].qemu);
    printf("query-status through the mediator: %.3f of direct (at most 1.10), %.3f of socat (at most 1)\n", ratios[0],
           ratios[1]);
    printf("query-qmp-schema through the mediator: %.3f of direct (at most 1.10)\n", ratios[2]);
    printf("private memory of the helper's two processes: %ld KiB (at most 6144)\n", kib);
    good = ratios[0] <= 1.10 && ratios[1] <= 1 && ratios[2] <= 1.10 && kib <= 6144;
    for (int i = 0; i < WAYS; i++) {
        kill(ways[i].qemu, SIGTERM);
        if (ways[i].relay)
            kill(ways[i].relay, SIGTERM);
        waitpid(ways[i].qemu, NULL, 0);
        unlink(ways[i].path);
    }
    unlink(ways[SOCAT].relay_path);
    rmdir(folder);
    return good ? 0 : 1;
}
