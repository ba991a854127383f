/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mediator_parts.h"

VfmMediator *vfm_mediator_new(VfmJournal *journal, VfmTalker *talker)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmMediator *mediator = g_new0(VfmMediator, 1);

    mediator->journal = journal;
    mediator->talker = talker;
    mediator->client_frame = state->client_frame;
    mediator->qemu_frame = state->qemu_frame;
    mediator->replies = g_ptr_array_new_with_free_func(g_free);
    mediator->answer = g_string_new(NULL);
    mediator->events = g_string_new(NULL);
    return mediator;
}

void vfm_mediator_free(VfmMediator *mediator)
{
    if (!mediator)
        return;
    vfm_mediator_talk_end(mediator);
    g_ptr_array_unref(mediator->replies);
    g_string_free(mediator->answer, TRUE);
    g_string_free(mediator->events, TRUE);
    g_free(mediator->request);
    g_free(mediator->devices_answer);
    g_free(mediator);
}

/* A client that waits for QEMU's greeting gets the kept one, the first client too. */
static bool greet(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmJournalState *next;

    if (state->session.client != VFM_CLIENT_NEW || state->greeting_length == 0 ||
        vfm_stream_room(state, VFM_CLIENT_OUT) < state->greeting_length)
        return false;
    next = vfm_journal_begin(journal);
    vfm_stream_put(journal, next, VFM_CLIENT_OUT, journal->shared->greeting, state->greeting_length);
    vfm_session_greeted(&next->session);
    vfm_journal_commit(journal);
    return true;
}

static bool drop_all(VfmMediator *mediator, VfmStreamId id)
{
    VfmJournalState *next = vfm_journal_begin(mediator->journal);

    vfm_stream_drop(mediator->journal, next, id, vfm_stream_used(next, id));
    vfm_journal_commit(mediator->journal);
    return true;
}

/* A client that hung up: what it said completely has been dealt with; the half text at the end never was a command. */
static bool part_with_client(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    bool raw = journal->shared->level == VFM_LEVEL_RAW;
    bool drained = !state->drain_wanted && (int32_t)(state->own_first - state->drained_at) >= 0;
    VfmJournalState *next;

    if (state->client < 0 || !state->client_ended || mediator->talk || mediator->client_text || (!drained && !raw))
        return false;
    mediator->client_ahead = 0;
    if (vfm_stream_used(state, VFM_CLIENT_IN))
        return drop_all(mediator, VFM_CLIENT_IN);
    if (vfm_stream_used(state, VFM_CLIENT_OUT))
        return drop_all(mediator, VFM_CLIENT_OUT);
    next = vfm_journal_begin(journal);
    vfm_session_disconnect(&next->session);
    vfm_journal_discard(journal, next, next->client);
    next->client = -1;
    next->client_ended = false;
    next->drain_wanted = next->session.qemu != VFM_QEMU_SILENT && !raw;
    if (next->qemu_rest == VFM_REST_FORWARD)
        next->qemu_rest = VFM_REST_DROP;
    vfm_frame_init(&next->client_frame, VFM_CLIENT_TEXT_MAX, false);
    mediator->client_frame = next->client_frame;
    vfm_journal_commit(journal);
    return true;
}

/* Everything QEMU still says to the former client comes before the answer to this. */
static bool mark_drain(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmJournalState *next;

    if (!state->drain_wanted || vfm_stream_room(state, VFM_QEMU_OUT) < 256)
        return false;
    next = vfm_journal_begin(journal);
    vfm_mediator_ask(mediator, next, "\"execute\": \"query-name\"");
    next->drained_at = next->own_next;
    next->drain_wanted = false;
    vfm_journal_commit(journal);
    return true;
}

/* Bytes as they come: what is left when looking at them kills. */
static bool pump(VfmMediator *mediator, VfmStreamId from, VfmStreamId to)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    size_t length = vfm_stream_used(state, from);
    bool drop = state->client < 0;
    VfmJournalState *next;

    if (!drop)
        length = MIN(length, vfm_stream_room(state, to));
    if (length == 0 ||
        (!drop && vfm_fd_span_room(state->streams[to].fds) < vfm_stream_fds(journal, state, from, length)))
        return false;
    next = vfm_journal_begin(journal);
    if (drop)
        vfm_stream_drop(journal, next, from, length);
    else
        vfm_stream_move(journal, next, from, to, length);
    vfm_journal_commit(journal);
    return true;
}

static bool pump_from_client(VfmMediator *mediator)
{
    return pump(mediator, VFM_CLIENT_IN, VFM_QEMU_OUT);
}

static bool pump_from_qemu(VfmMediator *mediator)
{
    return pump(mediator, VFM_QEMU_IN, VFM_CLIENT_OUT);
}

typedef bool (*Step)(VfmMediator *mediator);

bool vfm_mediator_run(VfmMediator *mediator)
{
    static const Step full[] = {greet,
                                vfm_mediator_from_qemu,
                                vfm_mediator_from_devices,
                                vfm_mediator_talk_step,
                                vfm_mediator_from_client,
                                mark_drain,
                                part_with_client,
                                NULL};
    static const Step raw[] = {greet, pump_from_qemu, pump_from_client, part_with_client, NULL};
    VfmShared *shared = mediator->journal->shared;
    const Step *steps = shared->level == VFM_LEVEL_RAW ? raw : full;
    bool changed = false, again = true;

    shared->busy = 1;
    while (again) {
        again = false;
        for (int i = 0; steps[i]; i++) {
            if (!steps[i](mediator))
                continue;
            again = changed = true;
            /* Each step gives up at most one stream's descriptors, which fit; the caller closes them in between. */
            if (vfm_fd_span_count(vfm_journal_state(mediator->journal)->closing)) {
                shared->busy = 0;
                return true;
            }
        }
    }
    shared->busy = 0;
    return changed;
}
