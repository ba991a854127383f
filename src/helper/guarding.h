/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * guarding.h - the guard (qmp/guard.h) inside a worker: what it may know of its process.
 *
 * Policy and counters live in the journal and so survive a worker. Made before
 * the sandbox closes, because it reads the host and keeps QEMU's limits file open.
 */
#pragma once

#include "worker.h"

typedef struct {
    char *const *argv; /* QEMU's arguments; borrowed for as long as workers run */
    int qemu_pid;
    const char *arch; /* target of QEMU, NULL if unknown */
    VfmPolicy policy;
    int devices; /* to vfiomem-helper-devices in helper mode, else -1 */
} VfmGuarding;

/* A VfmTalkerNew; @data is a VfmGuarding. */
VfmTalker *vfm_guarding_new(VfmJournal *journal, void *data);
