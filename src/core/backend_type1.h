/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend_type1.h - a DMA context as Linux's VFIO type1 container (v2).
 *
 * Owns the container's descriptor, one descriptor for each IOMMU group with an
 * attached device, and the devices' descriptors. Remembers which groups those
 * are and the total number of mappings, both because the kernel does not say;
 * it keeps no mappings.
 *
 * What the kernel does that a caller must know:
 * - The first attach makes the IOMMU context, the last detach destroys it with
 *   everything still mapped. Before and after, nothing can be mapped.
 * - A group joins only if every device of it is released from host drivers.
 * - A group can leave only when its devices' descriptors are closed; a mapping
 *   of a BAR keeps one open, so unmap BARs first.
 * - Charging: each pinned page of each mapping to the process's locked memory.
 * Source: Linux drivers/vfio/vfio_iommu_type1.c, uapi/linux/vfio.h.
 */
#pragma once

#include "backend.h"

/* @container_fd: of /dev/vfio/vfio, consumed on success. NULL and @error if it
 * is no VFIO container or has no type1 v2. Free with ->ops->free(). */
VfmBackend *vfm_backend_type1_new(int container_fd, GError **error);

/* One that a predecessor made: see backend_adopt.h. */
VfmBackend *vfm_backend_type1_adopt(const VfmBackendHold *hold, GError **error);
