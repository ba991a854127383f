/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend_error.h - what the kernel's errno means for a mapping.
 *
 * type1 and iommufd say the same things with nearly the same numbers, and one
 * number says several things (EINVAL: alignment, or outside of the IOVA ranges).
 * These functions word it once, as VFM_SYSTEM_ERROR with the errno as code
 * (backend.h). They own nothing and are called on failure only, so that a
 * successful mapping costs nothing but its ioctl.
 * Rules: Linux drivers/vfio/vfio_iommu_type1.c, drivers/vfio/group.c,
 * drivers/iommu/iommufd/{device,io_pagetable,pages}.c.
 */
#pragma once

#include "backend.h"

/* RLIMIT_MEMLOCK of this process in bytes; not set where it does not bind:
 * unlimited, or the process has CAP_IPC_LOCK, with which the kernel never looks. */
VfmMaybe vfm_memlock_limit(void);

/* Sets @error for @mapping that failed with @errnum. @limits: what may be mapped
 * at present, or NULL if unknown. */
void vfm_set_map_error(GError **error, const char *backend, const VfmMapping *mapping, const VfmBackendLimits *limits,
                       int errnum);

/* The same for unmapping @size bytes at @iova. */
void vfm_set_unmap_error(GError **error, const char *backend, uint64_t iova, uint64_t size, int errnum);

/* Sets @error for a device that could not join. @step: "binding it to iommufd". */
void vfm_set_attach_error(GError **error, const char *backend, const char *device, const char *step, int errnum);
