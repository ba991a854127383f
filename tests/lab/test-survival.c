/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that maps guest memory for a device is killed; the kernel keeps what it had, and
 * another process that shares its table of descriptors goes on with it.
 *
 * We are the supervisor, the successor and the guest's CPU in one; the predecessor is a child.
 */
#include "backend_adopt.h"
#include "edu.h"
#include "kernel_view.h"
#include "pci_device.h"
#include "place.h"
#include "vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define HIGH (4096 * MIB)
#define BLOCK (2 * MIB)
#define RAM (16 * MIB)
#define VMEM (64 * MIB)
#define COPY EDU_BUFFER_SIZE

/* Shared: what device_server keeps. */
typedef struct {
    VfmBackendHold backend;
    VfmDeviceHold holds[2];
    unsigned devices;
    VfmPciDeviceState state;
    int64_t countdown; /* steps of the ledger until death; 0: never */
    uint64_t message;
} Note;

typedef struct {
    Note *note;
    VfmDmaLedger *ledger;
    int ram, vmem;
    uint8_t *ram_cpu, *vmem_cpu;
    int first_free;
    int ready[2]; /* pipe: the predecessor has come to its end */
    /* A process's own picture. */
    VfmContainer *container;
    VfmGuestDma *dma;
} Scene;

static int memory_new(const char *name, uint64_t size, uint8_t **cpu)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    *cpu = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(*cpu, MAP_FAILED);
    return fd;
}

static int setup(void **state)
{
    Scene *scene = g_new0(Scene, 1);

    scene->note = mmap(NULL, sizeof(Note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(scene->note, MAP_FAILED);
    scene->ledger = vfm_dma_ledger_new(NULL, NULL);
    scene->ram = memory_new("ram", RAM, &scene->ram_cpu);
    scene->vmem = memory_new("vmem", VMEM, &scene->vmem_cpu);
    assert_int_equal(pipe2(scene->ready, O_CLOEXEC), 0);
    scene->first_free = dup(0);
    close(scene->first_free);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    Scene *scene = *state;

    assert_true(vfm_dma_ledger_is_empty(scene->ledger));
    for (int fd = scene->first_free; fd < scene->first_free + 64; fd++)
        assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(place_held(), 0);
    vfm_dma_ledger_free(scene->ledger);
    munmap(scene->note, sizeof(Note));
    munmap(scene->ram_cpu, RAM);
    munmap(scene->vmem_cpu, VMEM);
    close(scene->ram);
    close(scene->vmem);
    close(scene->ready[0]);
    close(scene->ready[1]);
    g_free(scene);
    return 0;
}

/* --- in whichever process */

static void attach(Scene *scene, const char *name)
{
    Note *note = scene->note;
    VfmContainerDevice device = {.name = name, .fd = place_open(name)};
    g_autoptr(GError) error = NULL;

    if (!vfm_container_attach(scene->container, &device, NULL, &error))
        g_error("%s", error->message);
    place_close_groups();
    vfm_container_backend(scene->container)->ops->hold(vfm_container_backend(scene->container), &note->backend);
    g_assert(vfm_container_hold(scene->container, name, &note->holds[note->devices]));
    note->devices++;
}

static void begin(Scene *scene, const char *device)
{
    scene->container = vfm_container_new("container 0", place_backend(), VFM_NONE);
    attach(scene, device);
    scene->dma = vfm_guest_dma_resume(scene->container, NULL, scene->ledger, NULL);
    g_assert(scene->dma);
}

static void adopt(Scene *scene, const char *first, const char *second)
{
    const char *const names[] = {first, second};
    g_autoptr(GError) error = NULL;
    VfmBackend *backend = vfm_backend_adopt(&scene->note->backend, &error);

    if (!backend)
        g_error("%s", error->message);
    scene->container = vfm_container_new("container 0", backend, VFM_NONE);
    for (unsigned i = 0; i < scene->note->devices; i++) {
        VfmContainerDevice device = {.name = names[i], .fd = -1};

        if (!vfm_container_adopt(scene->container, &device, &scene->note->holds[i], &error))
            g_error("%s", error->message);
    }
    scene->dma = vfm_guest_dma_resume(scene->container, NULL, scene->ledger, &error);
    if (!scene->dma || !vfm_container_verify(scene->container, &error))
        g_error("%s", error->message);
}

static void end(Scene *scene)
{
    vfm_guest_dma_free(scene->dma);
    vfm_container_free(scene->container);
    scene->dma = NULL;
    scene->container = NULL;
}

static bool map_at(Scene *scene, VfmGuestDmaClient *client, uint64_t address, uint64_t size, GError **error)
{
    bool high = address >= HIGH;
    VfmVfuDmaMap map = {.flags = 3, .offset = high ? address - HIGH : address, .address = address, .size = size};

    vfm_guest_dma_message(client, ++scene->note->message);
    return vfm_guest_dma_map(client, &map, high ? scene->vmem : scene->ram, error);
}

static void must_map(Scene *scene, VfmGuestDmaClient *client, uint64_t address, uint64_t size)
{
    g_autoptr(GError) error = NULL;

    if (!map_at(scene, client, address, size, &error))
        g_error("%s", error->message);
}

static uint64_t unmap(Scene *scene, VfmGuestDmaClient *client, uint64_t address, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    uint64_t unmapped = 0;

    vfm_guest_dma_message(client, ++scene->note->message);
    if (!vfm_guest_dma_unmap(client, address, size, &unmapped, &error))
        g_error("%s", error->message);
    return unmapped;
}

static uint64_t pinned(const Scene *scene)
{
    VfmContainerUsage usage;

    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.anomalies, 0);
    return usage.pinned;
}

/* --- predecessors */

typedef void (*Predecessor)(Scene *scene);

static pid_t start(Scene *scene, Predecessor predecessor)
{
    pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);

    if (pid == 0) {
        predecessor(scene);
        _exit(0);
    }
    assert_true(pid > 0);
    return pid;
}

static int wait_for(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

/* It has done its part and waits for its death. */
static void linger(Scene *scene)
{
    g_assert(write(scene->ready[1], "r", 1) == 1);
    for (;;)
        pause();
}

static void wait_until_ready(Scene *scene)
{
    struct pollfd slot = {.fd = scene->ready[0], .events = POLLIN};
    char byte;

    /* So that a predecessor that failed is a failure and not a time-out. */
    assert_int_equal(poll(&slot, 1, 30000), 1);
    assert_int_equal(read(scene->ready[0], &byte, 1), 1);
}

static void kill_it(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_true(WIFSIGNALED(wait_for(pid)));
}

static void assert_reached(Scene *scene, Edu *edu, uint64_t block, int pattern)
{
    uint8_t *cpu = scene->vmem_cpu + block * BLOCK;

    memset(scene->ram_cpu, pattern, COPY);
    memset(cpu, 0, COPY);
    edu_copy(edu, 0, HIGH + block * BLOCK, COPY);
    assert_memory_equal(cpu, scene->ram_cpu, COPY);
}

static void assert_faults(Scene *scene, Edu *edu, uint64_t block, int pattern)
{
    uint64_t before = kernel_faults();

    memset(scene->ram_cpu, pattern, COPY);
    edu_copy(edu, 0, HIGH + block * BLOCK, COPY);
    assert_true(kernel_fault_since(before));
    assert_int_not_equal(scene->vmem_cpu[block * BLOCK], pattern);
}

/* Whether the device reaches memory that is mapped. */
static void assert_master(Scene *scene, Edu *edu, bool master, int pattern)
{
    memset(scene->vmem_cpu, 0, COPY);
    memset(scene->ram_cpu, pattern, COPY);
    edu_copy(edu, 0, HIGH, COPY);
    assert_int_equal(scene->vmem_cpu[0], master ? pattern : 0);
}

/* --- DMA goes on */

static void map_and_die(Scene *scene)
{
    VfmGuestDmaClient *client;

    begin(scene, place_device(0, false));
    client = vfm_guest_dma_join(scene->dma, "one");
    must_map(scene, client, 0, RAM);
    for (unsigned block = 0; block < 4; block++)
        must_map(scene, client, HIGH + block * BLOCK, BLOCK);
    linger(scene);
}

static void dma_goes_on(void **state)
{
    Scene *scene = *state;
    const char *one = place_device(0, false), *two = place_device(1, false);
    pid_t pid = start(scene, map_and_die);
    VfmGuestDmaClient *client;
    Edu edu, second;

    wait_until_ready(scene);
    edu_open(&edu, scene->note->holds[0].device_fd);
    assert_reached(scene, &edu, 0, 0x11);
    memset(scene->ram_cpu, 0x12, COPY);
    memset(scene->vmem_cpu + BLOCK, 0, COPY);
    edu_read_memory(&edu, 0, COPY);
    edu_start_writing(&edu, HIGH + BLOCK, COPY);
    kill_it(pid); /* while the device writes */
    edu_wait(&edu);
    assert_int_equal(scene->vmem_cpu[BLOCK], 0x12);
    assert_int_equal(scene->vmem_cpu[BLOCK + COPY - 1], 0x12);
    /* Nobody maps, and the device reaches everything. */
    assert_reached(scene, &edu, 3, 0x13);

    adopt(scene, one, NULL);
    assert_int_equal(pinned(scene), RAM + 4 * BLOCK);
    print_message("the successor holds %" G_GUINT64_FORMAT " KiB by the kernel's count\n", place_held() / KIB);
    /* type1 moves the charge to us. */
    if (!place_is_iommufd())
        assert_int_equal(place_held(), RAM + 4 * BLOCK);
    client = vfm_guest_dma_rejoin(scene->dma, "one");
    assert_non_null(client);
    vfm_guest_dma_disown(scene->dma);
    assert_reached(scene, &edu, 2, 0x14);
    /* What the dead one mapped goes, and what is new is there. */
    assert_int_equal(unmap(scene, client, HIGH + 3 * BLOCK, 4 * BLOCK), BLOCK);
    assert_faults(scene, &edu, 3, 0x15);
    must_map(scene, client, HIGH + 8 * BLOCK, BLOCK);
    assert_reached(scene, &edu, 8, 0x16);
    assert_int_equal(pinned(scene), RAM + 4 * BLOCK);
    /* A further device finds it all: its domain is filled from pages that a dead process pinned. */
    attach(scene, two);
    edu_open(&second, scene->note->holds[1].device_fd);
    assert_reached(scene, &second, 0, 0x17);
    assert_reached(scene, &second, 8, 0x18);
    assert_faults(scene, &second, 3, 0x19);
    assert_true(vfm_container_verify(scene->container, NULL));
    edu_close(&edu);
    assert_true(vfm_container_detach(scene->container, one, NULL));
    assert_reached(scene, &second, 1, 0x1a);
    assert_int_equal(unmap(scene, client, 0, UINT64_MAX), RAM + 4 * BLOCK);
    vfm_guest_dma_leave(client);
    assert_int_equal(pinned(scene), 0);
    assert_true(vfm_container_verify(scene->container, NULL));
    edu_close(&second);
    end(scene);
}

/* --- two devices of one group: one descriptor for both */

static void attach_both_and_die(Scene *scene)
{
    VfmGuestDmaClient *client;

    scene->container = vfm_container_new("container 0", place_backend(), VFM_NONE);
    /* Linux lets a group be opened once. */
    for (unsigned i = 0; i < 2; i++) {
        VfmContainerDevice device = {.name = place_device(i, true), .fd = place_open(place_device(i, true))};

        g_assert(vfm_container_attach(scene->container, &device, NULL, NULL));
    }
    place_close_groups();
    vfm_container_backend(scene->container)->ops->hold(vfm_container_backend(scene->container), &scene->note->backend);
    for (unsigned i = 0; i < 2; i++)
        g_assert(vfm_container_hold(scene->container, place_device(i, true), &scene->note->holds[i]));
    scene->note->devices = 2;
    scene->dma = vfm_guest_dma_resume(scene->container, NULL, scene->ledger, NULL);
    client = vfm_guest_dma_join(scene->dma, "one");
    must_map(scene, client, 0, RAM);
    must_map(scene, client, HIGH, BLOCK);
    linger(scene);
}

static void devices_of_one_group(void **state)
{
    Scene *scene = *state;
    const char *one = place_device(0, true), *two = place_device(1, true);
    pid_t pid = start(scene, attach_both_and_die);
    Edu edu;

    wait_until_ready(scene);
    kill_it(pid);
    adopt(scene, one, two);
    assert_true(vfm_container_detach(scene->container, one, NULL));
    edu_open(&edu, scene->note->holds[1].device_fd);
    assert_reached(scene, &edu, 0, 0x21);
    /* As if the successor could not go on: the device reaches nothing, although memory is mapped. */
    vfm_vfio_silence(scene->note->holds[1].device_fd);
    assert_master(scene, &edu, false, 0x22);
    edu_close(&edu);
    vfm_guest_dma_disown(scene->dma); /* its client never comes again */
    assert_int_equal(pinned(scene), 0);
    end(scene);
}

/* --- deaths at many places, with the kernel's own count behind each */

static void die_in_time(gpointer data)
{
    Note *note = data;

    if (note->countdown && --note->countdown == 0)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

static void restless(Scene *scene)
{
    VfmGuestDmaClient *client;

    if (scene->note->devices)
        adopt(scene, place_device(0, false), NULL);
    else
        begin(scene, place_device(0, false));
    client = vfm_guest_dma_rejoin(scene->dma, "one");
    vfm_guest_dma_disown(scene->dma);
    if (!client)
        client = vfm_guest_dma_join(scene->dma, "one");
    unmap(scene, client, 0, UINT64_MAX);
    for (;;) {
        must_map(scene, client, 0, RAM);
        for (unsigned block = 0; block < 6; block++)
            must_map(scene, client, HIGH + block * BLOCK, BLOCK);
        unmap(scene, client, HIGH + BLOCK, 3 * BLOCK);
        unmap(scene, client, 0, RAM);
        unmap(scene, client, 0, UINT64_MAX);
    }
}

static void look(Scene *scene)
{
    adopt(scene, place_device(0, false), NULL);
}

static void sweep(const Scene *scene)
{
    g_autoptr(GArray) owned = g_array_new(false, false, sizeof(int));

    vfm_dma_ledger_descriptors(scene->ledger, owned);
    g_array_append_val(owned, scene->note->backend.fd);
    for (unsigned i = 0; i < scene->note->devices; i++) {
        g_array_append_val(owned, scene->note->holds[i].fd);
        g_array_append_val(owned, scene->note->holds[i].device_fd);
    }
    for (int fd = scene->first_free; fd < scene->first_free + 64; fd++) {
        bool keep = false;

        for (unsigned i = 0; i < owned->len; i++)
            keep |= g_array_index(owned, int, i) == fd;
        if (!keep)
            close(fd);
    }
}

static void many_deaths(void **state)
{
    Scene *scene = *state;
    unsigned deaths = 0;

    for (uint64_t death = 1; death < 2000; death = death + 1 + death / 3) {
        scene->note->countdown = (int64_t)death + (scene->note->devices ? 0 : 1);
        vfm_dma_ledger_set_step(scene->ledger, die_in_time, scene->note);
        assert_true(WIFSIGNALED(wait_for(start(scene, restless))));
        vfm_dma_ledger_set_step(scene->ledger, NULL, NULL);
        sweep(scene);
        /* type1 is asked how much is left (vfm_container_verify): exactly what the ledger says is mapped. */
        assert_int_equal(wait_for(start(scene, look)), 0);
        deaths++;
    }
    print_message("%u deaths\n", deaths);
    adopt(scene, place_device(0, false), NULL);
    vfm_guest_dma_disown(scene->dma);
    assert_int_equal(pinned(scene), 0);
    assert_true(vfm_container_verify(scene->container, NULL));
    end(scene);
}

/* --- the limit of locked memory holds for all of it */

static void map_within_limit(Scene *scene)
{
    VfmGuestDmaClient *client;

    kernel_limit_locked(32 * MIB);
    begin(scene, place_device(0, false));
    client = vfm_guest_dma_join(scene->dma, "one");
    must_map(scene, client, 0, RAM);
    for (unsigned block = 0; block < 4; block++)
        must_map(scene, client, HIGH + block * BLOCK, BLOCK);
    linger(scene);
}

static void limit_of_locked_memory(void **state)
{
    Scene *scene = *state;
    pid_t pid = start(scene, map_within_limit);
    VfmGuestDmaClient *client;
    GError *error = NULL;

    wait_until_ready(scene);
    kill_it(pid);
    kernel_limit_locked(32 * MIB);
    adopt(scene, place_device(0, false), NULL);
    client = vfm_guest_dma_rejoin(scene->dma, "one");
    /* 24 MiB are locked, most of them not by us. */
    must_map(scene, client, HIGH + 4 * BLOCK, 2 * BLOCK);
    assert_false(map_at(scene, client, HIGH + 8 * BLOCK, 3 * BLOCK, &error));
    print_message("refused: %s\n", error->message);
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
    g_clear_error(&error);
    unmap(scene, client, HIGH, 2 * BLOCK);
    must_map(scene, client, HIGH + 8 * BLOCK, 3 * BLOCK);
    kernel_limit_locked(UINT64_MAX);
    vfm_guest_dma_leave(client);
    end(scene);
}

/* A successor with less: what the kernel would not charge to it stays as it is, and counts all the same. */
static void lower_limit(void **state)
{
    Scene *scene = *state;
    pid_t pid = start(scene, map_within_limit);
    VfmGuestDmaClient *client;
    GError *error = NULL;

    wait_until_ready(scene);
    kill_it(pid);
    kernel_limit_locked(20 * MIB);
    adopt(scene, place_device(0, false), NULL);
    client = vfm_guest_dma_rejoin(scene->dma, "one");
    assert_int_equal(pinned(scene), 24 * MIB);
    assert_in_range(kernel_locked(), 0, 20 * MIB);
    assert_false(map_at(scene, client, HIGH + 8 * BLOCK, BLOCK, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
    g_clear_error(&error);
    attach(scene, place_device(1, false));
    unmap(scene, client, HIGH, 4 * BLOCK);
    must_map(scene, client, HIGH + 8 * BLOCK, BLOCK);
    kernel_limit_locked(UINT64_MAX);
    vfm_guest_dma_leave(client);
    end(scene);
}

/* --- a device that is kept from DMA stays so */

static VfmPciDevice *device_of(Scene *scene, bool resume)
{
    g_autoptr(GError) error = NULL;
    VfmPciDevice *device = resume ? vfm_pci_device_resume(place_device(0, false), scene->note->holds[0].device_fd,
                                                          scene->dma, &scene->note->state, NULL, NULL, &error)
                                  : vfm_pci_device_new(place_device(0, false), scene->note->holds[0].device_fd,
                                                       scene->dma, &scene->note->state, NULL, NULL, &error);

    if (!device)
        g_error("%s", error->message);
    return device;
}

static uint16_t command_of(VfmPciDevice *device)
{
    VfmVfuDevice *vfu = vfm_pci_device_vfu(device);
    uint16_t command = 0;

    g_assert(vfu->ops->read(vfu, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &command, sizeof(command), NULL));
    return command;
}

static void be_held_and_die(Scene *scene)
{
    VfmVfuDmaMap out_of_reach = {.flags = 3, .address = 0xfee00000, .size = 4096};
    VfmVfuDmaMap ram = {.flags = 3, .size = MIB / 2}, block = {.flags = 3, .address = HIGH, .size = BLOCK};
    uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    VfmPciDevice *device;
    VfmVfuDevice *vfu;

    begin(scene, place_device(0, false));
    device = device_of(scene, false);
    vfu = vfm_pci_device_vfu(device);
    g_assert(vfu->ops->dma_map(vfu, 1, &ram, scene->ram, NULL));
    g_assert(vfu->ops->dma_map(vfu, 2, &block, scene->vmem, NULL));
    g_assert(vfu->ops->write(vfu, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, &command, sizeof(command), NULL));
    g_assert(!vfu->ops->dma_map(vfu, 3, &out_of_reach, scene->ram, NULL));
    g_assert(!vfm_pci_device_held(device));
    vfu->ops->idle(vfu); /* a guest with its BARs mapped and its interrupts on eventfds says nothing */
    g_assert(vfm_pci_device_held(device));
    g_assert(command_of(device) & PCI_COMMAND_MASTER); /* what the guest sees */
    linger(scene);
}

static void held_device_stays_held(void **state)
{
    Scene *scene = *state;
    pid_t pid = start(scene, be_held_and_die);
    uint64_t unmapped;
    VfmPciDevice *device;
    VfmVfuDevice *vfu;
    Edu edu;

    wait_until_ready(scene);
    kill_it(pid);
    adopt(scene, place_device(0, false), NULL);
    edu_open(&edu, scene->note->holds[0].device_fd); /* allows bus mastering, as if it had not been taken yet */
    assert_master(scene, &edu, true, 0x31);
    device = device_of(scene, true);
    vfm_guest_dma_disown(scene->dma);
    vfu = vfm_pci_device_vfu(device);
    assert_true(vfm_pci_device_held(device));
    assert_master(scene, &edu, false, 0x32);
    assert_true(command_of(device) & PCI_COMMAND_MASTER);
    /* The range is the guest's no more. */
    assert_true(vfu->ops->dma_unmap(vfu, 4, 0xfee00000, 4096, &unmapped, NULL));
    assert_false(vfm_pci_device_held(device));
    assert_master(scene, &edu, true, 0x33);
    assert_int_equal(pinned(scene), MIB / 2 + BLOCK);
    vfu->ops->gone(vfu, NULL);
    assert_int_equal(pinned(scene), 0);
    edu_close(&edu);
    vfm_pci_device_free(device);
    end(scene);
}

/* What QEMU does after a map that failed, and whether the device is kept from DMA then. */

static const VfmVfuDmaMap out_of_reach = {.flags = 3, .address = 0xfee01000, .size = 4096};

static void fail_a_map(Scene *scene, VfmVfuDevice *vfu)
{
    assert_false(vfu->ops->dma_map(vfu, ++scene->note->message, &out_of_reach, scene->ram, NULL));
}

static uint64_t take_away(Scene *scene, VfmVfuDevice *vfu, uint64_t address, uint64_t size)
{
    uint64_t unmapped = 0;

    assert_true(vfu->ops->dma_unmap(vfu, ++scene->note->message, address, size, &unmapped, NULL));
    return unmapped;
}

/* virtio-mem takes the whole request back, and the guest asks again later. */
static void undone(Scene *scene, VfmVfuDevice *vfu)
{
    take_away(scene, vfu, 0xfee00000, MIB);
}

/* The request comes a second time, with another worker. */
static void repeated(Scene *scene, VfmVfuDevice *vfu)
{
    assert_false(vfu->ops->dma_map(vfu, scene->note->message, &out_of_reach, scene->ram, NULL));
}

static void gone_on_to_map(Scene *scene, VfmVfuDevice *vfu)
{
    const VfmVfuDmaMap block = {.flags = 3, .offset = BLOCK, .address = HIGH + BLOCK, .size = BLOCK};

    assert_true(vfu->ops->dma_map(vfu, ++scene->note->message, &block, scene->vmem, NULL));
}

static void gone_on_to_unmap(Scene *scene, VfmVfuDevice *vfu)
{
    assert_int_equal(take_away(scene, vfu, HIGH + BLOCK, BLOCK), BLOCK);
}

static void gone_on_to_use(Scene *scene, VfmVfuDevice *vfu)
{
    uint16_t vendor;

    assert_true(vfu->ops->read(vfu, VFIO_PCI_CONFIG_REGION_INDEX, PCI_VENDOR_ID, &vendor, sizeof(vendor), NULL));
}

static void quiet(Scene *scene, VfmVfuDevice *vfu)
{
    vfu->ops->idle(vfu);
}

static void held_when_qemu_goes_on(void **state)
{
    static const struct {
        void (*next)(Scene *scene, VfmVfuDevice *vfu);
        bool held;
    } cases[] = {{undone, false},          {repeated, false},      {gone_on_to_map, true},
                 {gone_on_to_unmap, true}, {gone_on_to_use, true}, {quiet, true}};
    Scene *scene = *state;
    const VfmVfuDmaMap ram = {.flags = 3, .size = MIB / 2}, block = {.flags = 3, .address = HIGH, .size = BLOCK};
    VfmPciDevice *device;
    VfmVfuDevice *vfu;
    Edu edu;

    begin(scene, place_device(0, false));
    device = device_of(scene, false);
    vfu = vfm_pci_device_vfu(device);
    edu_open(&edu, scene->note->holds[0].device_fd);
    scene->note->state.guest_bus_master = true; /* as edu_open() made it */
    assert_true(vfu->ops->dma_map(vfu, ++scene->note->message, &ram, scene->ram, NULL));
    assert_true(vfu->ops->dma_map(vfu, ++scene->note->message, &block, scene->vmem, NULL));
    for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
        fail_a_map(scene, vfu);
        assert_false(vfm_pci_device_held(device));
        cases[i].next(scene, vfu);
        assert_int_equal(vfm_pci_device_held(device), cases[i].held);
        assert_master(scene, &edu, !cases[i].held, 0x41 + (int)i);
        undone(scene, vfu);
        assert_false(vfm_pci_device_held(device));
        vfu->ops->idle(vfu);
        assert_false(vfm_pci_device_held(device));
        assert_master(scene, &edu, true, 0x51 + (int)i);
    }
    vfu->ops->gone(vfu, NULL);
    edu_close(&edu);
    vfm_pci_device_free(device);
    end(scene);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dma_goes_on),
        TEST(devices_of_one_group),
        TEST(many_deaths),
        TEST(limit_of_locked_memory),
        TEST(lower_limit),
        TEST(held_device_stays_held),
        TEST(held_when_qemu_goes_on),
    };

    return cmocka_run_group_tests_name(place_is_iommufd() ? "survival on iommufd" : "survival on type1", tests, NULL,
                                       NULL);
}
