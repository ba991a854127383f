/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file_read.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static char *too_large(const char *name, gsize max, const char *what, GError **error)
{
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "%s: larger than %u MiB, %s", name, (unsigned)(max >> 20),
                what);
    return NULL;
}

char *vfm_fd_read(int fd, const char *name, gsize max, const char *what, gsize *length, GError **error)
{
    g_autofree char *text = NULL;
    gsize room = 16384, filled = 0;
    struct stat info;

    if (fstat(fd, &info) < 0) {
        vfm_set_system_error(error, errno, "%s: stat", name);
        return NULL;
    }
    if (S_ISREG(info.st_mode)) {
        if ((guint64)info.st_size > max)
            return too_large(name, max, what, error);
        /* One more, so that the end is seen without growing; files of /proc say 0. */
        room = MAX(room, (gsize)info.st_size + 1);
    }
    text = g_malloc(room + 1);
    for (;;) {
        ssize_t got;

        if (filled == room) {
            room *= 2;
            text = g_realloc(text, room + 1);
        }
        got = read(fd, text + filled, room - filled);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            vfm_set_system_error(error, errno, "%s: read", name);
            return NULL;
        }
        if (got == 0)
            break;
        filled += (gsize)got;
        if (filled > max)
            return too_large(name, max, what, error);
    }
    text[filled] = '\0';
    *length = filled;
    return g_steal_pointer(&text);
}

char *vfm_file_read(const char *path, gsize max, const char *what, gsize *length, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    char *text;

    if (fd < 0) {
        vfm_set_system_error(error, errno, "%s: open", path);
        return NULL;
    }
    text = vfm_fd_read(fd, path, max, what, length, error);
    close(fd);
    return text;
}
