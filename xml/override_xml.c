/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <qemu:override>: properties given to libvirt's own devices past its XML. */
#include "parts.h"

#include <string.h>

static bool in_qemu_namespace(const xmlNode *node, const char *name)
{
    return node->type == XML_ELEMENT_NODE && node->ns &&
           strcmp((const char *)node->ns->href, VFM_QEMU_NAMESPACE) == 0 && strcmp((const char *)node->name, name) == 0;
}

GHashTable *vfm_xml_aliases(const VfmDomain *domain)
{
    GHashTable *aliases = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < domain->assigned->len; i++) {
        VfmAssigned *assigned = domain->assigned->pdata[i];
        const char *alias = assigned->alias ? assigned->alias : assigned->implicit_alias;

        if (alias)
            g_hash_table_insert(aliases, (gpointer)alias, assigned);
    }
    return aliases;
}

static VfmSwitch switch_from_text(const char *text)
{
    static const char *const on[] = {"on", "yes", "true", "1", NULL};

    return g_strv_contains(on, text) ? VFM_ON : VFM_OFF;
}

void vfm_xml_apply_property(GHashTable *aliases, VfmDomain *domain, const char *alias, const char *property,
                            const char *value)
{
    VfmAssigned *assigned = g_hash_table_lookup(aliases, alias);

    if (assigned && strcmp(property, "x-balloon-allowed") == 0)
        assigned->balloon_allowed = switch_from_text(value);
    else if (strcmp(alias, "balloon0") == 0 && strcmp(property, "free-page-reporting") == 0)
        domain->balloon.free_page_reporting = switch_from_text(value);
    else if (strcmp(alias, "balloon0") == 0 && strcmp(property, "deflate-on-oom") == 0)
        domain->balloon.autodeflate = switch_from_text(value);
}

static bool read_property(const VfmXmlReader *reader, const xmlNode *property, GHashTable *aliases, const char *alias,
                          VfmDomain *domain)
{
    g_autofree char *name = vfm_xml_attribute(property, "name");
    g_autofree char *type = vfm_xml_attribute(property, "type");
    g_autofree char *value = vfm_xml_attribute(property, "value");

    if (!name || !type)
        return vfm_xml_fail(reader, property, VFM_INPUT_SYNTAX, "<qemu:property> needs a name and a type");
    if (strcmp(type, "remove") == 0 || !value)
        return true;
    vfm_xml_apply_property(aliases, domain, alias, name, value);
    return true;
}

static bool read_override_device(const VfmXmlReader *reader, const xmlNode *device, GHashTable *aliases,
                                 VfmDomain *domain)
{
    g_autofree char *alias = vfm_xml_attribute(device, "alias");

    if (!alias)
        return vfm_xml_fail(reader, device, VFM_INPUT_SYNTAX, "<qemu:device> of <qemu:override> has no alias");
    for (const xmlNode *frontend = device->children; frontend; frontend = frontend->next) {
        if (!in_qemu_namespace(frontend, "frontend"))
            continue;
        for (const xmlNode *property = frontend->children; property; property = property->next) {
            if (in_qemu_namespace(property, "property") && !read_property(reader, property, aliases, alias, domain))
                return false;
        }
    }
    return true;
}

bool vfm_xml_read_override(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    g_autoptr(GHashTable) aliases = vfm_xml_aliases(domain);

    for (const xmlNode *node = root->children; node; node = node->next) {
        if (!in_qemu_namespace(node, "override"))
            continue;
        for (const xmlNode *device = node->children; device; device = device->next) {
            if (in_qemu_namespace(device, "device") && !read_override_device(reader, device, aliases, domain))
                return false;
        }
    }
    return true;
}
