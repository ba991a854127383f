/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "backend_adopt.h"

#include "backend_iommufd.h"
#include "backend_type1.h"

VfmBackend *vfm_backend_adopt(const VfmBackendHold *hold, GError **error)
{
    switch (hold->kind) {
    case VFM_BACKEND_TYPE1:
        return vfm_backend_type1_adopt(hold, error);
    case VFM_BACKEND_IOMMUFD:
        return vfm_backend_iommufd_adopt(hold, error);
    default:
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED, "a DMA context of kind %u can't be taken over",
                    hold->kind);
        return NULL;
    }
}
