/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "connection.h"

#include <errno.h>
#include <string.h>

#include "connection_module.h"
#include "error.h"
#include "module.h"
#include "network_xml.h"

/* The module; the first call loads it, and libvirt with it, for good. */
static const VfmConnectionModule *module(GError **error)
{
    typedef const VfmConnectionModule *(*Door)(void);
    union {
        gpointer symbol;
        Door door;
    } found = {.symbol = vfm_module_symbol("vfiomem-libvirt", VFM_CONNECTION_SYMBOL, error)};
    const VfmConnectionModule *libvirt;

    if (!found.symbol) {
        g_prefix_error(error, "talking to libvirt: ");
        return NULL;
    }
    libvirt = found.door();
    if (libvirt->abi != VFM_CONNECTION_ABI) {
        g_set_error(error, VFM_SYSTEM_ERROR, ELIBACC,
                    "talking to libvirt: module vfiomem-libvirt is of another version of vfiomem; install one version "
                    "completely");
        return NULL;
    }
    return libvirt;
}

char *vfm_connection_domain_xml(const char *uri, const char *domain, bool inactive, unsigned *libvirt_version,
                                unsigned *qemu_version, GError **error)
{
    const VfmConnectionModule *libvirt = module(error);

    return libvirt ? libvirt->domain_xml(uri, domain, inactive, libvirt_version, qemu_version, error) : NULL;
}

char **vfm_connection_domain_names(const char *uri, GError **error)
{
    const VfmConnectionModule *libvirt = module(error);

    return libvirt ? libvirt->domain_names(uri, error) : NULL;
}

bool vfm_connection_define(const char *uri, const char *xml, GError **error)
{
    const VfmConnectionModule *libvirt = module(error);

    return libvirt && libvirt->define(uri, xml, error);
}

char *vfm_connection_monitor(const char *uri, const char *domain, const char *command, GError **error)
{
    const VfmConnectionModule *libvirt = module(error);

    return libvirt ? libvirt->monitor(uri, domain, command, error) : NULL;
}

bool vfm_connection_versions(const char *uri, unsigned *libvirt_version, unsigned *qemu_version, GError **error)
{
    const VfmConnectionModule *libvirt = module(error);

    return libvirt && libvirt->versions(uri, libvirt_version, qemu_version, error);
}

bool vfm_connection_resolve(const char *uri, VfmDomain *domain, GError **error)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new();
    g_autoptr(GPtrArray) answers = NULL;
    const VfmConnectionModule *libvirt;

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = domain->assigned->pdata[i];

        if (assigned->unresolved && assigned->network)
            g_ptr_array_add(names, assigned->network);
    }
    if (names->len == 0)
        return true;
    libvirt = module(error);
    answers = libvirt ? libvirt->networks_xml(uri, names, error) : NULL;
    if (!answers)
        return false;

    /* From the end: an entry that is no device is removed, and takes its name with it. */
    for (guint i = domain->assigned->len, n = answers->len; i > 0; i--) {
        VfmAssigned *assigned = domain->assigned->pdata[i - 1];
        const char *xml;
        bool hostdev = false;

        if (!assigned->unresolved || !assigned->network)
            continue;
        xml = answers->pdata[--n];
        if (!xml)
            continue;
        if (!vfm_network_xml_is_hostdev(xml, strlen(xml), &hostdev, error)) {
            g_prefix_error(error, "network '%s': ", assigned->network);
            return false;
        }
        if (hostdev) {
            assigned->unresolved = false;
            assigned->managed = true; /* libvirt binds a pool's device itself */
        } else {
            g_ptr_array_remove_index(domain->assigned, i - 1);
        }
    }
    return true;
}
