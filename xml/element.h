/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * element.h - typed access to elements and attributes of domain XML.
 *
 * Only elements and attributes without a namespace are seen, as by libvirt's
 * own XPath expressions; what has one is somebody else's. A getter that meets a
 * wrong value sets the reader's error to "FILE:LINE: what" and returns false;
 * what is absent is no error unless the name of the getter says so. Nothing is
 * ever written to the tree.
 *
 * Threads: one reader, one thread. Ownership: strings returned as char * are
 * the caller's (g_free), nodes are the document's.
 */
#pragma once

#include <glib.h>
#include <libxml/tree.h>
#include <stdbool.h>

#include "domain.h"
#include "error.h"

/* Where messages go: the name of the input and the caller's GError. */
typedef struct {
    const char *file;
    GError **error;
} VfmXmlReader;

/* Sets VFM_INPUT_ERROR @code with "FILE:LINE: text" in one printable line of bounded length. */
void vfm_xml_fail_at(GError **error, const char *file, unsigned line, int code, const char *format, ...)
    G_GNUC_PRINTF(5, 6);

/* The same at @node; returns false so that callers can return it. */
bool vfm_xml_fail(const VfmXmlReader *reader, const xmlNode *node, int code, const char *format, ...)
    G_GNUC_PRINTF(4, 5);

unsigned vfm_xml_line(const xmlNode *node);

/* First child element, next sibling element; @name NULL means any. In no namespace. */
xmlNode *vfm_xml_child(const xmlNode *node, const char *name);
xmlNode *vfm_xml_next(const xmlNode *node, const char *name);
bool vfm_xml_is(const xmlNode *node, const char *name);

/* False if an element right below @node has a prefix that nobody declared: libvirt would drop it without a word. */
bool vfm_xml_check_prefixes(const VfmXmlReader *reader, const xmlNode *node);

/* The child that may be there once: *child is it or NULL; false if there are two. @node may be NULL. */
bool vfm_xml_only_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, xmlNode **child);

/* NULL if absent. @node may be NULL. */
char *vfm_xml_attribute(const xmlNode *node, const char *name);
/* All text below @node; "" if none. */
char *vfm_xml_text(const xmlNode *node);
/* Text of the only child @name without surrounding white space, NULL if absent. */
bool vfm_xml_child_text(const VfmXmlReader *reader, const xmlNode *node, const char *name, char **text);

/* Numbers: @base as in vfm_number_parse(); more than @max is an error. */
bool vfm_xml_number_attribute(const VfmXmlReader *reader, const xmlNode *node, const char *name, int base, uint64_t max,
                              VfmMaybe *value);
bool vfm_xml_number_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, uint64_t max,
                          VfmMaybe *value);

/* Memory sizes in bytes, by libvirt's rules: of the only child @name (with its unit attribute), of @node
 * itself, or of an attribute @name with the unit in attribute `unit`. *line, where given, is the child's. */
bool vfm_xml_size_child(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmMaybe *size,
                        unsigned *line);
bool vfm_xml_size_of(const VfmXmlReader *reader, const xmlNode *node, uint64_t *size);
bool vfm_xml_size_attribute(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmMaybe *size);

/* yes/no and on/off attributes; VFM_ABSENT if not there. */
bool vfm_xml_yes_no(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmSwitch *value);
bool vfm_xml_on_off(const VfmXmlReader *reader, const xmlNode *node, const char *name, VfmSwitch *value);

/* Index of attribute @name's value in @names (NULL-terminated), -1 if the attribute is absent. */
bool vfm_xml_choice(const VfmXmlReader *reader, const xmlNode *node, const char *name, const char *const *names,
                    int *index);
