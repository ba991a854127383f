/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * shared_kernel.h - what a kernel would have mapped, in memory that outlives the processes that map.
 *
 * A backend for tests of survival: like the kernel's own table it stands when a process dies, each
 * call happens wholly or not at all, and each mapping keeps a number of its own, so that
 * one which was unmapped and mapped again is not taken for one that stood. Rules are type1's. A step is
 * announced before and after each call, for whoever wants to die there.
 *
 * Bounded. One process at a time. Units: bytes.
 */
#pragma once

#include "backend.h"

enum { SHARED_KERNEL_MAPPINGS = 4096 };

typedef struct {
    uint64_t iova, size, offset, inode, serial;
    unsigned prot;
} SharedMapping;

typedef struct {
    uint32_t count, devices;
    uint64_t serial;    /* so far */
    uint64_t max;       /* mappings; ENOSPC beyond */
    uint32_t fail_maps; /* so many maps work, the next fails with ENOMEM; 0: none does */
    SharedMapping mappings[SHARED_KERNEL_MAPPINGS];
} SharedKernel;

SharedKernel *shared_kernel_new(void);
void shared_kernel_reset(SharedKernel *kernel);
void shared_kernel_free(SharedKernel *kernel);

/* @kernel is borrowed. Freeing the backend leaves it as it is. */
VfmBackend *shared_kernel_backend(SharedKernel *kernel, void (*step)(gpointer data), gpointer data);
