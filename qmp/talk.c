/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "talk.h"

#include "reply.h"

typedef struct {
    VfmTalk talk;
    bool is_command;
    char *why;
} Scold;

static VfmTalkVerdict scold_step(VfmTalk *talk, VfmTalkTurn *turn)
{
    Scold *scold = (Scold *)talk;
    g_autofree char *text = g_strdup_printf("%s%s", scold->is_command ? "" : "JSON parse error, ", scold->why);
    g_autofree char *reply = vfm_reply_error(scold->is_command ? turn->message->id : (VfmSlice){0}, text);

    g_string_append(turn->answer, reply);
    return VFM_TALK_ANSWER;
}

static void scold_free(VfmTalk *talk)
{
    g_free(((Scold *)talk)->why);
    g_free(talk);
}

static const VfmTalkOps scold_ops = {.step = scold_step, .free = scold_free};

static VfmTalk *scold(const char *why, bool is_command)
{
    Scold *scold = g_new0(Scold, 1);

    scold->talk.ops = &scold_ops;
    scold->is_command = is_command;
    scold->why = g_strdup(why);
    return &scold->talk;
}

VfmTalk *vfm_talk_scold(const char *why)
{
    return scold(why, false);
}

VfmTalk *vfm_talk_decline(const char *why)
{
    return scold(why, true);
}
