/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "network_xml.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include "error.h"

#define NETWORK_XML_MAX (4 * 1024 * 1024)

static xmlNode *child_named(xmlNode *parent, const char *name)
{
    for (xmlNode *node = parent->children; node; node = node->next) {
        if (node->type == XML_ELEMENT_NODE && xmlStrEqual(node->name, BAD_CAST name))
            return node;
    }
    return NULL;
}

bool vfm_network_xml_is_hostdev(const char *text, gsize length, bool *hostdev, GError **error)
{
    xmlDoc *document;
    xmlNode *root, *forward;

    if (length > NETWORK_XML_MAX) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "the XML has %zu bytes, more than %d", length,
                    NETWORK_XML_MAX);
        return false;
    }
    document = xmlReadMemory(text, (int)length, NULL, NULL, XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    root = document ? xmlDocGetRootElement(document) : NULL;
    if (!root || !xmlStrEqual(root->name, BAD_CAST "network")) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "this is not network XML (%s)",
                    root ? "the root element is not <network>" : "it is not well-formed");
        xmlFreeDoc(document);
        return false;
    }
    forward = child_named(root, "forward");
    *hostdev = false;
    if (forward) {
        xmlChar *mode = xmlGetNoNsProp(forward, BAD_CAST "mode");

        *hostdev = xmlStrEqual(mode, BAD_CAST "hostdev");
        xmlFree(mode);
    }
    xmlFreeDoc(document);
    return true;
}
