/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* MSI-X vectors that come in several messages, before a kernel that enables as many as it is first told of. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "pci_vectors.h"

enum { MOST = 64, PIECE = 16, TRIGGER = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER };

/* The kernel: before Linux 6.5, and with MSI always. */
typedef struct {
    unsigned enabled, most, disabled;
    int fds[MOST];
    const VfmPciVectorsState *state;
    unsigned unannounced; /* disabled although there were some, and a successor would not know */
} Kernel;

typedef struct {
    Kernel kernel;
    VfmPciVectorsState state;
    VfmPciVectors *vectors;
    int events[MOST];
} Scene;

static void replace(int *fd, int with)
{
    if (*fd >= 0)
        close(*fd);
    *fd = with < 0 ? -1 : dup(with);
}

static int kernel_set(struct vfio_irq_set *set, gpointer data)
{
    Kernel *kernel = data;
    const int *fds = (const int *)(const void *)set->data;

    if (set->flags != TRIGGER) {
        kernel->disabled++;
        kernel->unannounced += !kernel->state->again;
        for (unsigned i = 0; i < MOST; i++)
            replace(&kernel->fds[i], -1);
        kernel->enabled = 0;
        return 0;
    }
    assert_int_equal(set->argsz, sizeof(*set) + set->count * sizeof(int));
    if (!kernel->enabled && set->start + set->count <= kernel->most)
        kernel->enabled = set->start + set->count;
    if (set->start + set->count > kernel->enabled) {
        errno = EINVAL;
        return -1;
    }
    for (unsigned i = 0; i < set->count; i++)
        replace(&kernel->fds[set->start + i], fds[i]);
    return 0;
}

static int setup(void **state)
{
    Scene *scene = g_new0(Scene, 1);

    scene->kernel.most = MOST;
    for (unsigned i = 0; i < MOST; i++) {
        scene->kernel.fds[i] = -1;
        scene->events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    }
    scene->kernel.state = &scene->state;
    scene->vectors = vfm_pci_vectors_new(&scene->state, kernel_set, &scene->kernel);
    *state = scene;
    return 0;
}

static int teardown(void **state)
{
    Scene *scene = *state;

    vfm_pci_vectors_free(scene->vectors);
    for (unsigned i = 0; i < MOST; i++) {
        replace(&scene->kernel.fds[i], -1);
        close(scene->events[i]);
    }
    g_free(scene);
    return 0;
}

/* One message; @with: has descriptors. They are closed afterwards, as the session does. */
static int message(Scene *scene, uint32_t index, unsigned start, unsigned count, bool with)
{
    size_t size = sizeof(struct vfio_irq_set) + count * sizeof(int);
    g_autofree struct vfio_irq_set *set = g_malloc0(size);
    int fds[MOST], result;

    *set = (struct vfio_irq_set){.argsz = size, .flags = TRIGGER, .index = index, .start = start, .count = count};
    for (unsigned i = 0; i < count; i++)
        fds[i] = with ? dup(scene->events[start + i]) : -1;
    memcpy(set->data, fds, count * sizeof(int));
    result = vfm_pci_vectors_set(scene->vectors, set);
    for (unsigned i = 0; i < count && with; i++)
        close(fds[i]);
    return result;
}

/* That vector @i signals event @i, for those in [@first, @end), and no others. */
static void assert_signals(Scene *scene, unsigned first, unsigned end)
{
    for (unsigned i = 0; i < MOST; i++) {
        eventfd_t count = 0;

        if (scene->kernel.fds[i] >= 0)
            assert_int_equal(eventfd_write(scene->kernel.fds[i], 1), 0);
        assert_int_equal(eventfd_read(scene->events[i], &count), i >= first && i < end ? 0 : -1);
    }
}

static void test_one_piece(void **state)
{
    Scene *scene = *state;

    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, 0, PIECE, true), 0);
    assert_int_equal(scene->kernel.disabled, 0);
    assert_signals(scene, 0, PIECE);
    /* One of them changes. */
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, false), 0);
    assert_signals(scene, 1, PIECE);
}

static void test_more_pieces(void **state)
{
    for (uint32_t index = VFIO_PCI_MSI_IRQ_INDEX; index <= VFIO_PCI_MSIX_IRQ_INDEX; index++) {
        Scene *scene = *state;
        struct vfio_irq_set off = {
            .argsz = sizeof(off), .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, .index = index};

        assert_int_equal(message(scene, index, 0, PIECE, true), 0);
        assert_int_equal(message(scene, index, PIECE, PIECE, true), 0);
        assert_int_equal(message(scene, index, 2 * PIECE, 8, true), 0);
        assert_int_equal(scene->kernel.enabled, 2 * PIECE + 8);
        assert_signals(scene, 0, 2 * PIECE + 8);
        /* Disabled is forgotten: nothing comes back with the next one. */
        assert_int_equal(vfm_pci_vectors_set(scene->vectors, &off), 0);
        assert_int_equal(message(scene, index, 0, 1, true), 0);
        assert_int_equal(message(scene, index, 1, 1, true), 0);
        assert_int_equal(scene->kernel.enabled, 2);
        assert_signals(scene, 0, 2);
        assert_int_equal(vfm_pci_vectors_set(scene->vectors, &off), 0);
    }
}

/* The process died, and another one goes on. The kernel keeps what it has. */
static void die(Scene *scene)
{
    VfmPciVectorsState left = scene->state;

    scene->state = (VfmPciVectorsState){0};
    vfm_pci_vectors_free(scene->vectors);
    scene->state = left;
    scene->vectors = vfm_pci_vectors_new(&scene->state, kernel_set, &scene->kernel);
    vfm_pci_vectors_resume(scene->vectors);
}

static void test_a_death_between_pieces(void **state)
{
    Scene *scene = *state;
    g_autoptr(GArray) fds = g_array_new(false, false, sizeof(int));

    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, 0, PIECE, true), 0);
    die(scene);
    assert_signals(scene, 0, PIECE);
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, PIECE, PIECE, true), 0);
    die(scene);
    /* And the piece comes again, if that was not answered. */
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, PIECE, PIECE, true), 0);
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, 2 * PIECE, 3, true), 0);
    assert_signals(scene, 0, 2 * PIECE + 3);
    assert_int_equal(scene->kernel.unannounced, 0);
    vfm_pci_vectors_descriptors(&scene->state, fds);
    assert_int_equal(fds->len, 2 * PIECE + 3);
    for (unsigned i = 0; i < fds->len; i++)
        assert_true(fcntl(g_array_index(fds, int, i), F_GETFD) >= 0);
}

/* Disabled and not yet enabled again: the next piece must not be taken for the first. */
static void test_a_death_within_a_piece(void **state)
{
    Scene *scene = *state;
    struct vfio_irq_set off = {.argsz = sizeof(off),
                               .flags = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER,
                               .index = VFIO_PCI_MSI_IRQ_INDEX};

    assert_int_equal(message(scene, VFIO_PCI_MSI_IRQ_INDEX, 0, PIECE, true), 0);
    scene->state.again = 1;
    kernel_set(&off, &scene->kernel);
    die(scene);
    assert_int_equal(scene->state.again, 0);
    assert_signals(scene, 0, PIECE);
    assert_int_equal(message(scene, VFIO_PCI_MSI_IRQ_INDEX, PIECE, PIECE, true), 0);
    assert_signals(scene, 0, 2 * PIECE);
}

static void test_refused(void **state)
{
    Scene *scene = *state;

    scene->kernel.most = PIECE;
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, 0, PIECE, true), 0);
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, PIECE, PIECE, true), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(scene->kernel.enabled, PIECE);
    assert_signals(scene, 0, PIECE);
    /* A hole is not filled. */
    scene->kernel.most = MOST;
    scene->kernel.disabled = 0;
    assert_int_equal(message(scene, VFIO_PCI_MSIX_IRQ_INDEX, PIECE + 1, 1, true), -1);
    assert_int_equal(scene->kernel.disabled, 0);
    /* Nor is anything done to other kinds. */
    assert_int_equal(message(scene, VFIO_PCI_ERR_IRQ_INDEX, PIECE, 1, true), -1);
    assert_int_equal(scene->kernel.disabled, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one_piece, setup, teardown),
        cmocka_unit_test_setup_teardown(test_more_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_death_between_pieces, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_death_within_a_piece, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
