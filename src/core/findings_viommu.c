/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings_viommu.c - what a virtual IOMMU changes for assigned devices. */
#include "amount.h"
#include "negotiation.h"

bool vfm_iommu_lacks_caching_mode(const VfmIommu *iommu)
{
    return iommu->model == VFM_IOMMU_INTEL && iommu->caching_mode != VFM_ON && !iommu->from_commandline;
}
