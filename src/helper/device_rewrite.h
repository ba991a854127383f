/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device_rewrite.h - QEMU's vfio-pci made a vfio-user-pci of ours.
 *
 * In helper mode an ordinary <hostdev> reaches QEMU as vfio-user-pci: what says
 * where the device sits in the guest (id, bus, addr, bootindex, rom, multifunction)
 * is kept, what says where it is in the host is taken out. An option that a
 * vfio-user-pci has no place for is an error before anything starts, never dropped.
 *
 * The result always is JSON: only in that form can the socket be named (QEMU
 * docs/system/devices/vfio-user.rst). Pure functions on text. Threads: no state.
 */
#pragma once

#include "device_arg.h"

/* Whether @arg (of -device or device_add) is a device of QEMU's own VFIO. */
bool vfm_device_is_vfio_pci(const VfmDeviceArg *arg);

/* The host's address of it, in full ("0000:01:00.0"). To be freed. Errors: VFM_INPUT_UNSUPPORTED for a device that
 * is named otherwise (sysfsdev of an mdev, a descriptor from libvirt's iommufd). */
char *vfm_device_host_address(const VfmDeviceArg *arg, GError **error);

/* The JSON of its replacement, served at @socket; QEMU waits @timeout_ms for each answer. To be freed. Errors:
 * VFM_INPUT_UNSUPPORTED names the option that can't be kept. */
char *vfm_device_rewrite(const VfmDeviceArg *arg, const char *socket, unsigned timeout_ms, GError **error);
