/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "mapper_private.h"

bool vfm_mapper_is_sparse(const VfmMapper *mapper, const VfmRegion *region)
{
    return region->discard && (!region->balloon || mapper->page_granular);
}

static void leave(GArray *left, const VfmSection *section, uint64_t start, uint64_t last, VfmLeftReason reason)
{
    VfmLeft entry = {start, last - start + 1, section->region->name, reason};

    if (last >= start)
        g_array_append_val(left, entry);
}

/* Appends the whole pages of start..last to @wanted, and what is cut off to @left. */
static void trim(const VfmMapper *mapper, const VfmSection *section, uint64_t start, uint64_t last, GArray *wanted,
                 GArray *left)
{
    uint64_t mask = vfm_container_page(mapper->container) - 1;
    uint64_t first = start > UINT64_MAX - mask ? UINT64_MAX : (start + mask) & ~mask;
    uint64_t end = last == UINT64_MAX ? last & ~mask : (last + 1) & ~mask; /* exclusive */
    VfmIovaRange piece = {first, end - 1};

    if (first >= end) {
        leave(left, section, start, last, VFM_LEFT_EDGE);
        return;
    }
    if (first > start)
        leave(left, section, start, first - 1, VFM_LEFT_EDGE);
    g_array_append_val(wanted, piece);
    if (end - 1 < last)
        leave(left, section, end, last, VFM_LEFT_EDGE);
}

/* RAM must be reachable in whole. */
static bool check_ram(const VfmMapper *mapper, const VfmSection *section, const GArray *wanted, GError **error)
{
    const GArray *usable = vfm_container_usable(mapper->container);

    for (unsigned i = 0; i < wanted->len; i++) {
        const VfmIovaRange *piece = &g_array_index((GArray *)wanted, VfmIovaRange, i);
        g_autoptr(GArray) hidden = NULL;
        g_autofree char *obstacle = NULL;
        const VfmIovaRange *first;

        if (vfm_ranges_contain(usable, piece->start, piece->last))
            continue;
        hidden = vfm_ranges_new();
        vfm_ranges_add(hidden, piece->start, piece->last);
        for (unsigned j = vfm_ranges_lower_bound(usable, piece->start); j < usable->len; j++) {
            const VfmIovaRange *range = &g_array_index((GArray *)usable, VfmIovaRange, j);

            if (range->start > piece->last)
                break;
            vfm_ranges_subtract(hidden, range->start, range->last);
        }
        first = &g_array_index(hidden, VfmIovaRange, 0);
        obstacle = vfm_container_obstacle(mapper->container, first->start, first->last);
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_RESERVED,
                    "%s: %s at 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                    "x can't be mapped: 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER
                    "x is %s; give the guest memory another layout or leave this device out",
                    vfm_container_name(mapper->container), section->region->name, section->address,
                    vfm_section_last(section), first->start, first->last, obstacle);
        return false;
    }
    return true;
}

/* What is not RAM keeps what is reachable. */
static GArray *keep_usable(const VfmMapper *mapper, const VfmSection *section, const GArray *wanted, GArray *left)
{
    GArray *kept = vfm_ranges_new();

    for (unsigned i = 0; i < wanted->len; i++) {
        const VfmIovaRange *piece = &g_array_index((GArray *)wanted, VfmIovaRange, i);
        g_autoptr(GArray) parts = vfm_ranges_clip(vfm_container_usable(mapper->container), piece->start, piece->last);
        uint64_t next = piece->start;

        for (unsigned j = 0; j < parts->len; j++) {
            const VfmIovaRange *part = &g_array_index(parts, VfmIovaRange, j);

            if (part->start > next)
                leave(left, section, next, part->start - 1, VFM_LEFT_RESERVED);
            trim(mapper, section, part->start, part->last, kept, left);
            next = part->last + 1;
        }
        if (parts->len == 0 || g_array_index(parts, VfmIovaRange, parts->len - 1).last < piece->last)
            leave(left, section, next, piece->last, VFM_LEFT_RESERVED);
    }
    return kept;
}

static bool is_memory(const VfmRegion *region)
{
    return region->kind == VFM_REGION_RAM || region->kind == VFM_REGION_ROM || region->kind == VFM_REGION_BAR;
}

bool vfm_mapper_pieces(const VfmMapper *mapper, const VfmSection *section, GArray **wanted, GArray **left,
                       GError **error)
{
    const VfmRegion *region = section->region;
    uint64_t page = vfm_container_page(mapper->container), last = vfm_section_last(section);
    g_autoptr(GArray) parts = vfm_ranges_new();
    g_autoptr(GArray) out = g_array_new(FALSE, FALSE, sizeof(VfmLeft));
    g_autoptr(GArray) asked = vfm_ranges_new();

    if (is_memory(region)) {
        if (mapper->windows) {
            g_array_unref(g_steal_pointer(&asked));
            asked = vfm_ranges_clip(mapper->windows, section->address, last);
        } else {
            vfm_ranges_add(asked, section->address, last);
        }
    }
    if (asked->len && ((section->address - section->offset - (uintptr_t)region->vaddr) & (page - 1)) != 0) {
        leave(out, section, section->address, last, VFM_LEFT_MISALIGNED);
    } else if (region->kind == VFM_REGION_BAR && asked->len && !vfm_container_peer_bars(mapper->container)) {
        leave(out, section, section->address, last, VFM_LEFT_UNSUPPORTED);
    } else {
        for (unsigned i = 0; i < asked->len; i++) {
            const VfmIovaRange *range = &g_array_index(asked, VfmIovaRange, i);

            trim(mapper, section, range->start, range->last, parts, out);
        }
    }
    if (parts->len && vfm_mapper_is_sparse(mapper, region) && vfm_discard_block(region->discard) < page) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_ALIGNMENT,
                    "%s: %s has blocks of %" G_GUINT64_FORMAT
                    " bytes, and the IOMMU maps no less than %" G_GUINT64_FORMAT "; use larger blocks",
                    vfm_container_name(mapper->container), region->name, vfm_discard_block(region->discard), page);
        return false;
    }
    if (region->kind == VFM_REGION_RAM) {
        if (!check_ram(mapper, section, parts, error))
            return false;
        *wanted = g_steal_pointer(&parts);
    } else {
        *wanted = keep_usable(mapper, section, parts, out);
    }
    *left = g_steal_pointer(&out);
    return true;
}
