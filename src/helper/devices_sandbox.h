/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_sandbox.h - what the process that maps gives up before it reads a message of QEMU's.
 *
 * It parses what a guest may have made QEMU say, and holds devices and guest memory. So it keeps what serving them
 * takes and no more:
 * - ioctl only of VFIO's and iommufd's kind (both ';');
 * - files are opened that exist (sysfs, /dev/vfio, /dev/iommu: a device may be plugged in at any time), none is
 *   made, cut or renamed; sockets that listen in its folder are made and removed. Where the kernel has Landlock (5.13
 *   on, if it is switched on), files are opened below /sys, /proc and /dev only, and to be written below /dev only; and
 *   nothing is removed outside of its folder. The filter alone cannot see where a file is;
 * - of its descriptors no owner is set, and none sends signals;
 * - sockets are UNIX stream sockets that listen and accept, none connects;
 * - threads, no processes; nothing executed, traced, signalled or loaded; no memory that can be executed;
 * - of capabilities those that decide about locked memory, as for QEMU's own VFIO: CAP_IPC_LOCK (no limit) and
 *   CAP_SYS_RESOURCE (iommufd charges the process rather than the user). Under libvirt it has none anyway.
 * Other calls fail with EPERM. Not for the supervisor of such processes, which makes new ones.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* @folder: of its sockets; NULL: it makes and removes none. For the calling thread and those it makes, so before it
 * makes any; cannot be undone. What the kernel lacks is reported in @error and the rest is still given up. */
bool vfm_devices_sandbox_enter(const char *folder, GError **error);
