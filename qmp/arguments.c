/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "arguments.h"

#include <string.h>

typedef struct {
    const char *driver;
    VfmQemuDevice kind;
    int detail; /* VfmAssignedKind, VfmMemoryModel or VfmIommuModel */
} Driver;

/* clang-format off */
static const Driver drivers[] = {
    {"vfio-pci", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_PCI},
    {"vfio-pci-nohotplug", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_PCI},
    {"vfio-ap", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_MDEV},
    {"vfio-ccw", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_MDEV},
    {"vfio-user-pci", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_USER},
    {"vhost-vdpa-device-pci", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_VDPA},
    {"vhost-vdpa-device-pci-non-transitional", VFM_QEMU_ASSIGNED, VFM_ASSIGNED_VDPA},
    {"virtio-mem-pci", VFM_QEMU_MEMORY, VFM_MEM_VIRTIO_MEM},
    {"pc-dimm", VFM_QEMU_MEMORY, VFM_MEM_DIMM},
    {"nvdimm", VFM_QEMU_MEMORY, VFM_MEM_NVDIMM},
    {"virtio-pmem-pci", VFM_QEMU_MEMORY, VFM_MEM_VIRTIO_PMEM},
    {"virtio-balloon-pci", VFM_QEMU_BALLOON, 0},
    {"virtio-balloon-pci-transitional", VFM_QEMU_BALLOON, 0},
    {"virtio-balloon-pci-non-transitional", VFM_QEMU_BALLOON, 0},
    {"virtio-balloon-ccw", VFM_QEMU_BALLOON, 0},
    {"virtio-balloon-device", VFM_QEMU_BALLOON, 0},
    {"intel-iommu", VFM_QEMU_IOMMU, VFM_IOMMU_INTEL},
    {"amd-iommu", VFM_QEMU_IOMMU, VFM_IOMMU_AMD},
    {"virtio-iommu-pci", VFM_QEMU_IOMMU, VFM_IOMMU_VIRTIO},
};
/* clang-format on */

static const Driver *find_driver(const char *name)
{
    for (size_t i = 0; name && i < G_N_ELEMENTS(drivers); i++)
        if (strcmp(drivers[i].driver, name) == 0)
            return &drivers[i];
    return NULL;
}

VfmQemuDevice vfm_qemu_device_kind(const char *name)
{
    const Driver *driver = find_driver(name);

    return driver ? driver->kind : VFM_QEMU_OTHER;
}

GHashTable *vfm_qemu_backends_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)vfm_device_arg_free);
}

void vfm_qemu_add_backend(GHashTable *backends, VfmDeviceArg *arg)
{
    const char *type = vfm_device_arg_get(arg, "qom-type"), *id = vfm_device_arg_get(arg, "id");

    if (type && id && g_str_has_prefix(type, "memory-backend-"))
        g_hash_table_replace(backends, g_strdup(id), arg);
    else
        vfm_device_arg_free(arg);
}

static VfmMaybe size_of(const VfmDeviceArg *arg, const char *key)
{
    VfmMaybe size = VFM_NONE;

    return arg && vfm_device_arg_size(arg, key, &size, NULL) ? size : VFM_NONE;
}

static VfmSwitch switch_of(const VfmDeviceArg *arg, const char *key)
{
    VfmSwitch value = VFM_ABSENT;

    return arg && vfm_device_arg_switch(arg, key, &value, NULL) ? value : VFM_ABSENT;
}

static VfmAssigned *add_assigned(VfmDomain *domain, const VfmDeviceArg *arg, int kind)
{
    const char *host = vfm_device_arg_get(arg, "host"), *sysfs = vfm_device_arg_get(arg, "sysfsdev");
    g_autofree char *base = sysfs ? g_path_get_basename(sysfs) : NULL;
    bool mdev = kind == VFM_ASSIGNED_PCI && base && strlen(base) == 36 && !strchr(base, ':');
    VfmAssigned *assigned =
        vfm_domain_add_assigned(domain, mdev ? VFM_ASSIGNED_MDEV : (VfmAssignedKind)kind, VFM_VIA_HOSTDEV);

    if (kind == VFM_ASSIGNED_VDPA)
        host = vfm_device_arg_get(arg, "vhostdev");
    else if (kind == VFM_ASSIGNED_USER)
        host = vfm_device_arg_get(arg, "socket.path");
    assigned->address = g_strdup(host ? host : base);
    assigned->alias = g_strdup(vfm_device_arg_get(arg, "id"));
    assigned->iommufd = vfm_device_arg_get(arg, "iommufd") != NULL;
    assigned->balloon_allowed = switch_of(arg, "x-balloon-allowed");
    if (assigned->kind == VFM_ASSIGNED_MDEV)
        assigned->model = g_strdup(vfm_device_arg_get(arg, "driver"));
    return assigned;
}

static void add_memory(VfmDomain *domain, GHashTable *backends, const VfmDeviceArg *arg, int model)
{
    const char *memdev = vfm_device_arg_get(arg, "memdev");
    const VfmDeviceArg *backend = memdev ? g_hash_table_lookup(backends, memdev) : NULL;
    VfmMaybe size = size_of(backend, "size");
    VfmMemoryDevice *device = vfm_domain_add_memory(domain, (VfmMemoryModel)model, size.set ? size.value : 0);
    const char *path = backend ? vfm_device_arg_get(backend, "mem-path") : NULL;

    device->model_name = g_strdup(vfm_memory_model_name(device->model));
    device->alias = g_strdup(vfm_device_arg_get(arg, "id"));
    vfm_device_arg_number(arg, "node", &device->node, NULL);
    vfm_device_arg_number(arg, "slot", &device->slot, NULL);
    device->block = size_of(arg, "block-size");
    device->requested = size_of(arg, "requested-size");
    device->base = size_of(arg, model == VFM_MEM_VIRTIO_MEM || model == VFM_MEM_VIRTIO_PMEM ? "memaddr" : "addr");
    device->label = size_of(arg, "label-size");
    device->shared = switch_of(backend, "share");
    device->readonly = switch_of(backend, "readonly") == VFM_ON;
    device->dynamic_memslots = switch_of(arg, "dynamic-memslots");
    if (backend && switch_of(backend, "hugetlb") == VFM_ON)
        device->pagesize = size_of(backend, "hugetlbsize");
    device->path = g_strdup(path);
}

static void add_balloon(VfmDomain *domain, const VfmDeviceArg *arg)
{
    domain->balloon.present = true;
    g_free(domain->balloon.model);
    domain->balloon.model = g_strdup("virtio");
    domain->balloon.free_page_reporting = switch_of(arg, "free-page-reporting");
    domain->balloon.autodeflate = switch_of(arg, "deflate-on-oom");
}

static void add_iommu(VfmDomain *domain, const VfmDeviceArg *arg, int model)
{
    VfmIommu *iommu = vfm_domain_add_iommu(domain, (VfmIommuModel)model);

    iommu->model_name = g_strdup(vfm_iommu_model_name(iommu->model));
    iommu->caching_mode = switch_of(arg, "caching-mode");
    iommu->intremap = switch_of(arg, "intremap");
    iommu->eim = switch_of(arg, "eim");
    iommu->iotlb = switch_of(arg, "device-iotlb");
    iommu->dma_translation = switch_of(arg, "dma-translation");
    vfm_device_arg_number(arg, "aw-bits", &iommu->aw_bits, NULL);
}

VfmQemuDevice vfm_qemu_add_device(VfmDomain *domain, GHashTable *backends, const VfmDeviceArg *arg)
{
    const Driver *driver = find_driver(vfm_device_arg_get(arg, "driver"));

    if (!driver)
        return VFM_QEMU_OTHER;
    if (driver->kind == VFM_QEMU_ASSIGNED)
        add_assigned(domain, arg, driver->detail);
    else if (driver->kind == VFM_QEMU_MEMORY)
        add_memory(domain, backends, arg, driver->detail);
    else if (driver->kind == VFM_QEMU_BALLOON)
        add_balloon(domain, arg);
    else
        add_iommu(domain, arg, driver->detail);
    return driver->kind;
}

typedef void (*ReadOption)(VfmQemuArguments *arguments, const VfmDeviceArg *arg);

static void read_device(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    vfm_qemu_add_device(arguments->domain, arguments->backends, arg);
}

/* -m takes MiB where -device takes bytes. */
static VfmMaybe megabytes(const VfmDeviceArg *arg, const char *key)
{
    const char *text = vfm_device_arg_get(arg, key);
    VfmMaybe size = size_of(arg, key);

    if (size.set && text && *text && g_ascii_isdigit(text[strlen(text) - 1]))
        size.value <<= 20;
    return size;
}

static void read_memory(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    VfmMaybe size = megabytes(arg, "size");

    if (size.set)
        arguments->domain->memory = arguments->domain->boot = size.value;
    arguments->domain->max_memory = megabytes(arg, "maxmem");
    vfm_device_arg_number(arg, "slots", &arguments->domain->slots, NULL);
}

static VfmAccel accel_of(const char *name)
{
    if (!name)
        return VFM_ACCEL_OTHER;
    return g_str_has_prefix(name, "kvm")   ? VFM_ACCEL_KVM
           : g_str_has_prefix(name, "tcg") ? VFM_ACCEL_TCG
                                           : VFM_ACCEL_OTHER;
}

static void use_backing(VfmDomain *domain, const VfmDeviceArg *backend)
{
    const char *type = vfm_device_arg_get(backend, "qom-type");
    VfmMaybe size = size_of(backend, "hugetlbsize");

    if (g_strcmp0(type, "memory-backend-memfd") == 0)
        domain->backing.source = VFM_SOURCE_MEMFD;
    else if (g_strcmp0(type, "memory-backend-file") == 0)
        domain->backing.source = VFM_SOURCE_FILE;
    domain->backing.shared = switch_of(backend, "share");
    domain->backing.prealloc = switch_of(backend, "prealloc") == VFM_ON;
    if (switch_of(backend, "hugetlb") == VFM_ON) {
        VfmHugepage page = {.size = size.set ? size.value : 0};

        domain->backing.use_hugepages = true;
        if (domain->backing.hugepages->len == 0)
            g_array_append_val(domain->backing.hugepages, page);
    }
}

static void read_machine(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    VfmDomain *domain = arguments->domain;
    const char *type = vfm_device_arg_get(arg, "type"), *accel = vfm_device_arg_get(arg, "accel");
    const char *memory = vfm_device_arg_get(arg, "memory-backend");
    const VfmDeviceArg *backend = memory ? g_hash_table_lookup(arguments->backends, memory) : NULL;

    if (type) {
        g_free(domain->machine_name);
        domain->machine_name = g_strdup(type);
        domain->machine = strstr(type, "q35")                                          ? VFM_MACHINE_Q35
                          : g_str_has_prefix(type, "pc") || strstr(type, "i440fx")     ? VFM_MACHINE_I440FX
                          : g_str_has_prefix(type, "virt") && !strstr(type, "virtio-") ? VFM_MACHINE_VIRT
                                                                                       : VFM_MACHINE_OTHER;
    }
    if (accel)
        domain->accel = accel_of(accel);
    if (vfm_device_arg_get(arg, "pflash0"))
        domain->pflash = true;
    if (backend)
        use_backing(domain, backend);
}

static void read_accel(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    if (arguments->domain->accel == VFM_ACCEL_OTHER)
        arguments->domain->accel = accel_of(vfm_device_arg_get(arg, "accel"));
}

static void read_numa(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    const char *memdev = vfm_device_arg_get(arg, "memdev");
    const VfmDeviceArg *backend = memdev ? g_hash_table_lookup(arguments->backends, memdev) : NULL;
    VfmMaybe node = VFM_NONE, memory = backend ? size_of(backend, "size") : megabytes(arg, "mem");
    VfmCell cell = {.id = arguments->domain->cells->len};

    if (g_strcmp0(vfm_device_arg_get(arg, "type"), "node") != 0)
        return;
    vfm_device_arg_number(arg, "nodeid", &node, NULL);
    if (node.set)
        cell.id = (unsigned)node.value;
    cell.memory = memory.set ? memory.value : 0;
    cell.shared = switch_of(backend, "share");
    g_array_append_val(arguments->domain->cells, cell);
    if (backend)
        use_backing(arguments->domain, backend);
}

static void read_overcommit(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    const char *lock = vfm_device_arg_get(arg, "mem-lock");

    arguments->domain->backing.locked = lock && (strcmp(lock, "on") == 0 || strcmp(lock, "on-fault") == 0);
}

static void read_name(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    const char *name = vfm_device_arg_get(arg, "guest");

    if (name) {
        g_free(arguments->domain->name);
        arguments->domain->name = g_strdup(name);
    }
}

static void read_netdev(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    if (g_strcmp0(vfm_device_arg_get(arg, "type"), "vhost-vdpa") == 0)
        add_assigned(arguments->domain, arg, VFM_ASSIGNED_VDPA)->via = VFM_VIA_INTERFACE;
}

static void read_blockdev(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    VfmAssigned *assigned;

    if (g_strcmp0(vfm_device_arg_get(arg, "driver"), "nvme") != 0)
        return;
    assigned = vfm_domain_add_assigned(arguments->domain, VFM_ASSIGNED_NVME, VFM_VIA_DISK);
    assigned->address = g_strdup(vfm_device_arg_get(arg, "device"));
    assigned->alias = g_strdup(vfm_device_arg_get(arg, "node-name"));
}

static void read_cpu(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    vfm_device_arg_number(arg, "phys-bits", &arguments->domain->phys_bits, NULL);
    g_free(arguments->domain->cpu_model);
    arguments->domain->cpu_model = g_strdup(vfm_device_arg_get(arg, "model"));
}

static void read_security(VfmQemuArguments *arguments, const VfmDeviceArg *arg)
{
    static const char *const types[][2] = {
        {"sev-guest", "sev"}, {"sev-snp-guest", "sev-snp"}, {"tdx-guest", "tdx"}, {"s390-pv-guest", "s390-pv"}};
    const char *type = vfm_device_arg_get(arg, "qom-type");

    for (size_t i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_strcmp0(type, types[i][0]) == 0) {
            g_free(arguments->domain->launch_security);
            arguments->domain->launch_security = g_strdup(types[i][1]);
        }
    }
}

/* Memory backends stand anywhere, so they are read before everything that names one. */
static void read_all(VfmQemuArguments *arguments, char *const *argv, const char *option, const char *implied,
                     ReadOption read)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++) {
        g_autoptr(VfmDeviceArg) arg = NULL;

        if (argv[i][0] != '-' || strcmp(argv[i] + (argv[i][1] == '-' ? 2 : 1), option) != 0)
            continue;
        arg = vfm_device_arg_parse(argv[++i], implied, NULL);
        if (!arg)
            continue;
        if (read)
            read(arguments, arg);
        else
            vfm_qemu_add_backend(arguments->backends, g_steal_pointer(&arg));
    }
}

static const char *plain_value(char *const *argv, const char *option)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++)
        if (argv[i][0] == '-' && strcmp(argv[i] + (argv[i][1] == '-' ? 2 : 1), option) == 0)
            return argv[i + 1];
    return NULL;
}

VfmQemuArguments *vfm_qemu_arguments_read(char *const *argv)
{
    static const struct {
        const char *option, *implied;
        ReadOption read;
    } options[] = {
        {"object", "qom-type", NULL},
        {"object", "qom-type", read_security},
        {"m", "size", read_memory},
        {"machine", "type", read_machine},
        {"accel", "accel", read_accel},
        {"cpu", "model", read_cpu},
        {"numa", "type", read_numa},
        {"overcommit", "mem-lock", read_overcommit},
        {"name", "guest", read_name},
        {"netdev", "type", read_netdev},
        {"blockdev", "driver", read_blockdev},
        {"device", "driver", read_device},
    };
    VfmQemuArguments *arguments = g_new0(VfmQemuArguments, 1);

    arguments->domain = vfm_domain_new();
    arguments->domain->live = true;
    arguments->domain->emulator = g_strdup("vfiomem-qemu"); /* who else starts us; QEMU's arguments do not say */
    arguments->domain->accel = VFM_ACCEL_OTHER;
    arguments->backends = vfm_qemu_backends_new();
    for (size_t i = 0; i < G_N_ELEMENTS(options); i++)
        read_all(arguments, argv, options[i].option, options[i].implied, options[i].read);
    if (arguments->domain->accel == VFM_ACCEL_OTHER)
        arguments->domain->accel = VFM_ACCEL_TCG; /* QEMU's default */
    arguments->domain->uuid = g_strdup(plain_value(argv, "uuid"));
    return arguments;
}

void vfm_qemu_arguments_free(VfmQemuArguments *arguments)
{
    if (!arguments)
        return;
    vfm_domain_free(arguments->domain);
    g_hash_table_unref(arguments->backends);
    g_free(arguments);
}
