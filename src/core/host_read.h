/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_read.h - the host's topology from sysfs and procfs.
 *
 * Everything is read below one root, so that a tree copied from another
 * machine, or made by a test, works as well as "/". The layout of the root is
 * the kernel's own:
 *
 *   sys/kernel/iommu_groups/N/{type,reserved_regions,devices/ADDRESS/}
 *       ADDRESS/{driver,vendor,device,class,numa_node,vfio-dev/vfioN/dev}
 *   sys/bus/{pci,mdev}/devices/ADDRESS/iommu_group
 *   sys/module/vfio_iommu_type1/parameters/{dma_entry_limit,allow_unsafe_interrupts}
 *   sys/class/misc/{vfio,iommu}, sys/class/{vfio,vfio-dev}, sys/class/iommu/
 *   sys/kernel/mm/hugepages/hugepages-NkB/{nr_hugepages,free_hugepages}
 *   sys/kernel/mm/transparent_hugepage/hpage_pmd_size
 *   proc/meminfo, proc/cpuinfo, proc/cmdline, proc/devices, proc/sys/kernel/{hostname,osrelease}
 *
 * All parts are optional except that "sys" or "proc" must be there. What is
 * missing is unknown, never zero; what is there and cannot be read, or is not
 * what the kernel writes there, is an error that names the file. The page size
 * and the number of KVM's memory slots are in no file: they are asked of the
 * running kernel, and only if the root is "/".
 *
 * Threads: no shared state.
 */
#pragma once

#include "host.h"

/* Everything. @root "/" (or NULL) is this machine. NULL with @error on failure. The caller owns it. */
VfmHost *vfm_host_read(const char *root, GError **error);

/* All but the groups: cost does not depend on how many devices the host has. For callers who then add what
 * one domain needs with vfm_host_read_groups_of(). */
VfmHost *vfm_host_read_basics(const char *root, GError **error);

/* Adds to @host the groups of @domain's assigned PCI and mediated devices, each once. A device
 * that the host does not have adds nothing. Returns false with @error; @host stays valid. */
bool vfm_host_read_groups_of(VfmHost *host, const char *root, const VfmDomain *domain, GError **error);
