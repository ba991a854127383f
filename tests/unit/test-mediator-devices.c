/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the process that maps says to the mediator, in a journal without processes: every stream is written and read by
 * hand, so that a full one, or a moment between two lines, is as easily had as any other.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices_wire.h"
#include "guarding.h"
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

/* A device leaves the table with QEMU, and not before. */
static void test_a_lost_device_leaves(void **state)
{
    Scene *scene = *state;

    begin(scene, NULL);
    for (unsigned round = 0; round < 3 * VFM_DEVICES_MAX; round++) {
        g_autofree char *served = g_strdup_printf("event served 0000:%02x:00.0 /run/%u.sock\n", round % 256, round);
        g_autofree char *lost = g_strdup_printf("event lost 0000:%02x:00.0 crashes\n", round % 256);
        g_autofree char *left = g_strdup_printf("event left 0000:%02x:00.0 QEMU hung up\n", round % 256);
        g_autofree char *address = g_strdup_printf("0000:%02x:00.0", round % 256);

        hear_devices(scene, served);
        hear_devices(scene, lost);
        assert_true(vfm_journal_find_device(scene->journal, address) >= 0);
        hear_devices(scene, left);
        assert_int_equal(vfm_journal_find_device(scene->journal, address), -1);
        g_free(take(scene, VFM_CLIENT_OUT));
    }
}

/* Answers what was asked of QEMU: it has @peripheral, and nothing else to say. */
static void answer_as_qemu(Scene *scene, const char *peripheral)
{
    g_autofree char *asked = take(scene, VFM_QEMU_OUT);
    g_auto(GStrv) lines = g_strsplit(asked, "\r\n", -1);

    for (char **line = lines; *line && **line; line++) {
        g_autofree char *answer = NULL;
        char id[64];

        assert_int_equal(sscanf(*line, "{\"id\": %63[^,]", id), 1);
        answer =
            strstr(*line, "qom-list")
                ? g_strdup_printf("{\"return\": %s, \"id\": %s}\r\n", peripheral, id)
                : g_strdup_printf("{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}, \"id\": %s}\r\n", id);
        put(scene, VFM_QEMU_IN, answer);
    }
    vfm_mediator_run(scene->mediator);
}

static void ask_status(Scene *scene, const char *peripheral)
{
    put(scene, VFM_CLIENT_IN, "{\"execute\": \"vfiomem-query-status\"}\r\n");
    vfm_mediator_run(scene->mediator);
    while (vfm_stream_used(vfm_journal_state(scene->journal), VFM_QEMU_OUT))
        answer_as_qemu(scene, peripheral);
    while (vfm_stream_used(vfm_journal_state(scene->journal), VFM_DEVICES_OUT)) {
        g_autofree char *asked = take(scene, VFM_DEVICES_OUT), *answer = NULL;

        answer = g_strdup_printf("%lu error no\n", strtoul(asked, NULL, 10));
        hear_devices(scene, answer);
    }
    while (vfm_stream_used(vfm_journal_state(scene->journal), VFM_QEMU_OUT))
        answer_as_qemu(scene, peripheral);
    g_free(take(scene, VFM_CLIENT_OUT));
}

/* One whose connection broke is known to have left by QEMU's word only. */
static void test_a_broken_device_leaves_when_qemu_says_so(void **state)
{
#define DEVICE(id) "{\"name\": \"" id "\", \"type\": \"child<vfio-user-pci>\"}"
    static const char *const argv[] = {
        "-machine",
        "q35",
        "-m",
        "256",
        "-device",
        "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/0.sock\"}}",
        NULL};
    VfmGuarding guarding = {
        .argv = (char **)(uintptr_t)argv, .qemu_pid = (int)getpid(), .arch = "x86_64", .devices = 1};
    Scene *scene = *state;
    static VfmTalker *talker; /* what it has of its process lives as long as that */
    int entry;

    talker = vfm_guarding_new(scene->journal, &guarding);
    begin(scene, talker);
    hear_devices(scene, "event served 0000:01:00.0 /run/0.sock\n");
    hear_devices(scene, "event served 0000:02:00.0 /run/1.sock\n");
    hear_devices(scene, "event served 0000:03:00.0 /run/2.sock\n");
    /* Plugged in later. */
    entry = vfm_journal_find_device(scene->journal, "0000:02:00.0");
    strcpy(scene->journal->shared->devices[entry].id, "hostdev1");
    hear_devices(scene, "event lost 0000:01:00.0 nonsense\n");
    hear_devices(scene, "event lost 0000:02:00.0 nonsense\n");
    hear_devices(scene, "event lost 0000:03:00.0 nonsense\n");
    ask_status(scene, "[" DEVICE("hostdev0") ", " DEVICE("hostdev1") "]");
    assert_true(vfm_journal_find_device(scene->journal, "0000:01:00.0") >= 0);
    assert_true(vfm_journal_find_device(scene->journal, "0000:02:00.0") >= 0);
    ask_status(scene, "null"); /* that is no word */
    assert_true(vfm_journal_find_device(scene->journal, "0000:02:00.0") >= 0);
    ask_status(scene, "[" DEVICE("hostdev0") "]");
    assert_true(vfm_journal_find_device(scene->journal, "0000:01:00.0") >= 0);
    assert_int_equal(vfm_journal_find_device(scene->journal, "0000:02:00.0"), -1);
    ask_status(scene, "[]");
    assert_int_equal(vfm_journal_find_device(scene->journal, "0000:01:00.0"), -1);
    /* Of this one nobody knows the name. */
    assert_true(vfm_journal_find_device(scene->journal, "0000:03:00.0") >= 0);
#undef DEVICE
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_asking_again_waits_for_room, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_lost_device_leaves, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_broken_device_leaves_when_qemu_says_so, setup, teardown),
    };

    return cmocka_run_group_tests_name("mediator-devices", tests, NULL, NULL);
}
