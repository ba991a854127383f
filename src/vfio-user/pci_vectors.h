/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * pci_vectors.h - the eventfds of a device's MSI and MSI-X vectors, so that more can be enabled than fit in a message.
 *
 * QEMU's vfio-user client sends the vectors that a guest enables in pieces of as many descriptors as a message takes
 * (16; hw/vfio-user/device.c). The kernel enables as many vectors as the first piece has. It can add further ones only
 * where the device's interrupts can be allocated one by one: MSI-X, Linux 6.5 or newer; everywhere else it answers
 * EINVAL (drivers/vfio/pci/vfio_pci_intrs.c). Then all are disabled and enabled again together, which is what QEMU does
 * with its own vfio-pci. Owns a duplicate of each eventfd in use for that. Never sees anything but MSI and MSI-X
 * triggers.
 *
 * Survival. The duplicates are named in VfmPciVectorsState, which may lie in memory that outlives the process: the
 * pieces that were answered don't come again, so a successor that gets the next one needs them. The piece that was
 * being carried out comes again. If it was in the middle of being disabled and enabled again, the kernel may have none
 * enabled and would take the next piece for the first: the successor begins by enabling those that were known. A
 * descriptor is duplicated first and named then, and named no more before it is closed.
 *
 * Threads: one at a time.
 */
#pragma once

#include <glib.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VfmPciVectors VfmPciVectors;

/* MSI-X knows no more. */
enum { VFM_PCI_VECTORS_MAX = 2048 };

/* All zeroes: none. Written by the functions below only. */
typedef struct {
    uint32_t index;                   /* what the descriptors are of: a device has MSI or MSI-X at a time */
    uint32_t count;                   /* so many of @fds count */
    uint32_t again;                   /* they are being disabled and enabled again */
    int32_t fds[VFM_PCI_VECTORS_MAX]; /* by vector; -1: enabled without */
} VfmPciVectorsState;

/* VFIO_DEVICE_SET_IRQS: 0, or -1 and errno. */
typedef int (*VfmPciVectorsSet)(struct vfio_irq_set *set, gpointer data);

/* Goes on from @state, which is borrowed. */
VfmPciVectors *vfm_pci_vectors_new(VfmPciVectorsState *state, VfmPciVectorsSet set, gpointer data);
/* And forgets them. */
void vfm_pci_vectors_free(VfmPciVectors *vectors);

/* The predecessor may have died while it enabled them again: this does it. */
void vfm_pci_vectors_resume(VfmPciVectors *vectors);

/* Forgets them: they are disabled, or nobody will ask for more. */
void vfm_pci_vectors_forget(VfmPciVectorsState *state);

/* Appends the numbers of the descriptors (int). */
void vfm_pci_vectors_descriptors(const VfmPciVectorsState *state, GArray *fds);

/* Carries @set out, whatever it is, with argsz and data filled in. 0, or -1 and errno; then what was enabled before is
 * still, unless the kernel refused that, too. */
int vfm_pci_vectors_set(VfmPciVectors *vectors, struct vfio_irq_set *set);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmPciVectors, vfm_pci_vectors_free)
