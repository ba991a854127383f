/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_groups.h - IOMMU groups of a host: members, drivers, reserved regions, isolation.
 *
 * The part of host_read that follows the number of devices. Sources: Linux
 * Documentation/ABI/testing/sysfs-kernel-iommu_groups, sysfs-bus-pci and
 * sysfs-class-iommu-intel-iommu. It keeps nothing and reads only through the
 * VfmSysfs it is given. All functions return false with @error as sysfs.h says.
 */
#pragma once

#include "host.h"
#include "sysfs.h"

/* More than any host has; what a tree made to exhaust us is refused at. Over all groups. */
#define VFM_HOST_DEVICES_MAX 65536u
#define VFM_HOST_RESERVED_MAX 1048576u

/* Sets host->iommu and host->interrupt_remapping. */
bool vfm_host_groups_read_isolation(VfmHost *host, const VfmSysfs *fs, GError **error);

/* Adds every group, ascending by id. */
bool vfm_host_groups_read_all(VfmHost *host, const VfmSysfs *fs, GError **error);

/* Adds the group of one device, if the host has the device and the group was not read before. Keeps the order. */
bool vfm_host_groups_read_of(VfmHost *host, const VfmSysfs *fs, const VfmAssigned *assigned, GError **error);
