/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * talk.h - dealing with one command of the client that is not simply forwarded.
 *
 * The mediator stops the client's stream at such a command and lets a talk
 * decide. A talk may first ask QEMU, in turns; then it says what becomes of the
 * command. It does no I/O, knows no ids and keeps nothing beyond its command: a
 * talk that is lost (the worker crashed) is begun anew with the same command,
 * so everything it asks of QEMU must be harmless to ask twice.
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
    VFM_TALK_FORWARD, /* the command goes to QEMU as it came */
    VFM_TALK_ANSWER   /* turn->answer is the reply; QEMU never sees the command */
} VfmTalkVerdict;

typedef struct {
    const VfmMessage *message; /* the client's command */
    const GPtrArray *replies;  /* char*: QEMU's replies to what was asked in the last turn, in that order */
    GPtrArray *ask;  /* to fill: char*, the members of a command but its id: "execute": ..., no outer braces */
    VfmMaybe note;   /* to fill: kept from the moment on at which what is asked counts as sent */
    GString *answer; /* to fill: a text of reply.h */
    GString *events; /* to fill: texts of vfm_reply_event(), sent after the answer or before the forwarding */
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

/* Whoever opens talks: the guard and the commands of our own. */
typedef struct VfmTalker VfmTalker;
struct VfmTalker {
    /* A talk about the command in @text, or NULL: forward it. @message are its members. */
    VfmTalk *(*open)(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length);
};
