/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host_json.h"
#include "json_out.h"

static void write_hugepages(VfmJsonOut *out, const VfmHost *host)
{
    vfm_json_out_array(out, "hugepages");
    for (guint i = 0; i < host->hugepages->len; i++) {
        const VfmHostHugepage *pages = &g_array_index(host->hugepages, VfmHostHugepage, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_number(out, "size", pages->size);
        vfm_json_out_maybe(out, "total", pages->total);
        vfm_json_out_maybe(out, "free", pages->free);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
}

static void write_hex(VfmJsonOut *out, const char *key, VfmMaybe value, unsigned digits)
{
    if (value.set)
        vfm_json_out_hex(out, key, value.value, digits);
    else
        vfm_json_out_string(out, key, NULL);
}

static void write_device(VfmJsonOut *out, const VfmHostDevice *device)
{
    vfm_json_out_object(out, NULL);
    vfm_json_out_string(out, "address", device->address);
    vfm_json_out_string(out, "driver", device->driver);
    write_hex(out, "vendor", device->vendor, 4);
    write_hex(out, "device", device->device, 4);
    write_hex(out, "class", device->class_code, 6);
    vfm_json_out_maybe(out, "numa_node", device->numa_node);
    vfm_json_out_string(out, "cdev", device->cdev);
    vfm_json_out_end(out);
}

static void write_group(VfmJsonOut *out, const VfmIommuGroup *group)
{
    vfm_json_out_object(out, NULL);
    vfm_json_out_number(out, "id", group->id);
    vfm_json_out_string(out, "type", group->type);
    vfm_json_out_array(out, "devices");
    for (guint i = 0; i < group->devices->len; i++)
        write_device(out, g_ptr_array_index(group->devices, i));
    vfm_json_out_end(out);
    if (group->reserved_known) {
        vfm_json_out_array(out, "reserved");
        for (guint i = 0; i < group->reserved->len; i++) {
            const VfmReserved *region = &g_array_index(group->reserved, VfmReserved, i);

            vfm_json_out_object(out, NULL);
            vfm_json_out_hex(out, "start", region->start, 16);
            vfm_json_out_hex(out, "end", region->end, 16);
            vfm_json_out_string(out, "type", vfm_reserved_type_name(region->type));
            vfm_json_out_end(out);
        }
        vfm_json_out_end(out);
    } else {
        vfm_json_out_string(out, "reserved", NULL);
    }
    vfm_json_out_end(out);
}

char *vfm_host_to_json(const VfmHost *host)
{
    VfmJsonOut *out = vfm_json_out_new(true);

    vfm_json_out_object(out, NULL);
    vfm_json_out_string(out, "format", VFM_HOST_JSON_FORMAT);
    vfm_json_out_string(out, "name", host->name);
    vfm_json_out_string(out, "kernel", host->kernel);
    vfm_json_out_maybe(out, "memory", host->memory);
    vfm_json_out_maybe(out, "page_size", host->page_size);
    vfm_json_out_maybe(out, "phys_bits", host->phys_bits);
    if (host->thp_known && !host->thp_size.set)
        vfm_json_out_string(out, "thp_size", "none");
    else
        vfm_json_out_maybe(out, "thp_size", host->thp_size);
    vfm_json_out_maybe(out, "default_hugepage", host->default_hugepage);
    write_hugepages(out, host);
    vfm_json_out_maybe(out, "dma_entry_limit", host->dma_entry_limit);
    vfm_json_out_maybe(out, "kvm_memslots", host->kvm_memslots);
    vfm_json_out_switch(out, "iommu", host->iommu);
    vfm_json_out_switch(out, "interrupt_remapping", host->interrupt_remapping);
    vfm_json_out_switch(out, "unsafe_interrupts", host->unsafe_interrupts);
    vfm_json_out_switch(out, "iommufd", host->iommufd);
    vfm_json_out_switch(out, "vfio_compat", host->vfio_compat);
    vfm_json_out_array(out, "groups");
    for (guint i = 0; i < host->groups->len; i++)
        write_group(out, g_ptr_array_index(host->groups, i));
    vfm_json_out_end(out);
    vfm_json_out_end(out);
    return vfm_json_out_finish(out);
}

const char *vfm_reserved_type_name(VfmReservedType type)
{
    static const char *const names[] = {"direct", "direct-relaxable", "reserved", "msi"};

    return (size_t)type < G_N_ELEMENTS(names) ? names[type] : "unknown";
}
