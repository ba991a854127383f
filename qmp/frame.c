/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "frame.h"

enum { PLAIN = 0, SPACE, OPEN, CLOSE, QUOTE, ESCAPE, CONTROL, NEVER };

/* clang-format off */
static const uint8_t classes[256] = {
    [0 ... 0x08] = CONTROL, [0x0b ... 0x0c] = CONTROL, [0x0e ... 0x1f] = CONTROL,
    ['\t'] = SPACE, ['\n'] = SPACE, ['\r'] = SPACE, [' '] = SPACE,
    ['{'] = OPEN, ['['] = OPEN, ['}'] = CLOSE, [']'] = CLOSE,
    ['"'] = QUOTE, ['\''] = QUOTE, ['\\'] = ESCAPE,
    [0xfe] = NEVER, [0xff] = NEVER,
};
/* clang-format on */

static inline unsigned class_of(char c)
{
    return classes[(uint8_t)c];
}

void vfm_frame_init(VfmFrame *frame, size_t max, bool lines)
{
    *frame = (VfmFrame){.max = max, .lines = lines, .bad = "nothing was wrong"};
}

bool vfm_frame_within(const VfmFrame *frame)
{
    return frame->state != VFM_FRAME_AT_START || frame->why;
}

bool vfm_frame_skipping(const VfmFrame *frame)
{
    return frame->why != NULL;
}

const char *vfm_frame_why(const VfmFrame *frame)
{
    return frame->bad;
}

static VfmFrameResult finish(VfmFrame *frame, const char *why)
{
    size_t max = frame->max;
    bool lines = frame->lines;
    const char *bad = why ? why : frame->why;

    vfm_frame_init(frame, max, lines);
    if (!bad)
        return VFM_FRAME_MESSAGE;
    frame->bad = bad;
    return VFM_FRAME_BAD;
}

/* Runs to the next opening bracket or white space; one run is one bad text. */
static VfmFrameResult stray(VfmFrame *frame, const char *data, size_t length, size_t at, size_t *used)
{
    while (at < length && class_of(data[at]) != OPEN && class_of(data[at]) != SPACE)
        at++;
    *used = at;
    return finish(frame, "bytes outside of any object");
}

/* Skips to the byte after the string, or to @length. Returns false at a byte no string may hold. */
static bool scan_string(VfmFrame *frame, const char *data, size_t length, size_t *at)
{
    size_t i = *at;

    for (; i < length; i++) {
        unsigned class = class_of(data[i]);

        /* QEMU's lexer (qobject/json-lexer.c) takes 0x20 to 0xfd in a string and after a backslash. */
        if (class == CONTROL || class == NEVER || (class == SPACE && data[i] != ' ')) {
            *at = i + 1;
            return false;
        }
        if (frame->escaped) {
            frame->escaped = false;
        } else if (class == ESCAPE) {
            frame->escaped = true;
        } else if (class == QUOTE && data[i] == frame->quote) {
            frame->state = VFM_FRAME_IN_BODY;
            i++;
            break;
        }
    }
    *at = i;
    return true;
}

/* One byte outside of strings. Returns whether the text is complete. */
static bool scan_body(VfmFrame *frame, char c)
{
    switch (class_of(c)) {
    case OPEN:
        *(c == '{' ? &frame->braces : &frame->brackets) += 1;
        if (frame->braces + frame->brackets > VFM_FRAME_MAX_DEPTH && !frame->why)
            frame->why = "nesting is deeper than 1024";
        return false;
    case CLOSE:
        *(c == '}' ? &frame->braces : &frame->brackets) -= 1;
        return frame->braces < 0 || frame->brackets < 0 || (frame->braces == 0 && frame->brackets == 0);
    case QUOTE:
        frame->state = VFM_FRAME_IN_STRING;
        frame->quote = c;
        return false;
    default:
        return false;
    }
}

static void count(VfmFrame *frame, size_t bytes)
{
    frame->length += bytes;
    if (frame->length > frame->max && !frame->why)
        frame->why = "the text is too long";
}

VfmFrameResult vfm_frame_feed(VfmFrame *frame, const char *data, size_t length, size_t *used)
{
    size_t i = 0;

    while (i < length) {
        size_t from = i;

        switch (frame->state) {
        case VFM_FRAME_AT_START:
            if (class_of(data[i]) == SPACE) {
                i++; /* belongs to what follows, and no bound counts it */
                continue;
            } else if (class_of(data[i]) == OPEN) {
                frame->state = VFM_FRAME_IN_BODY;
                continue;
            } else {
                return stray(frame, data, length, i, used);
            }
            break;
        case VFM_FRAME_IN_BODY:
            while (i < length && class_of(data[i]) <= SPACE)
                i++;
            if (i == length)
                break;
            if (class_of(data[i]) == CONTROL || class_of(data[i]) == NEVER) {
                /* The protocol's way to start afresh (docs/interop/qmp-spec.rst). */
                *used = i + 1;
                return finish(frame, "a control byte inside of a text");
            }
            if (scan_body(frame, data[i++])) {
                if (!frame->lines) {
                    count(frame, i - from);
                    *used = i;
                    return finish(frame, NULL);
                }
                frame->state = VFM_FRAME_AT_TAIL;
            }
            break;
        case VFM_FRAME_IN_STRING:
            if (!scan_string(frame, data, length, &i)) {
                *used = i;
                return finish(frame, "a control byte inside of a string");
            }
            break;
        case VFM_FRAME_AT_TAIL:
            if (class_of(data[i]) != SPACE || data[i++] == '\n') {
                count(frame, i - from);
                *used = i;
                return finish(frame, NULL);
            }
            break;
        }
        count(frame, i - from);
    }
    *used = length;
    if (frame->state != VFM_FRAME_AT_START)
        return VFM_FRAME_MORE;
    return VFM_FRAME_BLANK;
}
