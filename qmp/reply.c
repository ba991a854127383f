/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "reply.h"

#include <string.h>

static void append_escaped(GString *out, gunichar c)
{
    if (c > 0xffff) {
        c -= 0x10000;
        g_string_append_printf(out, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
    } else {
        g_string_append_printf(out, "\\u%04x", c);
    }
}

char *vfm_reply_quote(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *out = g_string_new("\"");

    for (const char *at = valid; *at; at = g_utf8_next_char(at)) {
        gunichar c = g_utf8_get_char(at);

        if (c == '"' || c == '\\')
            g_string_append_printf(out, "\\%c", (char)c);
        else if (c < 0x20 || c > 0x7e)
            append_escaped(out, c);
        else
            g_string_append_c(out, (char)c);
    }
    g_string_append_c(out, '"');
    return g_string_free(out, FALSE);
}

static void append_id(GString *out, const char *before, VfmSlice id, const char *after)
{
    if (!id.at)
        return;
    g_string_append(out, before);
    g_string_append(out, "\"id\": ");
    for (size_t i = 0; i < id.length; i++)
        g_string_append_c(out, id.at[i] == '\n' || id.at[i] == '\r' ? ' ' : id.at[i]);
    g_string_append(out, after);
}

char *vfm_reply_error_class(VfmSlice id, const char *class, const char *text)
{
    g_autofree char *quoted = vfm_reply_quote(text);
    GString *out = g_string_new("{");

    append_id(out, "", id, ", ");
    g_string_append_printf(out, "\"error\": {\"class\": \"%s\", \"desc\": %s}}\r\n", class, quoted);
    return g_string_free(out, FALSE);
}

char *vfm_reply_error(VfmSlice id, const char *text)
{
    return vfm_reply_error_class(id, "GenericError", text);
}

char *vfm_reply_return(VfmSlice id, const char *json)
{
    GString *out = g_string_new("{\"return\": ");

    g_string_append(out, json);
    append_id(out, ", ", id, "");
    g_string_append(out, "}\r\n");
    return g_string_free(out, FALSE);
}

char *vfm_reply_event(const char *name, const char *json)
{
    gint64 now = g_get_real_time();

    return g_strdup_printf("{\"timestamp\": {\"seconds\": %" G_GINT64_FORMAT ", \"microseconds\": %" G_GINT64_FORMAT
                           "}, \"event\": \"%s\", \"data\": %s}\r\n",
                           now / G_USEC_PER_SEC, now % G_USEC_PER_SEC, name, json);
}
