/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend_iommufd.h - a DMA context as an IOAS of Linux's iommufd.
 *
 * Owns its descriptor of /dev/iommu, the IOAS in it and the cdev of each
 * attached device. Keeps no mappings and has no mapping budget.
 *
 * What the kernel does that a caller must know:
 * - Mappings can be made before any device is attached (pages are then pinned
 *   at the first attach) and stay after the last one left.
 * - The usable IOVA ranges change with every attach and detach.
 * - An unmap that would cut a mapping may have removed others in its range
 *   already; with whole mappings, as the engine asks, this cannot happen.
 * - Pages are charged once per mapping, however many devices are attached.
 * Source: Linux uapi/linux/iommufd.h, drivers/iommu/iommufd/.
 */
#pragma once

#include "backend.h"

/* Whose count of locked memory is charged and compared with RLIMIT_MEMLOCK. */
typedef enum {
    VFM_IOMMUFD_ACCOUNT_USER,   /* the kernel's default: all processes of the user together */
    VFM_IOMMUFD_ACCOUNT_PROCESS /* as type1; needs CAP_SYS_RESOURCE and a descriptor nothing was made in yet */
} VfmIommufdAccount;

/* @iommufd: of /dev/iommu, consumed on success. NULL and @error if it is none or
 * the accounting cannot be chosen. Free with ->ops->free(). */
VfmBackend *vfm_backend_iommufd_new(int iommufd, VfmIommufdAccount account, GError **error);

/* A further address space on the descriptor of @first (an iommufd backend), which may be freed before or
 * after. A device whose attach failed in one can be given to another only if they share a descriptor: the
 * kernel binds an open device to one for good. */
VfmBackend *vfm_backend_iommufd_new_beside(VfmBackend *first, GError **error);

/* One that a predecessor made: see backend_adopt.h. */
VfmBackend *vfm_backend_iommufd_adopt(const VfmBackendHold *hold, GError **error);
