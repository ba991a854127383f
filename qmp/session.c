/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "session.h"

#include "reply.h"

#include <string.h>

void vfm_session_connect(VfmSession *session)
{
    session->client = VFM_CLIENT_NEW;
    session->client_has_oob = false;
}

void vfm_session_disconnect(VfmSession *session)
{
    session->client = VFM_CLIENT_NONE;
    session->client_has_oob = false;
}

static bool contains(VfmSlice slice, const char *text)
{
    return slice.at && memmem(slice.at, slice.length, text, strlen(text));
}

bool vfm_session_greeting(VfmSession *session, const VfmMessage *message)
{
    if (!message->greeting.at)
        return false;
    session->qemu = VFM_QEMU_GREETED;
    session->oob_offered = contains(message->greeting, "\"oob\"");
    return true;
}

void vfm_session_greeted(VfmSession *session)
{
    session->client = VFM_CLIENT_GREETED;
}

static VfmSessionVerdict negotiate(VfmSession *session, const VfmMessage *message, char **reply)
{
    bool wants = contains(message->arguments, "\"oob\"") || contains(message->arguments, "'oob'");

    if (session->qemu != VFM_QEMU_READY) {
        session->oob_asked = wants;
        return VFM_SESSION_FORWARD;
    }
    if (wants && !session->oob_enabled) {
        *reply = vfm_reply_error(message->id, "capability oob is not available: this monitor was first negotiated "
                                              "without it; connect without oob");
        return VFM_SESSION_ANSWER;
    }
    session->client = VFM_CLIENT_READY;
    session->client_has_oob = wants;
    *reply = vfm_reply_return(message->id, "{}");
    return VFM_SESSION_ANSWER;
}

VfmSessionVerdict vfm_session_command(VfmSession *session, const VfmMessage *message, char **reply)
{
    *reply = NULL;
    if (session->client == VFM_CLIENT_READY) {
        if (!message->exec_oob.at || session->client_has_oob || !session->oob_enabled)
            return VFM_SESSION_FORWARD;
        *reply = vfm_reply_error(message->id, "QMP input member 'exec-oob' is unexpected");
        return VFM_SESSION_ANSWER;
    }
    if (vfm_slice_is_string(message->execute, "qmp_capabilities"))
        return negotiate(session, message, reply);
    if (session->qemu != VFM_QEMU_READY)
        return VFM_SESSION_FORWARD;
    *reply = vfm_reply_error_class(message->id, "CommandNotFound",
                                   "Expecting capabilities negotiation with 'qmp_capabilities'");
    return VFM_SESSION_ANSWER;
}

void vfm_session_reply(VfmSession *session, const VfmMessage *message)
{
    if (session->qemu != VFM_QEMU_GREETED || !message->returned.at)
        return;
    session->qemu = VFM_QEMU_READY;
    session->oob_enabled = session->oob_asked;
    if (session->client == VFM_CLIENT_GREETED) {
        session->client = VFM_CLIENT_READY;
        session->client_has_oob = session->oob_asked;
    }
}

const char *vfm_session_qemu_name(const VfmSession *session)
{
    static const char *const names[] = {"silent", "greeted", "ready"};

    return session->qemu < G_N_ELEMENTS(names) ? names[session->qemu] : "unknown";
}
