/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * journal.h - the mediator's whole state, in memory that outlives its process.
 *
 * A supervisor makes the journal and starts a worker that shares it (and the
 * table of descriptors). When the worker dies, at any instruction, its
 * successor reads the journal and goes on: nothing is lost, done twice or in
 * another order. Three rules make that true:
 *
 * 1. State changes at once. There are two copies of the state; one counts. A
 *    change is written to the other, and one store of an index makes it the one
 *    that counts (vfm_journal_begin, vfm_journal_commit).
 * 2. Rings hold the bytes. What lies outside of a ring's head and tail in the
 *    state does not exist, so writing there needs no care.
 * 3. Transfers leave a trace. What recvmmsg and sendmmsg did stands in memory
 *    when they return (fdpass.h), next to the number of the state they were
 *    begun in: a successor applies it exactly if the state has not moved on.
 *
 * Streams: bytes from and to the client, from and to QEMU, and in helper mode
 * from and to the process that maps devices (devices_wire.h), each a ring of
 * VFM_RING_SIZE bytes mapped twice in a row, so that any part is contiguous,
 * and a ring of the descriptors that travel with them. Offsets are stream
 * offsets; they go back to zero whenever a stream runs empty, which keeps the
 * touched memory as small as the traffic is.
 *
 * The journal owns the memory and the descriptors its rings and state name.
 * One process at a time changes it.
 */
#pragma once

#include "fdpass.h"
#include "frame.h"
#include "session.h"

#include "domain.h"

#define VFM_RING_SIZE (1u << 20)
/* Longest text of the client that is taken; QEMU's answers may be longer, they stream. */
#define VFM_CLIENT_TEXT_MAX (VFM_RING_SIZE - 4096u)
#define VFM_GREETING_MAX 4096u

typedef enum {
    VFM_CLIENT_IN,
    VFM_CLIENT_OUT,
    VFM_QEMU_IN,
    VFM_QEMU_OUT,
    VFM_DEVICES_IN,
    VFM_DEVICES_OUT,
    VFM_STREAMS
} VfmStreamId;

/* Devices of one guest that are remembered; of more, events are told but nothing is kept. */
#define VFM_DEVICES_MAX 256u
#define VFM_CHECKPOINT_MAX 256u
/* Back ends that were plugged in later; of more, the oldest are forgotten. */
#define VFM_BACK_ENDS_MAX 32u
#define VFM_KEPT_MAX 2048u

typedef struct {
    uint64_t words[VFM_DEVICES_MAX / 64];
} VfmDeviceSet;

/* How much the worker does; a supervisor raises it when the same message kills workers repeatedly. */
typedef enum {
    VFM_LEVEL_FULL,  /* guard, commands of our own */
    VFM_LEVEL_RELAY, /* framing and session only: clients can still come and go */
    VFM_LEVEL_RAW    /* bytes and descriptors, unseen */
} VfmLevel;

typedef enum { VFM_REST_NONE, VFM_REST_FORWARD, VFM_REST_DROP } VfmRest;

typedef struct {
    uint64_t head, tail;
    VfmFdSpan fds;
} VfmStream;

typedef struct {
    uint64_t sequence; /* of states */
    uint64_t messages; /* texts dealt with, from either side: progress, for the supervisor */
    VfmStream streams[VFM_STREAMS];
    VfmFdSpan closing;     /* descriptors to close; already nobody's */
    VfmFrame client_frame; /* at the head of VFM_CLIENT_IN */
    VfmFrame qemu_frame;   /* at the head of VFM_QEMU_IN */
    VfmSession session;
    int32_t client;    /* descriptor, -1: none */
    bool client_ended; /* nothing more comes from it */
    bool qemu_ended;
    bool drain_wanted;  /* answers to a client that left are still to come */
    bool scolded;       /* the present run of bad bytes has been answered */
    uint8_t qemu_rest;  /* VfmRest: what becomes of the rest of QEMU's present text */
    uint32_t own_first; /* commands of our own in flight: own_first up to own_next */
    uint32_t own_next;
    uint32_t drained_at; /* when own_first gets here, all answers to former clients are gone */
    uint32_t greeting_length;
    uint32_t clients;       /* so far */
    uint8_t balloon;        /* VfmBalloonPolicy in force */
    uint64_t noted;         /* VfmTalkTurn.note */
    uint64_t refusals;      /* of the guard */
    uint32_t back_ends;     /* entries of VfmShared.back_ends that count, bit by bit */
    uint32_t back_end_next; /* which is written next */

    /* The process that maps: helper mode only. */
    bool devices_ended;
    uint64_t requests;          /* to it so far: the number of the last */
    VfmDeviceSet devices;       /* entries of VfmShared.devices that count */
    VfmDeviceSet held, lost;    /* of these */
    uint8_t checkpoint;         /* of the talk at the head of VFM_CLIENT_IN: which of the two counts */
    uint16_t checkpoint_length; /* 0: none */
    bool keeps;                 /* the reply to own command @kept belongs to it */
    uint32_t kept;
    uint16_t kept_length; /* of that reply; 0: it is not here yet */
} VfmJournalState;

/* A device that the process that maps serves. */
typedef struct {
    char address[32]; /* in the host */
    char socket[112];
    char id[64]; /* QEMU's, of one that was plugged in later */
} VfmDeviceEntry;

typedef enum { VFM_OP_NONE, VFM_OP_RECEIVE, VFM_OP_SEND, VFM_OP_ACCEPT } VfmOpKind;

typedef struct {
    uint32_t kind;   /* VfmOpKind */
    uint32_t stream; /* VfmStreamId */
    uint64_t sequence;
    VfmTransfer transfer;
} VfmOp;

/* A network or block back end that inhibits discards. */
typedef struct {
    uint32_t kind; /* VfmAssignedKind */
    char id[64];
    char address[192];
} VfmBackEnd;

/* What is shared. Fixed addresses: worker and supervisor are clones of one process. */
typedef struct {
    volatile uint32_t active; /* index of the state that counts */
    volatile uint32_t busy;   /* the worker is looking at a message right now */
    volatile uint32_t level;  /* VfmLevel; written by the supervisor between workers */
    uint32_t restarts;
    uint32_t token;       /* distinguishes our ids from everybody's */
    uint32_t patience_ms; /* with the process that maps; only tests change it */
    VfmJournalState states[2];
    VfmOp op;
    VfmFdRing fds[VFM_STREAMS];
    VfmFdRing closing;
    char greeting[VFM_GREETING_MAX];
    VfmDeviceEntry devices[VFM_DEVICES_MAX]; /* written before the state says that an entry counts */
    VfmBackEnd back_ends[VFM_BACK_ENDS_MAX];
    char checkpoints[2][VFM_CHECKPOINT_MAX];
    char kept[VFM_KEPT_MAX];
} VfmShared;

typedef struct {
    VfmShared *shared;
    char *rings[VFM_STREAMS];
    VfmJournalState *next; /* the change being made; NULL outside of one */
} VfmJournal;

VfmJournal *vfm_journal_new(GError **error);
void vfm_journal_free(VfmJournal *journal);

/* The state that counts; read only. */
static inline const VfmJournalState *vfm_journal_state(const VfmJournal *journal)
{
    return &journal->shared->states[journal->shared->active];
}

/* Begins a change: a copy of the state to write to. Nothing counts until it is committed; a change that is begun anew
 * instead never was. */
VfmJournalState *vfm_journal_begin(VfmJournal *journal);
void vfm_journal_commit(VfmJournal *journal);

/* Bytes waiting in a stream, and bytes it can still take. */
size_t vfm_stream_used(const VfmJournalState *state, VfmStreamId id);
size_t vfm_stream_room(const VfmJournalState *state, VfmStreamId id);

/* The bytes from stream offset @offset on; contiguous for VFM_RING_SIZE bytes. */
char *vfm_stream_at(const VfmJournal *journal, VfmStreamId id, uint64_t offset);

/* Parts of a change; @next is what vfm_journal_begin() returned. There must be room, for descriptors too. */
void vfm_stream_put(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, const char *bytes, size_t length);
/* The first @length bytes of @from, with their descriptors, to the end of @to. */
void vfm_stream_move(VfmJournal *journal, VfmJournalState *next, VfmStreamId from, VfmStreamId to, size_t length);
/* Throws the first @length bytes away; their descriptors will be closed. */
void vfm_stream_drop(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, size_t length);
/* The same for text that is answered here: descriptors stay for what follows, if something does. The kernel hands a
 * descriptor over together with bytes that were sent before those it belongs to (Linux: unix_stream_read_generic). */
void vfm_stream_skip(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, size_t length);
/* Hands a descriptor over to be closed. */
void vfm_journal_discard(VfmJournal *journal, VfmJournalState *next, int fd);

/* Descriptors that came with the first @length bytes of a stream. */
unsigned vfm_stream_fds(const VfmJournal *journal, const VfmJournalState *state, VfmStreamId id, size_t length);

/* The entry of the device that the process that maps serves for @address; -1: none. */
int vfm_journal_find_device(const VfmJournal *journal, const char *address);

static inline bool vfm_device_set_has(const VfmDeviceSet *set, unsigned i)
{
    return set->words[i / 64] >> (i % 64) & 1;
}

static inline void vfm_device_set_put(VfmDeviceSet *set, unsigned i, bool in)
{
    set->words[i / 64] = (set->words[i / 64] & ~(UINT64_C(1) << (i % 64))) | (uint64_t)in << (i % 64);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmJournal, vfm_journal_free)
