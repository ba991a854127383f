/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-translation-steps - random work of a guest's IOMMU, compared with a model after each step.
 *
 * usage: test-translation-steps [--seed N] [--steps N]
 *
 * Two containers see one table of translations; the memory behind it is plugged,
 * unplugged, moved and hidden at the same time. The model is an array of pages. Single faults
 * of one backend must leave everything as it was before.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend_record.h"
#include "error.h"
#include "mapper.h"
#include "seeded.h"
#include "translation.h"

#define PAGE 4096u
#define PAGES 96u  /* of guest memory */
#define IOVAS 80u  /* pages of IOVA */
#define BLOCK 4u   /* pages */
#define SPARSE 40u /* pages of the sparse region */
#define REGIONS 5
#define PLACEMENTS 7
#define CONTAINERS 2
#define WORLD_STEPS 1500u

static Steps run;

static unsigned below(unsigned limit)
{
    return steps_below(&run, limit);
}

static void G_GNUC_NORETURN fail(const char *what, uint64_t where, const GError *error)
{
    steps_fail(&run, "%s, at 0x%" G_GINT64_MODIFIER "x: %s", what, where, error ? error->message : "");
}

/* One page of IOVA in the model. */
typedef struct {
    bool used;
    unsigned start, length; /* of its piece, in pages of IOVA */
    unsigned gpa;           /* page */
    uint8_t *vaddr;         /* of the page */
    unsigned prot;
    bool peer;
} Entry;

typedef struct {
    bool used;
    unsigned id, region, offset, size, address;
    int priority;
} Placement;

typedef struct {
    int region; /* -1: none */
    unsigned offset;
} Cell;

static struct {
    VfmMemoryMap *guest, *view;
    VfmRegion *regions[REGIONS], *window;
    bool populated[SPARSE / BLOCK];
    Placement placements[PLACEMENTS];
    Cell cells[PAGES];
    Entry table[IOVAS];
    unsigned max_pieces;
    VfmTranslation *translation;
    VfmBackend *backends[CONTAINERS];
    VfmContainer *containers[CONTAINERS];
    VfmMapper *mappers[CONTAINERS];
    bool attached[CONTAINERS];
    bool faulty, fault;
} world;

static const struct {
    VfmRegionKind kind;
    unsigned pages;
} shapes[REGIONS] = {
    {VFM_REGION_RAM, 30}, {VFM_REGION_RAM, SPARSE}, {VFM_REGION_ROM, 8}, {VFM_REGION_BAR, 8}, {VFM_REGION_IO, 10},
};

static void paint(void)
{
    for (unsigned page = 0; page < PAGES; page++) {
        const Placement *top = NULL;

        for (unsigned i = 0; i < PLACEMENTS; i++) {
            const Placement *p = &world.placements[i];

            if (p->used && page >= p->address && page - p->address < p->size &&
                (!top || p->priority > top->priority || (p->priority == top->priority && p->id > top->id)))
                top = p;
        }
        world.cells[page] = top ? (Cell){(int)top->region, top->offset + page - top->address} : (Cell){-1, 0};
    }
}

static bool is_memory(const Cell *cell)
{
    return cell->region >= 0 && shapes[cell->region].kind != VFM_REGION_IO;
}

/* Whether page @gpa + 1 goes on in the same section, and block. */
static bool goes_on(unsigned gpa)
{
    const Cell *cell = &world.cells[gpa], *next = &world.cells[gpa + 1];

    return gpa + 1 < PAGES && next->region == cell->region && next->offset == cell->offset + 1 &&
           !(cell->region == 1 && next->offset % BLOCK == 0);
}

static uint8_t *vaddr_of(const Cell *cell)
{
    return world.regions[cell->region]->vaddr + (uint64_t)cell->offset * PAGE;
}

static unsigned count_pieces(void)
{
    unsigned count = 0;

    for (unsigned i = 0; i < IOVAS; i++)
        count += world.table[i].used && world.table[i].start == i;
    return count;
}

static void drop_piece(unsigned iova)
{
    unsigned start = world.table[iova].start, length = world.table[iova].length;

    memset(&world.table[start], 0, length * sizeof(Entry));
}

/* What the table becomes by a map request; false if it must be refused. */
static bool predict_map(unsigned iova, unsigned size, unsigned gpa, unsigned prot, Entry *table)
{
    unsigned pieces = count_pieces();

    memcpy(table, world.table, sizeof(world.table));
    while (size) {
        unsigned length = 1, wanted = prot;
        const Cell *cell = &world.cells[gpa];
        const Entry *there;
        bool overlaps = false;

        if (gpa >= PAGES || !is_memory(cell) || (cell->region == 1 && !world.populated[cell->offset / BLOCK]))
            return false;
        if (shapes[cell->region].kind == VFM_REGION_ROM)
            wanted &= VFM_PROT_READ;
        if (!wanted)
            return false;
        while (length < size && goes_on(gpa + length - 1))
            length++;
        for (unsigned i = iova; i < iova + length; i++)
            overlaps |= world.table[i].used;
        there = &world.table[iova];
        if (overlaps) {
            if (!there->used || there->start != iova || there->length != length || there->gpa != gpa ||
                there->prot != wanted)
                return false;
        } else {
            if (pieces++ >= world.max_pieces)
                return false;
            for (unsigned i = 0; i < length; i++)
                table[iova + i] =
                    (Entry){true, iova, length, gpa + i, vaddr_of(cell) + i * PAGE, wanted, cell->region == 3};
        }
        iova += length;
        gpa += length;
        size -= length;
    }
    return true;
}

/* Pieces that no longer lead to what they led to. */
static void revoke_moved(void)
{
    for (unsigned i = 0; i < IOVAS; i++) {
        const Entry *entry = &world.table[i];
        const Cell *cell = &world.cells[entry->gpa];

        if (!entry->used)
            continue;
        /* All of the piece within one section, at the same memory. */
        if (!is_memory(cell) || vaddr_of(cell) != entry->vaddr ||
            (i > entry->start && (world.cells[entry->gpa - 1].region != cell->region ||
                                  world.cells[entry->gpa - 1].offset + 1 != cell->offset)))
            drop_piece(i);
    }
}

static bool compare(void *data, const VfmMapping *mapping)
{
    unsigned *next = data;

    while (*next < IOVAS && !world.table[*next].used)
        ++*next;
    if (*next == IOVAS || mapping->iova != (uint64_t)*next * PAGE ||
        mapping->size != (uint64_t)world.table[*next].length * PAGE || mapping->vaddr != world.table[*next].vaddr ||
        mapping->prot != world.table[*next].prot || mapping->peer != world.table[*next].peer)
        fail("what is mapped differs", mapping->iova, NULL);
    *next += world.table[*next].length;
    return true;
}

static void check_all(void)
{
    for (unsigned i = 0; i < CONTAINERS; i++) {
        VfmContainerUsage usage;
        unsigned next = 0;

        vfm_container_usage(world.containers[i], &usage);
        if (usage.anomalies || usage.mappings != (world.attached[i] ? count_pieces() : 0) ||
            usage.mappings != vfm_backend_record_mappings(world.backends[i]))
            fail("the account is off", usage.mappings, NULL);
        vfm_backend_record_foreach(world.backends[i], compare, &next);
    }
    if (vfm_translation_pieces(world.translation) != count_pieces())
        fail("the table has other pieces", vfm_translation_pieces(world.translation), NULL);
}

static void note(bool worked, bool predicted, const GError *error)
{
    if (worked && !predicted)
        fail("worked and should not have", 0, NULL);
    if (!worked && predicted && !world.fault)
        fail("failed and should not have", 0, error);
}

static void op_map(void)
{
    unsigned size = 1 + below(below(3) ? 6 : 24), iova = below(IOVAS - size), gpa = below(PAGES), prot = 1 + below(3);
    Entry table[IOVAS];
    bool predicted, worked;
    g_autoptr(GError) error = NULL;

    run.op = "map";
    /* Sometimes a replay of a piece that is there. */
    if (below(4) == 0 && world.table[iova].used) {
        const Entry *entry = &world.table[iova];

        gpa = entry->gpa - (iova - entry->start);
        size = entry->length;
        prot = entry->prot;
        iova = entry->start;
    }
    predicted = predict_map(iova, size, gpa, prot, table);
    worked = vfm_translation_map(world.translation, (uint64_t)iova * PAGE, (uint64_t)size * PAGE, (uint64_t)gpa * PAGE,
                                 prot, &error);
    note(worked, predicted, error);
    if (worked)
        memcpy(world.table, table, sizeof(table));
}

static void op_unmap(void)
{
    unsigned size = 1 + below(below(4) ? 8 : IOVAS), iova = below(IOVAS);
    uint64_t unmapped, expected = 0;
    bool predicted = true, worked;
    g_autoptr(GError) error = NULL;

    run.op = "unmap";
    size = MIN(size, IOVAS - iova);
    for (unsigned i = iova; i < iova + size; i++) {
        const Entry *entry = &world.table[i];

        expected += entry->used ? PAGE : 0;
        predicted =
            predicted && (!entry->used || (entry->start >= iova && entry->start + entry->length <= iova + size));
    }
    worked = vfm_translation_unmap(world.translation, (uint64_t)iova * PAGE, (uint64_t)size * PAGE, &unmapped, &error);
    note(worked, predicted, error);
    if (!worked)
        return;
    if (unmapped != expected)
        fail("another number of bytes was unmapped", unmapped, NULL);
    memset(&world.table[iova], 0, size * sizeof(Entry));
}

static void op_discard(void)
{
    unsigned blocks = SPARSE / BLOCK, first = below(blocks), count = 1 + below(blocks - first);
    bool populate = below(2), predicted = true, worked;
    VfmDiscard *discard = world.regions[1]->discard;
    g_autoptr(GError) error = NULL;

    run.op = populate ? "populate" : "discard";
    for (unsigned i = first; i < first + count; i++)
        predicted = predicted && !(populate && world.populated[i]);
    worked = populate ? vfm_discard_populate(discard, first * BLOCK * PAGE, count * BLOCK * PAGE, &error)
                      : vfm_discard_discard(discard, first * BLOCK * PAGE, count * BLOCK * PAGE, &error);
    note(worked, predicted, error);
    if (!worked)
        return;
    for (unsigned i = first; i < first + count; i++)
        world.populated[i] = populate;
    for (unsigned i = 0; i < IOVAS && !populate; i++) {
        const Cell *cell = &world.cells[world.table[i].gpa];

        if (world.table[i].used && cell->region == 1 && !world.populated[cell->offset / BLOCK])
            drop_piece(i);
    }
}

static void op_place(void)
{
    g_autoptr(GError) error = NULL;

    run.op = "place";
    vfm_memory_map_begin(world.guest);
    for (unsigned changes = 1 + below(3); changes; changes--) {
        Placement *placement = &world.placements[below(PLACEMENTS)];
        unsigned region = below(REGIONS), offset = below(3) ? 0 : below(shapes[region].pages);
        unsigned size = 1 + below(shapes[region].pages - offset);

        if (placement->used) {
            vfm_memory_map_remove(world.guest, placement->id, NULL);
            placement->used = false;
            continue;
        }
        *placement = (Placement){true, 0, region, offset, size, below(PAGES - size), (int)below(3)};
        placement->id =
            vfm_memory_map_place(world.guest, world.regions[region], (uint64_t)offset * PAGE, (uint64_t)size * PAGE,
                                 (uint64_t)placement->address * PAGE, placement->priority, NULL);
    }
    paint();
    revoke_moved();
    if (!vfm_memory_map_commit(world.guest, &error))
        fail("the guest's map was refused", 0, error);
}

static void op_attach(void)
{
    unsigned i = below(CONTAINERS);
    VfmContainerDevice device = {.name = "device", .fd = -1};
    g_autoptr(GError) error = NULL;

    if (world.attached[i]) {
        run.op = "detach";
        if (!vfm_container_detach(world.containers[i], "device", &error))
            fail("detach failed", i, error);
        world.attached[i] = false;
        return;
    }
    run.op = "attach";
    world.attached[i] = vfm_container_attach(world.containers[i], &device, NULL, &error);
    note(world.attached[i], true, error);
}

static void inject(bool unmaps)
{
    unsigned victim = below(CONTAINERS);

    world.fault = world.faulty && below(3) == 0;
    for (unsigned i = 0; i < CONTAINERS; i++) {
        vfm_backend_record_fail(world.backends[i], VFM_RECORD_MAP, 0, 0, 0);
        vfm_backend_record_fail(world.backends[i], VFM_RECORD_UNMAP, 0, 0, 0);
        if (world.fault && i == victim)
            vfm_backend_record_fail(world.backends[i], unmaps && below(2) ? VFM_RECORD_UNMAP : VFM_RECORD_MAP, below(6),
                                    1, EIO);
    }
}

static void world_begin(void)
{
    memset(&world, 0, sizeof(world));
    world.faulty = below(2);
    world.max_pieces = below(2) ? 12 : 1000;
    world.guest = vfm_memory_map_new("guest");
    for (unsigned i = 0; i < REGIONS; i++) {
        world.regions[i] = vfm_region_new("region", shapes[i].kind, (uint64_t)shapes[i].pages * PAGE,
                                          (void *)(uintptr_t)(0x10000000u * (i + 1)), -1, 0);
        if (i == 1)
            world.regions[i]->discard =
                vfm_discard_new("vm0", (uint64_t)SPARSE * PAGE, (uint64_t)BLOCK * PAGE, false, NULL);
    }
    world.translation = vfm_translation_new("viommu", world.guest, world.max_pieces, NULL);
    world.view = vfm_memory_map_new("view");
    world.window = vfm_region_new("iommu", VFM_REGION_IOMMU, 1ull << 40, NULL, -1, 0);
    world.window->translation = world.translation;
    vfm_memory_map_place(world.view, world.window, 0, 1ull << 40, 0, 0, NULL);
    for (unsigned i = 0; i < CONTAINERS; i++) {
        world.backends[i] = vfm_backend_record_new(NULL);
        world.containers[i] = vfm_container_new("container", world.backends[i], VFM_NONE);
        world.mappers[i] = vfm_mapper_new(world.containers[i], world.view, NULL, NULL);
    }
    paint();
}

static void world_end(void)
{
    inject(false);
    for (unsigned i = 0; i < CONTAINERS; i++) {
        vfm_mapper_free(world.mappers[i]);
        vfm_container_free(world.containers[i]);
    }
    vfm_memory_map_free(world.view);
    vfm_region_unref(world.window);
    vfm_translation_free(world.translation);
    vfm_memory_map_free(world.guest);
    for (unsigned i = 0; i < REGIONS; i++)
        vfm_region_unref(world.regions[i]);
}

int main(int argc, char **argv)
{
    steps_begin(&run, "test-translation-steps", argc, argv);
    for (run.step = 0; run.step < run.steps; run.step++) {
        unsigned kind = below(100);

        if (run.step % WORLD_STEPS == 0) {
            if (run.step)
                world_end();
            world_begin();
        }
        /* A device that leaves has no way to refuse. Nor has a map that changes, but there it is tried again. */
        inject(kind < 95);
        if (kind < 45)
            op_map();
        else if (kind < 60)
            op_unmap();
        else if (kind < 75)
            op_discard();
        else if (kind < 95)
            op_place();
        else
            op_attach();
        check_all();
    }
    world_end();
    return 0;
}
