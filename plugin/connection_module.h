/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * connection_module.h - the door between connection.c and the module that
 * links libvirt, vfiomem-libvirt.so. Private to the two; they are built and
 * installed together, and the abi number refuses a mixture.
 *
 * Rules for all members: strings returned are g_malloc'ed; @error is set as
 * connection.h says; no state is kept between calls.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define VFM_CONNECTION_ABI 1u
#define VFM_CONNECTION_SYMBOL "vfm_connection_module"

typedef struct {
    unsigned abi;
    char *(*domain_xml)(const char *uri, const char *domain, bool inactive, unsigned *libvirt_version,
                        unsigned *qemu_version, GError **error);
    char **(*domain_names)(const char *uri, GError **error);
    bool (*define)(const char *uri, const char *xml, GError **error);
    char *(*monitor)(const char *uri, const char *domain, const char *command, GError **error);
    bool (*versions)(const char *uri, unsigned *libvirt_version, unsigned *qemu_version, GError **error);

    /* One XML or NULL per name, in order; NULL where the daemon has no such network. */
    GPtrArray *(*networks_xml)(const char *uri, const GPtrArray *names, GError **error);
} VfmConnectionModule;

const VfmConnectionModule *vfm_connection_module(void);
