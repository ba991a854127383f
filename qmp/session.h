/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * session.h - the greeting and the negotiation, seen from between two peers.
 *
 * QEMU greets and is negotiated with once in its life, by the first client
 * (docs/interop/qmp-spec.rst). Later clients (libvirtd after a restart) are met
 * here with the same greeting, and their qmp_capabilities is answered here, in
 * the words QEMU would use. A session is a few plain fields without pointers,
 * so that it can lie in memory that outlives its process.
 *
 * A session sends nothing and never sees bytes: it is asked what to do with a
 * message and changes its state accordingly. One thread at a time.
 */
#pragma once

#include "message.h"

#include <stdint.h>

typedef enum {
    VFM_QEMU_SILENT = 0, /* no greeting yet */
    VFM_QEMU_GREETED,    /* greeted, not negotiated: knows qmp_capabilities only */
    VFM_QEMU_READY
} VfmQemuState;

typedef enum {
    VFM_CLIENT_NONE = 0,
    VFM_CLIENT_NEW,     /* connected, QEMU's greeting is not here yet */
    VFM_CLIENT_GREETED, /* must negotiate */
    VFM_CLIENT_READY
} VfmClientState;

typedef struct {
    uint8_t qemu;        /* VfmQemuState */
    uint8_t client;      /* VfmClientState */
    bool oob_offered;    /* QEMU's greeting has the capability */
    bool oob_asked;      /* the negotiation on its way to QEMU asks for it */
    bool oob_enabled;    /* QEMU runs with it */
    bool client_has_oob; /* the present client asked for it */
} VfmSession;

typedef enum {
    VFM_SESSION_FORWARD, /* to QEMU, as it is */
    VFM_SESSION_ANSWER   /* the reply is ours */
} VfmSessionVerdict;

void vfm_session_connect(VfmSession *session);
void vfm_session_disconnect(VfmSession *session);

/* QEMU's first message arrived. False: it is no greeting. */
bool vfm_session_greeting(VfmSession *session, const VfmMessage *message);

/* The greeting was given to the client. */
void vfm_session_greeted(VfmSession *session);

/* A message of the client, in any state. With VFM_SESSION_ANSWER *@reply gets the text to send, to be freed. */
VfmSessionVerdict vfm_session_command(VfmSession *session, const VfmMessage *message, char **reply);

/* A reply of QEMU while it is not negotiated: success can only be that of qmp_capabilities. */
void vfm_session_reply(VfmSession *session, const VfmMessage *message);

/* "silent", "greeted", "ready", for traces. */
const char *vfm_session_qemu_name(const VfmSession *session);
