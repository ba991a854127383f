/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook_log.h"

#include <fcntl.h>
#include <stdio.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

static const char *word(int priority)
{
    return priority == LOG_ERR ? "error" : priority == LOG_WARNING ? "warning" : "info";
}

static void to_file(const VfmHookLog *log, int priority, const char *text, int length)
{
    const time_t now = time(NULL);
    struct tm utc;
    char stamp[32] = "";
    int fd = open(log->file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0640);

    if (fd < 0)
        return; /* a note that can't be written must not cost a guest its start */
    if (gmtime_r(&now, &utc))
        strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &utc);
    dprintf(fd, "%s %s: domain '%s', %s: %.*s\n", stamp, word(priority), log->domain, log->operation, length, text);
    close(fd);
}

void vfm_hook_log(const VfmHookLog *log, int priority, const char *text, int length)
{
    if (log->file) {
        to_file(log, priority, text, length);
    } else if (access("/dev/log", W_OK) == 0) {
        openlog("vfiomem-hook", LOG_PID, LOG_DAEMON);
        syslog(priority, "domain '%s', %s: %.*s", log->domain, log->operation, length, text);
        closelog();
    } else if (!log->quiet_stderr) {
        fprintf(stderr, "vfiomem-hook: %s: domain '%s', %s: %.*s\n", word(priority), log->domain, log->operation,
                length, text);
    }
}
