/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * worker.h - the process that mediates: a loop around epoll(7).
 *
 * Shares its supervisor's journal and table of descriptors, holds nothing of
 * its own that matters, and may die at any time. It gives up every privilege
 * before it looks at a byte. It never opens a file or starts a process once it
 * runs. Ends when QEMU has ended.
 */
#pragma once

#include "flow.h"
#include "talk.h"

/* What a worker makes when it starts, before it gives up its privileges: NULL for none. Runs in the worker. */
typedef VfmTalker *(*VfmTalkerNew)(VfmJournal *journal, void *data);

/* Runs until QEMU is gone. Returns the exit status: 0, all was delivered. */
int vfm_worker_run(VfmJournal *journal, const VfmSockets *sockets, VfmTalker *talker);
