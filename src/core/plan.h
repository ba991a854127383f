/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan.h - negotiation: a domain and a host in, numbers and findings out.
 *
 * One entry point, vfm_plan_new(), answers `vfiomem check`, the hook and a
 * hot-plug request at run time alike. It never does I/O, never fails on a
 * domain that xml/ accepted, and is deterministic.
 *
 * Units: bytes. Ownership: a VfmPlan owns all it points to and borrows nothing
 * after vfm_plan_new() returned. Threads: no shared state.
 */
#pragma once

#include "domain.h"
#include "finding.h"
#include "host.h"
#include "inhibit.h"

#define VFM_VERSION(major, minor, micro) ((major)*1000000u + (minor)*1000u + (micro))

typedef struct {
    const VfmHost *host;      /* NULL: nothing known, conservative defaults */
    unsigned libvirt_version; /* VFM_VERSION; 0 = unknown: the oldest rules still in use (9.0) */
    unsigned qemu_version;    /* VFM_VERSION; 0 = unknown: findings name both behaviours */
    const char *emulator;     /* path of vfiomem-qemu for VFM_EDIT_EMULATOR; NULL: VFM_DEFAULT_EMULATOR */
} VfmPlanOptions;

#define VFM_DEFAULT_EMULATOR "/usr/bin/vfiomem-qemu"

typedef struct {
    VfmHoldKind kind;
    char *holder; /* "hostdev 0000:01:00.0", "virtio-mem ua-vm0" */
    unsigned line;
} VfmHold;

typedef enum { VFM_RANGE_RAM, VFM_RANGE_ROM, VFM_RANGE_DEVICE_MEMORY } VfmRangeKind;

/* One range of the guest memory map as QEMU lays it out. */
typedef struct {
    uint64_t start, size;
    VfmRangeKind kind;
    int device;    /* index into VfmPlan.memory, -1 for boot RAM and ROM */
    int cell;      /* index into VfmDomain.cells of boot RAM, -1 if none */
    char name[24]; /* "low RAM", "high RAM", "virtio-mem 0" */
} VfmRange;

typedef struct {
    VfmMemoryModel model;
    VfmMaybe node;
    uint64_t size;   /* as written */
    uint64_t actual; /* what libvirt gives to QEMU: rounded up (size_rounding.h); all numbers below count with it */
    VfmMaybe requested;
    VfmMaybe block; /* as written, or what QEMU will choose when absent */
    bool block_implicit;
    bool block_missing;            /* implicit, and libvirt, which made the device, insists on one */
    VfmMaybe recommended_block;    /* virtio-mem only: smallest that is legal and within budget */
    uint64_t min_block, max_block; /* the legal range the search ran over; virtio-mem only */
    VfmMaybe address;              /* guest physical, where QEMU will put it, if known */
    uint64_t mappings_now;         /* at full size, with block; per container that maps it */
    uint64_t mappings_recommended;
    uint64_t requested_fixed; /* @requested rounded down to recommended_block (0 if not set) */
    unsigned line;
} VfmPlanMemory;

typedef struct {
    VfmBackendKind backend; /* TYPE1 or IOMMUFD, never AUTO; of VDPA and NVME: TYPE1, and budget is not set */
    VfmAssignedKind kind;   /* of its first device */
    bool pins;              /* charges all guest memory to RLIMIT_MEMLOCK at its maps */
    bool on_demand;         /* mediated devices alone: charges what their drivers pin, at most all */
    char *reason;           /* why it is a container of its own; NULL for the first */
    GArray *assigned;       /* of unsigned: indexes into VfmDomain.assigned */
    uint64_t mappings_now;
    uint64_t mappings_recommended;
    VfmMaybe budget; /* not set: no limit (iommufd) */
} VfmPlanContainer;

typedef enum { VFM_LIMIT_LIBVIRT, VFM_LIMIT_HARD_LIMIT, VFM_LIMIT_UNLIMITED } VfmLimitFrom;

typedef struct {
    GArray *map;           /* of VfmRange, ascending, without overlap */
    bool map_known;        /* false: a machine whose layout is not known here; map is then only a list of sizes */
    GPtrArray *memory;     /* of VfmPlanMemory*, same order as the domain's */
    GPtrArray *containers; /* of VfmPlanContainer*; empty if nothing is assigned */
    VfmBackendKind backend;
    VfmMaybe budget;         /* per container; not set: no limit */
    uint64_t headroom;       /* mappings kept free */
    uint64_t memslots;       /* the accelerator's, of QEMU's own check */
    uint64_t other_mappings; /* per container, of what has no blocks: boot RAM, ROM, DIMMs */
    VfmMaybe qemu_limit;     /* what QEMU's own check compares with; not set: QEMU does not check */
    VfmMaybe capacity;       /* blocks of all virtio-mem devices that fit; not set: no limit */
    uint64_t memlock_required;
    VfmMaybe memlock_limit; /* not set: unlimited, or (libvirt) left as it is because nothing is assigned */
    VfmLimitFrom memlock_from;
    bool memlock_set; /* libvirt will set memlock_limit itself; else it is only what its service usually has */
    bool balloon_effective;
    GArray *holds;       /* of VfmHold */
    GPtrArray *findings; /* of VfmFinding*, errors first, then by line */
} VfmPlan;

/* @domain and @options are only read. Never NULL. */
VfmPlan *vfm_plan_new(const VfmDomain *domain, const VfmPlanOptions *options);
void vfm_plan_free(VfmPlan *plan);
bool vfm_plan_has_errors(const VfmPlan *plan);

/* What `apply` must change so that the plan's own findings that it can mend
 * are gone. Computed from the plan, in domain terms; xml/ turns them into text. */
typedef enum {
    VFM_EDIT_BLOCK,     /* index: memory device, value: bytes */
    VFM_EDIT_REQUESTED, /* index: memory device, value: bytes */
    VFM_EDIT_FREE_PAGE_REPORTING_OFF,
    VFM_EDIT_AUTODEFLATE_OFF,
    VFM_EDIT_HARD_LIMIT,   /* value: bytes */
    VFM_EDIT_MEMFD_SHARED, /* helper mode: memfd source, shared access */
    VFM_EDIT_EMULATOR,     /* text: path of vfiomem-qemu */
    VFM_EDIT_CACHING_MODE  /* intel vIOMMU with a hostdev */
} VfmEditKind;

typedef struct {
    VfmEditKind kind;
    unsigned index;
    uint64_t value;
    char *text;
    char *why; /* id of the finding it mends */
} VfmEdit;

/* New array of VfmEdit*, freed with g_ptr_array_unref. Empty if nothing is to do. */
GPtrArray *vfm_plan_edits(const VfmPlan *plan, const VfmDomain *domain, const VfmPlanOptions *options);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmPlan, vfm_plan_free)
