/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "json_out.h"

#include <inttypes.h>

#define DEPTH_MAX 16

struct VfmJsonOut {
    GString *text;
    bool pretty;
    unsigned depth;
    struct {
        char close;
        bool filled;
    } open[DEPTH_MAX];
};

VfmJsonOut *vfm_json_out_new(bool pretty)
{
    VfmJsonOut *out = g_new0(VfmJsonOut, 1);

    out->text = g_string_sized_new(1024);
    out->pretty = pretty;
    return out;
}

void vfm_json_out_free(VfmJsonOut *out)
{
    if (!out)
        return;
    g_string_free(out->text, TRUE);
    g_free(out);
}

static void new_line(VfmJsonOut *out)
{
    if (!out->pretty)
        return;
    g_string_append_c(out->text, '\n');
    for (unsigned i = 0; i < out->depth; i++)
        g_string_append(out->text, "  ");
}

static void quote(VfmJsonOut *out, const char *value)
{
    g_autofree char *valid = g_utf8_make_valid(value, -1);

    g_string_append_c(out->text, '"');
    for (const unsigned char *c = (const unsigned char *)valid; *c; c++) {
        switch (*c) {
        case '"':
            g_string_append(out->text, "\\\"");
            break;
        case '\\':
            g_string_append(out->text, "\\\\");
            break;
        case '\n':
            g_string_append(out->text, "\\n");
            break;
        case '\t':
            g_string_append(out->text, "\\t");
            break;
        default:
            /* DEL is legal in JSON, but nothing that may reach a terminal stays raw. */
            if (*c < 0x20 || *c == 0x7f)
                g_string_append_printf(out->text, "\\u%04x", *c);
            else
                g_string_append_c(out->text, (char)*c);
        }
    }
    g_string_append_c(out->text, '"');
}

/* Everything before a value: comma, line, key. */
static void begin(VfmJsonOut *out, const char *key)
{
    if (out->depth == 0) {
        g_assert(out->text->len == 0 && !key);
        return;
    }
    g_assert((out->open[out->depth - 1].close == '}') == (key != NULL));
    if (out->open[out->depth - 1].filled)
        g_string_append_c(out->text, ',');
    out->open[out->depth - 1].filled = true;
    new_line(out);
    if (key) {
        quote(out, key);
        g_string_append(out->text, out->pretty ? ": " : ":");
    }
}

static void open_container(VfmJsonOut *out, const char *key, char opening, char closing)
{
    begin(out, key);
    g_assert(out->depth < DEPTH_MAX);
    g_string_append_c(out->text, opening);
    out->open[out->depth].close = closing;
    out->open[out->depth].filled = false;
    out->depth++;
}

void vfm_json_out_object(VfmJsonOut *out, const char *key)
{
    open_container(out, key, '{', '}');
}

void vfm_json_out_array(VfmJsonOut *out, const char *key)
{
    open_container(out, key, '[', ']');
}

void vfm_json_out_end(VfmJsonOut *out)
{
    g_assert(out->depth > 0);
    out->depth--;
    if (out->open[out->depth].filled)
        new_line(out);
    g_string_append_c(out->text, out->open[out->depth].close);
}

static void null_value(VfmJsonOut *out, const char *key)
{
    begin(out, key);
    g_string_append(out->text, "null");
}

void vfm_json_out_string(VfmJsonOut *out, const char *key, const char *value)
{
    if (!value) {
        null_value(out, key);
        return;
    }
    begin(out, key);
    quote(out, value);
}

void vfm_json_out_number(VfmJsonOut *out, const char *key, uint64_t value)
{
    begin(out, key);
    g_string_append_printf(out->text, "%" PRIu64, value);
}

void vfm_json_out_bool(VfmJsonOut *out, const char *key, bool value)
{
    begin(out, key);
    g_string_append(out->text, value ? "true" : "false");
}

void vfm_json_out_maybe(VfmJsonOut *out, const char *key, VfmMaybe value)
{
    if (value.set)
        vfm_json_out_number(out, key, value.value);
    else
        null_value(out, key);
}

void vfm_json_out_switch(VfmJsonOut *out, const char *key, VfmSwitch value)
{
    if (value == VFM_ABSENT)
        null_value(out, key);
    else
        vfm_json_out_bool(out, key, value == VFM_ON);
}

void vfm_json_out_hex(VfmJsonOut *out, const char *key, uint64_t value, unsigned digits)
{
    begin(out, key);
    g_string_append_printf(out->text, "\"0x%0*" PRIx64 "\"", (int)digits, value);
}

void vfm_json_out_raw(VfmJsonOut *out, const char *key, const char *json)
{
    if (!json) {
        null_value(out, key);
        return;
    }
    begin(out, key);
    g_string_append(out->text, json);
}

char *vfm_json_out_finish(VfmJsonOut *out)
{
    char *text;

    g_assert(out->depth == 0 && out->text->len > 0);
    if (out->pretty)
        g_string_append_c(out->text, '\n');
    text = g_string_free(out->text, FALSE);
    g_free(out);
    return text;
}
