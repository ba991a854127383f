/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * devices_state.h - what a successor of the process that serves devices needs, in memory that outlives it.
 *
 * Made by the supervisor before it makes workers, which share it at the same address. The connections are in
 * vfu_journal.h, what is mapped in dma_ledger.h, and the rest here as plain numbers and texts: a slot for each device,
 * the DMA context, and the conversation with the mediator.
 *
 * Who owns which descriptor, by number in the table that all workers share:
 *
 * - the start: what was open when the supervisor began (standard ones, control, QEMU's pidfd); ready until it is told
 * - the context: /dev/vfio/vfio or /dev/iommu, while a device is served
 * - a slot: its device and its group (one for all devices of a group), its listening socket, its interrupts' eventfds
 * - a journal: its connection, and the descriptors of messages until they are done
 * - the ledger: files of guest memory
 *
 * Every other number is nobody's, and a successor closes it before it opens anything. So what was being attached or
 * detached when a worker died is undone by the kernel; what the workers themselves need is opened anew by each.
 *
 * A slot's content counts from the store of its stage on.
 */
#pragma once

#include "container.h"
#include "devices_control.h"
#include "dma_ledger.h"
#include "pci_device.h"
#include "vfu_journal.h"

enum { VFM_DEVICE_SLOTS = 64 };

typedef enum {
    VFM_DEVICE_NONE, /* memory begins as zeroes */
    VFM_DEVICE_COMING,
    VFM_DEVICE_SERVED,
    VFM_DEVICE_DEAD, /* could not be taken over: only its connection is there, and answers */
    VFM_DEVICE_LEAVING
} VfmDeviceStage;

typedef struct {
    uint32_t stage;
    int32_t group;
    int32_t listener; /* -1 once QEMU has connected */
    char address[32];
    char path[112]; /* of the socket */
    VfmDeviceHold hold;
    VfmPciDeviceState pci;
} VfmDeviceSlot;

typedef struct {
    VfmBackendHold context; /* counts while a device is served */
    VfmDeviceSlot slots[VFM_DEVICE_SLOTS];
    uint32_t sockets;   /* so far, for their names */
    uint32_t accepting; /* a connection is being taken for the slot before this one; 0: none */
    uint32_t started;   /* vfiomem-qemu has been told */
    volatile uint32_t restarts;
    volatile uint64_t progress;
    VfmDevicesControl control;
} VfmDevicesShared;

struct VfmDevicesState {
    VfmDevicesShared *shared;
    VfmDmaLedger *ledger;
    VfmVfuJournal *journals[VFM_DEVICE_SLOTS]; /* of the slots' connections */
    GArray *start;                             /* of int: descriptors that are there for good */
    int ready;                                 /* to vfiomem-qemu, until it has been told; -1: nobody waits */
};

/* Errors: VFM_SYSTEM_ERROR. The descriptors that are open now are the start's, but for @ready. */
VfmDevicesState *vfm_devices_state_new(int ready, GError **error);
void vfm_devices_state_free(VfmDevicesState *state);

/* Brings everything to where the predecessor was, and closes what is nobody's. In a new process, before all else. */
void vfm_devices_state_recover(VfmDevicesState *state);

/* Closes what is nobody's; as long as there is one thread only. */
void vfm_devices_state_sweep(const VfmDevicesState *state);

bool vfm_device_slot_is_connected(const VfmDevicesState *state, unsigned slot);

/* Silences all devices and unmaps everything, with as little as possible of what may have been why workers crashed. */
void vfm_devices_state_give_up(const VfmDevicesState *state);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDevicesState, vfm_devices_state_free)
