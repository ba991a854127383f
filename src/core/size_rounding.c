/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "size_rounding.h"

#include "amount.h"

#define PPC64_STEP (256 * VFM_MIB)

static uint64_t step(const VfmDomain *domain, uint64_t usual)
{
    return domain->arch == VFM_ARCH_PPC64 ? PPC64_STEP : usual;
}

uint64_t vfm_rounded_cell_size(const VfmDomain *domain, const VfmCell *cell)
{
    return cell->line ? vfm_round_up(cell->memory, step(domain, VFM_MIB)) : cell->memory;
}

uint64_t vfm_rounded_device_size(const VfmDomain *domain, const VfmMemoryDevice *device)
{
    if (!device->line || device->from_commandline || device->model == VFM_MEM_SGX_EPC)
        return device->size;
    return vfm_round_up(device->size, step(domain, 2 * VFM_MIB));
}

uint64_t vfm_rounded_boot_size(const VfmDomain *domain)
{
    uint64_t sum = 0;

    if (!domain->cells->len)
        return vfm_round_up(domain->boot, step(domain, VFM_MIB));
    for (guint i = 0; i < domain->cells->len; i++)
        sum = vfm_add(sum, vfm_rounded_cell_size(domain, &g_array_index(domain->cells, VfmCell, i)));
    return sum;
}

VfmMaybe vfm_rounded_max_memory(const VfmDomain *domain)
{
    if (!domain->max_memory.set)
        return VFM_NONE;
    return VFM_SOME(vfm_round_up(domain->max_memory.value, step(domain, VFM_MIB)));
}

static uint64_t sum_memory(const VfmDomain *domain, bool commandline)
{
    uint64_t total = vfm_rounded_boot_size(domain);

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        if (commandline || !device->from_commandline)
            total = vfm_add(total, vfm_rounded_device_size(domain, device));
    }
    return total;
}

uint64_t vfm_rounded_total_memory(const VfmDomain *domain)
{
    return sum_memory(domain, true);
}

uint64_t vfm_rounded_counted_memory(const VfmDomain *domain)
{
    return sum_memory(domain, false);
}
