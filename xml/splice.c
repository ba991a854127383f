/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "splice.h"

#include <string.h>

/* Where an element's line begins, and whether only white space stands before it there. */
typedef struct {
    bool alone;
    const char *start; /* borrowed from the text */
    int length;
} Indent;

static bool rescan(VfmSplicer *splicer, GError **error)
{
    g_clear_pointer(&splicer->spans, vfm_spans_free);
    splicer->spans = vfm_spans_new(splicer->text->str, splicer->text->len, error);
    return splicer->spans != NULL;
}

VfmSplicer *vfm_splicer_new(const char *text, gsize length, GError **error)
{
    g_autoptr(VfmSplicer) splicer = g_new0(VfmSplicer, 1);

    splicer->text = g_string_new_len(text, (gssize)length);
    if (!rescan(splicer, error))
        return NULL;
    return g_steal_pointer(&splicer);
}

void vfm_splicer_free(VfmSplicer *splicer)
{
    if (!splicer)
        return;
    g_clear_pointer(&splicer->spans, vfm_spans_free);
    g_string_free(splicer->text, TRUE);
    g_free(splicer);
}

bool vfm_splicer_replace(VfmSplicer *splicer, gsize start, gsize length, const char *with, GError **error)
{
    g_string_erase(splicer->text, (gssize)start, (gssize)length);
    g_string_insert(splicer->text, (gssize)start, with);
    return rescan(splicer, error);
}

/* @quote is the one around an attribute's value, 0 for text between tags. */
static void append_escaped(GString *out, const char *text, char quote)
{
    for (const char *p = text; *p; p++) {
        if (*p == '&')
            g_string_append(out, "&amp;");
        else if (*p == '<')
            g_string_append(out, "&lt;");
        else if (*p == '>' && !quote)
            g_string_append(out, "&gt;");
        else if (quote && *p == quote)
            g_string_append(out, quote == '"' ? "&quot;" : "&apos;");
        else
            g_string_append_c(out, *p);
    }
}

bool vfm_splicer_set_attribute(VfmSplicer *splicer, guint element, const char *name, const char *value, GError **error)
{
    const VfmSpan *span = vfm_spans_get(splicer->spans, element);
    g_autoptr(GString) with = g_string_new(NULL);
    gsize at = span->tag_end - (span->empty ? 2 : 1), tag = at;
    VfmAttributeSpan attribute;
    const char *quotes;
    char quote = '\'';

    if (vfm_spans_attribute(splicer->spans, element, name, &attribute)) {
        append_escaped(with, value, attribute.quote);
        return vfm_splicer_replace(splicer, attribute.value, attribute.value_length, with->str, error);
    }
    while (at > span->name && g_ascii_isspace(splicer->text->str[at - 1]))
        at--;
    quotes = splicer->text->str + span->name;
    quotes += strcspn(quotes, "'\">");
    if (quotes < splicer->text->str + tag && *quotes != '>')
        quote = *quotes;
    g_string_append_printf(with, " %s=%c", name, quote);
    append_escaped(with, value, quote);
    g_string_append_c(with, quote);
    return vfm_splicer_replace(splicer, at, 0, with->str, error);
}

bool vfm_splicer_change_attribute(VfmSplicer *splicer, guint element, const char *name, const char *value,
                                  GError **error)
{
    g_autoptr(GArray) offsets = NULL;
    g_autofree char *old = vfm_spans_attribute_text(splicer->spans, element, name, &offsets);
    g_autoptr(GString) with = g_string_new(NULL);
    g_autofree char *middle = NULL;
    gsize same = 0, tail = 0, old_length, length = strlen(value), start;
    VfmAttributeSpan attribute;

    if (!old || !vfm_spans_attribute(splicer->spans, element, name, &attribute))
        return vfm_splicer_set_attribute(splicer, element, name, value, error);
    old_length = strlen(old);
    while (same < old_length && same < length && old[same] == value[same])
        same++;
    while (tail < old_length - same && tail < length - same && old[old_length - tail - 1] == value[length - tail - 1])
        tail++;
    middle = g_strndup(value + same, length - same - tail);
    append_escaped(with, middle, attribute.quote);
    start = g_array_index(offsets, gsize, same);
    return vfm_splicer_replace(splicer, start, g_array_index(offsets, gsize, old_length - tail) - start, with->str,
                               error);
}

/* "<a />" becomes "<a>...</a>"; @inside is markup. */
static bool fill_empty(VfmSplicer *splicer, const VfmSpan *span, const char *inside, GError **error)
{
    const char *text = splicer->text->str;
    gsize at = span->tag_end - 2;
    g_autofree char *name = g_strndup(text + span->start + 1, span->name + span->name_length - span->start - 1);
    g_autofree char *with = g_strconcat(">", inside, "</", name, ">", NULL);

    while (at > span->name && g_ascii_isspace(text[at - 1]))
        at--;
    return vfm_splicer_replace(splicer, at, span->tag_end - at, with, error);
}

/* Where a comment or instruction that starts at @at ends; NULL if none starts there. */
static const char *note_end(const char *at, const char *end)
{
    const char *mark = g_str_has_prefix(at, "<!--") ? "-->" : g_str_has_prefix(at, "<?") ? "?>" : NULL;
    const char *found = mark ? g_strstr_len(at, end - at, mark) : NULL;

    return found ? found + strlen(mark) : NULL;
}

/* @value where the text of an element's content starts, among the comments a person put there. */
static char *content_with(const char *content, gsize length, const char *value)
{
    const char *end = content + length;
    g_autoptr(GString) with = g_string_new(NULL);
    bool notes = g_strstr_len(content, (gssize)length, "<!--") || g_strstr_len(content, (gssize)length, "<?");
    bool placed = false;

    for (const char *at = content; notes && at < end;) {
        const char *next = note_end(at, end);
        bool cdata = !next && g_str_has_prefix(at, "<![CDATA[");

        if (next || g_ascii_isspace(*at))
            g_string_append_len(with, at, next ? next - at : 1);
        else if (!placed) {
            append_escaped(with, value, 0);
            placed = true;
        }
        if (cdata)
            next = g_strstr_len(at, end - at, "]]>");
        at = next ? next + (cdata ? strlen("]]>") : 0) : at + 1;
    }
    if (!placed)
        append_escaped(with, value, 0);
    return g_string_free(g_steal_pointer(&with), FALSE);
}

bool vfm_splicer_set_text(VfmSplicer *splicer, guint element, const char *value, GError **error)
{
    const VfmSpan *span = vfm_spans_get(splicer->spans, element);
    g_autofree char *with = content_with(splicer->text->str + span->tag_end, span->close - span->tag_end, value);

    if (span->empty)
        return fill_empty(splicer, span, with, error);
    return vfm_splicer_replace(splicer, span->tag_end, span->close - span->tag_end, with, error);
}

static Indent indent_of(const VfmSplicer *splicer, gsize start)
{
    const char *text = splicer->text->str;
    gsize line = start;
    Indent indent;

    while (line > 0 && text[line - 1] != '\n')
        line--;
    indent.start = text + line;
    indent.length = (int)strspn(indent.start, " \t");
    indent.alone = line + (gsize)indent.length == start && (line > 0 || indent.length > 0);
    return indent;
}

/* What one level adds: as between @element and its parent, else as below the root, else two spaces. */
static char *indent_step(const VfmSplicer *splicer, const VfmSpan *element)
{
    const VfmSpan *root = vfm_spans_get(splicer->spans, 0);
    const VfmSpan *pairs[2][2] = {
        {element->parent != VFM_NO_SPAN ? vfm_spans_get(splicer->spans, element->parent) : NULL, element},
        {root, root->first_child != VFM_NO_SPAN ? vfm_spans_get(splicer->spans, root->first_child) : NULL},
    };

    for (gsize i = 0; i < G_N_ELEMENTS(pairs); i++) {
        Indent outer, inner;

        if (!pairs[i][0] || !pairs[i][1])
            continue;
        outer = indent_of(splicer, pairs[i][0]->start);
        inner = indent_of(splicer, pairs[i][1]->start);
        if (inner.alone && inner.length > outer.length && memcmp(inner.start, outer.start, (gsize)outer.length) == 0)
            return g_strndup(inner.start + outer.length, (gsize)(inner.length - outer.length));
    }
    return g_strdup("  ");
}

static const char *newline_of(const VfmSplicer *splicer)
{
    const char *first = strchr(splicer->text->str, '\n');

    return first && first > splicer->text->str && first[-1] == '\r' ? "\r\n" : "\n";
}

/* Behind comments that stand on the same line behind an element: they speak of it. */
static gsize behind_line_comments(const VfmSplicer *splicer, gsize end)
{
    const char *text = splicer->text->str;
    gsize at = end;

    for (;;) {
        const char *close;

        at += strspn(text + at, " \t");
        if (text[at] == '\n' || text[at] == '\r')
            return at;
        if (strncmp(text + at, "<!--", 4) != 0)
            return end;
        close = strstr(text + at + 4, "-->");
        if (!close || memchr(text + at, '\n', (gsize)(close - text) - at))
            return end;
        at = (gsize)(close - text) + 3;
    }
}

static int position(const char *const *order, const VfmSplicer *splicer, guint element)
{
    for (int i = 0; order[i]; i++) {
        if (vfm_spans_is(splicer->spans, element, NULL, order[i]))
            return i;
    }
    return -1;
}

/* The last child that belongs before @name. */
static guint find_anchor(const VfmSplicer *splicer, guint parent, const char *const *order, const char *name)
{
    guint anchor = VFM_NO_SPAN;
    int own = 0;

    while (order[own] && strcmp(order[own], name) != 0)
        own++;
    for (guint i = vfm_spans_get(splicer->spans, parent)->first_child; i != VFM_NO_SPAN;
         i = vfm_spans_get(splicer->spans, i)->next) {
        int at = position(order, splicer, i);

        if (at >= 0 && at <= own)
            anchor = i;
    }
    return anchor;
}

/* Into an element without child elements. */
static bool insert_only_child(VfmSplicer *splicer, guint parent, const char *markup, GError **error)
{
    const VfmSpan *span = vfm_spans_get(splicer->spans, parent);
    Indent indent = indent_of(splicer, span->start);
    g_autofree char *step = indent_step(splicer, span);
    const char *newline = newline_of(splicer), *content = splicer->text->str + span->tag_end;
    gsize length = span->close - span->tag_end;
    g_autoptr(GString) with = g_string_new(NULL);

    if (indent.alone)
        g_string_append_printf(with, "%s%.*s%s", newline, indent.length, indent.start, step);
    g_string_append(with, markup);
    if (!memchr(content, '\n', length) && indent.alone)
        g_string_append_printf(with, "%s%.*s", newline, indent.length, indent.start);
    if (span->empty)
        return fill_empty(splicer, span, with->str, error);
    if (strspn(content, " \t") < length)
        length = 0;
    return vfm_splicer_replace(splicer, span->tag_end, length, with->str, error);
}

/* Beside other elements: behind @anchor, or before all. */
static bool insert_beside(VfmSplicer *splicer, guint parent, guint anchor, const char *markup, GError **error)
{
    const VfmSpan *span = vfm_spans_get(splicer->spans, parent);
    const VfmSpan *like = vfm_spans_get(splicer->spans, anchor != VFM_NO_SPAN ? anchor : span->first_child);
    Indent indent = indent_of(splicer, like->start);
    gsize at = anchor != VFM_NO_SPAN ? like->end : span->tag_end;
    g_autofree char *with = NULL;

    if (!indent.alone)
        return vfm_splicer_replace(splicer, at, 0, markup, error);
    with = g_strdup_printf("%s%.*s%s", newline_of(splicer), indent.length, indent.start, markup);
    return vfm_splicer_replace(splicer, behind_line_comments(splicer, at), 0, with, error);
}

bool vfm_splicer_insert_child(VfmSplicer *splicer, guint parent, const char *const *order, const char *name,
                              const char *markup, guint *child, GError **error)
{
    guint anchor = find_anchor(splicer, parent, order, name);
    bool good = vfm_spans_get(splicer->spans, parent)->first_child == VFM_NO_SPAN
                    ? insert_only_child(splicer, parent, markup, error)
                    : insert_beside(splicer, parent, anchor, markup, error);

    if (!good)
        return false;
    *child = vfm_spans_child(splicer->spans, parent, NULL, name);
    return *child != VFM_NO_SPAN;
}
