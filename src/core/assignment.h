/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * assignment.h - all devices assigned to one guest, and the containers they share.
 *
 * Devices that see the same memory map share one container; another is made only
 * where the kernel refuses, and the kernel's reason is kept with it. A device behind a
 * vIOMMU brings a map of its own, and so a container of its own. Each container has
 * its mapper. Inhibition (inhibit.h) is taken before a device is attached and
 * given back on every path on which it is not.
 *
 * It owns containers, mappers and backends it had opened, and borrows maps and the
 * inhibitor. Threads: no locking, one thread at a time.
 */
#pragma once

#include "inhibit.h"
#include "mapper.h"

typedef struct VfmAssignment VfmAssignment;

/* Opens a backend for a further container; NULL and @error if it can't. */
typedef VfmBackend *(*VfmOpenBackend)(void *data, GError **error);

typedef struct {
    VfmOpenBackend open;
    void *open_data;
    VfmInhibit *inhibit;      /* NULL: nobody counts */
    VfmMaybe budget_cap;      /* per container */
    VfmMapperOptions mapping; /* of every mapper; copied */
} VfmAssignmentOptions;

typedef struct {
    VfmContainerDevice device;
    VfmMemoryMap *view; /* what it sees: the guest memory map, or its own behind a vIOMMU */
    VfmMaybe group;     /* as VfmInhibitDevice */
    bool mdev;
    bool discard_allowed;
} VfmAssignedDevice;

/* No devices yet. @options is copied, its windows too; the inhibitor is borrowed. Never fails. */
VfmAssignment *vfm_assignment_new(const VfmAssignmentOptions *options);
/* Detaches every device and frees every container. NULL is fine. */
void vfm_assignment_free(VfmAssignment *assignment);

/* Attaches a device: into the first container of its view that the kernel accepts, else into a new one.
 * On failure everything is as before and the descriptor still is the caller's. Errors: those of
 * vfm_inhibit_attach(), vfm_container_attach(), vfm_mapper_new() and the open function. */
bool vfm_assignment_attach(VfmAssignment *assignment, const VfmAssignedDevice *device, GError **error);

/* Detaches; the container goes with its last device. VFM_INPUT_USAGE for an unknown name. */
bool vfm_assignment_detach(VfmAssignment *assignment, const char *name, GError **error);

/* Number of containers. They are in order of making; an index changes when an earlier one goes. */
unsigned vfm_assignment_containers(const VfmAssignment *assignment);
/* The container at @index; borrowed; NULL beyond the last. */
VfmContainer *vfm_assignment_container(const VfmAssignment *assignment, unsigned index);
/* Its mapper, as above. */
VfmMapper *vfm_assignment_mapper(const VfmAssignment *assignment, unsigned index);
/* Why this container is not shared with an earlier one; NULL for the first of its view. Borrowed. */
const char *vfm_assignment_reason(const VfmAssignment *assignment, unsigned index);
/* The container that holds a device, or NULL. Borrowed. */
VfmContainer *vfm_assignment_find(const VfmAssignment *assignment, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmAssignment, vfm_assignment_free)
