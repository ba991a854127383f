/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers die by SIGKILL at random moments while a client talks to QEMU: in the middle of messages, with descriptors in
 * flight, while clients come and go. Whatever happens, QEMU must get every request once and in order with the
 * descriptor that belongs to it, and the client every answer. The same where the process that maps takes part: devices
 * are asked for and plugged once, and what it tells is heard once. The seed is printed; VFIOMEM_SEED repeats a run (as
 * far as the scheduler lets it).
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
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "reply.h"
#include "supervisor.h"

#define KILLS 300
#define CLIENTS 12
#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"

typedef struct {
    int socket;
    GString *in, *out; /* received and not cut into lines; still to send */
    GQueue *fds;       /* received */
    GQueue *to_send;   /* of FdMark*, ascending */
    size_t sent;       /* bytes of @out gone since it was created */
} Peer;

typedef struct {
    size_t at;
    int fd;
} FdMark;

/* What a request's descriptor holds. */
typedef struct {
    uint64_t number, client;
} Tag;

typedef struct {
    GRand *rand;
    pid_t supervisor;
    char *path;
    Peer qemu, client;
    bool greeted, negotiated;
    uint64_t asked, received, answered; /* request numbers: next to ask, next QEMU expects, next answer expected */
    unsigned kills, clients, fds_checked, events, stale;

    int devices;          /* the other end of the process that maps; -1: none */
    uint64_t last_number; /* of a request to it */
    char last_answer[64];
    uint64_t to_plug, plug_answered;   /* the next device to plug, the last whose answer came */
    uint64_t last_added, last_plugged; /* by the process that maps, and by QEMU */
    uint64_t last_withdrawn;
    uint64_t told, heard; /* numbers of events */
    GQueue *owed;         /* of told ones that the present client must hear */
    unsigned added, plugged, withdrawn, lost;
} World;

#define DEVICES 5

static void peer_init(Peer *peer, int socket)
{
    *peer = (Peer){socket, g_string_new(NULL), g_string_new(NULL), g_queue_new(), g_queue_new(), 0};
}

static void peer_clear(Peer *peer)
{
    close(peer->socket);
    g_string_free(peer->in, TRUE);
    g_string_free(peer->out, TRUE);
    while (!g_queue_is_empty(peer->fds))
        close(GPOINTER_TO_INT(g_queue_pop_head(peer->fds)));
    g_queue_free(peer->fds);
    g_queue_free_full(peer->to_send, g_free);
}

static void peer_say(Peer *peer, const char *text, int fd)
{
    if (fd >= 0) {
        FdMark *mark = g_new(FdMark, 1);

        *mark = (FdMark){peer->sent + peer->out->len, fd};
        g_queue_push_tail(peer->to_send, mark);
    }
    g_string_append(peer->out, text);
}

/* A random piece of what waits, cut where a descriptor belongs. */
static void peer_send(Peer *peer, GRand *rand)
{
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    FdMark *mark = g_queue_peek_head(peer->to_send), *next;
    size_t most = (size_t)g_rand_int_range(rand, 1, 200), length = MIN(peer->out->len, most), bytes;
    unsigned n_fds = 0;

    if (peer->out->len == 0)
        return;
    if (mark && mark->at > peer->sent)
        length = MIN(length, mark->at - peer->sent);
    else if (mark)
        n_fds = 1;
    next = n_fds ? g_queue_peek_nth(peer->to_send, 1) : NULL;
    if (next)
        length = MIN(length, next->at - peer->sent);
    vfm_transfer_prepare_send(transfer, peer->out->str, length, mark ? &mark->fd : NULL, n_fds);
    if (vfm_transfer_send(transfer, peer->socket) != 0)
        return;
    assert_true(vfm_transfer_done(transfer, &bytes));
    peer->sent += bytes;
    g_string_erase(peer->out, 0, (gssize)bytes);
    if (n_fds) {
        close(mark->fd);
        g_free(g_queue_pop_head(peer->to_send));
    }
}

/* False at the end of the stream. */
static bool peer_receive(Peer *peer)
{
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    int fds[VFM_FD_MESSAGE_MAX], status;
    char data[512];
    bool truncated;
    size_t bytes;

    vfm_transfer_prepare_receive(transfer, data, sizeof(data));
    status = vfm_transfer_receive(transfer, peer->socket);
    if (status != 0)
        return status == EAGAIN;
    assert_true(vfm_transfer_done(transfer, &bytes));
    for (unsigned i = 0, n = vfm_transfer_fds(transfer, fds, &truncated); i < n; i++)
        g_queue_push_tail(peer->fds, GINT_TO_POINTER(fds[i]));
    g_string_append_len(peer->in, data, (gssize)bytes);
    return bytes > 0;
}

/* QEMU needs no line ends between texts, and gets none after the last text of a client that left just then. */
static char *peer_text(Peer *peer)
{
    VfmFrame frame;
    VfmFrameResult result;
    char *text = NULL;
    size_t used;

    vfm_frame_init(&frame, SIZE_MAX, false);
    result = vfm_frame_feed(&frame, peer->in->str, peer->in->len, &used);
    assert_int_not_equal(result, VFM_FRAME_BAD);
    if (result == VFM_FRAME_MESSAGE) {
        text = g_strstrip(g_strndup(peer->in->str, used));
        g_string_erase(peer->in, 0, (gssize)used);
    }
    return text;
}

/* libvirt reads lines, and an empty one would end its trust in the monitor. */
static char *peer_line(Peer *peer)
{
    char *end = strstr(peer->in->str, "\r\n"), *line;

    if (!end)
        return NULL;
    line = g_strndup(peer->in->str, (gsize)(end - peer->in->str));
    g_string_erase(peer->in, 0, end + 2 - peer->in->str);
    return line;
}

static int tagged_memory(Tag tag)
{
    int fd = memfd_create("request", MFD_CLOEXEC);

    assert_int_equal(pwrite(fd, &tag, sizeof(tag), 0), sizeof(tag));
    return fd;
}

/* The descriptor of this very request. A text that a former client left half sent may have sent its descriptor ahead,
 * with the end of the text before: the kernel hands both over in one piece. */
static void take_descriptor(World *world, const Tag *wanted)
{
    Tag tag;

    do {
        int fd = GPOINTER_TO_INT(g_queue_pop_head(world->qemu.fds));

        assert_true(fd > 0);
        assert_int_equal(pread(fd, &tag, sizeof(tag), 0), sizeof(tag));
        close(fd);
        world->stale += tag.client < wanted->client;
    } while (tag.client < wanted->client);
    assert_int_equal(tag.number, wanted->number);
    assert_int_equal(tag.client, wanted->client);
    assert_true(world->stale < 2 * world->clients);
}

/* Some devices are not there, some are not to QEMU's liking. */
static bool is_missing(uint64_t device)
{
    return device % 7 == 3;
}

/* Some take too long. */
static bool is_slow(uint64_t device)
{
    return device % 17 == 7;
}

static bool is_disliked(uint64_t device)
{
    return device % 5 == 1;
}

static void qemu_hears(World *world, const char *line)
{
    g_autofree char *answer = NULL;
    const char *id = strstr(line, "\"id\": \"vfiomem-"), *device = strstr(line, "\"device_add\", \"arguments\": ");
    uint64_t number;
    Tag tag;

    if (device) {
        assert_int_equal(sscanf(strstr(device, ": ") + 2, "%lu", &number), 1);
        assert_true(number > world->last_plugged); /* once, and in order */
        assert_false(is_missing(number) || is_slow(number));
        world->last_plugged = number;
        world->plugged++;
        answer = g_strdup_printf("{%s, \"id\": %.*s}\r\n",
                                 is_disliked(number) ? "\"error\": {\"class\": \"GenericError\", \"desc\": \"no\"}"
                                                     : "\"return\": {}",
                                 (int)(strchr(id + 6, ',') - id - 6), id + 6);
    } else if (id) {
        answer = g_strdup_printf("{\"return\": {}, \"id\": %.*s}\r\n", (int)(strchr(id + 6, ',') - id - 6), id + 6);
    } else if (strstr(line, "qmp_capabilities")) {
        answer = g_strdup("{\"return\": {}, \"id\": \"hello\"}\r\n");
    } else {
        assert_int_equal(sscanf(line, "{\"execute\": \"work\", \"id\": %lu", &number), 1);
        assert_int_equal(number, world->received); /* once, and in order */
        world->received++;
        if (strstr(line, "\"fd\"")) {
            tag.number = number;
            assert_int_equal(sscanf(strstr(line, "\"fd\""), "\"fd\": %lu", &tag.client), 1);
            take_descriptor(world, &tag);
            world->fds_checked++;
        }
        answer = g_strdup_printf("{\"return\": {\"pad\": \"%0*d\"}, \"id\": %lu}\r\n",
                                 g_rand_int_range(world->rand, 1, 700), 0, number);
    }
    if (g_rand_int_range(world->rand, 0, 4) == 0)
        peer_say(&world->qemu, "{\"timestamp\": {}, \"event\": \"NOISE\"}\r\n", -1);
    peer_say(&world->qemu, answer, -1);
    if (g_rand_int_range(world->rand, 0, 4) == 0)
        peer_say(&world->qemu, "{\"timestamp\": {}, \"event\": \"NOISE\"}\r\n", -1);
}

static void client_hears_guard(World *world, const char *line)
{
    const char *reason = strstr(line, "notice ");
    uint64_t number, *owed = g_queue_peek_head(world->owed);

    assert_true(world->negotiated);
    if (strstr(line, "\"lost\"")) {
        world->lost++;
        return;
    }
    assert_non_null(strstr(line, "\"action\": \"failed\", \"device\": \"0000:00:0"));
    assert_int_equal(sscanf(reason, "notice %lu", &number), 1);
    assert_true(number > world->heard); /* once, and in order */
    world->heard = number;
    if (owed && number >= *owed) {
        assert_int_equal(number, *owed);
        g_free(g_queue_pop_head(world->owed));
    }
}

static void devices_say(World *world, const char *text)
{
    /* There is always room: the mediator reads as fast as this test writes. */
    assert_int_equal(send(world->devices, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void devices_notice(World *world)
{
    g_autofree char *text = g_strdup_printf("event failed 0000:00:0%d.0 notice %lu\n",
                                            g_rand_int_range(world->rand, 0, DEVICES), ++world->told);

    if (world->negotiated)
        g_queue_push_tail(world->owed, g_memdup2(&world->told, sizeof(world->told)));
    devices_say(world, text);
}

/* What vfiomem-helper-devices would do: the same number again is answered again. */
static void devices_hear(World *world, const char *line)
{
    g_autofree char *text = NULL;
    uint64_t number, device;
    char verb[16];

    assert_int_equal(sscanf(line, "%lu %15s %lu", &number, verb, &device), 3);
    if (strcmp(verb, "add") == 0 && number != world->last_number) {
        assert_true(number > world->last_number);
        /* Once; anew only where it was taken back and the worker died before it could say so. */
        assert_true(device > world->last_added || (device == world->last_added && world->last_withdrawn == device));
        world->last_added = device;
        world->added++;
    }
    if (strcmp(verb, "withdraw") == 0) {
        /* Now it answers the one as well. */
        g_autofree char *late = g_strdup_printf("%lu socket\n", device);

        world->withdrawn++;
        world->last_withdrawn = world->last_added;
        devices_say(world, late);
        device = world->last_added;
    }
    assert_int_equal(device, world->last_added);
    world->last_number = number;
    if (strcmp(verb, "add") == 0 && is_slow(device))
        return;
    text =
        g_strdup_printf("%lu %s\n", number, strcmp(verb, "add") == 0 && is_missing(device) ? "error none" : "socket");
    if (g_rand_boolean(world->rand))
        devices_notice(world);
    devices_say(world, text);
}

static void devices_turn(World *world)
{
    char packet[4096], *rest = packet, *line;
    ssize_t n = recv(world->devices, packet, sizeof(packet) - 1, MSG_DONTWAIT);

    if (g_rand_int_range(world->rand, 0, 6) == 0)
        devices_notice(world);
    if (n <= 0)
        return;
    packet[n] = '\0';
    while ((line = strsep(&rest, "\n")))
        if (*line)
            devices_hear(world, line);
}

static void client_hears(World *world, const char *line)
{
    uint64_t number;
    const char *id;

    assert_true(line[0] == '{' && line[strlen(line) - 1] == '}');
    assert_null(strstr(line, "vfiomem-")); /* nothing of ours gets through */
    if (strstr(line, "\"QMP\"")) {
        assert_false(world->greeted);
        world->greeted = true;
        peer_say(&world->client, "{\"execute\": \"qmp_capabilities\", \"id\": \"hello\"}\r\n", -1);
    } else if (strstr(line, "VFIOMEM_GUARD")) {
        client_hears_guard(world, line);
    } else if ((id = strstr(line, "\"plug-"))) {
        assert_int_equal(sscanf(id, "\"plug-%lu", &number), 1);
        assert_int_equal(number, world->plug_answered + 1);
        world->plug_answered = number;
        if (number == world->last_withdrawn && !is_slow(number))
            return; /* this machine was slow, not the device */
        assert_int_equal(!strstr(line, "\"error\""),
                         world->devices >= 0 && !is_missing(number) && !is_disliked(number) && !is_slow(number));
        if (world->devices >= 0)
            assert_true(number <= world->last_added &&
                        (is_missing(number) || is_slow(number) || number <= world->last_plugged));
    } else if (strstr(line, "\"event\"")) {
        assert_true(world->negotiated || world->clients == 1);
        world->events++;
    } else if (strstr(line, "\"hello\"")) {
        assert_false(world->negotiated);
        world->negotiated = true;
    } else {
        id = strstr(line, "\"id\": ");
        assert_non_null(id);
        assert_int_equal(sscanf(id, "\"id\": %lu", &number), 1);
        assert_int_equal(number, world->answered); /* once, and in order */
        world->answered++;
    }
}

static void connect_client(World *world)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    g_strlcpy(address.sun_path, world->path, sizeof(address.sun_path));
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    peer_init(&world->client, fd);
    world->greeted = world->negotiated = false;
    world->clients++;
}

static void client_plugs(World *world)
{
    g_autofree char *text = g_strdup_printf("{\"execute\": \"plug\", \"arguments\": %lu, \"id\": \"plug-%lu\"}\r\n",
                                            world->to_plug, world->to_plug);

    peer_say(&world->client, text, -1);
    world->to_plug++;
}

/* Asks for work, pipelined, some of it with a descriptor. */
static void client_asks(World *world)
{
    while (world->negotiated && world->asked - world->answered < 6 && world->to_plug - world->plug_answered < 4) {
        bool with_fd = g_rand_boolean(world->rand);
        g_autofree char *argument = with_fd ? g_strdup_printf("\"fd\": %u", world->clients) : g_strdup("");
        bool plug = world->devices >= 0 && g_rand_int_range(world->rand, 0, 4) == 0;
        g_autofree char *text = NULL;

        if (plug) {
            client_plugs(world);
            continue;
        }
        text = g_strdup_printf("{\"execute\": \"work\", \"id\": %lu, \"arguments\": {%s}}\r\n", world->asked, argument);

        peer_say(&world->client, text, with_fd ? tagged_memory((Tag){world->asked, world->clients}) : -1);
        world->asked++;
    }
}

/* Leaves in the middle of everything. What was sent whole is carried out; answers to it go nowhere. */
static void client_leaves(World *world)
{
    size_t cut = world->client.out->len;

    while (world->client.out->len && world->client.out->len >= cut / 2 + 1) {
        struct pollfd slot = {.fd = world->client.socket, .events = POLLOUT};

        poll(&slot, 1, 1000);
        peer_send(&world->client, world->rand);
    }
    peer_clear(&world->client);
}

static pid_t worker_of(pid_t supervisor)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && *text ? (pid_t)atoi(text) : 0;
}

static void kill_worker(World *world)
{
    pid_t worker = worker_of(world->supervisor);

    if (worker > 0 && kill(worker, SIGKILL) == 0)
        world->kills++;
}

/* What the guard does with a device_add in helper mode, and nothing else: asked, added, plugged, answered. */
typedef struct {
    VfmTalk talk;
    uint64_t device;
    unsigned stage;
} Plug;

static VfmTalkVerdict plug_add(Plug *plug, VfmTalkTurn *turn)
{
    plug->stage = 1;
    turn->request = g_strdup_printf("add %lu", plug->device);
    turn->keep = g_strdup("serve");
    return VFM_TALK_DEVICES;
}

static VfmTalkVerdict plug_answer(VfmTalkTurn *turn, bool well)
{
    g_autofree char *reply =
        well ? vfm_reply_return(turn->message->id, "{}") : vfm_reply_error(turn->message->id, "no");

    g_string_append(turn->answer, reply);
    return VFM_TALK_ANSWER;
}

static VfmTalkVerdict plug_step(VfmTalk *talk, VfmTalkTurn *turn)
{
    Plug *plug = (Plug *)talk;

    plug->device = g_ascii_strtoull(turn->message->arguments.at, NULL, 10);
    if (turn->found && strcmp(turn->found, "serve") == 0)
        return plug_add(plug, turn);
    if (turn->found) {
        plug->stage = 2;
        return VFM_TALK_RESUME;
    }
    if (plug->stage == 0 && turn->replies->len == 0) {
        g_ptr_array_add(turn->ask, g_strdup("\"execute\": \"look\""));
        return VFM_TALK_ASK;
    }
    if (plug->stage == 0)
        return plug_add(plug, turn);
    if (plug->stage == 1) {
        if (!turn->devices || strcmp(turn->devices, "socket") != 0)
            return plug_answer(turn, false);
        plug->stage = 2;
        turn->keep = g_strdup("plug");
        g_ptr_array_add(turn->ask, g_strdup_printf("\"execute\": \"device_add\", \"arguments\": %lu", plug->device));
        return VFM_TALK_ASK;
    }
    if (plug->stage == 2 && strstr(turn->replies->pdata[0], "\"error\"")) {
        plug->stage = 3;
        turn->request = g_strdup_printf("forget %lu", plug->device);
        return VFM_TALK_DEVICES;
    }
    return plug_answer(turn, plug->stage == 2);
}

static void plug_free(VfmTalk *talk)
{
    g_free(talk);
}

static VfmTalk *plug_open(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length)
{
    static const VfmTalkOps ops = {plug_step, plug_free};
    Plug *plug;

    if (!vfm_slice_is_string(message->execute, "plug"))
        return NULL;
    plug = g_new0(Plug, 1);
    plug->talk.ops = &ops;
    return &plug->talk;
}

static VfmTalker *plugger(VfmJournal *journal, void *data)
{
    static VfmTalker talker = {plug_open};

    return &talker;
}

/* @devices: our end and the mediator's, both -1 for none. */
static pid_t start_supervisor(const char *path, int *qemu, int pidfd, const int *devices)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), pair[2];
    pid_t pid;

    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(listener, 5), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pid = fork();
    if (pid == 0) {
        VfmJournal *journal = vfm_journal_new(NULL);
        VfmSockets sockets = {listener, pair[0], pidfd, devices[1]};

        journal->shared->patience_ms = 150;
        close(pair[1]);
        close(devices[0]);
        freopen("/dev/null", "w", stderr); /* a line for each worker */
        _exit(vfm_supervisor_run(journal, &sockets, plugger, NULL));
    }
    close(listener);
    close(pair[0]);
    *qemu = pair[1];
    return pid;
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

static void turn(World *world)
{
    struct pollfd slots[3] = {
        {.fd = world->qemu.socket, .events = (short)(POLLIN | (world->qemu.out->len ? POLLOUT : 0))},
        {.fd = world->client.socket, .events = (short)(POLLIN | (world->client.out->len ? POLLOUT : 0))},
        {.fd = world->devices, .events = POLLIN}};
    char *line;

    assert_true(poll(slots, 3, 20000) > 0); /* nothing for 20 s: a request or an answer was lost */
    if (slots[0].revents & POLLOUT)
        peer_send(&world->qemu, world->rand);
    if (slots[1].revents & POLLOUT)
        peer_send(&world->client, world->rand);
    if (slots[0].revents & (POLLIN | POLLHUP))
        assert_true(peer_receive(&world->qemu));
    if (slots[1].revents & (POLLIN | POLLHUP))
        assert_true(peer_receive(&world->client));
    if (world->devices >= 0)
        devices_turn(world);
    while ((line = peer_text(&world->qemu))) {
        qemu_hears(world, line);
        g_free(line);
    }
    while ((line = peer_line(&world->client))) {
        client_hears(world, line);
        g_free(line);
    }
}

/* QEMU must have answered everything the former client had asked, and nothing of that may reach the new one. */
static void change_client(World *world)
{
    client_leaves(world);
    g_queue_clear_full(world->owed, g_free);
    connect_client(world);
    while (!world->negotiated)
        turn(world);
    world->answered = world->asked = world->received;
    world->plug_answered = world->to_plug - 1;
}

static void serve_devices(World *world)
{
    for (int i = 0; i < DEVICES; i++) {
        g_autofree char *text = g_strdup_printf("event served 0000:00:0%d.0 /run/%d.sock\n", i, i);

        devices_say(world, text);
    }
}

/* The process that maps is gone: each of its devices is told to be lost, once. */
static void lose_devices(World *world)
{
    close(world->devices);
    world->devices = -1;
    while (world->lost < DEVICES) {
        turn(world);
        if (g_rand_boolean(world->rand))
            kill_worker(world);
    }
    /* Some more turns, in which there is nothing more to hear of it. */
    for (int i = 0; i < 50; i++) {
        client_asks(world);
        turn(world);
    }
    assert_int_equal(world->lost, DEVICES);
    client_plugs(world);
}

static void play(bool with_devices)
{
    const char *seed_text = g_getenv("VFIOMEM_SEED");
    guint32 seed = seed_text ? (guint32)strtoul(seed_text, NULL, 0) : g_random_int();
    g_autofree char *folder = g_dir_make_tmp("vfiomem-takeover-XXXXXX", NULL);
    World world = {.rand = g_rand_new_with_seed(seed), .path = g_build_filename(folder, "monitor", NULL)};
    unsigned until_leaving = 400, quiet;
    int qemu, status, pair[2] = {-1, -1};

    print_message("seed %u\n", seed);
    if (with_devices)
        assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    world.devices = pair[0];
    world.to_plug = 1;
    world.owed = g_queue_new();
    world.supervisor = start_supervisor(world.path, &qemu, -1, pair);
    if (with_devices) {
        close(pair[1]);
        serve_devices(&world);
    }
    peer_init(&world.qemu, qemu);
    peer_say(&world.qemu, GREETING, -1);
    connect_client(&world);
    while (world.kills < KILLS || world.clients < CLIENTS) {
        client_asks(&world);
        turn(&world);
        if (g_rand_int_range(world.rand, 0, 12) == 0)
            kill_worker(&world);
        if (--until_leaving == 0) {
            until_leaving = (unsigned)g_rand_int_range(world.rand, 200, 800);
            change_client(&world);
        }
    }
    while (world.answered != world.asked || world.plug_answered != world.to_plug - 1 || !g_queue_is_empty(world.owed))
        turn(&world);
    if (with_devices) {
        print_message("%u added, %u plugged, %u withdrawn, %lu notices\n", world.added, world.plugged, world.withdrawn,
                      world.told);
        assert_true(world.added > 20 && world.plugged > 20 && world.withdrawn > 1 && world.heard > 50);
        lose_devices(&world);
        while (world.answered != world.asked || world.plug_answered != world.to_plug - 1)
            turn(&world);
    }
    print_message("%lu requests, %u descriptors, %u clients, %u events, %u workers killed\n", world.received,
                  world.fds_checked, world.clients, world.events, world.kills);
    assert_true(world.fds_checked > 50 && world.events > 50);
    quiet = open_descriptors(world.supervisor);
    assert_true(quiet <=
                7u + with_devices); /* standard ones, listener, QEMU's and the client's: none in flight was forgotten */
    peer_clear(&world.qemu);
    do {
        struct pollfd slot = {.fd = world.client.socket, .events = POLLIN};

        assert_int_equal(poll(&slot, 1, 20000), 1); /* the end of QEMU must end the monitor */
    } while (peer_receive(&world.client));
    assert_int_equal(waitpid(world.supervisor, &status, 0), world.supervisor);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    peer_clear(&world.client);
    unlink(world.path);
    rmdir(folder);
    g_free(world.path);
    g_rand_free(world.rand);
    g_queue_free_full(world.owed, g_free);
}

static void test_no_request_is_lost_doubled_or_reordered(void **state)
{
    play(false);
}

static void test_devices_are_plugged_and_heard_of_once(void **state)
{
    play(true);
}

/* A process in QEMU's place, which waits to be ended, and a descriptor of it. */
static pid_t start_process(int *pidfd)
{
    pid_t pid = fork();

    if (pid == 0)
        for (;;)
            pause();
    *pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    assert_true(*pidfd >= 0);
    return pid;
}

/* Workers that never get through QEMU's last words, not even to their end, must not keep the supervisor for ever. */
static void test_the_end_of_qemu_is_the_end_of_all(void **state)
{
    g_autofree char *folder = g_dir_make_tmp("vfiomem-takeover-XXXXXX", NULL);
    World world = {.path = g_build_filename(folder, "monitor", NULL)};
    static const char event[] = "{\"timestamp\": {}, \"event\": \"NOISE\"}\r\n";
    int qemu, pidfd, status;
    pid_t process = start_process(&pidfd), killed = 0, ended;

    world.supervisor = start_supervisor(world.path, &qemu, pidfd, (const int[]){-1, -1});
    connect_client(&world);
    assert_int_equal(send(qemu, GREETING, strlen(GREETING), 0), strlen(GREETING));
    while (!strchr(world.client.in->str, '\n')) {
        struct pollfd slot = {.fd = world.client.socket, .events = POLLIN};

        assert_int_equal(poll(&slot, 1, 20000), 1);
        assert_true(peer_receive(&world.client));
    }
    /* More than the client's socket holds, and the client reads no more: there are always last words to wait with. */
    for (unsigned i = 0; i < 15000; i++)
        assert_int_equal(send(qemu, event, strlen(event), 0), strlen(event));
    close(qemu);
    kill(process, SIGKILL);
    assert_int_equal(waitpid(process, &status, 0), process);
    while ((ended = waitpid(world.supervisor, &status, WNOHANG)) == 0) {
        pid_t worker = worker_of(world.supervisor);

        if (worker > 0 && worker != killed && kill(worker, SIGKILL) == 0) {
            killed = worker;
            world.kills++;
        }
        assert_true(world.kills < 1000);
    }
    assert_int_equal(ended, world.supervisor);
    assert_true(WIFEXITED(status));
    print_message("%u workers killed\n", world.kills);
    close(pidfd);
    peer_clear(&world.client);
    unlink(world.path);
    rmdir(folder);
    g_free(world.path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_request_is_lost_doubled_or_reordered),
        cmocka_unit_test(test_devices_are_plugged_and_heard_of_once),
        cmocka_unit_test(test_the_end_of_qemu_is_the_end_of_all),
    };

    return cmocka_run_group_tests_name("takeover", tests, NULL, NULL);
}
