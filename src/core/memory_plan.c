/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * memory_plan.c - blocks, addresses and mappings of the memory devices.
 *
 * Sources: QEMU hw/virtio/virtio-mem.c (legal blocks), hw/vfio/listener.c (one
 * mapping per block; the check of possible blocks and memory slots against the
 * container's maximum), libvirt src/conf/domain_validate.c (block >= THP size).
 */
#include "amount.h"
#include "blocks.h"
#include "size_rounding.h"
#include "memory_backend.h"
#include "negotiation.h"

#define LARGEST_BLOCK (UINT64_C(1) << 62)

char *vfm_memory_label(const VfmDomain *domain, unsigned index)
{
    static const char *const names[] = {"dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc"};
    const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, index);
    const char *model = (size_t)device->model < G_N_ELEMENTS(names) ? names[device->model] : "memory device";

    if (device->model == VFM_MEM_OTHER && device->model_name)
        model = device->model_name;
    if (device->alias)
        return g_strdup_printf("%s %s", model, device->alias);
    return g_strdup_printf("%s %u", model, index);
}

/* Largest power of two that divides @value; LARGEST_BLOCK for 0. */
static uint64_t alignment_of(uint64_t value)
{
    return value ? value & -value : LARGEST_BLOCK;
}

static VfmPlanMemory *describe(const VfmNegotiation *n, const VfmMemoryDevice *device)
{
    VfmPlanMemory *memory = g_new0(VfmPlanMemory, 1);
    VfmMemoryBackend backend;

    memory->model = device->model;
    memory->node = device->node;
    memory->size = device->size;
    memory->actual = vfm_rounded_device_size(n->domain, device);
    memory->requested = device->requested;
    memory->line = device->line;
    memory->requested_fixed = device->requested.set ? device->requested.value : 0;
    if (device->model != VFM_MEM_VIRTIO_MEM)
        return memory;
    backend = vfm_memory_backend(n->domain, device, n->host);
    memory->min_block = vfm_virtio_mem_min_block(n->domain, &backend, n->host);
    /* size and guest physical address must be multiples of the block */
    memory->max_block = alignment_of(memory->actual);
    if (device->base.set && device->base.value)
        memory->max_block = MIN(memory->max_block, alignment_of(device->base.value));
    if (device->block.set) {
        memory->block = device->block;
    } else {
        memory->block = VFM_SOME(vfm_virtio_mem_default_block(n->domain, &backend, n->host));
        memory->block_implicit = true;
        memory->block_missing = device->line && !device->from_commandline;
    }
    return memory;
}

/* Blocks this device has as it is written; an unusable block size counts as the smallest legal one. */
static uint64_t count_now(const VfmPlanMemory *memory)
{
    uint64_t block = vfm_is_power_of_two(memory->block.value) ? memory->block.value : memory->min_block;

    return vfm_blocks_count(memory->actual, block);
}

/* Ranges of boot RAM and ROM, and memory devices mapped whole: what has no blocks. */
static uint64_t count_others(const VfmNegotiation *n)
{
    uint64_t count = 0;

    for (guint i = 0; i < n->layout.ranges->len; i++)
        count += g_array_index(n->layout.ranges, VfmRange, i).device < 0;
    for (guint i = 0; i < n->plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, i);

        count += memory->model != VFM_MEM_VIRTIO_MEM && memory->model != VFM_MEM_SGX_EPC;
    }
    return count;
}

/* How many blocks all virtio-mem devices may have together. */
static VfmMaybe capacity(const VfmPlan *plan, unsigned devices, uint64_t headroom)
{
    VfmMaybe fits = VFM_NONE;

    if (plan->budget.set) {
        uint64_t taken = vfm_add(plan->other_mappings, headroom);

        fits = VFM_SOME(plan->budget.value > taken ? plan->budget.value - taken : 0);
    }
    if (plan->qemu_limit.set) {
        /* QEMU: blocks + memslots - devices > limit is refused, or was warned of */
        uint64_t room = vfm_add(plan->qemu_limit.value, devices);

        room = room > plan->memslots ? room - plan->memslots : 0;
        fits = VFM_SOME(fits.set ? MIN(fits.value, room) : room);
    }
    return fits;
}

static void recommend(VfmNegotiation *n)
{
    VfmPlan *plan = n->plan;
    unsigned count = 0, virtio_mem = 0;
    uint64_t fixed = 0;
    g_autofree VfmBlockItem *items = g_new0(VfmBlockItem, plan->memory->len);
    g_autofree VfmPlanMemory **owners = g_new0(VfmPlanMemory *, plan->memory->len);

    for (guint i = 0; i < plan->memory->len; i++) {
        VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);

        if (memory->model != VFM_MEM_VIRTIO_MEM) {
            memory->mappings_now = memory->mappings_recommended = memory->model != VFM_MEM_SGX_EPC;
            continue;
        }
        virtio_mem++;
        memory->mappings_now = memory->mappings_recommended = count_now(memory);
        if (!memory->actual || memory->min_block > memory->max_block) {
            fixed = vfm_add(fixed, memory->mappings_now); /* no block is legal: its size must change first */
            continue;
        }
        items[count] = (VfmBlockItem){.size = memory->actual, .min = memory->min_block, .max = memory->max_block};
        owners[count++] = memory;
    }
    if (n->budgeted)
        plan->capacity = capacity(plan, virtio_mem, plan->headroom);
    if (plan->capacity.set) {
        VfmMaybe rest = VFM_SOME(plan->capacity.value > fixed ? plan->capacity.value - fixed : 0);

        n->unreachable = !vfm_blocks_minimise(items, count, rest);
        n->least_blocks = fixed;
        for (unsigned i = 0; i < count; i++)
            n->least_blocks = vfm_add(n->least_blocks, vfm_blocks_count(items[i].size, items[i].max));
    } else {
        vfm_blocks_minimise(items, count, VFM_NONE);
    }
    for (unsigned i = 0; i < count; i++) {
        VfmPlanMemory *memory = owners[i];
        uint64_t block = items[i].block;

        if (n->unreachable)
            continue; /* nothing to recommend: no block is enough */
        memory->recommended_block = VFM_SOME(block);
        memory->mappings_recommended = vfm_blocks_count(memory->actual, block);
        memory->requested_fixed = memory->requested.set ? memory->requested.value - memory->requested.value % block : 0;
        memory->requested_fixed = MIN(memory->requested_fixed, memory->size);
    }
}

static void memory_free(gpointer data)
{
    g_free(data);
}

void vfm_negotiate_memory(VfmNegotiation *n)
{
    VfmPlan *plan = n->plan;
    const GPtrArray *devices = n->domain->memory_devices;
    g_autofree uint64_t *blocks = g_new0(uint64_t, devices->len + 1);
    uint64_t now = 0, recommended = 0;

    plan->memory = g_ptr_array_new_with_free_func(memory_free);
    for (guint i = 0; i < devices->len; i++) {
        VfmPlanMemory *memory = describe(n, g_ptr_array_index(devices, i));

        blocks[i] = memory->block.set ? memory->block.value : 0;
        g_ptr_array_add(plan->memory, memory);
    }
    vfm_layout_init(&n->layout, n->domain, n->options, blocks);
    plan->map = g_array_ref(n->layout.ranges);
    plan->map_known = n->layout.known;
    plan->other_mappings = count_others(n);
    recommend(n);
    for (guint i = 0; i < plan->memory->len; i++) {
        VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);
        const VfmPlace *place = &g_array_index(n->layout.places, VfmPlace, i);

        if (place->result == VFM_PLACE_OK && n->layout.known)
            memory->address = VFM_SOME(place->address);
        if (memory->model == VFM_MEM_VIRTIO_MEM) {
            now = vfm_add(now, memory->mappings_now);
            recommended = vfm_add(recommended, memory->mappings_recommended);
        }
    }
    for (guint i = 0; i < plan->containers->len; i++) {
        VfmPlanContainer *container = g_ptr_array_index(plan->containers, i);

        container->mappings_now = vfm_add(plan->other_mappings, now);
        container->mappings_recommended = vfm_add(plan->other_mappings, recommended);
    }
}
