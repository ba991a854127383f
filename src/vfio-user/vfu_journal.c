/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_journal.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* Holds the queue's bound and the message that goes beyond it. */
#define RING_SIZE (32u << 20)
static_assert(RING_SIZE >= VFM_VFU_MAX_QUEUE_BYTES + VFM_VFU_MAX_MESSAGE, "the ring's bounds");
/* Descriptors that may wait before no further message is taken; the ring has room for that message's. */
#define FDS_WAITING_MAX 4096u
#define FD_RING_SIZE 8192u
/* More than this in the ring is given back when it runs empty. */
#define KEPT_BYTES (256u * 1024)

#define ORDER() __asm__ __volatile__("" ::: "memory")

typedef struct {
    uint64_t message; /* where it begins, in received bytes */
    int32_t fd;
} WaitingFd;

/* The last receive or send, and the count of bytes it began at. */
typedef struct {
    volatile bool noted;
    uint64_t at;
    VfmTransfer transfer;
} Trace;

typedef struct {
    volatile uint32_t active; /* index of the state that counts */
    volatile uint32_t busy, crash_note;
    uint32_t crashes;
    int32_t socket;
    VfmVfuState states[2];
    VfmVfuOffer offer;
    char why[256];
    Trace receive, send;
    WaitingFd fds[FD_RING_SIZE];
} Shared;

struct VfmVfuJournal {
    Shared *shared;
    uint8_t *ring;  /* RING_SIZE, twice */
    uint8_t *reply; /* VFM_VFU_MAX_MESSAGE */
    unsigned fds_max;
    void (*step)(const char *name, gpointer data);
    gpointer step_data;
};

static size_t whole_pages(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

static size_t total_size(void)
{
    return whole_pages(sizeof(Shared)) + 2 * RING_SIZE + whole_pages(VFM_VFU_MAX_MESSAGE);
}

/* One range of addresses: the shared part, the ring twice, the reply; in the file the ring is once. */
static bool map_all(VfmVfuJournal *journal, int fd)
{
    size_t shared = whole_pages(sizeof(Shared)), reply = whole_pages(VFM_VFU_MAX_MESSAGE);
    const struct {
        size_t at, size, offset;
    } parts[] = {
        {0, shared, 0},
        {shared, RING_SIZE, shared},
        {shared + RING_SIZE, RING_SIZE, shared},
        {shared + 2 * RING_SIZE, reply, shared + RING_SIZE},
    };
    uint8_t *base;

    if (ftruncate(fd, (off_t)(shared + RING_SIZE + reply)) < 0)
        return false;
    base = mmap(NULL, total_size(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED)
        return false;
    journal->shared = (Shared *)(void *)base;
    journal->ring = base + shared;
    journal->reply = base + shared + 2 * RING_SIZE;
    for (unsigned i = 0; i < G_N_ELEMENTS(parts); i++)
        if (mmap(base + parts[i].at, parts[i].size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd,
                 (off_t)parts[i].offset) == MAP_FAILED)
            return false;
    return true;
}

VfmVfuJournal *vfm_vfu_journal_new(GError **error)
{
    g_autoptr(VfmVfuJournal) journal = g_new0(VfmVfuJournal, 1);
    struct rlimit limit = {1024, 1024};
    int fd = memfd_create("vfiomem-connection", MFD_CLOEXEC);
    bool mapped = fd >= 0 && map_all(journal, fd);

    if (!mapped)
        vfm_set_system_error(error, errno, "no memory for the record of a connection");
    if (fd >= 0)
        close(fd);
    if (!mapped)
        return NULL;
    getrlimit(RLIMIT_NOFILE, &limit);
    journal->fds_max = (unsigned)CLAMP(limit.rlim_cur / 8, 64, FDS_WAITING_MAX);
    journal->shared->socket = -1;
    return g_steal_pointer(&journal);
}

void vfm_vfu_journal_free(VfmVfuJournal *journal)
{
    if (!journal)
        return;
    if (journal->shared)
        munmap(journal->shared, total_size());
    g_free(journal);
}

void vfm_vfu_journal_set_step(VfmVfuJournal *journal, void (*step)(const char *name, gpointer data), gpointer data)
{
    journal->step = step;
    journal->step_data = data;
}

void vfm_vfu_journal_step(const VfmVfuJournal *journal, const char *name)
{
    if (G_UNLIKELY(journal->step))
        journal->step(name, journal->step_data);
}

const VfmVfuState *vfm_vfu_journal_state(const VfmVfuJournal *journal)
{
    /* The supervisor reads this, too, and what a worker left there is not to be believed. */
    return &journal->shared->states[journal->shared->active & 1];
}

int vfm_vfu_journal_socket(const VfmVfuJournal *journal)
{
    return journal->shared->socket;
}

const VfmVfuOffer *vfm_vfu_journal_offer(const VfmVfuJournal *journal)
{
    return &journal->shared->offer;
}

const char *vfm_vfu_journal_why(const VfmVfuJournal *journal)
{
    return journal->shared->why;
}

/* A copy of the state to write to. It counts from commit() on. */
static VfmVfuState *begin(VfmVfuJournal *journal)
{
    VfmVfuState *next = &journal->shared->states[(journal->shared->active & 1) ^ 1];

    *next = *vfm_vfu_journal_state(journal);
    return next;
}

static void commit(VfmVfuJournal *journal)
{
    ORDER();
    journal->shared->active = (journal->shared->active & 1) ^ 1;
    ORDER();
}

void vfm_vfu_journal_open(VfmVfuJournal *journal, int socket, const VfmVfuOffer *offer)
{
    Shared *shared = journal->shared;
    VfmVfuState *next = begin(journal);

    g_assert(next->phase == VFM_VFU_UNUSED);
    shared->receive.noted = shared->send.noted = false;
    shared->busy = shared->crash_note = 0;
    shared->crashes = 0;
    shared->why[0] = '\0';
    shared->offer = *offer;
    shared->socket = socket;
    *next = (VfmVfuState){.phase = VFM_VFU_OPEN, .reply_fd = -1};
    commit(journal);
}

void vfm_vfu_journal_end(VfmVfuJournal *journal)
{
    begin(journal)->phase = VFM_VFU_OVER;
    commit(journal);
}

void vfm_vfu_journal_clear(VfmVfuJournal *journal)
{
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));

    vfm_vfu_journal_descriptors(journal, fds);
    *begin(journal) = (VfmVfuState){.phase = VFM_VFU_UNUSED};
    commit(journal);
    journal->shared->socket = -1;
    vfm_vfu_journal_step(journal, "cleared");
    for (unsigned i = 0; i < fds->len; i++)
        close(g_array_index(fds, int, i));
    madvise(journal->ring, RING_SIZE, MADV_REMOVE);
    madvise(journal->reply, whole_pages(VFM_VFU_MAX_MESSAGE), MADV_REMOVE);
}

void vfm_vfu_journal_descriptors(const VfmVfuJournal *journal, GArray *fds)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    const Shared *shared = journal->shared;
    int fd = shared->socket;

    if (state->phase == VFM_VFU_UNUSED)
        return;
    g_array_append_val(fds, fd);
    for (uint32_t i = state->fd_head; i != state->fd_tail; i++) {
        fd = shared->fds[i % FD_RING_SIZE].fd;
        g_array_append_val(fds, fd);
    }
}

/* --- receiving */

static uint8_t *ring_at(const VfmVfuJournal *journal, const VfmVfuState *state, uint64_t received)
{
    return journal->ring + (received - state->base) % RING_SIZE;
}

static void header_at(const VfmVfuJournal *journal, const VfmVfuState *state, uint64_t received, VfmVfuHeader *header)
{
    memcpy(header, ring_at(journal, state, received), sizeof(*header));
}

bool vfm_vfu_journal_has_room(const VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);

    /* A message that has begun is finished: the bounds are for whole ones. */
    return state->received > state->incoming || (state->received - state->head < VFM_VFU_MAX_QUEUE_BYTES &&
                                                 state->arrived - state->done < VFM_VFU_MAX_QUEUE_MESSAGES &&
                                                 state->fd_tail - state->fd_head < journal->fds_max);
}

void vfm_vfu_journal_prepare_receive(VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    Trace *trace = &journal->shared->receive;
    uint64_t part, want;

    /* Empty: from the ring's beginning on, so that little of it is ever touched. Only here, where nothing is being
     * received to the old place. */
    if (state->head == state->received && state->base != state->received) {
        bool large = state->received - state->base > KEPT_BYTES;

        begin(journal)->base = state->received;
        commit(journal);
        state = vfm_vfu_journal_state(journal);
        if (large)
            madvise(journal->ring, RING_SIZE, MADV_REMOVE);
    }
    /* Never beyond the message's end: what comes with the next one's first byte is the next one's. */
    part = state->received - state->incoming;
    want = sizeof(VfmVfuHeader) - part;
    if (part >= sizeof(VfmVfuHeader)) {
        VfmVfuHeader header;

        header_at(journal, state, state->incoming, &header);
        want = header.size - part;
    }
    trace->noted = false;
    ORDER();
    vfm_transfer_prepare_receive(&trace->transfer, ring_at(journal, state, state->received), want);
    trace->at = state->received;
    ORDER();
    trace->noted = true;
    ORDER();
}

int vfm_vfu_journal_receive(VfmVfuJournal *journal)
{
    int status;

    vfm_vfu_journal_step(journal, "to receive");
    status = vfm_transfer_receive(&journal->shared->receive.transfer, journal->shared->socket);
    if (status != EAGAIN)
        vfm_vfu_journal_step(journal, "received");
    return status;
}

static void broken(VfmVfuJournal *journal, VfmVfuState *next, const char *format, ...) G_GNUC_PRINTF(3, 4);

static void broken(VfmVfuJournal *journal, VfmVfuState *next, const char *format, ...)
{
    char *why = journal->shared->why;
    va_list args;

    next->reading = VFM_VFU_READ_BROKEN;
    if (*why)
        return; /* the first reason */
    va_start(args, format);
    g_vsnprintf(why, sizeof(journal->shared->why), format, args);
    va_end(args);
}

/* Takes over what came along with the message that is arriving; returns how many of them it may have. */
static unsigned take_fds(VfmVfuJournal *journal, VfmVfuState *next, const int *fds, unsigned n_fds)
{
    WaitingFd *waiting = journal->shared->fds;
    unsigned before = 0, taken = 0;

    for (uint32_t i = next->fd_tail; i != next->fd_head && waiting[(i - 1) % FD_RING_SIZE].message == next->incoming;
         i--)
        before++;
    for (; taken < n_fds && before + taken < VFM_VFU_MAX_FDS; taken++)
        waiting[next->fd_tail++ % FD_RING_SIZE] = (WaitingFd){.message = next->incoming, .fd = fds[taken]};
    return taken;
}

static void take_bytes(VfmVfuJournal *journal, VfmVfuState *next, size_t bytes)
{
    uint64_t part;
    VfmVfuHeader header;

    next->received += bytes;
    part = next->received - next->incoming;
    if (part < sizeof(header))
        return;
    header_at(journal, next, next->incoming, &header);
    if (part == sizeof(header) && (header.flags & VFM_VFU_TYPE_MASK) != VFM_VFU_TYPE_COMMAND) {
        /* We never send commands, so a reply answers nothing. */
        broken(journal, next, "vfio-user: message of type %u where only commands are expected",
               header.flags & VFM_VFU_TYPE_MASK);
        return;
    }
    if (header.size < sizeof(header) || header.size > VFM_VFU_MAX_MESSAGE) {
        broken(journal, next, "vfio-user: command %u claims %u bytes; %zu to %u are possible", header.command,
               header.size, sizeof(header), (unsigned)VFM_VFU_MAX_MESSAGE);
        return;
    }
    if (part == header.size && next->reading == VFM_VFU_READING) {
        next->arrived++;
        next->incoming = next->received;
    }
}

static void apply_receive(VfmVfuJournal *journal, size_t bytes)
{
    int fds[VFM_FD_MESSAGE_MAX];
    bool truncated;
    unsigned n_fds = vfm_transfer_fds(&journal->shared->receive.transfer, fds, &truncated), taken = 0;
    VfmVfuState *next = begin(journal);

    next->left |= bytes == 0;
    if (bytes == 0 && next->received == next->incoming) {
        next->reading = VFM_VFU_HUNG_UP;
    } else if (bytes == 0) {
        broken(journal, next, "vfio-user: the client hung up in the middle of a message, after %u bytes",
               (unsigned)(next->received - next->incoming));
    } else {
        taken = take_fds(journal, next, fds, n_fds);
        if (taken < n_fds || truncated)
            broken(journal, next, "vfio-user: the client sent more than %d descriptors with one message",
                   VFM_VFU_MAX_FDS);
        take_bytes(journal, next, bytes);
    }
    commit(journal);
    while (taken < n_fds)
        close(fds[taken++]);
}

void vfm_vfu_journal_received(VfmVfuJournal *journal, int status)
{
    size_t bytes;

    if (vfm_transfer_done(&journal->shared->receive.transfer, &bytes)) {
        apply_receive(journal, bytes);
        vfm_vfu_journal_step(journal, "taken");
    } else if (status != EAGAIN) {
        VfmVfuState *next = begin(journal);

        next->left |= status == ECONNRESET;
        if (status == ECONNRESET && next->received == next->incoming)
            next->reading = VFM_VFU_HUNG_UP;
        else
            broken(journal, next, "vfio-user: reading from the client failed: %s", g_strerror(status));
        commit(journal);
    }
}

/* --- carrying out and answering */

bool vfm_vfu_journal_message(const VfmVfuJournal *journal, VfmVfuMessage *message)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    const WaitingFd *waiting = journal->shared->fds;

    if (state->done == state->arrived)
        return false;
    message->number = state->done + 1;
    header_at(journal, state, state->head, &message->header);
    message->data = ring_at(journal, state, state->head) + sizeof(message->header);
    message->length = message->header.size - sizeof(message->header);
    message->n_fds = 0;
    for (uint32_t i = state->fd_head;
         i != state->fd_tail && message->n_fds < VFM_VFU_MAX_FDS && waiting[i % FD_RING_SIZE].message == state->head;
         i++)
        message->fds[message->n_fds++] = waiting[i % FD_RING_SIZE].fd;
    return true;
}

uint8_t *vfm_vfu_journal_reply(VfmVfuJournal *journal)
{
    return journal->reply;
}

/* The message at the head is done: with the commit that follows its descriptors are nobody's. */
static unsigned retire(VfmVfuJournal *journal, VfmVfuState *next, int *fds)
{
    VfmVfuMessage message;

    vfm_vfu_journal_message(journal, &message);
    memcpy(fds, message.fds, sizeof(int) * message.n_fds);
    next->fd_head += message.n_fds;
    next->head += message.header.size;
    next->done++;
    next->reply_length = next->reply_sent = 0;
    next->reply_fd = -1;
    journal->shared->crashes = 0;
    return message.n_fds;
}

static void commit_and_close(VfmVfuJournal *journal, const int *fds, unsigned n_fds)
{
    commit(journal);
    vfm_vfu_journal_step(journal, "done");
    for (unsigned i = 0; i < n_fds; i++)
        close(fds[i]);
}

void vfm_vfu_journal_answer(VfmVfuJournal *journal, uint32_t length, int fd, const VfmVfuClient *client)
{
    VfmVfuState *next = begin(journal);
    int fds[VFM_VFU_MAX_FDS];
    unsigned n_fds = 0;

    next->negotiated = client != NULL;
    if (client)
        next->client = *client;
    next->reply_length = length;
    next->reply_sent = 0;
    next->reply_fd = fd;
    if (length == 0)
        n_fds = retire(journal, next, fds);
    vfm_vfu_journal_step(journal, "carried out");
    commit_and_close(journal, fds, n_fds);
}

void vfm_vfu_journal_take_back(VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    VfmVfuState *next;

    /* With the first byte the descriptor has gone, too, as what it was. */
    if (state->reply_length == 0 || state->reply_fd < 0 || state->reply_sent > 0)
        return;
    next = begin(journal);
    next->reply_length = 0;
    next->reply_fd = -1;
    commit(journal);
}

void vfm_vfu_journal_prepare_send(VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    Trace *trace = &journal->shared->send;

    trace->noted = false;
    ORDER();
    /* A descriptor travels with the first byte. */
    vfm_transfer_prepare_send(&trace->transfer, journal->reply + state->reply_sent,
                              state->reply_length - state->reply_sent, &state->reply_fd,
                              state->reply_fd >= 0 && state->reply_sent == 0);
    trace->at = state->sent;
    ORDER();
    trace->noted = true;
    ORDER();
}

int vfm_vfu_journal_send(VfmVfuJournal *journal)
{
    int status;

    vfm_vfu_journal_step(journal, "to send");
    status = vfm_transfer_send(&journal->shared->send.transfer, journal->shared->socket);
    if (status != EAGAIN)
        vfm_vfu_journal_step(journal, "sent");
    return status;
}

static void apply_send(VfmVfuJournal *journal, size_t bytes)
{
    VfmVfuState *next = begin(journal);
    int fds[VFM_VFU_MAX_FDS];
    bool whole = next->reply_sent + bytes == next->reply_length, large = next->reply_length > KEPT_BYTES;
    unsigned n_fds = 0;

    next->sent += bytes;
    next->reply_sent += bytes;
    if (whole)
        n_fds = retire(journal, next, fds);
    commit_and_close(journal, fds, n_fds);
    if (whole && large)
        madvise(journal->reply, whole_pages(VFM_VFU_MAX_MESSAGE), MADV_REMOVE);
}

void vfm_vfu_journal_sent(VfmVfuJournal *journal, int status)
{
    size_t bytes;

    if (vfm_transfer_done(&journal->shared->send.transfer, &bytes)) {
        apply_send(journal, bytes);
    } else if (status != EAGAIN) {
        VfmVfuState *next = begin(journal);

        next->unheard = true;
        next->left |= status == EPIPE || status == ECONNRESET;
        /* Hanging up is not breaking the connection, wherever it is noticed first. */
        if (!journal->shared->why[0] && !next->left)
            g_snprintf(journal->shared->why, sizeof(journal->shared->why), "vfio-user: answering the client failed: %s",
                       g_strerror(status));
        commit(journal);
    }
}

void vfm_vfu_journal_recover(VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    Shared *shared = journal->shared;
    size_t bytes;

    shared->busy = shared->crash_note = 0;
    if (state->phase == VFM_VFU_UNUSED) {
        shared->socket = -1;
        return;
    }
    if (shared->receive.noted && shared->receive.at == state->received && state->reading == VFM_VFU_READING &&
        vfm_transfer_done(&shared->receive.transfer, &bytes))
        apply_receive(journal, bytes);
    state = vfm_vfu_journal_state(journal);
    if (shared->send.noted && shared->send.at == state->sent && state->reply_length > 0 && !state->unheard &&
        vfm_transfer_done(&shared->send.transfer, &bytes))
        apply_send(journal, bytes);
    shared->receive.noted = shared->send.noted = false;
}

/* --- who is to blame for crashes */

void vfm_vfu_journal_set_busy(VfmVfuJournal *journal, bool busy)
{
    ORDER();
    journal->shared->busy = busy;
    ORDER();
}

bool vfm_vfu_journal_busy(const VfmVfuJournal *journal)
{
    return journal->shared->busy;
}

volatile uint32_t *vfm_vfu_journal_crash_note(VfmVfuJournal *journal)
{
    return &journal->shared->crash_note;
}

void vfm_vfu_journal_blame(VfmVfuJournal *journal)
{
    journal->shared->crashes++;
}

unsigned vfm_vfu_journal_crashes(const VfmVfuJournal *journal)
{
    return journal->shared->crashes;
}

void vfm_vfu_journal_set_fate(VfmVfuJournal *journal, VfmVfuFate fate)
{
    begin(journal)->fate = fate;
    commit(journal);
}

void vfm_vfu_journal_refuse(const VfmVfuJournal *journal)
{
    const VfmVfuState *state = vfm_vfu_journal_state(journal);
    VfmVfuMessage message;
    VfmVfuReply reply = {.bytes = journal->reply};

    if (state->sent || !vfm_vfu_journal_message(journal, &message))
        return;
    vfm_vfu_reply_error(&reply, &message.header, EIO);
    if (send(journal->shared->socket, reply.bytes, reply.length, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        shutdown(journal->shared->socket, SHUT_RDWR);
}

void vfm_vfu_journal_set_offer(VfmVfuJournal *journal, const VfmVfuOffer *offer)
{
    journal->shared->offer = *offer;
}
