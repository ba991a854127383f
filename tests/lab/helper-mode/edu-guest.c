/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edu-guest - drives an edu device (1234:11e8) of this machine as a driver would: DMA out of memory and back into other
 * memory, and compares. For use in a guest, as root.
 *
 *   edu-guest [N]             once with the N-th edu (0): "edu ok at ADDRESS" or "edu failed: WHY"
 *   edu-guest N copy FROM TO  one copy: "edu copy FROM TO arrived|untouched|other|sent"
 *   edu-guest N read COUNT    reads its identification some COUNT times: "edu read: NS", of one read
 *   edu-guest N loop PLUGGED  goes on in the background; pages at PLUGGED and above are counted apart
 *   edu-guest totals          what it did: "edu loop: T copies, P plugged, M moved, W wrong"
 *   edu-guest stop            ends it and says the same
 *
 * FROM and TO are "any" memory of this program, a range "0xFIRST-0xEND" in which a page of it is to be, or
 * "@0xADDRESS", which is taken as it is: nothing in memory is prepared or looked at, and a copy to there is "sent" at
 * most.
 *
 * The loop does what a driver does: pages are pinned for the time of a transfer, so that Linux does not move them away
 * under the device; vmsplice() is how a program gets that. One copy in four is in plugged memory: were a page pinned
 * there at any moment, Linux could never give the last block back.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sysinfo.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

/* Half of its buffer: QEMU 7.2 ends itself over a transfer of all of it. */
enum {
    IDENTITY = 0,
    SOURCE = 0x80,
    TARGET = 0x88,
    COUNT = 0x90,
    COMMAND = 0x98,
    BUFFER = 0x40000,
    PAGE = 4096,
    SIZE = 2048
};
enum { CHUNK = 4 << 20, SPARE = 48 << 20, FRESH = 16, BATCH = 1000 };

typedef struct {
    volatile uint32_t copies, plugged, moved, wrong, running, stop;
} Totals;

typedef struct {
    uint64_t first, end;
    int raw;
} Place;

static volatile uint8_t *bar;

static _Noreturn void fail(const char *what)
{
    printf("edu failed: %s\n", what);
    exit(1);
}

static int is_edu(const struct dirent *entry)
{
    char name[512], text[16] = "";
    int fd, found;

    snprintf(name, sizeof(name), "/sys/bus/pci/devices/%s/device", entry->d_name);
    fd = open(name, O_RDONLY);
    if (fd < 0)
        return 0;
    found = read(fd, text, sizeof(text) - 1) > 0 && strncmp(text, "0x11e8", 6) == 0;
    close(fd);
    return found;
}

/* The @wanted-th in the order of their addresses. */
static int find_device(unsigned wanted, char *path, size_t size)
{
    struct dirent **entries = NULL;
    int count = scandir("/sys/bus/pci/devices", &entries, is_edu, alphasort);

    if (count < 0 || wanted >= (unsigned)count)
        return 0;
    snprintf(path, size, "/sys/bus/pci/devices/%s", entries[wanted]->d_name);
    return 1;
}

static void open_device(unsigned number)
{
    char path[512], name[600];
    uint16_t command;
    int fd;

    if (!find_device(number, path, sizeof(path)))
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
    close(fd);
}

/* The physical addresses of @count pages; 0 for one that is just being moved. */
static void physical_pages(const void *address, uint64_t *entries, size_t count)
{
    int fd = open("/proc/self/pagemap", O_RDONLY);

    if (fd < 0 || pread(fd, entries, count * 8, (off_t)((uintptr_t)address / PAGE * 8)) != (ssize_t)(count * 8))
        fail("no pagemap");
    close(fd);
    for (size_t i = 0; i < count; i++)
        entries[i] = entries[i] >> 63 ? (entries[i] & ((UINT64_C(1) << 55) - 1)) * PAGE : 0;
}

static uint64_t physical(const void *address)
{
    uint64_t entry;

    physical_pages(address, &entry, 1);
    return entry;
}

static void transfer(uint64_t from, uint64_t to, int to_memory)
{
    *(volatile uint64_t *)(bar + SOURCE) = from;
    *(volatile uint64_t *)(bar + TARGET) = to;
    *(volatile uint64_t *)(bar + COUNT) = SIZE;
    *(volatile uint64_t *)(bar + COMMAND) = 1 | (to_memory ? 2 : 0);
    for (unsigned i = 0; *(volatile uint64_t *)(bar + COMMAND) & 1; i++) {
        if (i > 100000)
            fail("the transfer does not end");
        usleep(1000);
    }
}

static void copy(uint64_t from, uint64_t to)
{
    transfer(from, BUFFER, 0);
    transfer(BUFFER, to, 1);
}

static uint8_t *new_pages(size_t size)
{
    uint8_t *pages =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);

    if (pages == MAP_FAILED)
        fail("no memory");
    return pages;
}

static void fill(uint8_t *page, unsigned seed)
{
    for (unsigned i = 0; i < SIZE; i++)
        page[i] = (uint8_t)(i * 7 + i / 256 + seed);
}

static int is_filled(const uint8_t *page, unsigned seed)
{
    for (unsigned i = 0; i < SIZE; i++) {
        if (page[i] != (uint8_t)(i * 7 + i / 256 + seed))
            return 0;
    }
    return 1;
}

static int once(void)
{
    uint8_t *pages = new_pages(2 * PAGE);

    fill(pages, (unsigned)getpid());
    memset(pages + PAGE, 0xee, SIZE);
    copy(physical(pages), physical(pages + PAGE));
    if (!is_filled(pages + PAGE, (unsigned)getpid()))
        fail("memory differs");
    printf("edu ok at %#llx\n", (unsigned long long)physical(pages));
    return 0;
}

static int by_size(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x < y ? -1 : x > y;
}

static uint64_t now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The median of batches: what interrupts one of them for long does not count. */
static int read_often(unsigned count)
{
    unsigned batches = (count + BATCH - 1) / BATCH;
    uint64_t *took = calloc(batches, sizeof(*took));

    if (!took)
        fail("no memory");
    for (unsigned i = 0; i < batches; i++) {
        uint64_t start = now();

        for (unsigned j = 0; j < BATCH; j++)
            if ((*(volatile uint32_t *)(bar + IDENTITY) & 0xff) != 0xed)
                fail("it is no edu");
        took[i] = now() - start;
    }
    qsort(took, batches, sizeof(*took), by_size);
    printf("edu read: %.0f\n", (double)took[batches / 2] / BATCH);
    return 0;
}

/* --- one copy between places */

static Place read_place(const char *text)
{
    char *end = NULL;

    if (strcmp(text, "any") == 0)
        return (Place){1, UINT64_MAX, 0};
    if (text[0] == '@')
        return (Place){strtoull(text + 1, NULL, 16), 0, 1};
    Place place = {strtoull(text, &end, 16), 0, 0};
    if (*end != '-')
        fail("a place is any, FIRST-END or @ADDRESS");
    place.end = strtoull(end + 1, NULL, 16);
    return place;
}

/* Keeps @page where it is, for good: Linux would move it while memory for the other one is looked for. */
static void hold(uint8_t *page)
{
    struct iovec bytes = {page, PAGE};
    int pin[2];

    if (pipe(pin) < 0 || vmsplice(pin[1], &bytes, 1, 0) != PAGE)
        fail("no pin");
}

static int is_in(const Place *place, uint64_t address)
{
    return address >= place->first && address < place->end;
}

/* A page of ours in @place that is not @other. What is not wanted stays allocated, so that the next is another. */
static uint8_t *page_in(const Place *place, const uint8_t *other)
{
    struct sysinfo info;

    while (sysinfo(&info) == 0 && info.freeram * info.mem_unit > SPARE) {
        uint8_t *chunk = new_pages(CHUNK);
        uint64_t addresses[CHUNK / PAGE];

        physical_pages(chunk, addresses, CHUNK / PAGE);
        for (unsigned i = 0; i < CHUNK / PAGE; i++) {
            uint8_t *page = chunk + i * PAGE;

            if (page == other || !is_in(place, addresses[i]))
                continue;
            hold(page);
            if (is_in(place, physical(page)))
                return page;
        }
    }
    fail("no memory there");
    return NULL;
}

static int copy_places(const char *from_text, const char *to_text)
{
    Place from = read_place(from_text), to = read_place(to_text);
    uint8_t *source = from.raw ? NULL : page_in(&from, NULL), *target = to.raw ? NULL : page_in(&to, source);
    uint64_t from_address = source ? physical(source) : from.first, to_address = target ? physical(target) : to.first;
    const char *verdict = "sent";

    if (source)
        fill(source, 0x5a);
    if (target)
        memset(target, 0xee, SIZE);
    copy(from_address, to_address);
    if (target) {
        verdict = is_filled(target, 0x5a) ? "arrived" : "untouched";
        for (unsigned i = 0; i < SIZE && strcmp(verdict, "untouched") == 0; i++) {
            if (target[i] != 0xee)
                verdict = "other";
        }
    }
    printf("edu copy %#llx %#llx %s\n", (unsigned long long)from_address, (unsigned long long)to_address, verdict);
    return 0;
}

/* --- the loop */

static Totals *totals(void)
{
    int fd = open("/edu.totals", O_RDWR | O_CREAT, 0600);
    Totals *found = fd < 0 || ftruncate(fd, sizeof(Totals)) < 0
                        ? MAP_FAILED
                        : mmap(NULL, sizeof(Totals), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    if (found == MAP_FAILED)
        fail("no file for totals");
    close(fd);
    return found;
}

static int say_totals(const Totals *sum)
{
    printf("edu loop: %u copies, %u plugged, %u moved, %u wrong%s\n", sum->copies, sum->plugged, sum->moved, sum->wrong,
           sum->running ? "" : ", ended");
    return 0;
}

/* One copy between two pages of @pages, pinned meanwhile. */
static void pinned_copy(Totals *sum, uint8_t *source, uint8_t *target, uint64_t plugged)
{
    struct iovec pages[2] = {{source, PAGE}, {target, PAGE}};
    unsigned seed = sum->copies + 1;
    uint64_t from, to;
    int pin[2];

    fill(source, seed);
    memset(target, ~seed & 0xff, SIZE);
    if (pipe(pin) < 0 || vmsplice(pin[1], pages, 2, 0) != 2 * PAGE)
        fail("no pin");
    from = physical(source);
    to = physical(target);
    if (from && to) {
        copy(from, to);
        if (physical(source) != from || physical(target) != to) {
            sum->moved++; /* not pinned after all: it says nothing of the device */
        } else {
            if (!is_filled(target, seed))
                sum->wrong++;
            sum->plugged += from >= plugged || to >= plugged;
            sum->copies++;
        }
    }
    close(pin[0]);
    close(pin[1]);
}

static void loop(Totals *sum, uint64_t plugged)
{
    uint8_t *boot = new_pages(2 * PAGE);
    uint64_t addresses[FRESH];

    for (unsigned round = 0; !sum->stop; round++) {
        /* Linux takes movable memory first, which is what virtio-mem plugs here. */
        uint8_t *fresh = new_pages(FRESH * PAGE), *there[2] = {NULL, NULL};

        physical_pages(fresh, addresses, FRESH);
        for (unsigned i = 0; i < FRESH; i++) {
            if (addresses[i] >= plugged)
                there[there[0] ? 1 : 0] = fresh + i * PAGE;
        }
        if (round % 4 != 0 || !there[0])
            pinned_copy(sum, boot, boot + PAGE, plugged);
        else if (round % 16 == 0)
            pinned_copy(sum, boot, there[0], plugged);
        else if (round % 16 == 8 || !there[1])
            pinned_copy(sum, there[0], boot, plugged);
        else
            pinned_copy(sum, there[0], there[1], plugged);
        munmap(fresh, FRESH * PAGE);
    }
}

static int start_loop(uint64_t plugged)
{
    Totals *sum = totals();

    if (sum->running)
        fail("a loop runs");
    memset((void *)sum, 0, sizeof(*sum));
    sum->running = 1;
    fflush(stdout);
    switch (fork()) {
    case -1:
        fail("no fork");
    case 0:
        setsid();
        loop(sum, plugged);
        sum->running = 0;
        _exit(0);
    default:
        return say_totals(sum);
    }
}

static int stop_loop(void)
{
    Totals *sum = totals();

    sum->stop = 1;
    for (unsigned i = 0; sum->running && i < 60000; i++)
        usleep(1000);
    return say_totals(sum);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "totals") == 0)
        return say_totals(totals());
    if (argc == 2 && strcmp(argv[1], "stop") == 0)
        return stop_loop();
    open_device(argc > 1 ? (unsigned)atoi(argv[1]) : 0);
    if (argc == 5 && strcmp(argv[2], "copy") == 0)
        return copy_places(argv[3], argv[4]);
    if (argc == 4 && strcmp(argv[2], "read") == 0 && atoi(argv[3]) > 0)
        return read_often((unsigned)atoi(argv[3]));
    if (argc == 4 && strcmp(argv[2], "loop") == 0)
        return start_loop(strtoull(argv[3], NULL, 16));
    if (argc > 2)
        fail("usage: edu-guest [N [copy FROM TO | read COUNT | loop PLUGGED]] | totals | stop");
    return once();
}
