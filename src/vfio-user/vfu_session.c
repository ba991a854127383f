/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_session.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfu_command.h"

struct VfmVfuSession {
    VfmVfuJournal *journal;
    VfmVfuTarget target; /* the executor's alone */
    GError *refusal;     /* set: the device can't describe itself, this is the only answer */
    GThread *reader, *executor;

    GMutex lock; /* of the journal and what follows */
    GCond changed;
    bool stop_reading; /* the executor gave up */
    bool cut;          /* nobody is there to be answered */
    bool ended;
    int notify; /* eventfd, -1: none */
};

/* Where this thread, if it is a session's, notes its crash. */
static __thread volatile uint32_t *crash_note;

enum { IDLE_USEC = G_USEC_PER_SEC };

int vfm_vfu_errno(const GError *error)
{
    if (!error)
        return EIO;
    if (error->domain == VFM_SYSTEM_ERROR)
        return error->code > 0 ? error->code : EIO;
    if (error->domain == VFM_REFUSED) {
        switch ((VfmRefused)error->code) {
        case VFM_REFUSED_BUDGET:
            return ENOSPC;
        case VFM_REFUSED_MEMLOCK:
            return ENOMEM;
        case VFM_REFUSED_INHIBITED:
            return EBUSY;
        case VFM_REFUSED_POLICY:
            return EPERM;
        case VFM_REFUSED_STATE:
            return EEXIST;
        case VFM_REFUSED_RESERVED:
        case VFM_REFUSED_ALIGNMENT:
            return EINVAL;
        }
    }
    if (error->domain == VFM_INPUT_ERROR && error->code == VFM_INPUT_UNSUPPORTED)
        return ENOTSUP;
    return EINVAL;
}

static bool reading(const VfmVfuSession *session)
{
    const VfmVfuState *state = vfm_vfu_journal_state(session->journal);

    return !session->stop_reading && !session->cut && state->reading == VFM_VFU_READING && state->phase == VFM_VFU_OPEN;
}

static gpointer read_messages(gpointer data)
{
    VfmVfuSession *session = data;
    VfmVfuJournal *journal = session->journal;
    struct pollfd slot = {.fd = vfm_vfu_journal_socket(journal), .events = POLLIN};

    crash_note = vfm_vfu_journal_crash_note(journal);
    g_mutex_lock(&session->lock);
    while (reading(session)) {
        int status;

        if (!vfm_vfu_journal_has_room(journal)) {
            g_cond_wait(&session->changed, &session->lock);
            continue;
        }
        vfm_vfu_journal_prepare_receive(journal);
        g_mutex_unlock(&session->lock);
        while ((status = vfm_vfu_journal_receive(journal)) == EAGAIN)
            poll(&slot, 1, -1);
        g_mutex_lock(&session->lock);
        vfm_vfu_journal_received(journal, status);
        g_cond_broadcast(&session->changed);
    }
    g_mutex_unlock(&session->lock);
    return NULL;
}

typedef enum { WORK_MESSAGE, WORK_ANSWER, WORK_IDLE, WORK_NONE } Work;

/* What is to be done next: with the first message, with its answer, with time, or nothing any more. */
static Work next_work(VfmVfuSession *session, bool may_idle, VfmVfuMessage *message)
{
    gint64 until = g_get_monotonic_time() + IDLE_USEC;
    Work work = WORK_NONE;
    bool idle = false;

    g_mutex_lock(&session->lock);
    while (!vfm_vfu_journal_message(session->journal, message) && reading(session) && !idle) {
        if (!may_idle)
            g_cond_wait(&session->changed, &session->lock);
        else
            idle = !g_cond_wait_until(&session->changed, &session->lock, until);
    }
    if (session->cut || vfm_vfu_journal_state(session->journal)->unheard)
        work = WORK_NONE;
    else if (vfm_vfu_journal_message(session->journal, message))
        work = vfm_vfu_journal_state(session->journal)->reply_length ? WORK_ANSWER : WORK_MESSAGE;
    else if (idle)
        work = WORK_IDLE;
    g_mutex_unlock(&session->lock);
    return work;
}

static void carry_out(VfmVfuSession *session, const VfmVfuMessage *message)
{
    VfmVfuTarget *target = &session->target;
    VfmVfuReply reply = {.bytes = vfm_vfu_journal_reply(session->journal), .fd = -1};

    vfm_vfu_journal_step(session->journal, "to carry out");
    vfm_vfu_journal_set_busy(session->journal, true);
    if (session->refusal && !(message->header.flags & VFM_VFU_NO_REPLY))
        vfm_vfu_reply_error(&reply, &message->header, vfm_vfu_errno(session->refusal));
    else if (!target->device && !session->refusal)
        vfm_vfu_command_lost(message, &reply);
    else if (!session->refusal)
        vfm_vfu_command(target, message, &reply);
    g_mutex_lock(&session->lock);
    vfm_vfu_journal_answer(session->journal, reply.length, reply.fd, target->negotiated ? &target->client : NULL);
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
    vfm_vfu_journal_set_busy(session->journal, false);
}

static void answer(VfmVfuSession *session)
{
    struct pollfd slot = {.fd = vfm_vfu_journal_socket(session->journal), .events = POLLOUT};
    int status;

    g_mutex_lock(&session->lock);
    vfm_vfu_journal_prepare_send(session->journal);
    g_mutex_unlock(&session->lock);
    while ((status = vfm_vfu_journal_send(session->journal)) == EAGAIN)
        poll(&slot, 1, -1);
    g_mutex_lock(&session->lock);
    vfm_vfu_journal_sent(session->journal, status);
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
}

static void set_fate(VfmVfuSession *session, VfmVfuFate fate)
{
    g_mutex_lock(&session->lock);
    vfm_vfu_journal_set_fate(session->journal, fate);
    g_mutex_unlock(&session->lock);
}

/* Workers crashed over the client's message: its device is taken from it, before the message is looked at again. */
static void lose_device(VfmVfuSession *session)
{
    VfmVfuDevice *device = session->target.device;
    unsigned crashes = vfm_vfu_journal_crashes(session->journal);
    VfmVfuFate fate = (VfmVfuFate)vfm_vfu_journal_state(session->journal)->fate;

    if (!device || (fate == VFM_VFU_SERVED && crashes < VFM_VFU_CRASHES))
        return;
    /* If even that is what crashes, it is left out. */
    if (fate != VFM_VFU_LOST && crashes < 2 * VFM_VFU_CRASHES) {
        g_autoptr(GError) why =
            g_error_new(VFM_SYSTEM_ERROR, EIO,
                        "serving it crashed %u times over one request of QEMU's; it is dead for the guest "
                        "until it is detached and attached again",
                        crashes);

        set_fate(session, VFM_VFU_LOSING);
        device->ops->gone(device, why);
    }
    set_fate(session, VFM_VFU_LOST);
    session->target.device = NULL;
}

static void tell_gone(VfmVfuSession *session)
{
    VfmVfuDevice *device = session->target.device;
    g_autoptr(GError) why = NULL;

    g_mutex_lock(&session->lock);
    /* Of one that was cut it says how, which is no news. */
    if (!session->cut && *vfm_vfu_journal_why(session->journal))
        why = g_error_new_literal(VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, vfm_vfu_journal_why(session->journal));
    g_mutex_unlock(&session->lock);
    if (device)
        device->ops->gone(device, why);
}

/* With the lock held. */
static void tell_ended(VfmVfuSession *session)
{
    if (session->ended && session->notify >= 0)
        eventfd_write(session->notify, 1);
}

static void serve(VfmVfuSession *session)
{
    bool told_idle = false;

    for (;;) {
        VfmVfuDevice *device = session->target.device;
        VfmVfuMessage message;
        Work work = next_work(session, device && device->ops->idle && !told_idle, &message);

        told_idle = work == WORK_IDLE;
        if (work == WORK_NONE)
            return;
        if (work == WORK_MESSAGE)
            carry_out(session, &message);
        else if (work == WORK_ANSWER)
            answer(session);
        else
            device->ops->idle(device);
    }
}

static gpointer execute_messages(gpointer data)
{
    VfmVfuSession *session = data;

    crash_note = vfm_vfu_journal_crash_note(session->journal);
    if (vfm_vfu_journal_state(session->journal)->phase == VFM_VFU_OPEN) {
        lose_device(session);
        serve(session);
        /* The peer sees the end only after gone(): what it then does must not race with mappings that still stand. */
        g_mutex_lock(&session->lock);
        session->stop_reading = true;
        g_cond_broadcast(&session->changed);
        g_mutex_unlock(&session->lock);
        tell_gone(session);
        vfm_vfu_journal_step(session->journal, "gone");
    }
    g_mutex_lock(&session->lock);
    vfm_vfu_journal_end(session->journal);
    g_mutex_unlock(&session->lock);
    shutdown(vfm_vfu_journal_socket(session->journal), SHUT_RDWR);
    g_mutex_lock(&session->lock);
    session->stop_reading = true;
    session->ended = true;
    tell_ended(session);
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
    return NULL;
}

static VfmVfuSession *session_start(VfmVfuJournal *journal, VfmVfuDevice *device)
{
    VfmVfuSession *session = g_new0(VfmVfuSession, 1);
    const VfmVfuState *state = vfm_vfu_journal_state(journal);

    session->journal = journal;
    session->notify = -1;
    g_mutex_init(&session->lock);
    g_cond_init(&session->changed);
    if (device && !vfm_vfu_target_init(&session->target, device, vfm_vfu_journal_offer(journal), &session->refusal))
        g_assert(session->refusal);
    session->target.negotiated = state->negotiated;
    session->target.client = state->client;
    session->reader = g_thread_new("vfio-user read", read_messages, session);
    session->executor = g_thread_new("vfio-user", execute_messages, session);
    return session;
}

VfmVfuSession *vfm_vfu_session_new(VfmVfuJournal *journal, int socket, VfmVfuDevice *device, const VfmVfuOffer *offer)
{
    vfm_vfu_journal_open(journal, socket, offer);
    return session_start(journal, device);
}

VfmVfuSession *vfm_vfu_session_resume(VfmVfuJournal *journal, VfmVfuDevice *device)
{
    if (!device)
        vfm_vfu_journal_take_back(journal);
    return session_start(journal, device);
}

void vfm_vfu_session_note_crash(void)
{
    if (crash_note)
        *crash_note = 1;
}

bool vfm_vfu_session_ended(VfmVfuSession *session)
{
    bool ended;

    g_mutex_lock(&session->lock);
    ended = session->ended;
    g_mutex_unlock(&session->lock);
    return ended;
}

void vfm_vfu_session_notify(VfmVfuSession *session, int eventfd)
{
    g_mutex_lock(&session->lock);
    session->notify = eventfd;
    tell_ended(session);
    g_mutex_unlock(&session->lock);
}

void vfm_vfu_session_wait(VfmVfuSession *session)
{
    g_mutex_lock(&session->lock);
    while (!session->ended)
        g_cond_wait(&session->changed, &session->lock);
    g_mutex_unlock(&session->lock);
}

void vfm_vfu_session_cut(VfmVfuSession *session)
{
    g_mutex_lock(&session->lock);
    session->cut = true;
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
    /* Wakes whoever waits for it, to read or to write. */
    shutdown(vfm_vfu_journal_socket(session->journal), SHUT_RDWR);
}

void vfm_vfu_session_free(VfmVfuSession *session)
{
    if (!session)
        return;
    /* Only the reading side: answers to what is queued still go out. */
    shutdown(vfm_vfu_journal_socket(session->journal), SHUT_RD);
    g_thread_join(session->executor);
    g_thread_join(session->reader);
    vfm_vfu_journal_clear(session->journal);
    vfm_vfu_target_clear(&session->target);
    g_clear_error(&session->refusal);
    g_mutex_clear(&session->lock);
    g_cond_clear(&session->changed);
    g_free(session);
}
