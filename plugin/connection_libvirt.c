/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection_libvirt.c - the module vfiomem-libvirt.so: the one file that
 * includes libvirt. Only public API (libvirt.h, libvirt-qemu.h), each call on a
 * connection of its own.
 */
#include "connection_module.h"

#include <errno.h>
#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

G_DEFINE_AUTOPTR_CLEANUP_FUNC(virDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virNetwork, virNetworkFree)

/* virConnectClose returns how many references are left, which nobody here needs. */
static void close_connection(virConnect *connection)
{
    virConnectClose(connection);
}
G_DEFINE_AUTOPTR_CLEANUP_FUNC(virConnect, close_connection)

/* libvirt's last error as ours. @what says what was tried, on which object. */
static void take_error(GError **error, const char *what, const char *object)
{
    const virError *last = virGetLastError();
    const char *text = last && last->message ? last->message : "libvirt gave no reason";

    switch (last ? last->code : VIR_ERR_INTERNAL_ERROR) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_OS_TYPE:
    case VIR_ERR_NO_CONNECT:
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s '%s': %s", what, object, text);
        break;
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_DOM_EXIST:
    case VIR_ERR_OPERATION_DENIED:
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "%s '%s': %s", what, object, text);
        break;
    default:
        g_set_error(error, VFM_SYSTEM_ERROR, EIO, "%s '%s': %s", what, object, text);
    }
}

/* Errors are returned, not printed: libvirt's default handler writes to stderr. */
static void ignore_error(void *data, virErrorPtr error)
{
    (void)data;
    (void)error;
}

static virConnect *open_connection(const char *uri, bool read_only, GError **error)
{
    virConnect *connection;

    virSetErrorFunc(NULL, ignore_error);
    connection = read_only ? virConnectOpenReadOnly(uri) : virConnectOpen(uri);
    if (!connection) {
        take_error(error, "connecting to libvirt", uri ? uri : "(default URI)");
        vfm_error_append(error, "is its daemon running (systemctl status libvirtd virtqemud), and is that the libvirt "
                                "that was meant?");
    }
    return connection;
}

/* By name, then by UUID, as virsh does; a name that looks like a UUID wins. */
static virDomain *find_domain(virConnect *connection, const char *domain, GError **error)
{
    virDomain *found = virDomainLookupByName(connection, domain);

    if (!found) {
        found = virDomainLookupByUUIDString(connection, domain);
        if (!found) {
            /* The second error would only say that the text is no UUID. */
            found = virDomainLookupByName(connection, domain);
        }
    }
    if (!found)
        take_error(error, "looking up the domain", domain);
    return found;
}

static void read_versions(virConnect *connection, unsigned *libvirt_version, unsigned *qemu_version)
{
    unsigned long number = 0;

    if (libvirt_version)
        *libvirt_version = virConnectGetLibVersion(connection, &number) == 0 ? (unsigned)number : 0;
    number = 0;
    if (qemu_version)
        *qemu_version = virConnectGetVersion(connection, &number) == 0 ? (unsigned)number : 0;
}

/* libvirt allocates with malloc; callers of ours free with g_free. */
static char *own_string(char *from_libvirt)
{
    char *copy = g_strdup(from_libvirt);

    free(from_libvirt);
    return copy;
}

static char *domain_xml(const char *uri, const char *name, bool inactive, unsigned *libvirt_version,
                        unsigned *qemu_version, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, true, error);
    g_autoptr(virDomain) domain = connection ? find_domain(connection, name, error) : NULL;
    char *xml;

    if (!domain)
        return NULL;
    xml = virDomainGetXMLDesc(domain, inactive ? VIR_DOMAIN_XML_INACTIVE : 0);
    if (!xml) {
        take_error(error, "reading the XML of domain", name);
        return NULL;
    }
    read_versions(connection, libvirt_version, qemu_version);
    return own_string(xml);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static char **domain_names(const char *uri, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, true, error);
    virDomain **domains = NULL;
    char **names;
    int count;

    if (!connection)
        return NULL;
    count = virConnectListAllDomains(connection, &domains, 0);
    if (count < 0) {
        take_error(error, "listing the domains of", uri ? uri : "(default URI)");
        return NULL;
    }
    names = g_new0(char *, (gsize)count + 1);
    for (int i = 0; i < count; i++) {
        names[i] = g_strdup(virDomainGetName(domains[i]));
        virDomainFree(domains[i]);
    }
    free(domains);
    qsort(names, (size_t)count, sizeof *names, compare_names);
    return names;
}

static bool define(const char *uri, const char *xml, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, false, error);
    g_autoptr(virDomain) domain = NULL;

    if (!connection)
        return false;
    domain = virDomainDefineXMLFlags(connection, xml, VIR_DOMAIN_DEFINE_VALIDATE);
    if (!domain)
        take_error(error, "defining the domain through", uri ? uri : "(default URI)");
    return domain != NULL;
}

static char *monitor(const char *uri, const char *name, const char *command, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, false, error);
    g_autoptr(virDomain) domain = connection ? find_domain(connection, name, error) : NULL;
    char *reply = NULL;

    if (!domain)
        return NULL;
    if (virDomainQemuMonitorCommand(domain, command, &reply, VIR_DOMAIN_QEMU_MONITOR_COMMAND_DEFAULT) < 0) {
        take_error(error, "sending a monitor command to domain", name);
        return NULL;
    }
    return own_string(reply);
}

static bool versions(const char *uri, unsigned *libvirt_version, unsigned *qemu_version, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, true, error);

    if (connection)
        read_versions(connection, libvirt_version, qemu_version);
    return connection != NULL;
}

static GPtrArray *networks_xml(const char *uri, const GPtrArray *names, GError **error)
{
    g_autoptr(virConnect) connection = open_connection(uri, true, error);
    g_autoptr(GPtrArray) answers = g_ptr_array_new_with_free_func(g_free);

    if (!connection)
        return NULL;
    for (guint i = 0; i < names->len; i++) {
        const char *name = names->pdata[i];
        g_autoptr(virNetwork) network = virNetworkLookupByName(connection, name);
        char *xml;

        if (!network && virGetLastErrorCode() == VIR_ERR_NO_NETWORK) {
            g_ptr_array_add(answers, NULL);
            continue;
        }
        xml = network ? virNetworkGetXMLDesc(network, 0) : NULL;
        if (!xml) {
            take_error(error, "reading the network", name);
            return NULL;
        }
        g_ptr_array_add(answers, own_string(xml));
    }
    return g_steal_pointer(&answers);
}

const VfmConnectionModule *vfm_connection_module(void)
{
    static const VfmConnectionModule module = {
        .abi = VFM_CONNECTION_ABI,
        .domain_xml = domain_xml,
        .domain_names = domain_names,
        .define = define,
        .monitor = monitor,
        .versions = versions,
        .networks_xml = networks_xml,
    };

    return &module;
}
