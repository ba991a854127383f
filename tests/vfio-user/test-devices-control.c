/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The conversation with the mediator where that ends in the middle; the rest is in test-devices-takeover.c. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "devices_state.h"

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

/* One that does not read, while workers die: the rest goes on, and each answer comes once. */
static void test_one_who_does_not_read(void **state)
{
    enum { PACKETS = 8, LINES = 200 };
    VfmDevicesControl *control = g_new0(VfmDevicesControl, 1);
    char text[256];
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
    for (unsigned packet = 0; packet < PACKETS; packet++) {
        g_autoptr(GString) requests = g_string_new(NULL);

        for (unsigned line = 0; line < LINES; line++)
            g_string_append_printf(requests, "%u limit\n", packet * LINES + line);
        assert_true(requests->len <= VFM_DEVICES_PACKET_MAX);
        assert_int_equal(send(pair[0], requests->str, requests->len, 0), requests->len);
    }
    while (!vfm_devices_control_waits(control))
        assert_true(vfm_devices_control_serve(control, pair[1], NULL));
    for (unsigned number = 0; number < PACKETS * LINES; number++) {
        ssize_t n = recv(pair[0], text, sizeof(text) - 1, MSG_DONTWAIT);

        /* What is on its way has been read: there is room again. */
        if (n < 0) {
            assert_true(vfm_devices_control_serve(control, pair[1], NULL));
            n = recv(pair[0], text, sizeof(text) - 1, MSG_DONTWAIT);
        }
        assert_true(n > 0);
        text[n] = '\0';
        assert_int_equal(strtoul(text, NULL, 10), number);
        assert_non_null(strstr(text, " limit "));
        /* A successor finds what waits as what is to be done, and finds out that there is no room. */
        if (number % 7 == 0 && vfm_devices_control_waits(control)) {
            vfm_devices_control_recover(control);
            assert_true(vfm_devices_control_pending(control));
            assert_true(vfm_devices_control_serve(control, pair[1], NULL));
        }
    }
    assert_false(vfm_devices_control_pending(control) || vfm_devices_control_waits(control));
    assert_int_equal(recv(pair[0], text, sizeof(text), MSG_DONTWAIT), -1);
    /* And one that goes away meanwhile. */
    for (unsigned i = 0; !vfm_devices_control_waits(control); i++) {
        int length = g_snprintf(text, sizeof(text), "%u limit\n", i);

        assert_int_equal(send(pair[0], text, (size_t)length, 0), length);
        assert_true(vfm_devices_control_serve(control, pair[1], NULL));
    }
    close(pair[0]);
    assert_false(vfm_devices_control_serve(control, pair[1], NULL));
    assert_false(vfm_devices_control_pending(control) || vfm_devices_control_waits(control));
    close(pair[1]);
    g_free(control);
}

/* A successor closes what is nobody's, and the eventfds of a device's interrupts are the device's. */
static void test_who_owns_descriptors(void **state)
{
    g_autoptr(VfmDevicesState) devices = vfm_devices_state_new(-1, NULL);
    int event = eventfd(0, EFD_CLOEXEC), stray = eventfd(0, EFD_CLOEXEC);
    VfmDeviceSlot *slot;

    assert_non_null(devices);
    slot = &devices->shared->slots[3];
    slot->pci.vectors.fds[0] = -1;
    slot->pci.vectors.fds[1] = event;
    slot->pci.vectors.count = 2;
    slot->hold = (VfmDeviceHold){-1, -1};
    slot->stage = VFM_DEVICE_SERVED;
    vfm_devices_state_sweep(devices);
    assert_true(fcntl(event, F_GETFD) >= 0);
    assert_int_equal(fcntl(stray, F_GETFD), -1);
    slot->stage = VFM_DEVICE_LEAVING;
    vfm_devices_state_sweep(devices);
    assert_int_equal(fcntl(event, F_GETFD), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nobody_to_answer),
                                       cmocka_unit_test(test_one_who_does_not_read),
                                       cmocka_unit_test(test_who_owns_descriptors)};

    return cmocka_run_group_tests_name("devices-control", tests, NULL, NULL);
}
