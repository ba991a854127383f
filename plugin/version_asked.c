/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "version_asked.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <grp.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "versions.h"

#define WRAPPER "vfiomem-qemu"
#define SECONDS 5
#define NOBODY 65534
#define ANSWER_MAX 4096

/* The file at @path if it may be started, else -1. What was looked at is what will be started. */
static int open_trusted(const char *path, const char *prefix)
{
    int fd = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK); /* inherited: scripts are read through it */
    g_autofree char *link = g_strdup_printf("/proc/self/fd/%d", fd);
    char target[PATH_MAX];
    struct stat about;
    const char *name;
    ssize_t length;

    if (fd < 0)
        return -1;
    length = readlink(link, target, sizeof target - 1);
    target[MAX(length, 0)] = '\0';
    name = strrchr(target, '/');
    if (name && g_str_has_prefix(name + 1, prefix) && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) &&
        about.st_uid == 0 && !(about.st_mode & (S_IWGRP | S_IWOTH)))
        return fd;
    close(fd);
    return -1;
}

static void become(int fd, const char *path, int output)
{
    char *const argv[] = {(char *)path, (char *)"-version", NULL};
    /* What systemd gives libvirt's daemon, and it QEMU. */
    char *const environment[] = {(char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                 (char *)"LC_ALL=C", NULL};
    int null = open("/dev/null", O_RDWR);

    if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 || dup2(null, STDERR_FILENO) < 0)
        _exit(127);
    if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
        _exit(127);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    alarm(SECONDS);
    fexecve(fd, argv, environment);
    _exit(127);
}

/* What the program says, as far as it fits; "" if it can't be started. */
static char *ask(int fd, const char *path)
{
    char *answer = g_malloc0(ANSWER_MAX + 1);
    size_t used = 0;
    int ends[2];
    pid_t pid;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return answer;
    pid = fork();
    if (pid == 0)
        become(fd, path, ends[1]);
    close(ends[1]);
    while (pid > 0 && used < ANSWER_MAX) {
        ssize_t got = read(ends[0], answer + used, ANSWER_MAX - used);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(ends[0]);
    while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return answer;
}

bool vfm_emulator_is_wrapper(const char *emulator)
{
    const char *name = emulator ? strrchr(emulator, '/') : NULL;

    return name && g_str_has_prefix(name + 1, WRAPPER);
}

unsigned vfm_qemu_version_asked(const char *emulator, const char *real)
{
    static const char mark[] = "QEMU emulator version ";
    const char *path = real ? real : emulator, *at;
    g_autofree char *answer = NULL, *number = NULL;
    int fd = path && path[0] == '/' ? open_trusted(path, real ? "qemu" : WRAPPER) : -1;

    if (fd < 0)
        return 0;
    answer = ask(fd, path);
    close(fd);
    at = strstr(answer, mark);
    if (!at)
        return 0;
    at += strlen(mark);
    number = g_strndup(at, strspn(at, "0123456789."));
    return vfm_version_parse(number);
}
