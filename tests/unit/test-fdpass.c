/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "fdpass.h"

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void test_bytes_and_descriptors_arrive_together(void **state)
{
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    int sockets[2], got[VFM_FD_MESSAGE_MAX], sent[2];
    char data[16];
    bool truncated;
    size_t bytes;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
    sent[0] = dup(0);
    sent[1] = dup(0);
    vfm_transfer_prepare_send(transfer, "hello", 5, sent, 2);
    assert_false(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(vfm_transfer_send(transfer, sockets[0]), 0);
    assert_true(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(bytes, 5);
    assert_true(is_open(sent[0])); /* sending copies: the caller still owns them */

    vfm_transfer_prepare_receive(transfer, data, sizeof(data));
    assert_false(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(vfm_transfer_receive(transfer, sockets[1]), 0);
    assert_true(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(bytes, 5);
    assert_memory_equal(data, "hello", 5);
    assert_int_equal(vfm_transfer_fds(transfer, got, &truncated), 2);
    assert_false(truncated);
    for (int i = 0; i < 2; i++) {
        assert_true(fcntl(got[i], F_GETFD) & FD_CLOEXEC);
        close(got[i]);
        close(sent[i]);
    }
    close(sockets[0]);
    close(sockets[1]);
}

static void test_an_empty_socket_leaves_the_transfer_undone(void **state)
{
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    int sockets[2];
    char data[4];
    size_t bytes;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    vfm_transfer_prepare_receive(transfer, data, sizeof(data));
    assert_int_equal(vfm_transfer_receive(transfer, sockets[0]), EAGAIN);
    assert_false(vfm_transfer_done(transfer, &bytes));
    close(sockets[1]);
    vfm_transfer_prepare_receive(transfer, data, sizeof(data));
    assert_int_equal(vfm_transfer_receive(transfer, sockets[0]), 0);
    assert_true(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(bytes, 0);
    vfm_transfer_prepare_send(transfer, "x", 1, NULL, 0);
    assert_int_equal(vfm_transfer_send(transfer, sockets[0]), EPIPE); /* and no SIGPIPE */
    close(sockets[0]);
}

/* A peer that closes with something unread resets the connection; what it said before is still to be had. */
static void test_last_words_survive_a_reset(void **state)
{
    g_autofree VfmTransfer *transfer = g_new0(VfmTransfer, 1);
    int sockets[2];
    char data[16];
    size_t bytes;

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    assert_int_equal(write(sockets[0], "unread", 6), 6);
    assert_int_equal(write(sockets[1], "last", 4), 4);
    close(sockets[1]);
    vfm_transfer_prepare_receive(transfer, data, sizeof(data));
    assert_int_equal(vfm_transfer_receive(transfer, sockets[0]), 0);
    assert_true(vfm_transfer_done(transfer, &bytes));
    assert_int_equal(bytes, 4);
    close(sockets[0]);
}

static void test_ring_groups_by_offset_and_wraps(void **state)
{
    g_autofree VfmFdRing *ring = g_new0(VfmFdRing, 1);
    VfmFdSpan span = {UINT32_MAX - 2, UINT32_MAX - 2}, before;
    int fds[VFM_FD_MESSAGE_MAX];

    assert_null(vfm_fd_ring_front(ring, span));
    vfm_fd_ring_push(ring, &span, 10, 100);
    vfm_fd_ring_push(ring, &span, 10, 101);
    before = span;
    vfm_fd_ring_push(ring, &span, 11, 102);
    assert_int_equal(vfm_fd_span_count(before), 2); /* an old span does not see what was added */
    assert_int_equal(vfm_fd_span_count(span), 3);
    assert_int_equal(vfm_fd_ring_peek(ring, span, fds), 2);
    assert_int_equal(fds[1], 101);
    assert_int_equal(vfm_fd_ring_take(ring, &span), 100);
    assert_int_equal(vfm_fd_ring_take(ring, &span), 101);
    assert_int_equal(vfm_fd_ring_front(ring, span)->offset, 11);
    while (vfm_fd_span_room(span))
        vfm_fd_ring_push(ring, &span, 12, 7);
    assert_int_equal(vfm_fd_span_count(span), VFM_FD_RING_SIZE);
    vfm_fd_ring_take(ring, &span);
    assert_int_equal(vfm_fd_ring_peek(ring, span, fds), VFM_FD_MESSAGE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_and_descriptors_arrive_together),
        cmocka_unit_test(test_an_empty_socket_leaves_the_transfer_undone),
        cmocka_unit_test(test_last_words_survive_a_reset),
        cmocka_unit_test(test_ring_groups_by_offset_and_wraps),
    };

    return cmocka_run_group_tests_name("fdpass", tests, NULL, NULL);
}
