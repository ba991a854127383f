/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qemu:override>: properties given to libvirt's own devices past its XML. */
#include "parts.h"

#include <string.h>

static bool in_qemu_namespace(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns &&
           strcmp((const char *)node->ns->href, VFM_QEMU_NAMESPACE) == 0 && strcmp((const char *)node->name, name) == 0;
}

/* The alias libvirt will give: of all hostdevs first the interfaces, then the others, each the next free number
 * (qemuAssignDeviceAliases). Index of the assigned device it names, -1 if none. */
static int find_hostdev(const xmlNode *devices, const VfmDomain *domain, const char *alias)
{
    static const char *const rounds[] = {"interface", "hostdev"};
    unsigned number = 0;

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = domain->assigned->pdata[i];

        if (assigned->alias && strcmp(assigned->alias, alias) == 0)
            return (int)i;
    }
    for (gsize round = 0; round < G_N_ELEMENTS(rounds); round++) {
        for (xmlNode *node = vfm_xml_child(devices, rounds[round]); node; node = vfm_xml_next(node, rounds[round])) {
            g_autofree char *type = vfm_xml_attribute(node, "type");
            g_autofree char *given = vfm_xml_attribute(vfm_xml_child(node, "alias"), "name");
            g_autofree char *automatic = NULL;

            if (given || (round == 0 && g_strcmp0(type, "hostdev") != 0))
                continue;
            automatic = g_strdup_printf("hostdev%u", number++);
            for (guint i = 0; strcmp(automatic, alias) == 0 && i < domain->assigned->len; i++) {
                const VfmAssigned *assigned = domain->assigned->pdata[i];

                if (assigned->line == vfm_xml_line(node) && assigned->via <= VFM_VIA_INTERFACE)
                    return (int)i;
            }
        }
    }
    return -1;
}

static VfmSwitch switch_from_text(const char *text)
{
    static const char *const on[] = {"on", "yes", "true", "1", NULL};

    return g_strv_contains(on, text) ? VFM_ON : VFM_OFF;
}

bool vfm_xml_apply_property(const VfmXmlReader *reader, const xmlNode *where, const xmlNode *devices, VfmDomain *domain,
                            const char *alias, const char *property, const char *value)
{
    if (strcmp(property, "x-balloon-allowed") == 0) {
        int index = find_hostdev(devices, domain, alias);

        if (index < 0)
            return vfm_xml_fail(reader, where, VFM_INPUT_CONFLICT,
                                "x-balloon-allowed is set for '%s', but no assigned device has that alias", alias);
        ((VfmAssigned *)domain->assigned->pdata[index])->balloon_allowed = switch_from_text(value);
    } else if (strcmp(alias, "balloon0") == 0 && strcmp(property, "free-page-reporting") == 0) {
        domain->balloon.free_page_reporting = switch_from_text(value);
    } else if (strcmp(alias, "balloon0") == 0 && strcmp(property, "deflate-on-oom") == 0) {
        domain->balloon.autodeflate = switch_from_text(value);
    }
    return true;
}

static bool read_property(const VfmXmlReader *reader, const xmlNode *property, const xmlNode *devices,
                          const char *alias, VfmDomain *domain)
{
    g_autofree char *name = vfm_xml_attribute(property, "name");
    g_autofree char *type = vfm_xml_attribute(property, "type");
    g_autofree char *value = vfm_xml_attribute(property, "value");

    if (!name || !type)
        return vfm_xml_fail(reader, property, VFM_INPUT_SYNTAX, "<qemu:property> needs a name and a type");
    if (strcmp(type, "remove") == 0 || !value)
        return true;
    return vfm_xml_apply_property(reader, property, devices, domain, alias, name, value);
}

static bool read_override_device(const VfmXmlReader *reader, const xmlNode *device, const xmlNode *devices,
                                 VfmDomain *domain)
{
    g_autofree char *alias = vfm_xml_attribute(device, "alias");

    if (!alias)
        return vfm_xml_fail(reader, device, VFM_INPUT_SYNTAX, "<qemu:device> of <qemu:override> has no alias");
    for (const xmlNode *frontend = device->children; frontend; frontend = frontend->next) {
        if (!in_qemu_namespace(frontend, "frontend"))
            continue;
        for (const xmlNode *property = frontend->children; property; property = property->next) {
            if (in_qemu_namespace(property, "property") && !read_property(reader, property, devices, alias, domain))
                return false;
        }
    }
    return true;
}

bool vfm_xml_read_override(const VfmXmlReader *reader, const xmlNode *root, const xmlNode *devices, VfmDomain *domain)
{
    for (const xmlNode *node = root->children; node; node = node->next) {
        if (!in_qemu_namespace(node, "override"))
            continue;
        for (const xmlNode *device = node->children; device; device = device->next) {
            if (in_qemu_namespace(device, "device") && !read_override_device(reader, device, devices, domain))
                return false;
        }
    }
    return true;
}
