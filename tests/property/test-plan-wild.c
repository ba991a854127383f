/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-plan-wild.c - negotiation of nonsense must end, and say the same twice.
 *
 * Domains and hosts whose every number is picked from the values that break
 * arithmetic. Under the sanitizers this finds overflows, divisions by zero and
 * reads past the end; without them it still checks that plans are whole,
 * deterministic, and that every finding has its text on one line.
 *
 * Usage: test-plan-wild [SEED [COUNT]]; a failure prints the seed to replay.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "amount.h"
#include "plan.h"
#include "seeded.h"

static uint64_t wild(GRand *rand)
{
    uint64_t power = UINT64_C(1) << g_rand_int_range(rand, 0, 64);

    switch (g_rand_int_range(rand, 0, 7)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - (uint64_t)g_rand_int_range(rand, 0, 3);
    case 2:
        return power - 1;
    case 3:
        return power + 1;
    case 4:
        return (uint64_t)g_rand_int_range(rand, 1, 100000) * VFM_MIB;
    case 5:
        return ((uint64_t)g_rand_int(rand) << 32) | g_rand_int(rand);
    default:
        return power;
    }
}

static VfmMaybe maybe(GRand *rand)
{
    return g_rand_boolean(rand) ? VFM_SOME(wild(rand)) : VFM_NONE;
}

/* For values whose zero is excluded by their own header. */
static VfmMaybe maybe_not_zero(GRand *rand)
{
    VfmMaybe value = maybe(rand);

    return value.value ? value : VFM_NONE;
}

static unsigned pick(GRand *rand, unsigned count)
{
    return (unsigned)g_rand_int_range(rand, 0, (int)count);
}

static VfmHost *wild_host(GRand *rand)
{
    VfmHost *host = vfm_host_new();

    host->page_size = maybe_not_zero(rand);
    host->thp_known = g_rand_boolean(rand);
    host->thp_size = maybe_not_zero(rand);
    host->default_hugepage = maybe_not_zero(rand);
    host->memory = maybe(rand);
    host->phys_bits = maybe(rand);
    host->dma_entry_limit = maybe(rand);
    host->kvm_memslots = maybe(rand);
    host->iommufd = (VfmSwitch)pick(rand, 3);
    host->vfio_compat = (VfmSwitch)pick(rand, 3);
    host->unsafe_interrupts = (VfmSwitch)pick(rand, 3);
    host->interrupt_remapping = (VfmSwitch)pick(rand, 3);
    host->iommu = (VfmSwitch)pick(rand, 3);
    for (unsigned i = pick(rand, 4); i; i--) {
        VfmIommuGroup *group = vfm_host_add_group(host, pick(rand, 3));
        VfmReserved region = {.start = wild(rand), .end = wild(rand), .type = (VfmReservedType)pick(rand, 4)};
        g_autofree char *address = g_strdup_printf("0000:0%u:00.0", pick(rand, 4));
        VfmHostDevice *device = vfm_iommu_group_add_device(group, address);

        device->driver = g_strdup(pick(rand, 2) ? "vfio-pci" : "nouveau");
        device->class_code = maybe(rand);
        group->reserved_known = g_rand_boolean(rand);
        g_array_append_val(group->reserved, region);
    }
    return host;
}

static void wild_devices(GRand *rand, VfmDomain *domain)
{
    for (unsigned i = pick(rand, 6); i; i--) {
        VfmMemoryDevice *device = vfm_domain_add_memory(domain, (VfmMemoryModel)pick(rand, 6), wild(rand));

        device->node = maybe(rand);
        device->block = maybe(rand);
        device->requested = maybe(rand);
        device->base = maybe(rand);
        device->pagesize = maybe_not_zero(rand);
        device->label = maybe(rand);
        device->shared = (VfmSwitch)pick(rand, 3);
        device->line = pick(rand, 3);
        device->path = pick(rand, 3) ? NULL : g_strdup("/dev/dax0.0");
    }
    for (unsigned i = pick(rand, 6); i; i--) {
        VfmAssigned *assigned =
            vfm_domain_add_assigned(domain, (VfmAssignedKind)pick(rand, 5), (VfmAssignedVia)pick(rand, 4));

        assigned->address = pick(rand, 4) ? g_strdup_printf("0000:0%u:00.0", pick(rand, 4)) : NULL;
        assigned->unresolved = !pick(rand, 5);
        assigned->unassigned = !pick(rand, 5);
        assigned->managed = pick(rand, 2);
        assigned->iommufd = pick(rand, 2);
        assigned->balloon_allowed = (VfmSwitch)pick(rand, 3);
        assigned->model = pick(rand, 3) ? NULL : g_strdup("vfio-ap");
        assigned->line = pick(rand, 50);
    }
    for (unsigned i = pick(rand, 3); i; i--) {
        VfmIommu *iommu = vfm_domain_add_iommu(domain, (VfmIommuModel)pick(rand, 5));

        iommu->caching_mode = (VfmSwitch)pick(rand, 3);
        iommu->aw_bits = maybe(rand);
        iommu->from_commandline = pick(rand, 2);
    }
}

static VfmDomain *wild_domain(GRand *rand)
{
    static const char *const securities[] = {NULL, "sev", "sev-snp", "tdx", "s390-pv", "new"};
    static const char *const machines[] = {NULL, "q35", "pc-q35-7.0", "pc-i440fx-8.1", "virt-9.2", "-", "x-rhel9.99"};
    VfmDomain *domain = vfm_domain_new();

    domain->accel = (VfmAccel)pick(rand, 3);
    domain->arch = (VfmArch)pick(rand, 7);
    domain->machine = (VfmMachine)pick(rand, 4);
    domain->machine_name = g_strdup(machines[pick(rand, G_N_ELEMENTS(machines))]);
    domain->launch_security = g_strdup(securities[pick(rand, G_N_ELEMENTS(securities))]);
    domain->cpu_mode = pick(rand, 2) ? g_strdup("host-passthrough") : NULL;
    domain->memory = wild(rand);
    domain->boot = wild(rand);
    domain->max_memory = maybe(rand);
    domain->slots = maybe(rand);
    domain->phys_bits = maybe(rand);
    domain->hard_limit = maybe(rand);
    domain->amd_cpu = pick(rand, 2);
    domain->vga = pick(rand, 2);
    domain->pflash = pick(rand, 2);
    domain->backing.use_hugepages = pick(rand, 2);
    domain->backing.locked = !pick(rand, 4);
    domain->backing.source = (VfmSource)pick(rand, 4);
    domain->backing.shared = (VfmSwitch)pick(rand, 3);
    domain->balloon.present = pick(rand, 2);
    domain->balloon.free_page_reporting = (VfmSwitch)pick(rand, 3);
    domain->balloon.autodeflate = (VfmSwitch)pick(rand, 3);
    domain->iommufd_domain = !pick(rand, 4);
    for (unsigned i = pick(rand, 4); i; i--) {
        VfmCell cell = {.id = i, .memory = wild(rand), .line = pick(rand, 2)};
        VfmHugepage page = {.size = wild(rand), .nodeset = pick(rand, 2) ? g_strdup("0-3,^2") : NULL};
        VfmWindow window = {.start = wild(rand), .size = wild(rand)};

        g_array_append_val(domain->cells, cell);
        g_array_append_val(domain->backing.hugepages, page);
        g_array_append_val(domain->policy.windows, window);
    }
    wild_devices(rand, domain);
    domain->policy.present = pick(rand, 2);
    domain->policy.owner = (VfmOwner)pick(rand, 2);
    domain->policy.backend = (VfmBackendKind)pick(rand, 3);
    domain->policy.balloon = (VfmBalloonPolicy)pick(rand, 3);
    domain->policy.budget_mappings = maybe(rand);
    domain->policy.budget_headroom = maybe(rand);
    domain->policy.resize_present = pick(rand, 2);
    domain->policy.resize_min = maybe(rand);
    domain->policy.resize_max = maybe(rand);
    return domain;
}

static void check_one(uint32_t seed)
{
    g_autoptr(GRand) rand = g_rand_new_with_seed(seed);
    g_autoptr(VfmHost) host = wild_host(rand);
    g_autoptr(VfmDomain) domain = wild_domain(rand);
    VfmPlanOptions options = {.host = pick(rand, 4) ? host : NULL,
                              .libvirt_version = pick(rand, 2) ? VFM_VERSION(pick(rand, 14), pick(rand, 9), 0) : 0,
                              .qemu_version = pick(rand, 2) ? VFM_VERSION(pick(rand, 12), pick(rand, 3), 0) : 0};
    g_autoptr(VfmPlan) plan = vfm_plan_new(domain, &options);
    g_autoptr(VfmPlan) again = vfm_plan_new(domain, &options);
    g_autoptr(GPtrArray) edits = vfm_plan_edits(plan, domain, &options);

    if (!plan->map || !plan->containers || !plan->holds || plan->memory->len != domain->memory_devices->len)
        seeds_fail(seed, "the plan is not whole");
    if (plan->findings->len != again->findings->len)
        seeds_fail(seed, "two plans of one domain differ");
    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *a = g_ptr_array_index(plan->findings, i), *b = g_ptr_array_index(again->findings, i);

        if (g_strcmp0(a->message, b->message) != 0 || g_strcmp0(a->fix, b->fix) != 0)
            seeds_fail(seed, "two plans of one domain differ");
        if (!a->message[0] || strpbrk(a->message, "\r\n") || (a->fix && !a->fix[0]) || strstr(a->message, "(null)"))
            seeds_fail(seed, a->message);
    }
    for (guint i = 0; i < edits->len; i++)
        if (!((const VfmEdit *)g_ptr_array_index(edits, i))->why)
            seeds_fail(seed, "an edit without a reason");
}

int main(int argc, char **argv)
{
    return seeds_run(argc, argv, 20000, check_one);
}
