/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * message.h - the top-level members of one QMP text, as slices of it.
 *
 * Enough to tell a command from an event and whose reply a reply is, without
 * building a tree: values stay the bytes they are, so that an id can be echoed
 * exactly as it came. What is looked into is parsed by json-glib elsewhere.
 *
 * Borrows: a VfmMessage points into the text it was read from. No allocation.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct {
    const char *at; /* NULL: absent */
    size_t length;
} VfmSlice;

typedef struct {
    VfmSlice execute, exec_oob, arguments, id; /* commands */
    VfmSlice greeting, event, returned, error; /* what QEMU sends */
    bool plain; /* an object whose keys are plain double- or single-quoted strings, each at most once */
} VfmMessage;

/* Reads the members of the object in @text (white space around it allowed). Returns @message->plain; a text that is
 * no such object leaves every slice absent. */
bool vfm_message_read(VfmMessage *message, const char *text, size_t length);

/* Whether @slice is the string @value in either quote, without escapes. */
bool vfm_slice_is_string(VfmSlice slice, const char *value);

/* The string inside @slice's quotes, unescaped only where there is nothing to unescape: a slice with a backslash, or
 * one that is no string, gives an absent slice. */
VfmSlice vfm_slice_string(VfmSlice slice);

/* Whether @slice is a string that begins with @prefix. */
bool vfm_slice_has_prefix(VfmSlice slice, const char *prefix);
