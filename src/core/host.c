/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host.h"

static void device_free(gpointer data)
{
    VfmHostDevice *device = data;

    g_free(device->address);
    g_free(device->driver);
    g_free(device->cdev);
    g_free(device);
}

static void group_free(gpointer data)
{
    VfmIommuGroup *group = data;

    g_free(group->type);
    g_ptr_array_unref(group->devices);
    g_array_unref(group->reserved);
    g_free(group);
}

VfmHost *vfm_host_new(void)
{
    VfmHost *host = g_new0(VfmHost, 1);

    host->hugepages = g_array_new(FALSE, TRUE, sizeof(VfmHostHugepage));
    host->groups = g_ptr_array_new_with_free_func(group_free);
    return host;
}

void vfm_host_free(VfmHost *host)
{
    if (!host)
        return;
    g_free(host->name);
    g_free(host->kernel);
    g_array_unref(host->hugepages);
    g_ptr_array_unref(host->groups);
    g_free(host);
}

VfmIommuGroup *vfm_host_add_group(VfmHost *host, unsigned id)
{
    VfmIommuGroup *group = g_new0(VfmIommuGroup, 1);

    group->id = id;
    group->devices = g_ptr_array_new_with_free_func(device_free);
    group->reserved = g_array_new(FALSE, TRUE, sizeof(VfmReserved));
    g_ptr_array_add(host->groups, group);
    return group;
}

VfmHostDevice *vfm_iommu_group_add_device(VfmIommuGroup *group, const char *address)
{
    VfmHostDevice *device = g_new0(VfmHostDevice, 1);

    device->address = g_strdup(address);
    g_ptr_array_add(group->devices, device);
    return device;
}

const VfmIommuGroup *vfm_host_find_group(const VfmHost *host, const char *address)
{
    if (!host || !address)
        return NULL;
    for (guint i = 0; i < host->groups->len; i++) {
        const VfmIommuGroup *group = g_ptr_array_index(host->groups, i);

        for (guint j = 0; j < group->devices->len; j++) {
            const VfmHostDevice *device = g_ptr_array_index(group->devices, j);

            if (g_ascii_strcasecmp(device->address, address) == 0)
                return group;
        }
    }
    return NULL;
}
