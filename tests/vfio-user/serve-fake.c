/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * serve-fake SOCKET [--unfit] [--budget N] [--memlock BYTES] [--fail-map N] - a vfio-user server for QEMU to talk to,
 * without VFIO.
 *
 * The device is one in memory (fake_vfu_device.h), the mapping a record, everything between is the real server. Each
 * connection is served until it ends; all share one set of mappings. It is in the sandbox of vfiomem-helper-devices.
 * --unfit: the device has more regions than QEMU takes. --budget: so many mappings can be had. --memlock: so much can be
 * locked. --fail-map: after so many maps of a connection one fails for want of locked memory.
 * Whenever a client falls silent, and when it goes, a line tells what is mapped:
 * idle|gone clients=N pieces=N bytes=N lingering=N skipped=N pinned=N
 * and for each map that fails one tells why: refused: REASON
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend_record.h"
#include "devices_sandbox.h"
#include "fake_vfu_device.h"
#include "guest_dma.h"

typedef struct {
    FakeVfuDevice *fake;
    VfmGuestDma *dma;
    VfmVfuDeviceOps ops;
    VfmGuestDmaClient *client;
} Served;

/* The device's operations have no place for our own data; one device a process is served at a time per thread. */
static GHashTable *served_by_device;
static GMutex served_lock;

static Served *served(VfmVfuDevice *vfu)
{
    Served *found;

    g_mutex_lock(&served_lock);
    found = g_hash_table_lookup(served_by_device, vfu);
    g_mutex_unlock(&served_lock);
    return found;
}

static void report(const char *what, VfmGuestDma *dma)
{
    VfmGuestDmaUsage usage;

    vfm_guest_dma_usage(dma, &usage);
    printf("%s clients=%" PRIu64 " pieces=%" PRIu64 " bytes=%" PRIu64 " lingering=%" PRIu64 " skipped=%" PRIu64
           " pinned=%" PRIu64 "\n",
           what, usage.clients, usage.pieces, usage.bytes, usage.lingering, usage.skipped, usage.pinned_total);
    fflush(stdout);
}

/* What pinning does to memory: it exists from then on. */
static void populate(const VfmVfuDmaMap *map, int fd)
{
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, map->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, map->offset);

    if (at == MAP_FAILED)
        return;
    madvise(at, map->size, MADV_POPULATE_WRITE);
    munmap(at, map->size);
}

static bool dma_map(VfmVfuDevice *vfu, uint64_t message, const VfmVfuDmaMap *map, int fd, GError **error)
{
    g_autoptr(GError) why = NULL;
    Served *device = served(vfu);

    if (device->fake->fail_map_at >= 0 && device->fake->fail_map_at-- == 0) {
        why = g_error_new(VFM_REFUSED, VFM_REFUSED_MEMLOCK, "told to fail");
    } else {
        populate(map, fd);
        vfm_guest_dma_map(device->client, map, fd, &why);
    }
    if (!why)
        return true;
    printf("refused: %s\n", why->message);
    fflush(stdout);
    g_propagate_error(error, g_steal_pointer(&why));
    return false;
}

static bool dma_unmap(VfmVfuDevice *vfu, uint64_t message, uint64_t address, uint64_t size, uint64_t *unmapped,
                      GError **error)
{
    return vfm_guest_dma_unmap(served(vfu)->client, address, size, unmapped, error);
}

static void idle(VfmVfuDevice *vfu)
{
    vfm_guest_dma_settle(served(vfu)->dma);
    report("idle", served(vfu)->dma);
}

static void gone(VfmVfuDevice *vfu, const GError *why)
{
    Served *device = served(vfu);

    if (why)
        printf("broken: %s\n", why->message);
    vfm_guest_dma_leave(device->client);
    report("gone", device->dma);
}

/* A PCI function without capabilities, one 4 KiB memory BAR. */
static void make_config(uint8_t *config)
{
    static const uint8_t header[] = {0x34, 0x12, 0xe8, 0x11, 0, 0, 0, 0, 0x10, 0, 0xff, 0};

    memcpy(config, header, sizeof(header));
}

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || strlen(path) >= sizeof(address.sun_path))
        return -1;
    strcpy(address.sun_path, path);
    unlink(path);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 16) < 0)
        return -1;
    return fd;
}

int main(int argc, char **argv)
{
    VfmRecordOptions options = {0};
    VfmContainerDevice attached = {.name = "0000:01:00.0", .fd = -1};
    bool unfit = false;
    uint64_t budget = 65535;
    int fail_map = -1, listening;
    VfmContainer *container;
    VfmGuestDma *dma;

    for (int i = 2; i < argc; i++) {
        if (!strcmp(argv[i], "--unfit"))
            unfit = true;
        else if (!strcmp(argv[i], "--budget") && i + 1 < argc)
            budget = g_ascii_strtoull(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--memlock") && i + 1 < argc)
            options.memlock = VFM_SOME(g_ascii_strtoull(argv[++i], NULL, 10));
        else if (!strcmp(argv[i], "--fail-map") && i + 1 < argc)
            fail_map = atoi(argv[++i]);
        else
            return 2;
    }
    if (argc < 2 || (listening = listen_at(argv[1])) < 0) {
        fprintf(stderr, "serve-fake: can't listen at %s: %s\n", argc < 2 ? "(no socket named)" : argv[1],
                strerror(errno));
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    options.max_mappings = VFM_SOME(budget);
    container = vfm_container_new("container 0", vfm_backend_record_new(&options), VFM_NONE);
    dma = vfm_guest_dma_new(container, NULL);
    if (!vfm_container_attach(container, &attached, NULL, NULL))
        return 1;
    served_by_device = g_hash_table_new(NULL, NULL);
    if (!vfm_devices_sandbox_enter(NULL, NULL))
        return 1;
    puts("listening");
    fflush(stdout);
    for (;;) {
        int connection = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
        VfmVfuOffer offer;
        Served *device;

        if (connection < 0)
            return 1;
        device = g_new0(Served, 1);
        device->fake = fake_vfu_device_new();
        device->fake->fail_map_at = fail_map;
        if (unfit)
            device->fake->more_regions = 100;
        make_config(device->fake->config);
        device->dma = dma;
        device->ops = *device->fake->vfu.ops;
        device->ops.dma_map = dma_map;
        device->ops.dma_unmap = dma_unmap;
        device->ops.idle = idle;
        device->ops.gone = gone;
        device->fake->vfu.ops = &device->ops;
        device->client = vfm_guest_dma_join(dma, "client");
        g_mutex_lock(&served_lock);
        g_hash_table_insert(served_by_device, &device->fake->vfu, device);
        g_mutex_unlock(&served_lock);
        offer = vfm_guest_dma_offer(dma);
        /* Sessions end with their clients; the process ends with the test. */
        vfm_vfu_session_new(vfm_vfu_journal_new(NULL), connection, &device->fake->vfu, &offer);
    }
}
