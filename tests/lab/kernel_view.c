/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "kernel_view.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <linux/capability.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* All of a small file. Without allocation: some are read thousands of times. */
static void read_text(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t got;

    if (fd < 0)
        g_error("%s: %s", path, g_strerror(errno));
    while ((got = read(fd, text + length, room - 1 - length)) > 0)
        length += (size_t)got;
    close(fd);
    text[length] = '\0';
}

/* The number after @key in a file of "key number" lines. */
static uint64_t number_in(const char *path, const char *key)
{
    char text[16384];

    read_text(path, text, sizeof(text));
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, key, strlen(key)) == 0)
            return strtoull(line + strlen(key), NULL, 10);
    }
    g_error("%s has no %s", path, key);
}

uint64_t kernel_locked(void)
{
    return number_in("/proc/self/status", "VmLck:") * 1024;
}

uint64_t kernel_pinned(void)
{
    return number_in("/proc/self/status", "VmPin:") * 1024;
}

int64_t kernel_pins(void)
{
    return (int64_t)(number_in("/proc/vmstat", "nr_foll_pin_acquired ") -
                     number_in("/proc/vmstat", "nr_foll_pin_released "));
}

int kernel_log_open(void)
{
    int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (log < 0 || lseek(log, 0, SEEK_END) < 0)
        g_error("/dev/kmsg: %s", g_strerror(errno));
    return log;
}

/* "DMAR: [DMA Write NO_PASID] Request device [00:10.0] fault addr 0x100000000 [fault reason 0x05] …" */
static bool is_fault(const char *line, uint64_t iova, uint64_t size)
{
    const char *address = strstr(line, "DMAR:") ? strstr(line, "fault addr ") : NULL;
    if (!address)
        return false;
    uint64_t at = strtoull(address + strlen("fault addr "), NULL, 16);
    return at >= (iova & ~0xfffULL) && at < iova + size;
}

bool kernel_log_fault(int log, uint64_t iova, uint64_t size)
{
    char record[2048];
    struct pollfd wait = {.fd = log, .events = POLLIN};
    gint64 end = g_get_monotonic_time() + 5 * G_USEC_PER_SEC;

    for (;;) {
        ssize_t got = read(log, record, sizeof(record) - 1);
        if (got > 0) {
            record[got] = '\0';
            if (is_fault(record, iova, size))
                return true;
        } else if (got < 0 && errno == EAGAIN) {
            gint64 left = end - g_get_monotonic_time();
            if (left <= 0)
                return false;
            poll(&wait, 1, (int)(left / 1000) + 1);
        } else if (got < 0 && errno != EPIPE) { /* EPIPE: records were overwritten before we read them */
            g_error("/dev/kmsg: %s", g_strerror(errno));
        }
    }
}

/* " 24:       3   DMAR-MSI    0-edge      dmar0": L1 has one CPU, so one column. */
uint64_t kernel_faults(void)
{
    char text[16384];

    read_text("/proc/interrupts", text, sizeof(text));
    char *name = strstr(text, "dmar");
    if (!name)
        g_error("/proc/interrupts has no IOMMU");
    *name = '\0';
    char *line = strrchr(text, '\n');
    char *count = strchr(line ? line : text, ':');
    return count ? strtoull(count + 1, NULL, 10) : 0;
}

bool kernel_fault_since(uint64_t before)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    for (unsigned tries = 0; tries < 2500; tries++) {
        if (kernel_faults() > before)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

void kernel_limit_locked(uint64_t bytes)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {{0}};
    struct rlimit limit;

    if (syscall(SYS_capget, &header, data) < 0)
        g_error("capget: %s", g_strerror(errno));
    if (bytes == UINT64_MAX)
        data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective |= CAP_TO_MASK(CAP_IPC_LOCK);
    else
        data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective &= ~CAP_TO_MASK(CAP_IPC_LOCK);
    if (syscall(SYS_capset, &header, data) < 0)
        g_error("capset: %s", g_strerror(errno));
    if (getrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        g_error("getrlimit: %s", g_strerror(errno));
    limit.rlim_cur = bytes == UINT64_MAX ? limit.rlim_max : bytes;
    if (limit.rlim_max < limit.rlim_cur)
        limit.rlim_max = limit.rlim_cur;
    if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0)
        g_error("setrlimit: %s", g_strerror(errno));
}
