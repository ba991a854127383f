/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor_source.h"

#include "connection.h"
#include "error.h"
#include "message.h"

#include <stdio.h>
#include <string.h>

char *vfm_monitor_source_ask(const char *uri, const char *domain, const char *command, const char *arguments,
                             GError **error)
{
    g_autofree char *text = arguments ? g_strdup_printf("{\"execute\":\"%s\",\"arguments\":%s}", command, arguments)
                                      : g_strdup_printf("{\"execute\":\"%s\"}", command);
    g_autofree char *reply = vfm_connection_monitor(uri, domain, text, error);
    VfmMessage message;

    if (!reply) {
        if (error && g_error_matches(*error, VFM_REFUSED, VFM_REFUSED_STATE))
            vfm_error_append(error, "of a guest that does not run, `vfiomem plan --domain=%s` shows the numbers",
                             domain);
        return NULL;
    }
    if (vfm_message_read(&message, reply, strlen(reply)) && message.returned.at)
        return g_steal_pointer(&reply);
    if (message.error.at && memmem(message.error.at, message.error.length, "CommandNotFound", 15))
        g_set_error(
            error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
            "domain '%s' has no helper of vfiomem beside it: its <emulator> must be vfiomem-qemu when it starts "
            "(`vfiomem apply` writes it)",
            domain);
    else
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED, "domain '%s': the monitor answered: %.*s", domain,
                    (int)MIN(strcspn(reply, "\r\n"), 500), reply);
    return NULL;
}

void vfm_monitor_source_print(const char *reply)
{
    VfmMessage message;

    if (vfm_message_read(&message, reply, strlen(reply)))
        printf("%.*s\n", (int)message.returned.length, message.returned.at);
}
