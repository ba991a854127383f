/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain_copy.h"

static void copy_array(GArray *to, const GArray *from)
{
    g_array_append_vals(to, from->data, from->len);
}

VfmDomain *vfm_domain_copy_frame(const VfmDomain *domain)
{
    VfmDomain *copy = vfm_domain_new();

    g_free(copy->name);
    copy->name = g_strdup(domain->name);
    copy->uuid = g_strdup(domain->uuid);
    copy->emulator = g_strdup(domain->emulator);
    copy->live = domain->live;
    copy->accel = domain->accel;
    copy->arch = domain->arch;
    copy->arch_name = g_strdup(domain->arch_name);
    copy->machine = domain->machine;
    copy->machine_name = g_strdup(domain->machine_name);
    copy->memory = domain->memory;
    copy->boot = domain->boot;
    copy->max_memory = domain->max_memory;
    copy->slots = domain->slots;
    copy->vcpus = domain->vcpus;
    copy->phys_bits = domain->phys_bits;
    copy->cpu_model = g_strdup(domain->cpu_model);
    copy->amd_cpu = domain->amd_cpu;
    copy->vga = domain->vga;
    copy->pflash = domain->pflash;
    copy_array(copy->cells, domain->cells);
    copy->backing.use_hugepages = domain->backing.use_hugepages;
    copy->backing.locked = domain->backing.locked;
    copy->backing.source = domain->backing.source;
    copy->backing.shared = domain->backing.shared;
    copy->backing.prealloc = domain->backing.prealloc;
    for (guint i = 0; i < domain->backing.hugepages->len; i++) {
        VfmHugepage page = g_array_index(domain->backing.hugepages, VfmHugepage, i);

        page.nodeset = g_strdup(page.nodeset);
        g_array_append_val(copy->backing.hugepages, page);
    }
    copy->balloon = domain->balloon;
    copy->balloon.model = g_strdup(domain->balloon.model);
    for (guint i = 0; i < domain->iommus->len; i++) {
        const VfmIommu *from = g_ptr_array_index(domain->iommus, i);
        VfmIommu *to = vfm_domain_add_iommu(copy, from->model);

        *to = *from;
        to->model_name = g_strdup(from->model_name);
    }
    copy->launch_security = g_strdup(domain->launch_security);
    vfm_policy_copy(&copy->policy, &domain->policy);
    return copy;
}

VfmMemoryDevice *vfm_domain_copy_memory(VfmDomain *domain, const VfmMemoryDevice *device)
{
    VfmMemoryDevice *copy = vfm_domain_add_memory(domain, device->model, device->size);

    *copy = *device;
    copy->model_name = g_strdup(device->model_name);
    copy->alias = g_strdup(device->alias);
    copy->path = g_strdup(device->path);
    copy->nodemask = g_strdup(device->nodemask);
    return copy;
}

VfmAssigned *vfm_domain_copy_assigned(VfmDomain *domain, const VfmAssigned *assigned)
{
    VfmAssigned *copy = vfm_domain_add_assigned(domain, assigned->kind, assigned->via);

    *copy = *assigned;
    copy->address = g_strdup(assigned->address);
    copy->network = g_strdup(assigned->network);
    copy->model = g_strdup(assigned->model);
    copy->driver = g_strdup(assigned->driver);
    copy->alias = g_strdup(assigned->alias);
    return copy;
}
