/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * frame.h - where one JSON text ends in a stream of bytes.
 *
 * A scanner that is fed bytes as they come, cut anywhere, and says where each
 * text ends. It keeps no byte itself: whoever feeds it holds them. It knows
 * nesting, strings and their two quotes and nothing else of JSON, so that what
 * is only forwarded is neither parsed nor printed again. Its idea of an end is
 * QEMU's (qobject/json-streamer.c: braces and brackets counted apart, a text
 * ends when both are zero or one is below), so that both ends of a relay agree
 * on boundaries even for texts that are not valid JSON.
 *
 * What can never be part of a text (stray bytes between texts, control bytes
 * in strings, more depth or length than the bounds) is told apart as bad and
 * never has to be stored: while a text that broke a bound runs on,
 * vfm_frame_skipping() is true and its bytes may be thrown away.
 *
 * Cost: one table look-up a byte. No allocation. One thread at a time.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* QEMU's own bound (qobject/json-streamer.c). */
#define VFM_FRAME_MAX_DEPTH 1024

typedef enum {
    VFM_FRAME_MORE,    /* all bytes used, no end yet */
    VFM_FRAME_MESSAGE, /* a text ended with the last byte used */
    VFM_FRAME_BLANK,   /* only white space so far, all of it used */
    VFM_FRAME_BAD      /* what ended with the last byte used is no text; see vfm_frame_why() */
} VfmFrameResult;

typedef enum { VFM_FRAME_AT_START, VFM_FRAME_IN_BODY, VFM_FRAME_IN_STRING, VFM_FRAME_AT_TAIL } VfmFrameState;

typedef struct {
    VfmFrameState state;
    int braces, brackets;
    char quote;
    bool escaped;
    bool lines;      /* a text reaches to its newline: what QEMU sends */
    size_t length;   /* bytes of the present text, without white space before it */
    size_t max;      /* bound of @length */
    const char *why; /* the bound that the present text broke; NULL while it is fine */
    const char *bad; /* reason of the last VFM_FRAME_BAD */
} VfmFrame;

/* @max: longest text in bytes. @lines: the newline after a text belongs to it (QEMU's direction), so that whoever
 * removes a text leaves no empty line behind. */
void vfm_frame_init(VfmFrame *frame, size_t max, bool lines);

/* Scans at most @length bytes and stops after the first end. *@used gets the bytes scanned, 0 only for @length 0 or
 * where a text ended without its newline just before @data. After an end the frame is ready for the next text. */
VfmFrameResult vfm_frame_feed(VfmFrame *frame, const char *data, size_t length, size_t *used);

/* Whether a text has begun and not ended. */
bool vfm_frame_within(const VfmFrame *frame);

/* Whether the present text has broken a bound: its bytes need not be kept. */
bool vfm_frame_skipping(const VfmFrame *frame);

/* Why the last result was VFM_FRAME_BAD; static string, never NULL. */
const char *vfm_frame_why(const VfmFrame *frame);
