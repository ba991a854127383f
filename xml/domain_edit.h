/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * domain_edit.h - changes domain XML and leaves every other byte alone.
 *
 * What `vfiomem apply` writes: a person who diffs it sees the numbers that had
 * to change and nothing else. Comments, foreign namespaces, order, quotes,
 * white space and line ends stay. Missing elements are made where libvirt itself
 * prints them, indented like their neighbours.
 *
 * The result was parsed again before it is returned: it is well-formed, and it
 * says what the edits ask for. What holds already is not touched, so editing
 * twice is editing once.
 *
 * Never: decides what to change (core's plan.h does), writes a file.
 */
#pragma once

#include "domain.h"
#include "plan.h"

/* The edited text (g_free), or NULL with VFM_INPUT_ERROR: the text is no domain (domain_xml.h), an edit names a device
 * it has not (VFM_INPUT_USAGE), the encoding can't be edited or a value is also set where we can't follow
 * (VFM_INPUT_UNSUPPORTED). @edits holds VfmEdit*. @file is a name for messages. Thread-safe. */
char *vfm_domain_xml_edit(const char *text, gsize length, const char *file, const GPtrArray *edits, GError **error);
