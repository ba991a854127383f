/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "worker.h"

#include "mediator.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>

/* How long a client may take to read the last words of a QEMU that has ended. */
#define LAST_WORDS_MS 2000

enum { LISTENER, CLIENT, QEMU, PIDFD, DEVICES, N_WATCHED };

/* What is watched, so that the kernel is told only of changes: on the way of each message there is none. */
typedef struct {
    int epoll;
    struct {
        int fd;
        uint32_t events;
        uint32_t client; /* the same number may be another client's */
    } slots[N_WATCHED];
} Watch;

static uint32_t events_for(const VfmJournalState *state, VfmStreamId in, VfmStreamId out)
{
    return (vfm_flow_can_receive(state, in) ? EPOLLIN : 0) | (vfm_stream_used(state, out) ? EPOLLOUT : 0);
}

/* Without a wish there is no watching: a hang-up would be reported again and again. */
static void watch(Watch *watched, unsigned slot, int fd, uint32_t events, uint32_t client)
{
    struct epoll_event event = {.events = events, .data.u32 = slot};
    int old = watched->slots[slot].events ? watched->slots[slot].fd : -1;
    int new = events ? fd : -1;

    if (old == new && watched->slots[slot].events == events && watched->slots[slot].client == client)
        return;
    if (old >= 0 && (old != new || watched->slots[slot].client != client))
        epoll_ctl(watched->epoll, EPOLL_CTL_DEL, old, NULL); /* closed ones have left by themselves */
    if (new >= 0 && epoll_ctl(watched->epoll, EPOLL_CTL_MOD, new, &event) < 0)
        epoll_ctl(watched->epoll, EPOLL_CTL_ADD, new, &event);
    watched->slots[slot].fd = new;
    watched->slots[slot].events = new >= 0 ? events : 0;
    watched->slots[slot].client = client;
}

static void watch_all(Watch *watched, const VfmJournal *journal, const VfmSockets *sockets)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    bool devices = sockets->devices >= 0 && !state->devices_ended && journal->shared->level != VFM_LEVEL_RAW;

    watch(watched, LISTENER, sockets->listener, EPOLLIN, 0);
    watch(watched, CLIENT, state->client, state->client < 0 ? 0 : events_for(state, VFM_CLIENT_IN, VFM_CLIENT_OUT),
          state->clients);
    watch(watched, QEMU, sockets->qemu, events_for(state, VFM_QEMU_IN, VFM_QEMU_OUT), 0);
    watch(watched, PIDFD, sockets->pidfd, sockets->pidfd < 0 ? 0 : EPOLLIN, 0);
    watch(watched, DEVICES, sockets->devices, devices ? events_for(state, VFM_DEVICES_IN, VFM_DEVICES_OUT) : 0, 0);
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
        if (vfm_stream_used(vfm_journal_state(journal), VFM_DEVICES_OUT))
            again |= vfm_flow_send(journal, VFM_DEVICES_OUT, sockets->devices) != VFM_FLOW_AGAIN;
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
    Watch watched = {.epoll = epoll_create1(EPOLL_CLOEXEC)};

    if (watched.epoll < 0)
        return 1;
    for (;;) {
        const uint32_t input = EPOLLIN | EPOLLHUP | EPOLLERR;
        struct epoll_event events[N_WATCHED];
        uint32_t got[N_WATCHED] = {0};
        const VfmJournalState *state;
        int n;

        settle(journal, sockets, mediator);
        state = vfm_journal_state(journal);
        if (state->qemu_ended)
            return last_words(journal, sockets, mediator);
        watch_all(&watched, journal, sockets);
        n = epoll_wait(watched.epoll, events, N_WATCHED, vfm_mediator_patience(mediator));
        if (n < 0 && errno != EINTR)
            return 1;
        for (int i = 0; i < n; i++)
            got[events[i].data.u32] = events[i].events;
        if (got[PIDFD])
            return last_words(journal, sockets, mediator);
        if (got[QEMU] & input)
            vfm_flow_receive(journal, VFM_QEMU_IN, sockets->qemu);
        if (got[CLIENT] & input)
            vfm_flow_receive(journal, VFM_CLIENT_IN, vfm_journal_state(journal)->client);
        if (got[DEVICES] & input)
            vfm_flow_receive(journal, VFM_DEVICES_IN, sockets->devices);
        if (got[LISTENER])
            meet(journal, sockets);
    }
}
