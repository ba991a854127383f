/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "discard.h"
#include "error.h"

#define BLOCK 4096u

/* A listener that remembers, block by block, what it believes to be in use. */
typedef struct {
    VfmDiscardListener base;
    bool has[1024];
    unsigned populates, discards;
    unsigned fail_populate, fail_discard; /* the n-th call from now fails; 0: none */
} Witness;

static bool witness_change(Witness *witness, uint64_t offset, uint64_t size, bool value, unsigned *countdown,
                           GError **error)
{
    assert_true(offset >= witness->base.offset);
    assert_true(offset + size <= witness->base.offset + witness->base.size);
    if (*countdown && --*countdown == 0) {
        g_set_error(error, VFM_SYSTEM_ERROR, 5, "the witness refuses");
        return false;
    }
    for (uint64_t block = offset / BLOCK; block * BLOCK < offset + size; block++) {
        assert_false(value && witness->has[block]);
        witness->has[block] = value;
    }
    return true;
}

static bool witness_populate(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    Witness *witness = (Witness *)listener;

    witness->populates++;
    return witness_change(witness, offset, size, true, &witness->fail_populate, error);
}

static bool witness_discard(VfmDiscardListener *listener, uint64_t offset, uint64_t size, GError **error)
{
    Witness *witness = (Witness *)listener;

    witness->discards++;
    return witness_change(witness, offset, size, false, &witness->fail_discard, error);
}

static const VfmDiscardListenerOps witness_ops = {.populate = witness_populate, .discard = witness_discard};

static Witness witness_of(uint64_t offset, uint64_t size)
{
    return (Witness){.base = {&witness_ops, offset, size}};
}

static void assert_same(const VfmDiscard *discard, const Witness *witness)
{
    for (uint64_t block = witness->base.offset / BLOCK; block * BLOCK < witness->base.offset + witness->base.size;
         block++)
        assert_int_equal(witness->has[block], vfm_discard_is_populated(discard, block * BLOCK, 1));
}

static void test_only_whole_blocks_of_a_power_of_two(void **state)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmDiscard) discard = NULL;

    assert_null(vfm_discard_new("vm0", 1 << 20, 3000, false, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
    g_clear_error(&error);
    assert_null(vfm_discard_new("vm0", 0, BLOCK, false, &error));
    g_clear_error(&error);
    discard = vfm_discard_new("vm0", 10 * BLOCK + 512, BLOCK, false, NULL);
    assert_false(vfm_discard_populate(discard, 100, BLOCK, &error));
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT));
    g_clear_error(&error);
    assert_false(vfm_discard_populate(discard, 10 * BLOCK, BLOCK, &error)); /* beyond the end */
    g_clear_error(&error);
    assert_false(vfm_discard_discard(discard, 0, 0, &error));
    g_clear_error(&error);
    assert_true(vfm_discard_populate(discard, 10 * BLOCK, 512, NULL)); /* the short last block */
    assert_int_equal(vfm_discard_populated(discard), 512);
    assert_false(vfm_discard_populate(discard, 9 * BLOCK, BLOCK + 512, &error)); /* half of it is in use */
    assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_STATE));
    assert_int_equal(vfm_discard_populated(discard), 512);
}

static void test_a_refusal_rolls_the_others_back(void **state)
{
    g_autoptr(VfmDiscard) discard = vfm_discard_new("vm0", 64 * BLOCK, BLOCK, false, NULL);
    Witness first = witness_of(0, 64 * BLOCK), second = witness_of(8 * BLOCK, 16 * BLOCK);
    g_autoptr(GError) error = NULL;

    assert_true(vfm_discard_add_listener(discard, &first.base, NULL));
    assert_true(vfm_discard_add_listener(discard, &second.base, NULL));
    second.fail_populate = 1;
    assert_false(vfm_discard_populate(discard, 0, 32 * BLOCK, &error));
    assert_string_equal(error->message, "the witness refuses");
    assert_int_equal(vfm_discard_populated(discard), 0);
    assert_same(discard, &first);
    /* The second one does not listen there. */
    assert_true(vfm_discard_populate(discard, 0, 8 * BLOCK, NULL));
    assert_int_equal(second.populates, 1);
    assert_true(vfm_discard_populate(discard, 8 * BLOCK, 24 * BLOCK, NULL));
    assert_same(discard, &first);
    assert_same(discard, &second);
    vfm_discard_remove_listener(discard, &first.base);
    vfm_discard_remove_listener(discard, &second.base);
}

static void test_a_discard_is_one_call_and_can_be_refused(void **state)
{
    g_autoptr(VfmDiscard) discard = vfm_discard_new("vm0", 256 * BLOCK, BLOCK, false, NULL);
    Witness first = witness_of(0, 256 * BLOCK), second = witness_of(0, 256 * BLOCK);
    g_autoptr(GError) error = NULL;

    assert_true(vfm_discard_add_listener(discard, &first.base, NULL));
    assert_true(vfm_discard_add_listener(discard, &second.base, NULL));
    for (unsigned i = 0; i < 256; i += 2)
        assert_true(vfm_discard_populate(discard, i * BLOCK, BLOCK, NULL));
    second.fail_discard = 1;
    assert_false(vfm_discard_discard(discard, 0, 256 * BLOCK, &error));
    assert_int_equal(vfm_discard_populated(discard), 128 * BLOCK);
    assert_same(discard, &first);
    assert_same(discard, &second);
    first.discards = second.discards = 0;
    assert_true(vfm_discard_discard(discard, 0, 256 * BLOCK, NULL));
    assert_int_equal(first.discards, 1);
    assert_int_equal(second.discards, 1);
    assert_int_equal(vfm_discard_populated(discard), 0);
    assert_true(vfm_discard_discard(discard, 0, 256 * BLOCK, NULL)); /* nobody has anything: nobody is called */
    assert_int_equal(first.discards, 1);
    vfm_discard_remove_listener(discard, &first.base);
    vfm_discard_remove_listener(discard, &second.base);
}

static void test_late_comers_get_all_or_nothing(void **state)
{
    g_autoptr(VfmDiscard) discard = vfm_discard_new("vm0", 200 * BLOCK, BLOCK, false, NULL);
    g_autoptr(GError) error = NULL;

    for (unsigned i = 3; i < 200; i += 10)
        assert_true(vfm_discard_populate(discard, i * BLOCK, 4 * BLOCK, NULL));
    for (unsigned n = 1; n <= 20; n++) {
        Witness witness = witness_of(5 * BLOCK, 190 * BLOCK);

        witness.fail_populate = n;
        assert_int_equal(vfm_discard_add_listener(discard, &witness.base, NULL), n > 20);
        for (unsigned i = 0; i < 200; i++)
            assert_false(witness.has[i]);
        assert_int_equal(witness.discards, n > 1);
    }
    {
        Witness witness = witness_of(5 * BLOCK, 190 * BLOCK);

        assert_true(vfm_discard_add_listener(discard, &witness.base, &error));
        assert_same(discard, &witness);
        assert_int_equal(witness.populates, 20);
        vfm_discard_remove_listener(discard, &witness.base);
    }
}

typedef struct {
    bool seen[1024];
    uint64_t next;
} Runs;

static bool note_run(void *data, uint64_t offset, uint64_t size, GError **error)
{
    Runs *runs = data;

    assert_true(offset >= runs->next);
    runs->next = offset + size + 1; /* maximal: the next one does not touch */
    for (uint64_t at = offset / BLOCK; at * BLOCK < offset + size; at++)
        runs->seen[at] = true;
    return true;
}

static void test_random_requests_against_an_array(void **state)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(3);
    uint64_t blocks = 707, size = blocks * BLOCK - 1000;
    g_autoptr(VfmDiscard) discard = vfm_discard_new("vm0", size, BLOCK, false, NULL);
    bool truth[1024] = {false};

    for (unsigned step = 0; step < 20000; step++) {
        uint64_t first = (uint64_t)g_rand_int_range(rand, 0, (int)blocks);
        uint64_t count = 1 + (uint64_t)g_rand_int_range(rand, 0, (int)MIN(blocks - first, 1u + step % 200));
        uint64_t offset = first * BLOCK, length = MIN(count * BLOCK, size - offset), bytes, total = 0, expected = 0;
        bool populate = g_rand_boolean(rand), any = false, all = true;

        for (uint64_t i = first; i < first + count; i++) {
            any |= truth[i];
            all &= truth[i];
            if (truth[i])
                expected += MIN(BLOCK, size - i * BLOCK);
        }
        assert_int_equal(vfm_discard_any_populated(discard, offset, length), any);
        assert_int_equal(vfm_discard_is_populated(discard, offset, length), all);
        vfm_discard_count(discard, offset, length, &bytes);
        assert_int_equal(bytes, expected);
        if (populate)
            assert_int_equal(vfm_discard_populate(discard, offset, length, NULL), !any);
        else
            assert_true(vfm_discard_discard(discard, offset, length, NULL));
        for (uint64_t i = first; i < first + count && !(populate && any); i++)
            truth[i] = populate;
        for (uint64_t i = 0; i < blocks; i++)
            total += truth[i] ? MIN(BLOCK, size - i * BLOCK) : 0;
        assert_int_equal(vfm_discard_populated(discard), total);
        for (int value = 0; value < 2 && step % 16 == 0; value++) {
            Runs runs = {.next = 0};

            assert_true(vfm_discard_replay(discard, value, 0, size, note_run, &runs, NULL));
            for (uint64_t i = 0; i < blocks; i++)
                assert_int_equal(runs.seen[i], truth[i] == value);
        }
    }
}

static void test_memory_is_one_bit_a_block(void **state)
{
    /* 16 TiB in blocks of 2 MiB. */
    g_autoptr(VfmDiscard) discard = vfm_discard_new("vm0", 16ull << 40, 2u << 20, false, NULL);

    assert_in_range(vfm_discard_footprint(discard), 8388608 / 8, 8388608 / 8 + 256);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_whole_blocks_of_a_power_of_two),
        cmocka_unit_test(test_a_refusal_rolls_the_others_back),
        cmocka_unit_test(test_a_discard_is_one_call_and_can_be_refused),
        cmocka_unit_test(test_late_comers_get_all_or_nothing),
        cmocka_unit_test(test_random_requests_against_an_array),
        cmocka_unit_test(test_memory_is_one_bit_a_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
