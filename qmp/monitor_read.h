/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * monitor_read.h - answers of vfiomem-query-status and vfiomem-query-mappings, as plain structs.
 *
 * The reading half of docs/monitor-commands.md, for those who show them to
 * people. Needs json-glib and so is a module ("vfiomem-monitor", module.h);
 * programs include this header and load the two functions. Members that a newer
 * helper adds are passed over; missing ones are empty. Threads: no state.
 */
#pragma once

#include "domain.h"

/* The module and its functions' names. */
#define VFM_MONITOR_MODULE "vfiomem-monitor"
#define VFM_MONITOR_STATUS "vfm_monitor_read_status"
#define VFM_MONITOR_MAPPINGS "vfm_monitor_read_mappings"

typedef struct {
    char *id, *model;
    VfmMaybe node, block, requested;
    uint64_t size, plugged;
} VfmStatusMemory;

typedef struct {
    char *name, *what; /* holder and kind of an inhibitor; id and "kind address" of a device */
} VfmStatusPair;

typedef struct {
    char *domain, *state, *owner, *backend, *balloon_policy, *level;
    char *devices; /* the process that maps: "serving", "gone"; NULL outside of helper mode */
    bool balloon_present, balloon_effective;
    VfmMaybe balloon_actual;
    uint64_t containers, mappings_used, mappings_full, pinned, memlock_required, boot, restarts, refusals;
    VfmMaybe budget, memlock_limit;
    GPtrArray *inhibitors; /* of VfmStatusPair* */
    GPtrArray *assigned;   /* of VfmStatusPair* */
    GPtrArray *memory;     /* of VfmStatusMemory* */
} VfmStatus;

typedef struct {
    uint64_t start, size, mapped, mappings;
    VfmMaybe block;
    char *kind, *name;
} VfmMappedRange;

/* @reply is the whole reply. NULL with VFM_INPUT_ERROR if it is an error (its text) or nothing of ours. */
VfmStatus *vfm_monitor_read_status(const char *reply, GError **error);
/* Appends to @ranges; *@total gets how many there are in all pages. */
bool vfm_monitor_read_mappings(const char *reply, GPtrArray *ranges, uint64_t *total, GError **error);

/* For those who loaded the functions: in the wire library, without json-glib. */
void vfm_status_free(VfmStatus *status);
GPtrArray *vfm_mapped_ranges_new(void);

typedef VfmStatus *(*VfmMonitorReadStatus)(const char *reply, GError **error);
typedef bool (*VfmMonitorReadMappings)(const char *reply, GPtrArray *ranges, uint64_t *total, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmStatus, vfm_status_free)
