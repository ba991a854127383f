/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "scene.h"

#include "place.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

static void memory_free(gpointer data)
{
    Memory *memory = data;

    vfm_region_unref(memory->region);
    munmap(memory->cpu, memory->size);
    munmap(memory->other, memory->size);
    close(memory->fd);
    g_free(memory);
}

static void witness_free(gpointer data)
{
    edu_close(data);
    g_free(data);
}

/* A map that shows its devices nothing but a virtual IOMMU, as wide as what L1's own can do. */
static void make_viommu(Scene *scene)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmRegion) region = vfm_region_new("viommu", VFM_REGION_IOMMU, 1ULL << 39, NULL, -1, 0);

    scene->viommu = vfm_translation_new("viommu", scene->map, 0, &error);
    if (!scene->viommu)
        fail_msg("%s", error->message);
    region->translation = scene->viommu;
    scene->view = vfm_memory_map_new("view");
    if (!vfm_memory_map_place(scene->view, region, 0, region->size, 0, 0, &error))
        fail_msg("%s", error->message);
}

Scene *scene_new(void)
{
    return scene_new_with(NULL, false);
}

Scene *scene_new_with(const VfmMapperOptions *options, bool viommu)
{
    g_autoptr(GError) error = NULL;
    Scene *scene = g_new0(Scene, 1);

    scene->map = vfm_memory_map_new("lab");
    scene->view = scene->map;
    if (viommu)
        make_viommu(scene);
    scene->container = vfm_container_new("container 0", place_backend(), VFM_NONE);
    scene->mapper = vfm_mapper_new(scene->container, scene->view, options, &error);
    if (!scene->mapper)
        fail_msg("%s", error->message);
    scene->host = vfm_host_read("/", &error);
    if (!scene->host)
        fail_msg("%s", error->message);
    scene->memories = g_ptr_array_new_with_free_func(memory_free);
    scene->witnesses = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, witness_free);
    return scene;
}

void scene_free(Scene *scene)
{
    /* A witness maps a BAR, which keeps its device open and so its group in the container. */
    g_hash_table_unref(scene->witnesses);
    vfm_mapper_free(scene->mapper);
    vfm_container_free(scene->container);
    if (scene->viommu) {
        vfm_memory_map_free(scene->view);
        vfm_translation_free(scene->viommu);
    }
    vfm_memory_map_free(scene->map);
    g_ptr_array_unref(scene->memories);
    vfm_host_free(scene->host);
    place_close_groups();
    g_free(scene);
}

static uint8_t *map_file(int fd, uint64_t size)
{
    uint8_t *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    assert_ptr_not_equal(memory, MAP_FAILED);
    return memory;
}

Memory *scene_try_memory(Scene *scene, const char *name, uint64_t address, uint64_t size, uint64_t block,
                         GError **error)
{
    Memory *memory = g_new0(Memory, 1);

    memory->address = address;
    memory->size = size;
    memory->fd = memfd_create(name, MFD_CLOEXEC);
    assert_true(memory->fd >= 0);
    assert_int_equal(ftruncate(memory->fd, (off_t)size), 0);
    memory->cpu = map_file(memory->fd, size);
    memory->other = map_file(memory->fd, size);
    memory->region = vfm_region_new(name, VFM_REGION_RAM, size, memory->cpu, memory->fd, 0);
    if (block) {
        memory->discard = vfm_discard_new(name, size, block, false, NULL);
        assert_non_null(memory->discard);
        memory->region->discard = memory->discard;
    }
    memory->placement = vfm_memory_map_place(scene->map, memory->region, 0, size, address, 0, error);
    if (!memory->placement) {
        memory_free(memory);
        return NULL;
    }
    g_ptr_array_add(scene->memories, memory);
    return memory;
}

Memory *scene_add_memory(Scene *scene, const char *name, uint64_t address, uint64_t size, uint64_t block)
{
    g_autoptr(GError) error = NULL;
    Memory *memory = scene_try_memory(scene, name, address, size, block, &error);
    if (!memory)
        fail_msg("%s", error->message);
    return memory;
}

bool scene_try_attach(Scene *scene, const char *name, GError **error)
{
    const VfmIommuGroup *group = vfm_host_find_group(scene->host, name);
    VfmContainerDevice device = {.name = name, .fd = place_open(name)};

    assert_non_null(group);
    assert_true(group->reserved_known);
    device.reserved = group->reserved;
    if (!vfm_container_attach(scene->container, &device, NULL, error)) {
        assert_int_equal(close(device.fd), 0); /* still ours */
        return false;
    }
    Edu *edu = g_new0(Edu, 1);
    edu_open(edu, vfm_container_device_fd(scene->container, name));
    g_hash_table_insert(scene->witnesses, g_strdup(name), edu);
    return true;
}

Edu *scene_attach(Scene *scene, const char *device)
{
    g_autoptr(GError) error = NULL;
    if (!scene_try_attach(scene, device, &error))
        fail_msg("%s", error->message);
    return g_hash_table_lookup(scene->witnesses, device);
}

void scene_detach(Scene *scene, const char *device)
{
    g_autoptr(GError) error = NULL;
    g_hash_table_remove(scene->witnesses, device);
    if (!vfm_container_detach(scene->container, device, &error))
        fail_msg("%s", error->message);
}

bool memory_try_plug(Memory *memory, uint64_t offset, uint64_t size, GError **error)
{
    return vfm_discard_populate(memory->discard, offset, size, error);
}

void memory_plug(Memory *memory, uint64_t offset, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    if (!memory_try_plug(memory, offset, size, &error))
        fail_msg("%s", error->message);
}

void memory_punch(Memory *memory, uint64_t offset, uint64_t size)
{
    if (fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)size) < 0)
        fail_msg("punching a hole: %s", g_strerror(errno));
}

void memory_unplug(Memory *memory, uint64_t offset, uint64_t size)
{
    g_autoptr(GError) error = NULL;
    if (!vfm_discard_discard(memory->discard, offset, size, &error))
        fail_msg("%s", error->message);
    memory_punch(memory, offset, size);
}

bool memory_is_hole(Memory *memory, uint64_t offset, uint64_t size)
{
    off_t data = lseek(memory->fd, (off_t)offset, SEEK_DATA);
    return data < 0 || (uint64_t)data >= offset + size;
}

void scene_verify(Scene *scene)
{
    g_autoptr(GError) error = NULL;
    VfmContainerUsage usage;

    if (!vfm_container_verify(scene->container, &error))
        fail_msg("%s", error->message);
    vfm_container_usage(scene->container, &usage);
    assert_int_equal(usage.anomalies, 0);
    if (usage.pinned != place_held())
        fail_msg("we count %" G_GUINT64_FORMAT " bytes pinned, the kernel %" G_GUINT64_FORMAT, usage.pinned,
                 place_held());
}
