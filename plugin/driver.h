/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * driver.h - the driver of a domain's lifecycle: one ops table.
 *
 * libvirt's daemon cannot load a driver of a third party (docs/architecture.md
 * says why), so ours is reached through the seams it does support. Whoever
 * meets a seam (today the hook) makes a VfmLifecycleEvent and hands it to a
 * driver with vfm_driver_call(). A driver is a VfmDriverOps; the one in use is
 * vfm_negotiating_driver() of negotiating_driver.h.
 *
 * What it never does: know where the event came from, or call libvirt.
 * Ownership: an event borrows everything for the length of the call.
 * Threads: a driver keeps no state of its own; one call at a time per event.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "finding.h"
#include "lifecycle.h"

/* Takes one line of text for the log. */
typedef void (*VfmDriverReport)(VfmSeverity severity, const char *text, void *data);

/* Takes a policy that the helper is to find, or (@policy NULL) one that is over. */
typedef void (*VfmDriverRecord)(const char *uuid, const char *policy, void *data);

typedef struct {
    VfmLifecycle point;
    const char *domain; /* libvirt's name of it */
    const char *xml;    /* as libvirt wrote it: implicit devices are there */
    gsize xml_length;
    const char *host_root;    /* where sys and proc are: "/" */
    unsigned libvirt_version; /* VFM_VERSION numbers; 0: find out */
    unsigned qemu_version;
    VfmDriverReport report;
    void *report_data;
    VfmDriverRecord record; /* NULL: nobody wants to know; called with report_data */
} VfmLifecycleEvent;

/* Returns false with @error to veto: VFM_REFUSED with the sentence a person reads,
 * VFM_INPUT_ERROR where the XML could not be judged, VFM_SYSTEM_ERROR where the host could not. */
typedef bool (*VfmDriverCall)(const VfmLifecycleEvent *event, GError **error);

/* Members that are NULL have nothing to do at that point. */
typedef struct {
    const char *name;
    VfmDriverCall prepare;
    VfmDriverCall start;
    VfmDriverCall started;
    VfmDriverCall stopped;
    VfmDriverCall release;
    VfmDriverCall migrate;
    VfmDriverCall restore;
    VfmDriverCall reconnect;
    VfmDriverCall attach;
} VfmDriverOps;

/* Calls the member for the event's point. A veto where libvirt takes none
 * (vfm_lifecycle_can_veto) is reported as a warning and becomes true. */
bool vfm_driver_call(const VfmDriverOps *driver, const VfmLifecycleEvent *event, GError **error);
