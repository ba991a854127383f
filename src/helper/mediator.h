/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mediator.h - what becomes of the bytes between a client and QEMU.
 *
 * Moves bytes between the streams of a journal and nowhere else: no system
 * call is made here. What QEMU says streams to the client as it is; it is
 * looked at only while an answer of ours is under way or no client may hear it.
 * What the client says is cut into texts; a text goes on byte for byte, or a
 * talk (talk.h) decides about it. Order within a direction never changes.
 *
 * Everything that must survive is in the journal. A mediator itself only holds
 * how far it has scanned and the talk it is in, and both are found again from
 * the journal, so a new one can be made at any time.
 *
 * Private part: mediator_parts.h. One thread.
 */
#pragma once

#include "journal.h"
#include "talk.h"

typedef struct VfmMediator VfmMediator;

/* @talker is borrowed; NULL: everything is forwarded. */
VfmMediator *vfm_mediator_new(VfmJournal *journal, VfmTalker *talker);
void vfm_mediator_free(VfmMediator *mediator);

/* Does all that can be done with what has arrived and the room there is. Returns whether anything changed. */
bool vfm_mediator_run(VfmMediator *mediator);

/* Milliseconds after which it has to be run although nothing arrived; -1: never. */
int vfm_mediator_patience(const VfmMediator *mediator);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmMediator, vfm_mediator_free)
