/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <devices><memory>: DIMM, NVDIMM, virtio-pmem, virtio-mem, sgx-epc, and models not known yet. */
#include "parts.h"

#include <string.h>

static VfmMemoryModel model_from_name(const char *name)
{
    static const char *const names[] = {"dimm", "nvdimm", "virtio-pmem", "virtio-mem", "sgx-epc"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (VfmMemoryModel)i;
    }
    return VFM_MEM_OTHER;
}

static bool read_source(const VfmXmlReader *reader, const xmlNode *source, VfmMemoryDevice *device)
{
    xmlNode *pmem;

    if (!vfm_xml_child_text(reader, source, "path", &device->path) ||
        !vfm_xml_child_text(reader, source, "nodemask", &device->nodemask) ||
        !vfm_xml_size_child(reader, source, "pagesize", &device->pagesize, NULL) ||
        !vfm_xml_only_child(reader, source, "pmem", &pmem))
        return false;
    if (device->pagesize.set && device->pagesize.value == 0)
        device->pagesize = VFM_NONE;
    device->pmem = pmem != NULL;
    return true;
}

static bool read_target(const VfmXmlReader *reader, const xmlNode *memory, const xmlNode *target,
                        VfmMemoryDevice *device)
{
    xmlNode *label, *readonly, *address;
    VfmMaybe size;

    if (!target)
        return vfm_xml_fail(reader, memory, VFM_INPUT_SYNTAX, "<memory model='%s'> has no <target>",
                            device->model_name);
    if (!vfm_xml_size_child(reader, target, "size", &size, NULL) ||
        !vfm_xml_number_child(reader, target, "node", G_MAXUINT, &device->node) ||
        !vfm_xml_size_child(reader, target, "block", &device->block, &device->block_line) ||
        !vfm_xml_size_child(reader, target, "requested", &device->requested, &device->requested_line) ||
        !vfm_xml_size_child(reader, target, "current", &device->current, NULL) ||
        !vfm_xml_only_child(reader, target, "label", &label) ||
        !vfm_xml_size_child(reader, label, "size", &device->label, NULL) ||
        !vfm_xml_only_child(reader, target, "readonly", &readonly) ||
        !vfm_xml_only_child(reader, target, "address", &address) ||
        !vfm_xml_number_attribute(reader, address, "base", 16, UINT64_MAX, &device->base) ||
        !vfm_xml_yes_no(reader, target, "dynamicMemslots", &device->dynamic_memslots))
        return false;
    if (!size.set || size.value == 0)
        return vfm_xml_fail(reader, target, VFM_INPUT_RANGE, "<target> of <memory model='%s'> has no size above 0",
                            device->model_name);
    device->size = size.value;
    if (device->model == VFM_MEM_VIRTIO_MEM && !device->requested.set)
        device->requested = VFM_SOME(0); /* what libvirt takes, and prints, where nothing is asked for */
    device->readonly = readonly != NULL;
    return true;
}

/* <address type='dimm' slot= base=>; a PCI address says nothing of guest memory. */
static bool read_address(const VfmXmlReader *reader, const xmlNode *memory, VfmMemoryDevice *device)
{
    g_autofree char *type = NULL;
    VfmMaybe base;
    xmlNode *address;

    if (!vfm_xml_only_child(reader, memory, "address", &address))
        return false;
    type = vfm_xml_attribute(address, "type");
    if (!type || strcmp(type, "dimm") != 0)
        return true;
    if (!vfm_xml_number_attribute(reader, address, "slot", 10, G_MAXUINT, &device->slot) ||
        !vfm_xml_number_attribute(reader, address, "base", 16, UINT64_MAX, &base))
        return false;
    if (base.set)
        device->base = base;
    return true;
}

static bool read_device(const VfmXmlReader *reader, const xmlNode *memory, VfmDomain *domain)
{
    static const char *const modes[] = {"shared", "private", NULL};
    VfmMemoryDevice *device;
    xmlNode *source, *target, *alias;
    int access;
    char *model = vfm_xml_attribute(memory, "model");

    if (!model)
        return vfm_xml_fail(reader, memory, VFM_INPUT_SYNTAX, "<memory> below <devices> has no model");
    device = vfm_domain_add_memory(domain, model_from_name(model), 0);
    device->model_name = model;
    device->line = vfm_xml_line(memory);
    if (!vfm_xml_only_child(reader, memory, "source", &source) ||
        !vfm_xml_only_child(reader, memory, "target", &target) ||
        !vfm_xml_only_child(reader, memory, "alias", &alias) ||
        !vfm_xml_choice(reader, memory, "access", modes, &access) ||
        !vfm_xml_yes_no(reader, memory, "discard", &device->discard) || !read_source(reader, source, device) ||
        !read_target(reader, memory, target, device) || !read_address(reader, memory, device))
        return false;
    device->alias = vfm_xml_attribute(alias, "name");
    device->shared = access < 0 ? VFM_ABSENT : access == 0 ? VFM_ON : VFM_OFF;
    return true;
}

bool vfm_xml_read_memory_devices(const VfmXmlReader *reader, const xmlNode *devices, VfmDomain *domain)
{
    for (xmlNode *memory = vfm_xml_child(devices, "memory"); memory; memory = vfm_xml_next(memory, "memory")) {
        if (!read_device(reader, memory, domain))
            return false;
    }
    return true;
}
