/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pretend-limits.c - preloaded into the test's libvirtd, so that it may set
 * RLIMIT_MEMLOCK where the container has no CAP_SYS_RESOURCE.
 *
 * libvirt sets the limit in the child it is about to turn into QEMU; without
 * the capability no guest with a hostdev could start, and no test could see
 * what libvirt would have set. Here setting that one limit of any process
 * succeeds, is applied as far as the kernel lets us, and is noted in the file
 * named by PRETEND_LIMITS_LOG as "<pid> <soft limit in bytes>".
 * All other limits go to the kernel as they are.
 */
#undef _FILE_OFFSET_BITS /* both the plain and the 64-bit names are defined here */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(pid_t pid, unsigned long long limit)
{
    const char *path = getenv("PRETEND_LIMITS_LOG");
    char line[64];
    int fd, length;

    if (!path)
        return;
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return;
    length = snprintf(line, sizeof line, "%d %llu\n", (int)(pid ? pid : getpid()), limit);
    if (write(fd, line, (size_t)length) != length)
        _exit(126); /* a test that reads a wrong note would be worse */
    close(fd);
}

static int set_limit(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *set, struct rlimit64 *old)
{
    long status = syscall(SYS_prlimit64, pid, resource, set, old);

    if (resource == RLIMIT_MEMLOCK && set) {
        note(pid, set->rlim_cur);
        return 0;
    }
    return (int)status;
}

int prlimit64(pid_t pid, enum __rlimit_resource resource, const struct rlimit64 *set, struct rlimit64 *old)
{
    return set_limit(pid, resource, set, old);
}

int prlimit(pid_t pid, enum __rlimit_resource resource, const struct rlimit *set, struct rlimit *old)
{
    return set_limit(pid, resource, (const struct rlimit64 *)set, (struct rlimit64 *)old);
}

int setrlimit64(enum __rlimit_resource resource, const struct rlimit64 *set)
{
    return set_limit(0, resource, set, NULL);
}

int setrlimit(enum __rlimit_resource resource, const struct rlimit *set)
{
    return set_limit(0, resource, (const struct rlimit64 *)set, NULL);
}
