/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "log.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

void vfm_log(const char *format, ...)
{
    struct pollfd out = {.fd = STDERR_FILENO, .events = POLLOUT};
    char line[512];
    va_list args;
    int length = g_snprintf(line, sizeof(line), "vfiomem: ");
    int more;

    va_start(args, format);
    more = g_vsnprintf(line + length, sizeof(line) - (gulong)length - 1, format, args);
    va_end(args);
    length = (int)MIN((size_t)(length + more), sizeof(line) - 2);
    line[length++] = '\n';
    /* A pipe that polls as writable takes PIPE_BUF bytes at once (pipe(7)). */
    if (poll(&out, 1, 0) == 1 && (out.revents & POLLOUT) && write(STDERR_FILENO, line, (size_t)length) < 0)
        return;
}
