/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy_record.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UUID_LENGTH 36

/* The path for the UUID at the start of @line; -1 if there is none, so that no other path can be made. */
static int path_of(char *path, const char *folder, const char *line, size_t length)
{
    if (length < UUID_LENGTH || (length > UUID_LENGTH && line[UUID_LENGTH] != ' ')) {
        errno = EINVAL;
        return -1;
    }
    for (size_t i = 0; i < UUID_LENGTH; i++) {
        if (!isxdigit((unsigned char)line[i]) && line[i] != '-') {
            errno = EINVAL;
            return -1;
        }
    }
    if (snprintf(path, PATH_MAX, "%s/%.*s.policy", folder, UUID_LENGTH, line) >= PATH_MAX) {
        errno = ENAMETOOLONG;
        return -1;
    }
    return 0;
}

static int write_all(int fd, const char *text, size_t length)
{
    while (length) {
        ssize_t n = write(fd, text, length);

        if (n < 0 && errno != EINTR)
            return -1;
        if (n > 0) {
            text += n;
            length -= (size_t)n;
        }
    }
    return write(fd, "\n", 1) == 1 ? 0 : -1;
}

int vfm_policy_record_write(const char *folder, const char *line, size_t length)
{
    char path[PATH_MAX], temporary[PATH_MAX + 8];
    int fd, status;

    if (path_of(path, folder, line, length) < 0)
        return -1;
    /* QEMU's user goes through it, whatever umask the daemon has. */
    if (mkdir(folder, 0755) == 0)
        status = chmod(folder, 0755);
    else
        status = errno == EEXIST ? 0 : -1;
    if (status < 0)
        return -1;
    snprintf(temporary, sizeof temporary, "%s.new", path);
    unlink(temporary);
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -1;
    /* It reads the file as well. */
    status = fchmod(fd, 0644);
    if (status == 0)
        status = length > UUID_LENGTH ? write_all(fd, line + UUID_LENGTH + 1, length - UUID_LENGTH - 1) : 0;
    if (close(fd) < 0)
        status = -1;
    if (status == 0)
        status = rename(temporary, path);
    if (status < 0)
        unlink(temporary);
    return status;
}

int vfm_policy_record_remove(const char *folder, const char *line, size_t length)
{
    char path[PATH_MAX];

    if (path_of(path, folder, line, length) < 0)
        return -1;
    if (unlink(path) < 0 && errno != ENOENT)
        return -1;
    rmdir(folder); /* ours alone, and gone with the last policy */
    return 0;
}
