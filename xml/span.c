/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "span.h"

#include <string.h>

#include "error.h"

typedef struct {
    VfmSpans *spans;
    gsize at;
    guint open; /* innermost element that is not closed, VFM_NO_SPAN at the top */
    GError **error;
} Scan;

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static bool scan_fail(Scan *scan, const char *what)
{
    g_set_error(scan->error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "line %u: %s",
                vfm_spans_line(scan->spans, MIN(scan->at, scan->spans->length)), what);
    return false;
}

/* The first @mark from @from on, or NULL. */
static const char *find(const VfmSpans *spans, gsize from, const char *mark)
{
    return from <= spans->length ? memmem(spans->text + from, spans->length - from, mark, strlen(mark)) : NULL;
}

static bool starts_with(const VfmSpans *spans, gsize at, const char *mark)
{
    gsize length = strlen(mark);

    return at <= spans->length && spans->length - at >= length && memcmp(spans->text + at, mark, length) == 0;
}

static gsize skip_space(const VfmSpans *spans, gsize at)
{
    while (at < spans->length && is_space(spans->text[at]))
        at++;
    return at;
}

static gsize skip_name(const VfmSpans *spans, gsize at)
{
    while (at < spans->length && !is_space(spans->text[at]) && !strchr("/>=", spans->text[at]))
        at++;
    return at;
}

/* One attribute from *at on, which is moved behind it; false at the end of the tag or where it is broken. */
static bool next_attribute(const VfmSpans *spans, gsize *at, VfmAttributeSpan *attribute)
{
    gsize p = skip_space(spans, *at);
    const char *end;

    attribute->name = p;
    p = skip_name(spans, p);
    attribute->name_length = p - attribute->name;
    *at = attribute->name;
    if (attribute->name_length == 0)
        return false;
    p = skip_space(spans, p);
    if (p >= spans->length || spans->text[p] != '=')
        return false;
    p = skip_space(spans, p + 1);
    if (p >= spans->length || !strchr("'\"", spans->text[p]))
        return false;
    attribute->quote = spans->text[p];
    attribute->value = p + 1;
    end = memchr(spans->text + p + 1, attribute->quote, spans->length - p - 1);
    if (!end)
        return false;
    attribute->value_length = (gsize)(end - spans->text) - attribute->value;
    *at = (gsize)(end - spans->text) + 1;
    return true;
}

static void add_to_parent(Scan *scan, guint index)
{
    VfmSpan *parent;

    if (scan->open == VFM_NO_SPAN)
        return;
    parent = &g_array_index(scan->spans->spans, VfmSpan, scan->open);
    if (parent->last_child == VFM_NO_SPAN)
        parent->first_child = index;
    else
        g_array_index(scan->spans->spans, VfmSpan, parent->last_child).next = index;
    parent->last_child = index;
}

static bool scan_start_tag(Scan *scan)
{
    VfmSpans *spans = scan->spans;
    VfmSpan span = {.start = scan->at,
                    .parent = scan->open,
                    .first_child = VFM_NO_SPAN,
                    .last_child = VFM_NO_SPAN,
                    .next = VFM_NO_SPAN};
    gsize name = scan->at + 1, end = skip_name(spans, name);
    const char *colon = memchr(spans->text + name, ':', end - name);
    guint index = spans->spans->len;
    VfmAttributeSpan attribute;

    if (end == name || (scan->open == VFM_NO_SPAN && index > 0))
        return scan_fail(scan, "an element is out of place");
    span.prefix_length = colon ? (gsize)(colon - spans->text) - name : 0;
    span.name = colon ? (gsize)(colon - spans->text) + 1 : name;
    span.name_length = end - span.name;
    while (next_attribute(spans, &end, &attribute))
        ;
    end = skip_space(spans, end);
    span.empty = starts_with(spans, end, "/>");
    if (!span.empty && !starts_with(spans, end, ">"))
        return scan_fail(scan, "a tag is unfinished");
    span.tag_end = span.close = span.end = end + (span.empty ? 2 : 1);
    g_array_append_val(spans->spans, span);
    add_to_parent(scan, index);
    if (!span.empty)
        scan->open = index;
    scan->at = span.tag_end;
    return true;
}

static bool scan_end_tag(Scan *scan)
{
    const char *end = find(scan->spans, scan->at, ">");
    VfmSpan *span;

    if (!end || scan->open == VFM_NO_SPAN)
        return scan_fail(scan, "an end tag is out of place");
    span = &g_array_index(scan->spans->spans, VfmSpan, scan->open);
    span->close = scan->at;
    span->end = (gsize)(end - scan->spans->text) + 1;
    scan->at = span->end;
    scan->open = span->parent;
    return true;
}

/* What is no element: skipped whole. */
static bool scan_other(Scan *scan)
{
    static const struct {
        const char *start, *end;
    } others[] = {{"<!--", "-->"}, {"<![CDATA[", "]]>"}, {"<?", "?>"}};

    for (gsize i = 0; i < G_N_ELEMENTS(others); i++) {
        const char *end;

        if (!starts_with(scan->spans, scan->at, others[i].start))
            continue;
        end = find(scan->spans, scan->at + strlen(others[i].start), others[i].end);
        if (!end)
            return scan_fail(scan, "a comment or section is unfinished");
        scan->at = (gsize)(end - scan->spans->text) + strlen(others[i].end);
        return true;
    }
    return scan_fail(scan, "a declaration is out of place");
}

static bool scan_all(Scan *scan)
{
    VfmSpans *spans = scan->spans;

    for (;;) {
        const char *open = find(spans, scan->at, "<");
        bool good;
        char c;

        if (!open)
            break;
        scan->at = (gsize)(open - spans->text);
        c = scan->at + 1 < spans->length ? spans->text[scan->at + 1] : '\0';
        if (c == '!' || c == '?')
            good = scan_other(scan);
        else
            good = c == '/' ? scan_end_tag(scan) : scan_start_tag(scan);
        if (!good)
            return false;
    }
    if (scan->open != VFM_NO_SPAN || spans->spans->len == 0)
        return scan_fail(scan, "the root element is unfinished");
    return true;
}

/* Encodings in which a byte below 0x80 is always that ASCII character. */
static bool check_encoding(const VfmSpans *spans, GError **error)
{
    static const char *const prefixes[] = {"utf-8", "us-ascii", "ascii", "iso-8859-", "windows-125"};
    const char *end, *declaration;
    g_autofree char *head = NULL;
    g_autofree char *name = NULL;

    if (memchr(spans->text, '\0', spans->length)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "the encoding can't be edited byte by byte; convert the file to UTF-8");
        return false;
    }
    end = find(spans, 0, "?>");
    if (!find(spans, 0, "<?xml") || !end)
        return true;
    head = g_strndup(spans->text, (gsize)(end - spans->text));
    declaration = strstr(head, "encoding");
    if (!declaration || declaration > strchr(head, '<') + 100)
        return true;
    declaration += strcspn(declaration, "'\"");
    if (*declaration == '\0')
        return true;
    name = g_strndup(declaration + 1, strcspn(declaration + 1, "'\""));
    for (gsize i = 0; i < G_N_ELEMENTS(prefixes); i++) {
        if (g_ascii_strncasecmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    }
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                "encoding '%s' can't be edited byte by byte; convert the file to UTF-8", name);
    return false;
}

VfmSpans *vfm_spans_new(const char *text, gsize length, GError **error)
{
    g_autoptr(VfmSpans) spans = g_new0(VfmSpans, 1);
    Scan scan = {.spans = spans, .open = VFM_NO_SPAN, .error = error};

    spans->text = text;
    spans->length = length;
    spans->spans = g_array_new(FALSE, FALSE, sizeof(VfmSpan));
    if (!check_encoding(spans, error) || !scan_all(&scan))
        return NULL;
    return g_steal_pointer(&spans);
}

void vfm_spans_free(VfmSpans *spans)
{
    if (!spans)
        return;
    g_array_unref(spans->spans);
    g_free(spans);
}

const VfmSpan *vfm_spans_get(const VfmSpans *spans, guint index)
{
    return &g_array_index(spans->spans, VfmSpan, index);
}

/* The namespace an element's prefix stands for, "" for none; NULL if nobody declared the prefix. */
static char *namespace_of(const VfmSpans *spans, guint index)
{
    const VfmSpan *span = vfm_spans_get(spans, index);
    g_autofree char *attribute =
        span->prefix_length > 0 ? g_strdup_printf("xmlns:%.*s", (int)span->prefix_length, spans->text + span->start + 1)
                                : g_strdup("xmlns");

    for (guint i = index; i != VFM_NO_SPAN; i = vfm_spans_get(spans, i)->parent) {
        char *uri = vfm_spans_attribute_text(spans, i, attribute, NULL);

        if (uri)
            return uri;
    }
    return span->prefix_length > 0 ? NULL : g_strdup("");
}

bool vfm_spans_is(const VfmSpans *spans, guint index, const char *uri, const char *name)
{
    const VfmSpan *span = vfm_spans_get(spans, index);
    g_autofree char *real = NULL;

    if (span->name_length != strlen(name) || memcmp(spans->text + span->name, name, span->name_length) != 0)
        return false;
    real = namespace_of(spans, index);
    return g_strcmp0(real, uri ? uri : "") == 0;
}

static guint first_of(const VfmSpans *spans, guint index, const char *uri, const char *name)
{
    while (index != VFM_NO_SPAN && !vfm_spans_is(spans, index, uri, name))
        index = vfm_spans_get(spans, index)->next;
    return index;
}

guint vfm_spans_child(const VfmSpans *spans, guint parent, const char *uri, const char *name)
{
    if (parent == VFM_NO_SPAN)
        return VFM_NO_SPAN;
    return first_of(spans, vfm_spans_get(spans, parent)->first_child, uri, name);
}

guint vfm_spans_next(const VfmSpans *spans, guint after, const char *uri, const char *name)
{
    return first_of(spans, vfm_spans_get(spans, after)->next, uri, name);
}

bool vfm_spans_attribute(const VfmSpans *spans, guint index, const char *name, VfmAttributeSpan *attribute)
{
    const VfmSpan *span = vfm_spans_get(spans, index);
    gsize at = span->name + span->name_length;

    while (next_attribute(spans, &at, attribute)) {
        if (attribute->name_length == strlen(name) &&
            memcmp(spans->text + attribute->name, name, attribute->name_length) == 0)
            return true;
    }
    return false;
}

/* The character a reference stands for; 0 if it is none. *length counts "&" to ";". */
static gunichar resolve_reference(const char *at, gsize available, gsize *length)
{
    static const struct {
        const char *name;
        gunichar character;
    } named[] = {{"&lt;", '<'}, {"&gt;", '>'}, {"&amp;", '&'}, {"&quot;", '"'}, {"&apos;", '\''}};
    const char *end = memchr(at, ';', available);
    g_autofree char *digits = NULL;
    guint64 number;
    bool hex;

    if (!end)
        return 0;
    *length = (gsize)(end - at) + 1;
    for (gsize i = 0; i < G_N_ELEMENTS(named); i++) {
        if (strlen(named[i].name) == *length && memcmp(at, named[i].name, *length) == 0)
            return named[i].character;
    }
    if (*length < 4 || at[1] != '#')
        return 0;
    hex = at[2] == 'x';
    digits = g_strndup(at + (hex ? 3 : 2), *length - (hex ? 4 : 3));
    number = g_ascii_strtoull(digits, NULL, hex ? 16 : 10);
    return number <= 0x10ffff ? (gunichar)number : 0;
}

/* As XML processors give it: references resolved and, in attributes, white space made spaces. */
static char *decode(const VfmSpans *spans, gsize start, gsize length, bool attribute, GArray **offsets)
{
    GString *text = g_string_sized_new(length);
    gsize end = start + length, at = start;

    if (offsets)
        *offsets = g_array_new(FALSE, FALSE, sizeof(gsize));
    while (at < end) {
        gsize used = 1, before = text->len;
        gunichar c = spans->text[at] == '&' ? resolve_reference(spans->text + at, end - at, &used) : 0;

        if (c)
            g_string_append_unichar(text, c);
        else
            g_string_append_c(text, attribute && is_space(spans->text[at]) ? ' ' : spans->text[at]);
        used = c ? used : 1;
        while (offsets && before++ < text->len)
            g_array_append_val(*offsets, at);
        at += used;
    }
    if (offsets)
        g_array_append_val(*offsets, end);
    return g_string_free(text, FALSE);
}

char *vfm_spans_attribute_text(const VfmSpans *spans, guint index, const char *name, GArray **offsets)
{
    VfmAttributeSpan attribute;

    if (offsets)
        *offsets = NULL;
    if (!vfm_spans_attribute(spans, index, name, &attribute))
        return NULL;
    return decode(spans, attribute.value, attribute.value_length, true, offsets);
}

char *vfm_spans_text(const VfmSpans *spans, guint index)
{
    const VfmSpan *span = vfm_spans_get(spans, index);
    const char *open = memchr(spans->text + span->tag_end, '<', span->close - span->tag_end);
    gsize end = open ? (gsize)(open - spans->text) : span->close;

    return decode(spans, span->tag_end, end - span->tag_end, false, NULL);
}

unsigned vfm_spans_line(const VfmSpans *spans, gsize offset)
{
    unsigned line = 1;

    for (gsize i = 0; i < offset; i++)
        line += spans->text[i] == '\n';
    return line;
}
