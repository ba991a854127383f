/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * splice.h - changes to a document that keep every other byte.
 *
 * A splicer owns a copy of the text and the spans over it. Each change replaces
 * one range of bytes and scans again, so span indexes found before a change are
 * void after it. New elements take the indentation, line ends and quotes of
 * what stands around them; a document written on one line stays on one line.
 *
 * Knows XML's bytes, not what the elements mean.
 * Errors: VFM_INPUT_ERROR from the scan. Threads: one at a time.
 */
#pragma once

#include "span.h"

typedef struct {
    GString *text;
    VfmSpans *spans;
} VfmSplicer;

VfmSplicer *vfm_splicer_new(const char *text, gsize length, GError **error);
void vfm_splicer_free(VfmSplicer *splicer);

/* Replaces bytes with bytes. */
bool vfm_splicer_replace(VfmSplicer *splicer, gsize start, gsize length, const char *with, GError **error);

/* Sets an attribute that may be missing; @value is plain text and gets escaped. */
bool vfm_splicer_set_attribute(VfmSplicer *splicer, guint element, const char *name, const char *value, GError **error);

/* The same where only a part of a long value differs: what is equal at both ends is left as it is written. */
bool vfm_splicer_change_attribute(VfmSplicer *splicer, guint element, const char *name, const char *value,
                                  GError **error);

/* Sets all content of an element to plain text. */
bool vfm_splicer_set_text(VfmSplicer *splicer, guint element, const char *value, GError **error);

/* Adds the element @markup (one line of well-formed XML whose name is @name) below @parent, behind its siblings
 * that stand before it in @order (NULL-terminated names), else first. *child is the new element, which must be the
 * only one of its name there. */
bool vfm_splicer_insert_child(VfmSplicer *splicer, guint parent, const char *const *order, const char *name,
                              const char *markup, guint *child, GError **error);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmSplicer, vfm_splicer_free)
