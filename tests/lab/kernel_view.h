/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * kernel_view.h - what the kernel itself says: counts of pinned memory, DMA faults.
 *
 * The other half of a proof: our own accounts are compared with these numbers.
 * Every function aborts the program if the kernel does not answer. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Bytes, of /proc/self/status. VmLck is what type1 charges (and iommufd, when charging
 * to the process); VmPin is what iommufd has pinned, however it is charged. */
uint64_t kernel_locked(void);
uint64_t kernel_pinned(void);

/* Pages pinned in the whole system at present (/proc/vmstat: nr_foll_pin_acquired less
 * nr_foll_pin_released). */
int64_t kernel_pins(void);

/* The kernel's log from now on. Free with close(). */
int kernel_log_open(void);
/* Waits until the log has a DMA fault at an address within @iova..@iova+@size, at most 5 s. The kernel
 * limits its messages to about five faults in five seconds, so this is for few places. */
bool kernel_log_fault(int log, uint64_t iova, uint64_t size);

/* Interrupts of the IOMMU so far, which it raises for faults only (/proc/interrupts: dmar0). */
uint64_t kernel_faults(void);
/* Waits until there were more than @before, at most 5 s. */
bool kernel_fault_since(uint64_t before);

/* Puts CAP_IPC_LOCK, with which no limit binds, out of force or into it again, and sets the limit of locked memory
 * (bytes, UINT64_MAX: none). */
void kernel_limit_locked(uint64_t bytes);
