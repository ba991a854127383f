/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mediator_parts.h"

#include <string.h>

static const char *head(const VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);

    return vfm_stream_at(mediator->journal, VFM_CLIENT_IN, state->streams[VFM_CLIENT_IN].head);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* White space after a text goes with it: the stream is empty again after an ordinary command. */
static size_t with_white_space(const VfmMediator *mediator, size_t length)
{
    size_t used = vfm_stream_used(vfm_journal_state(mediator->journal), VFM_CLIENT_IN);
    const char *text = head(mediator);

    while (length < used && is_space(text[length]))
        length++;
    return length;
}

/* The first @length bytes leave the client's stream: to QEMU, or nowhere. The scan starts afresh behind them. */
static bool pass_on(VfmMediator *mediator, size_t length, bool forward, bool is_text)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmJournalState *next;

    if (forward &&
        (vfm_stream_room(state, VFM_QEMU_OUT) < length ||
         vfm_fd_span_room(state->streams[VFM_QEMU_OUT].fds) < vfm_stream_fds(journal, state, VFM_CLIENT_IN, length)))
        return false;
    next = vfm_journal_begin(journal);
    if (forward)
        vfm_stream_move(journal, next, VFM_CLIENT_IN, VFM_QEMU_OUT, length);
    else
        vfm_stream_skip(journal, next, VFM_CLIENT_IN, length);
    next->messages += is_text;
    if (is_text && forward)
        next->scolded = false;
    if (length >= mediator->client_ahead)
        next->client_frame = mediator->client_frame;
    vfm_journal_commit(journal);
    mediator->client_ahead -= MIN(length, mediator->client_ahead);
    return true;
}

/* What the session layer answers itself. */
static bool answer(VfmMediator *mediator, VfmSession session, const char *reply, size_t length)
{
    VfmJournal *journal = mediator->journal;
    VfmJournalState *next;

    if (vfm_stream_room(vfm_journal_state(journal), VFM_CLIENT_OUT) < strlen(reply))
        return false;
    next = vfm_journal_begin(journal);
    next->session = session;
    next->messages++;
    next->scolded = false;
    next->client_frame = mediator->client_frame;
    vfm_stream_put(journal, next, VFM_CLIENT_OUT, reply, strlen(reply));
    vfm_stream_skip(journal, next, VFM_CLIENT_IN, length);
    vfm_journal_commit(journal);
    return true;
}

/* The session decides first. Changes of it become part of the same change of state as the message's way. */
static bool deal_with_text(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmSession session = state->session;
    size_t length = mediator->client_text;
    g_autofree char *reply = NULL;
    VfmMessage message;
    VfmTalk *talk = NULL;
    bool done;

    vfm_message_read(&message, head(mediator), length);
    if (vfm_session_command(&session, &message, &reply) == VFM_SESSION_ANSWER) {
        done = answer(mediator, session, reply, length);
    } else {
        if (mediator->talker && journal->shared->level == VFM_LEVEL_FULL && session.client == VFM_CLIENT_READY)
            talk = mediator->talker->open(mediator->talker, &message, head(mediator), length);
        if (!talk && state->checkpoint_length) /* workers failed over it, and less than half of it must not be left */
            talk =
                vfm_talk_decline("vfiomem: the helper failed in the middle of this command and has given it up; look "
                                 "whether the device is there, and into the domain's log");
        if (talk) {
            vfm_mediator_talk(mediator, talk);
            return true;
        }
        if (session.oob_asked != state->session.oob_asked) {
            vfm_journal_begin(journal)->session = session;
            vfm_journal_commit(journal);
        }
        done = pass_on(mediator, length, true, true);
    }
    if (done)
        mediator->client_text = mediator->client_ahead = 0;
    return done;
}

static bool deal_with_bad(VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);

    if (!state->scolded) {
        vfm_mediator_talk(mediator, vfm_talk_scold(mediator->client_why));
        return true;
    }
    mediator->client_bad = false;
    pass_on(mediator, mediator->client_text, false, true);
    mediator->client_text = mediator->client_ahead = 0;
    return true;
}

/* White space in front of a text that fills the stream must not keep the text from becoming whole. */
static bool trim(VfmMediator *mediator)
{
    const char *text = head(mediator);
    size_t length = 0;

    while (length < mediator->client_ahead && is_space(text[length]))
        length++;
    return length && pass_on(mediator, length, false, false);
}

static bool scan(VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);
    size_t bytes = vfm_stream_used(state, VFM_CLIENT_IN), used;

    while (mediator->client_ahead < bytes) {
        VfmFrameResult result = vfm_frame_feed(&mediator->client_frame, head(mediator) + mediator->client_ahead,
                                               bytes - mediator->client_ahead, &used);

        mediator->client_ahead += used;
        switch (result) {
        case VFM_FRAME_BLANK:
            return pass_on(mediator, mediator->client_ahead, state->session.client == VFM_CLIENT_READY, false);
        case VFM_FRAME_MESSAGE:
            mediator->client_text = with_white_space(mediator, mediator->client_ahead);
            return true;
        case VFM_FRAME_BAD:
            mediator->client_text = mediator->client_ahead;
            mediator->client_bad = true;
            mediator->client_why = vfm_frame_why(&mediator->client_frame);
            return true;
        case VFM_FRAME_MORE:
            if (vfm_frame_skipping(&mediator->client_frame))
                return pass_on(mediator, mediator->client_ahead, false, false);
            break;
        }
    }
    return bytes && vfm_stream_room(state, VFM_CLIENT_IN) == 0 && trim(mediator);
}

bool vfm_mediator_from_client(VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);
    bool drained = !state->drain_wanted && (int32_t)(state->own_first - state->drained_at) >= 0;

    if (state->client < 0 || state->session.client <= VFM_CLIENT_NEW || !drained || mediator->talk)
        return false;
    if (!mediator->client_text && !scan(mediator))
        return false;
    if (!mediator->client_text)
        return true;
    return mediator->client_bad ? deal_with_bad(mediator) : deal_with_text(mediator);
}
