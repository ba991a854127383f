/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * takeover_clients.h - vfio-user clients that say many things at once and know what each answer must be.
 *
 * For tests that kill whoever answers. A client keeps an image of its device's BAR and a queue of the answers it waits
 * for; an answer that is wrong, missing for 20 s, out of order or too much fails the test. Not for more than one
 * thread.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "vfu_protocol.h"

enum {
    CLIENTS = 2,
    IN_FLIGHT = 40,
    BAR_SIZE = 1 << 20,
    LARGE = 600000,  /* more than a socket's buffer */
    DEADLY = 0xdead, /* where no client writes by itself */
};

/* A device, in memory that survives. */
typedef struct {
    uint8_t bar[BAR_SIZE];
    uint64_t last;    /* number of the last map, unmap or interrupt setting */
    uint64_t repeats; /* commands that came again */
    uint32_t gones, resets, wrong;
    char why[256]; /* of the last end */
} Core;

typedef struct {
    uint64_t number;
    uint16_t command;
    GByteArray *payload; /* that the answer must have */
    int status;
    bool fd; /* comes along */
} Expected;

typedef struct {
    int socket;
    const Core *core;
    GRand *rand;
    uint8_t bar[BAR_SIZE]; /* as the device's must be */
    GByteArray *out;       /* of the message that is being sent */
    size_t sent;
    int fds[VFM_VFU_MAX_FDS];
    unsigned n_fds;
    GByteArray *in;
    unsigned in_fds;
    GQueue *expected;
    uint64_t asked, answered, large, with_fds, maps;
} Client;

/* @core is the client's device, @socket (consumed) leads to it; @seed decides what it says. */
void client_init(Client *client, const Core *core, int socket, guint32 seed);
void client_clear(Client *client);

/* Begins a message of any kind; there must be none half sent. The first of all is the version. */
void ask(Client *client);
void ask_map(Client *client);
/* One that the server refuses. */
void ask_impossible(Client *client);
/* Any other: @payload and @more together; what is returned may be changed to say what the answer must be. */
Expected *begin_message(Client *client, uint16_t command, uint32_t flags, const void *payload, uint32_t length,
                        const void *more, uint32_t more_length);

/* What can be done now, for all clients; @more: new messages may be begun. */
void turn(Client *clients, bool more);
/* Nothing is half sent or unanswered. */
bool quiet(const Client *clients);
