/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-negotiation.c - the search for block sizes against brute force.
 *
 * Random domains: several virtio-mem devices on various page sizes, DIMMs,
 * slots, vIOMMUs, policies. For each, every combination of legal blocks is
 * tried with rules written down again here, independently of core, and the
 * best is compared with the plan's. Then the plan's edits are applied and the
 * result is planned again: nothing that edits mend may be left, and a second
 * round must have nothing to do. Besides: the map is ordered and complete.
 *
 * Usage: test-negotiation [SEED [COUNT]]. A failure prints the seed of the one
 * domain that failed; with it as SEED and COUNT 1 only that one runs.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amount.h"
#include "plan.h"
#include "seeded.h"

#define MAX_DEVICES 5
#define BLOCKS_OF_DEVICE 48

/* ---- a random domain and host ---- */

static VfmHost *invent_host(GRand *rand)
{
    VfmHost *host = vfm_host_new();

    if (g_rand_boolean(rand))
        host->dma_entry_limit = VFM_SOME((uint64_t)g_rand_int_range(rand, 600, 200000));
    if (g_rand_int_range(rand, 0, 4) == 0)
        host->kvm_memslots = VFM_SOME((uint64_t)g_rand_int_range(rand, 32, 32764));
    if (g_rand_boolean(rand)) {
        host->thp_known = true;
        host->thp_size = VFM_SOME(UINT64_C(1) << g_rand_int_range(rand, 20, 24));
    }
    return host;
}

static VfmDomain *invent_domain(GRand *rand)
{
    VfmDomain *domain = vfm_domain_new();
    unsigned devices = (unsigned)g_rand_int_range(rand, 1, MAX_DEVICES + 1);
    unsigned hostdevs = (unsigned)g_rand_int_range(rand, 0, 4);
    VfmCell cell = {.memory = (uint64_t)g_rand_int_range(rand, 256, 8192) * VFM_MIB};

    domain->accel = g_rand_boolean(rand) ? VFM_ACCEL_KVM : VFM_ACCEL_TCG;
    domain->arch = VFM_ARCH_X86_64;
    domain->machine = g_rand_boolean(rand) ? VFM_MACHINE_Q35 : VFM_MACHINE_I440FX;
    domain->boot = domain->memory = cell.memory;
    g_array_append_val(domain->cells, cell);
    domain->slots = VFM_SOME((uint64_t)g_rand_int_range(rand, 0, 300));
    for (unsigned i = 0; i < devices; i++) {
        unsigned low = (unsigned)g_rand_int_range(rand, 20, 31);
        uint64_t size = (2 * (uint64_t)g_rand_int_range(rand, 0, 400) + 1) << low; /* divisible by 2^low, no more */
        VfmMemoryDevice *device = vfm_domain_add_memory(domain, VFM_MEM_VIRTIO_MEM, size);

        device->block = VFM_SOME(UINT64_C(1) << g_rand_int_range(rand, 20, 31));
        device->requested = VFM_SOME((uint64_t)g_rand_int_range(rand, 0, 1000) * VFM_MIB);
        if (g_rand_int_range(rand, 0, 6) == 0)
            device->pagesize = VFM_SOME(g_rand_boolean(rand) ? VFM_GIB : 2 * VFM_MIB);
        domain->memory += size;
    }
    for (unsigned i = (unsigned)g_rand_int_range(rand, 0, 3); i; i--) {
        vfm_domain_add_memory(domain, VFM_MEM_DIMM, 512 * VFM_MIB);
        domain->memory += 512 * VFM_MIB;
    }
    domain->max_memory = VFM_SOME(domain->memory + 64 * VFM_GIB);
    for (unsigned i = 0; i < hostdevs; i++) {
        VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);

        assigned->address = g_strdup_printf("0000:%02x:00.0", i + 1);
    }
    if (g_rand_int_range(rand, 0, 4) == 0)
        vfm_domain_add_iommu(domain, VFM_IOMMU_INTEL);
    if (g_rand_int_range(rand, 0, 3) == 0) {
        domain->policy.present = true;
        if (g_rand_boolean(rand))
            domain->policy.budget_mappings = VFM_SOME((uint64_t)g_rand_int_range(rand, 500, 100000));
        if (g_rand_boolean(rand))
            domain->policy.budget_headroom = VFM_SOME((uint64_t)g_rand_int_range(rand, 0, 2000));
    }
    if (g_rand_int_range(rand, 0, 3) == 0)
        domain->hard_limit = VFM_SOME((uint64_t)g_rand_int_range(rand, 256, 400000) * VFM_MIB);
    return domain;
}

/* A limit that some choice of blocks just about meets: rules that are off by one show there only. */
static void tighten(GRand *rand, VfmHost *host, const VfmDomain *domain)
{
    uint64_t sum = domain->slots.value + 64 + 8 * (uint64_t)domain->assigned->len;

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        sum += device->model == VFM_MEM_VIRTIO_MEM ? device->size >> g_rand_int_range(rand, 21, 26) : 1;
    }
    host->dma_entry_limit = VFM_SOME(sum + (uint64_t)g_rand_int_range(rand, 0, 10));
    host->kvm_memslots = VFM_SOME((uint64_t)g_rand_int_range(rand, 1, 64));
}

/* ---- the rules once more, written from the text ---- */

/* Legal blocks of a device, ascending; returns how many. */
static unsigned legal_blocks(const VfmMemoryDevice *device, const VfmHost *host, uint64_t *blocks)
{
    uint64_t thp = host->thp_size.set ? host->thp_size.value : 2 * VFM_MIB;
    uint64_t page = device->pagesize.set ? device->pagesize.value : 4096;
    unsigned count = 0;

    for (uint64_t block = VFM_MIB; block <= device->size; block *= 2)
        if (block >= thp && block >= page && device->size % block == 0)
            blocks[count++] = block;
    return count;
}

/* Whether so many blocks are within what type1 and QEMU allow. */
static bool within(const VfmDomain *domain, const VfmHost *host, uint64_t blocks, unsigned virtio_mem, uint64_t others)
{
    uint64_t kernel = host->dma_entry_limit.set ? host->dma_entry_limit.value : 65535, budget = kernel;
    uint64_t slots = domain->accel == VFM_ACCEL_TCG ? 512 : host->kvm_memslots.set ? host->kvm_memslots.value : 32764;
    uint64_t dimms = domain->memory_devices->len - virtio_mem;
    uint64_t headroom = 64 + 8 * (uint64_t)domain->assigned->len;

    if (domain->slots.value > dimms)
        headroom += domain->slots.value - dimms;
    if (!domain->assigned->len && !domain->policy.present)
        return true;
    if (domain->policy.budget_mappings.set)
        budget = MIN(budget, domain->policy.budget_mappings.value);
    if (domain->policy.budget_headroom.set)
        headroom = domain->policy.budget_headroom.value;
    return blocks + others + headroom <= budget && blocks + slots <= kernel + virtio_mem;
}

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return x > y ? -1 : x < y;
}

/* Best combination by brute force into @best (descending); false if none is within the budget. */
static bool brute_force(const VfmDomain *domain, const VfmHost *host, unsigned n, uint64_t others, uint64_t *best)
{
    uint64_t legal[MAX_DEVICES][BLOCKS_OF_DEVICE], fixed = 0;
    unsigned counts[MAX_DEVICES], at[MAX_DEVICES] = {0}, used = 0, map[MAX_DEVICES];
    bool found = false;

    for (unsigned i = 0; i < n; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        counts[used] = legal_blocks(device, host, legal[used]);
        if (counts[used])
            map[used++] = i;
        else /* its size must be mended first; it counts as it is */
            fixed += (device->size + device->block.value - 1) / device->block.value;
    }
    for (;;) {
        uint64_t choice[MAX_DEVICES] = {0}, sum = fixed;
        unsigned i;
        bool better = !found;

        for (i = 0; i < used; i++) {
            choice[i] = legal[i][at[i]];
            sum += ((const VfmMemoryDevice *)g_ptr_array_index(domain->memory_devices, map[i]))->size / choice[i];
        }
        qsort(choice, used, sizeof(*choice), descending);
        if (within(domain, host, sum, n, others)) {
            for (i = 0; i < used && !better && choice[i] <= best[i]; i++)
                better = choice[i] < best[i];
            if (better)
                memcpy(best, choice, sizeof(choice));
            found = true;
        }
        for (i = 0; i < used && ++at[i] == counts[i]; i++)
            at[i] = 0;
        if (i == used)
            return found;
    }
}

/* ---- applying the edits, as xml/ would ---- */

static void apply(VfmDomain *domain, const GPtrArray *edits)
{
    for (guint i = 0; i < edits->len; i++) {
        const VfmEdit *edit = g_ptr_array_index(edits, i);
        VfmMemoryDevice *device =
            edit->index < domain->memory_devices->len ? g_ptr_array_index(domain->memory_devices, edit->index) : NULL;

        switch (edit->kind) {
        case VFM_EDIT_BLOCK:
            device->block = VFM_SOME(edit->value);
            break;
        case VFM_EDIT_REQUESTED:
            device->requested = VFM_SOME(edit->value);
            break;
        case VFM_EDIT_HARD_LIMIT:
            domain->hard_limit = VFM_SOME(edit->value);
            break;
        case VFM_EDIT_CACHING_MODE:
            ((VfmIommu *)g_ptr_array_index(domain->iommus, edit->index))->caching_mode = VFM_ON;
            break;
        case VFM_EDIT_FREE_PAGE_REPORTING_OFF:
            domain->balloon.free_page_reporting = VFM_OFF;
            break;
        case VFM_EDIT_AUTODEFLATE_OFF:
            domain->balloon.autodeflate = VFM_OFF;
            break;
        case VFM_EDIT_MEMFD_SHARED:
            domain->backing.source = VFM_SOURCE_MEMFD;
            domain->backing.shared = VFM_ON;
            break;
        case VFM_EDIT_EMULATOR:
            g_free(domain->emulator);
            domain->emulator = g_strdup(edit->text);
            break;
        }
    }
}

static bool has(const VfmPlan *plan, const char *id)
{
    for (guint i = 0; i < plan->findings->len; i++)
        if (g_str_equal(((const VfmFinding *)g_ptr_array_index(plan->findings, i))->id, id))
            return true;
    return false;
}

static void check_mends(uint32_t seed, VfmDomain *domain, const VfmPlanOptions *options, const VfmPlan *before)
{
    static const char *const mended[] = {"memlock-hard-limit", "memlock-uncounted",    "memlock-hotplug",
                                         "virtio-mem-block",   "virtio-mem-requested", "viommu-caching-mode"};
    g_autoptr(GPtrArray) edits = vfm_plan_edits(before, domain, options);
    g_autoptr(GPtrArray) again = NULL;
    g_autoptr(VfmPlan) after = NULL;
    bool possible = !has(before, "mapping-budget-unreachable") && !has(before, "virtio-mem-size");

    if (!vfm_plan_has_errors(before) && !has(before, "memlock-hotplug") && !has(before, "mapping-budget-headroom") &&
        edits->len)
        seeds_fail(seed, "edits where nothing is wrong");
    for (guint i = 0; i < edits->len; i++) {
        const VfmEdit *edit = g_ptr_array_index(edits, i);
        const VfmPlanMemory *memory = g_ptr_array_index(before->memory, edit->index);

        if (edit->kind == VFM_EDIT_BLOCK && vfm_is_power_of_two(memory->block.value) &&
            memory->block.value >= memory->min_block && memory->block.value <= memory->max_block &&
            edit->value < memory->block.value)
            seeds_fail(seed, "an edit makes a block smaller that works");
    }
    apply(domain, edits);
    after = vfm_plan_new(domain, options);
    again = vfm_plan_edits(after, domain, options);
    if (again->len)
        seeds_fail(seed, "edits are not idempotent");
    if (possible && (has(after, "mapping-budget-exceeded") || has(after, "mapping-budget-headroom")))
        seeds_fail(seed, "the budget is exceeded after the edits");
    for (guint i = 0; i < G_N_ELEMENTS(mended) && possible; i++)
        if (has(after, mended[i]))
            seeds_fail(seed, mended[i]);
}

static void check_map(uint32_t seed, const VfmPlan *plan, const VfmDomain *domain)
{
    uint64_t end = 0, ram = 0;

    for (guint i = 0; i < plan->map->len; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);

        if (range->start < end || !range->size)
            seeds_fail(seed, "the map is not ascending and disjoint");
        end = range->start + range->size;
        if (range->kind == VFM_RANGE_RAM)
            ram += range->size;
    }
    if (ram + 256 * VFM_KIB != domain->boot) /* 0xc0000-0xfffff is ROM; no VGA here */
        seeds_fail(seed, "boot memory got lost");
}

static void check_one(uint32_t seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(VfmHost) host = invent_host(rand);
    g_autoptr(VfmDomain) domain = invent_domain(rand);
    VfmPlanOptions options = {.host = host, .libvirt_version = VFM_VERSION(9, 0, 0)};
    g_autoptr(VfmPlan) plan = NULL;
    uint64_t best[MAX_DEVICES] = {0}, ours[MAX_DEVICES] = {0}, others = 0;
    unsigned virtio_mem = 0, count = 0;
    bool possible;

    if (g_rand_boolean(rand))
        tighten(rand, host, domain);
    plan = vfm_plan_new(domain, &options);
    for (guint i = 0; i < domain->memory_devices->len; i++)
        virtio_mem +=
            ((const VfmMemoryDevice *)g_ptr_array_index(domain->memory_devices, i))->model == VFM_MEM_VIRTIO_MEM;
    for (guint i = 0; i < plan->map->len; i++)
        others += g_array_index(plan->map, VfmRange, i).device < 0;
    others += domain->memory_devices->len - virtio_mem;
    check_map(seed, plan, domain);
    possible = brute_force(domain, host, virtio_mem, others, best);
    for (guint i = 0; i < virtio_mem; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);

        if (memory->recommended_block.set)
            ours[count++] = memory->recommended_block.value;
    }
    qsort(ours, count, sizeof(*ours), descending);
    if (!possible && count)
        seeds_fail(seed, "we recommend blocks where none are within the budget");
    if (possible && memcmp(ours, best, sizeof(ours)) != 0) {
        for (unsigned i = 0; i < MAX_DEVICES; i++)
            printf("    ours %12" G_GUINT64_FORMAT "  best %12" G_GUINT64_FORMAT "\n", ours[i], best[i]);
        seeds_fail(seed, "brute force finds other blocks");
    }
    check_mends(seed, domain, &options, plan);
}

int main(int argc, char **argv)
{
    return seeds_run(argc, argv, 5000, check_one);
}
