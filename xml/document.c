/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "document.h"

#include <libxml/parser.h>
#include <libxml/xmlerror.h>
#include <string.h>

#include "element.h"
#include "error.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlParserCtxt, xmlFreeParserCtxt)

/* Where a <!DOCTYPE> was met; 0 if nowhere. */
typedef struct {
    int doctype_line;
} ParseState;

/* Called before the declaration's body is read: no entity of it is ever made. */
static void refuse_doctype(void *data, const xmlChar *name, const xmlChar *external, const xmlChar *system)
{
    xmlParserCtxt *context = data;
    ParseState *state = context->_private;

    state->doctype_line = context->input ? context->input->line : 1;
    xmlStopParser(context);
}

static void set_parse_error(xmlParserCtxt *context, const char *file, GError **error)
{
    const xmlError *last = xmlCtxtGetLastError(context);
    const char *hint = "";

    if (!last) {
        vfm_xml_fail_at(error, file, 1, VFM_INPUT_SYNTAX, "this is not XML");
        return;
    }
    if (last->code == XML_ERR_DOCUMENT_END)
        hint = " (one file holds one domain)";
    else if (last->code == XML_ERR_DOCUMENT_EMPTY)
        hint = " (is this a domain XML file?)";
    vfm_xml_fail_at(error, file, last->line > 0 ? (unsigned)last->line : 1, VFM_INPUT_SYNTAX,
                    "this is not well-formed XML: %s%s", last->message ? last->message : "unknown reason", hint);
}

/* UTF-16 and UTF-32 are told by their first bytes: a byte order mark, or the '<' with its NULs. */
static bool is_wide(const char *text, gsize length)
{
    const unsigned char *byte = (const unsigned char *)text;

    return length >= 2 && ((byte[0] == 0xfe && byte[1] == 0xff) || (byte[0] == 0xff && byte[1] == 0xfe) || !byte[0] ||
                           (byte[0] == '<' && !byte[1]));
}

/* libxml2 takes a NUL as the end of a text and says nothing about what stands behind it. */
static bool refuse_nul(const char *text, gsize length, const char *file, GError **error)
{
    const char *nul = is_wide(text, length) ? NULL : memchr(text, '\0', length);
    unsigned line = 1;

    if (!nul)
        return true;
    for (const char *at = text; at < nul; at++)
        line += *at == '\n';
    vfm_xml_fail_at(error, file, line, VFM_INPUT_SYNTAX, "a NUL byte stands here; domain XML is text");
    return false;
}

xmlDoc *vfm_xml_document_parse(const char *text, gsize length, const char *file, GError **error)
{
    g_autoptr(xmlParserCtxt) context = NULL;
    g_autoptr(xmlDoc) document = NULL;
    ParseState state = {0};

    if (length > VFM_XML_SIZE_MAX) {
        vfm_xml_fail_at(error, file, 1, VFM_INPUT_TOO_LARGE,
                        "the input has %" G_GSIZE_FORMAT " bytes; a domain may have at most %u", length,
                        VFM_XML_SIZE_MAX);
        return NULL;
    }
    if (length == 0) {
        vfm_xml_fail_at(error, file, 1, VFM_INPUT_SYNTAX, "the input is empty");
        return NULL;
    }
    if (!refuse_nul(text, length, file, error))
        return NULL;
    context = xmlNewParserCtxt();
    if (!context)
        g_error("out of memory for an XML parser");
    context->_private = &state;
    context->sax->internalSubset = refuse_doctype;
    document = xmlCtxtReadMemory(context, text, (int)length, file, NULL,
                                 XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING | XML_PARSE_BIG_LINES);
    context->_private = NULL;
    if (state.doctype_line > 0) {
        vfm_xml_fail_at(error, file, (unsigned)state.doctype_line, VFM_INPUT_UNSUPPORTED,
                        "a domain has no document type declaration; remove <!DOCTYPE>");
        return NULL;
    }
    if (!document || !context->wellFormed || !xmlDocGetRootElement(document)) {
        set_parse_error(context, file, error);
        return NULL;
    }
    return g_steal_pointer(&document);
}
