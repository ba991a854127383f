/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * commandline.h - which QEMU options and drivers matter for guest memory.
 *
 * The one table that the reader of <qemu:commandline> and the editor share, so
 * that both count the same devices. Pure lookups.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum {
    VFM_DRIVER_OTHER = 0,
    VFM_DRIVER_VFIO,
    VFM_DRIVER_VFIO_USER,
    VFM_DRIVER_VDPA,
    VFM_DRIVER_IOMMU, /* detail: VfmIommuModel */
    VFM_DRIVER_BALLOON,
    VFM_DRIVER_MEMORY /* detail: VfmMemoryModel */
} VfmDriverKind;

#define VFM_DRIVER_KINDS (VFM_DRIVER_MEMORY + 1)

/* Of a -device's driver; @driver may be NULL. */
VfmDriverKind vfm_commandline_driver(const char *driver, int *detail);

/* The name of an option whose value (the next argument) is of interest, NULL for anything else. Static or
 * pointing into @argument. */
const char *vfm_commandline_option(const char *argument);
