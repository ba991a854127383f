/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * watch-host PID FROM TO SECONDS - how long a process takes to lock memory. Runs in L1.
 *
 * Waits until more than FROM KiB are locked (VmLck) and then until TO are. Prints "watch: FIRST LAST", milliseconds
 * since its own start until the first and the last; or "watch failed" when SECONDS are over.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t locked(int fd)
{
    char text[4096], *line;
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

    if (n <= 0) {
        puts("watch failed: the process is gone");
        exit(1);
    }
    text[n] = '\0';
    line = strstr(text, "\nVmLck:");
    return line ? strtoull(line + strlen("\nVmLck:"), NULL, 10) : 0;
}

int main(int argc, char **argv)
{
    uint64_t start = now(), first = 0, from, to, until;
    char path[64];
    int fd;

    if (argc != 5) {
        fprintf(stderr, "usage: watch-host PID FROM TO SECONDS\n");
        return 2;
    }
    snprintf(path, sizeof(path), "/proc/%d/status", atoi(argv[1]));
    fd = open(path, O_RDONLY);
    from = strtoull(argv[2], NULL, 10);
    to = strtoull(argv[3], NULL, 10);
    until = start + strtoull(argv[4], NULL, 10) * 1000;
    while (now() < until) {
        uint64_t is = locked(fd);

        if (!first && is > from)
            first = now() - start;
        if (is >= to) {
            printf("watch: %llu %llu\n", (unsigned long long)first, (unsigned long long)(now() - start));
            return 0;
        }
        usleep(2000);
    }
    printf("watch failed: %llu KiB are locked\n", (unsigned long long)locked(fd));
    return 1;
}
