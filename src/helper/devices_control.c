/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices_control.h"

#include "backend_error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of one request, after which it is answered with an error: it may be what workers die of. */
enum { TRIES_MAX = 3 };

#define ORDER() __asm__ __volatile__("" ::: "memory")

/* One line, whatever was in it. */
static void flatten(char *text)
{
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < 0x20)
            *at = ' ';
}

static char *add(VfmDevicesControl *control, uint64_t number, const char *address, VfmDeviceServer *server)
{
    g_autoptr(GError) error = NULL;
    const char *path;

    if (number == control->added)
        return g_strdup(control->reply);
    if (control->tries > 1 && !vfm_device_server_waiting(server, address))
        g_set_error(&error, VFM_SYSTEM_ERROR, EINTR,
                    "%s: the process that maps ended while it attached the device; it is detached again", address);
    path = error ? NULL : vfm_device_server_add(server, address, &error);
    g_strlcpy(control->socket, path ? path : "", sizeof(control->socket));
    g_snprintf(control->reply, sizeof(control->reply), "%s %s", path ? "socket" : "error",
               path ? path : error->message);
    flatten(control->reply);
    control->added = number;
    return g_strdup(control->reply);
}

static char *withdraw(VfmDevicesControl *control, const char *other, VfmDeviceServer *server)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(other, 10, 1, G_MAXUINT64, &number, NULL) || number != control->added ||
        !*control->socket || !vfm_device_server_forget(server, control->socket))
        return g_strdup("error nothing of that request is waiting");
    *control->socket = '\0';
    return g_strdup("ok");
}

static char *answer(VfmDevicesControl *control, uint64_t number, const char *request, VfmDeviceServer *server)
{
    if (g_str_has_prefix(request, "add "))
        return add(control, number, request + strlen("add "), server);
    if (g_str_has_prefix(request, "forget "))
        return g_strdup(
            vfm_device_server_forget(server, request + strlen("forget ")) ? "ok" : "error no such socket is waiting");
    if (g_str_has_prefix(request, "withdraw "))
        return withdraw(control, request + strlen("withdraw "), server);
    if (strcmp(request, "limit") == 0) {
        VfmMaybe limit = vfm_memlock_limit();

        return limit.set ? g_strdup_printf("limit %" PRIu64, limit.value) : g_strdup("limit none");
    }
    if (strcmp(request, "status") == 0)
        return vfm_device_server_status(server);
    return g_strdup("error unknown request");
}

/* --- one packet at a time; each field that counts is one store */

bool vfm_devices_control_waits(const VfmDevicesControl *control)
{
    return control->length > 0 && !control->ended && control->sending == control->at + 1;
}

bool vfm_devices_control_pending(const VfmDevicesControl *control)
{
    return control->length > 0 && !control->ended && !vfm_devices_control_waits(control);
}

/* A packet came. */
static void take(VfmDevicesControl *control, size_t bytes)
{
    if (bytes == 0) {
        control->ended = 1;
        return;
    }
    control->packet[bytes] = '\0';
    control->at = control->begun = control->tries = control->answered = control->sending = 0;
    ORDER();
    control->length = (uint32_t)bytes;
    ORDER();
}

static uint32_t line_length(const VfmDevicesControl *control)
{
    return (uint32_t)strcspn(control->packet + control->at, "\n");
}

/* The line is answered. */
static void advance(VfmDevicesControl *control)
{
    ORDER();
    control->at += line_length(control) + 1;
    ORDER();
    control->tries = 0;
    if (control->at >= control->length)
        control->length = 0;
}

void vfm_devices_control_recover(VfmDevicesControl *control)
{
    size_t bytes;

    if (control->receiving && control->length == 0 && vfm_transfer_done(&control->receive, &bytes))
        take(control, bytes);
    control->receiving = 0;
    if (control->length > 0 && control->sending == control->at + 1 && vfm_transfer_done(&control->send, &bytes))
        advance(control);
    control->sending = 0;
    if (control->at >= control->length)
        control->length = 0;
}

static void receive(VfmDevicesControl *control, int socket)
{
    int status;
    size_t bytes;

    vfm_transfer_prepare_receive(&control->receive, control->packet, VFM_DEVICES_PACKET_MAX);
    control->receiving = 1;
    ORDER();
    status = vfm_transfer_receive(&control->receive, socket);
    if (vfm_transfer_done(&control->receive, &bytes))
        take(control, bytes);
    else if (status != EAGAIN)
        control->ended = 1;
    control->receiving = 0;
}

/* Prepares the answer to the line. */
static void carry_out(VfmDevicesControl *control, VfmDeviceServer *server)
{
    g_autofree char *line = g_strndup(control->packet + control->at, line_length(control)), *reply = NULL;
    uint64_t number;
    char *end;
    int length;

    control->tries = control->begun == control->at + 1 ? control->tries + 1 : 1;
    control->begun = control->at + 1;
    number = strtoull(line, &end, 10);
    if (end == line || *end != ' ')
        reply = NULL;
    else if (control->tries > TRIES_MAX)
        reply = g_strdup("error the process that maps crashed over this request");
    else
        reply = answer(control, number, end + 1, server);
    if (reply)
        flatten(reply);
    length = reply ? g_snprintf(control->answer, sizeof(control->answer), "%" PRIu64 " %.*s\n", number,
                                VFM_DEVICES_LINE_MAX - 32, reply)
                   : 0;
    control->answer_length = (uint32_t)length;
    ORDER();
    control->answered = control->at + 1;
}

/* 0, or errno: EAGAIN leaves it as what waits. */
static int send_answer(VfmDevicesControl *control, int socket)
{
    if (control->answer_length == 0)
        return 0;
    control->sending = 0;
    ORDER();
    vfm_transfer_prepare_send(&control->send, control->answer, control->answer_length, NULL, 0);
    ORDER();
    control->sending = control->at + 1;
    ORDER();
    return vfm_transfer_send(&control->send, socket);
}

bool vfm_devices_control_serve(VfmDevicesControl *control, int socket, VfmDeviceServer *server)
{
    if (control->length == 0 && !control->ended)
        receive(control, socket);
    while (control->length > 0 && !control->ended) {
        int status;

        if (control->answered != control->at + 1)
            carry_out(control, server);
        status = send_answer(control, socket);
        if (status == EAGAIN)
            break;
        if (status)
            control->ended = 1;
        advance(control);
    }
    return !control->ended;
}

void vfm_devices_control_tell(int socket, const char *action, const char *device, const char *text)
{
    g_autofree char *flat = g_strndup(text, 1024), *line = NULL;

    if (socket < 0)
        return;
    flatten(flat);
    line = g_strdup_printf("event %s %s %s\n", action, device ? device : "-", flat);
    /* Nobody waits for it: a mediator that is behind finds out by asking. */
    send(socket, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
}
