/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "message.h"

#include <string.h>

typedef struct {
    const char *at, *end;
} Cursor;

static void skip_space(Cursor *cursor)
{
    while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) && *cursor->at)
        cursor->at++;
}

/* At a quote: to after the closing one. */
static bool skip_string(Cursor *cursor)
{
    char quote = *cursor->at++;

    for (; cursor->at < cursor->end; cursor->at++) {
        if (*cursor->at == '\\') {
            if (++cursor->at == cursor->end)
                return false;
        } else if (*cursor->at == quote) {
            cursor->at++;
            return true;
        }
    }
    return false;
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* One value, however deep; brackets are only counted, as in frame.h. */
static bool skip_value(Cursor *cursor)
{
    int depth = 0;

    while (cursor->at < cursor->end) {
        char c = *cursor->at;

        if (is_quote(c)) {
            if (!skip_string(cursor))
                return false;
            if (depth == 0)
                return true;
            continue;
        }
        if (c == '{' || c == '[')
            depth++;
        if (c == '}' || c == ']' || c == ',') {
            if (depth == 0)
                return true;
            if (c != ',' && --depth == 0) {
                cursor->at++;
                return true;
            }
        }
        cursor->at++;
    }
    return false;
}

static VfmSlice *member(VfmMessage *message, VfmSlice key)
{
    static const struct {
        const char *name;
        size_t offset;
    } members[] = {
        {"execute", offsetof(VfmMessage, execute)},     {"exec-oob", offsetof(VfmMessage, exec_oob)},
        {"arguments", offsetof(VfmMessage, arguments)}, {"id", offsetof(VfmMessage, id)},
        {"QMP", offsetof(VfmMessage, greeting)},        {"event", offsetof(VfmMessage, event)},
        {"return", offsetof(VfmMessage, returned)},     {"error", offsetof(VfmMessage, error)},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(members); i++)
        if (vfm_slice_is_string(key, members[i].name))
            return (VfmSlice *)((char *)message + members[i].offset);
    return NULL;
}

static bool read_members(VfmMessage *message, Cursor *cursor)
{
    for (;;) {
        VfmSlice key, value, *slot;

        skip_space(cursor);
        if (cursor->at == cursor->end || !is_quote(*cursor->at))
            return false;
        key.at = cursor->at;
        if (!skip_string(cursor))
            return false;
        key.length = (size_t)(cursor->at - key.at);
        if (memchr(key.at, '\\', key.length))
            return false;
        skip_space(cursor);
        if (cursor->at == cursor->end || *cursor->at++ != ':')
            return false;
        skip_space(cursor);
        value.at = cursor->at;
        if (!skip_value(cursor))
            return false;
        value.length = (size_t)(cursor->at - value.at);
        while (value.length && strchr(" \t\r\n", value.at[value.length - 1]))
            value.length--;
        slot = member(message, key);
        if (value.length == 0 || (slot && slot->at))
            return false;
        if (slot)
            *slot = value;
        skip_space(cursor);
        if (cursor->at == cursor->end)
            return false;
        if (*cursor->at == '}') {
            cursor->at++;
            return true;
        }
        if (*cursor->at++ != ',')
            return false;
    }
}

bool vfm_message_read(VfmMessage *message, const char *text, size_t length)
{
    Cursor cursor = {text, text + length};

    *message = (VfmMessage){0};
    skip_space(&cursor);
    if (cursor.at < cursor.end && *cursor.at++ == '{' && read_members(message, &cursor)) {
        skip_space(&cursor);
        message->plain = cursor.at == cursor.end;
    }
    if (!message->plain)
        *message = (VfmMessage){0};
    return message->plain;
}

VfmSlice vfm_slice_string(VfmSlice slice)
{
    if (!slice.at || slice.length < 2 || !is_quote(*slice.at) || memchr(slice.at, '\\', slice.length))
        return (VfmSlice){0};
    return (VfmSlice){slice.at + 1, slice.length - 2};
}

bool vfm_slice_is_string(VfmSlice slice, const char *value)
{
    VfmSlice inner = vfm_slice_string(slice);

    return inner.at && inner.length == strlen(value) && memcmp(inner.at, value, inner.length) == 0;
}

bool vfm_slice_has_prefix(VfmSlice slice, const char *prefix)
{
    VfmSlice inner = vfm_slice_string(slice);

    return inner.at && inner.length >= strlen(prefix) && memcmp(inner.at, prefix, strlen(prefix)) == 0;
}
