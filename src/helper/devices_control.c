/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices_control.h"

#include "backend_error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { REQUEST_MAX = 4096 };

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
    path = vfm_device_server_add(server, address, &error);
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

bool vfm_devices_control_serve(VfmDevicesControl *control, int socket, VfmDeviceServer *server)
{
    char packet[REQUEST_MAX + 1], *rest = packet, *line;
    ssize_t n = recv(socket, packet, REQUEST_MAX, MSG_DONTWAIT);

    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    if (n == 0)
        return false;
    packet[n] = '\0';
    while ((line = strsep(&rest, "\n"))) {
        g_autofree char *reply = NULL, *text = NULL;
        char *end;
        uint64_t number = strtoull(line, &end, 10);

        if (end == line || *end != ' ')
            continue;
        reply = answer(control, number, end + 1, server);
        flatten(reply);
        text = g_strdup_printf("%" PRIu64 " %.*s\n", number, VFM_DEVICES_LINE_MAX - 32, reply);
        if (send(socket, text, strlen(text), MSG_NOSIGNAL) < 0)
            return false;
    }
    return true;
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
