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
    uint32_t index; /* what the descriptors are of: a device has MSI or MSI-X at a time */
    GArray *fds;    /* of int, by vector; -1: enabled without */
};

static void clear_fd(gpointer element)
{
    int *fd = element;

    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

VfmPciVectors *vfm_pci_vectors_new(VfmPciVectorsSet set, gpointer data)
{
    VfmPciVectors *vectors = g_new0(VfmPciVectors, 1);

    vectors->set = set;
    vectors->data = data;
    vectors->fds = g_array_new(false, true, sizeof(int));
    g_array_set_clear_func(vectors->fds, clear_fd);
    return vectors;
}

void vfm_pci_vectors_free(VfmPciVectors *vectors)
{
    if (!vectors)
        return;
    g_array_unref(vectors->fds);
    g_free(vectors);
}

static int set_all(VfmPciVectors *vectors, uint32_t index, const int *fds, uint32_t count)
{
    size_t size = sizeof(struct vfio_irq_set) + count * sizeof(int);
    g_autofree struct vfio_irq_set *set = g_malloc0(size);

    *set = (struct vfio_irq_set){.argsz = size, .flags = EVENTFD_TRIGGER, .index = index, .count = count};
    memcpy(set->data, fds, count * sizeof(int));
    return vectors->set(set, vectors->data);
}

/* What the kernel could not add to what is enabled: all at once. */
static int enable_again(VfmPciVectors *vectors, const struct vfio_irq_set *set)
{
    struct vfio_irq_set off = {
        .argsz = sizeof(off), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, .index = set->index};
    g_autofree int *all = g_new(int, set->start + set->count);
    int why;

    memcpy(all, vectors->fds->data, vectors->fds->len * sizeof(int));
    memcpy(all + set->start, set->data, set->count * sizeof(int));
    if (vectors->set(&off, vectors->data) < 0)
        return -1;
    if (set_all(vectors, set->index, all, set->start + set->count) == 0)
        return 0;
    why = errno;
    set_all(vectors, set->index, (const int *)(const void *)vectors->fds->data, vectors->fds->len);
    errno = why;
    return -1;
}

static void remember(VfmPciVectors *vectors, const struct vfio_irq_set *set)
{
    const int *fds = (const int *)(const void *)set->data;
    unsigned known = vectors->fds->len, count = set->start + set->count;

    vectors->index = set->index;
    if (count > known) {
        g_array_set_size(vectors->fds, count);
        for (unsigned i = known; i < count; i++)
            g_array_index(vectors->fds, int, i) = -1;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        int *fd = &g_array_index(vectors->fds, int, set->start + i);

        clear_fd(fd);
        if (fds[i] >= 0)
            *fd = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
    }
}

int vfm_pci_vectors_set(VfmPciVectors *vectors, struct vfio_irq_set *set)
{
    bool message_signalled = set->index == VFIO_PCI_MSI_IRQ_INDEX || set->index == VFIO_PCI_MSIX_IRQ_INDEX;
    int result = vectors->set(set, vectors->data);

    if (!message_signalled)
        return result;
    /* Only right behind what is enabled: a hole would be one that nobody asked for. */
    if (result < 0 && errno == EINVAL && set->flags == EVENTFD_TRIGGER && vectors->index == set->index &&
        vectors->fds->len > 0 && set->start <= vectors->fds->len && set->start + set->count > vectors->fds->len)
        result = enable_again(vectors, set);
    if (result < 0)
        return result;
    if (set->flags == EVENTFD_TRIGGER && set->count > 0)
        remember(vectors, set);
    else if (set->count == 0 && (set->flags & VFIO_IRQ_SET_ACTION_TRIGGER))
        g_array_set_size(vectors->fds, 0);
    return result;
}
