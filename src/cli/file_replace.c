/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "file_replace.h"
#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const char *text, gsize length)
{
    while (length) {
        ssize_t put = write(fd, text, length);

        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return false;
        text += put;
        length -= (gsize)put;
    }
    return true;
}

/* The owner may only be given away by root; a file that becomes ours is better than one not written. */
static bool take_over(int fd, const struct stat *info)
{
    if (fchown(fd, info->st_uid, info->st_gid) < 0 && errno != EPERM)
        return false;
    return fchmod(fd, info->st_mode & 07777) == 0;
}

static void sync_parent(const char *path)
{
    g_autofree char *parent = g_path_get_dirname(path);
    int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
}

bool vfm_file_replace(const char *path, const char *text, gsize length, GError **error)
{
    char *real = realpath(path, NULL);
    g_autofree char *beside = NULL;
    struct stat info;
    int fd = -1;
    bool done = false;

    if (real && stat(real, &info) == 0) {
        beside = g_strconcat(real, ".XXXXXX", NULL);
        fd = mkostemp(beside, O_CLOEXEC);
    }
    if (fd >= 0) {
        done = write_all(fd, text, length) && take_over(fd, &info) && fsync(fd) == 0 && rename(beside, real) == 0;
        if (!done)
            vfm_set_system_error(error, errno, "%s: write", path);
        close(fd);
        if (done)
            sync_parent(real);
        else
            unlink(beside);
    } else {
        vfm_set_system_error(error, errno, "%s: write", path);
    }
    free(real);
    return done;
}
