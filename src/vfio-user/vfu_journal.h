/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfu_journal.h - one vfio-user connection's state, in memory that outlives its process.
 *
 * Made by a supervisor before it makes workers, which are clones of it: they share the memory (at the same address) and
 * the table of descriptors. A worker may die at any instruction; its successor finds here which messages came and were
 * not carried out, with their descriptors, and how much of an answer has gone. Rules:
 *
 * 1. State changes at once. There are two copies; a change is written to the one that does not count, and one store
 *    makes it count.
 * 2. A ring holds the bytes, from the first message not yet done to the last byte received. It is mapped twice in a
 *    row, so that a message is contiguous. What lies outside of it does not exist.
 * 3. Transfers leave a trace (fdpass.h), next to the count of bytes they began at: a successor applies one exactly if
 *    that count has not moved on.
 * 4. A message is done when its answer has gone. Until an answer is prepared a successor carries the message out again,
 *    under the same number; from then on it only sends.
 *
 * Descriptors: the connection's, and those of messages until they are done, are the journal's, by number. Here a
 * descriptor stops being the journal's first and is closed then, so a successor that closes whatever is nobody's
 * (vfm_vfu_journal_descriptors()) never closes another's.
 *
 * Crashes over one message are counted, so that it can be given up: vfm_vfu_journal_blame().
 *
 * Bounded by VFM_VFU_MAX_QUEUE_*; sparse, and given back when it runs empty. Threads: one receives, one does the rest;
 * the owner's lock around all but what is said to need none.
 */
#pragma once

#include "fdpass.h"
#include "vfu_message.h"
#include "vfu_version.h"

typedef struct VfmVfuJournal VfmVfuJournal;

typedef enum {
    VFM_VFU_UNUSED, /* memory begins as zeroes */
    VFM_VFU_OPEN,
    VFM_VFU_OVER /* the device knows that the client is gone; only to be cleared away */
} VfmVfuPhase;

typedef enum { VFM_VFU_READING, VFM_VFU_HUNG_UP, VFM_VFU_READ_BROKEN } VfmVfuReading;

/* How far the giving up of a device has come. */
typedef enum { VFM_VFU_SERVED, VFM_VFU_LOSING, VFM_VFU_LOST } VfmVfuFate;

typedef struct {
    uint64_t received;         /* bytes, since the beginning */
    uint64_t base;             /* of them, before the ring's first */
    uint64_t incoming;         /* where the message begins that is arriving */
    uint64_t head;             /* where the first one begins that is not done */
    uint64_t arrived, done;    /* whole messages */
    uint32_t fd_head, fd_tail; /* of the descriptors' ring; free-running */
    uint64_t sent;             /* bytes, since the beginning */
    uint32_t reply_length;     /* bytes of the prepared answer to the message at @head; 0: none */
    uint32_t reply_sent;
    int32_t reply_fd; /* borrowed, -1: none */
    uint8_t phase;    /* VfmVfuPhase */
    uint8_t reading;  /* VfmVfuReading */
    uint8_t fate;     /* VfmVfuFate */
    bool unheard;     /* the client takes no answer any more */
    bool left;        /* the client has closed its end, rather than we ours */
    bool negotiated;
    VfmVfuClient client;
} VfmVfuState;

/* Errors: VFM_SYSTEM_ERROR. */
VfmVfuJournal *vfm_vfu_journal_new(GError **error);
/* Descriptors stay open. */
void vfm_vfu_journal_free(VfmVfuJournal *journal);

/* The state that counts; to be read. */
const VfmVfuState *vfm_vfu_journal_state(const VfmVfuJournal *journal);
/* The connection; -1: none. */
int vfm_vfu_journal_socket(const VfmVfuJournal *journal);
const VfmVfuOffer *vfm_vfu_journal_offer(const VfmVfuJournal *journal);
/* Why the connection is broken, "" if it is not. */
const char *vfm_vfu_journal_why(const VfmVfuJournal *journal);

/* Begins with @socket (the journal's from then on), where nothing was. */
void vfm_vfu_journal_open(VfmVfuJournal *journal, int socket, const VfmVfuOffer *offer);
/* The device has been told of the end. */
void vfm_vfu_journal_end(VfmVfuJournal *journal);
/* Unused again, all its descriptors closed. */
void vfm_vfu_journal_clear(VfmVfuJournal *journal);

/* --- after a worker's death, before anything else */

/* Applies the predecessor's last transfers if they took place. */
void vfm_vfu_journal_recover(VfmVfuJournal *journal);
/* Appends the numbers of the descriptors (int) that are the journal's. */
void vfm_vfu_journal_descriptors(const VfmVfuJournal *journal, GArray *fds);

/* --- receiving */

/* Whether another message may be taken from the socket. */
bool vfm_vfu_journal_has_room(const VfmVfuJournal *journal);
/* Gets ready to receive the next part of a message, and what comes after vfm_vfu_journal_has_room(). */
void vfm_vfu_journal_prepare_receive(VfmVfuJournal *journal);
/* Receives. 0, or errno (EAGAIN). Needs no lock. */
int vfm_vfu_journal_receive(VfmVfuJournal *journal);
/* What came counts now. @status as received; the state says what it was. */
void vfm_vfu_journal_received(VfmVfuJournal *journal, int status);

/* --- carrying out and answering */

/* The message at the head, a view that stands until it is done; false: none has arrived. */
bool vfm_vfu_journal_message(const VfmVfuJournal *journal, VfmVfuMessage *message);
/* Room for the answer, VFM_VFU_MAX_MESSAGE bytes; being written to it does not count. Needs no lock. */
uint8_t *vfm_vfu_journal_reply(VfmVfuJournal *journal);
/* The message was carried out, @length bytes in the room are its answer (0: it wants none, and is done), with @fd if
 * not -1. @client: what the client said of itself, if that is known by now. */
void vfm_vfu_journal_answer(VfmVfuJournal *journal, uint32_t length, int fd, const VfmVfuClient *client);
/* The device is not the predecessor's any more: a descriptor that goes with a prepared answer, and is still to be sent,
 * may be another's by now. Such an answer is none, and its message is carried out again. */
void vfm_vfu_journal_take_back(VfmVfuJournal *journal);
/* Gets ready to send what is left of the answer. */
void vfm_vfu_journal_prepare_send(VfmVfuJournal *journal);
/* Sends. 0, or errno (EAGAIN). Needs no lock. */
int vfm_vfu_journal_send(VfmVfuJournal *journal);
/* What went counts now. */
void vfm_vfu_journal_sent(VfmVfuJournal *journal, int status);

/* --- who is to blame for crashes */

/* The worker is now busy with the message at the head, or no more. */
void vfm_vfu_journal_set_busy(VfmVfuJournal *journal, bool busy);
bool vfm_vfu_journal_busy(const VfmVfuJournal *journal);
/* Where a signal handler of the thread that is busy may note that it is the one that crashed. */
volatile uint32_t *vfm_vfu_journal_crash_note(VfmVfuJournal *journal);
/* One more worker crashed over the message at the head. */
void vfm_vfu_journal_blame(VfmVfuJournal *journal);
unsigned vfm_vfu_journal_crashes(const VfmVfuJournal *journal);
void vfm_vfu_journal_set_fate(VfmVfuJournal *journal, VfmVfuFate fate);

/* The last that is heard from here: if the client never got an answer, an error to its first message, as far as it
 * came. Changes nothing. */
void vfm_vfu_journal_refuse(const VfmVfuJournal *journal);

/* What may be offered, where it was not known when the connection was opened. */
void vfm_vfu_journal_set_offer(VfmVfuJournal *journal, const VfmVfuOffer *offer);

/* For tests: called by name at each step at which a death makes a difference. */
void vfm_vfu_journal_set_step(VfmVfuJournal *journal, void (*step)(const char *name, gpointer data), gpointer data);
void vfm_vfu_journal_step(const VfmVfuJournal *journal, const char *name);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmVfuJournal, vfm_vfu_journal_free)
