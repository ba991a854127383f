/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libvirt_sizes.h - the sizes libvirt gives to QEMU for those that were written.
 *
 * libvirt rounds memory up before a start (src/qemu/qemu_domain.c,
 * qemuDomainAlignMemorySizes): NUMA cells and maxMemory to 1 MiB, memory
 * devices to 2 MiB; on ppc64 all to 256 MiB. What did not come from it (no line,
 * or qemu:commandline: QEMU's own arguments or answers) is already what it is.
 * Pure functions; all sizes in bytes; UINT64_MAX where rounding would overflow.
 */
#pragma once

#include "domain.h"

uint64_t vfm_libvirt_cell_size(const VfmDomain *domain, const VfmCell *cell);
uint64_t vfm_libvirt_device_size(const VfmDomain *domain, const VfmMemoryDevice *device);

/* Boot RAM: the cells' sum if there are any. */
uint64_t vfm_libvirt_boot_size(const VfmDomain *domain);

/* maxMemory; not set if there is none. */
VfmMaybe vfm_libvirt_max_memory(const VfmDomain *domain);

/* Boot RAM and all memory devices at full size. */
uint64_t vfm_libvirt_total_memory(const VfmDomain *domain);

/* The same without devices of qemu:commandline, which libvirt does not see: what its locked-memory formula counts. */
uint64_t vfm_libvirt_counted_memory(const VfmDomain *domain);
