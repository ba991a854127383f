/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The real vfiomem-helper-devices, whose worker is killed while a mediator asks it things: every request is answered
 * once, in order, under its number. No device is there, so adding one is an error; that is an answer, too.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices_wire.h"

#include <glib.h>

enum { KILLS = 200, IN_FLIGHT = 5 };

typedef struct {
    pid_t pid;
    int control;
    char *folder;
} Helper;

/* @qemu is the process whose end ends it. */
static void start(Helper *helper, pid_t qemu)
{
    const char *program = g_getenv("VFIOMEM_DEVICES");
    int control[2], ready[2];
    char said[4096] = "";
    size_t length = 0;
    ssize_t n;

    assert_non_null(program);
    helper->folder = g_dir_make_tmp("vfiomem-devices-XXXXXX", NULL);
    assert_non_null(helper->folder);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(pipe(ready), 0);
    helper->pid = fork();
    if (helper->pid == 0) {
        g_autofree char *control_fd = g_strdup_printf("--control-fd=%d", dup(control[1]));
        g_autofree char *ready_fd = g_strdup_printf("--ready-fd=%d", ready[1]);
        g_autofree char *qemu_pid = g_strdup_printf("--qemu-pid=%d", (int)qemu);
        g_autofree char *folder = g_strdup_printf("--folder=%s", helper->folder);

        close(ready[0]);
        freopen("/dev/null", "w", stderr); /* a line for each worker */
        execl(program, program, control_fd, ready_fd, qemu_pid, folder, NULL);
        _exit(127);
    }
    close(ready[1]);
    close(control[1]);
    helper->control = control[0];
    while ((n = read(ready[0], said + length, sizeof(said) - 1 - length)) > 0)
        length += (size_t)n;
    close(ready[0]);
    assert_string_equal(said, "ready\n");
}

static bool kill_worker(const Helper *helper)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)helper->pid, (int)helper->pid);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && *text && kill((pid_t)atoi(text), SIGKILL) == 0;
}

static void ask(const Helper *helper, uint64_t number)
{
    static const char *const requests[] = {"status", "add 0000:ff:1f.7", "forget /nowhere", "nonsense"};
    char text[128];
    int length = g_snprintf(text, sizeof(text), "%lu %s\n", number, requests[number % 4]);

    assert_int_equal(send(helper->control, text, (size_t)length, 0), length);
}

static void hear(const Helper *helper, uint64_t number)
{
    g_autofree char *text = g_malloc0(VFM_DEVICES_LINE_MAX + 1);
    char *end;

    do {
        struct pollfd slot = {.fd = helper->control, .events = POLLIN};

        assert_int_equal(poll(&slot, 1, 20000), 1); /* else a request or its answer was lost */
        memset(text, 0, VFM_DEVICES_LINE_MAX + 1);
        assert_true(recv(helper->control, text, VFM_DEVICES_LINE_MAX, 0) > 0);
    } while (g_str_has_prefix(text, "event "));
    assert_int_equal(strtoull(text, &end, 10), number);
    if (number % 4 == 0)
        assert_true(g_str_has_prefix(end, " {\"owner\":\"helper\""));
    else
        assert_true(g_str_has_prefix(end, " error "));
}

static unsigned descriptors(const Helper *helper)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)helper->pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    return n;
}

static void test_requests_are_answered_once(void **state)
{
    g_autoptr(GRand) rand = g_rand_new();
    uint64_t asked = 0, heard = 0;
    unsigned kills = 0, at_rest;
    Helper helper;

    start(&helper, getpid());
    ask(&helper, ++asked);
    hear(&helper, ++heard);
    at_rest = descriptors(&helper);
    while (kills < KILLS) {
        while (asked - heard < IN_FLIGHT)
            ask(&helper, ++asked);
        if (g_rand_int_range(rand, 0, 3) == 0)
            kills += kill_worker(&helper);
        hear(&helper, ++heard);
    }
    while (heard < asked)
        hear(&helper, ++heard);
    /* A worker that was killed may answer before it dies, and its successor clears up then: a few more, so that it is
     * over. What is left stays. */
    for (unsigned i = 0; i < 100 && descriptors(&helper) != at_rest; i++) {
        ask(&helper, ++asked);
        hear(&helper, ++heard);
    }
    print_message("%lu requests, %u deaths\n", asked, kills);
    assert_int_equal(descriptors(&helper), at_rest);
    /* Only the end of QEMU ends it, which is this process here; the mediator's end does not. */
    close(helper.control);
    assert_int_equal(waitpid(helper.pid, NULL, WNOHANG), 0);
    kill(helper.pid, SIGKILL); /* its worker ends with this process */
    waitpid(helper.pid, NULL, 0);
    rmdir(helper.folder);
    g_free(helper.folder);
}

static pid_t make_qemu(void)
{
    pid_t test = getpid(), pid = fork();

    if (pid == 0) {
        /* Of a test that failed nothing is left. */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (getppid() == test)
            pause();
        _exit(1);
    }
    return pid;
}

/* A mediator that asks and does not read holds up neither other things nor the end. */
static void test_the_end_behind_a_mediator_that_does_not_read(void **state)
{
    enum { PACKETS = 8, LINES = 200 };
    pid_t qemu = make_qemu();
    Helper helper;
    int status;

    start(&helper, qemu);
    for (unsigned packet = 0; packet < PACKETS; packet++) {
        g_autoptr(GString) requests = g_string_new(NULL);

        for (unsigned line = 0; line < LINES; line++)
            g_string_append_printf(requests, "%u limit\n", packet * LINES + line);
        assert_int_equal(send(helper.control, requests->str, requests->len, 0), requests->len);
    }
    kill(qemu, SIGKILL);
    assert_int_equal(waitpid(qemu, NULL, 0), qemu);
    assert_int_equal(waitpid(helper.pid, &status, 0), helper.pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close(helper.control);
    assert_int_equal(rmdir(helper.folder), -1); /* it did that itself */
    g_free(helper.folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_requests_are_answered_once),
                                       cmocka_unit_test(test_the_end_behind_a_mediator_that_does_not_read)};

    return cmocka_run_group_tests_name("devices-takeover", tests, NULL, NULL);
}
