/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * span.h - where elements and attributes stand in the bytes of a document.
 *
 * libxml2's tree forgets the bytes: white space in tags, quotes, the order of
 * attributes, references. An editor that has to leave all of that alone needs
 * places, not nodes. This is a scanner, not a parser: it takes only text that
 * document.h accepted just before (well-formed, no DTD), in an encoding whose
 * ASCII bytes always mean ASCII.
 *
 * Owns an array of spans that borrow the text. Never changes the text.
 * Threads: no shared state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define VFM_NO_SPAN ((guint)-1)

/* One element; offsets into the text. */
typedef struct {
    gsize start; /* of '<' */
    gsize name;  /* of the local name, behind a prefix */
    gsize name_length;
    gsize prefix_length;                         /* 0 if none; the prefix starts at start + 1 */
    gsize tag_end;                               /* behind the start tag's '>' */
    gsize close;                                 /* of the end tag's '<'; tag_end if the element is empty */
    gsize end;                                   /* behind the element */
    bool empty;                                  /* <x/> */
    guint parent, first_child, last_child, next; /* VFM_NO_SPAN if none */
} VfmSpan;

typedef struct {
    const char *text; /* borrowed */
    gsize length;
    GArray *spans; /* of VfmSpan in document order; the root is 0 */
} VfmSpans;

/* Of an attribute: the name, and what stands between the quotes. */
typedef struct {
    gsize name, name_length;
    gsize value, value_length;
    char quote;
} VfmAttributeSpan;

/* NULL with VFM_INPUT_UNSUPPORTED for encodings that can't be edited bytewise (UTF-16 and the like),
 * VFM_INPUT_SYNTAX for what document.h would not have accepted. */
VfmSpans *vfm_spans_new(const char *text, gsize length, GError **error);
void vfm_spans_free(VfmSpans *spans);

const VfmSpan *vfm_spans_get(const VfmSpans *spans, guint index);

/* Whether the element has this local name and namespace; @uri NULL means none. */
bool vfm_spans_is(const VfmSpans *spans, guint index, const char *uri, const char *name);

/* First child of @parent, or first sibling from behind @after, of that name; VFM_NO_SPAN if there is none.
 * A parent of VFM_NO_SPAN has no children. */
guint vfm_spans_child(const VfmSpans *spans, guint parent, const char *uri, const char *name);
guint vfm_spans_next(const VfmSpans *spans, guint after, const char *uri, const char *name);

/* False if the element has no such attribute (by its name as written, prefix included). */
bool vfm_spans_attribute(const VfmSpans *spans, guint index, const char *name, VfmAttributeSpan *attribute);

/* The attribute's text with references resolved; NULL if absent. *offsets (if not NULL) is a GArray of gsize: for each
 * byte of the result, and for its end, the offset in the document it came from. */
char *vfm_spans_attribute_text(const VfmSpans *spans, guint index, const char *name, GArray **offsets);

/* Text of the element up to its first child, with references resolved, not stripped. */
char *vfm_spans_text(const VfmSpans *spans, guint index);

/* 1-based line of an offset. */
unsigned vfm_spans_line(const VfmSpans *spans, gsize offset);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmSpans, vfm_spans_free)
