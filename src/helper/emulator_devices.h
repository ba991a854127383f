/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emulator_devices.h - helper mode at QEMU's start: devices to the helper, vfio-user-pci to QEMU.
 *
 * Reads QEMU's arguments, refuses what can't work before anything starts (a QEMU
 * without vfio-user-pci, memory that can't be shared, a vIOMMU, options that can't
 * be kept), starts vfiomem-helper-devices with the devices' addresses, waits until it
 * serves them, and puts the sockets into the arguments. Everything else in them stays.
 */
#pragma once

#include "domain.h"

/* Bytes of RAM that the memory backends in @argv have. Errors: VFM_REFUSED_POLICY where one is not shared, or RAM has
 * no backend: the helper could then not reach the guest's memory. */
bool vfm_emulator_shared_memory(char *const *argv, uint64_t *bytes, GError **error);

/* Whether all devices in @argv see guest physical addresses, as the helper's one container has them. Error
 * VFM_REFUSED_POLICY where a vIOMMU may give them others; an intel-iommu with dma-translation=off does not. */
bool vfm_emulator_untranslated(char *const *argv, GError **error);

/* Addresses of the vfio-pci devices in @argv, in order: a new array of strings. */
GPtrArray *vfm_emulator_assigned(char *const *argv, GError **error);

/* Replaces them by vfio-user-pci at @sockets (NULL-terminated, in the same order); the new values stay allocated. On
 * failure @argv is as before. */
bool vfm_emulator_replace(char **argv, char *const *sockets, uint64_t ram, GError **error);

/* Milliseconds that QEMU shall wait for an answer of a guest with this much memory: mapping all of it is one answer. */
unsigned vfm_emulator_timeout(uint64_t ram);

/* All of the above. @emulator is the real one, @program vfiomem-helper-devices. Returns the mediator's end of the
 * control socket, or -1 and @error with @argv unchanged. */
int vfm_emulator_start_devices(const char *program, const char *emulator, char **argv, const VfmPolicy *policy,
                               GError **error);
