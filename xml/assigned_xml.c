/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <hostdev>, <interface> and <disk>: every door through which a device reaches guest memory. */
#include "parts.h"

#include <string.h>

char *vfm_xml_pci_address(const VfmXmlReader *reader, const xmlNode *address)
{
    VfmMaybe domain, bus, slot, function;

    if (!vfm_xml_number_attribute(reader, address, "domain", 0, G_MAXUINT32, &domain) ||
        !vfm_xml_number_attribute(reader, address, "bus", 0, 0xff, &bus) ||
        !vfm_xml_number_attribute(reader, address, "slot", 0, 0x1f, &slot) ||
        !vfm_xml_number_attribute(reader, address, "function", 0, 7, &function))
        return NULL;
    if (domain.value == 0 && bus.value == 0 && slot.value == 0) {
        vfm_xml_fail(reader, address, VFM_INPUT_SYNTAX,
                     "<address> of a host PCI device needs a domain, a bus or a slot above 0");
        return NULL;
    }
    return g_strdup_printf("%04x:%02x:%02x.%x", (unsigned)domain.value, (unsigned)bus.value, (unsigned)slot.value,
                           (unsigned)function.value);
}

/* What hostdevs and interfaces have alike. */
static bool read_common(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain, VfmAssigned *assigned)
{
    g_autofree char *address_type = NULL;
    xmlNode *driver, *address, *alias;
    VfmSwitch managed, iommufd;

    if (!vfm_xml_only_child(reader, node, "driver", &driver) ||
        !vfm_xml_only_child(reader, node, "address", &address) || !vfm_xml_only_child(reader, node, "alias", &alias) ||
        !vfm_xml_yes_no(reader, node, "managed", &managed) || !vfm_xml_yes_no(reader, driver, "iommufd", &iommufd))
        return false;
    assigned->managed = managed == VFM_ON;
    /* <iommufd enabled='yes'> of the domain holds for each device that does not say otherwise. */
    assigned->iommufd = iommufd == VFM_ON || (iommufd == VFM_ABSENT && domain->iommufd_domain);
    assigned->driver = vfm_xml_attribute(driver, "model");
    if (!assigned->driver)
        assigned->driver = vfm_xml_attribute(driver, "name");
    address_type = vfm_xml_attribute(address, "type");
    assigned->unassigned = address_type && strcmp(address_type, "unassigned") == 0;
    assigned->alias = vfm_xml_attribute(alias, "name");
    assigned->line = vfm_xml_line(node);
    return true;
}

static bool read_source_address(const VfmXmlReader *reader, const xmlNode *node, xmlNode **address)
{
    xmlNode *source;

    if (!vfm_xml_only_child(reader, node, "source", &source) || !vfm_xml_only_child(reader, source, "address", address))
        return false;
    if (!*address)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<%s> has no <source><address>", (const char *)node->name);
    return true;
}

static bool read_hostdev(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain)
{
    g_autofree char *mode = vfm_xml_attribute(node, "mode");
    g_autofree char *type = vfm_xml_attribute(node, "type");
    VfmAssigned *assigned;
    xmlNode *address;
    bool pci;

    if (!type)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<hostdev> has no type");
    pci = strcmp(type, "pci") == 0;
    /* USB, SCSI and vhost-scsi pass requests, not guest memory; capabilities are containers'. */
    if ((mode && strcmp(mode, "subsystem") != 0) || (!pci && strcmp(type, "mdev") != 0))
        return true;
    assigned = vfm_domain_add_assigned(domain, pci ? VFM_ASSIGNED_PCI : VFM_ASSIGNED_MDEV, VFM_VIA_HOSTDEV);
    if (!read_common(reader, node, domain, assigned) || !read_source_address(reader, node, &address))
        return false;
    if (pci) {
        assigned->address = vfm_xml_pci_address(reader, address);
        return assigned->address != NULL;
    }
    assigned->managed = false; /* libvirt ignores it for mediated devices */
    assigned->model = vfm_xml_attribute(node, "model");
    assigned->address = vfm_xml_attribute(address, "uuid");
    if (!assigned->address || !assigned->address[0])
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<hostdev type='mdev'> has no uuid in its <address>");
    return true;
}

static bool read_hostdev_interface(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain)
{
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE);
    xmlNode *address;

    if (!read_common(reader, node, domain, assigned) || !read_source_address(reader, node, &address))
        return false;
    assigned->address = vfm_xml_pci_address(reader, address);
    return assigned->address != NULL;
}

/* An interface of a network is an assigned device if the network is a pool of them. The status file says so in
 * <actual>; where libvirt has made another kind of port of it, the port's id or its bridge shows. A domain id alone
 * says nothing: hooks see the domain of a starting guest before its networks are looked at. */
static bool read_network_interface(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain)
{
    VfmAssigned *assigned;
    xmlNode *actual, *source, *address;
    g_autofree char *actual_type = NULL;
    g_autofree char *bridge = NULL;
    g_autofree char *port = NULL;

    if (!vfm_xml_only_child(reader, node, "actual", &actual) || !vfm_xml_only_child(reader, node, "source", &source))
        return false;
    actual_type = vfm_xml_attribute(actual, "type");
    bridge = vfm_xml_attribute(source, "bridge");
    port = vfm_xml_attribute(source, "portid");
    if ((actual_type && strcmp(actual_type, "hostdev") != 0) || (!actual_type && (port || bridge)))
        return true;
    assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_PCI, VFM_VIA_INTERFACE);
    if (!read_common(reader, node, domain, assigned))
        return false;
    assigned->network = vfm_xml_attribute(source, "network");
    if (!assigned->network)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<interface type='network'> names no network");
    assigned->unresolved = actual_type == NULL;
    if (actual_type) {
        VfmSwitch managed;

        if (!vfm_xml_yes_no(reader, actual, "managed", &managed) || !read_source_address(reader, actual, &address))
            return false;
        assigned->managed = managed == VFM_ON;
        assigned->address = vfm_xml_pci_address(reader, address);
        return assigned->address != NULL;
    }
    return true;
}

static bool read_vdpa(const VfmXmlReader *reader, const xmlNode *node, VfmAssignedVia via, VfmDomain *domain)
{
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_VDPA, via);
    xmlNode *source;

    if (!read_common(reader, node, domain, assigned) || !vfm_xml_only_child(reader, node, "source", &source))
        return false;
    assigned->address = vfm_xml_attribute(source, "dev");
    if (!assigned->address || !assigned->address[0])
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "<%s> of a vDPA device has no <source dev=>",
                            (const char *)node->name);
    assigned->managed = false;
    return true;
}

static bool read_interface(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain)
{
    g_autofree char *type = vfm_xml_attribute(node, "type");

    if (!type) /* libvirt takes "user" */
        return true;
    if (strcmp(type, "hostdev") == 0)
        return read_hostdev_interface(reader, node, domain);
    if (strcmp(type, "network") == 0)
        return read_network_interface(reader, node, domain);
    if (strcmp(type, "vdpa") == 0)
        return read_vdpa(reader, node, VFM_VIA_INTERFACE, domain);
    return true;
}

static bool read_nvme(const VfmXmlReader *reader, const xmlNode *node, const xmlNode *disk, VfmDomain *domain)
{
    VfmAssigned *assigned = vfm_domain_add_assigned(domain, VFM_ASSIGNED_NVME, VFM_VIA_DISK);
    xmlNode *source, *address, *alias;
    VfmSwitch managed;

    if (!vfm_xml_only_child(reader, node, "source", &source) || !read_source_address(reader, node, &address) ||
        !vfm_xml_yes_no(reader, source, "managed", &managed) || !vfm_xml_only_child(reader, disk, "alias", &alias))
        return false;
    assigned->managed = managed == VFM_ON;
    assigned->alias = vfm_xml_attribute(alias, "name");
    assigned->line = vfm_xml_line(node);
    assigned->address = vfm_xml_pci_address(reader, address);
    return assigned->address != NULL;
}

/* An image and the images below it: any of them may be on an NVMe drive. The tree's depth is bounded by libxml2. */
static bool read_disk_chain(const VfmXmlReader *reader, const xmlNode *node, const xmlNode *disk, VfmDomain *domain)
{
    static const char *const below[] = {"backingStore", "mirror", "dataStore"};
    g_autofree char *type = vfm_xml_attribute(node, "type");
    const xmlNode *source = vfm_xml_child(node, "source");
    xmlNode *next;

    if (type && strcmp(type, "nvme") == 0 && !read_nvme(reader, node, disk, domain))
        return false;
    if (type && strcmp(type, "vhostvdpa") == 0 && !read_vdpa(reader, node, VFM_VIA_DISK, domain))
        return false;
    for (gsize i = 0; i < G_N_ELEMENTS(below); i++) {
        if (!vfm_xml_only_child(reader, node, below[i], &next) ||
            (next && !read_disk_chain(reader, next, disk, domain)))
            return false;
    }
    next = vfm_xml_child(source, "dataStore");
    return !next || read_disk_chain(reader, next, disk, domain);
}

/* The numbers of libvirt's "hostdevN" aliases: interfaces come first, then the others, whatever they pass through
 * (qemuAssignDeviceAliases). */
typedef struct {
    unsigned interface, hostdev;
} AliasNumbers;

static bool takes_alias(const xmlNode *node)
{
    g_autofree char *type = vfm_xml_attribute(node, "type");
    g_autofree char *given = vfm_xml_attribute(vfm_xml_child(node, "alias"), "name");

    return !given && (vfm_xml_is(node, "hostdev") || (type && strcmp(type, "hostdev") == 0));
}

static AliasNumbers first_numbers(const xmlNode *devices)
{
    AliasNumbers numbers = {0, 0};

    for (xmlNode *node = vfm_xml_child(devices, "interface"); node; node = vfm_xml_next(node, "interface"))
        numbers.hostdev += takes_alias(node);
    return numbers;
}

static bool read_device(const VfmXmlReader *reader, const xmlNode *node, VfmDomain *domain, AliasNumbers *numbers)
{
    guint before = domain->assigned->len;
    bool hostdev = vfm_xml_is(node, "hostdev");
    unsigned number;

    if (vfm_xml_is(node, "disk"))
        return read_disk_chain(reader, node, node, domain);
    if (!hostdev && !vfm_xml_is(node, "interface"))
        return true;
    if (!(hostdev ? read_hostdev(reader, node, domain) : read_interface(reader, node, domain)))
        return false;
    if (!takes_alias(node))
        return true;
    number = hostdev ? numbers->hostdev++ : numbers->interface++;
    if (domain->assigned->len > before)
        ((VfmAssigned *)domain->assigned->pdata[before])->implicit_alias = g_strdup_printf("hostdev%u", number);
    return true;
}

bool vfm_xml_read_assigned(const VfmXmlReader *reader, const xmlNode *devices, VfmDomain *domain)
{
    AliasNumbers numbers = first_numbers(devices);

    /* Document order, so that a person finds the first device of the file first. */
    for (xmlNode *node = vfm_xml_child(devices, NULL); node; node = vfm_xml_next(node, NULL)) {
        if (!read_device(reader, node, domain, &numbers))
            return false;
    }
    return true;
}
