/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "journal.h"

#include "error.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The process that maps opens and resets a device before it answers. */
#define PATIENCE_MS 30000

#define ORDER() __asm__ __volatile__("" ::: "memory")

static size_t shared_size(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (sizeof(VfmShared) + page - 1) / page * page;
}

/* The same pages twice in a row: what wraps around looks straight. */
static char *map_ring(int fd, size_t offset, GError **error)
{
    char *base = mmap(NULL, 2 * VFM_RING_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    for (int half = 0; base != MAP_FAILED && half < 2; half++)
        if (mmap(base + half * VFM_RING_SIZE, VFM_RING_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                 (off_t)offset) == MAP_FAILED)
            base = MAP_FAILED;
    if (base == MAP_FAILED) {
        vfm_set_system_error(error, errno, "map a ring of the journal");
        return NULL;
    }
    return base;
}

VfmJournal *vfm_journal_new(GError **error)
{
    g_autoptr(VfmJournal) journal = g_new0(VfmJournal, 1);
    int fd = memfd_create("vfiomem-journal", MFD_CLOEXEC);
    size_t size = shared_size();
    bool ok;

    if (fd < 0 || ftruncate(fd, (off_t)(size + (size_t)VFM_STREAMS * VFM_RING_SIZE)) < 0) {
        vfm_set_system_error(error, errno, "make the journal's memory");
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    journal->shared = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    ok = journal->shared != MAP_FAILED;
    if (!ok) {
        journal->shared = NULL;
        vfm_set_system_error(error, errno, "map the journal");
    }
    for (int i = 0; ok && i < VFM_STREAMS; i++) {
        journal->rings[i] = map_ring(fd, size + (size_t)i * VFM_RING_SIZE, error);
        ok = journal->rings[i] != NULL;
    }
    close(fd);
    if (!ok)
        return NULL;

    VfmJournalState *state = &journal->shared->states[0];

    state->client = -1;
    vfm_frame_init(&state->client_frame, VFM_CLIENT_TEXT_MAX, false);
    vfm_frame_init(&state->qemu_frame, SIZE_MAX, true);
    journal->shared->token = g_random_int();
    journal->shared->patience_ms = PATIENCE_MS;
    return g_steal_pointer(&journal);
}

void vfm_journal_free(VfmJournal *journal)
{
    if (!journal)
        return;
    for (int i = 0; i < VFM_STREAMS; i++)
        if (journal->rings[i])
            munmap(journal->rings[i], 2 * VFM_RING_SIZE);
    if (journal->shared)
        munmap(journal->shared, shared_size());
    g_free(journal);
}

VfmJournalState *vfm_journal_begin(VfmJournal *journal)
{
    VfmShared *shared = journal->shared;

    journal->next = &shared->states[1 - shared->active];
    *journal->next = shared->states[shared->active];
    journal->next->sequence++;
    return journal->next;
}

/* An empty stream starts over at zero. Only where no offset is remembered: descriptors are gone with the bytes. */
static void rewind_empty(VfmJournalState *state)
{
    for (int i = 0; i < VFM_STREAMS; i++)
        if (state->streams[i].head == state->streams[i].tail)
            state->streams[i].head = state->streams[i].tail = 0;
}

void vfm_journal_commit(VfmJournal *journal)
{
    g_assert(journal->next);
    rewind_empty(journal->next);
    ORDER();
    journal->shared->active = 1 - journal->shared->active;
    ORDER();
    journal->next = NULL;
}

size_t vfm_stream_used(const VfmJournalState *state, VfmStreamId id)
{
    return (size_t)(state->streams[id].tail - state->streams[id].head);
}

size_t vfm_stream_room(const VfmJournalState *state, VfmStreamId id)
{
    return VFM_RING_SIZE - vfm_stream_used(state, id);
}

char *vfm_stream_at(const VfmJournal *journal, VfmStreamId id, uint64_t offset)
{
    return journal->rings[id] + offset % VFM_RING_SIZE;
}

void vfm_stream_put(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, const char *bytes, size_t length)
{
    g_assert(length <= vfm_stream_room(next, id));
    memcpy(vfm_stream_at(journal, id, next->streams[id].tail), bytes, length);
    next->streams[id].tail += length;
}

void vfm_journal_discard(VfmJournal *journal, VfmJournalState *next, int fd)
{
    vfm_fd_ring_push(&journal->shared->closing, &next->closing, 0, fd);
}

void vfm_stream_move(VfmJournal *journal, VfmJournalState *next, VfmStreamId from, VfmStreamId to, size_t length)
{
    VfmStream *source = &next->streams[from], *target = &next->streams[to];
    uint64_t start = source->head, end = source->head + length, at = target->tail;
    const VfmFdEntry *front;

    g_assert(length <= vfm_stream_used(next, from));
    vfm_stream_put(journal, next, to, vfm_stream_at(journal, from, start), length);
    while ((front = vfm_fd_ring_front(&journal->shared->fds[from], source->fds)) && front->offset < end) {
        uint64_t offset = front->offset - start + at;

        vfm_fd_ring_push(&journal->shared->fds[to], &target->fds, offset,
                         vfm_fd_ring_take(&journal->shared->fds[from], &source->fds));
    }
    source->head = end;
}

void vfm_stream_drop(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, size_t length)
{
    VfmStream *stream = &next->streams[id];
    const VfmFdEntry *front;

    g_assert(length <= vfm_stream_used(next, id));
    stream->head += length;
    while ((front = vfm_fd_ring_front(&journal->shared->fds[id], stream->fds)) &&
           (front->offset < stream->head || stream->head == stream->tail))
        vfm_journal_discard(journal, next, vfm_fd_ring_take(&journal->shared->fds[id], &stream->fds));
}

void vfm_stream_skip(VfmJournal *journal, VfmJournalState *next, VfmStreamId id, size_t length)
{
    VfmStream *stream = &next->streams[id];
    VfmFdRing *ring = &journal->shared->fds[id];

    if (length == vfm_stream_used(next, id)) {
        vfm_stream_drop(journal, next, id, length);
        return;
    }
    stream->head += length;
    /* Before the state counts; but where it never does, a successor skips the same again. */
    for (VfmFdSpan rest = stream->fds; vfm_fd_span_count(rest); rest.head++) {
        VfmFdEntry *entry = &ring->entries[rest.head % VFM_FD_RING_SIZE];

        if (entry->offset >= stream->head)
            break;
        entry->offset = stream->head;
    }
}

unsigned vfm_stream_fds(const VfmJournal *journal, const VfmJournalState *state, VfmStreamId id, size_t length)
{
    const VfmStream *stream = &state->streams[id];
    const VfmFdRing *ring = &journal->shared->fds[id];
    unsigned n = 0;

    while (n < vfm_fd_span_count(stream->fds) &&
           ring->entries[(stream->fds.head + n) % VFM_FD_RING_SIZE].offset < stream->head + length)
        n++;
    return n;
}
