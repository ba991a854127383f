/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lifecycle.h"

#include <string.h>

static const struct {
    const char *operation;
    bool veto;
    const char *deed;
} points[] = {
    [VFM_LIFECYCLE_PREPARE] = {"prepare", true, "start"},
    [VFM_LIFECYCLE_START] = {"start", true, "start"},
    [VFM_LIFECYCLE_STARTED] = {"started", false, "run"},
    [VFM_LIFECYCLE_STOPPED] = {"stopped", false, "stop"},
    [VFM_LIFECYCLE_RELEASE] = {"release", false, "stop"},
    [VFM_LIFECYCLE_MIGRATE] = {"migrate", true, "migrate in"},
    [VFM_LIFECYCLE_RESTORE] = {"restore", true, "be restored"},
    [VFM_LIFECYCLE_RECONNECT] = {"reconnect", false, "run on"},
    [VFM_LIFECYCLE_ATTACH] = {"attach", false, "be attached"},
    [VFM_LIFECYCLE_UNKNOWN] = {"unknown", false, "go on"},
};

VfmLifecycle vfm_lifecycle_from_operation(const char *operation)
{
    for (int point = 0; point < VFM_LIFECYCLE_UNKNOWN; point++) {
        if (strcmp(points[point].operation, operation) == 0)
            return (VfmLifecycle)point;
    }
    return VFM_LIFECYCLE_UNKNOWN;
}

const char *vfm_lifecycle_name(VfmLifecycle point)
{
    return points[point].operation;
}

bool vfm_lifecycle_can_veto(VfmLifecycle point)
{
    return points[point].veto;
}

const char *vfm_lifecycle_deed(VfmLifecycle point)
{
    return points[point].deed;
}
