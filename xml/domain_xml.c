/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain_xml.h"

#include <string.h>

#include "document.h"
#include "parts.h"

G_STATIC_ASSERT(VFM_DOMAIN_XML_MAX == VFM_XML_SIZE_MAX);

/* The <domain> element of a plain domain or of libvirt's status file. */
static const xmlNode *find_domain(const VfmXmlReader *reader, xmlDoc *document, bool *live)
{
    const xmlNode *root = xmlDocGetRootElement(document);
    xmlNode *domain = NULL;

    *live = false;
    if (vfm_xml_is(root, "domain"))
        return root;
    if (vfm_xml_is(root, "domstatus")) {
        *live = true;
        if (!vfm_xml_only_child(reader, root, "domain", &domain))
            return NULL;
        if (!domain)
            vfm_xml_fail(reader, root, VFM_INPUT_SYNTAX, "<domstatus> holds no <domain>");
        return domain;
    }
    vfm_xml_fail(reader, root, VFM_INPUT_SYNTAX, "the root element is <%s>%s, not <domain>", (const char *)root->name,
                 root->ns ? " in a namespace" : "");
    return NULL;
}

/* type= decides who runs the guest; libvirt refuses a domain without. */
static bool read_identity(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    const char *type = domain->type = vfm_xml_attribute(root, "type");
    g_autofree char *id = vfm_xml_attribute(root, "id");
    g_autofree char *name = NULL;
    xmlNode *iommufd;
    VfmSwitch enabled;

    if (!type)
        return vfm_xml_fail(reader, root, VFM_INPUT_SYNTAX, "<domain> has no type; use type='kvm' or type='qemu'");
    if (strcmp(type, "kvm") == 0)
        domain->accel = VFM_ACCEL_KVM;
    else if (strcmp(type, "qemu") == 0)
        domain->accel = VFM_ACCEL_TCG;
    else /* hvf runs QEMU on macOS, kqemu is its oldest form; all others are other hypervisors */
        domain->foreign = strcmp(type, "hvf") != 0 && strcmp(type, "kqemu") != 0;
    domain->live = domain->live || (id && id[0] != '\0' && strcmp(id, "-1") != 0);
    if (!vfm_xml_child_text(reader, root, "name", &name) || !vfm_xml_child_text(reader, root, "uuid", &domain->uuid))
        return false;
    if (!vfm_xml_only_child(reader, root, "iommufd", &iommufd) || !vfm_xml_yes_no(reader, iommufd, "enabled", &enabled))
        return false;
    domain->iommufd_domain = enabled == VFM_ON;
    if (name) {
        g_free(domain->name);
        domain->name = g_steal_pointer(&name);
    }
    return true;
}

/* Everything through which a guest of QEMU gives memory away or lets devices at it. */
static bool read_qemu_devices(const VfmXmlReader *reader, const xmlNode *root, const xmlNode *devices,
                              VfmDomain *domain)
{
    return vfm_xml_read_assigned(reader, devices, domain) && vfm_xml_read_devices(reader, root, devices, domain) &&
           vfm_xml_read_override(reader, root, domain) && vfm_xml_read_commandline(reader, root, domain);
}

static bool read_domain(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    xmlNode *devices;

    return vfm_xml_check_prefixes(reader, root) && vfm_xml_only_child(reader, root, "devices", &devices) &&
           read_identity(reader, root, domain) && vfm_xml_read_machine(reader, root, domain) &&
           vfm_xml_read_memory(reader, root, domain) && vfm_xml_read_memory_devices(reader, devices, domain) &&
           (domain->foreign || read_qemu_devices(reader, root, devices, domain)) &&
           vfm_xml_read_policy(reader, root, domain) && vfm_xml_check_domain(reader, root, domain);
}

VfmDomain *vfm_domain_xml_parse(const char *text, gsize length, const char *file, GError **error)
{
    g_autoptr(xmlDoc) document = NULL;
    g_autoptr(VfmDomain) domain = NULL;
    g_autoptr(GError) failure = NULL;
    VfmXmlReader reader = {.file = file, .error = &failure};
    const xmlNode *root;
    bool live;

    document = vfm_xml_document_parse(text, length, file, error);
    if (!document)
        return NULL;
    domain = vfm_domain_new();
    root = find_domain(&reader, document, &live);
    domain->live = live;
    if (!root || !read_domain(&reader, root, domain)) {
        g_propagate_error(error, g_steal_pointer(&failure));
        return NULL;
    }
    return g_steal_pointer(&domain);
}
