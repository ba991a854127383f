/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device_context.h - the one DMA context that all devices of a guest share, and what is mapped in it.
 *
 * Owns the container and the guest's set of mappings, both made with the first device, and opens and attaches devices.
 * What it holds is noted in the shared state (devices_state.h) so that a successor adopts it: a device from the store
 * of its slot's stage on, by the caller. Never asks for more than QEMU has: it runs as QEMU's user with QEMU's
 * limits, and opens the files that QEMU would open.
 *
 * Threads: the caller's; sessions meet it in guest_dma's lock.
 */
#pragma once

#include "devices_state.h"

typedef struct VfmDeviceContext VfmDeviceContext;

/* @state is borrowed; of @policy backend, budget and windows are copied. Never fails: the kernel is asked with the
 * first device. */
VfmDeviceContext *vfm_device_context_new(const VfmPolicy *policy, VfmDevicesState *state);
/* No device may be left. */
void vfm_device_context_free(VfmDeviceContext *context);

/* Adopts the context and the devices of all slots that are served. A device that can't be is dead from then
 * on (silenced, its descriptors closed); if the context can't be, false: all are. */
bool vfm_device_context_resume(VfmDeviceContext *context, GError **error);
/* After each device's client has been taken up: what no device has is unmapped. */
void vfm_device_context_resumed(VfmDeviceContext *context);

/* Opens @slot's device and attaches it. Fills in what the slot holds. Errors: those of vfio_device.h and
 * vfm_container_attach(). */
bool vfm_device_context_attach(VfmDeviceContext *context, VfmDeviceSlot *slot, GError **error);
/* The slot is not served any more. */
void vfm_device_context_detach(VfmDeviceContext *context, const VfmDeviceSlot *slot);

/* NULL before the first device. */
VfmGuestDma *vfm_device_context_dma(const VfmDeviceContext *context);
bool vfm_device_context_is_iommufd(const VfmDeviceContext *context);
/* Zeroes before the first device. */
void vfm_device_context_usage(VfmDeviceContext *context, VfmContainerUsage *usage, VfmGuestDmaUsage *dma);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDeviceContext, vfm_device_context_free)
