/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfio_device.h"

#include "error.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The VFIO core names the cdev by a folder below the device: vfio-dev/vfioN (Linux drivers/vfio/vfio_main.c). */
static void find_cdev(const char *device, char *cdev, size_t size)
{
    g_autofree char *path = g_build_filename(device, "vfio-dev", NULL);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    const char *name;

    cdev[0] = '\0';
    while (dir && (name = g_dir_read_name(dir)))
        if (g_str_has_prefix(name, "vfio") && strlen(name) < size)
            g_strlcpy(cdev, name, size);
}

bool vfm_vfio_find(const char *sysfs, const char *address, VfmVfioPlace *place, GError **error)
{
    g_autofree char *device = g_build_filename(sysfs, "bus/pci/devices", address, NULL);
    g_autofree char *link = g_build_filename(device, "iommu_group", NULL);

    if (!g_file_test(device, G_FILE_TEST_IS_DIR)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "%s: no such PCI device on this host", address);
        return false;
    }
    g_autofree char *target = g_file_read_link(link, NULL);
    const char *number = target ? strrchr(target, '/') : NULL;
    guint64 group;
    if (!number || !g_ascii_string_to_unsigned(number + 1, 10, 0, G_MAXINT, &group, NULL)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s: the device is in no IOMMU group: the IOMMU is off or missing on this host", address);
        return false;
    }
    place->group = (int)group;
    find_cdev(device, place->cdev, sizeof(place->cdev));
    return true;
}

static int open_node(const char *path, const char *advice, GError **error)
{
    int fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        vfm_set_system_error(error, errno, "opening %s (%s)", path, advice);
    return fd;
}

int vfm_vfio_open_container(GError **error)
{
    return open_node("/dev/vfio/vfio", "is the vfio module loaded?", error);
}

int vfm_vfio_open_iommufd(GError **error)
{
    return open_node("/dev/iommu", "the kernel needs iommufd", error);
}

int vfm_vfio_open_group(int group, GError **error)
{
    char path[64];
    snprintf(path, sizeof(path), "/dev/vfio/%d", group);
    return open_node(path, "bind the group's devices to vfio-pci; only one process can hold it", error);
}

int vfm_vfio_open_cdev(const char *cdev, GError **error)
{
    g_autofree char *path = NULL;
    if (!cdev[0]) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "the device has no VFIO cdev: bind it to vfio-pci, on a kernel with CONFIG_VFIO_DEVICE_CDEV");
        return -1;
    }
    path = g_build_filename("/dev/vfio/devices", cdev, NULL);
    return open_node(path, "only one process can hold it", error);
}

void vfm_vfio_silence(int device_fd)
{
    struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    uint16_t command;

    if (ioctl(device_fd, VFIO_DEVICE_GET_REGION_INFO, &config) == 0 &&
        pread(device_fd, &command, sizeof(command), (off_t)config.offset + PCI_COMMAND) == sizeof(command)) {
        command &= GUINT16_TO_LE((uint16_t)~PCI_COMMAND_MASTER);
        if (pwrite(device_fd, &command, sizeof(command), (off_t)config.offset + PCI_COMMAND) < 0)
            command = 0; /* the reset is left */
    }
    ioctl(device_fd, VFIO_DEVICE_RESET);
}
