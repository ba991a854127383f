/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * place.h - which devices and which backend a lab test has.
 *
 * L1's init names the devices in LAB_DEVICES (each in a group of its own) and
 * LAB_GROUP (all in one group); VFIOMEM_LAB_BACKEND says "type1" or "iommufd".
 * A group's descriptor is opened once and duplicated, as Linux wants it.
 */
#pragma once

#include "backend.h"

bool place_is_iommufd(void);

/* Address of device @index of LAB_DEVICES or, with @shared, of LAB_GROUP. Borrowed. */
const char *place_device(unsigned index, bool shared);
/* IOMMU group of a device. */
int place_group(const char *address);

/* A new backend of the chosen kind; iommufd charges to the process, so that both count alike. */
VfmBackend *place_backend(void);
/* A descriptor of @address to attach: its cdev, or (a duplicate of) its group. The caller's. */
int place_open(const char *address);
/* Bytes of guest memory this process holds by mappings, as the kernel counts: what type1 charges (VmLck),
 * what iommufd has pinned (VmPin, as with CAP_IPC_LOCK it charges nothing). */
uint64_t place_held(void);
/* Closes the groups opened by place_open(): needed before somebody else can open them. */
void place_close_groups(void);
