/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_session.h"

#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vfu_command.h"
#include "vfu_message.h"

struct VfmVfuSession {
    int socket;
    VfmVfuTarget target; /* the executor's alone */
    GError *refusal;     /* set: no device, only this answer */
    GThread *reader, *executor;

    GMutex lock; /* of what follows */
    GCond changed;
    GQueue queue; /* of VfmVfuMessage* */
    gsize queued_bytes;
    uint64_t received; /* messages */
    bool read_ended;   /* no more messages will come */
    bool stop_reading; /* the executor gave up */
    bool ended;
    int notify;     /* eventfd, -1: none */
    GError *broken; /* why, if the client broke the protocol or the socket failed */
};

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

static gpointer read_messages(gpointer data)
{
    VfmVfuSession *session = data;
    VfmVfuReceive got;

    do {
        g_autoptr(GError) error = NULL;
        VfmVfuMessage *message = NULL;

        got = vfm_vfu_receive(session->socket, &message, &error);
        g_mutex_lock(&session->lock);
        if (got == VFM_VFU_RECEIVED) {
            while (!session->stop_reading && (session->queue.length >= VFM_VFU_MAX_QUEUE_MESSAGES ||
                                              session->queued_bytes >= VFM_VFU_MAX_QUEUE_BYTES))
                g_cond_wait(&session->changed, &session->lock);
            session->queued_bytes += message->header.size;
            message->number = ++session->received;
            g_queue_push_tail(&session->queue, message);
        } else {
            session->read_ended = true;
            if (!session->broken && !session->stop_reading)
                session->broken = g_steal_pointer(&error);
        }
        if (session->stop_reading)
            got = VFM_VFU_END;
        g_cond_broadcast(&session->changed);
        g_mutex_unlock(&session->lock);
    } while (got == VFM_VFU_RECEIVED);
    return NULL;
}

/* The next message, or NULL when there will be none; with *@idle, when none came for a while. */
static VfmVfuMessage *next_message(VfmVfuSession *session, bool may_idle, bool *idle)
{
    gint64 until = g_get_monotonic_time() + IDLE_USEC;
    VfmVfuMessage *message;

    *idle = false;
    g_mutex_lock(&session->lock);
    while (!session->queue.length && !session->read_ended && !*idle) {
        if (!may_idle)
            g_cond_wait(&session->changed, &session->lock);
        else
            *idle = !g_cond_wait_until(&session->changed, &session->lock, until);
    }
    message = g_queue_pop_head(&session->queue);
    if (message) {
        *idle = false;
        session->queued_bytes -= message->header.size;
        g_cond_broadcast(&session->changed);
    }
    g_mutex_unlock(&session->lock);
    return message;
}

/* With the lock held. */
static void tell_ended(VfmVfuSession *session)
{
    if (session->ended && session->notify >= 0)
        eventfd_write(session->notify, 1);
}

static gpointer execute_messages(gpointer data)
{
    VfmVfuSession *session = data;
    VfmVfuDevice *device = session->target.device;
    g_autoptr(GError) error = NULL;
    bool told_idle = false;

    for (;;) {
        g_autoptr(VfmVfuMessage) message = NULL;
        bool idle = false;

        message = next_message(session, device && device->ops->idle && !told_idle, &idle);
        if (idle) {
            device->ops->idle(device);
            told_idle = true;
            continue;
        }
        if (!message)
            break;
        told_idle = false;
        if (session->refusal) {
            if (!(message->header.flags & VFM_VFU_NO_REPLY) &&
                !vfm_vfu_reply_error(session->socket, &message->header, vfm_vfu_errno(session->refusal), &error))
                break;
        } else if (!vfm_vfu_command(&session->target, session->socket, message, &error)) {
            break;
        }
    }
    /* The peer sees the end only after gone(): what it then does must not race with mappings that still stand. */
    g_mutex_lock(&session->lock);
    session->stop_reading = true;
    if (error && !session->broken)
        session->broken = g_steal_pointer(&error);
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
    if (device)
        device->ops->gone(device, session->broken);
    shutdown(session->socket, SHUT_RDWR);
    g_mutex_lock(&session->lock);
    session->ended = true;
    tell_ended(session);
    g_cond_broadcast(&session->changed);
    g_mutex_unlock(&session->lock);
    return NULL;
}

static VfmVfuSession *session_start(int socket, VfmVfuDevice *device, const VfmVfuOffer *offer, const GError *refusal)
{
    VfmVfuSession *session = g_new0(VfmVfuSession, 1);

    session->socket = socket;
    session->notify = -1;
    g_mutex_init(&session->lock);
    g_cond_init(&session->changed);
    g_queue_init(&session->queue);
    session->refusal = refusal ? g_error_copy(refusal) : NULL;
    if (device) {
        GError *error = NULL;

        if (!vfm_vfu_target_init(&session->target, device, offer, &error))
            session->refusal = error;
    }
    session->reader = g_thread_new("vfio-user read", read_messages, session);
    session->executor = g_thread_new("vfio-user", execute_messages, session);
    return session;
}

VfmVfuSession *vfm_vfu_session_new(int socket, VfmVfuDevice *device, const VfmVfuOffer *offer)
{
    return session_start(socket, device, offer, NULL);
}

VfmVfuSession *vfm_vfu_session_new_refusing(int socket, const GError *why)
{
    return session_start(socket, NULL, NULL, why);
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

void vfm_vfu_session_free(VfmVfuSession *session)
{
    VfmVfuMessage *message;

    if (!session)
        return;
    /* Only the reading side: answers to what is queued still go out. */
    shutdown(session->socket, SHUT_RD);
    g_thread_join(session->executor);
    g_thread_join(session->reader);
    while ((message = g_queue_pop_head(&session->queue)))
        vfm_vfu_message_free(message);
    close(session->socket);
    vfm_vfu_target_clear(&session->target);
    g_clear_error(&session->refusal);
    g_clear_error(&session->broken);
    g_mutex_clear(&session->lock);
    g_cond_clear(&session->changed);
    g_free(session);
}
