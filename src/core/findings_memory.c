/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * findings_memory.c - memory devices that QEMU or libvirt will not take, and
 * guest memory that can't be pinned.
 */
#include <string.h>

#include "amount.h"
#include "block_choice.h"
#include "size_rounding.h"
#include "memory_backend.h"
#include "negotiation.h"

#define DEFAULT_PHYS_BITS 40 /* QEMU's, for a named CPU model without host-phys-bits */

static const VfmMemoryDevice *device_of(const VfmNegotiation *n, unsigned index)
{
    return g_ptr_array_index(n->domain->memory_devices, index);
}

/* Why the block size is not legal, in words; the caller frees. */
static char *block_reason(const VfmPlanMemory *memory)
{
    uint64_t block = memory->block.value;
    g_autofree char *smallest = vfm_amount(memory->min_block);
    g_autofree char *size = vfm_amount(memory->actual);

    if (!vfm_is_power_of_two(block))
        return g_strdup("it is not a power of two");
    if (block < memory->min_block)
        return g_strdup_printf("it is smaller than %s, the backing's page or the host's transparent huge page",
                               smallest);
    if (memory->actual % block)
        return g_strdup_printf("the size of %s is not a multiple of it", size);
    return g_strdup("the given address is not a multiple of it");
}

static void find_block(VfmNegotiation *n, unsigned index, const char *label)
{
    const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, index);
    const VfmMemoryDevice *device = device_of(n, index);
    g_autofree char *block = vfm_amount(memory->block.value);
    g_autofree char *smallest = vfm_amount(memory->min_block);
    g_autofree char *size = vfm_amount(memory->actual);
    g_autofree char *reason = NULL;
    g_autofree char *better = NULL;

    if (!memory->actual || memory->actual % memory->min_block) {
        vfm_note(n, VFM_FINDING_VIRTIO_MEM_SIZE, memory->line,
                 g_strdup_printf("make its size a multiple of %s", smallest),
                 "%s: size of %s is not a multiple of %s, the smallest block possible on its backing", label, size,
                 smallest);
        return;
    }
    if (memory->block_missing) {
        better = memory->recommended_block.set ? vfm_amount(memory->recommended_block.value) : NULL;
        vfm_note(n, VFM_FINDING_VIRTIO_MEM_BLOCK, memory->line,
                 better ? g_strdup_printf("set <block> to %s; `vfiomem apply` does it", better) : NULL,
                 "%s: no <block> is given, and libvirt refuses the domain without one", label);
        return;
    }
    if (vfm_block_is_legal(memory))
        return;
    if (memory->min_block > memory->max_block) {
        vfm_note(n, VFM_FINDING_MEMORY_DEVICE_ALIGNMENT, memory->line,
                 g_strdup_printf("use an address that is a multiple of %s, or leave it out", smallest),
                 "%s: address 0x%" G_GINT64_MODIFIER "x is not a multiple of %s, the smallest block possible", label,
                 device->base.value, smallest);
        return;
    }
    better = memory->recommended_block.set ? vfm_amount(memory->recommended_block.value) : NULL;
    reason = block_reason(memory);
    vfm_note(n, VFM_FINDING_VIRTIO_MEM_BLOCK, device->block_line ? device->block_line : memory->line,
             better ? g_strdup_printf("set <block> to %s; `vfiomem apply` does it", better) : NULL,
             "%s: block size of %s%s can't be used: %s", label, block,
             memory->block_implicit ? " (QEMU's choice, none is given)" : "", reason);
}

static void find_requested(VfmNegotiation *n, unsigned index, const char *label)
{
    const VfmPlanMemory *memory = g_ptr_array_index(n->plan->memory, index);
    const VfmMemoryDevice *device = device_of(n, index);
    g_autofree char *requested = vfm_amount(memory->requested.value);
    g_autofree char *size = vfm_amount(memory->size);
    g_autofree char *block = vfm_amount(memory->block.value);
    g_autofree char *better = NULL;
    unsigned line = device->requested_line ? device->requested_line : memory->line;
    uint64_t rounded;

    if (!memory->requested.set || !vfm_block_is_legal(memory))
        return;
    rounded = MIN(memory->requested.value, memory->size);
    rounded -= rounded % memory->block.value;
    if (rounded == memory->requested.value)
        return;
    better = vfm_amount(rounded);
    if (memory->requested.value > memory->size)
        vfm_note(n, VFM_FINDING_VIRTIO_MEM_REQUESTED, line,
                 g_strdup_printf("set <requested> to %s or less; `vfiomem apply` does it", better),
                 "%s: requested size of %s is more than its size of %s", label, requested, size);
    else
        vfm_note(n, VFM_FINDING_VIRTIO_MEM_REQUESTED, line,
                 g_strdup_printf("set <requested> to %s; `vfiomem apply` does it", better),
                 "%s: requested size of %s is not a multiple of its block of %s", label, requested, block);
}

/* What became of the device's place in the guest's address space. */
static void find_place(VfmNegotiation *n, unsigned index, const char *label)
{
    const VfmPlace *place = &g_array_index(n->layout.places, VfmPlace, index);
    const VfmMemoryDevice *device = device_of(n, index);
    g_autofree char *size = vfm_amount(place->size);
    g_autofree char *align = vfm_amount(place->align);
    g_autofree char *other = NULL;

    switch (place->result) {
    case VFM_PLACE_SIZE_ALIGN:
        if (device->model != VFM_MEM_VIRTIO_MEM)
            vfm_note(n, VFM_FINDING_MEMORY_DEVICE_ALIGNMENT, device->line,
                     g_strdup_printf("make its size a multiple of %s", align),
                     "%s: size of %s is not a multiple of its backing's alignment of %s", label, size, align);
        break;
    case VFM_PLACE_ADDRESS_ALIGN:
        /* of virtio-mem, find_block() tells it as an unusable block */
        if (device->model != VFM_MEM_VIRTIO_MEM || vfm_block_is_legal(g_ptr_array_index(n->plan->memory, index)))
            vfm_note(n, VFM_FINDING_MEMORY_DEVICE_ALIGNMENT, device->line,
                     g_strdup_printf("use an address that is a multiple of %s, or leave it out", align),
                     "%s: address 0x%" G_GINT64_MODIFIER "x is not a multiple of %s", label, device->base.value, align);
        break;
    case VFM_PLACE_OUTSIDE:
        vfm_note(n, VFM_FINDING_MEMORY_DEVICE_UNPLACEABLE, device->line,
                 g_strdup("leave the address out, or raise <maxMemory>"),
                 "%s: address 0x%" G_GINT64_MODIFIER "x lies outside the device memory region 0x%" G_GINT64_MODIFIER
                 "x-0x%" G_GINT64_MODIFIER "x",
                 label, device->base.value, n->layout.region_base.value,
                 n->layout.region_base.value + n->layout.region_size - 1);
        break;
    case VFM_PLACE_CONFLICT:
        other = vfm_memory_label(n->domain, place->other);
        vfm_note(n, VFM_FINDING_MEMORY_DEVICE_UNPLACEABLE, device->line, g_strdup("leave the address out"),
                 "%s: address 0x%" G_GINT64_MODIFIER "x overlaps %s", label, device->base.value, other);
        break;
    case VFM_PLACE_FRAGMENTED:
        vfm_note(n, VFM_FINDING_MEMORY_DEVICE_UNPLACEABLE, device->line,
                 g_strdup("raise <maxMemory>, or put the devices with the largest blocks first"),
                 "%s: no gap of %s aligned to %s is left in the device memory region", label, size, align);
        break;
    case VFM_PLACE_OK:
    case VFM_PLACE_UNKNOWN:
    case VFM_PLACE_NO_REGION:
    case VFM_PLACE_TOO_BIG:
        break;
    }
}

/* maxMemory and its slots against the devices there are: one finding for all. */
static void find_maximum(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    uint64_t dimms = 0, slots = domain->slots.set ? domain->slots.value : 0;
    unsigned line = 0;

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = device_of(n, i);
        VfmPlaceResult result = g_array_index(n->layout.places, VfmPlace, i).result;

        dimms += device->model == VFM_MEM_DIMM || device->model == VFM_MEM_NVDIMM;
        if (!line && dimms > slots)
            line = device->line;
        if (result == VFM_PLACE_NO_REGION || result == VFM_PLACE_TOO_BIG) {
            g_autofree char *need = vfm_amount(vfm_rounded_total_memory(domain));
            g_autofree char *have = domain->max_memory.set ? vfm_amount(domain->max_memory.value) : g_strdup("not set");

            vfm_note(n, VFM_FINDING_MEMORY_MAXIMUM, device->line,
                     g_strdup_printf("set <maxMemory> to %s or more", need),
                     "boot memory and memory devices come to %s, but maxMemory is %s", need, have);
            return;
        }
    }
    for (guint i = 0; i < domain->memory_devices->len && !domain->max_memory.set; i++) {
        const VfmMemoryDevice *device = device_of(n, i);

        if (device->model != VFM_MEM_SGX_EPC || device->from_commandline)
            continue;
        vfm_note(n, VFM_FINDING_MEMORY_MAXIMUM, device->line, g_strdup("set <maxMemory>"),
                 "libvirt takes no memory device where maxMemory is not set, SGX sections included");
        return;
    }
    if (dimms > slots && domain->max_memory.set)
        vfm_note(n, VFM_FINDING_MEMORY_MAXIMUM, line,
                 g_strdup_printf("set the slots attribute of <maxMemory> to %" G_GUINT64_FORMAT " or more", dimms),
                 "%" G_GUINT64_FORMAT " DIMMs and NVDIMMs need as many slots, maxMemory has %" G_GUINT64_FORMAT, dimms,
                 slots);
}

static void find_address_bits(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    bool x86 = domain->arch == VFM_ARCH_X86_64 && n->layout.known;
    bool passthrough = g_strcmp0(domain->cpu_mode, "host-passthrough") == 0;
    VfmSeverity severity = VFM_ERROR;
    uint64_t bits = DEFAULT_PHYS_BITS;

    if (domain->phys_bits.set)
        bits = domain->phys_bits.value;
    else if (passthrough && n->host && n->host->phys_bits.set)
        bits = n->host->phys_bits.value;
    else if (passthrough || g_strcmp0(domain->cpu_mode, "maximum") == 0 ||
             (domain->machine_name && strstr(domain->machine_name, "rhel")))
        return; /* as many as the host has */
    else
        severity = VFM_WARNING; /* QEMU's default; distributions and libvirt may raise it */
    if (!x86 || bits >= 64 || n->layout.end <= UINT64_C(1) << bits)
        return;
    vfm_note_as(n, severity, VFM_FINDING_PHYSICAL_ADDRESS_BITS, domain->memory_line,
                g_strdup("lower <maxMemory> or its slots, or give the CPU more bits with <maxphysaddr>"),
                "with %smaxMemory and the PCI hole the guest uses addresses up to 0x%" G_GINT64_MODIFIER
                "x, but its CPU has %" G_GUINT64_FORMAT " address bits%s: QEMU 7.1 and newer refuse to start",
                domain->slots.set && domain->slots.value ? "1 GiB for each slot, " : "", n->layout.end - 1, bits,
                severity == VFM_WARNING ? " unless something raises them" : "");
}

/* Linux since 6.5 refuses long-term writable pins of shared mappings of ordinary files (mm/gup.c). */
static bool kernel_refuses_files(const VfmHost *host)
{
    char *end;
    uint64_t major, minor;

    if (!host || !host->kernel)
        return true;
    major = g_ascii_strtoull(host->kernel, &end, 10);
    minor = *end == '.' ? g_ascii_strtoull(end + 1, NULL, 10) : 0;
    return major > 6 || (major == 6 && minor >= 5);
}

static void find_pinnable(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    VfmMemoryBackend boot = vfm_memory_backend(domain, NULL, n->host);

    if (!n->plan->memlock_required || !kernel_refuses_files(n->host))
        return;
    if (boot.disk_file && boot.shared)
        vfm_note(n, VFM_FINDING_MEMORY_NOT_PINNABLE, domain->backing.line,
                 g_strdup("use <source type='memfd'/> or huge pages"),
                 "boot memory is a shared mapping of an ordinary file (in libvirt's memory_backing_dir): Linux 6.5 and "
                 "newer refuse to pin it for the assigned devices");
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = device_of(n, i);
        VfmMemoryBackend backend = vfm_memory_backend(domain, device, n->host);
        g_autofree char *label = vfm_memory_label(domain, i);

        if (!device->path || !backend.disk_file || device->readonly ||
            (device->model != VFM_MEM_VIRTIO_PMEM && !backend.shared))
            continue;
        vfm_note(
            n, VFM_FINDING_MEMORY_NOT_PINNABLE, device->line,
            g_strdup("put it on tmpfs or hugetlbfs, make it private or read-only, or do without it"),
            "%s is a shared mapping of %s: unless that is on tmpfs or hugetlbfs, Linux 6.5 and newer refuse to pin "
            "it for the assigned devices",
            label, device->path);
    }
}

static void find_hugepages(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;

    if (!n->host || !n->host->hugepages->len)
        return;
    for (guint i = 0; i < domain->backing.hugepages->len; i++) {
        const VfmHugepage *page = &g_array_index(domain->backing.hugepages, VfmHugepage, i);
        g_autofree char *size = vfm_amount(page->size);
        bool there = !page->size || page->size == vfm_base_page_size(domain, n->host);

        for (guint j = 0; j < n->host->hugepages->len; j++)
            there |= g_array_index(n->host->hugepages, VfmHostHugepage, j).size == page->size;
        if (!there)
            vfm_note(n, VFM_FINDING_HUGEPAGE_SIZE_MISSING, page->line, g_strdup("use a page size that the host has"),
                     "huge pages of %s are asked for, the host has none of that size", size);
    }
}

static void find_host_memory(VfmNegotiation *n)
{
    uint64_t total = vfm_rounded_total_memory(n->domain);
    g_autofree char *all = vfm_amount(total);
    g_autofree char *have = NULL;

    if (!n->plan->memlock_required || !n->host || !n->host->memory.set || total <= n->host->memory.value)
        return;
    have = vfm_amount(n->host->memory.value / VFM_MIB * VFM_MIB); /* no number to type: KiB would not help */
    vfm_note(n, VFM_FINDING_PINNED_EXCEEDS_HOST, n->domain->memory_line,
             g_strdup("give the guest less memory, or keep virtio-mem's <requested> below what the host can spare"),
             "%s of guest memory are pinned at full size, the host has %s: pinned memory can't be swapped", all, have);
}

void vfm_find_memory(VfmNegotiation *n)
{
    for (guint i = 0; i < n->domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = device_of(n, i);
        g_autofree char *label = vfm_memory_label(n->domain, i);

        find_place(n, i, label);
        if (device->model != VFM_MEM_VIRTIO_MEM)
            continue;
        find_block(n, i, label);
        find_requested(n, i, label);
        if (n->domain->backing.locked)
            vfm_note(n, VFM_FINDING_VIRTIO_MEM_LOCKED, n->domain->backing.line,
                     g_strdup("remove <locked/>; assigned devices lock what they need without it"),
                     "%s: virtio-mem can't be used with <memoryBacking><locked/>: QEMU refuses mem-lock", label);
    }
    find_maximum(n);
    find_address_bits(n);
    find_pinnable(n);
    find_hugepages(n);
    find_host_memory(n);
}
