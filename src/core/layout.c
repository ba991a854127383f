/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "layout.h"

#include <stdlib.h>
#include <string.h>

#include "amount.h"
#include "size_rounding.h"
#include "machine_version.h"
#include "memory_backend.h"

#define FOUR_GIB (4 * VFM_GIB)
#define AMD_HT_START UINT64_C(0xfd00000000) /* HyperTransport range below 1 TiB: no RAM, no DMA there */
#define PIIX_HOLE64 (2 * VFM_GIB)
#define Q35_HOLE64 (32 * VFM_GIB)

static void add_range(VfmLayout *layout, uint64_t start, uint64_t size, VfmRangeKind kind, int device, int cell,
                      const char *name)
{
    VfmRange range = {.start = start, .size = size, .kind = kind, .device = device, .cell = cell};

    if (!size)
        return;
    g_strlcpy(range.name, name, sizeof(range.name));
    g_array_append_val(layout->ranges, range);
}

/*
 * Boot RAM from offset @from of all boot RAM, cut where NUMA cells meet: each
 * cell has a backend of its own, so no mapping spans two.
 */
static void add_ram(VfmLayout *layout, const VfmDomain *domain, uint64_t start, uint64_t from, uint64_t size,
                    const char *name)
{
    uint64_t cell_start = 0;

    if (domain->cells->len < 2) {
        add_range(layout, start, size, VFM_RANGE_RAM, -1, domain->cells->len ? 0 : -1, name);
        return;
    }
    for (guint i = 0; i < domain->cells->len; i++) {
        const VfmCell *cell = &g_array_index(domain->cells, VfmCell, i);
        uint64_t low = MAX(from, cell_start);
        uint64_t cell_end = cell_start + vfm_rounded_cell_size(domain, cell);
        uint64_t high = MIN(from + size, cell_end);

        if (low < high) {
            g_autofree char *text = g_strdup_printf("%s, cell %u", name, cell->id);

            add_range(layout, start + (low - from), high - low, VFM_RANGE_RAM, -1, (int)i, text);
        }
        cell_start = cell_end;
    }
}

/* How much of @ram lies below 4 GiB (pc_q35_init, pc_init1: machine types since 2.0). */
static uint64_t pc_low(VfmMachine machine, uint64_t ram)
{
    uint64_t all = machine == VFM_MACHINE_Q35 ? 0xb0000000 : 0xe0000000;
    uint64_t part = machine == VFM_MACHINE_Q35 ? 0x80000000 : 0xc0000000;

    return ram >= all ? part : ram;
}

static uint64_t sgx_size(const VfmDomain *domain)
{
    uint64_t size = 0;

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        if (device->model == VFM_MEM_SGX_EPC)
            size = vfm_add(size, device->size);
    }
    return size;
}

/* Base and size of the device memory region after RAM that ends at @ram_end. */
static void place_region(VfmLayout *layout, const VfmDomain *domain, uint64_t ram_end, uint64_t ram)
{
    uint64_t slots = domain->slots.set ? domain->slots.value : 0;
    VfmMaybe max = vfm_rounded_max_memory(domain);

    if (!max.set || max.value <= ram)
        return;
    layout->region_base = VFM_SOME(vfm_round_up(ram_end, VFM_GIB));
    layout->region_limit = max.value - ram;
    /* One GiB a slot, so that every DIMM can be aligned to a 1 GiB page. */
    layout->region_size = vfm_add(layout->region_limit, vfm_mul(slots, VFM_GIB));
}

static void pc_layout(VfmLayout *layout, const VfmDomain *domain, uint64_t ram)
{
    unsigned version = vfm_machine_version(domain->machine_name);
    uint64_t low = pc_low(domain->machine, ram), high = ram - low, sgx = sgx_size(domain), hole;
    VfmMaybe max = vfm_rounded_max_memory(domain);
    bool hotplug = max.set && max.value > ram;

    layout->above_4g = FOUR_GIB;
    /* Twice at most: AMD's hole moves RAM to 1 TiB if anything, up to the PCI hole's end, would reach into it. */
    for (;;) {
        uint64_t ram_end = vfm_add(layout->above_4g + high, sgx);

        layout->region_base = VFM_NONE;
        place_region(layout, domain, ram_end, ram);
        hole = vfm_round_up(hotplug ? vfm_add(layout->region_base.value, layout->region_size) : ram_end, VFM_GIB);
        layout->end = vfm_add(hole, domain->machine == VFM_MACHINE_Q35 ? Q35_HOLE64 : PIIX_HOLE64);
        if (!domain->amd_cpu || layout->above_4g != FOUR_GIB || layout->end <= AMD_HT_START ||
            (version && version < VFM_VERSION(7, 1, 0)))
            break;
        layout->above_4g = VFM_TIB;
    }

    add_ram(layout, domain, 0, 0, MIN(low, domain->vga ? 0xa0000 : 0xc0000), "low RAM");
    if (low > 0xc0000) {
        add_range(layout, 0xc0000, 0x20000, VFM_RANGE_ROM, -1, -1, "option ROMs");
        add_range(layout, 0xe0000, 0x20000, VFM_RANGE_ROM, -1, -1, "BIOS below 1 MiB");
    }
    if (low > VFM_MIB)
        add_ram(layout, domain, VFM_MIB, VFM_MIB, low - VFM_MIB, "low RAM");
    if (!domain->pflash) /* firmware in pflash is no RAM, and VFIO skips it */
        add_range(layout, FOUR_GIB - 256 * VFM_KIB, 256 * VFM_KIB, VFM_RANGE_ROM, -1, -1, "BIOS");
    add_ram(layout, domain, layout->above_4g, low, high, "high RAM");
}

static void arm_virt_layout(VfmLayout *layout, const VfmDomain *domain, uint64_t ram)
{
    layout->above_4g = FOUR_GIB;
    add_ram(layout, domain, VFM_GIB, 0, ram, "RAM");
    place_region(layout, domain, VFM_GIB + ram, ram);
    layout->end = layout->region_base.set ? vfm_add(layout->region_base.value, layout->region_size) : VFM_GIB + ram;
}

/* Sizes without true addresses, so that mappings and locked memory can still be counted. */
static void unknown_layout(VfmLayout *layout, const VfmDomain *domain, uint64_t ram)
{
    layout->above_4g = FOUR_GIB;
    layout->known = false;
    add_ram(layout, domain, 0, 0, ram, "RAM");
    place_region(layout, domain, ram, ram);
    layout->end = layout->region_base.set ? vfm_add(layout->region_base.value, layout->region_size) : ram;
}

/* Where a range that starts at @start belongs in ascending @ranges. */
static guint rank(const GArray *ranges, uint64_t start)
{
    guint low = 0, high = ranges->len;

    while (low < high) {
        guint middle = low + (high - low) / 2;

        if (g_array_index(ranges, VfmRange, middle).start < start)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < vfm_add(b, b_size) && b < vfm_add(a, a_size);
}

static gint by_address(gconstpointer a, gconstpointer b)
{
    const VfmRange *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

/*
 * One device, as hw/mem/memory-device.c does it: at its own address, or at the
 * first gap above the region's base that is aligned and large enough. @taken
 * holds the devices before it, ascending.
 */
static void place(const VfmLayout *layout, VfmPlace *place, const VfmMemoryDevice *device, const GArray *taken,
                  uint64_t *used)
{
    uint64_t base, end, at;

    if (!layout->region_base.set) {
        place->result = VFM_PLACE_NO_REGION;
        return;
    }
    base = layout->region_base.value;
    end = vfm_add(base, layout->region_size);
    at = vfm_round_up(base, place->align);
    if (vfm_add(*used, place->size) > layout->region_limit) {
        place->result = VFM_PLACE_TOO_BIG;
        return;
    }
    if (!layout->known) {
        *used += place->size;
        return; /* it fits by size; where is not known */
    }
    if (device->base.set && device->base.value) {
        at = device->base.value;
        if (at % place->align) {
            place->result = VFM_PLACE_ADDRESS_ALIGN;
            return;
        }
        if (at < base || vfm_add(at, place->size) > end) {
            place->result = VFM_PLACE_OUTSIDE;
            return;
        }
    }
    for (guint i = 0; i < taken->len; i++) {
        const VfmRange *range = &g_array_index(taken, VfmRange, i);

        if (overlaps(at, place->size, range->start, range->size)) {
            if (device->base.set && device->base.value) {
                place->result = VFM_PLACE_CONFLICT;
                place->other = (unsigned)range->device;
                return;
            }
            at = vfm_round_up(range->start + range->size, place->align);
        } else if (range->start > at) {
            break;
        }
    }
    if (vfm_add(at, place->size) > end) {
        place->result = VFM_PLACE_FRAGMENTED;
        return;
    }
    place->result = VFM_PLACE_OK;
    place->address = at;
    *used += place->size;
}

/* What a device's range is called: "virtio-mem 0", the number being its place in the domain's order. */
static void name_device(VfmRange *range, const VfmMemoryDevice *device, guint index)
{
    static const char *const names[] = {"dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc", "memory"};

    g_snprintf(range->name, sizeof(range->name), "%s %u", names[MIN((guint)device->model, VFM_MEM_OTHER)], index);
}

static void place_devices(VfmLayout *layout, const VfmDomain *domain, const VfmHost *host, const uint64_t *blocks)
{
    g_autoptr(GArray) taken = g_array_new(FALSE, TRUE, sizeof(VfmRange));
    uint64_t used = 0;

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);
        VfmMemoryBackend backend = vfm_memory_backend(domain, device, host);
        VfmPlace where = {.result = VFM_PLACE_UNKNOWN, .align = backend.align};

        where.size = vfm_rounded_device_size(domain, device);

        if (device->model == VFM_MEM_NVDIMM && device->label.set && device->label.value < where.size)
            where.size -= device->label.value;
        if (device->model == VFM_MEM_VIRTIO_MEM && vfm_is_power_of_two(blocks[i]))
            where.align = MAX(where.align, blocks[i]);
        if (device->model == VFM_MEM_SGX_EPC || device->model == VFM_MEM_OTHER || !where.size)
            where.result = VFM_PLACE_UNKNOWN;
        else if (where.size % backend.align)
            where.result = VFM_PLACE_SIZE_ALIGN;
        else
            place(layout, &where, device, taken, &used);
        if (where.result == VFM_PLACE_OK) {
            VfmRange range = {.start = where.address,
                              .size = where.size,
                              .kind = VFM_RANGE_DEVICE_MEMORY,
                              .device = (int)i,
                              .cell = -1};

            name_device(&range, device, i);
            g_array_insert_val(taken, rank(taken, range.start), range);
            g_array_append_val(layout->ranges, range);
        }
        g_array_append_val(layout->places, where);
    }
    g_array_sort(layout->ranges, by_address);
}

void vfm_layout_init(VfmLayout *layout, const VfmDomain *domain, const VfmPlanOptions *options, const uint64_t *blocks)
{
    /* No machine has 56 address bits: sums below stay far from wrapping. */
    uint64_t ram = MIN(vfm_rounded_boot_size(domain), UINT64_C(1) << 56);
    bool x86 = domain->arch == VFM_ARCH_X86_64 || domain->arch == VFM_ARCH_I686;

    memset(layout, 0, sizeof(*layout));
    layout->known = true;
    layout->ranges = g_array_new(FALSE, TRUE, sizeof(VfmRange));
    layout->places = g_array_new(FALSE, TRUE, sizeof(VfmPlace));
    if (x86 && (domain->machine == VFM_MACHINE_Q35 || domain->machine == VFM_MACHINE_I440FX))
        pc_layout(layout, domain, ram);
    else if (domain->machine == VFM_MACHINE_VIRT && domain->arch == VFM_ARCH_AARCH64)
        arm_virt_layout(layout, domain, ram);
    else
        unknown_layout(layout, domain, ram);
    place_devices(layout, domain, options ? options->host : NULL, blocks);
}

void vfm_layout_clear(VfmLayout *layout)
{
    if (layout->ranges)
        g_array_unref(layout->ranges);
    if (layout->places)
        g_array_unref(layout->places);
    layout->ranges = layout->places = NULL;
}
