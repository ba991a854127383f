/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Our account against the kernel's: mappings (dma_avail) and bytes held (VmLck, VmPin),
 * at every step, at every limit, on every way back, and when all is over.
 */
#include "kernel_view.h"
#include "place.h"
#include "scene.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define COPY EDU_BUFFER_SIZE

static void assert_refused(GError *error, int code, const char *text)
{
    assert_non_null(error);
    print_message("refused: %s\n", error->message);
    if (!g_error_matches(error, VFM_REFUSED, code) || !strstr(error->message, text))
        fail_msg("expected refusal %d with \"%s\"", code, text);
}

/* A device tells whether a block is reachable: a populated one takes what it writes. */
static void spot_check(Edu *edu, Memory *boot, Memory *memory, GRand *rand)
{
    uint64_t block = vfm_discard_block(memory->discard);
    uint64_t offset = g_rand_int_range(rand, 0, (gint32)(memory->size / block)) * block;
    uint8_t pattern = (uint8_t)g_rand_int_range(rand, 1, 256);

    if (vfm_discard_is_populated(memory->discard, offset, block)) {
        memset(boot->cpu, pattern, COPY);
        edu_copy(edu, 0, memory->address + offset, COPY);
        assert_memory_equal(memory->other + offset, boot->cpu, COPY);
    } else {
        uint64_t before = kernel_faults();
        edu_copy(edu, 0, memory->address + offset, COPY);
        assert_true(kernel_fault_since(before));
        assert_true(memory_is_hole(memory, offset, block));
    }
}

static void ten_thousand_random_steps(void **state)
{
    const uint64_t block = 16 * KIB;
    const unsigned blocks = 1024, steps = 10000;
    guint32 seed = g_getenv("VFIOMEM_SEED") ? (guint32)strtoul(g_getenv("VFIOMEM_SEED"), NULL, 0) : g_random_int();
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    Scene *scene = scene_new();
    Memory *boot = scene_add_memory(scene, "boot RAM", 0, 4 * MIB, 0);
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, blocks * block, block);
    Edu *edu = scene_attach(scene, place_device(0, false));
    uint64_t expected = 0;

    print_message("seed: VFIOMEM_SEED=%u\n", seed);
    for (unsigned step = 0; step < steps; step++) {
        unsigned first = (unsigned)g_rand_int_range(rand, 0, (gint32)blocks);
        unsigned count = (unsigned)g_rand_int_range(rand, 1, 9);
        count = MIN(count, blocks - first);
        if (g_rand_boolean(rand)) {
            g_autoptr(GError) error = NULL;
            bool any = vfm_discard_any_populated(memory->discard, first * block, count * block);
            bool plugged = memory_try_plug(memory, first * block, count * block, &error);
            assert_int_equal(plugged, !any);
            expected += plugged ? count * block : 0;
        } else {
            uint64_t bytes;
            vfm_discard_count(memory->discard, first * block, count * block, &bytes);
            memory_unplug(memory, first * block, count * block);
            expected -= bytes;
        }
        assert_int_equal(vfm_discard_populated(memory->discard), expected);
        assert_int_equal(place_held(), boot->size + expected);
        scene_verify(scene);
        if (step % 1000 == 999)
            spot_check(edu, boot, memory, rand);
    }
    scene_free(scene);
    assert_int_equal(place_held(), 0);
}

/* type1 holds 65,535 mappings by default, iommufd as many as there is memory for. */
static void the_last_mapping(void **state)
{
    const uint64_t block = 4 * KIB, limit = 65535;
    Scene *scene = scene_new();
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, (limit + 1) * block, block);
    Edu *edu = scene_attach(scene, place_device(0, false));
    g_autoptr(GError) error = NULL;
    VfmContainerUsage usage;

    memory_plug(memory, 0, limit * block);
    scene_verify(scene);
    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.mappings, limit);
    if (place_is_iommufd()) {
        assert_false(usage.budget.set);
        memory_plug(memory, limit * block, block);
    } else {
        assert_int_equal(usage.budget.value, limit);
        assert_false(memory_try_plug(memory, limit * block, block, &error));
        assert_refused(error, VFM_REFUSED_BUDGET, "8192"); /* the block size with which all of it fits */
        scene_verify(scene);
        /* One goes, another one comes. */
        memory_unplug(memory, 7 * block, block);
        memory_plug(memory, limit * block, block);
    }
    scene_verify(scene);
    memset(memory->cpu + limit * block, 0xc1, COPY);
    edu_copy(edu, memory->address + limit * block, memory->address, COPY);
    assert_int_equal(memory->other[0], 0xc1);
    memory_unplug(memory, 0, memory->size);
    scene_verify(scene);
    assert_int_equal(place_held(), 0);
    scene_free(scene);
}

static void locked_memory_runs_out_midway(void **state)
{
    Scene *scene = scene_new();
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 32 * MIB, MIB);
    Edu *edu = scene_attach(scene, place_device(0, false));
    g_autoptr(GError) error = NULL;

    kernel_limit_locked(8 * MIB);
    memory_plug(memory, 4 * MIB, 4 * MIB);
    assert_false(memory_try_plug(memory, 16 * MIB, 16 * MIB, &error));
    assert_refused(error, VFM_REFUSED_MEMLOCK, "20971520"); /* 4 MiB there are and 16 MiB more */
    assert_int_equal(vfm_discard_populated(memory->discard), 4 * MIB);
    scene_verify(scene);
    memset(memory->cpu + 4 * MIB, 0xc2, COPY);
    edu_copy(edu, memory->address + 4 * MIB, memory->address + 8 * MIB - COPY, COPY);
    assert_int_equal(memory->cpu[8 * MIB - 1], 0xc2);
    /* What the message said is enough. */
    kernel_limit_locked(20971520);
    memory_plug(memory, 16 * MIB, 16 * MIB);
    scene_verify(scene);
    kernel_limit_locked(UINT64_MAX);
    scene_free(scene);
}

/* The n-th mapping fails, for every n: nothing of the first n - 1 stays. */
static void failure_at_every_mapping(void **state)
{
    const unsigned blocks = 24;
    const uint64_t block = 64 * KIB;
    Scene *scene = scene_new();
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 64 * block, block);

    scene_attach(scene, place_device(0, false));
    /* iommufd does not charge what is mapped without a limit, and these are to count. */
    kernel_limit_locked(MIB);
    memory_plug(memory, 0, 2 * block);
    memory_plug(memory, 60 * block, block);
    for (unsigned n = 1; n <= blocks; n++) {
        g_autoptr(GError) error = NULL;
        kernel_limit_locked((3 + n - 1) * block);
        assert_false(memory_try_plug(memory, 8 * block, blocks * block, &error));
        assert_true(g_error_matches(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK));
        assert_int_equal(vfm_discard_populated(memory->discard), 3 * block);
        assert_int_equal(place_held(), 3 * block);
        scene_verify(scene);
    }
    kernel_limit_locked(UINT64_MAX);
    memory_plug(memory, 8 * block, blocks * block);
    scene_verify(scene);
    scene_free(scene);
}

/* An attach that cannot pin all of guest memory leaves nothing behind, and the descriptor with its owner. */
static void attach_that_cannot_pin(void **state)
{
    Scene *scene = scene_new();
    Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 16 * MIB, MIB);

    scene_add_memory(scene, "boot RAM", 0, 8 * MIB, 0);
    memory_plug(memory, 0, 8 * MIB);
    for (uint64_t limit = MIB; limit < 16 * MIB; limit += 5 * MIB) {
        g_autoptr(GError) each = NULL;
        kernel_limit_locked(limit);
        assert_false(scene_try_attach(scene, place_device(0, false), &each));
        assert_refused(each, VFM_REFUSED_MEMLOCK, "raise it to");
        assert_int_equal(place_held(), 0);
    }
    kernel_limit_locked(16 * MIB);
    scene_attach(scene, place_device(0, false));
    scene_verify(scene);
    assert_int_equal(place_held(), 16 * MIB);
    kernel_limit_locked(UINT64_MAX);
    scene_free(scene);
}

/* The scene in a process of its own, which then ends as @how says. Returns how it ended. */
static int in_child(const char *how)
{
    int ready[2];
    pid_t child;
    int status;
    char byte;

    assert_int_equal(pipe(ready), 0);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        Scene *scene = scene_new();
        Memory *memory = scene_add_memory(scene, "virtio-mem", 4 * GIB, 32 * MIB, 2 * MIB);

        scene_attach(scene, place_device(0, false));
        scene_attach(scene, place_device(1, false));
        memory_plug(memory, 0, 32 * MIB);
        if (!strcmp(how, "detached")) {
            scene_detach(scene, place_device(0, false));
            scene_detach(scene, place_device(1, false));
        }
        if (write(ready[1], "", 1) != 1)
            _exit(2);
        if (strcmp(how, "killed"))
            _exit(place_held() == (strcmp(how, "detached") ? 32 * MIB : 0) ? 0 : 1);
        pause();
    }
    close(ready[1]);
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    if (!strcmp(how, "killed")) {
        assert_true(kernel_pins() * 4096 >= (int64_t)(31 * MIB));
        kill(child, SIGKILL);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* Pages pinned in the whole system. The kernel gathers this count with a tolerance per CPU. */
static void assert_no_pins_since(int64_t before)
{
    int64_t now = kernel_pins();
    if (llabs(now - before) > 256)
        fail_msg("%lld pages stay pinned", (long long)(now - before));
}

static void nothing_stays_pinned(void **state)
{
    int64_t before = kernel_pins();

    assert_int_equal(in_child("detached"), 0);
    assert_no_pins_since(before);
    assert_int_equal(in_child("exits"), 0);
    assert_no_pins_since(before);
    assert_int_equal(WTERMSIG(in_child("killed")), SIGKILL);
    assert_no_pins_since(before);
    /* And somebody else can have the devices. */
    Scene *scene = scene_new();
    scene_attach(scene, place_device(0, false));
    scene_attach(scene, place_device(1, false));
    scene_free(scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_random_steps),     cmocka_unit_test(the_last_mapping),
        cmocka_unit_test(locked_memory_runs_out_midway), cmocka_unit_test(failure_at_every_mapping),
        cmocka_unit_test(attach_that_cannot_pin),        cmocka_unit_test(nothing_stays_pinned),
    };
    return cmocka_run_group_tests_name(place_is_iommufd() ? "count on iommufd" : "count on type1", tests, NULL, NULL);
}
