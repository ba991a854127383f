/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <memballoon>, <iommu>, <launchSecurity>, and the devices libvirt adds by itself. */
#include "parts.h"

#include <string.h>

/* qemuDomainDefAddDefaultDevices() of libvirt 12; 9.0 differs on isapc and RISC-V only. */
static bool has_default_balloon(const VfmDomain *domain)
{
    static const char *const others[] = {"alpha", "ppc", "sh4", "sh4eb", "sparc64", "mips", "mipsel", "mips64", NULL};
    const char *machine = domain->machine_name ? domain->machine_name : "";

    if (domain->arch == VFM_ARCH_X86_64 || domain->arch == VFM_ARCH_I686)
        return strcmp(machine, "isapc") != 0 && strcmp(machine, "microvm") != 0;
    return domain->arch == VFM_ARCH_PPC64 || domain->arch == VFM_ARCH_S390X ||
           (domain->arch == VFM_ARCH_OTHER && g_strv_contains(others, domain->arch_name));
}

static bool read_balloon(const VfmXmlReader *reader, const xmlNode *devices, VfmDomain *domain)
{
    VfmBalloon *balloon = &domain->balloon;
    xmlNode *node;

    if (!vfm_xml_only_child(reader, devices, "memballoon", &node))
        return false;
    if (!node) {
        balloon->present = balloon->implicit = has_default_balloon(domain);
        balloon->model = g_strdup(balloon->present ? "virtio" : "none");
        return true;
    }
    balloon->line = vfm_xml_line(node);
    balloon->model = vfm_xml_attribute(node, "model");
    if (!balloon->model)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<memballoon> has no model");
    balloon->present = strcmp(balloon->model, "none") != 0;
    return vfm_xml_on_off(reader, node, "freePageReporting", &balloon->free_page_reporting) &&
           vfm_xml_on_off(reader, node, "autodeflate", &balloon->autodeflate);
}

static VfmIommuModel iommu_from_name(const char *name)
{
    static const char *const names[] = {"intel", "amd", "smmuv3", "virtio"};

    for (gsize i = 0; i < G_N_ELEMENTS(names); i++) {
        if (strcmp(name, names[i]) == 0)
            return (VfmIommuModel)i;
    }
    return VFM_IOMMU_OTHER;
}

static bool read_iommu(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain)
{
    char *model = vfm_xml_attribute(node, "model");
    VfmIommu *iommu;
    xmlNode *driver;

    if (!model)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<iommu> has no model");
    iommu = vfm_domain_add_iommu(domain, iommu_from_name(model));
    iommu->model_name = model;
    iommu->line = vfm_xml_line(node);
    return vfm_xml_only_child(reader, node, "driver", &driver) &&
           vfm_xml_on_off(reader, driver, "caching_mode", &iommu->caching_mode) &&
           vfm_xml_on_off(reader, driver, "intremap", &iommu->intremap) &&
           vfm_xml_on_off(reader, driver, "eim", &iommu->eim) &&
           vfm_xml_on_off(reader, driver, "iotlb", &iommu->iotlb) &&
           vfm_xml_on_off(reader, driver, "dma_translation", &iommu->dma_translation) &&
           vfm_xml_on_off(reader, driver, "passthrough", &iommu->passthrough) &&
           vfm_xml_number_attribute(reader, driver, "aw_bits", 10, 64, &iommu->aw_bits);
}

/* libvirt takes several smmuv3, each behind a PCI bus of its own, and one of any other model. */
static bool check_only_iommu(const VfmXmlReader *reader, const xmlNode *node, const VfmDomain *domain)
{
    const VfmIommu *first = g_ptr_array_index(domain->iommus, 0);
    const VfmIommu *last = g_ptr_array_index(domain->iommus, domain->iommus->len - 1);

    if (first == last || (first->model == VFM_IOMMU_SMMUV3 && last->model == VFM_IOMMU_SMMUV3))
        return true;
    return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                        "<iommu> stands here again; the first one is in line %u, and only smmuv3 may be there twice",
                        first->line);
}

/* More than 255 vCPUs need extended interrupt mode; libvirt gives such a q35 guest an Intel IOMMU. */
static void add_implicit_iommu(VfmDomain *domain)
{
    VfmIommu *iommu;

    if (domain->live || domain->machine != VFM_MACHINE_Q35 || domain->vcpus <= 255 || domain->iommus->len > 0)
        return;
    iommu = vfm_domain_add_iommu(domain, VFM_IOMMU_INTEL);
    iommu->model_name = g_strdup("intel");
    iommu->intremap = VFM_ON;
    iommu->eim = VFM_ON;
    iommu->implicit = true;
}

bool vfm_xml_read_devices(const VfmXmlReader *reader, const xmlNode *root, const xmlNode *devices, VfmDomain *domain)
{
    xmlNode *security;

    if (!read_balloon(reader, devices, domain))
        return false;
    for (xmlNode *node = vfm_xml_child(devices, "iommu"); node; node = vfm_xml_next(node, "iommu")) {
        if (!read_iommu(reader, node, domain) || !check_only_iommu(reader, node, domain))
            return false;
    }
    add_implicit_iommu(domain);
    if (!vfm_xml_only_child(reader, root, "launchSecurity", &security))
        return false;
    if (security) {
        domain->launch_security_line = vfm_xml_line(security);
        domain->launch_security = vfm_xml_attribute(security, "type");
        if (!domain->launch_security)
            return vfm_xml_fail(reader, security, VFM_INPUT_SYNTAX, "<launchSecurity> has no type");
    }
    return true;
}
