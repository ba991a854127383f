/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "finding_id.h"

static const struct {
    const char *name;
    VfmSeverity severity;
} ids[] = {
#define VFM_FINDING_ENTRY(name, id, severity) {id, severity},
    VFM_FINDING_IDS(VFM_FINDING_ENTRY)
#undef VFM_FINDING_ENTRY
};

const char *vfm_finding_id_name(VfmFindingId id)
{
    return (size_t)id < G_N_ELEMENTS(ids) ? ids[id].name : "unknown";
}

VfmSeverity vfm_finding_id_severity(VfmFindingId id)
{
    return (size_t)id < G_N_ELEMENTS(ids) ? ids[id].severity : VFM_ERROR;
}
