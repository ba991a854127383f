/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * scene.h - a guest's memory and one container that follows it, on the real kernel.
 *
 * Owns map, container, mapper, the memory and the witnesses of attached devices.
 * Everything aborts the test on failures that the test does not ask about.
 */
#pragma once

#include "edu.h"
#include "host_read.h"
#include "mapper.h"
#include "translation.h"

#define KIB 1024ULL
#define MIB (1024 * KIB)
#define GIB (1024 * MIB)

/* A piece of guest memory: a memfd, mapped twice as a guest's CPU and, say, a vhost-user process would. */
typedef struct {
    VfmRegion *region;
    VfmDiscard *discard; /* NULL: ordinary RAM */
    uint64_t address, size;
    int fd;
    uint8_t *cpu, *other;
    unsigned placement;
} Memory;

typedef struct {
    VfmMemoryMap *map;
    VfmContainer *container;
    VfmMapper *mapper;
    VfmHost *host;          /* this machine's, from sysfs: reserved regions come from there */
    VfmTranslation *viommu; /* NULL: devices see guest physical addresses */
    VfmMemoryMap *view;     /* what devices see: @map, or one whose only region is the virtual IOMMU */
    GPtrArray *memories;
    GHashTable *witnesses; /* device address -> Edu */
} Scene;

Scene *scene_new(void);
/* With the mapper's options (may be NULL), behind a virtual IOMMU if @viommu. */
Scene *scene_new_with(const VfmMapperOptions *options, bool viommu);
void scene_free(Scene *scene);

/* Memory of @size bytes at @address; in blocks of @block bytes, all discarded, or ordinary RAM if @block is 0. */
Memory *scene_add_memory(Scene *scene, const char *name, uint64_t address, uint64_t size, uint64_t block);
/* The same, where the map may refuse it: then NULL and @error. */
Memory *scene_try_memory(Scene *scene, const char *name, uint64_t address, uint64_t size, uint64_t block,
                         GError **error);

bool scene_try_attach(Scene *scene, const char *device, GError **error);
/* Its witness: borrowed, until the device is detached. */
Edu *scene_attach(Scene *scene, const char *device);
void scene_detach(Scene *scene, const char *device);

/* Plugs and unplugs as a virtio-mem device does: listeners first, then the hole in the file. */
bool memory_try_plug(Memory *memory, uint64_t offset, uint64_t size, GError **error);
void memory_plug(Memory *memory, uint64_t offset, uint64_t size);
void memory_unplug(Memory *memory, uint64_t offset, uint64_t size);
void memory_punch(Memory *memory, uint64_t offset, uint64_t size);
/* Whether the file has pages somewhere in the range. */
bool memory_is_hole(Memory *memory, uint64_t offset, uint64_t size);

/* Compares our account of the container with the kernel's: mappings, and bytes pinned. Aborts the test if they differ.
 */
void scene_verify(Scene *scene);
