/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What following the guest costs beside the kernel's own work: 60,000 blocks mapped by the
 * engine, 200 with each populate, against a loop of bare ioctls that makes the same
 * mappings, in the same container, turn by turn. What disturbs an interpreted machine only ever
 * adds, so each 200 count with the best of its rounds. Prints the ratio; more than 1.05 fails.
 */
#include "iommufd_abi.h"
#include "place.h"
#include "scene.h"

#include "backend_iommufd.h"
#include "backend_type1.h"
#include "vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BLOCKS 60000
#define BLOCK 4096ULL
#define BASE (4 * GIB)
#define ROUNDS 11
#define PART 200 /* blocks: within a time slice, so that some round of it is undisturbed */
#define PARTS (BLOCKS / PART)
#define TARGET 1.05

static double now(void)
{
    return (double)g_get_monotonic_time() / 1e6;
}

static void must(bool ok, const GError *error, const char *what)
{
    if (!ok)
        g_error("%s: %s", what, error ? error->message : g_strerror(errno));
}

/* Blocks @first and on, PART of them. Nothing but the ioctl is in the loops: they are the measure. */
static void raw_map_iommufd(int fd, uint8_t *memory, uint64_t first)
{
    for (uint64_t i = first; i < first + PART; i++) {
        struct vfm_ioas_map map = {
            .size = sizeof(map),
            .flags = VFM_IOAS_FIXED_IOVA | VFM_IOAS_READABLE | VFM_IOAS_WRITEABLE,
            .ioas_id = 1, /* the first object of a fresh descriptor: the backend's */
            .user_va = (uintptr_t)(memory + i * BLOCK),
            .length = BLOCK,
            .iova = BASE + i * BLOCK,
        };
        if (ioctl(fd, VFM_IOMMU_IOAS_MAP, &map) < 0)
            g_error("raw map: %s", g_strerror(errno));
    }
}

static void raw_map_type1(int fd, uint8_t *memory, uint64_t first)
{
    for (uint64_t i = first; i < first + PART; i++) {
        struct vfio_iommu_type1_dma_map map = {
            .argsz = sizeof(map),
            .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
            .vaddr = (uintptr_t)(memory + i * BLOCK),
            .iova = BASE + i * BLOCK,
            .size = BLOCK,
        };
        if (ioctl(fd, VFIO_IOMMU_MAP_DMA, &map) < 0)
            g_error("raw map: %s", g_strerror(errno));
    }
}

static void raw_unmap(int fd)
{
    if (place_is_iommufd()) {
        struct vfm_ioas_unmap unmap = {.size = sizeof(unmap), .ioas_id = 1, .iova = BASE, .length = BLOCKS * BLOCK};
        must(ioctl(fd, VFM_IOMMU_IOAS_UNMAP, &unmap) == 0 && unmap.length == BLOCKS * BLOCK, NULL, "raw unmap");
    } else {
        struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .iova = BASE, .size = BLOCKS * BLOCK};
        must(ioctl(fd, VFIO_IOMMU_UNMAP_DMA, &unmap) == 0 && unmap.size == BLOCKS * BLOCK, NULL, "raw unmap");
    }
}

static double sum(const double *values)
{
    double total = 0;

    for (unsigned i = 0; i < PARTS; i++)
        total += values[i];
    return total;
}

/* @best: of each part, in seconds. */
static void time_raw(int fd, uint8_t *memory, double *best)
{
    void (*raw_map)(int, uint8_t *, uint64_t) = place_is_iommufd() ? raw_map_iommufd : raw_map_type1;

    for (unsigned i = 0; i < PARTS; i++) {
        double start = now();
        raw_map(fd, memory, i * PART);
        best[i] = MIN(best[i], now() - start);
    }
    raw_unmap(fd);
}

static void time_engine(VfmDiscard *discard, double *best)
{
    g_autoptr(GError) error = NULL;

    for (unsigned i = 0; i < PARTS; i++) {
        double start = now();
        must(vfm_discard_populate(discard, i * PART * BLOCK, PART * BLOCK, &error), error, "populating");
        best[i] = MIN(best[i], now() - start);
    }
    must(vfm_discard_discard(discard, 0, BLOCKS * BLOCK, &error), error, "discarding");
}

int main(void)
{
    g_autoptr(GError) error = NULL;
    int fd = place_is_iommufd() ? vfm_vfio_open_iommufd(&error) : vfm_vfio_open_container(&error);
    int raw = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    VfmBackend *backend = place_is_iommufd() ? vfm_backend_iommufd_new(fd, VFM_IOMMUFD_ACCOUNT_PROCESS, &error)
                                             : vfm_backend_type1_new(fd, &error);
    must(backend && raw >= 0, error, "opening a container");
    VfmContainer *container = vfm_container_new("container 0", backend, VFM_NONE);
    VfmMemoryMap *map = vfm_memory_map_new("bench");
    VfmMapper *mapper = vfm_mapper_new(container, map, NULL, &error);
    int memfd = memfd_create("bench", MFD_CLOEXEC);
    double engine[PARTS], bare[PARTS];

    must(mapper != NULL, error, "making a mapper");
    must(memfd >= 0 && ftruncate(memfd, BLOCKS * BLOCK) == 0, NULL, "making memory");
    uint8_t *memory = mmap(NULL, BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, memfd, 0);
    must(memory != MAP_FAILED, NULL, "mapping memory");
    /* The pages are there before, so that only mapping is measured. */
    memset(memory, 1, BLOCKS * BLOCK);

    VfmRegion *region = vfm_region_new("virtio-mem", VFM_REGION_RAM, BLOCKS * BLOCK, memory, memfd, 0);
    VfmDiscard *discard = vfm_discard_new("virtio-mem", BLOCKS * BLOCK, BLOCK, false, &error);
    must(discard != NULL, error, "making a discard manager");
    region->discard = discard;
    must(vfm_memory_map_place(map, region, 0, BLOCKS * BLOCK, BASE, 0, &error), error, "placing memory");
    VfmContainerDevice device = {.name = place_device(0, false), .fd = place_open(place_device(0, false))};
    must(vfm_container_attach(container, &device, NULL, &error), error, "attaching");

    for (unsigned i = 0; i < PARTS; i++)
        engine[i] = bare[i] = G_MAXDOUBLE;
    for (unsigned i = 0; i < ROUNDS; i++) {
        /* Who goes first changes, so that neither always finds the caches warm. */
        if (i % 2)
            time_engine(discard, engine);
        time_raw(raw, memory, bare);
        if (!(i % 2))
            time_engine(discard, engine);
    }
    double ratio = sum(engine) / sum(bare);
    printf("lab-map-%s: %u blocks: engine %.2f us, bare ioctl %.2f us a block, ratio %.3f (target %.2f)\n",
           backend->ops->name, BLOCKS, sum(engine) / BLOCKS * 1e6, sum(bare) / BLOCKS * 1e6, ratio, TARGET);

    vfm_mapper_free(mapper);
    vfm_container_free(container);
    vfm_memory_map_free(map);
    vfm_region_unref(region);
    close(raw);
    place_close_groups();
    return ratio > TARGET;
}
