/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "backend_record.h"

#define PAGE 4096ull

static bool map(VfmBackend *backend, uint64_t iova, uint64_t size, int *errnum)
{
    VfmMapping mapping = {.iova = iova, .size = size, .vaddr = (void *)(uintptr_t)(iova + (1ull << 40)), .prot = 3};
    g_autoptr(GError) error = NULL;
    bool mapped = backend->ops->map(backend, &mapping, &error);

    *errnum = error ? error->code : 0;
    return mapped;
}

static void assert_map(VfmBackend *backend, uint64_t iova, uint64_t size, int expected)
{
    int errnum;

    assert_int_equal(map(backend, iova, size, &errnum), expected == 0);
    assert_int_equal(errnum, expected);
}

static void test_errors_are_those_of_type1(void **state)
{
    g_autoptr(GArray) ranges = vfm_ranges_new();
    VfmRecordOptions options = {.max_mappings = VFM_SOME(3), .memlock = VFM_SOME(10 * PAGE), .ranges = ranges};
    VfmBackend *backend;

    vfm_ranges_add(ranges, 0, 100 * PAGE - 1);
    backend = vfm_backend_record_new(&options);
    assert_map(backend, 100, PAGE, EINVAL);
    assert_map(backend, 0, 0, EINVAL);
    assert_map(backend, 99 * PAGE, 2 * PAGE, EINVAL);
    assert_map(backend, 0, 2 * PAGE, 0);
    assert_map(backend, PAGE, PAGE, EEXIST);
    assert_map(backend, 4 * PAGE, 2 * PAGE, 0);
    assert_map(backend, 3 * PAGE, 2 * PAGE, EEXIST);
    assert_map(backend, 50 * PAGE, 20 * PAGE, ENOMEM);
    assert_map(backend, 2 * PAGE, 2 * PAGE, 0);
    assert_map(backend, 20 * PAGE, PAGE, ENOSPC);
    assert_int_equal(backend->ops->available(backend).value, 0);
    assert_int_equal(vfm_backend_record_bytes(backend), 6 * PAGE);
    backend->ops->free(backend);
}

static void test_unmap_never_cuts(void **state)
{
    VfmBackend *backend = vfm_backend_record_new(NULL);
    uint64_t unmapped = 1;
    g_autoptr(GError) error = NULL;

    assert_true(backend->ops->unmap(backend, 0, 1ull << 40, &unmapped, NULL));
    assert_int_equal(unmapped, 0);
    for (unsigned i = 0; i < 10; i++)
        assert_map(backend, i * 4 * PAGE, 4 * PAGE, 0);
    assert_false(backend->ops->unmap(backend, 2 * PAGE, 10 * PAGE, &unmapped, &error));
    assert_int_equal(error->code, EINVAL);
    g_clear_error(&error);
    assert_false(backend->ops->unmap(backend, 4 * PAGE, 6 * PAGE, &unmapped, &error));
    assert_int_equal(vfm_backend_record_mappings(backend), 10);
    assert_true(backend->ops->unmap(backend, 4 * PAGE, 8 * PAGE, &unmapped, NULL));
    assert_int_equal(unmapped, 8 * PAGE);
    assert_int_equal(vfm_backend_record_mappings(backend), 8);
    assert_false(vfm_backend_record_find(backend, 4 * PAGE, NULL));
    assert_true(vfm_backend_record_find(backend, 13 * PAGE, NULL));
    backend->ops->free(backend);
}

static void test_runs_against_an_array(void **state)
{
    /* Mappings of one, two and four pages in any order; the array says who owns each page. */
    g_autoptr(GRand) rand = g_rand_new_with_seed(5);
    VfmBackend *backend = vfm_backend_record_new(NULL);
    unsigned owner[256] = {0}, next = 1, count = 0;

    for (unsigned step = 0; step < 50000; step++) {
        unsigned size = 1u << g_rand_int_range(rand, 0, 3), start = (unsigned)g_rand_int_range(rand, 0, 256 - 8);
        bool free = true, cut = false;
        int errnum;

        if (g_rand_boolean(rand)) {
            for (unsigned i = start; i < start + size; i++)
                free &= owner[i] == 0;
            assert_int_equal(map(backend, start * PAGE, size * PAGE, &errnum), free);
            for (unsigned i = start; i < start + size && free; i++)
                owner[i] = next;
            next += free;
            count += free;
        } else {
            unsigned length = (unsigned)g_rand_int_range(rand, 1, 9);
            uint64_t unmapped, expected = 0;

            cut = (start && owner[start] && owner[start - 1] == owner[start]) ||
                  (owner[start + length - 1] && owner[start + length] == owner[start + length - 1]);
            assert_int_equal(backend->ops->unmap(backend, start * PAGE, length * PAGE, &unmapped, NULL), !cut);
            for (unsigned i = start; i < start + length && !cut; i++) {
                expected += owner[i] ? PAGE : 0;
                count -= owner[i] && (i == start || owner[i - 1] != owner[i]);
            }
            for (unsigned i = start; i < start + length && !cut; i++)
                owner[i] = 0;
            assert_int_equal(unmapped, expected);
        }
        assert_int_equal(vfm_backend_record_mappings(backend), count);
        for (unsigned i = 0; i < 256; i += 7)
            assert_int_equal(vfm_backend_record_find(backend, i * PAGE, NULL), owner[i] != 0);
    }
    backend->ops->free(backend);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_those_of_type1),
        cmocka_unit_test(test_unmap_never_cuts),
        cmocka_unit_test(test_runs_against_an_array),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
