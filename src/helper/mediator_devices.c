/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process that maps says (devices_wire.h): answers go to the talk that asked, events become what is known of
 * devices and a VFIOMEM_GUARD for the client, in the one change of state that takes the line out of the stream. So
 * each is told once, however many workers it takes.
 */
#include "mediator_parts.h"

#include "devices_wire.h"
#include "log.h"
#include "reply.h"

#include <string.h>

static const char ended_reason[] = "the process that mapped guest memory for it has ended: the device is dead until "
                                   "the guest is shut down and started again";

void vfm_mediator_request(VfmMediator *mediator, VfmJournalState *next, const char *request, bool again)
{
    g_autofree char *line = NULL;

    if (!again)
        next->requests++;
    line = g_strdup_printf("%" G_GUINT64_FORMAT " %s\n", next->requests, request);
    vfm_stream_put(mediator->journal, next, VFM_DEVICES_OUT, line, strlen(line));
    mediator->overdue = g_get_monotonic_time() + mediator->journal->shared->patience_ms * G_TIME_SPAN_MILLISECOND;
    g_free(mediator->request);
    mediator->request = g_strdup(request);
}

/* Takes back what the last request, an add, may have brought about. */
void vfm_mediator_withdraw(VfmMediator *mediator, VfmJournalState *next)
{
    g_autofree char *request = g_strdup_printf("withdraw %" G_GUINT64_FORMAT, next->requests);

    if (!next->devices_ended && vfm_stream_room(next, VFM_DEVICES_OUT) > VFM_CHECKPOINT_MAX)
        vfm_mediator_request(mediator, next, request, false);
    next->checkpoint_length = 0;
    next->keeps = false;
    next->kept_length = 0;
}

static void answered(VfmMediator *mediator, const char *answer)
{
    g_free(mediator->devices_answer);
    mediator->devices_answer = g_strdup(answer);
    mediator->talk_state = VFM_TALK_DUE;
}

/* Nobody waits longer than the mapping process can take. */
static bool give_up(VfmMediator *mediator)
{
    const VfmJournalState *state = vfm_journal_state(mediator->journal);

    if (mediator->talk_state != VFM_TALK_AT_DEVICES)
        return false;
    if (!state->devices_ended || vfm_stream_used(state, VFM_DEVICES_IN)) {
        if (g_get_monotonic_time() < mediator->overdue)
            return false;
        vfm_log("vfiomem-helper-devices did not answer '%s'; it is taken back", mediator->request);
        vfm_mediator_withdraw(mediator, vfm_journal_begin(mediator->journal));
        vfm_journal_commit(mediator->journal);
    }
    answered(mediator, NULL);
    return true;
}

int vfm_mediator_patience(const VfmMediator *mediator)
{
    gint64 left = mediator->overdue - g_get_monotonic_time();

    if (mediator->talk_state != VFM_TALK_AT_DEVICES)
        return -1;
    return left <= 0 ? 0 : (int)(left / G_TIME_SPAN_MILLISECOND) + 1;
}

/* --- what is known of devices */

int vfm_journal_find_device(const VfmJournal *journal, const char *address)
{
    const VfmJournalState *state = vfm_journal_state(journal);

    for (unsigned i = 0; i < VFM_DEVICES_MAX; i++)
        if (vfm_device_set_has(&state->devices, i) && strcmp(journal->shared->devices[i].address, address) == 0)
            return (int)i;
    return -1;
}

static void served(VfmMediator *mediator, VfmJournalState *next, int entry, const char *address, const char *socket)
{
    VfmDeviceEntry *entries = mediator->journal->shared->devices;

    /* Said again, by one that took over: nothing changed. */
    if (entry >= 0 && strcmp(entries[entry].socket, socket) == 0)
        return;
    for (unsigned i = 0; entry < 0 && i < VFM_DEVICES_MAX; i++)
        if (!vfm_device_set_has(&next->devices, i))
            entry = (int)i;
    if (entry < 0)
        return;
    /* Half written is no harm: the same line is dealt with again by a successor. */
    entries[entry].id[0] = '\0';
    g_strlcpy(entries[entry].address, address, sizeof(entries[entry].address));
    g_strlcpy(entries[entry].socket, socket, sizeof(entries[entry].socket));
    vfm_device_set_put(&next->devices, (unsigned)entry, true);
    vfm_device_set_put(&next->held, (unsigned)entry, false);
    vfm_device_set_put(&next->lost, (unsigned)entry, false);
}

static bool change(VfmDeviceSet *set, unsigned entry, bool in)
{
    bool was = vfm_device_set_has(set, entry);

    vfm_device_set_put(set, entry, in);
    return was != in;
}

/* Returns whether a client is to hear of it. */
static bool learn(VfmMediator *mediator, VfmJournalState *next, const char *action, const char *address,
                  const char *text)
{
    int entry = vfm_journal_find_device(mediator->journal, address);

    if (strcmp(action, VFM_DEVICES_SERVED) == 0) {
        served(mediator, next, entry, address, text);
        return false;
    }
    if (strcmp(action, VFM_DEVICES_LEFT) == 0) {
        /* Lost or not: a lost one that is still in the guest, as a dead device, has not left. */
        if (entry >= 0)
            vfm_device_set_put(&next->devices, (unsigned)entry, false);
        return false;
    }
    /* One that took over says again how devices are: only changes are told. */
    if (entry >= 0 && (strcmp(action, VFM_DEVICES_HELD) == 0 || strcmp(action, VFM_DEVICES_RELEASED) == 0))
        return change(&next->held, (unsigned)entry, strcmp(action, VFM_DEVICES_HELD) == 0);
    if (entry >= 0 && strcmp(action, VFM_DEVICES_LOST) == 0)
        return change(&next->lost, (unsigned)entry, true);
    return true;
}

/* --- events */

static char *guard_event(const char *action, const char *device, const char *reason)
{
    g_autofree char *quoted_action = vfm_reply_quote(action), *quoted_reason = vfm_reply_quote(reason);
    g_autofree char *quoted_device = strcmp(device, "-") == 0 ? g_strdup("null") : vfm_reply_quote(device);
    g_autofree char *data = g_strdup_printf("{\"command\": null, \"action\": %s, \"device\": %s, \"reason\": %s}",
                                            quoted_action, quoted_device, quoted_reason);

    return vfm_reply_event("VFIOMEM_GUARD", data);
}

/* Whether a client hears events, as QEMU's are heard by a client that has negotiated. */
static bool is_heard(const VfmJournalState *state)
{
    return state->client >= 0 && !state->client_ended && state->session.client == VFM_CLIENT_READY;
}

/* Not within a text of QEMU's, and whole. */
static bool has_room(const VfmJournalState *state, const char *event)
{
    return state->qemu_rest != VFM_REST_FORWARD && vfm_stream_room(state, VFM_CLIENT_OUT) >= strlen(event);
}

/* What was asked of the one that died was not answered by it: it is put again. */
static bool must_ask_again(const VfmMediator *mediator, const char *action)
{
    return strcmp(action, VFM_DEVICES_RESTARTED) == 0 && mediator->talk_state == VFM_TALK_AT_DEVICES;
}

/* @rest is what follows "event "; the line takes @length bytes of the stream. */
static bool deal_with_event(VfmMediator *mediator, char *rest, size_t length)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    const char *action = strsep(&rest, " "), *device = rest ? strsep(&rest, " ") : NULL;
    g_autofree char *event = NULL;
    VfmJournalState *next;
    bool tell;

    if (rest)
        event = guard_event(action, device, rest);
    if (event && is_heard(state) && !has_room(state, event))
        return false;
    if (event && must_ask_again(mediator, action) && vfm_stream_room(state, VFM_DEVICES_OUT) < VFM_DEVICES_LINE_MAX)
        return false;
    next = vfm_journal_begin(journal);
    tell = event && learn(mediator, next, action, device, rest);
    if (tell && is_heard(state))
        vfm_stream_put(journal, next, VFM_CLIENT_OUT, event, strlen(event));
    if (tell && must_ask_again(mediator, action)) {
        g_autofree char *request = g_steal_pointer(&mediator->request);

        vfm_mediator_request(mediator, next, request, true);
    }
    vfm_stream_drop(journal, next, VFM_DEVICES_IN, length);
    vfm_journal_commit(journal);
    return true;
}

/* The process is gone, and with it every device it had: each is told once. */
static bool lose_next(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);

    for (unsigned i = 0; i < VFM_DEVICES_MAX; i++) {
        const char *address = journal->shared->devices[i].address;
        g_autofree char *event = NULL;
        VfmJournalState *next;

        if (!vfm_device_set_has(&state->devices, i) || vfm_device_set_has(&state->lost, i))
            continue;
        event = guard_event(VFM_DEVICES_LOST, address, ended_reason);
        if (is_heard(state) && !has_room(state, event))
            return false;
        vfm_log("%s: %s", address, ended_reason);
        next = vfm_journal_begin(journal);
        vfm_device_set_put(&next->lost, i, true);
        if (is_heard(state))
            vfm_stream_put(journal, next, VFM_CLIENT_OUT, event, strlen(event));
        vfm_journal_commit(journal);
        return true;
    }
    return false;
}

static bool drop(VfmMediator *mediator, size_t length)
{
    VfmJournalState *next = vfm_journal_begin(mediator->journal);

    vfm_stream_drop(mediator->journal, next, VFM_DEVICES_IN, length);
    vfm_journal_commit(mediator->journal);
    return true;
}

bool vfm_mediator_from_devices(VfmMediator *mediator)
{
    VfmJournal *journal = mediator->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    size_t bytes = vfm_stream_used(state, VFM_DEVICES_IN), length;
    const char *line, *end;
    g_autofree char *text = NULL;
    char *rest;
    guint64 number;

    if (bytes == 0)
        return give_up(mediator) || (state->devices_ended && lose_next(mediator));
    line = vfm_stream_at(journal, VFM_DEVICES_IN, state->streams[VFM_DEVICES_IN].head);
    end = memchr(line, '\n', bytes);
    if (!end) /* packets are whole lines: this is none of ours */
        return drop(mediator, bytes);
    length = (size_t)(end - line) + 1;
    text = g_strndup(line, length - 1);
    if (g_str_has_prefix(text, "event "))
        return deal_with_event(mediator, text + strlen("event "), length) || give_up(mediator);
    number = g_ascii_strtoull(text, &rest, 10);
    drop(mediator, length);
    /* Others are answers that nobody waits for any more. */
    if (rest > text && *rest == ' ' && number == vfm_journal_state(journal)->requests &&
        mediator->talk_state == VFM_TALK_AT_DEVICES)
        answered(mediator, rest + 1);
    return true;
}
