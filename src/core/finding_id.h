/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * finding_id.h - every id that negotiation can put into a finding.
 *
 * The ids are part of the output contract: scripts match them. One may be
 * added, never renamed or given another meaning. docs/findings.md says of each
 * when it comes, why, and what to do; tests/unit/test-findings checks that the
 * list there and this one are the same. Constant data, thread-safe.
 */
#pragma once

#include "finding.h"

/* X(enumerator, id, usual severity) */
#define VFM_FINDING_IDS(X)                                                                                             \
    X(AUTODEFLATE_INHIBITED, "autodeflate-inhibited", VFM_WARNING)                                                     \
    X(BACKEND_MIXED, "backend-mixed", VFM_WARNING)                                                                     \
    X(BALLOON_INHIBITED, "balloon-inhibited", VFM_WARNING)                                                             \
    X(BUDGET_EXCEEDED, "mapping-budget-exceeded", VFM_ERROR)                                                           \
    X(BUDGET_HEADROOM, "mapping-budget-headroom", VFM_WARNING)                                                         \
    X(BUDGET_UNREACHABLE, "mapping-budget-unreachable", VFM_ERROR)                                                     \
    X(CONFIDENTIAL_PASSTHROUGH, "confidential-passthrough", VFM_ERROR)                                                 \
    X(DEVICE_NOT_ON_HOST, "device-not-on-host", VFM_WARNING)                                                           \
    X(DISCARD_CONFLICT, "discard-conflict", VFM_ERROR)                                                                 \
    X(FREE_PAGE_REPORTING_INHIBITED, "free-page-reporting-inhibited", VFM_WARNING)                                     \
    X(GROUP_NOT_VIABLE, "group-not-viable", VFM_WARNING)                                                               \
    X(HELPER_EMULATOR, "helper-emulator", VFM_ERROR)                                                                   \
    X(HELPER_MEMORY_PRIVATE, "helper-memory-private", VFM_ERROR)                                                       \
    X(HELPER_QEMU_VERSION, "helper-qemu-version", VFM_ERROR)                                                           \
    X(HELPER_VIOMMU, "helper-viommu", VFM_ERROR)                                                                       \
    X(HOST_WITHOUT_IOMMU, "host-without-iommu", VFM_INFO)                                                              \
    X(HUGEPAGE_SIZE_MISSING, "hugepage-size-missing", VFM_WARNING)                                                     \
    X(INTERRUPT_REMAPPING, "interrupt-remapping-missing", VFM_WARNING)                                                 \
    X(IOMMUFD_IGNORED, "iommufd-ignored", VFM_WARNING)                                                                 \
    X(IOMMUFD_UNSUPPORTED, "iommufd-unsupported", VFM_ERROR)                                                           \
    X(MDEV_BALLOON_ALLOWED, "mdev-balloon-allowed", VFM_INFO)                                                          \
    X(MDEV_BALLOON_INHIBITED, "mdev-balloon-inhibited", VFM_WARNING)                                                   \
    X(MEMLOCK_HARD_LIMIT, "memlock-hard-limit", VFM_ERROR)                                                             \
    X(MEMLOCK_HOTPLUG, "memlock-hotplug", VFM_WARNING)                                                                 \
    X(MEMLOCK_UNCOUNTED, "memlock-uncounted", VFM_ERROR)                                                               \
    X(MEMORY_DEVICE_ALIGNMENT, "memory-device-alignment", VFM_ERROR)                                                   \
    X(MEMORY_DEVICE_UNPLACEABLE, "memory-device-unplaceable", VFM_ERROR)                                               \
    X(MEMORY_MAXIMUM, "memory-maximum", VFM_ERROR)                                                                     \
    X(MEMORY_NOT_PINNABLE, "memory-not-pinnable", VFM_WARNING)                                                         \
    X(MIGRATION_RESTRICTED, "migration-restricted", VFM_INFO)                                                          \
    X(NETWORK_UNRESOLVED, "network-unresolved", VFM_INFO)                                                              \
    X(OTHER_HYPERVISOR, "other-hypervisor", VFM_INFO)                                                                  \
    X(PHYSICAL_ADDRESS_BITS, "physical-address-bits", VFM_ERROR)                                                       \
    X(PINNED_EXCEEDS_HOST, "pinned-exceeds-host", VFM_WARNING)                                                         \
    X(POLICY_BACKEND, "policy-backend", VFM_WARNING)                                                                   \
    X(POLICY_BALLOON, "policy-balloon", VFM_WARNING)                                                                   \
    X(POLICY_BUDGET, "policy-budget", VFM_WARNING)                                                                     \
    X(POLICY_RESIZE, "policy-resize", VFM_ERROR)                                                                       \
    X(POLICY_WINDOW, "policy-window", VFM_ERROR)                                                                       \
    X(RESERVED_REGION, "reserved-region-in-ram", VFM_ERROR)                                                            \
    X(VIOMMU_ADDRESS_WIDTH, "viommu-address-width", VFM_WARNING)                                                       \
    X(VIOMMU_CACHING_MODE, "viommu-caching-mode", VFM_ERROR)                                                           \
    X(VIOMMU_MEMLOCK, "viommu-memlock", VFM_INFO)                                                                      \
    X(VIOMMU_NO_MAP_NOTIFIER, "viommu-no-map-notifier", VFM_WARNING)                                                   \
    X(VIOMMU_SHARED_GROUP, "viommu-shared-group", VFM_ERROR)                                                           \
    X(VIOMMU_VIRTIO_MEM, "viommu-virtio-mem", VFM_WARNING)                                                             \
    X(VIRTIO_MEM_BLOCK, "virtio-mem-block", VFM_ERROR)                                                                 \
    X(VIRTIO_MEM_LOCKED, "virtio-mem-locked", VFM_ERROR)                                                               \
    X(VIRTIO_MEM_REQUESTED, "virtio-mem-requested", VFM_ERROR)                                                         \
    X(VIRTIO_MEM_SIZE, "virtio-mem-size", VFM_ERROR)

typedef enum {
#define VFM_FINDING_ENUM(name, id, severity) VFM_FINDING_##name,
    VFM_FINDING_IDS(VFM_FINDING_ENUM)
#undef VFM_FINDING_ENUM
        VFM_FINDING_COUNT
} VfmFindingId;

/* "balloon-inhibited", and the severity it usually has; static strings. */
const char *vfm_finding_id_name(VfmFindingId id);
VfmSeverity vfm_finding_id_severity(VfmFindingId id);
