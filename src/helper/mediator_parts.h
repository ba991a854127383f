/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* mediator_parts.h - what the files of the mediator share, and nobody else. */
#pragma once

#include "mediator.h"

/* Room that must be in QEMU's stream before a talk may ask: more than it ever asks at once. */
#define VFM_ASK_MAX (64u * 1024)

typedef enum {
    VFM_TALK_IDLE,
    VFM_TALK_WAITING,    /* for QEMU */
    VFM_TALK_AT_DEVICES, /* for the process that maps */
    VFM_TALK_DUE,
    VFM_TALK_DECIDED
} VfmTalkState;

struct VfmMediator {
    VfmJournal *journal;
    VfmTalker *talker;

    VfmFrame client_frame; /* at @client_ahead bytes after the head of VFM_CLIENT_IN */
    size_t client_ahead;
    size_t client_text; /* a whole text of this many bytes waits at the head; 0: none known */
    bool client_bad;    /* and it is no text: see @client_why */
    const char *client_why;

    VfmFrame qemu_frame; /* the same for VFM_QEMU_IN */
    size_t qemu_ahead;

    VfmTalk *talk;
    VfmTalkState talk_state;
    VfmTalkVerdict verdict; /* in VFM_TALK_DECIDED */
    bool asked;             /* something was asked in this talk: the barrier stands */
    uint32_t first, last;   /* commands of our own asked in this turn: first up to last */
    GPtrArray *replies;
    GString *answer, *events;
    bool anew; /* its checkpoint, if there is one, was a predecessor's */

    char *request; /* the last to the process that maps, without its number */
    gint64 overdue;
    char *devices_answer; /* NULL: there is none */
};

/* mediator_qemu.c: one step with what QEMU sent. */
bool vfm_mediator_from_qemu(VfmMediator *mediator);

/* mediator_client.c: one step with what the client sent. */
bool vfm_mediator_from_client(VfmMediator *mediator);

/* mediator_devices.c: one step with what the process that maps sent. */
bool vfm_mediator_from_devices(VfmMediator *mediator);
/* Parts of a change: a request, under the last one's number if @again; and taking back the last one, with the
 * checkpoint it was made with. */
void vfm_mediator_request(VfmMediator *mediator, VfmJournalState *next, const char *request, bool again);
void vfm_mediator_withdraw(VfmMediator *mediator, VfmJournalState *next);

/* mediator_talk.c */
void vfm_mediator_talk(VfmMediator *mediator, VfmTalk *talk);
bool vfm_mediator_talk_step(VfmMediator *mediator);
void vfm_mediator_talk_end(VfmMediator *mediator);
void vfm_mediator_talk_reply(VfmMediator *mediator, uint32_t number, const char *text, size_t length);
/* Appends a command of our own to QEMU's stream, as part of a change. */
void vfm_mediator_ask(VfmMediator *mediator, VfmJournalState *next, const char *members);
/* Whether @id is one of ours; *@number gets which. */
bool vfm_mediator_is_own(const VfmMediator *mediator, VfmSlice id, uint32_t *number);
