/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* vfu_client.h - a vfio-user client that says what it is told to, for tests. Failures are cmocka's. */
#pragma once

#include <glib.h>

#include "vfu_protocol.h"

/* What QEMU 11.1 says of itself, with its NUL. */
#define QEMU_CAPABILITIES_SIZE 179
extern const char qemu_capabilities[QEMU_CAPABILITIES_SIZE];

/* Descriptors of this process. */
unsigned open_fds(void);

void send_raw(int socket, const void *data, size_t length, const int *fds, unsigned n_fds);
void command_fds(int socket, uint16_t id, uint16_t command, uint32_t flags, const void *payload, uint32_t length,
                 const int *fds, unsigned n_fds);
void command(int socket, uint16_t id, uint16_t number, const void *payload, uint32_t length);

/* Reads one reply; its errno (0: success), payload into @payload (@room bytes), descriptor into *@fd. */
int reply(int socket, uint16_t id, void *payload, size_t room, size_t *length, int *fd);

int negotiate_with(int socket, const char *json, size_t length, char *answer, size_t room);
void negotiate(int socket);
