/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection.h - a libvirt daemon, for programs that do not link libvirt.
 *
 * What it is: the few public libvirt calls vfiomem needs, behind a module that
 * is loaded at the first of them (loading libvirt takes longer than checking a
 * domain, and most calls of `vfiomem` need no daemon).
 * What it owns: the loaded module, for the rest of the process. A connection
 * lives for one call. What it never does: run inside the hook (a hook that
 * calls libvirt deadlocks the daemon), or change anything but by
 * vfm_connection_define() and vfm_connection_monitor().
 *
 * @uri is libvirt's, NULL = libvirt's own default. @domain is a name or a UUID.
 * Errors: VFM_INPUT_ERROR where the caller's domain, XML or URI is off,
 * VFM_REFUSED (VFM_REFUSED_STATE) where the domain is not in the right state,
 * VFM_SYSTEM_ERROR for the rest: no module, no daemon, no permission.
 * Threads: calls may come from any thread; each opens its own connection.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "domain.h"

/* The domain's XML as `virsh dumpxml [--inactive]` prints it; newly allocated.
 * The versions are the daemon's libvirt and its hypervisor's, as VFM_VERSION
 * numbers, 0 if it does not say; either pointer may be NULL. */
char *vfm_connection_domain_xml(const char *uri, const char *domain, bool inactive, unsigned *libvirt_version,
                                unsigned *qemu_version, GError **error);

/* The names of all domains, sorted; free with g_strfreev(). */
char **vfm_connection_domain_names(const char *uri, GError **error);

/* virsh define --validate. */
bool vfm_connection_define(const char *uri, const char *xml, GError **error);

/* Sends one QMP command, as JSON, to a running domain's monitor and returns
 * QEMU's reply as JSON, an error reply included; newly allocated. libvirt marks
 * the domain tainted (custom-monitor). */
char *vfm_connection_monitor(const char *uri, const char *domain, const char *command, GError **error);

/* Finds out what <interface type='network'> stands for: entries of
 * @domain->assigned that are unresolved become PCI devices where their network
 * is a pool of hostdev forward mode (the address stays NULL: libvirt picks one
 * at start), and are removed where it is not. Networks the daemon does not know stay unresolved. */
bool vfm_connection_resolve(const char *uri, VfmDomain *domain, GError **error);

/* The daemon's and its hypervisor's versions, VFM_VERSION numbers, 0 if unknown. */
bool vfm_connection_versions(const char *uri, unsigned *libvirt_version, unsigned *qemu_version, GError **error);
