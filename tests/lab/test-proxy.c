/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A device of the kernel's VFIO behind the operations that vfio-user messages become: interrupts of each kind, reset,
 * option ROM, and the kernel's wish to have the device back.
 *
 * Devices: edu (INTx and MSI, raised by a register, no reset) and nvme (PCI Express, function-level reset, a ROM of 2
 * MiB that numbers its words).
 */
#include "pci_device.h"
#include "place.h"
#include "vfu_client.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { EDU = 0, NVME = 3 }; /* of LAB_DEVICES */
enum { EDU_FACTORIAL = 0x08, EDU_STATUS = 0x20, EDU_INTERRUPTS = 0x24, EDU_RAISE = 0x60, EDU_ACKNOWLEDGE = 0x64 };
#define ROM_SIZE (UINT64_C(2) << 20)

typedef struct {
    const char *address;
    VfmContainer *container;
    VfmGuestDma *dma;
    VfmPciDevice *device;
    VfmVfuDevice *vfu;
    int fd; /* the device's, borrowed */
    int event;
} Scene;

static Scene *scene_new(unsigned index)
{
    g_autoptr(GError) error = NULL;
    Scene *scene = g_new0(Scene, 1);
    VfmContainerDevice device;
    VfmDeviceHold hold;

    scene->address = place_device(index, false);
    scene->container = vfm_container_new("container 0", place_backend(), VFM_NONE);
    device = (VfmContainerDevice){.name = scene->address, .fd = place_open(scene->address)};
    if (!vfm_container_attach(scene->container, &device, NULL, &error))
        g_error("%s", error->message);
    place_close_groups();
    g_assert(vfm_container_hold(scene->container, scene->address, &hold));
    scene->fd = hold.device_fd;
    scene->dma = vfm_guest_dma_new(scene->container, NULL);
    scene->device = vfm_pci_device_new(scene->address, scene->fd, scene->dma, NULL, NULL, NULL, &error);
    if (!scene->device)
        g_error("%s", error->message);
    scene->vfu = vfm_pci_device_vfu(scene->device);
    scene->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return scene;
}

static void scene_free(Scene *scene)
{
    vfm_pci_device_free(scene->device);
    vfm_guest_dma_free(scene->dma);
    vfm_container_free(scene->container);
    close(scene->event);
    g_free(scene);
}

static int teardown(void **state)
{
    Scene *scene = *state;

    scene->vfu->ops->gone(scene->vfu, NULL);
    scene_free(scene);
    return 0;
}

static uint32_t read_word(Scene *scene, uint32_t region, uint64_t offset, uint32_t size)
{
    uint32_t value = 0;
    g_autoptr(GError) error = NULL;

    if (!scene->vfu->ops->read(scene->vfu, region, offset, &value, size, &error))
        fail_msg("%s", error->message);
    return value;
}

static void write_word(Scene *scene, uint32_t region, uint64_t offset, uint32_t value, uint32_t size)
{
    g_autoptr(GError) error = NULL;

    if (!scene->vfu->ops->write(scene->vfu, region, offset, &value, size, &error))
        fail_msg("%s", error->message);
}

static uint32_t edu_read(Scene *scene, uint64_t offset)
{
    return read_word(scene, VFIO_PCI_BAR0_REGION_INDEX, offset, 4);
}

static void edu_write(Scene *scene, uint64_t offset, uint32_t value)
{
    write_word(scene, VFIO_PCI_BAR0_REGION_INDEX, offset, value, 4);
}

static uint32_t command_of(Scene *scene)
{
    return read_word(scene, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, 2);
}

/* What the device really has. */
static uint32_t kernels_command(Scene *scene)
{
    struct vfio_region_info config = {.argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX};
    uint16_t command;

    assert_int_equal(ioctl(scene->fd, VFIO_DEVICE_GET_REGION_INFO, &config), 0);
    assert_int_equal(pread(scene->fd, &command, sizeof(command), (off_t)config.offset + PCI_COMMAND), sizeof(command));
    return command;
}

/* As a driver does first. */
static void enable(Scene *scene)
{
    write_word(scene, VFIO_PCI_CONFIG_REGION_INDEX, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
}

static int setup_edu(void **state)
{
    Scene *scene = *state = scene_new(EDU);

    enable(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, UINT32_MAX); /* it has no reset: what came before must not show */
    return 0;
}

static int setup_nvme(void **state)
{
    enable(*state = scene_new(NVME));
    return 0;
}

static void set_irqs(Scene *scene, uint32_t index, uint32_t flags, uint32_t count, const int *fds)
{
    const struct vfio_irq_set set = {.argsz = sizeof(set), .index = index, .flags = flags, .count = count};
    g_autoptr(GError) error = NULL;

    if (!scene->vfu->ops->set_irqs(scene->vfu, &set, NULL, fds, &error))
        fail_msg("%s", error->message);
}

static void trigger_by(Scene *scene, uint32_t index, int fd)
{
    set_irqs(scene, index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 1, &fd);
}

static void disable(Scene *scene, uint32_t index)
{
    set_irqs(scene, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, NULL);
}

/* How often @fd was signalled, waiting @milliseconds for the first time. */
static uint64_t signals_within(int fd, int milliseconds)
{
    struct pollfd slot = {.fd = fd, .events = POLLIN};
    eventfd_t count = 0;

    if (poll(&slot, 1, milliseconds) > 0)
        assert_int_equal(eventfd_read(fd, &count), 0);
    return count;
}

#define assert_arrives(scene) assert_int_equal(signals_within((scene)->event, 10000), 1)
/* The kernel takes an interrupt as soon as it is raised, before the write that raised it ends. */
#define assert_none(scene) assert_int_equal(signals_within((scene)->event, 50), 0)

/* --- what it says of itself is what the kernel says */

static void describes_itself(void **state)
{
    Scene *scene = *state;
    struct vfio_device_info kernel = {.argsz = sizeof(kernel)}, info;

    assert_int_equal(ioctl(scene->fd, VFIO_DEVICE_GET_INFO, &kernel), 0);
    scene->vfu->ops->info(scene->vfu, &info);
    assert_int_equal(info.flags, kernel.flags & (VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET));
    assert_int_equal(info.num_regions, kernel.num_regions);
    assert_int_equal(info.num_irqs, kernel.num_irqs);
    for (uint32_t i = 0; i < info.num_regions; i++) {
        struct vfio_region_info expected = {.argsz = sizeof(expected), .index = i};
        g_autoptr(GByteArray) got = g_byte_array_new();
        bool there = ioctl(scene->fd, VFIO_DEVICE_GET_REGION_INFO, &expected) == 0;
        int fd = -1;

        assert_int_equal(scene->vfu->ops->region_info(scene->vfu, i, got, &fd, NULL), there);
        if (!there)
            continue;
        assert_int_equal(got->len, MAX(expected.argsz, sizeof(expected)));
        assert_memory_equal((uint8_t *)got->data + 4, (uint8_t *)&expected + 4, 8); /* flags, index */
        assert_int_equal(((struct vfio_region_info *)(void *)got->data)->size, expected.size);
        assert_int_equal(fd, expected.flags & VFIO_REGION_INFO_FLAG_MMAP ? scene->fd : -1);
    }
    for (uint32_t i = 0; i < info.num_irqs; i++) {
        struct vfio_irq_info expected = {.argsz = sizeof(expected), .index = i}, got = {.index = i};
        bool there = ioctl(scene->fd, VFIO_DEVICE_GET_IRQ_INFO, &expected) == 0;

        assert_int_equal(scene->vfu->ops->irq_info(scene->vfu, &got, NULL), there);
        if (there)
            assert_memory_equal(&got, &expected, sizeof(got));
    }
}

/* --- edu's interrupts */

static void registers(void **state)
{
    Scene *scene = *state;

    assert_int_equal(edu_read(scene, 0) & 0xff, 0xed);
    edu_write(scene, EDU_FACTORIAL, 5);
    while (edu_read(scene, EDU_STATUS) & 1)
        ;
    assert_int_equal(edu_read(scene, EDU_FACTORIAL), 120);
}

static void intx_is_masked_until_unmasked(void **state)
{
    const uint32_t unmask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
    const uint32_t mask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK;
    struct vfio_irq_info info = {.index = VFIO_PCI_INTX_IRQ_INDEX};
    Scene *scene = *state;

    assert_true(scene->vfu->ops->irq_info(scene->vfu, &info, NULL));
    assert_int_equal(info.count, 1);
    assert_true(info.flags & VFIO_IRQ_INFO_AUTOMASKED);
    trigger_by(scene, VFIO_PCI_INTX_IRQ_INDEX, scene->event);
    edu_write(scene, EDU_RAISE, 1);
    assert_arrives(scene);
    /* Still raised, and masked: nothing, until it is unmasked. */
    assert_none(scene);
    assert_true(read_word(scene, VFIO_PCI_CONFIG_REGION_INDEX, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT);
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, unmask, 1, NULL);
    assert_arrives(scene);
    /* The guest's driver acknowledges, then its interrupt controller does. */
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    assert_int_equal(edu_read(scene, EDU_INTERRUPTS), 0);
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, unmask, 1, NULL);
    assert_none(scene);
    edu_write(scene, EDU_RAISE, 2);
    assert_arrives(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 2);
    /* Masked by hand. */
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, unmask, 1, NULL);
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, mask, 1, NULL);
    edu_write(scene, EDU_RAISE, 4);
    assert_none(scene);
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, unmask, 1, NULL);
    assert_arrives(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 4);
    disable(scene, VFIO_PCI_INTX_IRQ_INDEX);
}

/* As KVM does it: its own eventfd unmasks. */
static void intx_is_unmasked_by_an_eventfd(void **state)
{
    Scene *scene = *state;
    int again = eventfd(0, EFD_CLOEXEC);

    trigger_by(scene, VFIO_PCI_INTX_IRQ_INDEX, scene->event);
    set_irqs(scene, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 1, &again);
    edu_write(scene, EDU_RAISE, 1);
    assert_arrives(scene);
    assert_none(scene);
    assert_int_equal(eventfd_write(again, 1), 0);
    assert_arrives(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    disable(scene, VFIO_PCI_INTX_IRQ_INDEX);
    close(again);
}

static void msi(void **state)
{
    Scene *scene = *state;
    int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    trigger_by(scene, VFIO_PCI_INTX_IRQ_INDEX, other);
    disable(scene, VFIO_PCI_INTX_IRQ_INDEX);
    trigger_by(scene, VFIO_PCI_MSI_IRQ_INDEX, scene->event);
    for (unsigned i = 0; i < 3; i++) {
        edu_write(scene, EDU_RAISE, 1);
        assert_arrives(scene);
        edu_write(scene, EDU_ACKNOWLEDGE, 1);
    }
    /* To another descriptor, as when KVM takes over. */
    trigger_by(scene, VFIO_PCI_MSI_IRQ_INDEX, other);
    edu_write(scene, EDU_RAISE, 1);
    assert_int_equal(signals_within(other, 10000), 1);
    assert_none(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    disable(scene, VFIO_PCI_MSI_IRQ_INDEX);
    edu_write(scene, EDU_RAISE, 1);
    assert_int_equal(signals_within(other, 50), 0);
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    /* And back. */
    trigger_by(scene, VFIO_PCI_INTX_IRQ_INDEX, scene->event);
    edu_write(scene, EDU_RAISE, 1);
    assert_arrives(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    disable(scene, VFIO_PCI_INTX_IRQ_INDEX);
    close(other);
}

/* When QEMU is gone no interrupt goes to its descriptors, and the device does no DMA. */
static void silent_when_gone(void **state)
{
    Scene *scene = *state;

    trigger_by(scene, VFIO_PCI_INTX_IRQ_INDEX, scene->event);
    scene->vfu->ops->gone(scene->vfu, NULL);
    edu_write(scene, EDU_RAISE, 1);
    assert_none(scene);
    edu_write(scene, EDU_ACKNOWLEDGE, 1);
    assert_int_equal(kernels_command(scene) & (PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY), PCI_COMMAND_MEMORY);
    scene_free(scene);
    *state = scene_new(EDU);
}

static bool reset(Scene *scene)
{
    return scene->vfu->ops->reset(scene->vfu, NULL);
}

static void no_reset(void **state)
{
    Scene *scene = *state;

    assert_false(vfm_pci_device_can_reset(scene->device));
    assert_false(reset(scene));
    assert_true(command_of(scene) & PCI_COMMAND_MASTER);
}

/* --- the kernel wants it back */

static void tell_driver(const char *address, const char *action)
{
    g_autofree char *path = g_strdup_printf("/sys/bus/pci/drivers/vfio-pci/%s", action);
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    g_assert(fd >= 0);
    if (write(fd, address, strlen(address)) < 0)
        g_error("%s to %s: %s", address, path, g_strerror(errno));
    close(fd);
}

static void request(void **state)
{
    Scene *scene = *state;
    const char *address = scene->address;
    int status;
    pid_t pid;

    trigger_by(scene, VFIO_PCI_REQ_IRQ_INDEX, scene->event);
    assert_none(scene);
    pid = fork();
    if (pid == 0) {
        /* Nothing of the device may stay open here. */
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        tell_driver(address, "unbind"); /* waits until the device is free */
        _exit(0);
    }
    assert_true(pid > 0);
    assert_true(signals_within(scene->event, 30000) > 0);
    assert_int_equal(waitpid(pid, &status, WNOHANG), 0);
    scene->vfu->ops->gone(scene->vfu, NULL);
    scene_free(scene);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    tell_driver(address, "bind");
    *state = scene_new(EDU);
}

/* --- nvme */

enum { NVME_MASKED = 0x0c, NVME_CONFIGURATION = 0x14 };

/* Its registers are at their beginning again; the kernel keeps the configuration space, and what the guest believes of
 * bus mastering stays true. */
static void function_reset(void **state)
{
    Scene *scene = *state;

    assert_true(vfm_pci_device_can_reset(scene->device));
    write_word(scene, VFIO_PCI_BAR0_REGION_INDEX, NVME_CONFIGURATION, 0x460000, 4);
    assert_int_equal(read_word(scene, VFIO_PCI_BAR0_REGION_INDEX, NVME_CONFIGURATION, 4), 0x460000);
    assert_true(reset(scene));
    assert_int_equal(read_word(scene, VFIO_PCI_BAR0_REGION_INDEX, NVME_CONFIGURATION, 4), 0);
    assert_int_equal(command_of(scene), kernels_command(scene));
}

/* A device that is kept from DMA stays so over the guest's reset, and gets what the guest set when it is let go. */
static void held_over_a_reset(void **state)
{
    const VfmVfuDmaMap out_of_reach = {.flags = 3, .address = 0xfee00000, .size = 4096};
    int memory = memfd_create("ram", MFD_CLOEXEC);
    Scene *scene = *state;
    uint64_t unmapped;

    assert_int_equal(ftruncate(memory, 4096), 0);
    assert_false(scene->vfu->ops->dma_map(scene->vfu, 1, &out_of_reach, memory, NULL));
    scene->vfu->ops->idle(scene->vfu);
    assert_true(vfm_pci_device_held(scene->device));
    assert_true(reset(scene));
    assert_false(kernels_command(scene) & PCI_COMMAND_MASTER);
    assert_true(command_of(scene) & PCI_COMMAND_MASTER);
    enable(scene);
    assert_false(kernels_command(scene) & PCI_COMMAND_MASTER);
    assert_true(reset(scene));
    assert_true(scene->vfu->ops->dma_unmap(scene->vfu, 2, 0xfee00000, 4096, &unmapped, NULL));
    assert_true(kernels_command(scene) & PCI_COMMAND_MASTER);
    assert_true(command_of(scene) & PCI_COMMAND_MASTER);
    close(memory);
}

/* There is no error to be had here; the kernel signals what it was given when it is asked to. */
static void error_interrupt(void **state)
{
    Scene *scene = *state;

    trigger_by(scene, VFIO_PCI_ERR_IRQ_INDEX, scene->event);
    set_irqs(scene, VFIO_PCI_ERR_IRQ_INDEX, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 1, NULL);
    assert_arrives(scene);
    disable(scene, VFIO_PCI_ERR_IRQ_INDEX);
}

/* The guest enables one vector after the other. Linux before 6.5 takes no further ones without being set anew. */
static void msix_grows(void **state)
{
    enum { VECTORS = 5 };
    Scene *scene = *state;
    int events[VECTORS];

    for (uint32_t i = 0; i < VECTORS; i++) {
        const struct vfio_irq_set set = {.argsz = sizeof(set),
                                         .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                         .index = VFIO_PCI_MSIX_IRQ_INDEX,
                                         .start = i,
                                         .count = 1};

        events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        assert_true(scene->vfu->ops->set_irqs(scene->vfu, &set, NULL, &events[i], NULL));
    }
    for (uint32_t i = 0; i < VECTORS; i++) {
        struct vfio_irq_set fire = {.argsz = sizeof(fire),
                                    .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                                    .index = VFIO_PCI_MSIX_IRQ_INDEX,
                                    .start = i,
                                    .count = 1};

        assert_int_equal(ioctl(scene->fd, VFIO_DEVICE_SET_IRQS, &fire), 0);
        for (uint32_t j = 0; j < VECTORS; j++)
            assert_int_equal(signals_within(events[j], 0), i == j);
    }
    disable(scene, VFIO_PCI_MSIX_IRQ_INDEX);
    for (uint32_t i = 0; i < VECTORS; i++)
        close(events[i]);
}

/* As QEMU reads it: the whole ROM in one message. */
static void rom_in_one_message(void **state)
{
    const VfmVfuOffer offer = {.max_dma_maps = 64, .page_sizes = 4096};
    VfmVfuRegionAccess access = {.region = VFIO_PCI_ROM_REGION_INDEX, .count = ROM_SIZE};
    const size_t size = sizeof(VfmVfuHeader) + sizeof(access) + ROM_SIZE;
    g_autoptr(VfmVfuJournal) journal = vfm_vfu_journal_new(NULL);
    g_autofree uint8_t *answer = g_malloc(size);
    const VfmVfuHeader *header = (const void *)answer;
    const char *rom = (const char *)answer + (size - ROM_SIZE);
    const char *limit;
    Scene *scene = *state;
    VfmVfuSession *session;
    char version[256] = "";
    int sockets[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    session = vfm_vfu_session_new(journal, sockets[1], scene->vfu, &offer);
    assert_int_equal(
        negotiate_with(sockets[0], qemu_capabilities, QEMU_CAPABILITIES_SIZE, version, sizeof(version) - 1), 0);
    limit = strstr(version + sizeof(VfmVfuVersion), "\"max_data_xfer_size\":");
    assert_non_null(limit);
    assert_true(strtoull(strchr(limit, ':') + 1, NULL, 10) >= ROM_SIZE);
    command(sockets[0], 2, VFM_VFU_REGION_READ, &access, sizeof(access));
    assert_int_equal(recv(sockets[0], answer, size, MSG_WAITALL), size);
    assert_int_equal(header->size, size);
    assert_int_equal(header->flags, VFM_VFU_TYPE_REPLY);
    assert_memory_equal(rom, "\x55\xaa", 2);
    for (unsigned word = 8; word < ROM_SIZE / 8; word++) {
        char expected[9];

        g_snprintf(expected, sizeof(expected), "%07u\n", word);
        assert_memory_equal(rom + word * 8, expected, 8);
    }
    close(sockets[0]);
    vfm_vfu_session_wait(session); /* and gone() with it */
    vfm_vfu_session_free(session);
    scene_free(scene);
    *state = scene_new(NVME);
}

#define ON_EDU(name) cmocka_unit_test_setup_teardown(name, setup_edu, teardown)
#define ON_NVME(name) cmocka_unit_test_setup_teardown(name, setup_nvme, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_EDU(describes_itself),
        ON_EDU(registers),
        ON_EDU(intx_is_masked_until_unmasked),
        ON_EDU(intx_is_unmasked_by_an_eventfd),
        ON_EDU(msi),
        ON_EDU(silent_when_gone),
        ON_EDU(no_reset),
        ON_EDU(request),
        ON_NVME(describes_itself),
        ON_NVME(function_reset),
        ON_NVME(held_over_a_reset),
        ON_NVME(error_interrupt),
        ON_NVME(msix_grows),
        ON_NVME(rom_in_one_message),
    };

    return cmocka_run_group_tests_name(place_is_iommufd() ? "proxy on iommufd" : "proxy on type1", tests, NULL, NULL);
}
