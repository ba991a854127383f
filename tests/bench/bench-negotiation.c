/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * bench-negotiation.c - how long a large domain takes: 256 hostdevs, each in a
 * group of its own, and 64 virtio-mem devices. Target: under 5 ms (median),
 * with and without a vIOMMU, edits included. Exit status 1 if it is missed.
 */
#include <stdio.h>
#include <stdlib.h>

#include "amount.h"
#include "plan.h"

#define HOSTDEVS 256
#define VIRTIO_MEMS 64
#define ROUNDS 101
#define TARGET_MS 5.0

static VfmHost *large_host(void)
{
    VfmHost *host = vfm_host_new();

    for (unsigned i = 0; i < HOSTDEVS; i++) {
        VfmIommuGroup *group = vfm_host_add_group(host, i);
        VfmReserved msi = {.start = 0xfee00000, .end = 0xfeefffff, .type = VFM_RESERVED_MSI};
        g_autofree char *address = g_strdup_printf("%04x:%02x:%02x.0", i / 128, i % 128, i % 32);

        vfm_iommu_group_add_device(group, address)->driver = g_strdup("vfio-pci");
        group->reserved_known = true;
        g_array_append_val(group->reserved, msi);
    }
    return host;
}

static VfmDomain *large_domain(bool viommu)
{
    VfmDomain *domain = vfm_domain_new();
    VfmCell cell = {.memory = 64 * VFM_GIB};

    domain->accel = VFM_ACCEL_KVM;
    domain->arch = VFM_ARCH_X86_64;
    domain->machine = VFM_MACHINE_Q35;
    domain->boot = cell.memory;
    domain->balloon.present = true;
    domain->balloon.free_page_reporting = VFM_ON;
    g_array_append_val(domain->cells, cell);
    for (unsigned i = 0; i < HOSTDEVS; i++) {
        VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_HOSTDEV);

        assigned->address = g_strdup_printf("%04x:%02x:%02x.0", i / 128, i % 128, i % 32);
        assigned->managed = true;
        assigned->line = 100 + i;
    }
    for (unsigned i = 0; i < VIRTIO_MEMS; i++) {
        VfmMemoryDevice *device = vfm_domain_add_memory(domain, VFM_MEM_VIRTIO_MEM, (8 + i) * VFM_GIB);

        device->block = VFM_SOME(2 * VFM_MIB);
        device->requested = VFM_SOME(VFM_GIB);
        device->line = 1000 + i;
        domain->memory += device->size;
    }
    domain->max_memory = VFM_SOME(8 * VFM_TIB);
    if (viommu)
        vfm_domain_add_iommu(domain, VFM_IOMMU_INTEL);
    return domain;
}

static int ascending(const void *a, const void *b)
{
    gint64 x = *(const gint64 *)a, y = *(const gint64 *)b;

    return x < y ? -1 : x > y;
}

static double median_ms(const VfmDomain *domain, const VfmPlanOptions *options)
{
    gint64 times[ROUNDS];

    for (unsigned i = 0; i < ROUNDS; i++) {
        gint64 start = g_get_monotonic_time();
        g_autoptr(VfmPlan) plan = vfm_plan_new(domain, options);
        g_autoptr(GPtrArray) edits = vfm_plan_edits(plan, domain, options);

        if (!edits->len || !vfm_plan_has_errors(plan)) {
            printf("the large domain should have something to mend\n");
            exit(2);
        }
        times[i] = g_get_monotonic_time() - start;
    }
    qsort(times, ROUNDS, sizeof(*times), ascending);
    return (double)times[ROUNDS / 2] / 1000;
}

int main(void)
{
    g_autoptr(VfmHost) host = large_host();
    VfmPlanOptions options = {.host = host};
    bool met = true;

    for (int viommu = 0; viommu < 2; viommu++) {
        g_autoptr(VfmDomain) domain = large_domain(viommu);
        double ms = median_ms(domain, &options);

        printf("negotiation of %u hostdevs and %u virtio-mem devices%s: %.3f ms (target %.1f)\n", HOSTDEVS, VIRTIO_MEMS,
               viommu ? ", vIOMMU" : "", ms, TARGET_MS);
        met &= ms < TARGET_MS;
    }
    return met ? 0 : 1;
}
