/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook_child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CPU_SECONDS 10
#define WALL_MS 20000
#define ADDRESS_SPACE ((rlim_t)1 << 30)

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif

static void broken(VfmChildResult *result, const char *what, int errnum)
{
    result->outcome = VFM_CHILD_BROKEN;
    snprintf(result->sentence, sizeof result->sentence, "%s: %s", what, strerror(errnum));
}

static void limit(enum __rlimit_resource resource, rlim_t value)
{
    struct rlimit now;

    /* Never above what we were given: raising fails without the capability, and is not wanted. */
    if (getrlimit(resource, &now) < 0)
        return;
    if (now.rlim_max != RLIM_INFINITY && now.rlim_max < value)
        value = now.rlim_max;
    now.rlim_cur = now.rlim_max = value;
    setrlimit(resource, &now);
}

/* In the child: becomes @argv, or leaves the reason on standard output and exits 127. */
static void become(char *const argv[], int input, int output)
{
    sigset_t none;

    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    limit(RLIMIT_CPU, CPU_SECONDS);
    limit(RLIMIT_CORE, 0);
    limit(RLIMIT_FSIZE, 0);
    limit(RLIMIT_NOFILE, 64);
#ifndef UNDER_ASAN /* its shadow memory alone is 16 TiB of addresses */
    limit(RLIMIT_AS, ADDRESS_SPACE);
#endif
    if (dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(output, STDERR_FILENO) < 0)
        _exit(127);
    execv(argv[0], argv);
    dprintf(STDOUT_FILENO, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

/* A descriptor from which the input can be read: memory, so that nobody waits for anybody. */
static int input_descriptor(const char *input, size_t length)
{
    int fd = memfd_create("domain.xml", MFD_CLOEXEC);

    if (fd < 0)
        return -1;
    while (length > 0) {
        ssize_t done = write(fd, input, length);

        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            close(fd);
            return -1;
        }
        input += done;
        length -= (size_t)done;
    }
    if (lseek(fd, 0, SEEK_SET) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Reads until the child closes its end. Returns 0, or -1 when the time is up. */
static int read_answer(int fd, VfmChildResult *result)
{
    const long end = now_ms() + WALL_MS;
    size_t used = 0;

    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        char drop[4096];
        const size_t room = sizeof result->answer - 1 - used;
        const long left = end - now_ms();
        ssize_t got;

        if (left <= 0)
            return -1;
        if (poll(&ready, 1, (int)left) <= 0)
            continue; /* interrupted, or the time is up: seen above */
        got = read(fd, room ? result->answer + used : drop, room ? room : sizeof drop);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return 0;
        if (room) {
            used += (size_t)got;
            result->answer[used] = '\0';
        }
    }
}

int vfm_hook_child_next(const char **at, const char *prefix, const char **line, size_t *length)
{
    const size_t skip = strlen(prefix);

    while (**at) {
        const char *start = *at;
        const size_t size = strcspn(start, "\n");

        *at = start + size + (start[size] == '\n');
        if (size >= skip && memcmp(start, prefix, skip) == 0) {
            *line = start + skip;
            *length = size - skip;
            return 1;
        }
    }
    return 0;
}

static int take_sentence(VfmChildResult *result, const char *prefix)
{
    const char *at = result->answer, *line;
    size_t length;

    if (!vfm_hook_child_next(&at, prefix, &line, &length))
        return 0;
    snprintf(result->sentence, sizeof result->sentence, "%.*s", (int)length, line);
    return 1;
}

/* What a broken child said before its end: the first line of no known kind. */
static void add_last_words(VfmChildResult *result)
{
    static const char *const known[] = {"forget: ", "policy: ", "warning: ", "error: ", "refuse: ", "unusable: "};
    const char *at = result->answer, *line;
    size_t length;

    while (vfm_hook_child_next(&at, "", &line, &length)) {
        size_t used = strlen(result->sentence);
        int ours = length == 0;

        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            ours |= strncmp(line, known[i], strlen(known[i])) == 0;
        if (ours)
            continue;
        snprintf(result->sentence + used, sizeof result->sentence - used, " (%.*s)", length > 300 ? 300 : (int)length,
                 line);
        return;
    }
}

static void judge(VfmChildResult *result, int status, int late)
{
    if (late)
        snprintf(result->sentence, sizeof result->sentence, "no answer in %d seconds", WALL_MS / 1000);
    else if (WIFSIGNALED(status))
        snprintf(result->sentence, sizeof result->sentence, "killed by signal %d, %s", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else
        snprintf(result->sentence, sizeof result->sentence, "exit status %d", WEXITSTATUS(status));
    result->outcome = VFM_CHILD_BROKEN;
    if (!late && WIFEXITED(status)) {
        if (WEXITSTATUS(status) == 0)
            result->outcome = VFM_CHILD_CONSENTS;
        else if (WEXITSTATUS(status) == 1 && take_sentence(result, "refuse: "))
            result->outcome = VFM_CHILD_REFUSES;
        else if (WEXITSTATUS(status) == 2 && take_sentence(result, "unusable: "))
            result->outcome = VFM_CHILD_UNUSABLE;
    }
    if (result->outcome == VFM_CHILD_BROKEN)
        add_last_words(result);
}

void vfm_hook_child_run(char *const argv[], const char *input, size_t length, VfmChildResult *result)
{
    int ends[2], status = 0, late, fd;
    pid_t child;

    result->sentence[0] = result->answer[0] = '\0';
    fd = input_descriptor(input, length);
    if (fd < 0) {
        broken(result, "no memory file for the XML", errno);
        return;
    }
    if (pipe2(ends, O_CLOEXEC) < 0) {
        broken(result, "no pipe", errno);
        close(fd);
        return;
    }
    child = fork();
    if (child == 0)
        become(argv, fd, ends[1]);
    close(fd);
    close(ends[1]);
    if (child < 0) {
        broken(result, "no process", errno);
        close(ends[0]);
        return;
    }
    late = read_answer(ends[0], result) < 0;
    if (late)
        kill(child, SIGKILL);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    judge(result, status, late);
}
