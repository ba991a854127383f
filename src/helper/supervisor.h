/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * supervisor.h - the process that does nothing, so that it never fails.
 *
 * Makes workers, one at a time, as clones that share its table of descriptors
 * (CLONE_FILES): what a worker received, accepted or was about to send stays
 * open when the worker dies, and its successor finds the numbers in the
 * journal. Parses nothing and touches no socket. When the same message kills
 * workers repeatedly, it lowers what they do, down to a plain relay.
 */
#pragma once

#include "worker.h"

/* Runs workers until one ends by itself, or none is able to although QEMU has ended. Returns the exit status.
 * @talker_new may be NULL. */
int vfm_supervisor_run(VfmJournal *journal, const VfmSockets *sockets, VfmTalkerNew talker_new, void *data);
