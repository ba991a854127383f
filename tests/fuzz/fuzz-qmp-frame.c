/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Framing must not depend on where the bytes were cut, must make progress, and members must lie inside their text. */
#include "frame.h"
#include "message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A hash over what was found, which must be the same however the input is cut. Runs of stray bytes may be reported in
 * more or fewer pieces, so only their presence counts. */
static uint64_t walk(const char *text, size_t length, size_t step, bool lines)
{
    VfmFrame frame;
    size_t at = 0, start = 0;
    uint64_t hash = 0;
    bool was_bad = false;

    vfm_frame_init(&frame, 4096, lines);
    while (at < length) {
        size_t used = 0, piece = MIN(step, length - at);
        VfmFrameResult result = vfm_frame_feed(&frame, text + at, piece, &used);

        g_assert(used <= piece && (used > 0 || (lines && result == VFM_FRAME_MESSAGE)));
        at += used;
        if (result == VFM_FRAME_MESSAGE) {
            VfmMessage message;

            g_assert(!vfm_frame_within(&frame));
            if (vfm_message_read(&message, text + start, at - start) && message.id.at)
                g_assert(message.id.at >= text + start && message.id.at + message.id.length <= text + at);
            hash = hash * 31 + at;
        } else if (result == VFM_FRAME_BAD && !was_bad) {
            hash = hash * 31 + 7;
        }
        if (result != VFM_FRAME_MORE)
            start = at;
        if (result == VFM_FRAME_MESSAGE || result == VFM_FRAME_BAD)
            was_bad = result == VFM_FRAME_BAD;
    }
    return hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;

    if (size < 1)
        return 0;
    g_assert(walk(text, size, size, false) == walk(text, size, 1, false));
    walk(text, size, 1u + data[0], true);
    return 0;
}
