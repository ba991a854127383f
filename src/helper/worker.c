/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker.h"

#include "mediator.h"

#include <errno.h>
#include <poll.h>

/* How long a client may take to read the last words of a QEMU that has ended. */
#define LAST_WORDS_MS 2000

enum { LISTENER, CLIENT, QEMU, PIDFD, N_POLLED };

static short events_for(const VfmJournalState *state, VfmStreamId in, VfmStreamId out)
{
    return (short)((vfm_flow_can_receive(state, in) ? POLLIN : 0) | (vfm_stream_used(state, out) ? POLLOUT : 0));
}

static void watch(struct pollfd *slot, int fd, short events)
{
    /* Without a wish there is no watching: a hang-up would be reported again and again. */
    *slot = (struct pollfd){.fd = events ? fd : -1, .events = events};
}

static void watch_all(struct pollfd *polled, const VfmJournalState *state, const VfmSockets *sockets)
{
    watch(&polled[LISTENER], sockets->listener, POLLIN);
    watch(&polled[CLIENT], state->client, state->client < 0 ? 0 : events_for(state, VFM_CLIENT_IN, VFM_CLIENT_OUT));
    watch(&polled[QEMU], sockets->qemu, events_for(state, VFM_QEMU_IN, VFM_QEMU_OUT));
    watch(&polled[PIDFD], sockets->pidfd, POLLIN);
}

/* Processes and sends until neither helps. */
static void settle(VfmJournal *journal, const VfmSockets *sockets, VfmMediator *mediator)
{
    bool again;

    do {
        const VfmJournalState *state;

        again = vfm_mediator_run(mediator);
        vfm_flow_close_discarded(journal);
        state = vfm_journal_state(journal);
        if (vfm_stream_used(state, VFM_QEMU_OUT))
            again |= vfm_flow_send(journal, VFM_QEMU_OUT, sockets->qemu) != VFM_FLOW_AGAIN;
        state = vfm_journal_state(journal);
        if (state->client >= 0 && vfm_stream_used(state, VFM_CLIENT_OUT))
            again |= vfm_flow_send(journal, VFM_CLIENT_OUT, state->client) != VFM_FLOW_AGAIN;
        vfm_flow_close_discarded(journal);
    } while (again);
}

static bool hung_up(int fd)
{
    struct pollfd slot = {.fd = fd, .events = POLLRDHUP};

    return poll(&slot, 1, 0) == 1 && (slot.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

/* Somebody connects. A client whose socket is already closed makes way: libvirtd that restarts connects anew as soon as
 * it can, and its old end is closed by then. */
static void meet(VfmJournal *journal, const VfmSockets *sockets)
{
    const VfmJournalState *state = vfm_journal_state(journal);

    if (state->client < 0)
        vfm_flow_accept(journal, sockets->listener);
    else if (!hung_up(state->client))
        vfm_flow_refuse(journal, sockets->listener);
    else
        while (vfm_flow_receive(journal, VFM_CLIENT_IN, vfm_journal_state(journal)->client) == VFM_FLOW_SOME)
            ;
}

/* QEMU is gone: what it still said goes to the client, then everything closes by exiting. */
static int last_words(VfmJournal *journal, const VfmSockets *sockets, VfmMediator *mediator)
{
    gint64 deadline = g_get_monotonic_time() + LAST_WORDS_MS * 1000;

    for (;;) {
        const VfmJournalState *state;
        struct pollfd slot;
        bool full = vfm_stream_room(vfm_journal_state(journal), VFM_QEMU_IN) == 0;
        VfmFlowResult result = vfm_flow_receive(journal, VFM_QEMU_IN, sockets->qemu);

        settle(journal, sockets, mediator);
        state = vfm_journal_state(journal);
        if (result == VFM_FLOW_SOME || (full && vfm_stream_room(state, VFM_QEMU_IN)))
            continue;
        if (state->client < 0 || !vfm_stream_used(state, VFM_CLIENT_OUT) || g_get_monotonic_time() >= deadline)
            return 0;
        slot = (struct pollfd){.fd = state->client, .events = POLLOUT};
        poll(&slot, 1, LAST_WORDS_MS);
    }
}

int vfm_worker_run(VfmJournal *journal, const VfmSockets *sockets, VfmTalker *talker)
{
    g_autoptr(VfmMediator) mediator = vfm_mediator_new(journal, talker);
    struct pollfd polled[N_POLLED];

    for (;;) {
        const VfmJournalState *state;

        settle(journal, sockets, mediator);
        state = vfm_journal_state(journal);
        if (state->qemu_ended)
            return last_words(journal, sockets, mediator);
        watch_all(polled, state, sockets);
        if (poll(polled, N_POLLED, -1) < 0 && errno != EINTR)
            return 1;
        if (polled[PIDFD].revents)
            return last_words(journal, sockets, mediator);
        if (polled[QEMU].revents & (POLLIN | POLLHUP | POLLERR))
            vfm_flow_receive(journal, VFM_QEMU_IN, sockets->qemu);
        if (polled[CLIENT].revents & (POLLIN | POLLHUP | POLLERR))
            vfm_flow_receive(journal, VFM_CLIENT_IN, vfm_journal_state(journal)->client);
        if (polled[LISTENER].revents)
            meet(journal, sockets);
    }
}
