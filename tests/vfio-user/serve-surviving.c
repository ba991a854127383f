/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * serve-surviving SOCKET - a vfio-user server for QEMU to talk to, whose worker may be killed, without VFIO.
 *
 * The device is one in memory (fake_vfu_device.h), the kernel a table (shared_kernel.h); supervisor, connection, and
 * what is mapped are the real ones. One client at a time. "connected" is told once, then, whenever the client falls
 * silent and when it goes, a line: idle|gone restarts=N pieces=N bytes=N lingering=N pinned=N
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "descriptors.h"
#include "devices_supervisor.h"
#include "fake_vfu_device.h"
#include "guest_dma.h"
#include "shared_kernel.h"

/* In memory that survives. */
typedef struct {
    FakeVfuDevice fake; /* first; of it only what is no pointer counts */
    volatile uint32_t restarts, attached;
    volatile uint64_t progress;
} Shared;

typedef struct {
    Shared *shared;
    SharedKernel *kernel;
    VfmDmaLedger *ledger;
    VfmVfuJournal *journal;
    GArray *start;
    int listening;
    VfmVfuDeviceOps ops;
} World;

/* The device's operations have no place for our own data; there is one device. */
static VfmGuestDma *dma;
static VfmGuestDmaClient *client;

static void report(VfmVfuDevice *vfu, const char *what)
{
    const Shared *shared = (const Shared *)(const void *)vfu;
    VfmGuestDmaUsage usage;

    vfm_guest_dma_usage(dma, &usage);
    printf("%s restarts=%u pieces=%" PRIu64 " bytes=%" PRIu64 " lingering=%" PRIu64 " pinned=%" PRIu64 "\n", what,
           shared->restarts, usage.pieces, usage.bytes, usage.lingering, usage.pinned_total);
    fflush(stdout);
}

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    vfm_guest_dma_message(client, message);
    return vfm_guest_dma_map(client, map, fd, error);
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    vfm_guest_dma_message(client, message);
    return vfm_guest_dma_unmap(client, address, size, unmapped, error);
}

static void idle(VfmVfuDevice *vfu)
{
    vfm_guest_dma_settle(dma);
    report(vfu, "idle");
}

static void gone(VfmVfuDevice *vfu, const GError *why)
{
    if (why)
        printf("broken: %s\n", why->message);
    vfm_guest_dma_leave(client);
    client = NULL;
    report(vfu, "gone");
}

static void no_step(gpointer data)
{
}

static void take_over(World *world)
{
    g_autoptr(GArray) owned = g_array_new(false, false, sizeof(int));
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    VfmContainer *container;
    GError *error = NULL;

    vfm_vfu_journal_recover(world->journal);
    g_array_append_vals(owned, world->start->data, world->start->len);
    vfm_vfu_journal_descriptors(world->journal, owned);
    vfm_dma_ledger_descriptors(world->ledger, owned);
    vfm_descriptors_close_others(owned);
    container = vfm_container_new("container 0", shared_kernel_backend(world->kernel, no_step, NULL), VFM_NONE);
    if (!world->shared->attached ? !vfm_container_attach(container, &device, NULL, &error)
                                 : !vfm_container_adopt(container, &device, &(VfmDeviceHold){-1, -1}, &error))
        g_error("%s", error->message);
    world->shared->attached = 1;
    dma = vfm_guest_dma_resume(container, NULL, world->ledger, &error);
    if (!dma)
        g_error("%s", error->message);
    client = vfm_guest_dma_rejoin(dma, "client");
    vfm_guest_dma_disown(dma);
    if (!client)
        client = vfm_guest_dma_join(dma, "client");
}

static int work(gpointer data)
{
    static const VfmVfuOffer offer = {.max_dma_maps = 4000, .page_sizes = 4096};
    World *world = data;
    g_autoptr(VfmVfuSession) session = NULL;

    take_over(world);
    if (vfm_vfu_journal_state(world->journal)->phase != VFM_VFU_UNUSED) {
        session = vfm_vfu_session_resume(world->journal, &world->shared->fake.vfu);
    } else {
        int connection = accept4(world->listening, NULL, NULL, SOCK_CLOEXEC);

        if (connection < 0)
            return 1;
        session = vfm_vfu_session_new(world->journal, connection, &world->shared->fake.vfu, &offer);
        puts("connected");
        fflush(stdout);
    }
    vfm_vfu_session_wait(session);
    return 0;
}

static void give_up(gpointer data)
{
    puts("given up");
    fflush(stdout);
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0)
        return -1;
    return fd;
}

static void make_device(World *world)
{
    static const uint8_t header[] = {0x34, 0x12, 0xe8, 0x11, 0, 0, 0, 0, 0x10, 0, 0xff, 0};
    FakeVfuDevice *model = fake_vfu_device_new();

    world->ops = *model->vfu.ops;
    world->ops.dma_map = dma_map;
    world->ops.dma_unmap = dma_unmap;
    world->ops.idle = idle;
    world->ops.gone = gone;
    world->shared->fake = (FakeVfuDevice){.vfu.ops = &world->ops, .bar_fd = -1, .fail_map_at = -1};
    memcpy(world->shared->fake.config, header, sizeof(header));
    fake_vfu_device_free(model);
}

int main(int argc, char **argv)
{
    World world = {.listening = argc == 2 ? listen_at(argv[1]) : -1, .start = g_array_new(false, false, sizeof(int))};
    VfmDevicesSupervision supervision = {
        .journals = &world.journal, .n_journals = 1, .pidfd = -1, .work = work, .give_up = give_up, .data = &world};

    if (world.listening < 0) {
        fprintf(stderr, "serve-surviving: can't listen at %s: %s\n", argc == 2 ? argv[1] : "(no socket named)",
                strerror(errno));
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    vfm_descriptors_open(world.start);
    world.shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    world.kernel = shared_kernel_new();
    world.ledger = vfm_dma_ledger_new(NULL, NULL);
    world.journal = vfm_vfu_journal_new(NULL);
    if (world.shared == MAP_FAILED || !world.ledger || !world.journal)
        return 1;
    make_device(&world);
    supervision.progress = &world.shared->progress;
    supervision.restarts = &world.shared->restarts;
    puts("listening");
    fflush(stdout);
    return vfm_devices_supervise(&supervision) ? 0 : 1;
}
