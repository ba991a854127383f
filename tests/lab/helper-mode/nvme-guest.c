/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * nvme-guest - uses this machine's NVMe disk through its own driver, and says what came back. In a guest, as root.
 *
 *   nvme-guest write SEED MIB    writes pseudo-random data to the disk's beginning, reads and compares: "nvme ok: ..."
 *   nvme-guest read SEED MIB     only reads and compares
 *   nvme-guest print SEED MIB    the same data on standard output; needs no disk
 *   nvme-guest latency COUNT     reads of 4 KiB, each of which is an interrupt: "nvme latency: NS", the median
 *
 * It goes past the page cache, out of memory that Linux prefers to be hot-plugged, and reads into other memory. What
 * goes wrong is "nvme failed: WHY".
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { MIB = 1 << 20, PAGE = 4096 };

/* Boot memory ends below 4 GiB in the lab's guests. */
#define PLUGGED (UINT64_C(4) << 30)

static const char *disk = "/dev/nvme0n1";

static void fail(const char *what)
{
    printf("nvme failed: %s\n", what);
    exit(1);
}

/* The MIB-th MiB of what @seed stands for (xorshift64*). */
static void fill(uint64_t *words, unsigned seed, unsigned mib)
{
    uint64_t x = ((uint64_t)seed << 32 | mib) + UINT64_C(0x9e3779b97f4a7c15);

    for (unsigned i = 0; i < MIB / sizeof(*words); i++) {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        words[i] = x * UINT64_C(0x2545f4914f6cdd1d);
    }
}

static uint64_t physical(const void *address)
{
    uint64_t entry = 0;
    int fd = open("/proc/self/pagemap", O_RDONLY);

    if (fd < 0 || pread(fd, &entry, 8, (uintptr_t)address / PAGE * 8) != 8 || !(entry >> 63))
        fail("no physical address");
    close(fd);
    return (entry & ((UINT64_C(1) << 55) - 1)) * PAGE;
}

/* Interrupts of the disk's queues so far. */
static unsigned long interrupts(void)
{
    FILE *file = fopen("/proc/interrupts", "r");
    unsigned long sum = 0, count;
    char line[512];

    while (file && fgets(line, sizeof(line), file)) {
        if (strstr(line, " nvme0q") && sscanf(line, " %*[^:]: %lu", &count) == 1)
            sum += count;
    }
    if (file)
        fclose(file);
    return sum;
}

/* The kind of its interrupts, "msix" or "msi", and how many vectors; "none 0" with INTx. */
static unsigned vectors(char kind[16])
{
    DIR *dir = opendir("/sys/class/nvme/nvme0/device/msi_irqs");
    struct dirent *entry;
    unsigned count = 0;

    strcpy(kind, "none");
    while (dir && (entry = readdir(dir))) {
        char name[512];
        FILE *file;

        snprintf(name, sizeof(name), "/sys/class/nvme/nvme0/device/msi_irqs/%s", entry->d_name);
        if (entry->d_name[0] == '.' || !(file = fopen(name, "r")))
            continue;
        count += fscanf(file, "%15s", kind) == 1;
        fclose(file);
    }
    if (dir)
        closedir(dir);
    return count;
}

static uint8_t *buffer(void)
{
    uint8_t *memory = mmap(NULL, MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

    if (memory == MAP_FAILED)
        fail("no memory");
    return memory;
}

static void move(int fd, uint8_t *data, unsigned mib, int write)
{
    for (size_t done = 0; done < MIB;) {
        off_t at = (off_t)mib * MIB + (off_t)done;
        ssize_t n = write ? pwrite(fd, data + done, MIB - done, at) : pread(fd, data + done, MIB - done, at);

        if (n <= 0)
            fail(write ? "writing failed" : "reading failed");
        done += (size_t)n;
    }
}

static void compare(unsigned seed, unsigned count, int write)
{
    unsigned plugged = 0, pages = 0, lines;
    unsigned long before, came;
    char kind[16];
    int fd = open(disk, O_RDWR | O_DIRECT);

    if (fd < 0)
        fail("no disk");
    before = interrupts();
    for (unsigned pass = write ? 0 : 1; pass < 2; pass++) {
        for (unsigned mib = 0; mib < count; mib++) {
            uint8_t *data = buffer(), *expected = buffer();

            fill((uint64_t *)expected, seed, mib);
            if (pass == 0) {
                memcpy(data, expected, MIB);
                move(fd, data, mib, 1);
            } else {
                memset(data, 0xee, MIB);
                move(fd, data, mib, 0);
                if (memcmp(data, expected, MIB) != 0)
                    fail("the data differ");
            }
            for (unsigned page = 0; page < MIB; page += PAGE) {
                pages++;
                plugged += physical(data + page) >= PLUGGED;
            }
            munmap(data, MIB);
            munmap(expected, MIB);
        }
        if (pass == 0 && fsync(fd) != 0)
            fail("flushing failed");
    }
    came = interrupts() - before;
    if (came == 0)
        fail("no interrupt came");
    lines = vectors(kind);
    printf("nvme ok: data %u, %u MiB, %u of %u pages plugged, %lu interrupts of %u %s\n", seed, count, plugged, pages,
           came, lines, kind);
}

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void latency(unsigned count)
{
    uint64_t *took = calloc(count, sizeof(*took));
    unsigned long before;
    uint8_t *data = buffer();
    int fd = open(disk, O_RDONLY | O_DIRECT);

    if (fd < 0 || !took || !count)
        fail("no disk");
    before = interrupts();
    for (unsigned i = 0; i < count; i++) {
        uint64_t start = now();

        if (pread(fd, data, PAGE, (off_t)(i % 256) * PAGE) != PAGE)
            fail("reading failed");
        took[i] = now() - start;
    }
    if (interrupts() - before < count)
        fail("fewer interrupts than reads");
    qsort(took, count, sizeof(*took), by_size);
    printf("nvme latency: %llu\n", (unsigned long long)took[count / 2]);
}

static void print(unsigned seed, unsigned count)
{
    static uint64_t words[MIB / sizeof(uint64_t)];

    for (unsigned mib = 0; mib < count; mib++) {
        fill(words, seed, mib);
        if (fwrite(words, MIB, 1, stdout) != 1)
            exit(1);
    }
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    unsigned first = argc > 2 ? (unsigned)atoi(argv[2]) : 0, second = argc > 3 ? (unsigned)atoi(argv[3]) : 0;

    if (strcmp(verb, "latency") == 0 && first)
        latency(first);
    else if (strcmp(verb, "print") == 0 && second)
        print(first, second);
    else if ((strcmp(verb, "write") == 0 || strcmp(verb, "read") == 0) && second)
        compare(first, second, verb[0] == 'w');
    else
        fail("usage: nvme-guest write|read|print SEED MIB, nvme-guest latency COUNT");
    return 0;
}
