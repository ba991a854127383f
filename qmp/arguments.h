/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * arguments.h - the guest that QEMU's arguments describe, in negotiation's words.
 *
 * libvirt tells QEMU everything that matters to guest memory on its command
 * line and later in device_add and object-add, in the same form: both are read
 * here. What is not about memory or assigned devices is passed over; what is
 * malformed as well, because QEMU will refuse it in its own words.
 *
 * Owns its domain and copies of the memory backends' definitions. Threads: one
 * at a time.
 */
#pragma once

#include "device_arg.h"
#include "domain.h"

typedef struct {
    VfmDomain *domain;
    GHashTable *backends; /* id -> VfmDeviceArg* of memory backends */
} VfmQemuArguments;

typedef enum { VFM_QEMU_OTHER, VFM_QEMU_ASSIGNED, VFM_QEMU_MEMORY, VFM_QEMU_BALLOON, VFM_QEMU_IOMMU } VfmQemuDevice;

/* From the NULL-terminated @argv, the program's name not among them. Never NULL. */
VfmQemuArguments *vfm_qemu_arguments_read(char *const *argv);
void vfm_qemu_arguments_free(VfmQemuArguments *arguments);

/* What kind of device a driver is; VFM_QEMU_OTHER for all that does not matter here. */
VfmQemuDevice vfm_qemu_device_kind(const char *driver);

/* Adds the device in @arg (of -device or device_add) to @domain. Returns its kind. */
VfmQemuDevice vfm_qemu_add_device(VfmDomain *domain, GHashTable *backends, const VfmDeviceArg *arg);

/* Remembers a memory backend (of -object or object-add); takes @arg over in any case. */
void vfm_qemu_add_backend(GHashTable *backends, VfmDeviceArg *arg);

/* New empty table for vfm_qemu_add_backend(). */
GHashTable *vfm_qemu_backends_new(void);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmQemuArguments, vfm_qemu_arguments_free)
