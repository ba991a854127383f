/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the record of mappings refuses when it is full, and how it knows a message again. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "guest_dma.h"
#include "shared_kernel.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)
#define HIGH (4 * GIB)
#define PAGE (4 * KIB)

static void no_step(gpointer data)
{
}

static int file_new(const char *name)
{
    int fd = memfd_create(name, MFD_CLOEXEC);

    assert_int_equal(ftruncate(fd, 16 * MIB), 0);
    return fd;
}

static bool map_pages(VfmGuestDmaClient *client, int fd, uint64_t address, unsigned pages, GError **error)
{
    VfmVfuDmaMap map = {.flags = 3, .offset = address & (MIB - 1), .address = address, .size = pages * PAGE};

    return vfm_guest_dma_map(client, &map, fd, error);
}

static void assert_full(bool done, GError **error)
{
    assert_false(done);
    assert_true(g_error_matches(*error, VFM_REFUSED, VFM_REFUSED_BUDGET));
    assert_non_null(strstr((*error)->message, "record"));
    g_clear_error(error);
}

/* Each table that is full refuses, and nothing has changed. */
static void test_full_ledger(void **state)
{
    const VfmDmaLedgerSize size = {.pieces = 3, .maps = 2, .files = 1, .clients = 1};
    g_autoptr(VfmDmaLedger) ledger = vfm_dma_ledger_new(&size, NULL);
    SharedKernel *kernel = shared_kernel_new();
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    uint64_t unmapped;
    int ram = file_new("ram"), other = file_new("other"), probe;
    VfmGuestDmaClient *client;
    VfmContainer *container;
    GError *error = NULL;
    VfmGuestDma *dma;

    container = vfm_container_new("container 0", shared_kernel_backend(kernel, no_step, NULL), VFM_NONE);
    assert_true(vfm_container_attach(container, &device, NULL, NULL));
    dma = vfm_guest_dma_resume(container, NULL, ledger, NULL);
    client = vfm_guest_dma_join(dma, "one");
    assert_non_null(client);
    assert_null(vfm_guest_dma_join(dma, "two"));
    assert_full(map_pages(client, ram, 0xa0000, 4, &error), &error);
    assert_int_equal(kernel->count, 0);
    assert_true(map_pages(client, ram, 0xa0000, 2, NULL));
    probe = dup(ram);
    close(probe);
    assert_full(map_pages(client, other, 0xb0000, 1, &error), &error);
    assert_int_equal(fcntl(probe, F_GETFD), -1);
    assert_int_equal(kernel->count, 2);
    assert_true(map_pages(client, -1, 0xb0000, 1, NULL));
    assert_full(map_pages(client, -1, 0xb8000, 1, &error), &error);
    assert_full(map_pages(client, ram, 0xb8000, 1, &error), &error);
    assert_int_equal(kernel->count, 2);
    assert_true(vfm_guest_dma_unmap(client, 0, GIB, &unmapped, NULL));
    assert_int_equal(unmapped, 3 * PAGE);
    assert_true(map_pages(client, other, 0xb0000, 3, NULL));
    vfm_guest_dma_leave(client);
    client = vfm_guest_dma_join(dma, "two");
    assert_non_null(client);
    vfm_guest_dma_leave(client);
    assert_true(vfm_dma_ledger_is_empty(ledger));
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
    shared_kernel_free(kernel);
    close(ram);
    close(other);
}

/* A number that comes again is the same message, another number is another one. */
static void test_repeated_messages(void **state)
{
    g_autoptr(VfmDmaLedger) ledger = vfm_dma_ledger_new(NULL, NULL);
    SharedKernel *kernel = shared_kernel_new();
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    uint64_t unmapped;
    int ram = file_new("ram");
    VfmGuestDmaClient *client;
    VfmContainer *container;
    GError *error = NULL;
    VfmGuestDma *dma;

    container = vfm_container_new("container 0", shared_kernel_backend(kernel, no_step, NULL), VFM_NONE);
    assert_true(vfm_container_attach(container, &device, NULL, NULL));
    dma = vfm_guest_dma_resume(container, NULL, ledger, NULL);
    client = vfm_guest_dma_join(dma, "one");
    vfm_guest_dma_message(client, 1);
    assert_true(map_pages(client, ram, HIGH, 1, NULL));
    assert_true(map_pages(client, ram, HIGH, 1, NULL));
    assert_false(map_pages(client, ram, HIGH, 2, NULL)); /* not what it was */
    vfm_guest_dma_message(client, 2);
    assert_false(map_pages(client, ram, HIGH, 1, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    g_clear_error(&error);
    vfm_guest_dma_message(client, 3);
    for (int i = 0; i < 2; i++) {
        assert_true(vfm_guest_dma_unmap(client, HIGH, MIB, &unmapped, NULL));
        assert_int_equal(unmapped, PAGE);
    }
    vfm_guest_dma_message(client, 4);
    assert_true(vfm_guest_dma_unmap(client, HIGH, MIB, &unmapped, NULL));
    assert_int_equal(unmapped, 0);
    vfm_guest_dma_leave(client);
    vfm_guest_dma_free(dma);
    vfm_container_free(container);
    shared_kernel_free(kernel);
    close(ram);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_ledger),
        cmocka_unit_test(test_repeated_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
