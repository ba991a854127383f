/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain.h"

static void memory_device_free(gpointer data)
{
    VfmMemoryDevice *device = data;

    g_free(device->model_name);
    g_free(device->alias);
    g_free(device->path);
    g_free(device->nodemask);
    g_free(device);
}

static void assigned_free(gpointer data)
{
    VfmAssigned *assigned = data;

    g_free(assigned->address);
    g_free(assigned->network);
    g_free(assigned->model);
    g_free(assigned->driver);
    g_free(assigned->alias);
    g_free(assigned->implicit_alias);
    g_free(assigned);
}

static void iommu_free(gpointer data)
{
    VfmIommu *iommu = data;

    g_free(iommu->model_name);
    g_free(iommu);
}

static void hugepage_clear(gpointer data)
{
    VfmHugepage *page = data;

    g_free(page->nodeset);
}

void vfm_policy_copy(VfmPolicy *to, const VfmPolicy *from)
{
    GArray *windows = to->windows;

    *to = *from;
    to->windows = windows;
    g_array_set_size(windows, 0);
    if (from->windows)
        g_array_append_vals(windows, from->windows->data, from->windows->len);
}

VfmDomain *vfm_domain_new(void)
{
    VfmDomain *domain = g_new0(VfmDomain, 1);

    domain->name = g_strdup("");
    domain->cells = g_array_new(FALSE, TRUE, sizeof(VfmCell));
    domain->backing.hugepages = g_array_new(FALSE, TRUE, sizeof(VfmHugepage));
    g_array_set_clear_func(domain->backing.hugepages, hugepage_clear);
    domain->memory_devices = g_ptr_array_new_with_free_func(memory_device_free);
    domain->assigned = g_ptr_array_new_with_free_func(assigned_free);
    domain->iommus = g_ptr_array_new_with_free_func(iommu_free);
    domain->policy.windows = g_array_new(FALSE, TRUE, sizeof(VfmWindow));
    return domain;
}

void vfm_domain_free(VfmDomain *domain)
{
    if (!domain)
        return;
    g_free(domain->name);
    g_free(domain->uuid);
    g_free(domain->type);
    g_free(domain->arch_name);
    g_free(domain->machine_name);
    g_free(domain->emulator);
    g_free(domain->real_emulator);
    g_free(domain->cpu_mode);
    g_free(domain->cpu_model);
    g_free(domain->launch_security);
    g_free(domain->balloon.model);
    g_array_unref(domain->cells);
    g_array_unref(domain->backing.hugepages);
    g_ptr_array_unref(domain->memory_devices);
    g_ptr_array_unref(domain->assigned);
    g_ptr_array_unref(domain->iommus);
    g_array_unref(domain->policy.windows);
    g_free(domain);
}

VfmMemoryDevice *vfm_domain_add_memory(VfmDomain *domain, VfmMemoryModel model, uint64_t size)
{
    VfmMemoryDevice *device = g_new0(VfmMemoryDevice, 1);

    device->model = model;
    device->size = size;
    g_ptr_array_add(domain->memory_devices, device);
    return device;
}

VfmAssigned *vfm_domain_add_assigned(VfmDomain *domain, VfmAssignedKind kind, VfmAssignedVia via)
{
    VfmAssigned *assigned = g_new0(VfmAssigned, 1);

    assigned->kind = kind;
    assigned->via = via;
    g_ptr_array_add(domain->assigned, assigned);
    return assigned;
}

VfmIommu *vfm_domain_add_iommu(VfmDomain *domain, VfmIommuModel model)
{
    VfmIommu *iommu = g_new0(VfmIommu, 1);

    iommu->model = model;
    g_ptr_array_add(domain->iommus, iommu);
    return iommu;
}

const char *vfm_assigned_kind_name(VfmAssignedKind kind)
{
    static const char *const names[] = {"pci", "mdev", "vdpa", "nvme", "vfio-user"};

    return (size_t)kind < G_N_ELEMENTS(names) ? names[kind] : "unknown";
}

const char *vfm_assigned_via_name(VfmAssignedVia via)
{
    static const char *const names[] = {"hostdev", "interface", "disk", "commandline"};

    return (size_t)via < G_N_ELEMENTS(names) ? names[via] : "unknown";
}

const char *vfm_memory_model_name(VfmMemoryModel model)
{
    static const char *const names[] = {"dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc", "other"};

    return (size_t)model < G_N_ELEMENTS(names) ? names[model] : "unknown";
}

const char *vfm_iommu_model_name(VfmIommuModel model)
{
    static const char *const names[] = {"intel", "amd", "smmuv3", "virtio", "other"};

    return (size_t)model < G_N_ELEMENTS(names) ? names[model] : "unknown";
}

const char *vfm_backend_kind_name(VfmBackendKind kind)
{
    static const char *const names[] = {"auto", "type1", "iommufd"};

    return (size_t)kind < G_N_ELEMENTS(names) ? names[kind] : "unknown";
}

const char *vfm_arch_name(VfmArch arch)
{
    static const char *const names[] = {"other", "x86_64", "i686", "aarch64", "ppc64", "s390x", "riscv64"};

    return (size_t)arch < G_N_ELEMENTS(names) ? names[arch] : "unknown";
}

const char *vfm_machine_name(VfmMachine machine)
{
    static const char *const names[] = {"other", "q35", "i440fx", "virt"};

    return (size_t)machine < G_N_ELEMENTS(names) ? names[machine] : "unknown";
}
