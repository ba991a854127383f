/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "driver.h"

static VfmDriverCall member(const VfmDriverOps *driver, VfmLifecycle point)
{
    const VfmDriverCall calls[] = {
        [VFM_LIFECYCLE_PREPARE] = driver->prepare, [VFM_LIFECYCLE_START] = driver->start,
        [VFM_LIFECYCLE_STARTED] = driver->started, [VFM_LIFECYCLE_STOPPED] = driver->stopped,
        [VFM_LIFECYCLE_RELEASE] = driver->release, [VFM_LIFECYCLE_MIGRATE] = driver->migrate,
        [VFM_LIFECYCLE_RESTORE] = driver->restore, [VFM_LIFECYCLE_RECONNECT] = driver->reconnect,
        [VFM_LIFECYCLE_ATTACH] = driver->attach,   [VFM_LIFECYCLE_UNKNOWN] = NULL,
    };

    return calls[point];
}

bool vfm_driver_call(const VfmDriverOps *driver, const VfmLifecycleEvent *event, GError **error)
{
    VfmDriverCall call = member(driver, event->point);
    g_autoptr(GError) veto = NULL;

    if (!call || call(event, &veto))
        return true;
    if (vfm_lifecycle_can_veto(event->point)) {
        g_propagate_error(error, g_steal_pointer(&veto));
        return false;
    }
    event->report(VFM_WARNING, veto->message, event->report_data);
    return true;
}
