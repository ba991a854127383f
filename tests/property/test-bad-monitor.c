/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What nobody should say on a monitor, from either side: the other side must not notice more than it has to, memory
 * stays bounded, and the next client finds everything in order.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "supervisor.h"

#define MIB (1u << 20)
#define PATIENCE_MS 20000
/* Both rings of a direction, and what the worker itself is. */
#define MEMORY_MAX_KIB (12 * 1024)
#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#undef MEMORY_MAX_KIB
#define MEMORY_MAX_KIB (96 * 1024) /* shadow, and what was freed and is kept */
#endif
#endif

typedef struct {
    pid_t supervisor;
    char *folder, *path;
    int qemu, client;
    GString *qemu_in, *client_in;
} World;

static void connect_client(World *world)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    world->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    g_strlcpy(address.sun_path, world->path, sizeof(address.sun_path));
    assert_int_equal(connect(world->client, (struct sockaddr *)&address, sizeof(address)), 0);
    g_string_truncate(world->client_in, 0);
}

/* QEMU's manners: a question of the helper is answered at once, whatever a test does. */
static void answer_questions(World *world)
{
    char *at;

    while ((at = strstr(world->qemu_in->str, "{\"id\": \"vfiomem-"))) {
        char *end = strchr(at, '\n');
        g_autofree char *id = NULL, *reply = NULL;

        if (!end)
            return;
        id = g_strndup(at + 7, strcspn(at + 7, ","));
        reply = g_strdup_printf("{\"return\": {}, \"id\": %s}\r\n", id);
        g_string_erase(world->qemu_in, at - world->qemu_in->str, end + 1 - at);
        assert_int_equal(send(world->qemu, reply, strlen(reply), MSG_NOSIGNAL), strlen(reply));
    }
}

static bool take(int fd, GString *into)
{
    char data[65536];
    ssize_t n = recv(fd, data, sizeof(data), MSG_DONTWAIT);

    if (n > 0)
        g_string_append_len(into, data, n);
    return n > 0 || (n < 0 && errno == EAGAIN);
}

/* Lets both ends run until @where has @text, or fails. */
static void expect(World *world, GString *where, const char *text)
{
    while (!memmem(where->str, where->len, text, strlen(text))) {
        struct pollfd slots[2] = {{.fd = world->qemu, .events = POLLIN}, {.fd = world->client, .events = POLLIN}};

        if (poll(slots, 2, PATIENCE_MS) <= 0)
            fail_msg("never heard '%s'", text);
        if (slots[0].revents & POLLIN)
            take(world->qemu, world->qemu_in);
        if (slots[1].revents & (POLLIN | POLLHUP))
            assert_true(take(world->client, world->client_in));
        answer_questions(world);
    }
}

/* Sends all, reading at the other end meanwhile; @read false: gives up when nobody takes more. Returns the bytes sent.
 */
static size_t say(World *world, int fd, const char *bytes, size_t length, bool read)
{
    size_t sent = 0;

    while (sent < length) {
        struct pollfd slots[3] = {{.fd = fd, .events = POLLOUT},
                                  {.fd = read ? world->qemu : -1, .events = POLLIN},
                                  {.fd = read ? world->client : -1, .events = POLLIN}};
        ssize_t n = send(fd, bytes + sent, MIN(length - sent, 60000), MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            sent += (size_t)n;
        if (poll(slots, 3, read ? PATIENCE_MS : 500) <= 0)
            break;
        if (slots[1].revents & POLLIN)
            take(world->qemu, world->qemu_in);
        if (slots[2].revents & POLLIN)
            take(world->client, world->client_in);
        if (read)
            answer_questions(world);
    }
    return sent;
}

static void say_text(World *world, int fd, const char *text)
{
    assert_int_equal(say(world, fd, text, strlen(text), true), strlen(text));
}

static void negotiate(World *world)
{
    expect(world, world->client_in, "\"QMP\"");
    say_text(world, world->client, "{\"execute\": \"qmp_capabilities\", \"id\": \"hello\"}\r\n");
    if (!memmem(world->client_in->str, world->client_in->len, "hello", 5)) {
        /* The first client's goes to QEMU; later ones are answered by the helper. */
        while (!strstr(world->qemu_in->str, "qmp_capabilities") && !strstr(world->client_in->str, "hello")) {
            struct pollfd slots[2] = {{.fd = world->qemu, .events = POLLIN}, {.fd = world->client, .events = POLLIN}};

            assert_true(poll(slots, 2, PATIENCE_MS) > 0);
            take(world->qemu, world->qemu_in);
            take(world->client, world->client_in);
            answer_questions(world);
        }
        if (strstr(world->qemu_in->str, "qmp_capabilities"))
            say_text(world, world->qemu, "{\"return\": {}, \"id\": \"hello\"}\r\n");
        expect(world, world->client_in, "hello");
    }
    g_string_truncate(world->qemu_in, 0);
    g_string_truncate(world->client_in, 0);
}

/* A command gets to QEMU as it is, and its answer back. */
static void still_works(World *world)
{
    static unsigned count;
    g_autofree char *command = g_strdup_printf("{\"execute\": \"ping\", \"id\": \"p%u\"}\r\n", ++count);
    g_autofree char *answer = g_strdup_printf("{\"return\": {}, \"id\": \"p%u\"}\r\n", count);

    say_text(world, world->client, command);
    expect(world, world->qemu_in, command);
    say_text(world, world->qemu, answer);
    expect(world, world->client_in, answer);
    g_string_truncate(world->qemu_in, 0);
    g_string_truncate(world->client_in, 0);
}

static pid_t worker_of(pid_t supervisor)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && *text ? (pid_t)atoi(text) : 0;
}

static void memory_is_bounded(const World *world)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/smaps_rollup", (int)worker_of(world->supervisor));
    g_autofree char *text = NULL;
    char *at;

    if (!g_file_get_contents(path, &text, NULL, NULL) || !(at = strstr(text, "\nPss:")))
        return; /* not dumpable, and we are not root */
    assert_in_range(atol(at + 5), 1, MEMORY_MAX_KIB);
}

/* A guard with a bug: one command is its end. */
static VfmTalk *open_poisoned(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length)
{
    if (vfm_slice_is_string(message->execute, "poison"))
        abort();
    return NULL;
}

static VfmTalker *poisoned_talker(VfmJournal *journal, void *data)
{
    VfmTalker *talker = g_new0(VfmTalker, 1);

    talker->open = open_poisoned;
    return talker;
}

static int set_up(void **state)
{
    World *world = g_new0(World, 1);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];
    const char *greeting = "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n";

    world->folder = g_dir_make_tmp("vfiomem-bad-XXXXXX", NULL);
    world->path = g_build_filename(world->folder, "monitor", NULL);
    g_strlcpy(address.sun_path, world->path, sizeof(address.sun_path));
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 5) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    world->supervisor = fork();
    if (world->supervisor == 0) {
        VfmSockets sockets = {.listener = listener, .qemu = pair[0], .pidfd = -1, .devices = -1};

        close(pair[1]);
        _exit(vfm_supervisor_run(vfm_journal_new(NULL), &sockets, poisoned_talker, NULL));
    }
    close(listener);
    close(pair[0]);
    world->qemu = pair[1];
    world->qemu_in = g_string_new(NULL);
    world->client_in = g_string_new(NULL);
    if (write(world->qemu, greeting, strlen(greeting)) < 0)
        return -1;
    connect_client(world);
    negotiate(world);
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    World *world = *state;
    int status;

    close(world->qemu);
    close(world->client);
    if (waitpid(world->supervisor, &status, 0) != world->supervisor || status != 0)
        return -1; /* it ends with QEMU, whatever has been said */
    unlink(world->path);
    rmdir(world->folder);
    g_string_free(world->qemu_in, TRUE);
    g_string_free(world->client_in, TRUE);
    g_free(world->path);
    g_free(world->folder);
    g_free(world);
    return 0;
}

static void test_garbage_never_reaches_qemu(void **state)
{
    World *world = *state;
    g_autofree char *bytes = g_malloc(MIB);
    g_autoptr(GRand) rand = g_rand_new_with_seed(7);

    for (size_t i = 0; i < MIB; i++) {
        char c = (char)g_rand_int_range(rand, 0, 256);

        bytes[i] = strchr("{}[]\"'", c) ? '@' : c; /* nothing that could be a text */
    }
    assert_int_equal(say(world, world->client, bytes, MIB, true), MIB);
    expect(world, world->client_in, "JSON parse error");
    for (size_t i = 0; i < world->qemu_in->len; i++)
        assert_non_null(strchr(" \t\r\n", world->qemu_in->str[i]));
    g_string_truncate(world->client_in, 0);
    say_text(world, world->client, "\r\n");
    still_works(world);
}

static void test_an_endless_string_costs_nothing(void **state)
{
    World *world = *state;
    g_autofree char *bytes = g_malloc(5 * MIB);

    memset(bytes, 'x', 5 * MIB);
    say_text(world, world->client, "{\"execute\": \"");
    assert_int_equal(say(world, world->client, bytes, 5 * MIB, true), 5 * MIB);
    memory_is_bounded(world);
    say_text(world, world->client, "\", \"arguments\": {\"execute\": \"quit\"}}\r\n");
    expect(world, world->client_in, "too long");
    assert_null(strstr(world->qemu_in->str, "quit")); /* the object inside is no command */
    still_works(world);
}

static void test_deep_nesting_is_answered_here(void **state)
{
    World *world = *state;
    g_autofree char *open = g_strnfill(100000, '['), *closed = g_strnfill(100000, ']');

    say_text(world, world->client, open);
    say_text(world, world->client, closed);
    expect(world, world->client_in, "nesting is deeper");
    assert_null(strchr(world->qemu_in->str, '['));
    still_works(world);
}

static void test_control_bytes_and_bad_utf8(void **state)
{
    World *world = *state;
    const char nul[] = "{\"execute\": \"a\0b\"}\r\n";

    assert_int_equal(say(world, world->client, nul, sizeof(nul) - 1, true), sizeof(nul) - 1);
    expect(world, world->client_in, "control byte inside of a string");
    g_string_truncate(world->client_in, 0);
    say_text(world, world->client, "\r\n{\"x\": 1}\r\n");
    expect(world, world->qemu_in, "{\"x\": 1}");
    /* QEMU's parser says what it thinks of these; they are forwarded as they are. */
    say_text(world, world->client, "{\"execute\": \"\xc3\x28\xf0\x9f\"}\r\n");
    expect(world, world->qemu_in, "\xc3\x28\xf0\x9f");
    still_works(world);
}

static void test_half_messages_and_hang_ups(void **state)
{
    World *world = *state;

    for (int i = 0; i < 100; i++) {
        say_text(world, world->client, i % 2 ? "{\"execute\": \"half" : "[[[\"x");
        close(world->client);
        connect_client(world);
        negotiate(world);
        assert_null(strstr(world->qemu_in->str, "half"));
    }
    still_works(world);
}

static unsigned open_descriptors(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    return n;
}

/* 10,000 descriptors with commands and with garbage: they end at QEMU or are closed. */
static void test_thousands_of_descriptors(void **state)
{
    World *world = *state;
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    int fds[250], got[VFM_FD_MESSAGE_MAX];
    char data[4096];
    bool truncated;
    size_t bytes, received = 0;

    for (int i = 0; i < 250; i++)
        fds[i] = world->client;
    for (int i = 0; i < 40; i++) {
        const char *text = i % 2 ? "{\"execute\": \"getfd\"}\r\n" : "garbage\r\n";

        for (;;) {
            vfm_transfer_prepare_send(transfer, text, strlen(text), fds, 250);
            if (vfm_transfer_send(transfer, world->client) == 0)
                break;
            poll(NULL, 0, 1);
            vfm_transfer_prepare_receive(transfer, data, sizeof(data));
            if (vfm_transfer_receive(transfer, world->qemu) == 0 && vfm_transfer_done(transfer, &bytes)) {
                g_string_append_len(world->qemu_in, data, (gssize)bytes);
                for (unsigned n = vfm_transfer_fds(transfer, got, &truncated); n > 0; n--, received++)
                    close(got[n - 1]);
                answer_questions(world);
            }
            take(world->client, world->client_in);
        }
    }
    for (int idle = 0; idle < 20;) {
        struct pollfd slot = {.fd = world->qemu, .events = POLLIN};

        take(world->client, world->client_in);
        if (poll(&slot, 1, 50) <= 0) {
            idle++;
            continue;
        }
        vfm_transfer_prepare_receive(transfer, data, sizeof(data));
        if (vfm_transfer_receive(transfer, world->qemu) != 0 || !vfm_transfer_done(transfer, &bytes))
            continue;
        g_string_append_len(world->qemu_in, data, (gssize)bytes);
        for (unsigned n = vfm_transfer_fds(transfer, got, &truncated); n > 0; n--, received++)
            close(got[n - 1]);
        answer_questions(world);
    }
    assert_true(received >= 20 * 250); /* those of the commands; of garbage none is kept */
    assert_in_range(open_descriptors(world->supervisor), 1, 10);
    g_string_truncate(world->qemu_in, 0);
    g_string_truncate(world->client_in, 0);
    still_works(world);
}

static void test_a_client_that_never_reads(void **state)
{
    World *world = *state;
    g_autoptr(GString) events = g_string_new(NULL);
    size_t sent, got;

    while (events->len < 8 * MIB)
        g_string_append(events, "{\"timestamp\": {}, \"event\": \"NOISE\", \"data\": {\"text\": \"0123456789\"}}\r\n");
    sent = say(world, world->qemu, events->str, events->len, false);
    assert_in_range(sent, MIB, 6 * MIB); /* QEMU waits: more than that nobody keeps for it */
    memory_is_bounded(world);
    while (world->client_in->len < sent) {
        struct pollfd slot = {.fd = world->client, .events = POLLIN};

        assert_true(poll(&slot, 1, PATIENCE_MS) > 0);
        assert_true(take(world->client, world->client_in));
    }
    got = world->client_in->len;
    assert_int_equal(got, sent);
    assert_memory_equal(world->client_in->str, events->str, sent);
    say(world, world->qemu, events->str + sent, strcspn(events->str + sent, "\n") + 1, true);
    expect(world, world->client_in, "NOISE");
    g_string_truncate(world->client_in, 0);
    still_works(world);
}

static void test_a_qemu_that_never_reads(void **state)
{
    World *world = *state;
    g_autoptr(GString) commands = g_string_new(NULL);
    size_t sent, whole;

    while (commands->len < 8 * MIB)
        g_string_append(commands, "{\"execute\": \"ping\", \"arguments\": {\"text\": \"0123456789\"}}\r\n");
    sent = say(world, world->client, commands->str, commands->len, false);
    assert_in_range(sent, MIB, 6 * MIB);
    memory_is_bounded(world);
    whole = (size_t)((char *)memrchr(commands->str, '\n', sent) + 1 - commands->str); /* half a text is never sent on */
    while (world->qemu_in->len < whole) {
        struct pollfd slot = {.fd = world->qemu, .events = POLLIN};

        assert_true(poll(&slot, 1, PATIENCE_MS) > 0);
        assert_true(take(world->qemu, world->qemu_in));
    }
    assert_memory_equal(world->qemu_in->str, commands->str, whole);
    say(world, world->client, commands->str + sent, strcspn(commands->str + sent, "\n") + 1, true);
    g_string_truncate(world->qemu_in, 0);
    still_works(world);
}

/* Nonsense from QEMU is the client's to judge: it gets there, and nothing breaks here. */
static void test_garbage_from_qemu_is_passed_on(void **state)
{
    World *world = *state;
    g_autofree char *long_answer = g_strnfill(3 * MIB, 'y');

    say_text(world, world->qemu, "}}}} nonsense \x01\xff {\"return\": \r\n}\r\n");
    expect(world, world->client_in, "nonsense");
    say_text(world, world->qemu, "{\"return\": \"");
    assert_int_equal(say(world, world->qemu, long_answer, 3 * MIB, true), 3 * MIB);
    say_text(world, world->qemu, "\", \"id\": \"long\"}\r\n");
    expect(world, world->client_in, "\"id\": \"long\"");
    memory_is_bounded(world);
    g_string_truncate(world->client_in, 0);
    still_works(world);
}

/* After three workers died over it, nobody looks at messages any more: it goes to QEMU as it is. */
static void test_a_message_that_kills_is_relayed_in_the_end(void **state)
{
    World *world = *state;

    say_text(world, world->client, "{\"execute\": \"poison\"}\r\n");
    expect(world, world->qemu_in, "poison");
    g_string_truncate(world->qemu_in, 0);
    still_works(world);
    say_text(world, world->client, "{\"execute\": \"poison\"}\r\n");
    expect(world, world->qemu_in, "poison");
    close(world->client);
    connect_client(world);
    negotiate(world); /* a relay, and still one that clients can come back to */
    still_works(world);
}

static void test_a_second_client_is_told_so(void **state)
{
    World *world = *state;
    World second = {.path = world->path, .client_in = g_string_new(NULL)};
    struct pollfd slot;

    connect_client(&second);
    slot = (struct pollfd){.fd = second.client, .events = POLLIN};
    while (poll(&slot, 1, PATIENCE_MS) > 0 && take(second.client, second.client_in) && !(slot.revents & POLLHUP))
        ;
    assert_non_null(strstr(second.client_in->str, "has a client already"));
    close(second.client);
    g_string_free(second.client_in, TRUE);
    still_works(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_garbage_never_reaches_qemu, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_an_endless_string_costs_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_deep_nesting_is_answered_here, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_control_bytes_and_bad_utf8, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_half_messages_and_hang_ups, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_thousands_of_descriptors, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_client_that_never_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_qemu_that_never_reads, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_garbage_from_qemu_is_passed_on, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_message_that_kills_is_relayed_in_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_second_client_is_told_so, set_up, tear_down),
    };

    return cmocka_run_group_tests_name("bad-monitor", tests, NULL, NULL);
}
