/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mediator_parts.h"

#include "log.h"

#include <string.h>

/* What the client may hear of QEMU. */
static VfmRest verdict(const VfmJournalState *state)
{
    bool drained = !state->drain_wanted && (int32_t)(state->own_first - state->drained_at) >= 0;

    if (state->client < 0 || !drained)
        return VFM_REST_DROP;
    if (state->session.client == VFM_CLIENT_READY)
        return VFM_REST_FORWARD;
    /* The first client negotiates with QEMU itself; later ones hear nothing before they have negotiated with us. */
    return state->session.client == VFM_CLIENT_GREETED && state->session.qemu != VFM_QEMU_READY ? VFM_REST_FORWARD
                                                                                                : VFM_REST_DROP;
}

/* Whether texts of QEMU must be looked at one by one: for our answers among them, or because something of ours is about
 * to be said, which has its place between two of them. */
static bool must_inspect(const VfmMediator *mediator, const VfmJournalState *state)
{
    return state->session.qemu != VFM_QEMU_READY || state->own_first != state->own_next || mediator->talk ||
           vfm_stream_used(state, VFM_DEVICES_IN) > 0;
}

static size_t bounded_by_client(const VfmMediator *mediator, const VfmJournalState *state, VfmRest rest, size_t bytes)
{
    if (rest == VFM_REST_DROP)
        return bytes;
    if (vfm_stream_fds(mediator->journal, state, VFM_QEMU_IN, bytes) >
        vfm_fd_span_room(state->streams[VFM_CLIENT_OUT].fds))
        return 0;
    return MIN(bytes, vfm_stream_room(state, VFM_CLIENT_OUT));
}

/* Passes on or drops what is there, without looking further than where texts end; with @one, up to the first end. */
static bool stream(VfmMediator *mediator, VfmRest rest, bool one)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    const char *data = vfm_stream_at(journal, VFM_QEMU_IN, state->streams[VFM_QEMU_IN].head);
    size_t bytes = bounded_by_client(mediator, state, rest, vfm_stream_used(state, VFM_QEMU_IN));
    VfmFrame frame = state->qemu_frame;
    uint64_t texts = 0;
    VfmJournalState *next;
    size_t at = 0, used;

    if (bytes == 0)
        return false;
    while (at < bytes && !(one && texts)) {
        VfmFrameResult result = vfm_frame_feed(&frame, data + at, bytes - at, &used);

        at += used;
        texts += result == VFM_FRAME_MESSAGE || result == VFM_FRAME_BAD;
    }
    next = vfm_journal_begin(journal);
    next->qemu_frame = frame;
    next->qemu_rest = vfm_frame_within(&frame) ? rest : VFM_REST_NONE;
    next->messages += texts;
    if (at && rest == VFM_REST_FORWARD)
        vfm_stream_move(journal, next, VFM_QEMU_IN, VFM_CLIENT_OUT, at);
    else
        vfm_stream_drop(journal, next, VFM_QEMU_IN, at);
    vfm_journal_commit(journal);
    mediator->qemu_frame = frame;
    mediator->qemu_ahead = 0;
    return true;
}

static void keep_greeting(VfmMediator *mediator, VfmJournalState *next, const char *text, size_t length)
{
    if (length > VFM_GREETING_MAX) {
        vfm_log("QEMU's greeting of %zu bytes is too long to be kept; clients that come later get a shorter one",
                length);
        text = "{\"QMP\": {\"version\": {\"qemu\": {\"micro\": 0, \"minor\": 0, \"major\": 0}, \"package\": \"\"}, "
               "\"capabilities\": []}}\r\n";
        length = strlen(text);
    }
    memcpy(mediator->journal->shared->greeting, text, length);
    next->greeting_length = (uint32_t)length;
}

/* The reply to what was asked with a checkpoint: whoever begins that talk anew finds it. */
static void keep_reply(VfmMediator *mediator, VfmJournalState *next, const VfmMessage *message, const char *text,
                       size_t length)
{
    if (length > VFM_KEPT_MAX) {
        text = message->error.at ? "{\"error\": {\"class\": \"GenericError\", \"desc\": \"QEMU refused, in too many "
                                   "words to be kept\"}}"
                                 : "{\"return\": {}}";
        length = strlen(text);
    }
    memcpy(mediator->journal->shared->kept, text, length);
    next->kept_length = (uint16_t)length;
}

/* A whole text at the head. Returns false if it has to wait for room. */
static bool inspect(VfmMediator *mediator, size_t length)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    const char *text = vfm_stream_at(journal, VFM_QEMU_IN, state->streams[VFM_QEMU_IN].head);
    VfmRest rest = verdict(state);
    VfmJournalState *next;
    VfmMessage message;
    uint32_t number = 0;
    bool own;

    vfm_message_read(&message, text, length);
    own = vfm_mediator_is_own(mediator, message.id, &number);
    if (own)
        vfm_mediator_talk_reply(mediator, number, text, length);
    else if (rest == VFM_REST_FORWARD && bounded_by_client(mediator, state, rest, length) < length)
        return false;
    next = vfm_journal_begin(journal);
    next->qemu_frame = mediator->qemu_frame;
    next->messages += !own; /* asking again and again is no progress */
    if (own) {
        next->own_first = number + 1;
        if (next->keeps && number == next->kept)
            keep_reply(mediator, next, &message, text, length);
    } else if (state->session.qemu == VFM_QEMU_SILENT && vfm_session_greeting(&next->session, &message)) {
        keep_greeting(mediator, next, text, length);
        rest = VFM_REST_DROP; /* a client that waits is given the kept one */
    } else if (state->session.qemu == VFM_QEMU_GREETED) {
        vfm_session_reply(&next->session, &message);
    }
    if (own || rest == VFM_REST_DROP)
        vfm_stream_drop(journal, next, VFM_QEMU_IN, length);
    else
        vfm_stream_move(journal, next, VFM_QEMU_IN, VFM_CLIENT_OUT, length);
    vfm_journal_commit(journal);
    mediator->qemu_ahead = 0;
    return true;
}

bool vfm_mediator_from_qemu(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    size_t bytes = vfm_stream_used(state, VFM_QEMU_IN);

    if (bytes == 0)
        return false;
    if (!must_inspect(mediator, state))
        return stream(mediator, state->qemu_rest != VFM_REST_NONE ? (VfmRest)state->qemu_rest : verdict(state),
                      state->qemu_rest != VFM_REST_NONE);
    if (state->qemu_rest != VFM_REST_NONE)
        return stream(mediator, (VfmRest)state->qemu_rest, true);
    while (mediator->qemu_ahead < bytes) {
        const char *data = vfm_stream_at(journal, VFM_QEMU_IN, state->streams[VFM_QEMU_IN].head + mediator->qemu_ahead);
        size_t used;
        VfmFrameResult result = vfm_frame_feed(&mediator->qemu_frame, data, bytes - mediator->qemu_ahead, &used);

        mediator->qemu_ahead += used;
        if (result == VFM_FRAME_MESSAGE || result == VFM_FRAME_BAD) {
            size_t length = mediator->qemu_ahead;
            VfmFrame frame = state->qemu_frame;

            if (inspect(mediator, length))
                return true;
            mediator->qemu_frame = frame; /* scanned again when there is room */
            mediator->qemu_ahead = 0;
            return false;
        }
    }
    /* A text that does not fit cannot be an answer to a question of ours, which are all short. */
    if (vfm_stream_room(state, VFM_QEMU_IN) == 0) {
        mediator->qemu_ahead = 0;
        mediator->qemu_frame = state->qemu_frame;
        return stream(mediator, verdict(state), true);
    }
    return false;
}
