/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host.h - what negotiation needs to know of a host.
 *
 * Filled from sysfs and procfs (vfm_host_read) or from the JSON that
 * `vfiomem host --format json` wrote on another machine (qmp/). A part that
 * could not be learned is "unknown" (VfmMaybe not set, VFM_ABSENT), never zero.
 *
 * Units: bytes. Ownership: the VfmHost owns all it points to.
 * Threads: no locking; one thread at a time, or read-only by many.
 */
#pragma once

#include "domain.h"

typedef enum {
    VFM_RESERVED_DIRECT,           /* RMRR and the like: identity-mapped by firmware's wish */
    VFM_RESERVED_DIRECT_RELAXABLE, /* may be mapped over: not a conflict for assignment */
    VFM_RESERVED_RESERVED,
    VFM_RESERVED_MSI
} VfmReservedType;

/* @end is inclusive, as in sysfs (Linux: ABI/testing/sysfs-kernel-iommu_groups). */
typedef struct {
    uint64_t start, end;
    VfmReservedType type;
} VfmReserved;

typedef struct {
    char *address; /* "0000:01:00.0", or an mdev's UUID */
    char *driver;  /* NULL if unbound */
    VfmMaybe vendor, device, class_code;
    VfmMaybe numa_node;
    char *cdev; /* "vfio0" when bound to vfio with device cdevs, else NULL */
} VfmHostDevice;

typedef struct {
    unsigned id;
    char *type;         /* DMA, DMA-FQ, identity, auto; NULL if unknown */
    GPtrArray *devices; /* of VfmHostDevice* */
    bool reserved_known;
    GArray *reserved; /* of VfmReserved, ascending; meaningful if reserved_known */
} VfmIommuGroup;

typedef struct {
    uint64_t size;
    VfmMaybe total, free; /* pages, not bytes */
} VfmHostHugepage;

typedef struct {
    char *name;   /* host name, for people; NULL if unknown */
    char *kernel; /* release; NULL if unknown */
    VfmMaybe page_size;
    VfmMaybe thp_size; /* hpage_pmd_size; 0 is never stored. See thp_known */
    bool thp_known;    /* false: not looked at. true with thp_size unset: no THP on this host */
    VfmMaybe default_hugepage;
    GArray *hugepages; /* of VfmHostHugepage, ascending */
    VfmMaybe memory;   /* MemTotal */
    VfmMaybe phys_bits;
    VfmMaybe dma_entry_limit;      /* vfio_iommu_type1 parameter */
    VfmMaybe kvm_memslots;         /* KVM_CAP_NR_MEMSLOTS, if it could be asked */
    VfmSwitch iommufd;             /* /dev/iommu and device cdevs are there */
    VfmSwitch vfio_compat;         /* /dev/vfio/vfio is iommufd's compatibility layer */
    VfmSwitch unsafe_interrupts;   /* allow_unsafe_interrupts of vfio_iommu_type1 */
    VfmSwitch interrupt_remapping; /* "isolation" of MSI: known where the host says so */
    VfmSwitch iommu;               /* any IOMMU group exists */
    GPtrArray *groups;             /* of VfmIommuGroup*, ascending id */
} VfmHost;

/* Nothing known. */
VfmHost *vfm_host_new(void);
void vfm_host_free(VfmHost *host);
VfmIommuGroup *vfm_host_add_group(VfmHost *host, unsigned id);
VfmHostDevice *vfm_iommu_group_add_device(VfmIommuGroup *group, const char *address);

/* The group that holds the device of this address, or NULL. Borrowed. */
const VfmIommuGroup *vfm_host_find_group(const VfmHost *host, const char *address);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmHost, vfm_host_free)
