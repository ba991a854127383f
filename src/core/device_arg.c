/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device_arg.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

/* A cursor over the JSON form. */
typedef struct {
    const char *text;
    const char *at;
    VfmDeviceArg *arg;
    unsigned depth;
    GError **error;
} Scan;

static void property_clear(gpointer data)
{
    VfmArgProperty *property = data;

    g_free(property->key);
    g_free(property->value);
}

static VfmDeviceArg *device_arg_new(const char *text)
{
    VfmDeviceArg *arg = g_new0(VfmDeviceArg, 1);

    arg->text = g_strdup(text);
    arg->properties = g_array_new(FALSE, TRUE, sizeof(VfmArgProperty));
    g_array_set_clear_func(arg->properties, property_clear);
    return arg;
}

void vfm_device_arg_free(VfmDeviceArg *arg)
{
    if (!arg)
        return;
    g_free(arg->text);
    g_array_unref(arg->properties);
    g_free(arg);
}

/* Takes over @property's strings. */
static bool add_property(VfmDeviceArg *arg, VfmArgProperty *property, GError **error)
{
    if (arg->properties->len >= VFM_DEVICE_ARG_PROPERTIES) {
        property_clear(property);
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "more than %d properties in one argument",
                    VFM_DEVICE_ARG_PROPERTIES);
        return false;
    }
    g_array_append_vals(arg->properties, property, 1);
    return true;
}

/* A value ends at a single comma; two commas stand for one. */
static char *keyval_value(const char *start, const char **end)
{
    GString *value = g_string_new(NULL);
    const char *p = start;

    for (; *p; p++) {
        if (*p == ',') {
            if (p[1] != ',')
                break;
            p++;
        }
        g_string_append_c(value, *p);
    }
    *end = p;
    return g_string_free(value, FALSE);
}

static VfmDeviceArg *parse_keyval(const char *text, const char *implied, GError **error)
{
    g_autoptr(VfmDeviceArg) arg = device_arg_new(text);
    const char *p = text;

    while (*p) {
        VfmArgProperty property = {0};
        const char *end;
        gsize key_length = strcspn(p, "=,");

        if (p[key_length] == '=') {
            if (key_length == 0) {
                g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "'%s' has a value without a key", text);
                return NULL;
            }
            property.key = g_strndup(p, key_length);
            property.start = (gsize)(p - text) + key_length + 1;
            property.value = keyval_value(text + property.start, &end);
        } else if (p == text && implied) {
            property.key = g_strdup(implied);
            property.value = keyval_value(p, &end);
        } else if (key_length > 0) {
            property.key = g_strndup(p, key_length);
            property.value = g_strdup("on");
            property.bare = true;
            property.start = (gsize)(p - text);
            end = p + key_length;
        } else {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "'%s' has an empty part", text);
            return NULL;
        }
        property.length = (gsize)(end - text) - property.start;
        if (!add_property(arg, &property, error))
            return NULL;
        p = *end == ',' ? end + 1 : end;
    }
    return g_steal_pointer(&arg);
}

static bool json_fail(Scan *scan, const char *what)
{
    g_set_error(scan->error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "JSON argument: %s at character %zu of '%s'", what,
                (size_t)(scan->at - scan->text) + 1, scan->text);
    return false;
}

static void json_space(Scan *scan)
{
    while (*scan->at && strchr(" \t\r\n", *scan->at))
        scan->at++;
}

/* The four digits behind \u; false if they are not four. */
static bool json_hex4(Scan *scan, gunichar *unit)
{
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(*scan->at);

        if (digit < 0)
            return json_fail(scan, "a \\u without four hexadecimal digits");
        *unit = *unit * 16 + (gunichar)digit;
        scan->at++;
    }
    return true;
}

static bool json_escape(Scan *scan, GString *out)
{
    static const char from[] = "\"'\\/bfnrt", to[] = "\"'\\/\b\f\n\r\t";
    char c = *scan->at;
    const char *known = c ? strchr(from, c) : NULL;
    gunichar unit, low;

    if (known) {
        g_string_append_c(out, to[known - from]);
        scan->at++;
        return true;
    }
    if (c != 'u')
        return json_fail(scan, "an unknown escape");
    scan->at++;
    if (!json_hex4(scan, &unit))
        return false;
    if (unit >= 0xd800 && unit < 0xdc00) {
        if (scan->at[0] != '\\' || scan->at[1] != 'u')
            return json_fail(scan, "half a surrogate pair");
        scan->at += 2;
        if (!json_hex4(scan, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return json_fail(scan, "half a surrogate pair");
        unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
    } else if (unit >= 0xdc00 && unit < 0xe000) {
        return json_fail(scan, "half a surrogate pair");
    }
    if (unit == 0)
        return json_fail(scan, "a NUL character");
    g_string_append_unichar(out, unit);
    return true;
}

static char *json_string(Scan *scan)
{
    g_autoptr(GString) out = g_string_new(NULL);
    char quote = *scan->at;

    if (quote != '"' && quote != '\'') {
        json_fail(scan, "a string is missing");
        return NULL;
    }
    scan->at++;
    while (*scan->at != quote) {
        if ((unsigned char)*scan->at < 0x20) {
            json_fail(scan, *scan->at ? "a control character" : "an unfinished string");
            return NULL;
        }
        if (*scan->at == '\\') {
            scan->at++;
            if (!json_escape(scan, out))
                return NULL;
        } else {
            g_string_append_c(out, *scan->at++);
        }
    }
    scan->at++;
    return g_strdup(out->str);
}

/* RFC 8259 numbers; strtod() alone would take more. */
static bool json_number(Scan *scan)
{
    if (*scan->at == '-')
        scan->at++;
    if (!g_ascii_isdigit(*scan->at) || (*scan->at == '0' && g_ascii_isdigit(scan->at[1])))
        return json_fail(scan, "not a value");
    scan->at += strspn(scan->at, "0123456789");
    if (*scan->at == '.') {
        scan->at++;
        if (!g_ascii_isdigit(*scan->at))
            return json_fail(scan, "a number without digits behind its point");
        scan->at += strspn(scan->at, "0123456789");
    }
    if (*scan->at == 'e' || *scan->at == 'E') {
        scan->at++;
        if (*scan->at == '+' || *scan->at == '-')
            scan->at++;
        if (!g_ascii_isdigit(*scan->at))
            return json_fail(scan, "a number without an exponent");
        scan->at += strspn(scan->at, "0123456789");
    }
    return true;
}

static bool json_object(Scan *scan, const char *prefix);
static bool json_value(Scan *scan, const char *key);

/* Elements are checked but only the raw text is kept, under @key. */
static bool json_array(Scan *scan)
{
    GArray *properties = scan->arg->properties;
    guint kept = properties->len;

    scan->at++;
    json_space(scan);
    if (*scan->at == ']') {
        scan->at++;
        return true;
    }
    for (;;) {
        if (!json_value(scan, ""))
            return false;
        g_array_set_size(properties, kept);
        json_space(scan);
        if (*scan->at == ']')
            break;
        if (*scan->at != ',')
            return json_fail(scan, "a comma or ] is missing");
        scan->at++;
        json_space(scan);
    }
    scan->at++;
    return true;
}

static bool json_value(Scan *scan, const char *key)
{
    static const char *const words[] = {"true", "false", "null"};
    VfmArgProperty property = {.start = (gsize)(scan->at - scan->text)};
    const char *start = scan->at;
    g_autofree char *value = NULL;
    bool word = false;

    if (scan->depth > VFM_DEVICE_ARG_DEPTH)
        return json_fail(scan, "too deep nesting");
    if (*start == '{') {
        g_autofree char *prefix = g_strconcat(key, ".", NULL);

        return json_object(scan, prefix);
    }
    if (*start == '"' || *start == '\'') {
        value = json_string(scan);
        if (!value)
            return false;
        property.quoted = true;
    } else if (*start == '[') {
        bool good;

        scan->depth++;
        good = json_array(scan);
        scan->depth--;
        if (!good)
            return false;
    } else {
        for (gsize i = 0; i < G_N_ELEMENTS(words) && !word; i++) {
            word = g_str_has_prefix(start, words[i]);
            if (word)
                scan->at += strlen(words[i]);
        }
        if (!word && !json_number(scan))
            return false;
    }
    property.length = (gsize)(scan->at - start);
    property.value = value ? g_steal_pointer(&value) : g_strndup(start, property.length);
    property.key = g_strdup(key);
    return add_property(scan->arg, &property, scan->error);
}

static bool json_member(Scan *scan, const char *prefix)
{
    g_autofree char *name = json_string(scan);
    g_autofree char *key = NULL;

    if (!name)
        return false;
    key = g_strconcat(prefix, name, NULL);
    if (vfm_device_arg_get(scan->arg, key))
        return json_fail(scan, "a duplicate key");
    json_space(scan);
    if (*scan->at != ':')
        return json_fail(scan, "a colon is missing");
    scan->at++;
    json_space(scan);
    return json_value(scan, key);
}

static bool json_object(Scan *scan, const char *prefix)
{
    scan->at++;
    scan->depth++;
    json_space(scan);
    if (*scan->at != '}') {
        for (;;) {
            if (!json_member(scan, prefix))
                return false;
            json_space(scan);
            if (*scan->at == '}')
                break;
            if (*scan->at != ',')
                return json_fail(scan, "a comma or } is missing");
            scan->at++;
            json_space(scan);
        }
    }
    scan->at++;
    scan->depth--;
    return true;
}

static VfmDeviceArg *parse_json(const char *text, GError **error)
{
    g_autoptr(VfmDeviceArg) arg = device_arg_new(text);
    Scan scan = {.text = text, .at = text, .arg = arg, .error = error};

    arg->json = true;
    json_space(&scan);
    if (!json_object(&scan, ""))
        return NULL;
    json_space(&scan);
    if (*scan.at != '\0') {
        json_fail(&scan, "text behind the object");
        return NULL;
    }
    return g_steal_pointer(&arg);
}

VfmDeviceArg *vfm_device_arg_parse(const char *text, const char *implied, GError **error)
{
    const char *first = text + strspn(text, " \t\r\n");

    return *first == '{' ? parse_json(text, error) : parse_keyval(text, implied, error);
}

static const VfmArgProperty *find_last(const VfmDeviceArg *arg, const char *key)
{
    for (guint i = arg->properties->len; i > 0; i--) {
        const VfmArgProperty *property = &g_array_index(arg->properties, VfmArgProperty, i - 1);

        if (strcmp(property->key, key) == 0)
            return property;
    }
    return NULL;
}

const char *vfm_device_arg_get(const VfmDeviceArg *arg, const char *key)
{
    const VfmArgProperty *property = find_last(arg, key);

    return property ? property->value : NULL;
}

static bool value_fail(GError **error, int code, const char *key, const char *text, const char *why)
{
    g_set_error(error, VFM_INPUT_ERROR, code, "%s=%s: %s", key, text, why);
    return false;
}

bool vfm_device_arg_number(const VfmDeviceArg *arg, const char *key, VfmMaybe *number, GError **error)
{
    const char *text = vfm_device_arg_get(arg, key);
    unsigned long long value;
    char *end = NULL;

    *number = VFM_NONE;
    if (!text)
        return true;
    if (!g_ascii_isdigit(text[0]))
        return value_fail(error, VFM_INPUT_SYNTAX, key, text, "this is not an unsigned number");
    errno = 0;
    value = strtoull(text, &end, 0);
    if (*end != '\0')
        return value_fail(error, VFM_INPUT_SYNTAX, key, text, "this is not an unsigned number");
    if (errno == ERANGE)
        return value_fail(error, VFM_INPUT_RANGE, key, text, "this does not fit in 64 bits");
    *number = VFM_SOME(value);
    return true;
}

/* Factor of a QEMU size suffix (util/cutils.c), 0 if unknown. */
static uint64_t suffix_scale(const char *suffix)
{
    static const char suffixes[] = "bkmgtpe";
    const char *found;

    if (suffix[0] == '\0')
        return 1;
    found = strchr(suffixes, g_ascii_tolower(suffix[0]));
    if (!found || suffix[1] != '\0')
        return 0;
    return UINT64_C(1) << (10 * (found - suffixes));
}

bool vfm_device_arg_size(const VfmDeviceArg *arg, const char *key, VfmMaybe *size, GError **error)
{
    const char *text = vfm_device_arg_get(arg, key);
    double fraction = 0;
    unsigned long long whole;
    uint64_t scale, rest;
    char *end = NULL;

    *size = VFM_NONE;
    if (!text)
        return true;
    if (g_ascii_strncasecmp(text, "0x", 2) == 0)
        return vfm_device_arg_number(arg, key, size, error);
    if (!g_ascii_isdigit(text[0]))
        return value_fail(error, VFM_INPUT_SYNTAX, key, text, "this is not a size");
    errno = 0;
    whole = strtoull(text, &end, 10);
    if (errno == ERANGE)
        return value_fail(error, VFM_INPUT_RANGE, key, text, "this does not fit in 64 bits");
    if (*end == '.') {
        double unit = 0.1;

        for (end++; g_ascii_isdigit(*end); end++, unit /= 10)
            fraction += (*end - '0') * unit;
    }
    scale = suffix_scale(end);
    if (scale == 0 || (fraction > 0 && scale == 1))
        return value_fail(error, VFM_INPUT_SYNTAX, key, text, "this is not a size");
    rest = (uint64_t)(fraction * (double)scale);
    if (whole > (UINT64_MAX - rest) / scale)
        return value_fail(error, VFM_INPUT_RANGE, key, text, "this does not fit in 64 bits");
    *size = VFM_SOME(whole * scale + rest);
    return true;
}

bool vfm_device_arg_switch(const VfmDeviceArg *arg, const char *key, VfmSwitch *value, GError **error)
{
    static const char *const on[] = {"on", "yes", "true", "y", NULL};
    static const char *const off[] = {"off", "no", "false", "n", NULL};
    const char *text = vfm_device_arg_get(arg, key);

    *value = VFM_ABSENT;
    if (!text)
        return true;
    if (g_strv_contains(on, text))
        *value = VFM_ON;
    else if (g_strv_contains(off, text))
        *value = VFM_OFF;
    else
        return value_fail(error, VFM_INPUT_SYNTAX, key, text, "this is neither on nor off");
    return true;
}

/* @literal is written as it is: it needs no escape in either form. */
static char *with_literal(const VfmDeviceArg *arg, const char *key, const char *literal)
{
    GString *text = g_string_new(arg->text);
    bool found = false;

    for (guint i = arg->properties->len; i > 0; i--) {
        const VfmArgProperty *property = &g_array_index(arg->properties, VfmArgProperty, i - 1);
        g_autofree char *bare = property->bare ? g_strconcat(key, "=", literal, NULL) : NULL;

        if (strcmp(property->key, key) != 0)
            continue;
        found = true;
        g_string_erase(text, (gssize)property->start, (gssize)property->length);
        g_string_insert(text, (gssize)property->start, bare ? bare : literal);
    }
    if (found)
        return g_string_free(text, FALSE);
    if (!arg->json) {
        g_string_append_printf(text, "%s%s=%s", text->len > 0 ? "," : "", key, literal);
    } else {
        gssize brace = strrchr(text->str, '}') - text->str;
        g_autofree char *member = g_strdup_printf("%s\"%s\":%s", arg->properties->len > 0 ? "," : "", key, literal);

        while (brace > 0 && strchr(" \t\r\n", text->str[brace - 1]))
            brace--;
        g_string_insert(text, brace, member);
    }
    return g_string_free(text, FALSE);
}

char *vfm_device_arg_with_number(const VfmDeviceArg *arg, const char *key, guint64 number)
{
    g_autofree char *literal = g_strdup_printf("%" G_GUINT64_FORMAT, number);

    return with_literal(arg, key, literal);
}

char *vfm_device_arg_with_switch(const VfmDeviceArg *arg, const char *key, bool on)
{
    if (arg->json)
        return with_literal(arg, key, on ? "true" : "false");
    return with_literal(arg, key, on ? "on" : "off");
}
