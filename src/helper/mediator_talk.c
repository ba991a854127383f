/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mediator_parts.h"

#include "devices_wire.h"
#include "log.h"
#include "reply.h"

#include <stdio.h>
#include <string.h>

void vfm_mediator_ask(VfmMediator *mediator, VfmJournalState *next, const char *members)
{
    g_autofree char *text = g_strdup_printf("{\"id\": \"vfiomem-%08x-%u\", %s}\r\n", mediator->journal->shared->token,
                                            next->own_next, members);

    vfm_stream_put(mediator->journal, next, VFM_QEMU_OUT, text, strlen(text));
    next->own_next++;
}

bool vfm_mediator_is_own(const VfmMediator *mediator, VfmSlice id, uint32_t *number)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);
    VfmSlice inner = vfm_slice_string(id);
    char text[48], prefix[32];
    int length;

    length = g_snprintf(prefix, sizeof(prefix), "vfiomem-%08x-", mediator->journal->shared->token);
    if (!inner.at || inner.length >= sizeof(text) || inner.length <= (size_t)length ||
        memcmp(inner.at, prefix, (size_t)length) != 0)
        return false;
    memcpy(text, inner.at, inner.length);
    text[inner.length] = '\0';
    return sscanf(text + length, "%u", number) == 1 && *number - state->own_first < state->own_next - state->own_first;
}

void vfm_mediator_talk(VfmMediator *mediator, VfmTalk *talk)
{
    g_assert(!mediator->talk);
    mediator->talk = talk;
    mediator->talk_state = VFM_TALK_DUE;
    mediator->asked = false;
    mediator->anew = true;
    g_clear_pointer(&mediator->devices_answer, g_free);
    g_ptr_array_set_size(mediator->replies, 0);
    g_string_truncate(mediator->answer, 0);
    g_string_truncate(mediator->events, 0);
}

void vfm_mediator_talk_end(VfmMediator *mediator)
{
    if (mediator->talk)
        mediator->talk->ops->free(mediator->talk);
    mediator->talk = NULL;
    mediator->talk_state = VFM_TALK_IDLE;
}

void vfm_mediator_talk_reply(VfmMediator *mediator, uint32_t number, const char *text, size_t length)
{
    if (mediator->talk_state != VFM_TALK_WAITING || number - mediator->first >= mediator->last - mediator->first)
        return; /* of a talk that is no more */
    g_ptr_array_add(mediator->replies, g_strndup(text, length));
    if (number + 1 == mediator->last)
        mediator->talk_state = mediator->verdict == VFM_TALK_ASK ? VFM_TALK_DUE : VFM_TALK_DECIDED;
}

static void put_checkpoint(VfmMediator *mediator, VfmJournalState *next, const char *text)
{
    size_t length = strlen(text);

    g_assert(length > 0 && length < VFM_CHECKPOINT_MAX);
    next->checkpoint = !next->checkpoint; /* not into the one that counts */
    memcpy(mediator->journal->shared->checkpoints[next->checkpoint], text, length + 1);
    next->checkpoint_length = (uint16_t)length;
}

static void clear_checkpoint(VfmJournalState *next)
{
    next->checkpoint_length = next->kept_length = 0;
    next->keeps = false;
}

/* Asks the process that maps, and waits. */
static void ask_devices(VfmMediator *mediator, const VfmTalkTurn *turn)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);
    VfmJournalState *next;

    g_clear_pointer(&mediator->devices_answer, g_free);
    if (state->devices_ended || vfm_stream_room(state, VFM_DEVICES_OUT) < VFM_DEVICES_LINE_MAX) {
        mediator->talk_state = VFM_TALK_DUE;
        return;
    }
    next = vfm_journal_begin(mediator->journal);
    vfm_mediator_request(mediator, next, turn->request, turn->found != NULL);
    if (turn->keep && !turn->found)
        put_checkpoint(mediator, next, turn->keep);
    vfm_journal_commit(mediator->journal);
    mediator->talk_state = VFM_TALK_AT_DEVICES;
}

/* The talk of a predecessor asked something that must not be asked twice: its reply is here, or still to come. */
static void resume(VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);

    mediator->verdict = VFM_TALK_ASK;
    mediator->asked = true; /* what was asked is the barrier, too */
    g_ptr_array_set_size(mediator->replies, 0);
    mediator->talk_state = VFM_TALK_DUE;
    if (state->keeps && state->kept_length) {
        g_ptr_array_add(mediator->replies, g_strndup(mediator->journal->shared->kept, state->kept_length));
    } else if (state->keeps && state->kept - state->own_first < state->own_next - state->own_first) {
        mediator->first = state->kept;
        mediator->last = state->kept + 1;
        mediator->talk_state = VFM_TALK_WAITING;
    }
}

/* Sends what is asked and waits. */
static void ask_all(VfmMediator *mediator, const GPtrArray *ask, VfmMaybe note, const char *keep)
{
    VfmJournalState *next = vfm_journal_begin(mediator->journal);

    mediator->first = next->own_next;
    for (guint i = 0; i < ask->len; i++)
        vfm_mediator_ask(mediator, next, ask->pdata[i]);
    mediator->last = next->own_next;
    if (note.set)
        next->noted = note.value;
    if (keep) {
        put_checkpoint(mediator, next, keep);
        next->keeps = true;
        next->kept = mediator->first;
        next->kept_length = 0;
    }
    vfm_journal_commit(mediator->journal);
    mediator->asked = true;
    mediator->talk_state = VFM_TALK_WAITING;
    g_ptr_array_set_size(mediator->replies, 0);
}

static bool take_turn(VfmMediator *mediator)
{
    g_autoptr(GPtrArray) ask = g_ptr_array_new_with_free_func(g_free);
    const VfmJournalState *state = vfm_journal_state(mediator->journal);
    VfmMessage message;
    VfmTalkTurn turn = {.message = &message,
                        .replies = mediator->replies,
                        .ask = ask,
                        .answer = mediator->answer,
                        .events = mediator->events,
                        .devices = mediator->devices_answer};
    g_autofree char *found = NULL, *request = NULL, *keep = NULL;
    size_t bytes = 0;

    if (vfm_stream_room(state, VFM_QEMU_OUT) < VFM_ASK_MAX)
        return false;
    vfm_message_read(&message, vfm_stream_at(mediator->journal, VFM_CLIENT_IN, state->streams[VFM_CLIENT_IN].head),
                     mediator->client_text);
    if (mediator->anew && state->checkpoint_length)
        found = g_strndup(mediator->journal->shared->checkpoints[state->checkpoint], state->checkpoint_length);
    turn.found = found;
    mediator->anew = false;
    mediator->verdict = mediator->talk->ops->step(mediator->talk, &turn);
    request = turn.request;
    keep = turn.keep;
    for (guint i = 0; i < ask->len; i++)
        bytes += strlen(ask->pdata[i]) + 64;
    if (mediator->verdict == VFM_TALK_ASK && (ask->len == 0 || bytes > VFM_ASK_MAX)) {
        vfm_log("a question to QEMU was too long; the command is forwarded");
        mediator->verdict = VFM_TALK_FORWARD;
    }
    if (mediator->verdict == VFM_TALK_ANSWER && !mediator->asked) {
        /* Our answer must not overtake QEMU's to earlier commands: a question that costs nothing is the barrier. */
        g_ptr_array_set_size(ask, 0);
        g_ptr_array_add(ask, g_strdup("\"execute\": \"query-name\""));
        ask_all(mediator, ask, VFM_NONE, NULL);
    } else if (mediator->verdict == VFM_TALK_ASK) {
        ask_all(mediator, ask, turn.note, keep);
    } else if (mediator->verdict == VFM_TALK_DEVICES) {
        ask_devices(mediator, &turn);
    } else if (mediator->verdict == VFM_TALK_RESUME) {
        resume(mediator);
    } else {
        mediator->talk_state = VFM_TALK_DECIDED;
    }
    return true;
}

/* Replaces what could never be delivered. */
static void bound_answer(VfmMediator *mediator)
{
    g_autofree char *reply = NULL;

    if (mediator->answer->len + mediator->events->len <= VFM_RING_SIZE)
        return;
    reply = vfm_reply_error((VfmSlice){0}, "vfiomem: the answer is too long for the monitor; ask for less");
    g_string_assign(mediator->answer, reply);
    g_string_truncate(mediator->events, 0);
}

static bool carry_out(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    bool forward = mediator->verdict == VFM_TALK_FORWARD;
    VfmJournalState *next;

    bound_answer(mediator);
    if (state->qemu_rest == VFM_REST_FORWARD || /* in the middle of a text of QEMU's */
        vfm_stream_room(state, VFM_CLIENT_OUT) < mediator->answer->len + mediator->events->len)
        return false;
    if (forward && (vfm_stream_room(state, VFM_QEMU_OUT) < mediator->client_text ||
                    vfm_fd_span_room(state->streams[VFM_QEMU_OUT].fds) <
                        vfm_stream_fds(journal, state, VFM_CLIENT_IN, mediator->client_text)))
        return false;
    next = vfm_journal_begin(journal);
    if (forward) {
        vfm_stream_put(journal, next, VFM_CLIENT_OUT, mediator->events->str, mediator->events->len);
        vfm_stream_move(journal, next, VFM_CLIENT_IN, VFM_QEMU_OUT, mediator->client_text);
    } else {
        vfm_stream_put(journal, next, VFM_CLIENT_OUT, mediator->answer->str, mediator->answer->len);
        vfm_stream_put(journal, next, VFM_CLIENT_OUT, mediator->events->str, mediator->events->len);
        vfm_stream_skip(journal, next, VFM_CLIENT_IN, mediator->client_text);
    }
    next->messages++;
    next->scolded = mediator->client_bad;
    if (next->checkpoint_length && journal->shared->level != VFM_LEVEL_FULL)
        vfm_mediator_withdraw(mediator, next);
    clear_checkpoint(next);
    next->client_frame = mediator->client_frame;
    vfm_journal_commit(journal);
    mediator->client_text = mediator->client_ahead = 0;
    mediator->client_bad = false;
    vfm_mediator_talk_end(mediator);
    return true;
}

bool vfm_mediator_talk_step(VfmMediator *mediator)
{
    switch (mediator->talk_state) {
    case VFM_TALK_DUE:
        return take_turn(mediator);
    case VFM_TALK_DECIDED:
        return carry_out(mediator);
    default:
        return false;
    }
}
