/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * backend_record.h - a DMA context that maps nothing and remembers what would be.
 *
 * For tests and dry runs. It keeps type1's rules (alignment, no overlap, ranges, a
 * limit of mappings, locked memory, unmap never cuts), answers with the errno the
 * kernel would, and can be told to fail. Equal neighbours are stored as one run, so
 * millions of blocks cost little. It owns its record; descriptors are ignored.
 *
 * Units: bytes. Threads: no locking, one thread at a time.
 */
#pragma once

#include "backend.h"

typedef struct {
    uint64_t page;         /* smallest mapping; 0: 4096 */
    VfmMaybe max_mappings; /* ENOSPC beyond */
    VfmMaybe memlock;      /* ENOMEM beyond that many bytes that are not peers' */
    bool no_peer_bars;     /* limits say that peers' BARs can't be held; map of one is EFAULT */
    const GArray *ranges;  /* of VfmIovaRange: what the IOMMU can reach; NULL: everything */
    bool no_sharing;       /* a second device is refused with EINVAL */
    uint64_t reported_max; /* what limits() says instead of @max_mappings; 0: the truth */
} VfmRecordOptions;

/* @options may be NULL and is copied. Never fails. Freed through ops->free. */
VfmBackend *vfm_backend_record_new(const VfmRecordOptions *options);

typedef enum { VFM_RECORD_MAP, VFM_RECORD_UNMAP, VFM_RECORD_ATTACH } VfmRecordCall;

/* The next @after calls of this kind work, the @count after them fail with @errnum; count 0: none does. */
void vfm_backend_record_fail(VfmBackend *backend, VfmRecordCall call, uint64_t after, uint64_t count, int errnum);

/* From now on the hardware reaches only @ranges (of VfmIovaRange; NULL: everything); a newcomer's narrowing. */
void vfm_backend_record_set_ranges(VfmBackend *backend, const GArray *ranges);

/* Mappings that stand. */
uint64_t vfm_backend_record_mappings(const VfmBackend *backend);
/* Bytes mapped that are not peers'. */
uint64_t vfm_backend_record_bytes(const VfmBackend *backend);
/* Calls of a kind so far, failed ones included. */
uint64_t vfm_backend_record_calls(const VfmBackend *backend, VfmRecordCall call);
/* Devices attached. */
unsigned vfm_backend_record_devices(const VfmBackend *backend);

/* The mapping that holds @iova, or false. @mapping may be NULL. */
bool vfm_backend_record_find(const VfmBackend *backend, uint64_t iova, VfmMapping *mapping);

/* One mapping, borrowed; false ends the walk. */
typedef bool (*VfmRecordFunc)(void *data, const VfmMapping *mapping);
/* Calls @fn for each mapping, ascending, until it returns false. */
void vfm_backend_record_foreach(const VfmBackend *backend, VfmRecordFunc fn, void *data);
