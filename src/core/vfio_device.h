/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfio_device.h - from a PCI address to the descriptors a backend wants.
 *
 * The backends themselves open nothing: whoever is allowed to (a privileged
 * parent, libvirt, a test) does it with these functions or passes descriptors
 * in. Nothing is kept; every function may be called from any thread.
 */
#pragma once

#include "domain.h"

typedef struct {
    int group;     /* IOMMU group number */
    char cdev[32]; /* "vfio3", or "" where the kernel has no cdev for it or no VFIO driver is bound */
} VfmVfioPlace;

/* Where the PCI device @address is found. @sysfs: "/sys". Fails if there is no
 * such device or it has no IOMMU group. */
bool vfm_vfio_find(const char *sysfs, const char *address, VfmVfioPlace *place, GError **error);

/* Each returns a new descriptor that the caller owns, or -1 and @error.
 * Linux lets a group be opened once at a time (EBUSY). */
int vfm_vfio_open_container(GError **error);              /* /dev/vfio/vfio */
int vfm_vfio_open_iommufd(GError **error);                /* /dev/iommu */
int vfm_vfio_open_group(int group, GError **error);       /* /dev/vfio/GROUP */
int vfm_vfio_open_cdev(const char *cdev, GError **error); /* /dev/vfio/devices/CDEV */

/* Ends a PCI device's DMA and interrupts as well as can be: bus mastering off, and a reset where it has one. */
void vfm_vfio_silence(int device_fd);
