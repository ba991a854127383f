/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edu-guest [N] - drives the N-th edu device (1234:11e8) of this machine as a driver would: DMA out of memory and back
 * into other memory, and compares. For use in a guest, as root. Prints "edu ok" or why not.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Half of its buffer: QEMU 7.2 ends itself over a transfer of all of it. */
enum { SOURCE = 0x80, TARGET = 0x88, COUNT = 0x90, COMMAND = 0x98, BUFFER = 0x40000, PAGE = 4096, SIZE = 2048 };

static void fail(const char *what)
{
    printf("edu failed: %s\n", what);
    exit(1);
}

static int find_device(unsigned wanted, char *path, size_t size)
{
    struct dirent *entry;
    DIR *dir = opendir("/sys/bus/pci/devices");

    while (dir && (entry = readdir(dir))) {
        char name[512], text[16] = "";
        int fd;

        snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/device", entry->d_name);
        fd = open(name, O_RDONLY);
        if (fd < 0)
            continue;
        if (read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "0x11e8", 6) == 0 && wanted-- == 0) {
            snprintf(path, size, "/sys/bus/pci/devices/%s", entry->d_name);
            close(fd);
            closedir(dir);
            return 1;
        }
        close(fd);
    }
    return 0;
}

static uint64_t physical(void *address)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);

    if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)address / 4096 * 8) != 8 || !(entry >> 63))
        fail("no physical address");
    close(fd);
    return (entry & ((UINT64_C(1) << 55) - 1)) * 4096;
}

static void transfer(volatile uint8_t *bar, uint64_t from, uint64_t to, int to_memory)
{
    *(volatile uint64_t *)(bar + SOURCE) = from;
    *(volatile uint64_t *)(bar + TARGET) = to;
    *(volatile uint64_t *)(bar + COUNT) = SIZE;
    *(volatile uint64_t *)(bar + COMMAND) = 1 | (to_memory ? 2 : 0);
    for (unsigned i = 0; *(volatile uint64_t *)(bar + COMMAND) & 1; i++) {
        if (i > 10000000)
            fail("the transfer does not end");
        usleep(1000);
    }
}

int main(int argc, char **argv)
{
    char path[512], name[600];
    uint8_t *pages, *bar;
    uint16_t command;
    int fd;

    if (!find_device(argc > 1 ? atoi(argv[1]) : 0, path, sizeof(path)))
        fail("no such device");
    snprintf(name, sizeof(name), "%s/enable", path);
    fd = open(name, O_WRONLY);
    if (fd < 0 || write(fd, "1", 1) != 1)
        fail("not enabled");
    close(fd);
    snprintf(name, sizeof(name), "%s/config", path);
    fd = open(name, O_RDWR);
    if (fd < 0 || pread(fd, &command, 2, 4) != 2)
        fail("no configuration space");
    command |= 6;
    if (pwrite(fd, &command, 2, 4) != 2)
        fail("no bus mastering");
    close(fd);
    snprintf(name, sizeof(name), "%s/resource0", path);
    fd = open(name, O_RDWR);
    bar = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (fd < 0 || bar == MAP_FAILED)
        fail("no BAR");
    pages =
        mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
    if (pages == MAP_FAILED)
        fail("no memory");
    for (unsigned i = 0; i < SIZE; i++)
        pages[i] = (uint8_t)(i * 7 + getpid());
    memset(pages + PAGE, 0xee, SIZE);
    transfer(bar, physical(pages), BUFFER, 0);
    transfer(bar, BUFFER, physical(pages + PAGE), 1);
    if (memcmp(pages, pages + PAGE, SIZE) != 0)
        fail("memory differs");
    printf("edu ok at %#llx\n", (unsigned long long)physical(pages));
    return 0;
}
