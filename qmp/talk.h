/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * talk.h - dealing with one command of the client that is not simply forwarded.
 *
 * The mediator stops the client's stream at such a command and lets a talk
 * decide. A talk may first ask QEMU, in turns; then it says what becomes of the
 * command. It does no I/O, knows no ids and keeps nothing beyond its command: a
 * talk that is lost (the worker crashed) is begun anew with the same command,
 * so everything it asks of QEMU must be harmless to ask twice. What is not (a device_add
 * in our own name) is asked with a checkpoint: from the moment on at which
 * the question counts as sent, a talk begun anew finds the checkpoint, and the
 * reply is kept for it.
 *
 * What a talk asks also is the barrier that keeps the order of answers: QEMU
 * answers it after everything that the client sent before.
 *
 * A talk owns what it allocates and borrows a turn's fields for one step.
 */
#pragma once

#include "domain.h"
#include "message.h"

typedef enum {
    VFM_TALK_ASK,     /* QEMU is to be asked what is in turn->ask; come back with the replies */
    VFM_TALK_DEVICES, /* the process that maps devices is to be asked turn->request; come back with its answer */
    VFM_TALK_RESUME,  /* only where turn->found is set: come back with the reply to what was asked with it */
    VFM_TALK_FORWARD, /* the command goes to QEMU as it came */
    VFM_TALK_ANSWER   /* turn->answer is the reply; QEMU never sees the command */
} VfmTalkVerdict;

typedef struct {
    const VfmMessage *message; /* the client's command */
    const GPtrArray *replies;  /* char*: QEMU's replies to what was asked in the last turn, in that order */
    GPtrArray *ask; /* to fill: char*, the members of a command but its id: "execute": ..., no outer braces */
    VfmMaybe note;  /* to fill: kept from the moment on at which what is asked counts as sent */
    char *request;  /* to fill, with VFM_TALK_DEVICES: devices_wire.h, without its number; taken over */
    char *keep;     /* to fill, with VFM_TALK_ASK (of one question) or _DEVICES: a checkpoint; taken over */
    /* The last checkpoint, in the first turn of a talk that is begun anew; else NULL. A request that was made with it
     * must be made again: it gets the same number and so the same answer. */
    const char *found;
    const char *devices; /* the answer to turn->request; NULL: that process is gone or silent */
    GString *answer;     /* to fill: a text of reply.h */
    GString *events;     /* to fill: texts of vfm_reply_event(), sent after the answer or before the forwarding */
} VfmTalkTurn;

typedef struct VfmTalk VfmTalk;

typedef struct {
    VfmTalkVerdict (*step)(VfmTalk *talk, VfmTalkTurn *turn);
    void (*free)(VfmTalk *talk);
} VfmTalkOps;

struct VfmTalk {
    const VfmTalkOps *ops;
};

/* A talk that answers with an error without asking anything; for bytes that are no command. @why is copied. */
VfmTalk *vfm_talk_scold(const char *why);

/* The same for a command; the error is @why as it is. */
VfmTalk *vfm_talk_decline(const char *why);

/* Whoever opens talks: the guard and the commands of our own. */
typedef struct VfmTalker VfmTalker;
struct VfmTalker {
    /* A talk about the command in @text, or NULL: forward it. @message are its members. */
    VfmTalk *(*open)(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length);
};
