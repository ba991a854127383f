/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "descriptors.h"

#include <dirent.h>
#include <stdlib.h>
#include <unistd.h>

void vfm_descriptors_open(GArray *fds)
{
    DIR *dir = opendir("/proc/self/fd");
    const struct dirent *entry;

    while (dir && (entry = readdir(dir))) {
        int fd = atoi(entry->d_name);

        if (entry->d_name[0] != '.' && fd != dirfd(dir))
            g_array_append_val(fds, fd);
    }
    if (dir)
        closedir(dir);
}

static gint compare(gconstpointer a, gconstpointer b)
{
    int left = *(const int *)a, right = *(const int *)b;

    return left < right ? -1 : left > right;
}

void vfm_descriptors_close_others(GArray *owned)
{
    unsigned first = 0;

    g_array_sort(owned, compare);
    for (unsigned i = 0; i < owned->len; i++) {
        int fd = g_array_index(owned, int, i);

        if (fd < 0)
            continue;
        if ((unsigned)fd > first)
            close_range(first, (unsigned)fd - 1, 0);
        first = (unsigned)fd + 1;
    }
    close_range(first, ~0u, 0);
}
