/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-engine - what the engine itself costs, without a kernel.
 *
 * Prints one line per figure with its target, and fails if a target is missed. All
 * of it runs on the recording backend, through discard manager, mapper and container.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend_record.h"
#include "mapper.h"

#define MIB (1024ull * 1024)
#define GIB (1024 * MIB)
#define TIB (1024 * GIB)
#define BLOCK (2 * MIB)

typedef struct {
    VfmMemoryMap *map;
    VfmBackend *backend;
    VfmContainer *container;
    VfmMapper *mapper;
    VfmDiscard *discard;
} Scene;

static int missed;

static void report(const char *what, double value, const char *unit, bool met, const char *target)
{
    printf("%-58s %14.3f %-10s target %s: %s\n", what, value, unit, target, met ? "met" : "MISSED");
    missed += !met;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

static void must(bool done, GError *error)
{
    if (done)
        return;
    fprintf(stderr, "bench-engine: %s\n", error ? error->message : "failed");
    exit(1);
}

static Scene scene_new(uint64_t sparse)
{
    Scene scene = {.map = vfm_memory_map_new("guest"), .backend = vfm_backend_record_new(NULL)};
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};
    GError *error = NULL;

    scene.container = vfm_container_new("container 0", scene.backend, VFM_NONE);
    scene.mapper = vfm_mapper_new(scene.container, scene.map, NULL, NULL);
    if (sparse) {
        VfmRegion *region = vfm_region_new("vm0", VFM_REGION_RAM, sparse, (void *)(64 * TIB), -1, 0);

        scene.discard = region->discard = vfm_discard_new("vm0", sparse, BLOCK, false, NULL);
        must(vfm_memory_map_place(scene.map, region, 0, sparse, 4 * GIB, 0, &error) != 0, error);
        vfm_region_unref(region);
    }
    must(vfm_container_attach(scene.container, &device, NULL, &error), error);
    return scene;
}

static void scene_free(Scene *scene)
{
    vfm_mapper_free(scene->mapper);
    vfm_container_free(scene->container);
    vfm_memory_map_free(scene->map);
}

static int compare_double(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static double median(double *values, unsigned count)
{
    qsort(values, count, sizeof(*values), compare_double);
    return values[count / 2];
}

static void blocks_per_second(void)
{
    enum { ROUNDS = 9, BLOCKS = 1 << 20 };
    double populate[ROUNDS], replay[ROUNDS], middle;
    Scene scene = scene_new(BLOCKS * BLOCK);
    VfmContainerDevice device = {.name = "0000:01:00.0", .fd = -1};

    for (unsigned round = 0; round < ROUNDS; round++) {
        GError *error = NULL;
        double start = now();

        must(vfm_discard_populate(scene.discard, 0, BLOCKS * BLOCK, &error), error);
        populate[round] = BLOCKS / (now() - start) * 1e-6;
        must(vfm_container_detach(scene.container, device.name, &error), error);
        start = now();
        must(vfm_container_attach(scene.container, &device, NULL, &error), error);
        replay[round] = BLOCKS / (now() - start) * 1e-6;
        must(vfm_discard_discard(scene.discard, 0, BLOCKS * BLOCK, &error), error);
    }
    middle = median(populate, ROUNDS);
    report("populate through the record backend", middle, "Mblocks/s", middle >= 5, ">= 5");
    middle = median(replay, ROUNDS);
    report("replay for a hot-plugged device", middle, "Mblocks/s", middle >= 5, ">= 5");
    scene_free(&scene);
}

/* Nanoseconds for one plug and one unplug of a random block, in a region that is half plugged. */
static double plug_cost(const Scene *scene, unsigned steps)
{
    uint64_t blocks = vfm_discard_size(scene->discard) / BLOCK, seed = 1;
    double start = now();

    for (unsigned i = 0; i < steps; i++) {
        uint64_t offset;

        seed = seed * 6364136223846793005u + 1442695040888963407u;
        offset = (blocks / 2 + (seed >> 33) % (blocks / 2)) * BLOCK;
        must(vfm_discard_populate(scene->discard, offset, BLOCK, NULL), NULL);
        must(vfm_discard_discard(scene->discard, offset, BLOCK, NULL), NULL);
    }
    return (now() - start) / steps * 1e9;
}

static void cost_follows_the_change(void)
{
    /* Short rounds in turn, and the best of each: what other processes take from us is no property of the region. */
    enum { ROUNDS = 400, STEPS = 1000 };
    Scene large = scene_new(16 * TIB), small = scene_new(GIB);
    double in_large = 1e9, in_small = 1e9;

    must(vfm_discard_populate(large.discard, 0, 8 * TIB, NULL), NULL);
    must(vfm_discard_populate(small.discard, 0, GIB / 2, NULL), NULL);
    for (unsigned round = 0; round < ROUNDS; round++) {
        in_small = MIN(in_small, plug_cost(&small, STEPS));
        in_large = MIN(in_large, plug_cost(&large, STEPS));
    }
    printf("%-58s %14.3f ns\n", "plug and unplug of 2 MiB in 16 TiB", in_large);
    report("plug of 2 MiB in 16 TiB against 1 GiB", in_large / in_small, "times", in_large / in_small <= 1.2, "<= 1.2");
    scene_free(&large);
    scene_free(&small);
}

static void memory_of_the_discard_manager(void)
{
    VfmDiscard *discard = vfm_discard_new("vm0", 16 * TIB, BLOCK, false, NULL);
    double bits = (double)vfm_discard_footprint(discard) * 8, blocks = (double)(16 * TIB / BLOCK);

    report("discard manager of 16 TiB in 2 MiB blocks, beyond 1 bit each", (bits - blocks) / 8, "bytes",
           (bits - blocks) / 8 <= 256, "<= 256");
    vfm_discard_free(discard);
}

static void extents_of_boot_ram(void)
{
    Scene scene = scene_new(0);
    VfmRegion *ram = vfm_region_new("boot RAM", VFM_REGION_RAM, TIB, (void *)(16 * TIB), -1, 0);
    VfmRegion *rom = vfm_region_new("ROM", VFM_REGION_ROM, 256 * 1024, (void *)(8 * TIB), -1, 0);
    uint64_t calls = vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP);

    /* q35 with VGA: to 640 KiB, ROM, to 2 GiB, from 4 GiB. The layout asks for four ranges. */
    vfm_memory_map_begin(scene.map);
    vfm_memory_map_place(scene.map, ram, 0, 0xa0000, 0, 0, NULL);
    vfm_memory_map_place(scene.map, rom, 0, 256 * 1024, 0xc0000, 0, NULL);
    vfm_memory_map_place(scene.map, ram, MIB, 2 * GIB - MIB, MIB, 0, NULL);
    vfm_memory_map_place(scene.map, ram, 2 * GIB, TIB - 2 * GIB, 4 * GIB, 0, NULL);
    must(vfm_memory_map_commit(scene.map, NULL), NULL);
    calls = vfm_backend_record_calls(scene.backend, VFM_RECORD_MAP) - calls;
    report("map calls for 1 TiB of boot RAM in four ranges", (double)calls, "calls", calls == 4, "4");
    vfm_region_unref(ram);
    vfm_region_unref(rom);
    scene_free(&scene);
}

int main(void)
{
    blocks_per_second();
    cost_follows_the_change();
    memory_of_the_discard_manager();
    extents_of_boot_ram();
    return missed != 0;
}
