/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conversation with the mediator where that ends in the middle; the rest is in test-devices-takeover.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices_control.h"

/* Whoever waits for something to answer must not be told so for ever: the worker would spin. */
static void test_nobody_to_answer(void **state)
{
    static const char requests[] = "1 limit\n2 limit\n3 limit\n";
    VfmDevicesControl *control = g_new0(VfmDevicesControl, 1);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(send(pair[0], requests, strlen(requests), 0), strlen(requests));
    close(pair[0]);
    assert_false(vfm_devices_control_serve(control, pair[1], NULL));
    assert_true(control->ended);
    assert_false(vfm_devices_control_pending(control));
    vfm_devices_control_recover(control);
    assert_false(vfm_devices_control_pending(control));
    close(pair[1]);
    g_free(control);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_to_answer)};

    return cmocka_run_group_tests_name("devices-control", tests, NULL, NULL);
}
