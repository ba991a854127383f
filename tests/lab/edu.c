/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "edu.h"

#include <errno.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { EDU_ID = 0x00, EDU_SOURCE = 0x80, EDU_TARGET = 0x88, EDU_COUNT = 0x90, EDU_COMMAND = 0x98 };
enum { EDU_START = 1, EDU_TO_MEMORY = 2 };
#define EDU_BUFFER 0x40000 /* the device's own address of its buffer */

static struct vfio_region_info region_info(int device_fd, unsigned index)
{
    struct vfio_region_info info = {.argsz = sizeof(info), .index = index};
    if (ioctl(device_fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
        g_error("edu: VFIO_DEVICE_GET_REGION_INFO %u: %s", index, g_strerror(errno));
    return info;
}

static void enable(int device_fd)
{
    struct vfio_region_info config = region_info(device_fd, VFIO_PCI_CONFIG_REGION_INDEX);
    off_t place = (off_t)config.offset + PCI_COMMAND;
    uint16_t command;

    if (pread(device_fd, &command, sizeof(command), place) != sizeof(command))
        g_error("edu: reading the command register: %s", g_strerror(errno));
    command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
    if (pwrite(device_fd, &command, sizeof(command), place) != sizeof(command))
        g_error("edu: writing the command register: %s", g_strerror(errno));
}

void edu_open(Edu *edu, int device_fd)
{
    struct vfio_region_info info = region_info(device_fd, VFIO_PCI_BAR0_REGION_INDEX);

    enable(device_fd);
    edu->bar_size = info.size;
    edu->bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device_fd, (off_t)info.offset);
    if (edu->bar == MAP_FAILED)
        g_error("edu: mapping BAR 0: %s", g_strerror(errno));
    uint32_t id = *(volatile uint32_t *)(edu->bar + EDU_ID);
    if ((id & 0xff) != 0xed)
        g_error("edu: the device's identification is 0x%x: not an edu", id);
}

void edu_close(Edu *edu)
{
    munmap((void *)edu->bar, edu->bar_size);
    edu->bar = NULL;
}

static volatile uint64_t *reg(Edu *edu, unsigned offset)
{
    return (volatile uint64_t *)(edu->bar + offset);
}

static void start(Edu *edu, uint64_t source, uint64_t target, size_t size, uint64_t direction)
{
    g_assert(size > 0 && size <= EDU_BUFFER_SIZE);

    *reg(edu, EDU_SOURCE) = source;
    *reg(edu, EDU_TARGET) = target;
    *reg(edu, EDU_COUNT) = size;
    *reg(edu, EDU_COMMAND) = direction | EDU_START;
}

void edu_wait(Edu *edu)
{
    const struct timespec pause = {.tv_nsec = 2000000};

    /* The bit clears when the transfer is done, whether or not memory was there. */
    for (unsigned tries = 0; *reg(edu, EDU_COMMAND) & EDU_START; tries++) {
        if (tries > 10000)
            g_error("edu: a transfer does not end");
        nanosleep(&pause, NULL);
    }
}

void edu_read_memory(Edu *edu, uint64_t iova, size_t size)
{
    start(edu, iova, EDU_BUFFER, size, 0);
    edu_wait(edu);
}

void edu_start_writing(Edu *edu, uint64_t iova, size_t size)
{
    start(edu, EDU_BUFFER, iova, size, EDU_TO_MEMORY);
}

void edu_write_memory(Edu *edu, uint64_t iova, size_t size)
{
    edu_start_writing(edu, iova, size);
    edu_wait(edu);
}

void edu_copy(Edu *edu, uint64_t from, uint64_t to, size_t size)
{
    edu_read_memory(edu, from, size);
    edu_write_memory(edu, to, size);
}
