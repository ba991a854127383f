/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_supervisor.h - the process of vfiomem-helper-devices that does nothing, so that it never fails.
 *
 * Makes workers, one at a time, as clones that share its table of descriptors (CLONE_FILES) and the memory that was
 * made before. Containers, devices and connections stay open when a worker dies, and DMA goes on; the next one
 * takes them up. The supervisor parses nothing and calls nobody.
 *
 * It counts crashes over each connection's message (vfu_journal.h), so that the next worker gives up a device over
 * whose message workers die; and workers that die one after the other without anything having been done: then there is
 * nobody to go on, and everything is given up. SIGKILL comes from outside and is nobody's fault.
 */
#pragma once

#include "vfu_journal.h"

typedef struct {
    VfmVfuJournal *const *journals;
    unsigned n_journals;
    /* What else a worker gets done, as a number that changes; in shared memory. */
    const volatile uint64_t *progress;
    /* Written before each worker but the first. */
    volatile uint32_t *restarts;
    /* QEMU; -1: not known. */
    int pidfd;
    /* A worker's life. 0: it was the last one, all is done. Other values count as crashes. */
    int (*work)(gpointer data);
    /* The last thing that is done if no worker gets on, in a process of its own that may crash as well. */
    void (*give_up)(gpointer data);
    gpointer data;
} VfmDevicesSupervision;

/* Workers that crash one after the other, with nothing done in between, until everything is given up. */
enum { VFM_DEVICES_CRASHES_IN_A_ROW = 12 };

/* Runs workers. True: the last one ended as it should. */
bool vfm_devices_supervise(const VfmDevicesSupervision *supervision);
