/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A process that maps guest memory is killed at every store and every kernel call there is, and
 * its successor goes on: nothing mapped that should not be, nothing unmapped that must stand, every answer right.
 *
 * A script of messages runs in a child that shares ledger, "kernel" and the table of descriptors with
 * us, as a worker does with its supervisor. What should be mapped after each message is worked
 * out here from the answers alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "guest_dma.h"
#include "shared_kernel.h"

#ifndef STRIDE /* meson.build says when not every step is tried */
#define STRIDE 1
#endif

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define HIGH (4 * GIB)
#define PAGE (4 * KIB)

/* Pages of the two places where scripts have memory: from 0 and from 4 GiB. */
enum { LOW_PAGES = 16 * MIB / PAGE, PAGES = 2 * LOW_PAGES, MAX_OPS = 64, CLIENTS = 2 };

typedef enum { END, JOIN, MAP, UNMAP, LEAVE, SETTLE, FAIL } Kind;
typedef enum { NONE, RAM, VMEM } File;

typedef struct {
    Kind kind;
    unsigned client;
    uint64_t from, to; /* MAP, UNMAP: addresses. FAIL: the @from-th map from now on fails */
    File file;
    uint64_t offset;
    uint32_t flags;
} Op;

typedef struct {
    bool ok;
    int errnum; /* nothing more than that an error is another one */
    uint64_t unmapped;
} Answer;

/* Shared with the children: what a session keeps of its messages. */
typedef struct {
    int64_t countdown;         /* steps until death; 0: never */
    uint64_t steps;            /* so far */
    unsigned done;             /* messages whose answer is kept */
    unsigned done_by[CLIENTS]; /* where each client has a thread and a script of its own */
    Answer answers[MAX_OPS];
} Control;

typedef struct {
    uint64_t inode, offset, serial;
    unsigned prot;
} Page;

typedef struct Scene {
    void (*live)(struct Scene *scene, bool recover_only);
    const Op *script;
    const GArray *windows;
    Control *control;
    SharedKernel *kernel;
    VfmDmaLedger *ledger;
    int files[3]; /* by File */
    uint64_t inodes[3];
    int first_free; /* lowest descriptor that is none of ours */
    bool compare;   /* answers must be @reference's */
    Answer reference[MAX_OPS];
} Scene;

static void die_in_time(gpointer data)
{
    Control *control = data;

    control->steps++;
    if (control->countdown && --control->countdown == 0)
        syscall(SYS_kill, syscall(SYS_getpid), SIGKILL);
}

/* --- what should be mapped */

static unsigned page_of(uint64_t address)
{
    unsigned page = address < HIGH ? address / PAGE : LOW_PAGES + (address - HIGH) / PAGE;

    g_assert(page < PAGES);
    return page;
}

static void put(Page *pages, uint64_t from, uint64_t to, uint64_t inode, uint64_t offset, unsigned prot,
                uint64_t serial)
{
    for (uint64_t at = from; at < to; at += PAGE) {
        Page *page = &pages[page_of(at)];
        Page wanted = {.inode = inode, .offset = offset + (at - from), .prot = prot, .serial = serial};

        /* Two clients say the same of a page, or nothing. */
        g_assert(page->inode == 0 || serial || (page->inode == inode && page->offset == wanted.offset));
        *page = wanted;
    }
}

static void put_map(const Scene *scene, Page *pages, uint64_t from, uint64_t to, uint64_t inode, uint64_t offset,
                    unsigned prot)
{
    g_autoptr(GArray) parts = vfm_ranges_new();

    if (scene->windows) {
        g_array_unref(parts);
        parts = vfm_ranges_clip(scene->windows, from, to - 1);
    } else {
        vfm_ranges_add(parts, from, to - 1);
    }
    for (unsigned i = 0; i < parts->len; i++) {
        const VfmIovaRange *part = &g_array_index(parts, VfmIovaRange, i);

        put(pages, part->start, part->last + 1, inode, offset + (part->start - from), prot, 0);
    }
}

/* Whether op @map still stands after @count messages with these answers. */
static bool stands(const Scene *scene, const Answer *answers, unsigned map, unsigned count)
{
    const Op *op = &scene->script[map];

    for (unsigned i = map + 1; i < count; i++) {
        const Op *later = &scene->script[i];

        if (later->client != op->client || !answers[i].ok)
            continue;
        if (later->kind == LEAVE || (later->kind == UNMAP && later->from <= op->from && later->to >= op->to))
            return false;
    }
    return answers[map].ok;
}

/* By what was answered to the first @count messages. */
static void expect(const Scene *scene, const Answer *answers, unsigned count, Page *pages)
{
    memset(pages, 0, PAGES * sizeof(*pages));
    for (unsigned i = 0; i < count; i++) {
        const Op *op = &scene->script[i];

        if (op->kind == MAP && op->file != NONE && stands(scene, answers, i, count))
            put_map(scene, pages, op->from, op->to, scene->inodes[op->file], op->offset, op->flags);
    }
}

static void look(const Scene *scene, Page *pages)
{
    memset(pages, 0, PAGES * sizeof(*pages));
    for (unsigned i = 0; i < scene->kernel->count; i++) {
        const SharedMapping *mapping = &scene->kernel->mappings[i];

        put(pages, mapping->iova, mapping->iova + mapping->size, mapping->inode, mapping->offset, mapping->prot,
            mapping->serial);
    }
}

static bool same(const Page *a, const Page *b)
{
    return a->inode == b->inode && a->offset == b->offset && a->prot == b->prot;
}

/* Below 4 GiB, and of memory that is all there: RAM is filled, VMEM is not. */
static bool may_linger(const Scene *scene, unsigned page, const Page *what)
{
    return page < LOW_PAGES && what->inode == scene->inodes[RAM];
}

/* The kernel has what @least has, nothing that is not in @most, and what lingers. */
static void check_kernel(const Scene *scene, const Page *least, const Page *most)
{
    g_autofree Page *kernel = g_new(Page, PAGES);

    look(scene, kernel);
    for (unsigned i = 0; i < PAGES; i++) {
        if (least[i].inode && most[i].inode && same(&least[i], &most[i]))
            g_assert(same(&kernel[i], &least[i]));
        else if (kernel[i].inode)
            g_assert(same(&kernel[i], &most[i]) || same(&kernel[i], &least[i]) || may_linger(scene, i, &kernel[i]));
    }
}

static void check_after(const Scene *scene, const Answer *answers, unsigned count)
{
    g_autofree Page *pages = g_new(Page, PAGES);
    g_autofree Page *kernel = g_new(Page, PAGES);

    expect(scene, answers, count, pages);
    check_kernel(scene, pages, pages);
    look(scene, kernel);
    for (unsigned i = 0; i < PAGES; i++)
        g_assert(!pages[i].inode || same(&pages[i], &kernel[i]));
}

/* --- the process that may die */

/* What nobody owns is closed, before anything is opened. */
static void sweep(const Scene *scene)
{
    g_autoptr(GArray) owned = g_array_new(false, false, sizeof(int));

    vfm_dma_ledger_descriptors(scene->ledger, owned);
    for (int fd = scene->first_free; fd < scene->first_free + 64; fd++) {
        bool keep = false;

        for (unsigned i = 0; i < owned->len; i++)
            keep |= g_array_index(owned, int, i) == fd;
        if (!keep)
            close(fd);
    }
    for (unsigned i = 0; i < owned->len; i++)
        g_assert(fcntl(g_array_index(owned, int, i), F_GETFD) >= 0);
}

static const char *name_of(unsigned client)
{
    static const char *const names[CLIENTS] = {"0000:01:00.0", "0000:02:00.0"};

    return names[client];
}

static Answer carry_out(Scene *scene, VfmGuestDma *dma, VfmGuestDmaClient **clients, unsigned index)
{
    const Op *op = &scene->script[index];
    VfmGuestDmaClient *client = clients[op->client];
    g_autoptr(GError) error = NULL;
    Answer answer = {.ok = true};

    if (client)
        vfm_guest_dma_message(client, index + 1);
    switch (op->kind) {
    case JOIN:
        if (!client)
            clients[op->client] = vfm_guest_dma_join(dma, name_of(op->client));
        g_assert(clients[op->client]);
        break;
    case MAP: {
        VfmVfuDmaMap map = {.flags = op->flags, .offset = op->offset, .address = op->from, .size = op->to - op->from};
        int fd = op->file == NONE ? -1 : dup(scene->files[op->file]);

        answer.ok = vfm_guest_dma_map(client, &map, fd, &error);
        close(fd);
        break;
    }
    case UNMAP:
        answer.ok = vfm_guest_dma_unmap(client, op->from, op->to - op->from, &answer.unmapped, &error);
        break;
    case LEAVE:
        if (client)
            vfm_guest_dma_leave(client);
        clients[op->client] = NULL;
        break;
    case SETTLE:
        vfm_guest_dma_settle(dma);
        break;
    case FAIL:
        scene->kernel->fail_maps = op->from;
        break;
    case END:
        break;
    }
    if (error)
        answer.errnum = 1 + error->code + (error->domain == VFM_REFUSED ? 1000 : 0);
    return answer;
}

static bool equal(const Answer *a, const Answer *b)
{
    return a->ok == b->ok && a->errnum == b->errnum && a->unmapped == b->unmapped;
}

/* @recover_only: leaves it at what a successor does before the first message. */
static void live(Scene *scene, bool recover_only)
{
    Control *control = scene->control;
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    VfmGuestDmaClient *clients[CLIENTS] = {NULL};
    bool first = scene->kernel->devices == 0;
    g_autoptr(GError) error = NULL;
    VfmContainer *container;
    VfmGuestDma *dma;

    sweep(scene);
    container = vfm_container_new("container 0", shared_kernel_backend(scene->kernel, die_in_time, control), VFM_NONE);
    if (first ? !vfm_container_attach(container, &device, NULL, &error)
              : !vfm_container_adopt(container, &device, &(VfmDeviceHold){-1, -1}, &error))
        g_error("%s", error->message);
    dma = vfm_guest_dma_resume(container, scene->windows, scene->ledger, &error);
    if (!dma)
        g_error("%s", error->message);
    vfm_guest_dma_set_patience(dma, 1);
    if (!vfm_container_verify(container, &error))
        g_error("%s", error->message);
    for (unsigned client = 0; client < CLIENTS; client++) {
        bool joined = false;

        for (unsigned i = 0; i < control->done; i++)
            if (scene->script[i].client == client)
                joined = scene->script[i].kind == JOIN || (joined && scene->script[i].kind != LEAVE);
        if (joined)
            clients[client] = vfm_guest_dma_rejoin(dma, name_of(client));
    }
    vfm_guest_dma_disown(dma);
    if (recover_only)
        return;
    for (; scene->script[control->done].kind != END; control->done++) {
        unsigned index = control->done;
        Answer answer = carry_out(scene, dma, clients, index);

        if (scene->compare && !equal(&answer, &scene->reference[index]))
            g_error("message %u: answer %d (%d), %" G_GUINT64_FORMAT " instead of %d (%d), %" G_GUINT64_FORMAT, index,
                    answer.ok, answer.errnum, answer.unmapped, scene->reference[index].ok,
                    scene->reference[index].errnum, scene->reference[index].unmapped);
        control->answers[index] = answer;
        check_after(scene, control->answers, index + 1);
        if (!vfm_container_verify(container, &error))
            g_error("%s", error->message);
    }
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
}

/* As a supervisor makes its workers. True: it was killed at step @death. */
static bool run(Scene *scene, uint64_t death, bool recover_only)
{
    pid_t pid;
    int status;

    scene->control->countdown = (int64_t)death;
    scene->control->steps = 0;
    pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0) {
        scene->live(scene, recover_only);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
        return true;
    assert_int_equal(status, 0);
    return false;
}

/* --- checks from outside */

/* What the ledger says clients have. */
static void claims(const Scene *scene, Page *pages)
{
    memset(pages, 0, PAGES * sizeof(*pages));
    for (uint32_t i = 0; i < vfm_dma_ledger_used(scene->ledger, VFM_LEDGER_MAPS); i++) {
        const VfmLedgerMap *map = vfm_dma_ledger_at(scene->ledger, VFM_LEDGER_MAPS, i);
        const VfmLedgerFile *file = vfm_dma_ledger_at(scene->ledger, VFM_LEDGER_FILES, map->file);

        if (map->state == VFM_LEDGER_STANDS && map->file != VFM_LEDGER_NONE)
            put_map(scene, pages, map->start, map->last + 1, file->inode, map->offset, map->prot);
    }
}

/* Somebody died over message @control->done: what stands before and after it stands now, and nothing is there that is
 * in neither. */
static void check_killed(const Scene *scene, Page *kernel)
{
    const Control *control = scene->control;
    g_autofree Page *before = g_new(Page, PAGES);
    g_autofree Page *after = g_new(Page, PAGES);
    Answer answers[MAX_OPS];
    bool more = scene->script[control->done].kind != END;

    memcpy(answers, control->answers, sizeof(answers));
    answers[control->done] = scene->reference[control->done];
    expect(scene, answers, control->done, before);
    expect(scene, answers, control->done + more, after);
    look(scene, kernel);
    for (unsigned i = 0; i < PAGES; i++) {
        if (before[i].inode && after[i].inode && same(&before[i], &after[i]))
            assert_true(same(&kernel[i], &before[i]));
        else if (kernel[i].inode && !may_linger(scene, i, &kernel[i]))
            /* The map that fails half way (FAIL) has made pieces that are in neither. */
            assert_true(same(&kernel[i], &before[i]) || same(&kernel[i], &after[i]) ||
                        (scene->script[control->done].kind == MAP && !answers[control->done].ok));
        /* Only what stood on both sides is compared with later. */
        if (!(before[i].inode && after[i].inode && same(&before[i], &after[i])))
            kernel[i].serial = 0;
    }
}

/* A successor has read the ledger: exactly what clients have, and what lingers; what stood was not touched. */
static void check_recovered(const Scene *scene, const Page *killed)
{
    g_autofree Page *claimed = g_new(Page, PAGES);
    g_autofree Page *kernel = g_new(Page, PAGES);

    claims(scene, claimed);
    look(scene, kernel);
    for (unsigned i = 0; i < PAGES; i++) {
        if (claimed[i].inode)
            assert_true(same(&claimed[i], &kernel[i]));
        else if (kernel[i].inode)
            assert_true(may_linger(scene, i, &kernel[i]));
        if (killed[i].serial)
            assert_int_equal(kernel[i].serial, killed[i].serial);
    }
}

static void begin(Scene *scene)
{
    memset(scene->control, 0, sizeof(*scene->control));
    shared_kernel_reset(scene->kernel);
    g_clear_pointer(&scene->ledger, vfm_dma_ledger_free);
    scene->ledger = vfm_dma_ledger_new(NULL, NULL);
    vfm_dma_ledger_set_step(scene->ledger, die_in_time, scene->control);
}

static void check_over(const Scene *scene)
{
    assert_int_equal(scene->kernel->count, 0);
    assert_true(vfm_dma_ledger_is_empty(scene->ledger));
    for (int fd = scene->first_free; fd < scene->first_free + 64; fd++)
        assert_int_equal(fcntl(fd, F_GETFD), -1);
}

static int file_new(const char *name, bool full, uint64_t *inode)
{
    int fd = memfd_create(name, MFD_CLOEXEC);
    struct stat st;

    assert_int_equal(ftruncate(fd, 16 * MIB), 0);
    if (full) {
        void *at = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

        assert_true(at != MAP_FAILED);
        assert_int_equal(madvise(at, 16 * MIB, MADV_POPULATE_WRITE), 0);
        munmap(at, 16 * MIB);
    }
    assert_int_equal(fstat(fd, &st), 0);
    *inode = st.st_ino;
    return fd;
}

static Scene *scene_new(const Op *script, const GArray *windows)
{
    Scene *scene = g_new0(Scene, 1);

    scene->live = live;
    scene->script = script;
    scene->windows = windows;
    scene->control =
        mmap(NULL, sizeof(Control), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    scene->kernel = shared_kernel_new();
    scene->files[RAM] = file_new("ram", true, &scene->inodes[RAM]);
    scene->files[VMEM] = file_new("vmem", false, &scene->inodes[VMEM]);
    scene->first_free = dup(scene->files[RAM]);
    close(scene->first_free);
    return scene;
}

static void scene_free(Scene *scene)
{
    vfm_dma_ledger_free(scene->ledger);
    shared_kernel_free(scene->kernel);
    munmap(scene->control, sizeof(Control));
    close(scene->files[RAM]);
    close(scene->files[VMEM]);
    g_free(scene);
}

static void kill_everywhere(const Op *script, const GArray *windows)
{
    Scene *scene = scene_new(script, windows);
    g_autofree Page *killed = g_new(Page, PAGES);
    uint64_t death;

    begin(scene);
    assert_false(run(scene, 0, false));
    memcpy(scene->reference, scene->control->answers, sizeof(scene->reference));
    check_over(scene);
    scene->compare = true;

    for (death = 1;; death += STRIDE) {
        uint64_t recovery;

        begin(scene);
        if (!run(scene, death, false))
            break;
        check_killed(scene, killed);
        /* A message that was told to fail can't be told again. */
        if (scene->control->done > 0 && script[scene->control->done - 1].kind == FAIL)
            scene->kernel->fail_maps = script[scene->control->done - 1].from;
        assert_false(run(scene, 0, true));
        recovery = scene->control->steps;
        check_recovered(scene, killed);
        /* The next one dies, too: in its recovery, or soon after. */
        if (run(scene, 1 + (death * 7919) % (recovery + 40), false)) {
            check_killed(scene, killed);
            if (scene->control->done > 0 && script[scene->control->done - 1].kind == FAIL)
                scene->kernel->fail_maps = script[scene->control->done - 1].from;
            assert_false(run(scene, 0, false));
        }
        check_over(scene);
    }
    check_over(scene);
    print_message("killed at every %d. of %" G_GUINT64_FORMAT " steps\n", STRIDE, scene->control->steps);
    scene_free(scene);
}

/* Firmware that moves windows about while two devices watch. */
static void test_firmware(void **state)
{
    static const Op script[] = {
        {JOIN, 0, 0, 0, NONE, 0, 0},
        {MAP, 0, 0, 0xa0000, RAM, 0, 3},
        {JOIN, 1, 0, 0, NONE, 0, 0},
        {MAP, 0, 0xfc000, 4 * MIB, RAM, 0xfc000, 3},
        {MAP, 1, 0, 0xa0000, RAM, 0, 3},
        {MAP, 1, 0xfc000, 4 * MIB, RAM, 0xfc000, 3},
        {UNMAP, 0, 0xfc000, 4 * MIB, NONE, 0, 0},
        {UNMAP, 1, 0xfc000, 4 * MIB, NONE, 0, 0},
        /* The same again, but for two pages that now can't be written: these are cut out and replaced. */
        {MAP, 0, 0x100000, 4 * MIB, RAM, 0x100000, 3},
        {MAP, 0, 0xfc000, 0xfe000, RAM, 0xfc000, 1},
        {MAP, 0, 0xfe000, 0x100000, RAM, 0xfe000, 3},
        {MAP, 1, 0x100000, 4 * MIB, RAM, 0x100000, 3},
        {MAP, 1, 0xfc000, 0xfe000, RAM, 0xfc000, 1},
        {MAP, 0, 8 * MIB, 9 * MIB, NONE, 0, 1},
        {UNMAP, 0, 0xfc000, 4 * MIB, NONE, 0, 0},
        {UNMAP, 0, 4 * MIB, 12 * MIB, NONE, 0, 0},
        {SETTLE, 0, 0, 0, NONE, 0, 0},
        {UNMAP, 1, 0, 16 * MIB, NONE, 0, 0},
        {MAP, 1, 0xff000, 2 * MIB, RAM, 0x1ff000, 3},
        {LEAVE, 0, 0, 0, NONE, 0, 0},
        {LEAVE, 1, 0, 0, NONE, 0, 0},
        {END, 0, 0, 0, NONE, 0, 0},
    };

    kill_everywhere(script, NULL);
}

/* Blocks of a virtio-mem device: one by one in, many at once out. */
static void test_blocks(void **state)
{
    static const Op script[] = {
        {JOIN, 0, 0, 0, NONE, 0, 0},
        {JOIN, 1, 0, 0, NONE, 0, 0},
        {MAP, 0, HIGH, HIGH + 2 * MIB, VMEM, 0, 3},
        {MAP, 0, HIGH + 2 * MIB, HIGH + 4 * MIB, VMEM, 2 * MIB, 3},
        {MAP, 0, HIGH + 4 * MIB, HIGH + 6 * MIB, VMEM, 4 * MIB, 3},
        {MAP, 1, HIGH, HIGH + 2 * MIB, VMEM, 0, 3},
        {MAP, 1, HIGH + 2 * MIB, HIGH + 4 * MIB, VMEM, 2 * MIB, 3},
        {UNMAP, 0, HIGH + MIB, HIGH + 6 * MIB, NONE, 0, 0}, /* would cut */
        {UNMAP, 0, HIGH, HIGH + 8 * MIB, NONE, 0, 0},
        {UNMAP, 0, HIGH, HIGH + 8 * MIB, NONE, 0, 0}, /* QEMU does it twice: nothing */
        {MAP, 0, HIGH, HIGH + MIB, VMEM, 0, 3},       /* collides with the other's */
        {UNMAP, 1, HIGH, HIGH + 16 * MIB, NONE, 0, 0},
        {MAP, 0, HIGH, HIGH + MIB, VMEM, 0, 3},
        {MAP, 1, HIGH, HIGH + MIB, VMEM, 0, 3},
        {MAP, 0, 2 * MIB, 3 * MIB, VMEM, 2 * MIB, 3}, /* low memory with a hole does not linger */
        {UNMAP, 0, 2 * MIB, 3 * MIB, NONE, 0, 0},
        {LEAVE, 0, 0, 0, NONE, 0, 0},
        {JOIN, 0, 0, 0, NONE, 0, 0},
        {MAP, 0, HIGH, HIGH + MIB, VMEM, 0, 3},
        {LEAVE, 1, 0, 0, NONE, 0, 0},
        {LEAVE, 0, 0, 0, NONE, 0, 0},
        {END, 0, 0, 0, NONE, 0, 0},
    };

    kill_everywhere(script, NULL);
}

/* A map that fails half way takes back what it made, but for what another client has. */
static void test_failure(void **state)
{
    static const Op script[] = {
        {JOIN, 0, 0, 0, NONE, 0, 0},
        {JOIN, 1, 0, 0, NONE, 0, 0},
        {MAP, 1, 0xa0000, 0xa2000, VMEM, 0, 3},
        {FAIL, 0, 3, 0, NONE, 0, 0},
        {MAP, 0, 0xa0000, 0xa6000, VMEM, 0, 3},
        {MAP, 0, 0xa0000, 0xa6000, VMEM, 0, 3},
        {UNMAP, 1, 0, 16 * MIB, NONE, 0, 0},
        {LEAVE, 1, 0, 0, NONE, 0, 0},
        {LEAVE, 0, 0, 0, NONE, 0, 0},
        {END, 0, 0, 0, NONE, 0, 0},
    };

    kill_everywhere(script, NULL);
}

/* Maps that are partly or wholly outside of the windows still are their clients'. */
static void test_windows(void **state)
{
    static const Op script[] = {
        {JOIN, 0, 0, 0, NONE, 0, 0},
        {JOIN, 1, 0, 0, NONE, 0, 0},
        {MAP, 0, 0, 0xa0000, RAM, 0, 3},
        {MAP, 0, 2 * MIB, 8 * MIB, VMEM, 2 * MIB, 3},
        {MAP, 0, HIGH, HIGH + 2 * MIB, VMEM, 0, 3},
        {MAP, 1, 2 * MIB, 8 * MIB, VMEM, 2 * MIB, 3},
        {UNMAP, 0, 0, 16 * MIB, NONE, 0, 0},
        {MAP, 0, 2 * MIB, 8 * MIB, VMEM, 2 * MIB, 3},
        {LEAVE, 1, 0, 0, NONE, 0, 0},
        {LEAVE, 0, 0, 0, NONE, 0, 0},
        {END, 0, 0, 0, NONE, 0, 0},
    };
    g_autoptr(GArray) windows = vfm_ranges_new();

    vfm_ranges_add(windows, 3 * MIB, 4 * MIB - 1);
    vfm_ranges_add(windows, 6 * MIB, 12 * MIB - 1);
    kill_everywhere(script, windows);
}

/* --- two devices at once */

typedef struct {
    Scene *scene;
    VfmGuestDma *dma;
    unsigned client;
} Session;

/* Both devices are told the same, each by its own connection: the one that is ahead waits for the other to let go. */
static const Op told[] = {
    {MAP, 0, 0, 0xa0000, RAM, 0, 3},
    {MAP, 0, 0xfe000, 4 * MIB, RAM, 0xfe000, 3},
    {MAP, 0, HIGH, HIGH + 2 * MIB, VMEM, 0, 3},
    {MAP, 0, HIGH + 2 * MIB, HIGH + 4 * MIB, VMEM, 2 * MIB, 3},
    {UNMAP, 0, 0xfe000, 4 * MIB, NONE, 0, 0},
    {MAP, 0, 0xfe000, 0xff000, RAM, 0xfe000, 1},
    {MAP, 0, 0xff000, 4 * MIB, RAM, 0xff000, 3},
    {UNMAP, 0, HIGH, HIGH + 16 * MIB, NONE, 0, 0},
    {MAP, 0, HIGH, HIGH + 4 * MIB, VMEM, 0, 3},
    {UNMAP, 0, HIGH, HIGH + 16 * MIB, NONE, 0, 0},
    {MAP, 0, HIGH, HIGH + 2 * MIB, VMEM, 4 * MIB, 3},
    {UNMAP, 0, 0, HIGH + 16 * MIB, NONE, 0, 0},
    {END, 0, 0, 0, NONE, 0, 0},
};
static const uint64_t told_unmapped[] = {
    [4] = 4 * MIB - 0xfe000, [7] = 4 * MIB, [9] = 4 * MIB, [11] = 4 * MIB - 0xff000 + 0x1000 + 0xa0000 + 2 * MIB};

static gpointer serve(gpointer data)
{
    Session *session = data;
    unsigned *done = &session->scene->control->done_by[session->client];
    VfmGuestDmaClient *clients[CLIENTS] = {vfm_guest_dma_rejoin(session->dma, name_of(session->client))};

    if (!clients[0])
        clients[0] = vfm_guest_dma_join(session->dma, name_of(session->client));
    for (; told[*done].kind != END; ++*done) {
        Answer answer = carry_out(session->scene, session->dma, clients, *done);

        if (!answer.ok || (told[*done].kind == UNMAP && answer.unmapped != told_unmapped[*done]))
            g_error("client %u, message %u: %d (%d), %" G_GUINT64_FORMAT " bytes", session->client, *done, answer.ok,
                    answer.errnum, answer.unmapped);
    }
    vfm_guest_dma_leave(clients[0]);
    return NULL;
}

static void live_twice(Scene *scene, bool recover_only)
{
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    g_autoptr(GError) error = NULL;
    Session sessions[CLIENTS];
    GThread *threads[CLIENTS];
    VfmContainer *container;
    VfmGuestDma *dma;

    sweep(scene);
    container =
        vfm_container_new("container 0", shared_kernel_backend(scene->kernel, die_in_time, scene->control), VFM_NONE);
    if (scene->kernel->devices)
        vfm_container_adopt(container, &device, &(VfmDeviceHold){-1, -1}, NULL);
    else
        vfm_container_attach(container, &device, NULL, NULL);
    dma = vfm_guest_dma_resume(container, NULL, scene->ledger, &error);
    if (!dma)
        g_error("%s", error->message);
    if (recover_only)
        return;
    for (unsigned i = 0; i < CLIENTS; i++) {
        sessions[i] = (Session){.scene = scene, .dma = dma, .client = i};
        threads[i] = g_thread_new("session", serve, &sessions[i]);
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        g_thread_join(threads[i]);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
}

static void test_two_devices_at_once(void **state)
{
    Scene *scene = scene_new(told, NULL);
    g_autofree Page *nothing = g_new0(Page, PAGES);
    unsigned deaths = 0;

    scene->live = live_twice;
    for (uint64_t death = 1;; death += 2 * STRIDE) {
        begin(scene);
        if (!run(scene, death, false))
            break;
        assert_false(run(scene, 0, true));
        check_recovered(scene, nothing);
        if (run(scene, 1 + (death * 7919) % 60, false)) {
            assert_false(run(scene, 0, true));
            check_recovered(scene, nothing);
            assert_false(run(scene, 0, false));
        }
        check_over(scene);
        deaths++;
    }
    print_message("%u deaths\n", deaths);
    scene_free(scene);
}

/* --- a process that wrote where it should not have */

/* Goes on, or says that it can't. */
static void live_scribbled(Scene *scene, bool recover_only)
{
    VfmContainer *container =
        vfm_container_new("container 0", shared_kernel_backend(scene->kernel, die_in_time, scene->control), VFM_NONE);
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    g_autoptr(GError) error = NULL;
    VfmGuestDma *dma;

    vfm_container_adopt(container, &device, &(VfmDeviceHold){-1, -1}, NULL);
    dma = vfm_guest_dma_resume(container, NULL, scene->ledger, &error);
    g_assert((dma != NULL) == (error == NULL));
    if (!dma)
        return;
    vfm_guest_dma_disown(dma);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
}

static void test_scribbled_ledger(void **state)
{
    static const size_t sizes[] = {sizeof(VfmLedgerPiece), sizeof(VfmLedgerMap), sizeof(VfmLedgerFile),
                                   sizeof(VfmLedgerClient)};
    static const uint8_t bytes[] = {0, 1, 2, 5, 0x7f, 0x80, 0xff};
    Scene *scene = scene_new(told, NULL);
    GRand *random = g_rand_new_with_seed(1);

    for (unsigned i = 0; i < 400 / STRIDE; i++) {
        unsigned table = (unsigned)g_rand_int_range(random, 0, VFM_LEDGER_TABLES);
        uint8_t *slot;

        begin(scene);
        scene->live = live_twice;
        assert_true(run(scene, 60 + i % 80, false));
        slot = (uint8_t *)(uintptr_t)vfm_dma_ledger_at(
            scene->ledger, (VfmLedgerTable)table,
            (uint32_t)g_rand_int_range(random, 0, (int)vfm_dma_ledger_used(scene->ledger, (VfmLedgerTable)table)));
        for (unsigned n = 1 + i % 3; n > 0; n--)
            slot[g_rand_int_range(random, 0, (int)sizes[table])] =
                bytes[g_rand_int_range(random, 0, G_N_ELEMENTS(bytes))];
        scene->live = live_scribbled;
        assert_false(run(scene, 0, true));
        close_range((unsigned)scene->first_free, ~0u, 0);
    }
    g_rand_free(random);
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_firmware),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_failure),
        cmocka_unit_test(test_scribbled_ledger),
        cmocka_unit_test(test_two_devices_at_once),
        cmocka_unit_test(test_windows),

    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
