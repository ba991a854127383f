/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

static VfmMapperSection *section_at(const VfmMapper *mapper, unsigned index)
{
    return mapper->sections->pdata[index];
}

unsigned vfm_mapper_find(const VfmMapper *mapper, uint64_t address)
{
    unsigned low = 0, high = mapper->sections->len;

    while (low < high) {
        unsigned middle = low + (high - low) / 2;

        if (vfm_section_last(&section_at(mapper, middle)->section) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The section that stands for @place. Sections don't overlap, unless one is stale: then all are looked at. */
static int find_exact(const VfmMapper *mapper, const VfmSection *place)
{
    for (unsigned i = mapper->stale ? 0 : vfm_mapper_find(mapper, place->address); i < mapper->sections->len; i++) {
        const VfmSection *section = &section_at(mapper, i)->section;

        if (section->address == place->address && section->size == place->size && section->region == place->region)
            return (int)i;
        if (!mapper->stale && section->address > place->address)
            break;
    }
    return -1;
}

static VfmMapper *of_listener(VfmMapListener *listener)
{
    return (VfmMapper *)((char *)listener - offsetof(VfmMapper, listener));
}

static VfmMapper *of_client(VfmContainerClient *client)
{
    return (VfmMapper *)((char *)client - offsetof(VfmMapper, client));
}

/* What is known beforehand: reserved regions, apertures, alignment, and the number of mappings. */
static bool on_check(VfmMapListener *listener, const GArray *removed, const GArray *added, GError **error)
{
    VfmMapper *mapper = of_listener(listener);
    uint64_t freed = 0, needed = 0, bytes = 0;

    for (unsigned i = 0; i < removed->len; i++) {
        const VfmSection *place = &g_array_index((GArray *)removed, VfmSection, i);
        int index = find_exact(mapper, place);
        uint64_t mappings = 0, unused;

        if (index >= 0)
            vfm_mapper_section_count(section_at(mapper, (unsigned)index), &mappings, &unused);
        freed += mappings;
    }
    for (unsigned i = 0; i < added->len; i++) {
        const VfmSection *place = &g_array_index((GArray *)added, VfmSection, i);
        g_autoptr(GArray) wanted = NULL;
        g_autoptr(GArray) left = NULL;

        if (!vfm_mapper_pieces(mapper, place, &wanted, &left, error))
            return false;
        needed += vfm_mapper_needed(mapper, place, wanted, &bytes);
        if (needed > freed && needed - freed > vfm_container_left(mapper->container)) {
            vfm_mapper_explain(mapper, place, needed - freed, bytes, error,
                               g_error_new(VFM_REFUSED, VFM_REFUSED_BUDGET, "%s: not enough mappings left",
                                           vfm_container_name(mapper->container)));
            return false;
        }
    }
    return true;
}

/* On the way @back of a failed change, ROM waits as well: it may be that it was not mapped before, because the kernel
 * refused it, and must not take now what RAM had. */
static bool add(VfmMapper *mapper, const VfmSection *place, bool back, GError **error)
{
    VfmMapperSection *section;
    GArray *wanted, *left;

    if (!vfm_mapper_pieces(mapper, place, &wanted, &left, error))
        return false;
    section = vfm_mapper_section_new(mapper, place, wanted, left);
    section->pending =
        place->region->kind == VFM_REGION_BAR || (back && place->region->kind == VFM_REGION_ROM && !section->sparse);
    if (!section->pending && !vfm_mapper_section_map(section, false, error)) {
        vfm_mapper_section_free(section);
        return false;
    }
    g_ptr_array_insert(mapper->sections, (int)vfm_mapper_find(mapper, place->address), section);
    return true;
}

static bool on_add(VfmMapListener *listener, const VfmSection *place, GError **error)
{
    return add(of_listener(listener), place, false, error);
}

static bool on_remove(VfmMapListener *listener, const VfmSection *place, GError **error)
{
    VfmMapper *mapper = of_listener(listener);
    int index = find_exact(mapper, place);

    g_return_val_if_fail(index >= 0, true);
    if (!vfm_mapper_section_unmap(section_at(mapper, (unsigned)index), error)) {
        section_at(mapper, (unsigned)index)->refused = mapper->stale = true;
        return false;
    }
    vfm_mapper_section_free(g_ptr_array_remove_index(mapper->sections, (unsigned)index));
    return true;
}

static bool in_map(const VfmMapper *mapper, const VfmSection *place)
{
    const VfmSection *section = vfm_memory_map_find(mapper->map, place->address);

    return section && section->address == place->address && section->size == place->size &&
           section->offset == place->offset && section->region == place->region;
}

/* Removes what the map does not have: left over where the way back of a failed change failed itself. The map's view is
 * the one before the change until that has worked, so this is right during the way back as well. */
static void drop_stale(VfmMapper *mapper)
{
    mapper->stale = false;
    for (unsigned i = 0; i < mapper->sections->len;) {
        VfmMapperSection *section = section_at(mapper, i);

        if (!section->refused || in_map(mapper, &section->section)) {
            section->refused = false;
            i++;
        } else if (vfm_mapper_section_unmap_exactly(section, NULL)) {
            vfm_mapper_section_free(g_ptr_array_remove_index(mapper->sections, i));
        } else {
            mapper->stale = true;
            i++;
        }
    }
}

static bool stale_in_the_way(const VfmMapper *mapper, const VfmSection *place)
{
    for (unsigned i = 0; mapper->stale && i < mapper->sections->len; i++) {
        const VfmMapperSection *section = section_at(mapper, i);

        if (section->refused && section->section.address <= vfm_section_last(place) &&
            vfm_section_last(&section->section) >= place->address)
            return true;
    }
    return false;
}

/* A section that was there before the transaction stays on the books even if it can't be mapped again. */
static bool on_restore(VfmMapListener *listener, const VfmSection *place, GError **error)
{
    VfmMapper *mapper = of_listener(listener);
    VfmMapperSection *section;

    if (mapper->stale)
        drop_stale(mapper);
    if (stale_in_the_way(mapper, place))
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s: %s at 0x%" G_GINT64_MODIFIER "x: another mapping there can't be taken away",
                    vfm_container_name(mapper->container), place->region->name, place->address);
    else if (add(mapper, place, true, error))
        return true;
    section = vfm_mapper_section_new(mapper, place, vfm_ranges_new(), g_array_new(FALSE, FALSE, sizeof(VfmLeft)));
    vfm_mapper_section_lose(section);
    g_ptr_array_insert(mapper->sections, (int)vfm_mapper_find(mapper, place->address), section);
    return false;
}

/* Puts @wanted in place of what is mapped of @section. Peers' BARs and ROM follow as far as they can. RAM can differ
 * only by the smallest page, and what can't be mapped again then is lost and listed. False: it could not be unmapped.
 */
static bool replace(VfmMapperSection *section, GArray *wanted, GArray *left, GError **error)
{
    if (!vfm_mapper_section_unmap(section, error)) {
        g_array_unref(wanted);
        g_array_unref(left);
        return false;
    }
    g_array_unref(section->wanted);
    g_array_unref(section->left);
    section->wanted = wanted;
    section->left = left;
    if (!vfm_mapper_section_map(section, true, NULL))
        vfm_mapper_section_lose(section);
    return true;
}

/* Tries again what was lost; still lost is no error. */
static void retry_lost(VfmMapper *mapper)
{
    for (unsigned i = 0; i < mapper->sections->len; i++) {
        VfmMapperSection *section = section_at(mapper, i);
        GArray *wanted, *left;

        if (vfm_mapper_section_lost(section) && vfm_mapper_pieces(mapper, &section->section, &wanted, &left, NULL))
            replace(section, wanted, left, NULL);
    }
}

static void on_end(VfmMapListener *listener, bool kept)
{
    VfmMapper *mapper = of_listener(listener);

    if (mapper->stale)
        drop_stale(mapper);
    for (unsigned i = 0; i < mapper->sections->len; i++) {
        if (section_at(mapper, i)->pending)
            vfm_mapper_section_map(section_at(mapper, i), true, NULL); /* of a BAR or ROM: never fails */
        section_at(mapper, i)->pending = false;
    }
    retry_lost(mapper);
}

static const VfmMapListenerOps listener_ops = {
    .check = on_check,
    .remove = on_remove,
    .add = on_add,
    .restore = on_restore,
    .end = on_end,
};

/* Drops sections that could not be unmapped: they are the container's now, which ends the whole context. */
static void abandon_all(VfmMapper *mapper)
{
    while (mapper->sections->len) {
        VfmMapperSection *section = g_ptr_array_remove_index(mapper->sections, mapper->sections->len - 1);

        vfm_mapper_section_abandon(section);
        vfm_mapper_section_free(section);
    }
}

static bool client_start(VfmContainerClient *client, GError **error)
{
    VfmMapper *mapper = of_client(client);

    mapper->started = vfm_memory_map_add_listener(mapper->map, &mapper->listener, error);
    if (!mapper->started)
        abandon_all(mapper);
    return mapper->started;
}

static void client_stop(VfmContainerClient *client)
{
    VfmMapper *mapper = of_client(client);

    if (!mapper->started)
        return;
    mapper->started = false;
    vfm_memory_map_remove_listener(mapper->map, &mapper->listener, NULL);
    abandon_all(mapper);
}

/* What reshape would do to one section. */
typedef struct {
    GArray *wanted, *left; /* NULL: nothing changes */
} Shape;

static bool client_reshape(VfmContainerClient *client, GError **error)
{
    VfmMapper *mapper = of_client(client);
    g_autofree Shape *shapes = g_new0(Shape, mapper->sections->len + 1);
    bool settled = true;
    unsigned done;

    /* First all refusals, without any change; then the changes. */
    for (unsigned i = 0; i < mapper->sections->len && settled; i++)
        settled =
            vfm_mapper_pieces(mapper, &section_at(mapper, i)->section, &shapes[i].wanted, &shapes[i].left, error) &&
            vfm_mapper_section_check(section_at(mapper, i), error);
    for (done = 0; done < mapper->sections->len && settled; done++) {
        VfmMapperSection *section = section_at(mapper, done);

        if (vfm_ranges_equal(section->pieces, shapes[done].wanted))
            continue;
        settled = replace(section, g_steal_pointer(&shapes[done].wanted), g_steal_pointer(&shapes[done].left), error);
    }
    for (unsigned i = 0; i < mapper->sections->len; i++) {
        g_clear_pointer(&shapes[i].wanted, g_array_unref);
        g_clear_pointer(&shapes[i].left, g_array_unref);
    }
    return settled;
}

static const VfmContainerClientOps client_ops = {
    .start = client_start,
    .stop = client_stop,
    .reshape = client_reshape,
};

VfmMapper *vfm_mapper_new(VfmContainer *container, VfmMemoryMap *map, const VfmMapperOptions *options, GError **error)
{
    VfmMapper *mapper = g_new0(VfmMapper, 1);

    mapper->client.ops = &client_ops;
    mapper->listener.ops = &listener_ops;
    mapper->container = container;
    mapper->map = map;
    mapper->windows = options && options->windows ? vfm_ranges_copy(options->windows) : NULL;
    mapper->page_granular = options && options->page_granular;
    mapper->sections = g_ptr_array_new();
    if (!vfm_container_set_client(container, &mapper->client, error)) {
        if (mapper->windows)
            g_array_unref(mapper->windows);
        g_ptr_array_unref(mapper->sections);
        g_free(mapper);
        return NULL;
    }
    return mapper;
}

void vfm_mapper_free(VfmMapper *mapper)
{
    if (!mapper)
        return;
    vfm_container_clear_client(mapper->container);
    if (mapper->windows)
        g_array_unref(mapper->windows);
    g_ptr_array_unref(mapper->sections);
    g_free(mapper);
}

VfmContainer *vfm_mapper_container(const VfmMapper *mapper)
{
    return mapper->container;
}

VfmMemoryMap *vfm_mapper_map(const VfmMapper *mapper)
{
    return mapper->map;
}
