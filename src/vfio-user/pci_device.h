/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pci_device.h - a PCI device of the kernel's VFIO, offered over vfio-user.
 *
 * The other end of vfu_session.h: each vfio-user command becomes the ioctl, pread or
 * pwrite that QEMU's own vfio-pci would make on the device's descriptor, and DMA
 * goes to the guest's one set of mappings (guest_dma.h). The helper is on no data path: BARs are
 * mapped by QEMU from the descriptor it is given, interrupts are QEMU's or KVM's own
 * eventfds, handed to the kernel.
 *
 * Half-mapped devices. QEMU acts on a failed map only where virtio-mem asked for it: then the very next message is an
 * unmap of the whole request, sent as soon as the answer is seen (QEMU hw/vfio/listener.c, populate). In a memory
 * transaction (start, hot-add, DIMMs, BAR and firmware changes) it prints the failure and goes on (QEMU
 * hw/vfio-user/container.c), and the guest would run with memory this device can't reach. So a range that failed is
 * remembered. If a message comes that leaves it out, an access to the device or one about other memory, or if none
 * comes for about a second, QEMU has gone on, and the device's bus mastering is held off, which the guest does not see,
 * until no such range is left. Nothing tells the one from the other before: a DIMM's map, too, is sent alone and
 * awaited. In that second the IOMMU refuses what the device would do there. Each change is told through the notice
 * callback.
 *
 * Survival. What can't be asked of the kernel stands in VfmPciDeviceState, which may lie in memory that outlives the
 * process. Every order of a store and an access to the device is one that a successor can finish
 * (vfm_pci_device_resume) or that the message does again when it is repeated; accesses to the device's registers are
 * then made twice.
 *
 * The device's descriptor is the container's that it is attached to, which must outlive this. Threads: the
 * session's; vfm_pci_device_held() from any.
 */
#pragma once

#include "guest_dma.h"
#include "pci_vectors.h"
#include "vfu_session.h"

typedef struct VfmPciDevice VfmPciDevice;

/* How many ranges that failed are remembered one by one; beyond, the nearest two become one with what is between them.
 * The device then is held longer than it need be, never shorter. */
enum { VFM_PCI_DEVICE_FAILED = 128 };

typedef struct {
    uint32_t count, unused;
    VfmIovaRange ranges[VFM_PCI_DEVICE_FAILED];
} VfmPciDeviceFailed;

/* All zeroes: a device at its beginning. Written by the device's functions only. Of @failed, one counts; a change is
 * written to the other, and one store makes it the one. */
typedef struct {
    uint32_t held;             /* 0: no; 1: bus mastering is held off; 2: is being let go */
    uint32_t guest_bus_master; /* what the guest believes */
    uint32_t current, unused;
    VfmPciDeviceFailed failed[2]; /* ranges of guest memory that could not be mapped and still are the guest's */
    VfmPciVectorsState vectors;   /* its descriptors are the device's */
} VfmPciDeviceState;

typedef enum {
    VFM_PCI_HELD,     /* kept from DMA */
    VFM_PCI_RELEASED, /* may do DMA again */
    VFM_PCI_FAILED,   /* memory was not mapped, or not unmapped */
    VFM_PCI_LOST      /* its client broke the connection: the guest has it no more */
} VfmPciNotice;

/* What happened, and one line of it for a person. From the session's thread, or the one
 * that resumes the device: what a predecessor had told may then be told again. */
typedef void (*VfmPciDeviceNotice)(VfmPciNotice kind, const char *device, const char *text, gpointer data);

/* @name ("0000:01:00.0", copied), its descriptor @fd and the guest's @dma are borrowed, and so is @state, which is made
 * a beginning (NULL: in memory of its own). Errors: VFM_SYSTEM_ERROR if the kernel does not describe the device;
 * VFM_INPUT_UNSUPPORTED if it is no PCI device; VFM_REFUSED_BUDGET if @dma's ledger is full. */
VfmPciDevice *vfm_pci_device_new(const char *name, int fd, VfmGuestDma *dma, VfmPciDeviceState *state,
                                 VfmPciDeviceNotice notice, gpointer data, GError **error);

/* The same for a device that a predecessor had, with the @state it left and its client of @dma (rejoined; if it had
 * left already, anew). The guest notices nothing. Errors: the same. */
VfmPciDevice *vfm_pci_device_resume(const char *name, int fd, VfmGuestDma *dma, VfmPciDeviceState *state,
                                    VfmPciDeviceNotice notice, gpointer data, GError **error);

/* After its session was freed. */
void vfm_pci_device_free(VfmPciDevice *device);

/* What a session serves. */
VfmVfuDevice *vfm_pci_device_vfu(VfmPciDevice *device);

/* Whether the kernel can reset it alone. If not, the guest's reset leaves it as it is, and at its end it is silenced
 * and no more: the kernel then resets what shares a slot or bus when the last of it is closed, if it can. */
bool vfm_pci_device_can_reset(const VfmPciDevice *device);

/* Whether its bus mastering is held off. */
bool vfm_pci_device_held(VfmPciDevice *device);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmPciDevice, vfm_pci_device_free)
