/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What the backends promise in backend.h, asked of a real kernel. Runs in the lab, once for each backend. */
#include "edu.h"
#include "kernel_view.h"
#include "place.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define PAGE 4096ULL
#define COPY EDU_BUFFER_SIZE
#define MIB (1024 * 1024ULL)
#define BASE (4096 * MIB)

typedef struct {
    VfmBackend *backend;
    VfmBackendDevice device;
    uint8_t *memory; /* 16 MiB */
    int fd;
} Fixture;

static void attach(VfmBackend *backend, VfmBackendDevice *device, const char *name)
{
    g_autoptr(GError) error = NULL;
    *device = (VfmBackendDevice){.name = name, .fd = place_open(name)};
    if (!backend->ops->attach(backend, device, &error))
        fail_msg("%s", error->message);
}

static int setup(void **state)
{
    Fixture *f = g_new0(Fixture, 1);
    f->fd = memfd_create("lab", MFD_CLOEXEC);
    assert_int_equal(ftruncate(f->fd, 16 * MIB), 0);
    f->memory = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
    assert_ptr_not_equal(f->memory, MAP_FAILED);
    f->backend = place_backend();
    attach(f->backend, &f->device, place_device(0, false));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    Fixture *f = *state;
    f->backend->ops->detach(f->backend, &f->device);
    f->backend->ops->free(f->backend);
    munmap(f->memory, 16 * MIB);
    close(f->fd);
    g_free(f);
    return 0;
}

static bool map(Fixture *f, uint64_t iova, uint64_t offset, uint64_t size, unsigned prot, GError **error)
{
    VfmMapping mapping = {
        .iova = iova, .size = size, .vaddr = f->memory + offset, .fd = f->fd, .offset = offset, .prot = prot};
    return f->backend->ops->map(f->backend, &mapping, error);
}

static void map_ok(Fixture *f, uint64_t iova, uint64_t offset, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    if (!map(f, iova, offset, size, VFM_PROT_READ | VFM_PROT_WRITE, &error))
        fail_msg("%s", error->message);
}

static void map_fails(Fixture *f, uint64_t iova, uint64_t offset, uint64_t size, unsigned prot, int code,
                      const char *text)
{
    g_autoptr(GError) error = NULL;
    assert_false(map(f, iova, offset, size, prot, &error));
    if (!g_error_matches(error, VFM_SYSTEM_ERROR, code) || !strstr(error->message, text))
        fail_msg("expected errno %d and \"%s\", got %d: %s", code, text, error->code, error->message);
}

static uint64_t unmap_ok(Fixture *f, uint64_t iova, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    uint64_t unmapped = 1;
    if (!f->backend->ops->unmap(f->backend, iova, size, &unmapped, &error))
        fail_msg("%s", error->message);
    return unmapped;
}

#define RW (VFM_PROT_READ | VFM_PROT_WRITE)

static void maps_where_asked(void **state)
{
    Fixture *f = *state;
    Edu edu;

    edu_open(&edu, f->device.device_fd);
    map_ok(f, BASE, 0, 2 * MIB);
    map_ok(f, BASE + 8 * MIB, 2 * MIB, 2 * MIB);
    memset(f->memory + MIB, 0xa5, PAGE);
    edu_copy(&edu, BASE + MIB, BASE + 9 * MIB, COPY);
    assert_memory_equal(f->memory + 3 * MIB, f->memory + MIB, COPY);
    edu_close(&edu);
    assert_int_equal(unmap_ok(f, BASE, 16 * MIB), 4 * MIB);
    assert_int_equal(unmap_ok(f, BASE, 16 * MIB), 0);
}

static void counts_what_it_pins(void **state)
{
    Fixture *f = *state;
    VfmMaybe before = f->backend->ops->available(f->backend);

    assert_int_equal(before.set, !place_is_iommufd());
    assert_int_equal(place_held(), 0);
    map_ok(f, BASE, 0, 4 * MIB);
    map_ok(f, BASE + 4 * MIB, 4 * MIB, PAGE);
    assert_int_equal(place_held(), 4 * MIB + PAGE);
    if (before.set)
        assert_int_equal(f->backend->ops->available(f->backend).value, before.value - 2);
    unmap_ok(f, BASE, 16 * MIB);
    assert_int_equal(place_held(), 0);
    assert_int_equal(f->backend->ops->available(f->backend).value, before.value);
}

static void never_cuts_a_mapping(void **state)
{
    Fixture *f = *state;
    const struct {
        uint64_t offset, size;
    } cuts[] = {{PAGE, 4 * MIB}, {0, MIB}, {PAGE, PAGE}, {MIB, MIB}};

    map_ok(f, BASE, 0, 2 * MIB);
    for (unsigned i = 0; i < G_N_ELEMENTS(cuts); i++) {
        g_autoptr(GError) error = NULL;
        uint64_t unmapped;
        assert_false(f->backend->ops->unmap(f->backend, BASE + cuts[i].offset, cuts[i].size, &unmapped, &error));
        assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, EINVAL));
        assert_non_null(strstr(error->message, "would cut"));
        assert_int_equal(place_held(), 2 * MIB);
    }
    /* Beside it there is nothing, and saying so is no error. */
    assert_int_equal(unmap_ok(f, BASE + 2 * MIB, MIB), 0);
    assert_int_equal(unmap_ok(f, BASE - MIB, MIB), 0);
    assert_int_equal(unmap_ok(f, BASE - MIB, 4 * MIB), 2 * MIB);
}

static void says_why_it_cannot_map(void **state)
{
    Fixture *f = *state;

    map_ok(f, BASE, 0, MIB);
    map_fails(f, BASE, MIB, MIB, RW, EEXIST, "mapped there already");
    map_fails(f, BASE + MIB / 2, MIB, MIB, RW, EEXIST, "mapped there already");
    map_fails(f, BASE + 2 * MIB + 1, MIB, MIB, RW, EINVAL, "multiples");
    map_fails(f, 0xfee00000, MIB, PAGE, RW, EINVAL, "reserved region");
    map_fails(f, 1ULL << 60, MIB, PAGE, RW, EINVAL, "aperture");
    /* Nothing is behind these addresses in this process. */
    munmap(f->memory + 8 * MIB, MIB);
    VfmMapping hole = {.iova = BASE + 8 * MIB, .size = MIB, .vaddr = f->memory + 8 * MIB, .fd = -1, .prot = RW};
    g_autoptr(GError) error = NULL;
    assert_false(f->backend->ops->map(f->backend, &hole, &error));
    assert_true(g_error_matches(error, VFM_SYSTEM_ERROR, EFAULT));
    assert_int_equal(place_held(), MIB);
    unmap_ok(f, BASE, 16 * MIB);
}

static void read_only_stays_unwritten(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    Edu edu;
    int log;

    edu_open(&edu, f->device.device_fd);
    memset(f->memory, 0x11, PAGE);
    memset(f->memory + MIB, 0x22, PAGE);
    assert_true(map(f, BASE, 0, MIB, VFM_PROT_READ, &error));
    map_ok(f, BASE + MIB, MIB, MIB);
    log = kernel_log_open();
    edu_copy(&edu, BASE + MIB, BASE, COPY);
    assert_true(kernel_log_fault(log, BASE, PAGE));
    assert_int_equal(f->memory[0], 0x11);
    edu_copy(&edu, BASE, BASE + MIB, COPY);
    assert_int_equal(f->memory[MIB], 0x11);
    close(log);
    edu_close(&edu);
    unmap_ok(f, BASE, 16 * MIB);
}

static void tells_its_limits(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    g_autoptr(GArray) ranges = g_array_new(FALSE, FALSE, sizeof(VfmIovaRange));
    VfmBackendLimits limits = {.ranges = ranges};

    map_ok(f, BASE, 0, MIB);
    assert_true(f->backend->ops->limits(f->backend, &limits, &error));
    assert_int_equal(limits.page_sizes & -limits.page_sizes, PAGE);
    assert_int_equal(limits.max_mappings.set, !place_is_iommufd());
    if (limits.max_mappings.set)
        assert_int_equal(limits.max_mappings.value, 65535); /* in all, though one is used */
    assert_false(limits.memlock.set);
    assert_true(ranges->len >= 2);
    for (guint i = 0; i < ranges->len; i++) {
        const VfmIovaRange *range = &g_array_index(ranges, VfmIovaRange, i);
        assert_true(range->start <= range->last);
        assert_true(range->last < 0xfee00000 || range->start > 0xfeefffff);
        assert_true(!i || range->start > g_array_index(ranges, VfmIovaRange, i - 1).last);
    }
    assert_int_equal(g_array_index(ranges, VfmIovaRange, ranges->len - 1).last, (1ULL << 39) - 1);
    kernel_limit_locked(64 * MIB);
    assert_true(f->backend->ops->limits(f->backend, &limits, &error));
    assert_int_equal(limits.memlock.value, 64 * MIB);
    kernel_limit_locked(UINT64_MAX);
    unmap_ok(f, BASE, 16 * MIB);
}

static void stops_at_the_limit_of_locked_memory(void **state)
{
    Fixture *f = *state;

    kernel_limit_locked(4 * MIB);
    map_ok(f, BASE, 0, 3 * MIB);
    map_fails(f, BASE + 4 * MIB, 4 * MIB, 2 * MIB, RW, ENOMEM, "RLIMIT_MEMLOCK");
    assert_int_equal(place_held(), 3 * MIB);
    map_ok(f, BASE + 4 * MIB, 4 * MIB, MIB);
    unmap_ok(f, BASE, 16 * MIB);
    kernel_limit_locked(UINT64_MAX);
}

/* Two devices of one group: the second comes with a duplicate of the group's descriptor. */
static void takes_two_of_a_group(void **state)
{
    Fixture *f = *state;
    VfmBackendDevice devices[2];
    Edu edu;

    assert_int_equal(place_group(place_device(0, true)), place_group(place_device(1, true)));
    map_ok(f, BASE, 0, MIB);
    attach(f->backend, &devices[0], place_device(0, true));
    attach(f->backend, &devices[1], place_device(1, true));
    f->backend->ops->detach(f->backend, &devices[0]);
    edu_open(&edu, devices[1].device_fd);
    memset(f->memory, 0x77, PAGE);
    edu_copy(&edu, BASE, BASE + PAGE, COPY);
    assert_memory_equal(f->memory, f->memory + PAGE, COPY);
    edu_close(&edu);
    f->backend->ops->detach(f->backend, &devices[1]);
    unmap_ok(f, BASE, 16 * MIB);
}

/* A firmware-reserved region makes the kernel refuse the device; nothing of the others may suffer. */
static void refused_device_changes_nothing(void **state)
{
    Fixture *f = *state;
    g_autoptr(GError) error = NULL;
    VfmBackendDevice device = {.name = place_device(2, false)};
    Edu edu;

    device.fd = place_open(device.name);
    map_ok(f, 0x8000000, 0, MIB);
    assert_false(f->backend->ops->attach(f->backend, &device, &error));
    print_message("refused: %s\n", error->message);
    assert_true(error->domain == VFM_SYSTEM_ERROR);
    close(device.fd);
    edu_open(&edu, f->device.device_fd);
    memset(f->memory, 0x78, PAGE);
    edu_copy(&edu, 0x8000000, 0x8000000 + PAGE, COPY);
    assert_memory_equal(f->memory, f->memory + PAGE, COPY);
    edu_close(&edu);
    unmap_ok(f, 0x8000000, MIB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(maps_where_asked, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_what_it_pins, setup, teardown),
        cmocka_unit_test_setup_teardown(never_cuts_a_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(says_why_it_cannot_map, setup, teardown),
        cmocka_unit_test_setup_teardown(read_only_stays_unwritten, setup, teardown),
        cmocka_unit_test_setup_teardown(tells_its_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_at_the_limit_of_locked_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_two_of_a_group, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_device_changes_nothing, setup, teardown),
    };
    return cmocka_run_group_tests_name(place_is_iommufd() ? "iommufd" : "type1", tests, NULL, NULL);
}
