/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process that maps says to the mediator, in a journal without processes: every stream is written and read by
 * hand, so that a full one, or a moment between two lines, is as easily had as any other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices_wire.h"
#include "mediator.h"

#define CLIENT_OF_NOBODY 1000 /* a descriptor that is never used */

typedef struct {
    VfmJournal *journal;
    VfmMediator *mediator;
} Scene;

/* Asks the process that maps one thing, and answers with what it says. */
static VfmTalkVerdict ask_once(VfmTalk *talk, VfmTalkTurn *turn)
{
    if (!turn->devices) {
        turn->request = g_strdup("status");
        return VFM_TALK_DEVICES;
    }
    g_string_append(turn->answer, turn->devices);
    return VFM_TALK_ANSWER;
}

static void free_nothing(VfmTalk *talk)
{
}

static VfmTalk *open_asking(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length)
{
    static const VfmTalkOps ops = {ask_once, free_nothing};
    static VfmTalk talk = {&ops};

    return &talk;
}

static void put(Scene *scene, VfmStreamId id, const char *text)
{
    vfm_stream_put(scene->journal, vfm_journal_begin(scene->journal), id, text, strlen(text));
    vfm_journal_commit(scene->journal);
}

static void hear_devices(Scene *scene, const char *text)
{
    put(scene, VFM_DEVICES_IN, text);
    vfm_mediator_run(scene->mediator);
}

/* All of a stream, to be freed; it is empty then. */
static char *take(Scene *scene, VfmStreamId id)
{
    const VfmJournalState *state = vfm_journal_state(scene->journal);
    size_t length = vfm_stream_used(state, id);
    char *text = g_strndup(vfm_stream_at(scene->journal, id, state->streams[id].head), length);

    vfm_stream_drop(scene->journal, vfm_journal_begin(scene->journal), id, length);
    vfm_journal_commit(scene->journal);
    return text;
}

static void begin(Scene *scene, VfmTalker *talker)
{
    VfmJournalState *next = vfm_journal_begin(scene->journal);

    next->client = CLIENT_OF_NOBODY;
    next->session = (VfmSession){.qemu = VFM_QEMU_READY, .client = VFM_CLIENT_READY};
    vfm_journal_commit(scene->journal);
    scene->mediator = vfm_mediator_new(scene->journal, talker);
}

static int setup(void **state)
{
    Scene *scene = g_new0(Scene, 1);

    scene->journal = vfm_journal_new(NULL);
    assert_non_null(scene->journal);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    Scene *scene = *state;

    vfm_mediator_free(scene->mediator);
    vfm_journal_free(scene->journal);
    g_free(scene);
    return 0;
}

/* A request is put again where there is room for it; until then what stands before it waits. */
static void test_asking_again_waits_for_room(void **state)
{
    static VfmTalker talker = {open_asking};
    g_autofree char *filling = NULL, *first = NULL, *again = NULL, *heard = NULL;
    Scene *scene = *state;

    begin(scene, &talker);
    put(scene, VFM_CLIENT_IN, "{\"execute\": \"ask\"}\r\n");
    vfm_mediator_run(scene->mediator);
    first = take(scene, VFM_DEVICES_OUT);
    assert_string_equal(first, "1 status\n");
    filling = g_strnfill(vfm_stream_room(vfm_journal_state(scene->journal), VFM_DEVICES_OUT), '\n');
    put(scene, VFM_DEVICES_OUT, filling);
    hear_devices(scene, "event restarted - it is another one now\n");
    assert_int_equal(vfm_stream_used(vfm_journal_state(scene->journal), VFM_CLIENT_OUT), 0);
    g_free(take(scene, VFM_DEVICES_OUT));
    vfm_mediator_run(scene->mediator);
    again = take(scene, VFM_DEVICES_OUT);
    assert_string_equal(again, first);
    heard = take(scene, VFM_CLIENT_OUT);
    assert_non_null(strstr(heard, "\"restarted\""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asking_again_waits_for_room, setup, teardown),
    };

    return cmocka_run_group_tests_name("mediator-devices", tests, NULL, NULL);
}
