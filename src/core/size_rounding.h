/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size_rounding.h - the sizes a guest gets for those that were written in its definition.
 *
 * They are rounded up before a start (libvirt: src/qemu/qemu_domain.c,
 * qemuDomainAlignMemorySizes): NUMA cells and maxMemory to 1 MiB, memory
 * devices to 2 MiB; on ppc64 all to 256 MiB. What was not written there (no line,
 * or qemu:commandline: QEMU's own arguments or answers) is already what it is.
 * Pure functions on a VfmDomain: nothing is asked of libvirt. All sizes in bytes;
 * UINT64_MAX where rounding would overflow.
 */
#pragma once

#include "domain.h"

uint64_t vfm_rounded_cell_size(const VfmDomain *domain, const VfmCell *cell);
uint64_t vfm_rounded_device_size(const VfmDomain *domain, const VfmMemoryDevice *device);

/* Boot RAM: the cells' sum if there are any. */
uint64_t vfm_rounded_boot_size(const VfmDomain *domain);

/* maxMemory; not set if there is none. */
VfmMaybe vfm_rounded_max_memory(const VfmDomain *domain);

/* Boot RAM and all memory devices at full size. */
uint64_t vfm_rounded_total_memory(const VfmDomain *domain);

/* The same without devices of qemu:commandline, which libvirt does not see: what its locked-memory formula counts. */
uint64_t vfm_rounded_counted_memory(const VfmDomain *domain);
