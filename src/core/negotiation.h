/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * negotiation.h - the steps of vfm_plan_new(), and what they hand each other.
 *
 * Private to core. Each step reads what the steps before it wrote into the
 * plan, writes its own part, and leaves the rest alone; the order is the order
 * below. Steps that judge (findings_*.c) only add findings.
 */
#pragma once

#include "finding_id.h"
#include "layout.h"
#include "plan.h"

typedef struct {
    const VfmDomain *domain;
    const VfmPlanOptions *options; /* never NULL here */
    const VfmHost *host;           /* may be NULL */
    VfmPlan *plan;
    VfmLayout layout;
    bool budgeted;         /* something is assigned, or a policy says that something will be */
    bool unreachable;      /* not even the largest legal blocks fit */
    uint64_t least_blocks; /* how many those would be */
} VfmNegotiation;

/* containers.c: DMA contexts, which device is in which, their backend and budget. */
void vfm_negotiate_containers(VfmNegotiation *n);
/* Whether @assigned gets at guest memory at all: it is given to QEMU, and it is known to be a device. */
bool vfm_assigned_counts(const VfmAssigned *assigned);
/* Whether @assigned goes through VFIO in QEMU (hostdevs, not vdpa or nvme). */
bool vfm_assigned_is_vfio(const VfmAssigned *assigned);
/* Whether vfiomem's helper maps for @assigned. QEMU then knows it as a vfio-user-pci: in a running guest it is one of
 * the kind VFM_ASSIGNED_USER. One that the command line names itself is another server's. */
bool vfm_assigned_is_helpers(const VfmNegotiation *n, const VfmAssigned *assigned);
/* vfio-ap and vfio-ccw: mediated devices that take and pin (almost) nothing. */
bool vfm_assigned_is_channel(const VfmAssigned *assigned);
/* Whether this device reaches the kernel through iommufd. */
bool vfm_assigned_uses_iommufd(const VfmNegotiation *n, const VfmAssigned *assigned);
/* "hostdev 0000:01:00.0", "interface /dev/vhost-vdpa-0"; caller frees. */
char *vfm_assigned_label(const VfmAssigned *assigned);

/* memory_plan.c: blocks as they are and as they should be, addresses, mappings. */
void vfm_negotiate_memory(VfmNegotiation *n);
/* "virtio-mem ua-vm0", or by its place: "virtio-mem 1"; caller frees. */
char *vfm_memory_label(const VfmDomain *domain, unsigned index);

/* memlock.c */
void vfm_negotiate_memlock(VfmNegotiation *n);
/* The limit at which nothing is refused: what libvirt would set did it see everything. */
uint64_t vfm_memlock_wanted(const VfmPlan *plan, const VfmDomain *domain, uint64_t memory);

/* holds.c */
void vfm_negotiate_holds(VfmNegotiation *n);
unsigned vfm_holds_count(const VfmPlan *plan, VfmHoldKind kind);

/* findings_viommu.c: an intel vIOMMU that libvirt sees and that would not tell QEMU of guest mappings. */
bool vfm_iommu_lacks_caching_mode(const VfmIommu *iommu);

/* findings_*.c */
void vfm_find_memory(VfmNegotiation *n);
void vfm_find_budget(VfmNegotiation *n);
void vfm_find_memlock(VfmNegotiation *n);
void vfm_find_discards(VfmNegotiation *n);
void vfm_find_viommu(VfmNegotiation *n);
void vfm_find_host(VfmNegotiation *n);
void vfm_find_policy(VfmNegotiation *n);

/* Adds a finding of a documented id; @fix may be NULL and is consumed (g_free'd). */
void vfm_note(VfmNegotiation *n, VfmFindingId id, unsigned line, char *fix, const char *format, ...)
    G_GNUC_PRINTF(5, 6);
/* The same with a severity other than the id's usual one. */
void vfm_note_as(VfmNegotiation *n, VfmSeverity severity, VfmFindingId id, unsigned line, char *fix, const char *format,
                 ...) G_GNUC_PRINTF(6, 7);
