/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * document.h - untrusted bytes to a libxml2 tree, safely.
 *
 * Nothing outside the bytes is ever read: no DTD, no external entity, no
 * network. A document type declaration is refused as soon as it is met, so no
 * entity is ever defined and none can multiply. Size and depth are bounded.
 * The tree is only read by its callers; this file never interprets it.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>

/* No domain is near this; libvirt's own RPC limit for XML is 4 MiB strings, 32 MiB messages. */
#define VFM_XML_SIZE_MAX (16u * 1024 * 1024)

/* A new tree (xmlFreeDoc) whose nodes know their lines, or NULL with VFM_INPUT_ERROR
 * "FILE:LINE: why". Prefixes that nobody declared are left in the names, as libvirt leaves them. @file is only a name
 * for messages. Thread-safe. */
xmlDoc *vfm_xml_document_parse(const char *text, gsize length, const char *file, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(xmlDoc, xmlFreeDoc)
