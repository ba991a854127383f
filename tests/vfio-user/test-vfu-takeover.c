/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Workers die by SIGKILL at random moments and at every step that is told by name, while two clients talk to a device
 * each: pipelined, with descriptors, with answers larger than a socket holds. Each client must get every answer once,
 * in order and right, each command must come to the device in order and with its own descriptors (again only if the
 * worker died over it), and no descriptor may be left. The seed is printed; VFIOMEM_SEED repeats a run (as far as the
 * scheduler lets it).
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
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "descriptors.h"
#include "devices_supervisor.h"
#include "takeover_clients.h"
#include "vfu_session.h"

enum {
    KILLS = 400,
    STEPS = 16,
};

typedef struct {
    char names[STEPS][32];
    uint32_t visits[STEPS], deaths[STEPS];
    uint32_t one_in; /* visits to a step die; 0: none */
    uint64_t chance; /* of workers, who would all have the same luck with a generator of their own */
    uint32_t restarts, given_up;
    volatile uint64_t progress;
    Core cores[CLIENTS];
} Shared;

typedef struct {
    VfmVfuDevice vfu; /* first */
    Core *core;
} Device;

typedef struct {
    Shared *shared;
    VfmVfuJournal *journals[CLIENTS];
    GArray *inherited;
} World;

/* --- the device */

static Core *core_of(VfmVfuDevice *vfu)
{
    return ((Device *)vfu)->core;
}

static void info(VfmVfuDevice *vfu, struct vfio_device_info *out)
{
    *out = (struct vfio_device_info){
        .argsz = sizeof(*out), .flags = VFIO_DEVICE_FLAGS_RESET, .num_regions = 1, .num_irqs = 1};
}

static bool region_info(VfmVfuDevice *vfu, uint32_t index, GByteArray *out, int *fd, GError **error)
{
    struct vfio_region_info region = {.argsz = sizeof(region),
                                      .flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
                                               VFIO_REGION_INFO_FLAG_MMAP,
                                      .size = BAR_SIZE};

    g_byte_array_append(out, (const uint8_t *)&region, sizeof(region));
    *fd = STDERR_FILENO; /* any that stays */
    return true;
}

static bool irq_info(VfmVfuDevice *vfu, struct vfio_irq_info *irq, GError **error)
{
    irq->count = 8;
    irq->flags = VFIO_IRQ_INFO_EVENTFD;
    return true;
}

/* Numbers rise; the same one again is a repetition. */
static void came(Core *core, uint64_t number)
{
    core->wrong += number < core->last;
    core->repeats += number == core->last;
    core->last = number;
}

static uint64_t tag_of(int fd)
{
    uint64_t tag = 0;

    return pread(fd, &tag, sizeof(tag), 0) == sizeof(tag) ? tag : 0;
}

static bool set_irqs(VfmVfuDevice *vfu, const struct vfio_irq_set *set, const uint8_t *bools, const int *fds,
                     GError **error)
{
    /* Tagged with the first one's, counted on. */
    for (uint32_t i = 1; i < set->count; i++)
        core_of(vfu)->wrong += tag_of(fds[i]) != tag_of(fds[0]) + i;
    return true;
}

static bool region_read(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, void *data, uint32_t count, GError **error)
{
    memcpy(data, core_of(vfu)->bar + offset, count);
    return true;
}

static bool region_write(VfmVfuDevice *vfu, uint32_t region, uint64_t offset, const void *data, uint32_t count,
                         GError **error)
{
    if (offset == DEADLY && count == 3)
        abort();
    memcpy(core_of(vfu)->bar + offset, data, count);
    return true;
}

static bool reset(VfmVfuDevice *vfu, GError **error)
{
    core_of(vfu)->resets++;
    return true;
}

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    came(core_of(vfu), message);
    core_of(vfu)->wrong += tag_of(fd) != map->address;
    return true;
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    came(core_of(vfu), message);
    *unmapped = size / 2;
    return true;
}

static void gone(VfmVfuDevice *vfu, const GError *why)
{
    core_of(vfu)->gones++;
    g_strlcpy(core_of(vfu)->why, why ? why->message : "", sizeof(core_of(vfu)->why));
}

static const VfmVfuDeviceOps device_ops = {
    .info = info,
    .region_info = region_info,
    .irq_info = irq_info,
    .set_irqs = set_irqs,
    .read = region_read,
    .write = region_write,
    .reset = reset,
    .dma_map = dma_map,
    .dma_unmap = dma_unmap,
    .gone = gone,
};

/* --- the worker */

static void step(const char *name, gpointer data)
{
    Shared *shared = data;
    unsigned i = 0;

    while (i < STEPS - 1 && shared->names[i][0] && strcmp(shared->names[i], name) != 0)
        i++;
    if (!shared->names[i][0])
        g_strlcpy(shared->names[i], name, sizeof(shared->names[i]));
    shared->visits[i]++;
    shared->chance = shared->chance * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    if (shared->one_in && (shared->chance >> 33) % shared->one_in == 0) {
        shared->deaths[i]++;
        kill(getpid(), SIGKILL);
    }
}

static int work(gpointer data)
{
    World *world = data;
    g_autoptr(GArray) owned = g_array_new(false, false, sizeof(int));
    Device devices[CLIENTS] = {0};
    VfmVfuSession *sessions[CLIENTS] = {0};
    bool going = true;

    g_array_append_vals(owned, world->inherited->data, world->inherited->len);
    for (unsigned i = 0; i < CLIENTS; i++) {
        vfm_vfu_journal_recover(world->journals[i]);
        vfm_vfu_journal_descriptors(world->journals[i], owned);
    }
    vfm_descriptors_close_others(owned);
    for (unsigned i = 0; i < CLIENTS; i++) {
        devices[i] = (Device){.vfu.ops = &device_ops, .core = &world->shared->cores[i]};
        if (vfm_vfu_journal_state(world->journals[i])->phase != VFM_VFU_UNUSED)
            sessions[i] = vfm_vfu_session_resume(world->journals[i], &devices[i].vfu);
    }
    while (going) {
        going = false;
        for (unsigned i = 0; i < CLIENTS; i++) {
            if (!sessions[i])
                continue;
            vfm_vfu_session_wait(sessions[i]);
            g_clear_pointer(&sessions[i], vfm_vfu_session_free);
        }
    }
    return 0;
}

static void give_up(gpointer data)
{
    ((World *)data)->shared->given_up++;
}

/* Never gets anywhere. */
static int crash(gpointer data)
{
    abort();
}

/* --- the scene */

static pid_t worker_of(pid_t supervisor)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/task/%d/children", (int)supervisor, (int)supervisor);
    g_autofree char *text = NULL;

    return g_file_get_contents(path, &text, NULL, NULL) && *text ? (pid_t)atoi(text) : 0;
}

static bool kill_worker(pid_t supervisor)
{
    pid_t worker = worker_of(supervisor);

    return worker > 0 && kill(worker, SIGKILL) == 0;
}

static unsigned descriptors_of(pid_t pid)
{
    g_autofree char *path = g_strdup_printf("/proc/%d/fd", (int)pid);
    g_autoptr(GDir) dir = g_dir_open(path, 0, NULL);
    unsigned n = 0;

    while (dir && g_dir_read_name(dir))
        n++;
    return n;
}

/* A supervisor with one connection a client; @sockets are the clients' ends. */
static pid_t start(Shared *shared, int sockets[CLIENTS])
{
    static const VfmVfuOffer offer = {.max_dma_maps = 7, .page_sizes = 4096};
    int pairs[CLIENTS][2];
    pid_t pid;

    for (unsigned i = 0; i < CLIENTS; i++)
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
    pid = fork();
    if (pid == 0) {
        World world = {.shared = shared, .inherited = g_array_new(false, false, sizeof(int))};
        VfmDevicesSupervision supervision = {.journals = world.journals,
                                             .n_journals = CLIENTS,
                                             .progress = &shared->progress,
                                             .restarts = &shared->restarts,
                                             .pidfd = -1,
                                             .work = work,
                                             .give_up = give_up,
                                             .data = &world};

        /* cmocka's handlers are not for workers. */
        for (int i = 1; i < SIGRTMIN; i++)
            signal(i, SIG_DFL);
        freopen("/dev/null", "w", stderr); /* a line for each worker */
        for (unsigned i = 0; i < CLIENTS; i++)
            close(pairs[i][0]);
        vfm_descriptors_open(world.inherited);
        for (unsigned i = 0; i < CLIENTS; i++) {
            world.journals[i] = vfm_vfu_journal_new(NULL);
            vfm_vfu_journal_set_step(world.journals[i], step, shared);
            vfm_vfu_journal_open(world.journals[i], pairs[i][1], &offer);
            /* It is the journal's from now on. */
            for (unsigned k = 0; k < world.inherited->len; k++)
                if (g_array_index(world.inherited, int, k) == pairs[i][1])
                    g_array_remove_index_fast(world.inherited, k--);
        }
        _exit(vfm_devices_supervise(&supervision) ? 0 : 1);
    }
    for (unsigned i = 0; i < CLIENTS; i++) {
        close(pairs[i][1]);
        sockets[i] = pairs[i][0];
    }
    return pid;
}

static Shared *make_shared(void)
{
    Shared *shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(shared, MAP_FAILED);
    return shared;
}

static void await_end(pid_t supervisor, bool well)
{
    int status;

    assert_int_equal(waitpid(supervisor, &status, 0), supervisor);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), well ? 0 : 1);
}

/* Each step had a death, each kind of message came. */
static bool enough(const Shared *shared, const Client *clients)
{
    for (unsigned i = 0; i < STEPS && shared->names[i][0]; i++)
        if (!shared->deaths[i])
            return false;
    for (unsigned i = 0; i < CLIENTS; i++)
        if (clients[i].with_fds < 100 || clients[i].large < 3)
            return false;
    return true;
}

static void test_nothing_is_lost_doubled_or_reordered(void **state)
{
    const char *seed_text = g_getenv("VFIOMEM_SEED");
    guint32 seed = seed_text ? (guint32)strtoul(seed_text, NULL, 0) : g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Shared *shared = make_shared();
    Client *clients = g_new0(Client, CLIENTS);
    int sockets[CLIENTS];
    unsigned kills = 0, at_rest;
    pid_t supervisor;

    print_message("seed %u\n", seed);
    supervisor = start(shared, sockets);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_init(&clients[i], &shared->cores[i], sockets[i], seed + i);
    for (unsigned i = 0; i < CLIENTS; i++)
        ask(&clients[i]);
    while (!quiet(clients))
        turn(clients, false);
    at_rest = descriptors_of(supervisor);
    /* From without, then from within, at each step. */
    while (kills < KILLS) {
        turn(clients, true);
        if (g_rand_int_range(rand, 0, 20) == 0)
            kills += kill_worker(supervisor);
    }
    shared->one_in = 150;
    for (uint32_t until = shared->restarts + KILLS; shared->restarts < until || !enough(shared, clients);)
        turn(clients, true);
    shared->one_in = 0;
    while (!quiet(clients))
        turn(clients, false);
    /* What wants no answer is done when what follows it is answered. */
    for (unsigned i = 0; i < CLIENTS; i++)
        ask_impossible(&clients[i]);
    while (!quiet(clients))
        turn(clients, false);
    for (unsigned i = 0; i < STEPS && shared->names[i][0]; i++)
        print_message("%s: %u deaths, %u visits\n", shared->names[i], shared->deaths[i], shared->visits[i]);
    for (unsigned i = 0; i < CLIENTS; i++) {
        const Core *core = &shared->cores[i];

        print_message("client %u: %lu messages, %lu with descriptors, %lu larger than a socket holds; %lu repeated\n",
                      i, clients[i].asked, clients[i].with_fds, clients[i].large, core->repeats);
        assert_int_equal(core->wrong, 0);
        assert_int_equal(core->gones, 0);
        assert_memory_equal(core->bar, clients[i].bar, BAR_SIZE);
    }
    /* A last worker, so that what the one before it may have left is cleared away. One that was killed may answer
     * before it dies, so a few more messages; what is left then stays. */
    kill_worker(supervisor);
    for (unsigned round = 0; round < 100 && (round == 0 || descriptors_of(supervisor) != at_rest); round++) {
        for (unsigned i = 0; i < CLIENTS; i++)
            ask_impossible(&clients[i]);
        while (!quiet(clients))
            turn(clients, false);
    }
    assert_int_equal(descriptors_of(supervisor), at_rest);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_clear(&clients[i]);
    await_end(supervisor, true);
    for (unsigned i = 0; i < CLIENTS; i++)
        assert_true(shared->cores[i].gones >= 1);
    g_free(clients);
    munmap(shared, sizeof(Shared));
}

static void ask_deadly(Client *client)
{
    VfmVfuRegionAccess access = {.offset = DEADLY, .count = 3};

    begin_message(client, VFM_VFU_REGION_WRITE, 0, &access, sizeof(access), "die", 3)->status = EIO;
}

/* Who crashes workers loses its device, and nobody else does. */
static void test_a_deadly_message(void **state)
{
    Shared *shared = make_shared();
    Client *clients = g_new0(Client, CLIENTS);
    int sockets[CLIENTS];
    pid_t supervisor = start(shared, sockets);

    for (unsigned i = 0; i < CLIENTS; i++) {
        client_init(&clients[i], &shared->cores[i], sockets[i], i);
        ask(&clients[i]);
    }
    while (!quiet(clients))
        turn(clients, false);
    ask_deadly(&clients[0]);
    ask(&clients[1]);
    while (!quiet(clients))
        turn(clients, false);
    assert_int_equal(shared->restarts, VFM_VFU_CRASHES);
    assert_int_equal(shared->cores[0].gones, 1);
    assert_int_equal(shared->cores[1].gones, 0);
    /* What the guest's other devices need succeeds, all else fails, nothing reaches the device. */
    ask_map(&clients[0]);
    while (!quiet(clients))
        turn(clients, false);
    ask_deadly(&clients[0]);
    while (!quiet(clients))
        turn(clients, false);
    assert_int_equal(shared->cores[0].last, 0);
    /* A death later changes nothing about that. */
    kill_worker(supervisor);
    ask_deadly(&clients[0]);
    for (unsigned i = 0; i < 200; i++) {
        if (clients[1].sent == clients[1].out->len)
            ask(&clients[1]);
        turn(clients, false);
    }
    while (!quiet(clients))
        turn(clients, false);
    assert_int_equal(shared->cores[0].gones, 1);
    assert_int_equal(shared->cores[1].wrong, 0);
    assert_true(shared->cores[1].last > 0);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_clear(&clients[i]);
    await_end(supervisor, true);
    g_free(clients);
    munmap(shared, sizeof(Shared));
}

/* The end of a connection, with workers dying over it. */
static void test_the_end(void **state)
{
    for (unsigned round = 0; round < 20; round++) {
        Shared *shared = make_shared();
        Client *clients = g_new0(Client, CLIENTS);
        int sockets[CLIENTS];
        pid_t supervisor = start(shared, sockets);

        for (unsigned i = 0; i < CLIENTS; i++) {
            client_init(&clients[i], &shared->cores[i], sockets[i], round + i);
            ask(&clients[i]);
        }
        while (!quiet(clients))
            turn(clients, false);
        shared->one_in = 5;
        for (unsigned i = 0; i < CLIENTS; i++)
            client_clear(&clients[i]);
        await_end(supervisor, true);
        for (unsigned i = 0; i < CLIENTS; i++)
            assert_true(shared->cores[i].gones >= 1);
        g_free(clients);
        munmap(shared, sizeof(Shared));
    }
}

/* Workers that get nothing done are not made for ever. */
static void test_giving_up(void **state)
{
    Shared *shared = make_shared();
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        World world = {.shared = shared, .journals = {vfm_vfu_journal_new(NULL), vfm_vfu_journal_new(NULL)}};
        VfmDevicesSupervision supervision = {.journals = world.journals,
                                             .n_journals = CLIENTS,
                                             .progress = &shared->progress,
                                             .restarts = &shared->restarts,
                                             .pidfd = -1,
                                             .work = crash,
                                             .give_up = give_up,
                                             .data = &world};

        for (int i = 1; i < SIGRTMIN; i++)
            signal(i, SIG_DFL);
        freopen("/dev/null", "w", stderr);
        _exit(vfm_devices_supervise(&supervision) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 1);
    assert_int_equal(shared->restarts, VFM_DEVICES_CRASHES_IN_A_ROW - 1);
    assert_int_equal(shared->given_up, 1);
    munmap(shared, sizeof(Shared));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_is_lost_doubled_or_reordered),
        cmocka_unit_test(test_a_deadly_message),
        cmocka_unit_test(test_the_end),
        cmocka_unit_test(test_giving_up),
    };

    return cmocka_run_group_tests_name("vfu-takeover", tests, NULL, NULL);
}
