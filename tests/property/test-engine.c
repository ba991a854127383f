/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * test-engine - random operations on the engine, compared with a model after each.
 *
 * usage: test-engine [--seed N] [--steps N]
 *
 * A run is a row of worlds, each with its own map, devices, limits and faults. The
 * model is written without any of the engine's ideas: it paints guest memory unit by
 * unit and says, unit by unit, what devices must reach. What a world did is replayed by the
 * seed that a failure prints.
 *
 * Kinds of worlds:
 *   exact     no limits, no faults: the model also predicts success and failure
 *   limited   small budgets and locked-memory limits: a failure must leave the state before
 *   faulty    single faults of the backend: as limited
 *   hostile   two and three faults in a row, so that the way back fails too: what is missing
 *             must be on the list of what is left out, and nothing else may be missing
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "assignment.h"
#include "backend_record.h"
#include "error.h"
#include "seeded.h"

#define PAGE 4096u
#define UNIT 2048u /* so that there are edges inside pages */
#define UNITS 512u
#define REGIONS 9
#define PLACEMENTS 12
#define DEVICES 4
#define WORLD_STEPS 2000u

typedef enum { EXACT, LIMITED, FAULTY, HOSTILE } Kind;
static const char *const kind_names[] = {"exact", "limited", "faulty", "hostile"};

static Steps run;
static Kind kind_of_world;

static unsigned below(unsigned limit)
{
    return steps_below(&run, limit);
}

#define fail(...) steps_fail(&run, __VA_ARGS__)

/*
 * The world: the engine's objects on one side, the model's plain arrays on the other.
 */
typedef struct {
    VfmRegion *region;
    VfmDiscard *discard;   /* the region's */
    uint64_t block;        /* 0: not sparse */
    bool populated[UNITS]; /* per block */
} Region;

typedef struct {
    bool used;
    unsigned id, region;
    uint64_t offset, size, address;
    int priority;
} Placement;

typedef struct {
    char name[16];
    bool attached, mdev, allowed;
    unsigned group;
    VfmBackend *backend;
    bool reserved[UNITS]; /* forbidden units */
} Device;

typedef struct {
    int region; /* -1: nothing */
    uint64_t offset;
} Cell;

static struct {
    VfmMemoryMap *map;
    VfmAssignment *assignment;
    VfmInhibit *inhibit;
    Region regions[REGIONS];
    Placement placements[PLACEMENTS];
    Device devices[DEVICES];
    Cell cells[UNITS]; /* the flat view */
    bool windowed, windows[UNITS];
    bool page_granular, no_sharing, no_peer_bars;
    VfmMaybe budget, memlock;
    GPtrArray *backends; /* of VfmBackend, in order of opening; freed ones are dropped by address */
    uint64_t mapped, failed;
} world;

static const struct {
    VfmRegionKind kind;
    unsigned units;
    unsigned block; /* bytes, 0: not sparse */
    bool balloon;
} shapes[REGIONS] = {
    {VFM_REGION_RAM, 200, 0, false},    {VFM_REGION_ROM, 16, 0, false},         {VFM_REGION_BAR, 24, 0, false},
    {VFM_REGION_RAM, 128, PAGE, false}, {VFM_REGION_RAM, 150, 4 * PAGE, false}, {VFM_REGION_IO, 32, 0, false},
    {VFM_REGION_RAM, 40, 0, false},     {VFM_REGION_RAM, 48, PAGE, true},       {VFM_REGION_RAM, 86, 8 * PAGE, false},
};

static VfmBackend *open_backend(void *data, GError **error)
{
    VfmRecordOptions options = {.page = PAGE,
                                .max_mappings = world.budget,
                                .memlock = world.memlock,
                                .no_sharing = world.no_sharing,
                                .no_peer_bars = world.no_peer_bars};

    return vfm_backend_record_new(&options);
}

static void paint(void)
{
    for (unsigned unit = 0; unit < UNITS; unit++) {
        const Placement *top = NULL;
        uint64_t address = (uint64_t)unit * UNIT;

        for (unsigned i = 0; i < PLACEMENTS; i++) {
            const Placement *p = &world.placements[i];

            if (p->used && address >= p->address && address - p->address < p->size &&
                (!top || p->priority > top->priority || (p->priority == top->priority && p->id > top->id)))
                top = p;
        }
        world.cells[unit] = top ? (Cell){(int)top->region, top->offset + (address - top->address)} : (Cell){-1, 0};
    }
}

static bool continues(unsigned unit)
{
    return unit > 0 && world.cells[unit].region >= 0 && world.cells[unit - 1].region == world.cells[unit].region &&
           world.cells[unit - 1].offset + UNIT == world.cells[unit].offset;
}

static bool follows_balloon(const Region *region)
{
    return region->block && (!region->region->balloon || world.page_granular);
}

/* Whether the page at @unit (even) is a whole page of one section, aligned with its memory, and asked for. */
static bool whole_page(unsigned unit)
{
    const Cell *cell = &world.cells[unit];

    return cell->region >= 0 && continues(unit + 1) && cell->offset % PAGE == 0 &&
           (!world.windowed || (world.windows[unit] && world.windows[unit + 1]));
}

/* What must be mapped for the devices that are in @in_container, as a list of mappings. */
static GArray *expected(const bool *in_container)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(VfmMapping));

    for (unsigned unit = 0; unit < UNITS; unit += 2) {
        const Cell *cell = &world.cells[unit];
        const Region *region = cell->region >= 0 ? &world.regions[cell->region] : NULL;
        VfmMapping mapping, *last = list->len ? &g_array_index(list, VfmMapping, list->len - 1) : NULL;
        bool sparse = region && follows_balloon(region), reserved = false;

        if (!region || region->region->kind == VFM_REGION_IO || !whole_page(unit))
            continue;
        for (unsigned d = 0; d < DEVICES; d++)
            reserved |= in_container[d] && (world.devices[d].reserved[unit] || world.devices[d].reserved[unit + 1]);
        if (reserved || (sparse && !region->populated[cell->offset / region->block]) ||
            (region->region->kind == VFM_REGION_BAR && world.no_peer_bars))
            continue;
        mapping = (VfmMapping){.iova = (uint64_t)unit * UNIT,
                               .size = PAGE,
                               .vaddr = region->region->vaddr + cell->offset,
                               .fd = region->region->fd,
                               .offset = region->region->fd_offset + cell->offset,
                               .prot = region->region->kind == VFM_REGION_ROM ? 1 : 3,
                               .peer = region->region->kind == VFM_REGION_BAR};
        if (last && last->iova + last->size == mapping.iova && continues(unit) &&
            !(sparse && cell->offset % region->block == 0))
            last->size += PAGE;
        else
            g_array_append_val(list, mapping);
    }
    return list;
}

/* Whether RAM would hit a reserved region of @devices. */
static bool ram_conflict(const bool *devices)
{
    for (unsigned unit = 0; unit < UNITS; unit += 2) {
        const Cell *cell = &world.cells[unit];

        if (cell->region < 0 || world.regions[cell->region].region->kind != VFM_REGION_RAM || !whole_page(unit))
            continue;
        for (unsigned d = 0; d < DEVICES; d++) {
            if (devices[d] && (world.devices[d].reserved[unit] || world.devices[d].reserved[unit + 1]))
                return true;
        }
    }
    return false;
}

static bool same_mapping(const VfmMapping *a, const VfmMapping *b)
{
    return a->iova == b->iova && a->size == b->size && a->vaddr == b->vaddr && a->fd == b->fd &&
           a->offset == b->offset && a->prot == b->prot && a->peer == b->peer;
}

typedef struct {
    const GArray *want, *left;
    unsigned next;
    uint64_t bytes, peer;
} Comparison;

/* A mapping that is missing must be one that is listed, and may be missing at all. */
static void check_missing(const Comparison *comparison, const VfmMapping *mapping)
{
    for (unsigned i = 0; i < comparison->left->len; i++) {
        const VfmLeft *left = &g_array_index((GArray *)comparison->left, VfmLeft, i);

        if (left->address > mapping->iova || left->address + left->size < mapping->iova + mapping->size)
            continue;
        if (left->reason == VFM_LEFT_LOST && kind_of_world == HOSTILE)
            return;
        if (left->reason == VFM_LEFT_FAILED && (mapping->peer || mapping->prot == VFM_PROT_READ) &&
            kind_of_world != EXACT)
            return;
    }
    fail("0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x is not mapped and not listed", mapping->iova,
         mapping->size);
}

static bool compare_mapping(void *data, const VfmMapping *mapping)
{
    Comparison *comparison = data;

    for (; comparison->next < comparison->want->len; comparison->next++) {
        const VfmMapping *want = &g_array_index((GArray *)comparison->want, VfmMapping, comparison->next);

        if (same_mapping(want, mapping)) {
            comparison->next++;
            if (mapping->peer)
                comparison->peer += mapping->size;
            else
                comparison->bytes += mapping->size;
            return true;
        }
        if (want->iova >= mapping->iova)
            break;
        check_missing(comparison, want);
    }
    fail("0x%" G_GINT64_MODIFIER "x+0x%" G_GINT64_MODIFIER "x is mapped and should not be", mapping->iova,
         mapping->size);
}

/* Whatever is memory, asked for, in use and not mapped must be on the list. */
static void check_listed(const VfmBackend *backend, const GArray *left)
{
    for (unsigned unit = 0; unit < UNITS; unit++) {
        const Cell *cell = &world.cells[unit];
        const Region *region = cell->region >= 0 ? &world.regions[cell->region] : NULL;
        uint64_t address = (uint64_t)unit * UNIT;
        bool listed = false;

        if (!region || region->region->kind == VFM_REGION_IO || (world.windowed && !world.windows[unit]) ||
            (follows_balloon(region) && !region->populated[cell->offset / region->block]) ||
            vfm_backend_record_find(backend, address, NULL))
            continue;
        for (unsigned i = 0; i < left->len; i++) {
            const VfmLeft *entry = &g_array_index((GArray *)left, VfmLeft, i);

            listed |= entry->address <= address && address - entry->address < entry->size;
        }
        if (!listed)
            fail("0x%" G_GINT64_MODIFIER "x is not reachable and not listed", address);
    }
}

static void check_extents(const VfmMapper *mapper, const VfmBackend *backend)
{
    g_autoptr(GArray) extents = g_array_new(FALSE, FALSE, sizeof(VfmMapperExtent));
    uint64_t from = 0, total = 0;

    do
        from = vfm_mapper_extents(mapper, from, 1 + below(5), extents);
    while (from);
    for (unsigned i = 0; i < extents->len; i++) {
        const VfmMapperExtent *extent = &g_array_index(extents, VfmMapperExtent, i);

        total += extent->count;
        for (uint64_t j = 0; j < extent->count; j++) {
            VfmMapping mapping;

            if (!vfm_backend_record_find(backend, extent->iova + j * extent->size, &mapping) ||
                mapping.iova != extent->iova + j * extent->size || mapping.size != extent->size ||
                mapping.prot != extent->prot)
                fail("the list shows 0x%" G_GINT64_MODIFIER "x, which is not mapped so", extent->iova);
        }
    }
    if (total != vfm_backend_record_mappings(backend))
        fail("the list has %" G_GUINT64_FORMAT " mappings of %" G_GUINT64_FORMAT, total,
             vfm_backend_record_mappings(backend));
}

static void check_container(unsigned index)
{
    VfmContainer *container = vfm_assignment_container(world.assignment, index);
    VfmMapper *mapper = vfm_assignment_mapper(world.assignment, index);
    const VfmBackend *backend = vfm_container_backend(container);
    bool in_container[DEVICES] = {false};
    g_autoptr(GArray) want = NULL;
    g_autoptr(GArray) left = vfm_mapper_left_out(mapper);
    Comparison comparison = {.left = left};
    VfmContainerUsage usage;
    VfmMapperUsage mapped;

    for (unsigned d = 0; d < DEVICES; d++)
        in_container[d] =
            world.devices[d].attached && vfm_assignment_find(world.assignment, world.devices[d].name) == container;
    comparison.want = want = expected(in_container);
    vfm_backend_record_foreach(backend, compare_mapping, &comparison);
    for (; comparison.next < want->len; comparison.next++)
        check_missing(&comparison, &g_array_index(want, VfmMapping, comparison.next));
    if (below(4) == 0)
        check_listed(backend, left);
    vfm_container_usage(container, &usage);
    vfm_mapper_usage(mapper, &mapped);
    if (usage.mappings != vfm_backend_record_mappings(backend) || usage.pinned != comparison.bytes ||
        usage.peer != comparison.peer || usage.anomalies != 0 || !vfm_container_verify(container, NULL))
        fail("the account says %" G_GUINT64_FORMAT " mappings, %" G_GUINT64_FORMAT " bytes, %" G_GUINT64_FORMAT
             " anomalies; there are %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT,
             usage.mappings, usage.pinned, usage.anomalies, vfm_backend_record_mappings(backend), comparison.bytes);
    if (mapped.mappings != usage.mappings || mapped.bytes != usage.pinned + usage.peer)
        fail("the mapper counts %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " mappings", mapped.mappings,
             usage.mappings);
    if (below(8) == 0)
        check_extents(mapper, backend);
    world.mapped += usage.mappings;
}

static void check_view(void)
{
    const GArray *sections = vfm_memory_map_sections(world.map);
    unsigned unit = 0;

    for (unsigned i = 0; i < sections->len; i++) {
        const VfmSection *section = &g_array_index((GArray *)sections, VfmSection, i);

        for (; unit < section->address / UNIT; unit++) {
            if (world.cells[unit].region >= 0)
                fail("the flat view misses unit %u", unit);
        }
        for (unsigned first = unit; unit < (section->address + section->size) / UNIT; unit++) {
            const Cell *cell = &world.cells[unit];

            if (cell->region < 0 || world.regions[cell->region].region != section->region ||
                cell->offset != section->offset + ((uint64_t)unit * UNIT - section->address) ||
                continues(unit) != (unit > first))
                fail("the flat view differs at unit %u", unit);
        }
    }
    for (; unit < UNITS; unit++) {
        if (world.cells[unit].region >= 0)
            fail("the flat view ends before unit %u", unit);
    }
}

static void check_inhibit(void)
{
    unsigned holds = 0;

    for (unsigned d = 0; d < DEVICES; d++) {
        bool first = world.devices[d].attached && !world.devices[d].allowed;

        for (unsigned e = 0; e < d; e++)
            first = first && !(world.devices[e].attached && world.devices[e].group == world.devices[d].group);
        holds += first;
    }
    if (vfm_inhibit_count(world.inhibit, VFM_HOLD_DISABLE_UNCOORDINATED) != holds)
        fail("%u holds instead of %u", vfm_inhibit_count(world.inhibit, VFM_HOLD_DISABLE_UNCOORDINATED), holds);
}

static void check_all(void)
{
    for (unsigned i = 0; i < REGIONS; i++) {
        const Region *region = &world.regions[i];
        uint64_t bytes = 0;

        for (uint64_t block = 0; region->block && block * region->block < region->region->size; block++) {
            if (region->populated[block])
                bytes += MIN(region->block, region->region->size - block * region->block);
        }
        if (region->block && vfm_discard_populated(region->discard) != bytes)
            fail("%s: %" G_GUINT64_FORMAT " bytes populated instead of %" G_GUINT64_FORMAT, region->region->name,
                 vfm_discard_populated(region->discard), bytes);
    }
    check_view();
    check_inhibit();
    for (unsigned i = 0; i < vfm_assignment_containers(world.assignment); i++)
        check_container(i);
}

/*
 * Operations. Each first changes the engine, then, if that worked, the model.
 */
static void inject(void)
{
    unsigned containers = vfm_assignment_containers(world.assignment);
    /* Two single faults in two containers are a double fault: the way back of one meets the other. */
    unsigned victim = containers ? below(containers) : 0;

    for (unsigned i = 0; i < containers; i++) {
        VfmBackend *backend = vfm_container_backend(vfm_assignment_container(world.assignment, i));
        static const int errnums[] = {ENOMEM, ENOSPC, EIO, EFAULT};

        vfm_backend_record_fail(backend, VFM_RECORD_MAP, 0, 0, 0);
        vfm_backend_record_fail(backend, VFM_RECORD_UNMAP, 0, 0, 0);
        if (kind_of_world < FAULTY || below(3) || (kind_of_world == FAULTY && i != victim))
            continue;
        if (below(kind_of_world == FAULTY ? 4 : 2) == 0) {
            vfm_backend_record_fail(backend, VFM_RECORD_UNMAP, below(4), 1, EIO);
            if (kind_of_world == FAULTY)
                continue;
        }
        vfm_backend_record_fail(backend, VFM_RECORD_MAP, below(12), kind_of_world == FAULTY ? 1 : 1 + below(3),
                                errnums[below(4)]);
    }
}

static void clear_faults(void)
{
    for (unsigned i = 0; i < vfm_assignment_containers(world.assignment); i++) {
        VfmBackend *backend = vfm_container_backend(vfm_assignment_container(world.assignment, i));

        vfm_backend_record_fail(backend, VFM_RECORD_MAP, 0, 0, 0);
        vfm_backend_record_fail(backend, VFM_RECORD_UNMAP, 0, 0, 0);
    }
}

static void note(bool worked, bool predicted, const GError *error)
{
    if (kind_of_world == EXACT && worked != predicted)
        fail("%s, and it should have been the other way: %s", worked ? "worked" : "failed",
             error ? error->message : "");
    if (!worked && (!error || !error->message[0] || strlen(error->message) < 10))
        fail("failed without a reason");
    world.failed += !worked;
}

static void random_placement(Placement *placement)
{
    unsigned region = below(REGIONS), units = shapes[region].units;
    unsigned offset = below(3) ? 0 : below(units), size = below(3) ? units - offset : 1 + below(units - offset);
    unsigned address = below(UNITS - size);

    /* Mostly page-aligned; else edges inside pages, and memory that differs from its address within a page. */
    if (below(4)) {
        offset &= ~1u;
        address &= ~1u;
        size = MAX(1, size & ~1u);
    }
    *placement = (Placement){
        true, 0, region, (uint64_t)offset * UNIT, (uint64_t)size * UNIT, (uint64_t)address * UNIT, (int)below(4)};
}

static void op_map(void)
{
    Placement before[PLACEMENTS];
    Cell cells[UNITS];
    g_autoptr(GError) error = NULL;
    bool conflict = false, worked;

    run.op = "map";
    memcpy(before, world.placements, sizeof(before));
    memcpy(cells, world.cells, sizeof(cells));
    vfm_memory_map_begin(world.map);
    for (unsigned changes = 1 + below(4); changes; changes--) {
        Placement *placement = &world.placements[below(PLACEMENTS)];
        Placement fresh;

        random_placement(&fresh);
        if (placement->used && below(2)) {
            if (!vfm_memory_map_remove(world.map, placement->id, NULL))
                fail("a placement can't be removed");
            placement->used = false;
        } else if (placement->used) {
            fresh.address = MIN(fresh.address, (uint64_t)UNITS * UNIT - placement->size);
            if (!vfm_memory_map_move(world.map, placement->id, fresh.address, fresh.priority, NULL))
                fail("a placement can't be moved");
            placement->address = fresh.address;
            placement->priority = fresh.priority;
        } else {
            fresh.id = vfm_memory_map_place(world.map, world.regions[fresh.region].region, fresh.offset, fresh.size,
                                            fresh.address, fresh.priority, NULL);
            if (!fresh.id)
                fail("a placement can't be made");
            *placement = fresh;
        }
    }
    if (below(20) == 0) {
        vfm_memory_map_abort(world.map);
        memcpy(world.placements, before, sizeof(before));
        return;
    }
    paint();
    for (unsigned i = 0; i < vfm_assignment_containers(world.assignment); i++) {
        bool in_container[DEVICES] = {false};

        for (unsigned d = 0; d < DEVICES; d++)
            in_container[d] = vfm_assignment_find(world.assignment, world.devices[d].name) ==
                              vfm_assignment_container(world.assignment, i);
        conflict |= ram_conflict(in_container);
    }
    worked = vfm_memory_map_commit(world.map, &error);
    note(worked, !conflict, error);
    if (!worked) {
        memcpy(world.placements, before, sizeof(before));
        memcpy(world.cells, cells, sizeof(cells));
    }
}

static bool region_is_mapped_whole(unsigned index, uint64_t first, uint64_t last)
{
    /* Balloon pages of RAM that some container maps as a whole, or could: whole pages of whatever is seen of them. */
    if (!vfm_assignment_containers(world.assignment))
        return false;
    for (unsigned unit = 0; unit < UNITS; unit += 2) {
        if (world.cells[unit].region == (int)index && whole_page(unit) && world.cells[unit].offset >= first &&
            world.cells[unit].offset <= last)
            return true;
    }
    return false;
}

static void op_discard(void)
{
    static const unsigned sparse[] = {3, 4, 7, 8};
    unsigned index = sparse[below(4)];
    Region *region = &world.regions[index];
    uint64_t blocks = (region->region->size + region->block - 1) / region->block;
    uint64_t first = below((unsigned)blocks), count = 1 + below((unsigned)(blocks - first)), offset, size;
    g_autoptr(GError) error = NULL;
    bool populate = below(2), predicted = true, worked;

    if (below(16) == 0) {
        first = 0;
        count = blocks;
    } else if (below(2)) {
        count = 1 + (count - 1) % 4;
    }
    offset = first * region->block;
    size = MIN(count * region->block, region->region->size - offset);
    for (uint64_t block = first; block < first + count; block++)
        predicted = predicted && !(populate && region->populated[block]);
    run.op = populate ? "populate" : "discard";
    if (populate) {
        worked = vfm_discard_populate(region->discard, offset, size, &error);
    } else {
        for (uint64_t block = first; block < first + count && !follows_balloon(region); block++)
            predicted =
                predicted && !(region->populated[block] &&
                               region_is_mapped_whole(index, block * region->block, (block + 1) * region->block - 1));
        worked = vfm_discard_discard(region->discard, offset, size, &error);
    }
    note(worked, predicted, error);
    for (uint64_t block = first; worked && block < first + count; block++)
        region->populated[block] = populate;
}

static GArray *reserved_of(const Device *device)
{
    GArray *reserved = g_array_new(FALSE, FALSE, sizeof(VfmReserved));

    for (unsigned unit = 0; unit < UNITS; unit++) {
        VfmReserved one = {(uint64_t)unit * UNIT, (uint64_t)(unit + 1) * UNIT - 1, VFM_RESERVED_RESERVED};

        if (device->reserved[unit])
            g_array_append_val(reserved, one);
    }
    /* May be mapped over, so it must not count. */
    g_array_append_vals(reserved, (VfmReserved[]){{0, (uint64_t)UNITS * UNIT, VFM_RESERVED_DIRECT_RELAXABLE}}, 1);
    return reserved;
}

static void op_attach(void)
{
    Device *device = &world.devices[below(DEVICES)];
    bool together[DEVICES], predicted = true, worked;
    g_autoptr(GArray) reserved = NULL;
    g_autoptr(GError) error = NULL;
    VfmAssignedDevice spec = {.view = world.map};

    if (device->attached)
        return;
    run.op = "attach";
    memset(device->reserved, 0, sizeof(device->reserved));
    for (unsigned ranges = below(3); ranges; ranges--) {
        unsigned first = below(UNITS), length = 1 + below(below(3) ? 8 : 64);

        for (unsigned unit = first; unit < MIN(UNITS, first + length); unit++)
            device->reserved[unit] = true;
    }
    device->mdev = below(3) == 0;
    device->allowed = device->mdev && below(2);
    device->group = below(3);
    for (unsigned d = 0; d < DEVICES; d++) {
        together[d] = &world.devices[d] == device || (world.devices[d].attached && !world.no_sharing);
        predicted = predicted && !(world.devices[d].attached && world.devices[d].group == device->group &&
                                   world.devices[d].allowed != device->allowed);
    }
    predicted = predicted && !ram_conflict(together);
    reserved = reserved_of(device);
    spec.device = (VfmContainerDevice){.name = device->name, .fd = -1, .reserved = reserved};
    spec.group = VFM_SOME(device->group);
    spec.mdev = device->mdev;
    spec.discard_allowed = device->allowed;
    worked = vfm_assignment_attach(world.assignment, &spec, &error);
    note(worked, predicted, error);
    device->attached = worked;
}

static void op_detach(void)
{
    Device *device = &world.devices[below(DEVICES)];

    if (!device->attached)
        return;
    run.op = "detach";
    clear_faults();
    if (!vfm_assignment_detach(world.assignment, device->name, NULL))
        fail("a device can't be detached");
    device->attached = false;
}

static void world_begin(void)
{
    VfmAssignmentOptions options = {.open = open_backend};
    g_autoptr(GArray) windows = NULL;

    memset(&world, 0, sizeof(world));
    kind_of_world = (Kind)below(4);
    run.kind = kind_names[kind_of_world];
    world.map = vfm_memory_map_new("guest");
    world.inhibit = vfm_inhibit_new();
    world.page_granular = below(2);
    world.no_sharing = below(4) == 0;
    world.no_peer_bars = below(4) == 0;
    if (kind_of_world == LIMITED) {
        world.budget = below(2) ? VFM_SOME(8 + below(80)) : VFM_NONE;
        world.memlock = world.budget.set && below(2) ? VFM_NONE : VFM_SOME((uint64_t)(20 + below(250)) * PAGE);
    }
    if (below(4) == 0) {
        windows = vfm_ranges_new();
        world.windowed = true;
        for (unsigned i = 0; i < 3; i++) {
            unsigned first = below(UNITS - 64), length = 1 + below(160);

            vfm_ranges_add(windows, (uint64_t)first * UNIT, (uint64_t)MIN(UNITS, first + length) * UNIT - 1);
            for (unsigned unit = first; unit < MIN(UNITS, first + length); unit++)
                world.windows[unit] = true;
        }
        options.mapping.windows = windows;
    }
    options.mapping.page_granular = world.page_granular;
    options.inhibit = world.inhibit;
    world.assignment = vfm_assignment_new(&options);
    for (unsigned i = 0; i < REGIONS; i++) {
        Region *region = &world.regions[i];
        g_autofree char *name = g_strdup_printf("region %u", i);
        uint64_t size = (uint64_t)shapes[i].units * UNIT;
        /* Addresses only: nothing is ever read there. */
        uint8_t *vaddr = (uint8_t *)(uintptr_t)(0x100000000u + ((uintptr_t)i << 24));

        region->region = vfm_region_new(name, shapes[i].kind, size, shapes[i].kind == VFM_REGION_IO ? NULL : vaddr,
                                        (int)i + 100, (uint64_t)i << 20);
        region->block = shapes[i].block;
        if (region->block) {
            region->discard = vfm_discard_new(name, size, region->block, shapes[i].balloon, NULL);
            region->region->discard = region->discard;
            region->region->balloon = shapes[i].balloon;
            for (unsigned block = 0; shapes[i].balloon && block < UNITS; block++)
                region->populated[block] = true;
        }
    }
    for (unsigned d = 0; d < DEVICES; d++)
        snprintf(world.devices[d].name, sizeof(world.devices[d].name), "device %u", d);
    paint();
}

static void world_end(void)
{
    run.op = "end";
    clear_faults();
    vfm_assignment_free(world.assignment);
    if (vfm_inhibit_count(world.inhibit, VFM_HOLD_DISABLE_UNCOORDINATED))
        fail("a hold was left");
    vfm_inhibit_free(world.inhibit);
    vfm_memory_map_free(world.map);
    for (unsigned i = 0; i < REGIONS; i++)
        vfm_region_unref(world.regions[i].region);
}

int main(int argc, char **argv)
{
    uint64_t failed = 0, mapped = 0;

    steps_begin(&run, "test-engine", argc, argv);
    for (run.step = 0; run.step < run.steps; run.step++) {
        unsigned kind = below(100);

        if (run.step % WORLD_STEPS == 0) {
            if (run.step)
                world_end();
            world_begin();
        }
        inject();
        if (kind < 12)
            op_map();
        else if (kind < 17)
            op_attach();
        else if (kind < 20)
            op_detach();
        else
            op_discard();
        clear_faults();
        check_all();
        failed += world.failed;
        mapped += world.mapped;
        world.failed = world.mapped = 0;
    }
    world_end();
    printf("%" G_GUINT64_FORMAT " operations were refused or failed, %.1f mappings on average\n", failed,
           (double)mapped / (double)run.steps);
    return 0;
}
