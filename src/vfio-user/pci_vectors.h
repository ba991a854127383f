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
 * Threads: one at a time.
 */
#pragma once

#include <glib.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct VfmPciVectors VfmPciVectors;

/* VFIO_DEVICE_SET_IRQS: 0, or -1 and errno. */
typedef int (*VfmPciVectorsSet)(struct vfio_irq_set *set, gpointer data);

VfmPciVectors *vfm_pci_vectors_new(VfmPciVectorsSet set, gpointer data);
void vfm_pci_vectors_free(VfmPciVectors *vectors);

/* Carries @set out, whatever it is, with argsz and data filled in. 0, or -1 and errno; then what was enabled before is
 * still, unless the kernel refused that, too. */
int vfm_pci_vectors_set(VfmPciVectors *vectors, struct vfio_irq_set *set);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmPciVectors, vfm_pci_vectors_free)
