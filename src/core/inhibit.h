/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inhibit.h - who forbids and who needs discards of guest memory.
 *
 * Four counters, each held by name, and never a flag: a second holder leaves
 * the state alone when the first goes. What excludes what is QEMU's rule
 * (system/physmem.c, ram_block_*_discard_*), where a refusal is -EBUSY:
 *
 *   taking                    is refused while held
 *   disable-all               require-all, require-coordinated
 *   disable-uncoordinated     require-all
 *   require-all               disable-all, disable-uncoordinated
 *   require-coordinated       disable-all
 *
 * "Coordinated" discards are announced to listeners before and after (virtio-mem);
 * "uncoordinated" ones are not (balloon, free page reporting).
 *
 * It owns copies of the holders' names. It discards nothing and refuses no
 * discard: callers ask vfm_inhibit_allows(). Threads: no locking, one at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "domain.h"

/* The four counters of QEMU's system/physmem.c. */
typedef enum {
    VFM_HOLD_DISABLE_ALL,           /* D */
    VFM_HOLD_DISABLE_UNCOORDINATED, /* U */
    VFM_HOLD_REQUIRE_ALL,           /* R */
    VFM_HOLD_REQUIRE_COORDINATED    /* C */
} VfmHoldKind;
#define VFM_HOLD_KINDS 4

typedef struct VfmInhibit VfmInhibit;

/* One line of the list: @holder has @count holds of @kind. */
typedef struct {
    VfmHoldKind kind;
    const char *holder; /* borrowed from the VfmInhibit */
    unsigned count;
} VfmInhibitHold;

/* Nobody holds anything. Never fails. */
VfmInhibit *vfm_inhibit_new(void);
/* Forgets all holds. NULL is fine. */
void vfm_inhibit_free(VfmInhibit *inhibit);

/* Counts one hold of @kind for @holder (copied). Errors: VFM_REFUSED_INHIBITED, naming who stands against it. */
bool vfm_inhibit_take(VfmInhibit *inhibit, VfmHoldKind kind, const char *holder, GError **error);

/* Gives one hold back. A hold that is not there is a bug of the caller: false, and nothing
 * changes (QEMU does not check this and its counters go wrong silently). */
bool vfm_inhibit_release(VfmInhibit *inhibit, VfmHoldKind kind, const char *holder);

/* Holds of @kind over all holders. */
unsigned vfm_inhibit_count(const VfmInhibit *inhibit, VfmHoldKind kind);

/* Whether a discard may happen now: uncoordinated ones while nobody disables anything,
 * coordinated ones while nobody disables all. */
bool vfm_inhibit_allows(const VfmInhibit *inhibit, bool coordinated);

/* New array of VfmInhibitHold, by kind, then in order of first taking. Names stay valid until the next change. */
GArray *vfm_inhibit_list(const VfmInhibit *inhibit);

/* "disable-all", "disable-uncoordinated", "require-all", "require-coordinated"; static. */
const char *vfm_hold_kind_name(VfmHoldKind kind);

/*
 * Assigned devices. A device behind type1 holds disable-uncoordinated once per
 * group, one behind iommufd (@group not set) once per device. A mediated device
 * may opt out (@discard_allowed, QEMU's x-balloon-allowed) because its vendor
 * driver pins only what it uses; then its group holds nothing. All devices of a
 * group must agree. Source: QEMU hw/vfio/container-legacy.c, iommufd.c, pci.c.
 */
typedef struct {
    const char *name; /* "0000:01:00.0" or an mdev's UUID; unique */
    VfmMaybe group;   /* IOMMU group where type1 is used */
    bool mdev;
    bool discard_allowed;
} VfmInhibitDevice;

/* Counts @device (fields are copied). Errors, each without any change:
 * VFM_REFUSED_INHIBITED if disable-uncoordinated can't be taken, also for a device that
 * opts out, because QEMU takes it before it looks; or if the group disagrees;
 * VFM_INPUT_CONFLICT if @discard_allowed is set for a device that is no mdev, or the name is taken. */
bool vfm_inhibit_attach(VfmInhibit *inhibit, const VfmInhibitDevice *device, GError **error);

/* Takes the device away; the group's hold goes with its last one. An unknown name is ignored. */
void vfm_inhibit_detach(VfmInhibit *inhibit, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmInhibit, vfm_inhibit_free)
