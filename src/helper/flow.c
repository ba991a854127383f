/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "flow.h"

#include "devices_wire.h"
#include "log.h"
#include "reply.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of one receive: large enough that a long answer takes few calls, small enough to stay in the cache. A packet
 * of vfiomem-helper-devices, which would be cut, is never longer. */
#define RECEIVE_MAX (64u * 1024)
G_STATIC_ASSERT(RECEIVE_MAX >= VFM_DEVICES_LINE_MAX);
/* Descriptors that may wait in one stream: with one more message's they still fit the ring that closes them. */
#define FDS_MAX (VFM_FD_RING_SIZE - 2u * VFM_FD_MESSAGE_MAX)

#define ORDER() __asm__ __volatile__("" ::: "memory")

static void note(VfmJournal *journal, VfmOpKind kind, VfmStreamId stream)
{
    VfmOp *op = &journal->shared->op;

    op->kind = VFM_OP_NONE;
    ORDER();
    op->stream = stream;
    op->sequence = vfm_journal_state(journal)->sequence;
    ORDER();
    op->kind = kind;
    ORDER();
}

static bool has_ended(const VfmJournalState *state, VfmStreamId id)
{
    return id == VFM_CLIENT_IN ? state->client_ended : id == VFM_QEMU_IN ? state->qemu_ended : state->devices_ended;
}

bool vfm_flow_can_receive(const VfmJournalState *state, VfmStreamId id)
{
    return vfm_stream_room(state, id) >= (id == VFM_DEVICES_IN ? VFM_DEVICES_LINE_MAX : 1) &&
           vfm_fd_span_count(state->streams[id].fds) < FDS_MAX && !has_ended(state, id);
}

static void mark_ended(VfmJournalState *next, VfmStreamId id)
{
    if (id == VFM_CLIENT_IN)
        next->client_ended = true;
    else if (id == VFM_QEMU_IN)
        next->qemu_ended = true;
    else
        next->devices_ended = true;
}

static VfmFlowResult apply_receive(VfmJournal *journal, VfmStreamId id, size_t bytes)
{
    VfmJournalState *next = vfm_journal_begin(journal);
    VfmStream *stream = &next->streams[id];
    int fds[VFM_FD_MESSAGE_MAX];
    bool truncated;
    unsigned n = vfm_transfer_fds(&journal->shared->op.transfer, fds, &truncated);

    if (truncated)
        vfm_log("some descriptors of a message were lost: no free descriptor");
    for (unsigned i = 0; i < n; i++)
        vfm_fd_ring_push(&journal->shared->fds[id], &stream->fds, stream->tail, fds[i]);
    stream->tail += bytes;
    if (bytes == 0)
        mark_ended(next, id);
    vfm_journal_commit(journal);
    return bytes ? VFM_FLOW_SOME : VFM_FLOW_ENDED;
}

static VfmFlowResult ended(VfmJournal *journal, VfmStreamId id)
{
    mark_ended(vfm_journal_begin(journal), id);
    vfm_journal_commit(journal);
    return VFM_FLOW_ENDED;
}

/* The peer reads no more. What it said before is still worth dealing with, so only what it would not read goes; the end
 * is found by receiving. */
static VfmFlowResult unheard(VfmJournal *journal, VfmStreamId id)
{
    VfmJournalState *next = vfm_journal_begin(journal);

    vfm_stream_drop(journal, next, id, vfm_stream_used(next, id));
    vfm_journal_commit(journal);
    return VFM_FLOW_ENDED;
}

VfmFlowResult vfm_flow_receive(VfmJournal *journal, VfmStreamId id, int socket)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmTransfer *transfer = &journal->shared->op.transfer;
    size_t bytes;
    int status;

    if (!vfm_flow_can_receive(state, id))
        return VFM_FLOW_AGAIN;
    journal->shared->op.kind = VFM_OP_NONE;
    ORDER();
    vfm_transfer_prepare_receive(transfer, vfm_stream_at(journal, id, state->streams[id].tail),
                                 MIN(vfm_stream_room(state, id), RECEIVE_MAX));
    note(journal, VFM_OP_RECEIVE, id);
    status = vfm_transfer_receive(transfer, socket);
    if (vfm_transfer_done(transfer, &bytes))
        return apply_receive(journal, id, bytes);
    return status == EAGAIN ? VFM_FLOW_AGAIN : ended(journal, id);
}

static VfmFlowResult apply_send(VfmJournal *journal, VfmStreamId id, size_t bytes)
{
    VfmJournalState *next = vfm_journal_begin(journal);

    vfm_stream_drop(journal, next, id, bytes); /* the peer has copies of the descriptors */
    vfm_journal_commit(journal);
    return VFM_FLOW_SOME;
}

/* A message carries the descriptors of its first byte only: bytes up to the next descriptor, or from one on. */
static size_t send_length(const VfmJournal *journal, const VfmJournalState *state, VfmStreamId id, int *fds,
                          unsigned *n_fds)
{
    const VfmStream *stream = &state->streams[id];
    const VfmFdRing *ring = &journal->shared->fds[id];
    const VfmFdEntry *front = vfm_fd_ring_front(ring, stream->fds);
    size_t length = vfm_stream_used(state, id);
    VfmFdSpan rest = stream->fds;

    *n_fds = 0;
    if (!front)
        return length;
    if (front->offset > stream->head)
        return MIN(length, front->offset - stream->head);
    *n_fds = vfm_fd_ring_peek(ring, stream->fds, fds);
    rest.head += *n_fds;
    front = vfm_fd_ring_front(ring, rest);
    return front && front->offset > stream->head ? MIN(length, front->offset - stream->head) : length;
}

VfmFlowResult vfm_flow_send(VfmJournal *journal, VfmStreamId id, int socket)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmTransfer *transfer = &journal->shared->op.transfer;
    int fds[VFM_FD_MESSAGE_MAX], status;
    unsigned n_fds;
    size_t length = send_length(journal, state, id, fds, &n_fds), bytes;

    if (length == 0)
        return VFM_FLOW_AGAIN;
    journal->shared->op.kind = VFM_OP_NONE;
    ORDER();
    vfm_transfer_prepare_send(transfer, vfm_stream_at(journal, id, state->streams[id].head), length, fds, n_fds);
    note(journal, VFM_OP_SEND, id);
    status = vfm_transfer_send(transfer, socket);
    if (vfm_transfer_done(transfer, &bytes))
        return apply_send(journal, id, bytes);
    return status == EAGAIN ? VFM_FLOW_AGAIN : unheard(journal, id);
}

static void apply_accept(VfmJournal *journal, int fd)
{
    VfmJournalState *next = vfm_journal_begin(journal);

    next->client = fd;
    next->client_ended = false;
    next->clients++;
    vfm_frame_init(&next->client_frame, VFM_CLIENT_TEXT_MAX, false);
    next->scolded = false;
    vfm_session_connect(&next->session);
    vfm_journal_commit(journal);
}

VfmFlowResult vfm_flow_accept(VfmJournal *journal, int listener)
{
    int fd;

    g_assert(vfm_journal_state(journal)->client < 0);
    note(journal, VFM_OP_ACCEPT, VFM_CLIENT_IN);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return VFM_FLOW_AGAIN;
    apply_accept(journal, fd);
    return VFM_FLOW_SOME;
}

void vfm_flow_refuse(VfmJournal *journal, int listener)
{
    g_autofree char *text = NULL;
    int fd;

    note(journal, VFM_OP_NONE, VFM_CLIENT_IN);
    fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    text = vfm_reply_error((VfmSlice){0}, "vfiomem: this monitor has a client already and serves one at a time; "
                                          "use virsh qemu-monitor-command, or close the other connection");
    if (send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        vfm_log("a second client of the monitor was refused and did not listen: %s", g_strerror(errno));
    close(fd);
}

void vfm_flow_close_discarded(VfmJournal *journal)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    VfmFdSpan span = state->closing;

    if (vfm_fd_span_count(span) == 0)
        return;
    while (vfm_fd_span_count(span))
        close(vfm_fd_ring_take(&journal->shared->closing, &span));
    /* A successor that finds these still listed closes numbers that nobody can have been given since: nothing here
     * opens a descriptor before this change counts. */
    vfm_journal_begin(journal)->closing = span;
    vfm_journal_commit(journal);
}

static void mark_ring(GHashTable *owned, const VfmFdRing *ring, VfmFdSpan span)
{
    for (; vfm_fd_span_count(span); span.head++)
        g_hash_table_add(owned, GINT_TO_POINTER(ring->entries[span.head % VFM_FD_RING_SIZE].fd));
}

/* Descriptors that nobody owns: *@accepted gets the first of them if the predecessor was accepting. */
static void sweep(VfmJournal *journal, const VfmSockets *sockets, int *accepted)
{
    const VfmJournalState *state = vfm_journal_state(journal);
    g_autoptr(GHashTable) owned = g_hash_table_new(NULL, NULL);
    struct rlimit limit = {1024, 1024};
    struct stat status;

    for (int fd = 0; fd <= 2; fd++)
        g_hash_table_add(owned, GINT_TO_POINTER(fd));
    g_hash_table_add(owned, GINT_TO_POINTER(sockets->listener));
    g_hash_table_add(owned, GINT_TO_POINTER(sockets->qemu));
    g_hash_table_add(owned, GINT_TO_POINTER(sockets->pidfd));
    g_hash_table_add(owned, GINT_TO_POINTER(sockets->devices));
    g_hash_table_add(owned, GINT_TO_POINTER(state->client));
    for (int i = 0; i < VFM_STREAMS; i++)
        mark_ring(owned, &journal->shared->fds[i], state->streams[i].fds);
    getrlimit(RLIMIT_NOFILE, &limit);
    for (int fd = 3; fd < (int)MIN(limit.rlim_cur, 65536); fd++) {
        if (g_hash_table_contains(owned, GINT_TO_POINTER(fd)) || fcntl(fd, F_GETFD) < 0)
            continue;
        if (accepted && *accepted < 0 && fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
            *accepted = fd;
        else
            close(fd);
    }
}

void vfm_flow_recover(VfmJournal *journal, const VfmSockets *sockets)
{
    VfmOp *op = &journal->shared->op;
    bool current = op->kind != VFM_OP_NONE && op->sequence == vfm_journal_state(journal)->sequence;
    size_t bytes;
    int accepted = -1;

    if (current && op->kind != VFM_OP_ACCEPT && vfm_transfer_done(&op->transfer, &bytes)) {
        if (op->kind == VFM_OP_RECEIVE)
            apply_receive(journal, (VfmStreamId)op->stream, bytes);
        else
            apply_send(journal, (VfmStreamId)op->stream, bytes);
    }
    vfm_flow_close_discarded(journal);
    sweep(journal, sockets, current && op->kind == VFM_OP_ACCEPT ? &accepted : NULL);
    if (accepted >= 0)
        apply_accept(journal, accepted);
    op->kind = VFM_OP_NONE;
}
