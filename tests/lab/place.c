/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "place.h"

#include "backend_iommufd.h"
#include "backend_type1.h"
#include "kernel_view.h"
#include "vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define MAX_GROUPS 64
static int group_fds[MAX_GROUPS]; /* 0: not open. A test program is the one place where that may be global */

bool place_is_iommufd(void)
{
    const char *name = g_getenv("VFIOMEM_LAB_BACKEND");
    if (g_strcmp0(name, "iommufd") && g_strcmp0(name, "type1"))
        g_error("VFIOMEM_LAB_BACKEND must be type1 or iommufd: this program runs in the lab (tests/lab/lab)");
    return !g_strcmp0(name, "iommufd");
}

const char *place_device(unsigned index, bool shared)
{
    const char *variable = shared ? "LAB_GROUP" : "LAB_DEVICES";
    const char *list = g_getenv(variable);
    g_auto(GStrv) names = g_strsplit_set(list ? list : "", " ", -1);

    for (unsigned i = 0, seen = 0; names[i]; i++)
        if (names[i][0] && seen++ == index)
            return g_intern_string(names[i]);
    g_error("%s=\"%s\" has no device %u: start the lab with more", variable, list ? list : "", index);
}

int place_group(const char *address)
{
    g_autoptr(GError) error = NULL;
    VfmVfioPlace place;
    if (!vfm_vfio_find("/sys", address, &place, &error))
        g_error("%s", error->message);
    return place.group;
}

VfmBackend *place_backend(void)
{
    g_autoptr(GError) error = NULL;
    int fd = place_is_iommufd() ? vfm_vfio_open_iommufd(&error) : vfm_vfio_open_container(&error);
    VfmBackend *backend = NULL;

    if (fd >= 0)
        backend = place_is_iommufd() ? vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_PROCESS, &error)
                                     : vfm_backend_type1_new(fd, &error);
    if (!backend)
        g_error("%s", error->message);
    return backend;
}

int place_open(const char *address)
{
    g_autoptr(GError) error = NULL;
    VfmVfioPlace place;
    int fd;

    if (!vfm_vfio_find("/sys", address, &place, &error))
        g_error("%s", error->message);
    if (place_is_iommufd()) {
        fd = vfm_vfio_open_cdev(place.cdev, &error);
    } else {
        g_assert(place.group < MAX_GROUPS);
        if (!group_fds[place.group])
            group_fds[place.group] = vfm_vfio_open_group(place.group, &error);
        fd = error ? -1 : fcntl(group_fds[place.group], F_DUPFD_CLOEXEC, 0);
    }
    if (fd < 0)
        g_error("%s: %s", address, error ? error->message : g_strerror(errno));
    return fd;
}

uint64_t place_held(void)
{
    return place_is_iommufd() ? kernel_pinned() : kernel_locked();
}

void place_close_groups(void)
{
    for (unsigned i = 0; i < MAX_GROUPS; i++) {
        if (group_fds[i] > 0)
            close(group_fds[i]);
        group_fds[i] = 0;
    }
}
