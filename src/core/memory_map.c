/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "flatten.h"
#include "memory_map.h"

struct VfmMemoryMap {
    char *name;
    GArray *placements; /* of VfmPlacement, in order of placing; each holds a reference to its region */
    GArray *before;     /* copy of @placements while a transaction is open */
    GArray *sections;   /* of VfmSection: the flat view that listeners know */
    GPtrArray *listeners;
    unsigned next_id;
    unsigned depth;
    bool notifying;
};

VfmRegion *vfm_region_new(const char *name, VfmRegionKind kind, uint64_t size, void *vaddr, int fd, uint64_t fd_offset)
{
    VfmRegion *region = g_new0(VfmRegion, 1);

    region->name = g_strdup(name);
    region->kind = kind;
    region->size = size;
    region->vaddr = vaddr;
    region->fd = fd;
    region->fd_offset = fd_offset;
    region->refs = 1;
    return region;
}

VfmRegion *vfm_region_ref(VfmRegion *region)
{
    region->refs++;
    return region;
}

void vfm_region_unref(VfmRegion *region)
{
    if (!region || --region->refs)
        return;
    vfm_discard_free(region->discard);
    if (region->release)
        region->release(region->release_data);
    g_free(region->name);
    g_free(region);
}

const char *vfm_region_kind_name(VfmRegionKind kind)
{
    static const char *const names[] = {
        [VFM_REGION_RAM] = "RAM",     [VFM_REGION_ROM] = "ROM", [VFM_REGION_BAR] = "BAR",
        [VFM_REGION_IOMMU] = "IOMMU", [VFM_REGION_IO] = "I/O",
    };

    return (unsigned)kind < G_N_ELEMENTS(names) ? names[kind] : "unknown";
}

static void placement_clear(gpointer data)
{
    vfm_region_unref(((VfmPlacement *)data)->region);
}

static GArray *placements_new(void)
{
    GArray *placements = g_array_new(FALSE, FALSE, sizeof(VfmPlacement));

    g_array_set_clear_func(placements, placement_clear);
    return placements;
}

static GArray *placements_copy(const GArray *placements)
{
    GArray *copy = placements_new();

    if (placements->len)
        g_array_append_vals(copy, placements->data, placements->len);
    for (unsigned i = 0; i < copy->len; i++)
        vfm_region_ref(g_array_index(copy, VfmPlacement, i).region);
    return copy;
}

VfmMemoryMap *vfm_memory_map_new(const char *name)
{
    VfmMemoryMap *map = g_new0(VfmMemoryMap, 1);

    map->name = g_strdup(name);
    map->placements = placements_new();
    map->sections = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    map->listeners = g_ptr_array_new();
    map->next_id = 1;
    return map;
}

void vfm_memory_map_free(VfmMemoryMap *map)
{
    if (!map)
        return;
    g_warn_if_fail(map->listeners->len == 0);
    g_array_unref(map->sections);
    g_array_unref(map->placements);
    if (map->before)
        g_array_unref(map->before);
    g_ptr_array_unref(map->listeners);
    g_free(map->name);
    g_free(map);
}

const char *vfm_memory_map_name(const VfmMemoryMap *map)
{
    return map->name;
}

static VfmSection *section_at(const GArray *sections, unsigned index)
{
    return &g_array_index((GArray *)sections, VfmSection, index);
}

const GArray *vfm_memory_map_sections(const VfmMemoryMap *map)
{
    return map->sections;
}

const VfmSection *vfm_memory_map_find(const VfmMemoryMap *map, uint64_t address)
{
    unsigned low = 0, high = map->sections->len;

    /* The last section that starts at or below @address. */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (section_at(map->sections, middle)->address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == 0 || address - section_at(map->sections, low - 1)->address >= section_at(map->sections, low - 1)->size)
        return NULL;
    return section_at(map->sections, low - 1);
}

/*
 * Telling the listeners. The steps of a transaction form one sequence, deletions for each listener, then
 * additions for each listener; a refusal walks the same sequence backwards, with each step turned round.
 */
typedef struct {
    const VfmMemoryMap *map;
    const GArray *removed, *added; /* of VfmSection */
} Change;

static uint64_t change_steps(const Change *change)
{
    return (uint64_t)(change->removed->len + change->added->len) * change->map->listeners->len;
}

static bool change_step(const Change *change, uint64_t step, bool forward, GError **error)
{
    unsigned listeners = change->map->listeners->len;
    uint64_t index = step / listeners;
    VfmMapListener *listener = change->map->listeners->pdata[step % listeners];
    bool removal = index < change->removed->len;
    const VfmSection *section = removal ? section_at(change->removed, (unsigned)index)
                                        : section_at(change->added, (unsigned)(index - change->removed->len));

    if (removal == forward)
        return listener->ops->remove(listener, section, error);
    if (removal && listener->ops->restore)
        return listener->ops->restore(listener, section, error);
    return listener->ops->add(listener, section, error);
}

/* On success @map's flat view is *@sections (which is taken) by the time listeners hear of the end. */
static bool tell(VfmMemoryMap *map, const GArray *removed, const GArray *added, GArray **sections, GError **error)
{
    Change change = {map, removed, added};
    uint64_t steps = change_steps(&change);
    bool kept = true;

    map->notifying = true;
    for (unsigned i = 0; i < map->listeners->len && kept; i++) {
        VfmMapListener *listener = map->listeners->pdata[i];

        kept = !listener->ops->check || listener->ops->check(listener, removed, added, error);
    }
    if (!kept) {
        map->notifying = false;
        return false;
    }
    for (unsigned i = 0; i < map->listeners->len; i++) {
        VfmMapListener *listener = map->listeners->pdata[i];

        if (listener->ops->begin)
            listener->ops->begin(listener);
    }
    for (uint64_t step = 0; step < steps; step++) {
        if (change_step(&change, step, true, error))
            continue;
        kept = false;
        while (step-- > 0) {
            g_autoptr(GError) second = NULL;

            if (!change_step(&change, step, false, &second))
                vfm_error_append(error, "the way back failed too: %s", second->message);
        }
        break;
    }
    if (kept) {
        g_array_unref(map->sections);
        map->sections = g_steal_pointer(sections);
    }
    for (unsigned i = 0; i < map->listeners->len; i++) {
        VfmMapListener *listener = map->listeners->pdata[i];

        if (listener->ops->end)
            listener->ops->end(listener, kept);
    }
    map->notifying = false;
    return kept;
}

void vfm_memory_map_begin(VfmMemoryMap *map)
{
    g_return_if_fail(!map->notifying);
    if (map->depth++ == 0)
        map->before = placements_copy(map->placements);
}

void vfm_memory_map_abort(VfmMemoryMap *map)
{
    g_return_if_fail(map->depth > 0 && !map->notifying);
    map->depth = 0;
    g_array_unref(map->placements);
    map->placements = g_steal_pointer(&map->before);
}

bool vfm_memory_map_commit(VfmMemoryMap *map, GError **error)
{
    g_autoptr(GArray) sections = NULL;
    g_autoptr(GArray) removed = NULL;
    g_autoptr(GArray) added = NULL;

    g_return_val_if_fail(map->depth > 0 && !map->notifying, false);
    if (--map->depth)
        return true;
    sections = vfm_flatten(map->placements);
    vfm_flatten_difference(map->sections, sections, &removed, &added);
    if ((removed->len || added->len) && !tell(map, removed, added, &sections, error)) {
        map->depth = 1;
        vfm_memory_map_abort(map);
        return false;
    }
    g_clear_pointer(&map->before, g_array_unref);
    return true;
}

static bool check_range(const VfmMemoryMap *map, const VfmRegion *region, uint64_t offset, uint64_t size,
                        uint64_t address, GError **error)
{
    if (size != 0 && offset < region->size && size <= region->size - offset && address <= UINT64_MAX - size)
        return true;
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                "%s: can't place %" G_GUINT64_FORMAT " bytes of %s from offset 0x%" G_GINT64_MODIFIER
                "x at 0x%" G_GINT64_MODIFIER "x: the range is empty, outside its %" G_GUINT64_FORMAT
                " bytes, or ends above 64 bits",
                map->name, size, region->name, offset, address, region->size);
    return false;
}

unsigned vfm_memory_map_place(VfmMemoryMap *map, VfmRegion *region, uint64_t offset, uint64_t size, uint64_t address,
                              int priority, GError **error)
{
    VfmPlacement placement = {
        .id = map->next_id, .priority = priority, .address = address, .offset = offset, .size = size, .region = region};

    if (!check_range(map, region, offset, size, address, error))
        return 0;
    vfm_memory_map_begin(map);
    vfm_region_ref(region);
    g_array_append_val(map->placements, placement);
    map->next_id++;
    return vfm_memory_map_commit(map, error) ? placement.id : 0;
}

static VfmPlacement *find_placement(const VfmMemoryMap *map, unsigned id, unsigned *index, GError **error)
{
    unsigned low = 0, high = map->placements->len;

    /* Ids only grow, and order is kept, so the array is sorted by id. */
    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (g_array_index(map->placements, VfmPlacement, middle).id < id)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < map->placements->len && g_array_index(map->placements, VfmPlacement, low).id == id) {
        *index = low;
        return &g_array_index(map->placements, VfmPlacement, low);
    }
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "%s: there is no placement %u", map->name, id);
    return NULL;
}

bool vfm_memory_map_remove(VfmMemoryMap *map, unsigned id, GError **error)
{
    unsigned index;

    if (!find_placement(map, id, &index, error))
        return false;
    vfm_memory_map_begin(map);
    g_array_remove_index(map->placements, index);
    return vfm_memory_map_commit(map, error);
}

bool vfm_memory_map_move(VfmMemoryMap *map, unsigned id, uint64_t address, int priority, GError **error)
{
    unsigned index;
    VfmPlacement *placement = find_placement(map, id, &index, error);

    if (!placement || !check_range(map, placement->region, placement->offset, placement->size, address, error))
        return false;
    vfm_memory_map_begin(map);
    placement->address = address;
    placement->priority = priority;
    return vfm_memory_map_commit(map, error);
}

bool vfm_memory_map_add_listener(VfmMemoryMap *map, VfmMapListener *listener, GError **error)
{
    g_autoptr(GArray) nothing = g_array_new(FALSE, FALSE, sizeof(VfmSection));
    bool kept = true;

    g_return_val_if_fail(map->depth == 0 && !map->notifying, false);
    if (listener->ops->check && !listener->ops->check(listener, nothing, map->sections, error))
        return false;
    map->notifying = true;
    if (listener->ops->begin)
        listener->ops->begin(listener);
    for (unsigned i = 0; i < map->sections->len && kept; i++) {
        if (listener->ops->add(listener, section_at(map->sections, i), error))
            continue;
        kept = false;
        while (i-- > 0) {
            g_autoptr(GError) second = NULL;

            if (!listener->ops->remove(listener, section_at(map->sections, i), &second))
                vfm_error_append(error, "the way back failed too: %s", second->message);
        }
        break;
    }
    if (listener->ops->end)
        listener->ops->end(listener, kept);
    map->notifying = false;
    if (kept)
        g_ptr_array_add(map->listeners, listener);
    return kept;
}

bool vfm_memory_map_remove_listener(VfmMemoryMap *map, VfmMapListener *listener, GError **error)
{
    bool clean = true;

    g_return_val_if_fail(map->depth == 0 && !map->notifying, false);
    if (!g_ptr_array_remove(map->listeners, listener))
        return true;
    map->notifying = true;
    if (listener->ops->begin)
        listener->ops->begin(listener);
    for (unsigned i = map->sections->len; i-- > 0;)
        clean = listener->ops->remove(listener, section_at(map->sections, i), clean ? error : NULL) && clean;
    if (listener->ops->end)
        listener->ops->end(listener, true);
    map->notifying = false;
    return clean;
}
