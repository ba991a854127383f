/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "pci_vectors.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

enum { EVENTFD_TRIGGER = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER };

struct VfmPciVectors {
    VfmPciVectorsSet set;
    gpointer data;
    VfmPciVectorsState *state;
};

/* One store, where it stands in the source: a successor relies on the order. */
static void store(uint32_t *at, uint32_t value)
{
    __atomic_store_n(at, value, __ATOMIC_SEQ_CST);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
}

/* @fd is named there from now on (-1: nothing is), and what was is closed. */
static void replace(int32_t *at, int fd)
{
    int old = *at;

    store((uint32_t *)at, (uint32_t)fd);
    if (old >= 0)
        close(old);
}

VfmPciVectors *vfm_pci_vectors_new(VfmPciVectorsState *state, VfmPciVectorsSet set, gpointer data)
{
    VfmPciVectors *vectors = g_new0(VfmPciVectors, 1);

    vectors->state = state;
    vectors->set = set;
    vectors->data = data;
    return vectors;
}

void vfm_pci_vectors_free(VfmPciVectors *vectors)
{
    if (!vectors)
        return;
    vfm_pci_vectors_forget(vectors->state);
    g_free(vectors);
}

void vfm_pci_vectors_forget(VfmPciVectorsState *state)
{
    uint32_t count = MIN(state->count, VFM_PCI_VECTORS_MAX);

    store(&state->again, false);
    store(&state->count, 0);
    for (uint32_t i = 0; i < count; i++)
        if (state->fds[i] >= 0)
            close(state->fds[i]);
}

void vfm_pci_vectors_descriptors(const VfmPciVectorsState *state, GArray *fds)
{
    for (uint32_t i = 0; i < MIN(state->count, VFM_PCI_VECTORS_MAX); i++) {
        int fd = state->fds[i];

        g_array_append_val(fds, fd);
    }
}

static int set_all(VfmPciVectors *vectors, uint32_t index, const int *fds, uint32_t count)
{
    size_t size = sizeof(struct vfio_irq_set) + count * sizeof(int);
    g_autofree struct vfio_irq_set *set = g_malloc0(size);

    *set = (struct vfio_irq_set){.argsz = size, .flags = EVENTFD_TRIGGER, .index = index, .count = count};
    memcpy(set->data, fds, count * sizeof(int));
    return vectors->set(set, vectors->data);
}

static int disable(VfmPciVectors *vectors, uint32_t index)
{
    struct vfio_irq_set off = {
        .argsz = sizeof(off), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, .index = index};

    return vectors->set(&off, vectors->data);
}

/* Those that are known, as they were. */
static int enable_known(VfmPciVectors *vectors)
{
    return set_all(vectors, vectors->state->index, vectors->state->fds, vectors->state->count);
}

/* What the kernel could not add to what is enabled: all at once. */
static int enable_again(VfmPciVectors *vectors, const struct vfio_irq_set *set)
{
    VfmPciVectorsState *state = vectors->state;
    g_autofree int *all = g_new(int, set->start + set->count);
    int result, why;

    memcpy(all, state->fds, state->count * sizeof(int));
    memcpy(all + set->start, set->data, set->count * sizeof(int));
    store(&state->again, true);
    result = disable(vectors, set->index);
    if (result == 0 && (result = set_all(vectors, set->index, all, set->start + set->count)) < 0) {
        why = errno;
        enable_known(vectors);
        errno = why;
    }
    why = errno;
    store(&state->again, false);
    errno = why;
    return result;
}

void vfm_pci_vectors_resume(VfmPciVectors *vectors)
{
    if (!vectors->state->again)
        return;
    disable(vectors, vectors->state->index);
    enable_known(vectors);
    store(&vectors->state->again, false);
}

static void remember(VfmPciVectors *vectors, const struct vfio_irq_set *set)
{
    const int *fds = (const int *)(const void *)set->data;
    VfmPciVectorsState *state = vectors->state;
    unsigned known = state->count, count = set->start + set->count;

    store(&state->index, set->index);
    if (count > known) {
        for (unsigned i = known; i < count; i++)
            state->fds[i] = -1;
        store(&state->count, count);
    }
    for (uint32_t i = 0; i < set->count; i++)
        replace(&state->fds[set->start + i], fds[i] >= 0 ? fcntl(fds[i], F_DUPFD_CLOEXEC, 0) : -1);
}

int vfm_pci_vectors_set(VfmPciVectors *vectors, struct vfio_irq_set *set)
{
    bool message_signalled = set->index == VFIO_PCI_MSI_IRQ_INDEX || set->index == VFIO_PCI_MSIX_IRQ_INDEX;
    const VfmPciVectorsState *state = vectors->state;
    int result = vectors->set(set, vectors->data);

    if (!message_signalled || set->start > VFM_PCI_VECTORS_MAX || set->count > VFM_PCI_VECTORS_MAX - set->start)
        return result;
    /* Only right behind what is enabled: a hole would be one that nobody asked for. */
    if (result < 0 && errno == EINVAL && set->flags == EVENTFD_TRIGGER && state->index == set->index &&
        state->count > 0 && set->start <= state->count && set->start + set->count > state->count)
        result = enable_again(vectors, set);
    if (result < 0)
        return result;
    if (set->flags == EVENTFD_TRIGGER && set->count > 0)
        remember(vectors, set);
    else if (set->count == 0 && (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER))
        vfm_pci_vectors_forget(vectors->state);
    return result;
}
