/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * lifecycle.h - the points in a domain's life at which libvirt calls a hook,
 * and at which of them our "no" is worth something.
 *
 * What it is: libvirt's qemu hook operations (docs/hooks.rst) as one table.
 * What it never does: anything but look things up. libc only, because the
 * supervising part of vfiomem-hook uses it too (hook_main.c says why).
 *
 * A veto is passed on only where libvirt undoes what it began and says so to
 * the person who asked: prepare, start, migrate (on the target: the guest runs on
 * at the source) and restore (the saved image stays). A failing "started" or
 * "reconnect" would have libvirt kill a guest that runs; a failing "stopped" or
 * "release" is ignored.
 */
#pragma once

#include <stdbool.h>

typedef enum {
    VFM_LIFECYCLE_PREPARE = 0, /* before anything is set up or labelled */
    VFM_LIFECYCLE_START,       /* the command line is built, QEMU is not yet spawned */
    VFM_LIFECYCLE_STARTED,
    VFM_LIFECYCLE_STOPPED,
    VFM_LIFECYCLE_RELEASE,
    VFM_LIFECYCLE_MIGRATE, /* incoming, on the target */
    VFM_LIFECYCLE_RESTORE, /* from a saved image */
    VFM_LIFECYCLE_RECONNECT,
    VFM_LIFECYCLE_ATTACH,
    VFM_LIFECYCLE_UNKNOWN /* an operation libvirt has learned since: never vetoed */
} VfmLifecycle;

VfmLifecycle vfm_lifecycle_from_operation(const char *operation);

/* libvirt's own word; "unknown" for VFM_LIFECYCLE_UNKNOWN. Static. */
const char *vfm_lifecycle_name(VfmLifecycle point);

/* Whether a failing hook stops the operation without harming a guest. */
bool vfm_lifecycle_can_veto(VfmLifecycle point);

/* What libvirt was about to do, for a sentence: "start", "migrate in", "restore". Static. */
const char *vfm_lifecycle_deed(VfmLifecycle point);
