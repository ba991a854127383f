/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * flow.h - bytes and descriptors between sockets and the journal's streams.
 *
 * Each function is one system call and the change of state that follows from
 * it, in the order that makes the pair survive a SIGKILL anywhere between:
 * note what is about to be done, do it, change the state.
 * vfm_flow_recover() finishes in a successor what its predecessor had done and
 * not yet written down. None of them waits. One process at a time.
 */
#pragma once

#include "journal.h"

typedef enum {
    VFM_FLOW_SOME,  /* bytes went */
    VFM_FLOW_AGAIN, /* the socket or the stream is not ready */
    VFM_FLOW_ENDED  /* end of the stream, or the peer is gone; the state says so */
} VfmFlowResult;

/* Descriptors of the helper itself, which are in no stream. */
typedef struct {
    int listener; /* where clients come from */
    int qemu;     /* the socket whose other end is QEMU's monitor */
    int pidfd;    /* of QEMU, -1 if the kernel has none */
    int devices;  /* to vfiomem-helper-devices in helper mode, else -1 */
} VfmSockets;

/* Whether the stream can take a whole receive: bytes and descriptors. */
bool vfm_flow_can_receive(const VfmJournalState *state, VfmStreamId id);

/* One receive into one of the streams _IN. */
VfmFlowResult vfm_flow_receive(VfmJournal *journal, VfmStreamId id, int socket);

/* One send out of one of the streams _OUT, with the descriptors that belong to its first byte. */
VfmFlowResult vfm_flow_send(VfmJournal *journal, VfmStreamId id, int socket);

/* Takes a waiting connection as the client; there must be none. */
VfmFlowResult vfm_flow_accept(VfmJournal *journal, int listener);

/* Tells a second client why it is one, and hangs up. */
void vfm_flow_refuse(VfmJournal *journal, int listener);

/* Closes what the state has given up. */
void vfm_flow_close_discarded(VfmJournal *journal);

/* What a successor does first: applies the predecessor's last transfer if it took place, takes up a connection that was
 * accepted, and closes every descriptor nobody owns. */
void vfm_flow_recover(VfmJournal *journal, const VfmSockets *sockets);
