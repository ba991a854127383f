/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend_adopt.h - takes a DMA context over from a process that died.
 *
 * Descriptors survived in a table that both share (CLONE_FILES), and with them the
 * kernel's containers, devices and mappings: DMA never stopped. Nothing here changes
 * anything in the kernel. What was being attached or detached at the time is not
 * adopted: its descriptors are closed (before adopting), which undoes it.
 *
 * What the kernel does with mappings whose maker is dead (Linux drivers/vfio/vfio_iommu_type1.c and
 * drivers/iommu/iommufd/pages.c; tried on 6.1 and 6.12 in tests/lab):
 * - They stand, and so do the pins, until they are unmapped or the last descriptor is closed. Any process that has the
 *   descriptor can unmap them. type1 before Linux 6.0 let only the mapper: there adopting is refused.
 * - type1 charged the memory to the dead process, so it now counts for nobody. VFIO_UPDATE_VADDR moves a
 *   mapping and its charge to the successor (6.3, and 6.1's later stable releases; before, only the mapping): claim
 * does that. iommufd in its default mode charges the user, which stays right; charged to the process, it can't be moved
 *   (IOMMU_IOAS_CHANGE_PROCESS of 6.13 wants every mapping to be of a file), so vfm_container_map() compares with
 *   RLIMIT_MEMLOCK itself.
 * - A device that is attached later works: both fill its domain from pages that are pinned already, not from
 *   the dead address space. type1 with mediated devices would not (it asks for pages by address); we have none.
 */
#pragma once

#include "backend.h"

/* A backend on what @hold says; owns the descriptors from then on. Errors: VFM_INPUT_UNSUPPORTED where the kernel
 * can't; VFM_SYSTEM_ERROR if a descriptor is not what it was. Then they still are the caller's. */
VfmBackend *vfm_backend_adopt(const VfmBackendHold *hold, GError **error);
