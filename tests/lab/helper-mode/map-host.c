/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * map-host ADDRESS BLOCKS ROUNDS - what the way through vfiomem-helper-devices adds to mapping a block of memory. Runs
 * in L1.
 *
 * Each round maps BLOCKS blocks of 2 MiB for the device at ADDRESS (bound to vfio-pci) twice: with VFIO_IOMMU_MAP_DMA,
 * as QEMU's own vfio-pci does, and with a DMA_MAP message to a vfiomem-helper-devices of its own, with the memory's
 * descriptor and awaited, as QEMU's vfio-user-pci does for a block that is plugged. The memory is there before; which
 * of the two is first changes. Prints "map ROUND native NS helper NS", of one block each, and "map ratio MEDIAN (LEAST
 * to MOST)".
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "vfu_protocol.h"

#define BLOCK (UINT64_C(2) << 20)
#define FIRST (UINT64_C(4) << 30) /* where virtio-mem is */
#define HELPER "/usr/local/libexec/vfiomem/vfiomem-helper-devices"

typedef struct {
    VfmVfuHeader header;
    VfmVfuDmaMap map;
} MapMessage;

static const char *address;
static unsigned blocks;
static int memory;

static _Noreturn void fail(const char *what)
{
    printf("map failed: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Pages are zeroed when they are touched for the first time, whoever does it. */
static void touch(void)
{
    uint8_t *mapped = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);

    if (mapped == MAP_FAILED)
        fail("memory");
    memset(mapped, 1, blocks * BLOCK);
    munmap(mapped, blocks * BLOCK);
}

/* --- QEMU's own way */

static int open_group(void)
{
    char path[128], target[512];
    ssize_t n;
    int fd;

    snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", address);
    n = readlink(path, target, sizeof(target) - 1);
    if (n < 0)
        fail(path);
    target[n] = '\0';
    snprintf(path, sizeof(path), "/dev/vfio/%d", atoi(strrchr(target, '/') + 1));
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        fail(path);
    return fd;
}

static uint64_t map_native(void)
{
    int container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC), group = open_group();
    /* As fresh as the helper's own. */
    uint8_t *mapped = mmap(NULL, blocks * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    uint64_t took;

    if (mapped == MAP_FAILED)
        fail("memory");
    if (container < 0 || ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0 ||
        ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0)
        fail("container");
    took = now();
    for (unsigned i = 0; i < blocks; i++) {
        struct vfio_iommu_type1_dma_map map = {
            .argsz = sizeof(map),
            .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            .vaddr = (uintptr_t)(mapped + i * BLOCK),
            .iova = FIRST + i * BLOCK,
            .size = BLOCK,
        };

        if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map) < 0)
            fail("VFIO_IOMMU_MAP_DMA");
    }
    took = now() - took;
    close(group);
    close(container);
    munmap(mapped, blocks * BLOCK);
    return took / blocks;
}

/* --- through the helper */

static void read_all(int fd, void *into, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = read(fd, (uint8_t *)into + done, size - done);

        if (n <= 0)
            fail("the helper's answer");
        done += (size_t)n;
    }
}

static void read_reply(int fd)
{
    uint8_t rest[4096];
    VfmVfuHeader header;

    read_all(fd, &header, sizeof(header));
    if (header.flags & VFM_VFU_ERROR || header.size > sizeof(rest)) {
        errno = (int)header.error;
        fail("the helper's answer");
    }
    read_all(fd, rest, header.size - sizeof(header));
}

static pid_t start_helper(char *folder, char *socket_path, size_t size)
{
    char line[256], ready[32], pid[32], directory[128];
    int pipes[2], child;
    FILE *lines;

    if (!mkdtemp(folder) || pipe(pipes) < 0)
        fail("a folder");
    child = fork();
    if (child == 0) {
        setpgid(0, 0);
        close(pipes[0]);
        snprintf(ready, sizeof(ready), "--ready-fd=%d", pipes[1]);
        snprintf(pid, sizeof(pid), "--qemu-pid=%d", getppid());
        snprintf(directory, sizeof(directory), "--folder=%s", folder);
        execl(HELPER, HELPER, ready, pid, directory, "--policy=backend=type1", address, NULL);
        _exit(127);
    }
    close(pipes[1]);
    lines = fdopen(pipes[0], "r");
    socket_path[0] = '\0';
    while (lines && fgets(line, sizeof(line), lines)) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "socket ", 7) == 0 && strlen(line + 7) < size)
            strcpy(socket_path, line + 7);
        else if (strcmp(line, "ready") != 0)
            printf("map: %s\n", line);
    }
    if (lines)
        fclose(lines);
    if (child < 0 || !socket_path[0])
        fail("the helper did not start");
    return child;
}

static int connect_helper(const char *path)
{
    static const char capabilities[] =
        "{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,\"max_dma_maps\":65535,\"pgsizes\":4096,"
        "\"write_multiple\":true,\"migration\":{\"pgsize\":4096,\"max_bitmap_size\":268435456}}}";
    struct {
        VfmVfuHeader header;
        VfmVfuVersion version;
        char json[sizeof(capabilities)];
    } message = {.header = {.command = VFM_VFU_VERSION, .size = sizeof(message)}};
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    message.header.size = offsetof(typeof(message), json) + sizeof(capabilities);
    memcpy(message.json, capabilities, sizeof(capabilities));
    strcpy(to.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
        write(fd, &message, message.header.size) != (ssize_t)message.header.size)
        fail("connecting");
    read_reply(fd);
    return fd;
}

static void send_map(int fd, const MapMessage *message)
{
    union {
        struct cmsghdr header;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {.header = {.cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))}};
    struct iovec bytes = {(void *)message, sizeof(*message)};
    struct msghdr out = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control.room)};

    memcpy(CMSG_DATA(&control.header), &memory, sizeof(memory));
    if (sendmsg(fd, &out, 0) != sizeof(*message))
        fail("sending");
}

static uint64_t map_helper(void)
{
    char folder[] = "/run/map-host.XXXXXX", path[108];
    pid_t child = start_helper(folder, path, sizeof(path));
    int fd = connect_helper(path);
    uint64_t took = now();

    for (unsigned i = 0; i < blocks; i++) {
        MapMessage message = {
            .header = {.id = (uint16_t)i, .command = VFM_VFU_DMA_MAP, .size = sizeof(message)},
            .map = {.argsz = sizeof(message.map),
                    .flags = VFM_VFU_DMA_READABLE | VFM_VFU_DMA_WRITEABLE,
                    .offset = i * BLOCK,
                    .address = FIRST + i * BLOCK,
                    .size = BLOCK},
        };

        send_map(fd, &message);
        read_reply(fd);
    }
    took = now() - took;
    close(fd);
    /* Its worker, which has the device open as well, becomes our child. */
    kill(-child, SIGKILL);
    while (wait(NULL) > 0)
        ;
    rmdir(folder);
    return took / blocks;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    unsigned rounds = argc == 4 ? (unsigned)atoi(argv[3]) : 0;
    double ratios[64];

    blocks = rounds ? (unsigned)atoi(argv[2]) : 0;
    if (!blocks || rounds > 64) {
        fprintf(stderr, "usage: map-host ADDRESS BLOCKS ROUNDS\n");
        return 2;
    }
    address = argv[1];
    memory = memfd_create("blocks", MFD_CLOEXEC);
    if (memory < 0 || ftruncate(memory, (off_t)(blocks * BLOCK)) < 0)
        fail("memory");
    touch();
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
        fail("becoming the helper's worker's parent");
    for (unsigned round = 0; round < rounds; round++) {
        uint64_t native = 0, helper = 0;

        for (unsigned turn = 0; turn < 2; turn++) {
            if ((round + turn) % 2)
                helper = map_helper();
            else
                native = map_native();
        }
        ratios[round] = (double)helper / (double)native;
        printf("map %u native %llu helper %llu\n", round + 1, (unsigned long long)native, (unsigned long long)helper);
        fflush(stdout);
    }
    qsort(ratios, rounds, sizeof(*ratios), by_size);
    printf("map ratio %.2f (%.2f to %.2f)\n", ratios[rounds / 2], ratios[0], ratios[rounds - 1]);
    return 0;
}
