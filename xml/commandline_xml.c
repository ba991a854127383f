/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qemu:commandline>: devices libvirt hands to QEMU without looking at them. */
#include "parts.h"

#include <string.h>

#include "commandline.h"
#include "device_arg.h"

/* One option of the list being read, and what earlier ones said. */
typedef struct {
    const VfmXmlReader *reader;
    const xmlNode *node; /* <qemu:arg> of the value */
    VfmDomain *domain;
    GHashTable *aliases; /* vfm_xml_aliases(), with what the command line adds */
    bool objects_only;   /* first round */
    GHashTable *objects; /* id -> VfmDeviceArg* of -object memory-backend-* */
} Commandline;

/* @detail: of commandline.h */
typedef bool (*ReadDevice)(Commandline *line, const VfmDeviceArg *arg, int detail);

static bool fail_arg(const Commandline *line, GError *cause)
{
    vfm_xml_fail(line->reader, line->node, cause->code, "<qemu:arg>: %s", cause->message);
    g_error_free(cause);
    return false;
}

static VfmAssigned *add_assigned(Commandline *line, VfmAssignedKind kind, const VfmDeviceArg *arg)
{
    VfmAssigned *assigned = vfm_domain_add_assigned(line->domain, kind, VFM_VIA_COMMANDLINE);

    assigned->alias = g_strdup(vfm_device_arg_get(arg, "id"));
    assigned->line = vfm_xml_line(line->node);
    if (assigned->alias)
        g_hash_table_insert(line->aliases, assigned->alias, assigned);
    return assigned;
}

/* "1:0.0" and "0000:01:00.0" are the same to QEMU; NULL if it is neither. */
static char *full_pci_address(const char *text)
{
    unsigned domain = 0, bus, slot, function;
    int end = 0;

    if ((sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &slot, &function, &end) == 4 && text[end] == '\0') ||
        (domain = 0, end = 0, sscanf(text, "%2x:%2x.%1x%n", &bus, &slot, &function, &end) == 3 && text[end] == '\0'))
        return g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, slot, function);
    return NULL;
}

/* host= names a PCI device, sysfsdev= any device's directory, of which mdevs lie below a UUID. */
static bool read_vfio(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    const char *host = vfm_device_arg_get(arg, "host");
    const char *sysfs = vfm_device_arg_get(arg, "sysfsdev");
    g_autofree char *base = sysfs ? g_path_get_basename(sysfs) : NULL;
    VfmAssigned *assigned;
    GError *cause = NULL;
    char *address = NULL;

    if (host || base) {
        address = full_pci_address(host ? host : base);
        if (!address && host)
            return vfm_xml_fail(line->reader, line->node, VFM_INPUT_SYNTAX,
                                "<qemu:arg>: host=%s is not a PCI address like 0000:01:00.0", host);
    }
    assigned = add_assigned(line, base && !address ? VFM_ASSIGNED_MDEV : VFM_ASSIGNED_PCI, arg);
    assigned->address = address ? address : g_strdup(base);
    assigned->model = assigned->kind == VFM_ASSIGNED_MDEV ? g_strdup(vfm_device_arg_get(arg, "driver")) : NULL;
    assigned->iommufd = vfm_device_arg_get(arg, "iommufd") != NULL;
    if (!vfm_device_arg_switch(arg, "x-balloon-allowed", &assigned->balloon_allowed, &cause))
        return fail_arg(line, cause);
    return true;
}

static bool read_vfio_user(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    const char *path = vfm_device_arg_get(arg, "socket.path");

    if (!path)
        path = vfm_device_arg_get(arg, "socket");
    add_assigned(line, VFM_ASSIGNED_USER, arg)->address = g_strdup(path);
    return true;
}

static bool read_vdpa(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    add_assigned(line, VFM_ASSIGNED_VDPA, arg)->address = g_strdup(vfm_device_arg_get(arg, "vhostdev"));
    return true;
}

static bool read_vdpa_netdev(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    return g_strcmp0(vfm_device_arg_get(arg, "type"), "vhost-vdpa") != 0 || read_vdpa(line, arg, 0);
}

static bool read_iommu(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    VfmIommuModel model = (VfmIommuModel)detail;
    VfmIommu *iommu = vfm_domain_add_iommu(line->domain, model);
    GError *cause = NULL;

    iommu->model_name = g_strdup(vfm_iommu_model_name(model));
    iommu->from_commandline = true;
    iommu->line = vfm_xml_line(line->node);
    if (!vfm_device_arg_switch(arg, "caching-mode", &iommu->caching_mode, &cause) ||
        !vfm_device_arg_switch(arg, "eim", &iommu->eim, &cause) ||
        !vfm_device_arg_switch(arg, "device-iotlb", &iommu->iotlb, &cause) ||
        !vfm_device_arg_switch(arg, "dma-translation", &iommu->dma_translation, &cause) ||
        !vfm_device_arg_number(arg, "aw-bits", &iommu->aw_bits, &cause))
        return fail_arg(line, cause);
    if (g_strcmp0(vfm_device_arg_get(arg, "intremap"), "auto") != 0 &&
        !vfm_device_arg_switch(arg, "intremap", &iommu->intremap, &cause))
        return fail_arg(line, cause);
    return true;
}

static bool read_balloon(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    VfmBalloon *balloon = &line->domain->balloon;
    GError *cause = NULL;

    if (balloon->present)
        return vfm_xml_fail(line->reader, line->node, VFM_INPUT_CONFLICT,
                            "<qemu:arg> adds a second balloon to libvirt's own, and QEMU supports one; set <memballoon "
                            "model='none'/>");
    balloon->present = true;
    balloon->line = vfm_xml_line(line->node);
    g_free(balloon->model);
    balloon->model = g_strdup("virtio");
    if (!vfm_device_arg_switch(arg, "free-page-reporting", &balloon->free_page_reporting, &cause) ||
        !vfm_device_arg_switch(arg, "deflate-on-oom", &balloon->autodeflate, &cause))
        return fail_arg(line, cause);
    return true;
}

static bool read_memory(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    VfmMemoryModel model = (VfmMemoryModel)detail;
    const char *memdev = vfm_device_arg_get(arg, "memdev");
    const VfmDeviceArg *backend = memdev ? g_hash_table_lookup(line->objects, memdev) : NULL;
    VfmMemoryDevice *device;
    VfmMaybe size = VFM_NONE, base;
    GError *cause = NULL;

    if (!backend)
        return vfm_xml_fail(line->reader, line->node, VFM_INPUT_CONFLICT,
                            "<qemu:arg>: memdev='%s' names no -object memory-backend-* of the command line",
                            memdev ? memdev : "");
    if (!vfm_device_arg_size(backend, "size", &size, &cause))
        return fail_arg(line, cause);
    if (!size.set || size.value == 0 || size.value > (uint64_t)INT64_MAX)
        return vfm_xml_fail(line->reader, line->node, VFM_INPUT_RANGE,
                            "<qemu:arg>: memory backend '%s' has no valid size", memdev);
    device = vfm_domain_add_memory(line->domain, model, size.value);
    device->from_commandline = true;
    device->model_name = g_strdup(vfm_device_arg_get(arg, "driver"));
    device->alias = g_strdup(vfm_device_arg_get(arg, "id"));
    device->path = g_strdup(vfm_device_arg_get(backend, "mem-path"));
    device->line = vfm_xml_line(line->node);
    if (!vfm_device_arg_number(arg, "node", &device->node, &cause) ||
        !vfm_device_arg_size(arg, "block-size", &device->block, &cause) ||
        !vfm_device_arg_size(arg, "requested-size", &device->requested, &cause) ||
        !vfm_device_arg_number(arg, model == VFM_MEM_VIRTIO_MEM || model == VFM_MEM_VIRTIO_PMEM ? "memaddr" : "addr",
                               &base, &cause) ||
        !vfm_device_arg_switch(backend, "share", &device->shared, &cause) ||
        !vfm_device_arg_switch(arg, "dynamic-memslots", &device->dynamic_memslots, &cause))
        return fail_arg(line, cause);
    /* 0 is QEMU's own default for "choose one". */
    if (base.set && base.value != 0)
        device->base = base;
    if (device->block.set && device->block.value == 0)
        device->block = VFM_NONE;
    device->block_line = device->block.set ? device->line : 0;
    device->requested_line = device->requested.set ? device->line : 0;
    return true;
}

static bool read_device(Commandline *line, const VfmDeviceArg *arg, int unused)
{
    static const ReadDevice readers[VFM_DRIVER_KINDS] = {
        [VFM_DRIVER_VFIO] = read_vfio,   [VFM_DRIVER_VFIO_USER] = read_vfio_user, [VFM_DRIVER_VDPA] = read_vdpa,
        [VFM_DRIVER_IOMMU] = read_iommu, [VFM_DRIVER_BALLOON] = read_balloon,     [VFM_DRIVER_MEMORY] = read_memory,
    };
    int detail = 0;
    VfmDriverKind kind = vfm_commandline_driver(vfm_device_arg_get(arg, "driver"), &detail);

    return !readers[kind] || readers[kind](line, arg, detail);
}

static bool keep_object(Commandline *line, VfmDeviceArg *arg)
{
    const char *type = vfm_device_arg_get(arg, "qom-type");
    const char *id = vfm_device_arg_get(arg, "id");

    if (type && id && g_str_has_prefix(type, "memory-backend-"))
        g_hash_table_insert(line->objects, g_strdup(id), arg);
    else
        vfm_device_arg_free(arg);
    return true;
}

/* NVMe drives by QEMU's own block driver: -blockdev driver=nvme,device=... and -drive file=nvme://address/namespace. */
static bool read_block(Commandline *line, const VfmDeviceArg *arg, int detail)
{
    const char *device = g_strcmp0(vfm_device_arg_get(arg, "driver"), "nvme") == 0 ? vfm_device_arg_get(arg, "device")
                         : g_strcmp0(vfm_device_arg_get(arg, "file.driver"), "nvme") == 0
                             ? vfm_device_arg_get(arg, "file.device")
                             : NULL;
    const char *file = vfm_device_arg_get(arg, "file");
    g_autofree char *from_url = NULL;
    char *address;

    if (!device && file && g_str_has_prefix(file, "nvme://")) {
        const char *start = file + strlen("nvme://");

        device = from_url = g_strndup(start, strcspn(start, "/"));
    }
    if (!device)
        return true;
    address = full_pci_address(device);
    if (!address)
        return vfm_xml_fail(line->reader, line->node, VFM_INPUT_SYNTAX,
                            "<qemu:arg>: '%s' is not the PCI address of an NVMe drive", device);
    add_assigned(line, VFM_ASSIGNED_NVME, arg)->address = address;
    return true;
}

/* -set device.hostdev0.x-balloon-allowed=on: what people used before <qemu:override>. */
static bool read_set(Commandline *line, const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, ".", 3);
    char *value = g_strv_length(parts) == 3 ? strchr(parts[2], '=') : NULL;

    if (!value || strcmp(parts[0], "device") != 0)
        return true;
    *value++ = '\0';
    vfm_xml_apply_property(line->aliases, line->domain, parts[1], parts[2], value);
    return true;
}

static bool read_option(Commandline *line, const char *option, const char *value)
{
    static const struct {
        const char *option, *implied;
        ReadDevice read;
    } options[] = {
        {"device", "driver", read_device}, {"netdev", "type", read_vdpa_netdev}, {"blockdev", "driver", read_block},
        {"drive", NULL, read_block},       {"object", "qom-type", NULL},
    };

    if (line->objects_only != (strcmp(option, "object") == 0))
        return true;
    if (strcmp(option, "set") == 0)
        return read_set(line, value);
    for (gsize i = 0; i < G_N_ELEMENTS(options); i++) {
        g_autoptr(VfmDeviceArg) arg = NULL;
        GError *cause = NULL;

        if (strcmp(option, options[i].option) != 0)
            continue;
        arg = vfm_device_arg_parse(value, options[i].implied, &cause);
        if (!arg)
            return fail_arg(line, cause);
        return options[i].read ? options[i].read(line, arg, 0) : keep_object(line, g_steal_pointer(&arg));
    }
    return true;
}

static bool is_qemu_element(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns &&
           strcmp((const char *)node->ns->href, VFM_QEMU_NAMESPACE) == 0 && strcmp((const char *)node->name, name) == 0;
}

static bool read_arguments(Commandline *line, const xmlNode *commandline)
{
    g_autofree char *option = NULL;

    for (const xmlNode *node = commandline->children; node; node = node->next) {
        g_autofree char *value = is_qemu_element(node, "arg") ? vfm_xml_attribute(node, "value") : NULL;

        if (!value)
            continue;
        line->node = node;
        if (option) {
            if (!read_option(line, option, value))
                return false;
            g_clear_pointer(&option, g_free);
        } else {
            option = g_strdup(vfm_commandline_option(value));
        }
    }
    if (option)
        return vfm_xml_fail(line->reader, line->node, VFM_INPUT_SYNTAX, "<qemu:arg>: -%s has no value behind it",
                            option);
    return true;
}

static void read_environment(VfmDomain *domain, const xmlNode *commandline)
{
    for (const xmlNode *node = commandline->children; node; node = node->next) {
        g_autofree char *name = is_qemu_element(node, "env") ? vfm_xml_attribute(node, "name") : NULL;

        if (g_strcmp0(name, "VFIOMEM_QEMU") != 0)
            continue;
        g_free(domain->real_emulator);
        domain->real_emulator = vfm_xml_attribute(node, "value");
    }
}

bool vfm_xml_read_commandline(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    g_autoptr(GHashTable) objects =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)vfm_device_arg_free);
    g_autoptr(GHashTable) aliases = vfm_xml_aliases(domain);
    Commandline line = {.reader = reader, .domain = domain, .aliases = aliases, .objects = objects};

    /* QEMU makes its objects before its devices, wherever they stand. */
    for (int round = 0; round < 2; round++) {
        line.objects_only = round == 0;
        for (const xmlNode *node = root->children; node; node = node->next) {
            if (is_qemu_element(node, "commandline") && !read_arguments(&line, node))
                return false;
            if (is_qemu_element(node, "commandline") && round == 0)
                read_environment(domain, node);
        }
    }
    return true;
}
