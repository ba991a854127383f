/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

#define MIB (1024u * 1024u)

static VfmMapperSection *section_at(const VfmMapper *mapper, unsigned index)
{
    return mapper->sections->pdata[index];
}

const char *vfm_left_reason_name(VfmLeftReason reason)
{
    static const char *const names[] = {
        [VFM_LEFT_EDGE] = "edge",         [VFM_LEFT_MISALIGNED] = "misaligned",
        [VFM_LEFT_RESERVED] = "reserved", [VFM_LEFT_UNSUPPORTED] = "unsupported",
        [VFM_LEFT_FAILED] = "failed",     [VFM_LEFT_LOST] = "lost",
    };

    return (unsigned)reason < G_N_ELEMENTS(names) ? names[reason] : "unknown";
}

void vfm_mapper_usage(const VfmMapper *mapper, VfmMapperUsage *usage)
{
    VfmContainerUsage container;

    vfm_container_usage(mapper->container, &container);
    *usage = (VfmMapperUsage){.budget = container.budget};
    for (unsigned i = 0; i < mapper->sections->len; i++) {
        uint64_t mappings, bytes;

        vfm_mapper_section_count(section_at(mapper, i), &mappings, &bytes);
        usage->mappings += mappings;
        usage->bytes += bytes;
        usage->mappings_at_full += vfm_mapper_section_at_full(section_at(mapper, i), 1);
    }
}

static int compare_left(const void *a, const void *b)
{
    const VfmLeft *x = a, *y = b;

    return (x->address > y->address) - (x->address < y->address);
}

GArray *vfm_mapper_left_out(const VfmMapper *mapper)
{
    GArray *all = g_array_new(FALSE, FALSE, sizeof(VfmLeft));

    for (unsigned i = 0; i < mapper->sections->len; i++) {
        const GArray *left = section_at(mapper, i)->left;

        if (left->len)
            g_array_append_vals(all, left->data, left->len);
    }
    g_array_sort(all, compare_left);
    return all;
}

VfmMaybe vfm_mapper_fitting_block(const VfmMapper *mapper)
{
    VfmContainerUsage usage;
    bool sparse = false;

    vfm_container_usage(mapper->container, &usage);
    for (unsigned i = 0; i < mapper->sections->len; i++)
        sparse = sparse || section_at(mapper, i)->sparse;
    for (unsigned shift = 12; usage.budget.set && sparse && shift < 63; shift++) {
        uint64_t total = 0;

        for (unsigned i = 0; i < mapper->sections->len; i++)
            total += vfm_mapper_section_at_full(section_at(mapper, i), 1ull << shift);
        if (total <= usage.budget.value)
            return VFM_SOME(1ull << shift);
    }
    return VFM_NONE;
}

void vfm_mapper_explain(const VfmMapper *mapper, const VfmSection *section, uint64_t mappings, uint64_t bytes,
                        GError **error, GError *cause)
{
    const char *name = vfm_container_name(mapper->container);
    VfmContainerUsage usage;

    vfm_container_usage(mapper->container, &usage);
    if (g_error_matches(cause, VFM_REFUSED, VFM_REFUSED_BUDGET)) {
        VfmMaybe block = vfm_mapper_fitting_block(mapper);
        g_autofree char *mend =
            block.set ? g_strdup_printf("blocks of %" G_GUINT64_FORMAT " bytes would fit at full size", block.value)
                      : g_strdup("no block size would fit: raise dma_entry_limit of vfio_iommu_type1, or use iommufd, "
                                 "which has no such limit");

        g_set_error(error, VFM_REFUSED, VFM_REFUSED_BUDGET,
                    "%s: %s needs %" G_GUINT64_FORMAT " more mappings, and %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT
                    " are used; %s",
                    name, section->region->name, mappings, usage.mappings,
                    usage.budget.set ? usage.budget.value : usage.mappings, mend);
        g_error_free(cause);
    } else if (g_error_matches(cause, VFM_REFUSED, VFM_REFUSED_MEMLOCK)) {
        VfmMaybe memlock = vfm_container_memlock(mapper->container);
        g_autofree char *limit =
            memlock.set ? g_strdup_printf(" (%" G_GUINT64_FORMAT " bytes)", memlock.value) : g_strdup("");

        g_set_error(error, VFM_REFUSED, VFM_REFUSED_MEMLOCK,
                    "%s: %s needs %" G_GUINT64_FORMAT " bytes of locked memory, %" G_GUINT64_FORMAT
                    " in all with what is mapped, and RLIMIT_MEMLOCK%s is exceeded; raise it to %" G_GUINT64_FORMAT
                    " or more",
                    name, section->region->name, bytes, usage.pinned + bytes, limit, usage.pinned + bytes);
        g_error_free(cause);
    } else {
        g_propagate_prefixed_error(error, cause, "%s: ", section->region->name);
    }
}

void vfm_mapper_page_granular_price(const VfmMapper *mapper, VfmPagePrice *price)
{
    VfmContainerUsage usage;
    uint64_t others = 0;

    *price = (VfmPagePrice){0};
    for (unsigned i = 0; i < mapper->sections->len; i++) {
        const VfmMapperSection *section = section_at(mapper, i);
        uint64_t page;

        if (!section->section.region->discard || !section->section.region->balloon) {
            others += vfm_mapper_section_at_full(section, 1);
            continue;
        }
        page = vfm_discard_block(section->section.region->discard);
        price->mappings_per_mib = MAX(price->mappings_per_mib, MAX(MIB / page, 1));
        price->mappings_now += section->wanted->len;
        for (unsigned j = 0; j < section->wanted->len; j++) {
            const VfmIovaRange *piece = &g_array_index(section->wanted, VfmIovaRange, j);

            price->mappings += (piece->last - piece->start) / page + 1;
        }
    }
    vfm_container_usage(mapper->container, &usage);
    price->fits = !usage.budget.set || others + price->mappings <= usage.budget.value;
}

/*
 * The list of mappings, in portions.
 */
typedef struct {
    const VfmMapperSection *section;
    uint64_t from, next;
    unsigned max;
    GArray *extents;
} Portion;

/* Appends @count mappings of @size bytes at @start, unless the portion is full. */
static bool append(Portion *portion, uint64_t start, uint64_t size, uint64_t count, unsigned prot)
{
    VfmMapperExtent extent = {start, size, count, portion->section->section.region->name, prot};

    if (start + size * count <= portion->from)
        return true;
    if (start < portion->from) {
        uint64_t skip = (portion->from - start + size - 1) / size;

        extent.iova += skip * size;
        extent.count -= skip;
        if (extent.count == 0)
            return true;
    }
    if (portion->extents->len >= portion->max) {
        portion->next = extent.iova;
        return false;
    }
    g_array_append_val(portion->extents, extent);
    return true;
}

/* One run of populated memory, within one piece: an odd block, equal ones, an odd one. */
static bool append_run(Portion *portion, uint64_t start, uint64_t size, unsigned prot)
{
    const VfmSection *place = &portion->section->section;
    uint64_t block = vfm_discard_block(place->region->discard);
    uint64_t into = (place->offset + (start - place->address)) & (block - 1);
    uint64_t head = into ? MIN(block - into, size) : 0, whole = (size - head) / block;
    uint64_t tail = size - head - whole * block;

    return (!head || append(portion, start, head, 1, prot)) &&
           (!whole || append(portion, start + head, block, whole, prot)) &&
           (!tail || append(portion, start + head + whole * block, tail, 1, prot));
}

static bool append_translated(void *data, const VfmTranslated *piece)
{
    Portion *portion = data;
    const VfmSection *place = &portion->section->section;

    return append(portion, place->address + (piece->iova - place->offset), piece->size, 1, piece->prot);
}

static bool append_section(Portion *portion)
{
    const VfmMapperSection *section = portion->section;
    const VfmSection *place = &section->section;
    unsigned prot = place->region->kind == VFM_REGION_ROM ? VFM_PROT_READ : VFM_PROT_READ | VFM_PROT_WRITE;

    if (section->listening && place->region->translation) {
        vfm_translation_foreach(place->region->translation, place->offset, place->size, append_translated, portion);
        return portion->next == 0;
    }
    for (unsigned i = vfm_ranges_lower_bound(section->pieces, portion->from); i < section->pieces->len; i++) {
        const VfmIovaRange *piece = &g_array_index(section->pieces, VfmIovaRange, i);
        uint64_t offset = place->offset + (piece->start - place->address);
        uint64_t end = offset + (piece->last - piece->start + 1), run, size;

        if (!section->sparse && !append(portion, piece->start, piece->last - piece->start + 1, 1, prot))
            return false;
        while (section->sparse && vfm_discard_next_run(place->region->discard, true, offset, end, &run, &size)) {
            if (!append_run(portion, place->address + (run - place->offset), size, prot))
                return false;
            offset = run + size;
        }
    }
    return true;
}

uint64_t vfm_mapper_extents(const VfmMapper *mapper, uint64_t from, unsigned max, GArray *extents)
{
    Portion portion = {.from = from, .max = max, .extents = extents};
    unsigned before = extents->len;

    portion.max = before + MAX(max, 1);
    for (unsigned i = vfm_mapper_find(mapper, from); i < mapper->sections->len; i++) {
        portion.section = section_at(mapper, i);
        if (!append_section(&portion))
            return portion.next;
    }
    return 0;
}
