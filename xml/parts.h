/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * parts.h - the parts of a domain, each with a reader of its own.
 *
 * Private to xml/. Each function reads the elements it is named after below
 * @root (the <domain> element) into @domain and fails by the reader's rules
 * (element.h). vfm_domain_xml_parse() calls them in the order given here: a later
 * one may look at what an earlier one stored.
 */
#pragma once

#include "element.h"

#define VFM_POLICY_NAMESPACE "urn:vfiomem:domain:1"
#define VFM_POLICY_NAMESPACE_FAMILY "urn:vfiomem:domain:"
#define VFM_QEMU_NAMESPACE "http://libvirt.org/schemas/domain/qemu/1.0"

/* machine_xml.c: <os>, <vcpu>, <cpu>, <devices><emulator>, <video> and <graphics> as far as the memory map needs them
 */
bool vfm_xml_read_machine(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);

/* memory_xml.c: <memory>, <currentMemory>, <maxMemory>, <memoryBacking>, <memtune>, NUMA cells */
bool vfm_xml_read_memory(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);

/* memory_device_xml.c: <devices><memory> */
bool vfm_xml_read_memory_devices(const VfmXmlReader *reader, const xmlNode *devices, VfmDomain *domain);

/* assigned_xml.c: <hostdev>, <interface>, <disk> through which a device gets at guest memory */
bool vfm_xml_read_assigned(const VfmXmlReader *reader, const xmlNode *devices, VfmDomain *domain);
/* "0000:01:00.0" of an <address> with domain, bus, slot, function; NULL on error. */
char *vfm_xml_pci_address(const VfmXmlReader *reader, const xmlNode *address);

/* devices_xml.c: <memballoon>, <iommu>, <launchSecurity> and what libvirt adds by itself */
bool vfm_xml_read_devices(const VfmXmlReader *reader, const xmlNode *root, const xmlNode *devices, VfmDomain *domain);

/* commandline_xml.c: qemu:commandline; override_xml.c: qemu:override */
bool vfm_xml_read_commandline(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);
bool vfm_xml_read_override(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);
/* Assigned devices by the names libvirt has or will have for them: VfmAssigned* that @domain owns. */
GHashTable *vfm_xml_aliases(const VfmDomain *domain);
/* Sets what device @alias gets from outside libvirt's XML. What is not for us is ignored, and so is an alias that no
 * device has: libvirt and QEMU say so themselves. */
void vfm_xml_apply_property(GHashTable *aliases, VfmDomain *domain, const char *alias, const char *property,
                            const char *value);

/* policy_xml.c: <metadata><vfiomem:policy> */
bool vfm_xml_read_policy(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);

/* consistency.c: sums, nodes that exist, addresses that overlap, devices given twice */
bool vfm_xml_check_domain(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain);
