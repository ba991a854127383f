/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "element.h"

#include <string.h>

#include "number.h"

/* A person reads it in a terminal or in virsh's one-line error. */
#define MESSAGE_MAX 600

/* One printable, valid UTF-8 line: input quoted in a message can't forge lines or escape sequences. */
static char *one_line(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);
    GString *line = g_string_new(NULL);

    for (const char *p = valid; *p && line->len < MESSAGE_MAX; p = g_utf8_next_char(p)) {
        gunichar c = g_utf8_get_char(p);

        if (g_unichar_isprint(c))
            g_string_append_unichar(line, c);
        else if (line->len > 0 && line->str[line->len - 1] != ' ')
            g_string_append_c(line, ' ');
    }
    g_strchomp(line->str);
    return g_string_free(line, FALSE);
}

G_GNUC_PRINTF(5, 0)
static void fail_va(GError **error, const char *file, unsigned line, int code, const char *format, va_list args)
{
    g_autofree char *raw = g_strdup_vprintf(format, args);
    g_autofree char *text = one_line(raw);

    if (error && !*error)
        g_set_error(error, VFM_INPUT_ERROR, code, "%s:%u: %s", file ? file : "input", line, text);
}

void vfm_xml_fail_at(GError **error, const char *file, unsigned line, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail_va(error, file, line, code, format, args);
    va_end(args);
}

bool vfm_xml_fail(const VfmXmlReader *reader, const xmlNode *node, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fail_va(reader->error, reader->file, vfm_xml_line(node), code, format, args);
    va_end(args);
    return false;
}

/* Takes @cause and says where: "<name> text". */
static bool fail_with_cause(const VfmXmlReader *reader, const xmlNode *node, const char *where, GError *cause)
{
    vfm_xml_fail(reader, node, cause->code, "%s: %s", where, cause->message);
    g_error_free(cause);
    return false;
}

unsigned vfm_xml_line(const xmlNode *node)
{
    long line = node ? xmlGetLineNo((xmlNode *)node) : 0;

    return line > 0 ? (unsigned)line : 0;
}

bool vfm_xml_is(const xmlNode *node, const char *name)
{
    return node && node->type == XML_ELEMENT_NODE && !node->ns &&
           (!name || strcmp((const char *)node->name, name) == 0);
}

static xmlNode *first_from(xmlNode *node, const char *name)
{
    while (node && !vfm_xml_is(node, name))
        node = node->next;
    return node;
}

xmlNode *vfm_xml_child(const xmlNode *node, const char *name)
{
    return node ? first_from(node->children, name) : NULL;
}

xmlNode *vfm_xml_next(const xmlNode *node, const char *name)
{
    return first_from(node->next, name);
}

bool vfm_xml_check_prefixes(const VfmXmlReader *reader, const xmlNode *node)
{
    for (const xmlNode *child = vfm_xml_child(node, NULL); child; child = vfm_xml_next(child, NULL)) {
        const char *name = (const char *)child->name, *colon = strchr(name, ':');

        if (colon)
            return vfm_xml_fail(reader, child, VFM_INPUT_SYNTAX,
                                "<%s>: prefix %.*s is not defined; add its xmlns:%.*s to the domain", name,
                                (int)(colon - name), name, (int)(colon - name), name);
    }
    return true;
}

bool vfm_xml_only_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, xmlNode **child)
{
    xmlNode *second;

    *child = vfm_xml_child(node, name);
    second = *child ? vfm_xml_next(*child, name) : NULL;
    if (second)
        return vfm_xml_fail(reader, second, VFM_INPUT_CONFLICT,
                            "<%s> stands here again; the first one in <%s> is in line %u", name,
                            (const char *)node->name, vfm_xml_line(*child));
    return true;
}

static char *take(xmlChar *text)
{
    char *copy = text ? g_strdup((const char *)text) : NULL;

    xmlFree(text);
    return copy;
}

char *vfm_xml_attribute(const xmlNode *node, const char *name)
{
    return node ? take(xmlGetNoNsProp((xmlNode *)node, BAD_CAST name)) : NULL;
}

char *vfm_xml_text(const xmlNode *node)
{
    char *text = take(xmlNodeGetContent((xmlNode *)node));

    return text ? text : g_strdup("");
}

bool vfm_xml_child_text(const VfmXmlReader *reader, const xmlNode *node, const char *name, char **text)
{
    xmlNode *child;

    *text = NULL;
    if (!vfm_xml_only_child(reader, node, name, &child))
        return false;
    if (child)
        *text = g_strstrip(vfm_xml_text(child));
    return true;
}

bool vfm_xml_number_attribute(const VfmXmlReader *reader, const xmlNode *node, const char *name, int base, uint64_t max,
                              VfmMaybe *value)
{
    g_autofree char *text = vfm_xml_attribute(node, name);
    g_autofree char *where = NULL;
    GError *cause = NULL;
    uint64_t number;

    *value = VFM_NONE;
    if (!text)
        return true;
    where = g_strdup_printf("attribute %s of <%s>", name, (const char *)node->name);
    if (!vfm_number_parse(text, base, &number, &cause))
        return fail_with_cause(reader, node, where, cause);
    if (number > max)
        return vfm_xml_fail(reader, node, VFM_INPUT_RANGE, "%s: '%s' is too large", where, text);
    *value = VFM_SOME(number);
    return true;
}

bool vfm_xml_number_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, uint64_t max,
                          VfmMaybe *value)
{
    g_autofree char *text = NULL;
    g_autofree char *where = g_strdup_printf("<%s>", name);
    GError *cause = NULL;
    xmlNode *child;
    uint64_t number;

    *value = VFM_NONE;
    if (!vfm_xml_only_child(reader, node, name, &child))
        return false;
    if (!child)
        return true;
    text = vfm_xml_text(child);
    if (!vfm_number_parse(text, 10, &number, &cause))
        return fail_with_cause(reader, child, where, cause);
    if (number > max)
        return vfm_xml_fail(reader, child, VFM_INPUT_RANGE, "%s: '%s' is too large", where, text);
    *value = VFM_SOME(number);
    return true;
}

bool vfm_xml_size_of(const VfmXmlReader *reader, const xmlNode *node, uint64_t *size)
{
    g_autofree char *text = vfm_xml_text(node);
    g_autofree char *unit = vfm_xml_attribute(node, "unit");
    GError *cause = NULL;

    if (!vfm_memory_size_parse(text, unit, size, &cause)) {
        g_autofree char *where = g_strdup_printf("<%s>", (const char *)node->name);

        return fail_with_cause(reader, node, where, cause);
    }
    return true;
}

bool vfm_xml_size_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmMaybe *size,
                        unsigned *line)
{
    xmlNode *child;
    uint64_t bytes;

    *size = VFM_NONE;
    if (!vfm_xml_only_child(reader, node, name, &child))
        return false;
    if (!child)
        return true;
    if (!vfm_xml_size_of(reader, child, &bytes))
        return false;
    *size = VFM_SOME(bytes);
    if (line)
        *line = vfm_xml_line(child);
    return true;
}

bool vfm_xml_size_attribute(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmMaybe *size)
{
    g_autofree char *text = vfm_xml_attribute(node, name);
    g_autofree char *unit = vfm_xml_attribute(node, "unit");
    GError *cause = NULL;
    uint64_t bytes;

    *size = VFM_NONE;
    if (!text)
        return true;
    if (!vfm_memory_size_parse(text, unit, &bytes, &cause)) {
        g_autofree char *where = g_strdup_printf("attribute %s of <%s>", name, (const char *)node->name);

        return fail_with_cause(reader, node, where, cause);
    }
    *size = VFM_SOME(bytes);
    return true;
}

bool vfm_xml_choice(const VfmXmlReader *reader, const xmlNode *node, const char *name, const char *const *names,
                    int *index)
{
    g_autofree char *text = vfm_xml_attribute(node, name);
    g_autofree char *known = NULL;

    *index = -1;
    if (!text)
        return true;
    for (int i = 0; names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *index = i;
            return true;
        }
    }
    known = g_strjoinv(", ", (char **)names);
    return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "attribute %s of <%s> is '%s'; it may be %s", name,
                        (const char *)node->name, text, known);
}

static bool read_switch(const VfmXmlReader *reader, const xmlNode *node, const char *name, const char *const *names,
                        VfmSwitch *value)
{
    int index;

    *value = VFM_ABSENT;
    if (!vfm_xml_choice(reader, node, name, names, &index))
        return false;
    if (index >= 0)
        *value = index == 0 ? VFM_ON : VFM_OFF;
    return true;
}

bool vfm_xml_yes_no(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmSwitch *value)
{
    static const char *const names[] = {"yes", "no", NULL};

    return read_switch(reader, node, name, names, value);
}

bool vfm_xml_on_off(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmSwitch *value)
{
    static const char *const names[] = {"on", "off", NULL};

    return read_switch(reader, node, name, names, value);
}
