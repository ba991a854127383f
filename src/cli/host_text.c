/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host_text.h"
#include "host_json.h"
#include "size_text.h"
#include "table.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_line(const char *label, const char *value)
{
    g_autofree char *printable = vfm_printable(value);

    printf("  %-24s%s\n", label, printable);
}

static const char *switch_text(VfmSwitch value, const char *on, const char *off)
{
    return value == VFM_ON ? on : value == VFM_OFF ? off : "unknown";
}

static char *hugepages_text(const VfmHost *host)
{
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < host->hugepages->len; i++) {
        const VfmHostHugepage *pages = &g_array_index(host->hugepages, VfmHostHugepage, i);
        g_autofree char *size = vfm_size_text(pages->size);

        g_string_append_printf(text, "%s%s: ", i ? ", " : "", size);
        if (pages->total.set)
            g_string_append_printf(text, "%" PRIu64 " pages", pages->total.value);
        else
            g_string_append(text, "unknown number");
        if (pages->total.set && pages->total.value && pages->free.set)
            g_string_append_printf(text, ", %" PRIu64 " free", pages->free.value);
    }
    return g_string_free(text, FALSE);
}

static char *iommu_text(const VfmHost *host)
{
    if (host->iommu == VFM_ABSENT)
        return g_strdup("unknown");
    if (host->iommu == VFM_OFF)
        return g_strdup("none in use: no device can be assigned (firmware setting, or intel_iommu=on)");
    return g_strdup_printf("yes, %u groups", host->groups->len);
}

static char *mappings_text(const VfmHost *host)
{
    if (host->dma_entry_limit.set)
        return g_strdup_printf("%" PRIu64 " for each container (dma_entry_limit)", host->dma_entry_limit.value);
    if (host->vfio_compat == VFM_ON)
        return g_strdup("no limit: /dev/vfio/vfio is iommufd's");
    return g_strdup("unknown: vfio_iommu_type1 is not loaded (its default is 65535)");
}

static const char *remapping_text(const VfmHost *host)
{
    if (host->interrupt_remapping == VFM_OFF && host->unsafe_interrupts == VFM_ON)
        return "no, but VFIO is told to do without (allow_unsafe_interrupts)";
    return switch_text(host->interrupt_remapping, "yes", "no");
}

static void print_facts(const VfmHost *host)
{
    g_autofree char *memory = vfm_maybe_size_text(host->memory, "unknown");
    g_autofree char *page = vfm_maybe_size_text(host->page_size, "unknown");
    g_autofree char *thp = vfm_maybe_size_text(host->thp_size, host->thp_known ? "none" : "unknown");
    g_autofree char *hugepages = hugepages_text(host);
    g_autofree char *bits = g_strdup_printf("%" PRIu64, host->phys_bits.value);
    g_autofree char *slots = g_strdup_printf("%" PRIu64, host->kvm_memslots.value);
    g_autofree char *iommu = iommu_text(host);
    g_autofree char *mappings = mappings_text(host);

    print_line("memory", memory);
    print_line("page size", page);
    print_line("transparent huge pages", thp);
    print_line("huge pages", *hugepages ? hugepages : "unknown");
    print_line("physical address bits", host->phys_bits.set ? bits : "unknown");
    print_line("KVM memory slots", host->kvm_memslots.set ? slots : "unknown");
    print_line("IOMMU", iommu);
    print_line("interrupt remapping", remapping_text(host));
    print_line("mappings (type1)", mappings);
    print_line("iommufd", switch_text(host->iommufd, "yes", "no"));
}

/* PCI base classes (PCI Code and ID Assignment Specification) that people assign. */
static const char *class_text(VfmMaybe class_code)
{
    static const struct {
        unsigned base;
        const char *name;
    } names[] = {
        {0x01, "storage"}, {0x02, "network"},     {0x03, "display"},    {0x04, "multimedia"}, {0x06, "bridge"},
        {0x08, "system"},  {0x0b, "processor"},   {0x0c, "serial bus"}, {0x0d, "wireless"},   {0x10, "crypto"},
        {0x11, "signal"},  {0x12, "accelerator"}, {0x13, "instrument"},
    };

    for (guint i = 0; class_code.set && i < G_N_ELEMENTS(names); i++) {
        if (names[i].base == class_code.value >> 16)
            return names[i].name;
    }
    return class_code.set ? "other" : "";
}

static void print_groups(const VfmTerminal *terminal, const VfmHost *host)
{
    g_autoptr(VfmTable) table = vfm_table_new("rlllllr");

    vfm_table_row(table, "group", "type", "device", "driver", "id", "class", "node");
    for (guint i = 0; i < host->groups->len; i++) {
        const VfmIommuGroup *group = g_ptr_array_index(host->groups, i);
        g_autofree char *id = g_strdup_printf("%u", group->id);

        for (guint j = 0; j < group->devices->len; j++) {
            const VfmHostDevice *device = g_ptr_array_index(group->devices, j);
            g_autofree char *ids =
                device->vendor.set && device->device.set
                    ? g_strdup_printf("%04" PRIx64 ":%04" PRIx64, device->vendor.value, device->device.value)
                    : NULL;
            g_autofree char *node = device->numa_node.set ? g_strdup_printf("%" PRIu64, device->numa_node.value) : NULL;

            vfm_table_row(table, j ? "" : id,
                          j             ? ""
                          : group->type ? group->type
                                        : "unknown",
                          device->address, device->driver ? device->driver : "-", ids, class_text(device->class_code),
                          node);
        }
        if (group->devices->len == 0)
            vfm_table_row(table, id, group->type ? group->type : "unknown", "-", "", "", "", "");
    }
    putchar('\n');
    vfm_table_print(table, terminal, 2);
}

typedef struct {
    VfmReserved region;
    unsigned group;
} Place;

static int compare_regions(const VfmReserved *x, const VfmReserved *y)
{
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return (int)x->type - (int)y->type;
}

static gint compare_places(gconstpointer a, gconstpointer b)
{
    const Place *x = a, *y = b;
    const int regions = compare_regions(&x->region, &y->region);

    return regions ? regions : x->group < y->group ? -1 : x->group > y->group;
}

/* "all groups", "groups 1, 4, 7": of the places from @first that have its region. Sets *@next behind them. */
static char *groups_with(const GArray *places, guint first, guint known, guint *next)
{
    const Place *place = &g_array_index(places, Place, first);
    g_autoptr(GString) ids = g_string_new(NULL);
    guint count = 0, i;

    for (i = first; i < places->len; i++) {
        const Place *other = &g_array_index(places, Place, i);

        if (compare_regions(&other->region, &place->region) != 0)
            break;
        if (i == first || other->group != g_array_index(places, Place, i - 1).group)
            g_string_append_printf(ids, "%s%u", count++ ? ", " : "", other->group);
    }
    *next = i;
    if (count == known && count > 1)
        return g_strdup("all groups");
    return g_strdup_printf("%s %s", count == 1 ? "group" : "groups", ids->str);
}

static void print_reserved(const VfmTerminal *terminal, const VfmHost *host)
{
    g_autoptr(GArray) places = g_array_new(FALSE, FALSE, sizeof(Place));
    g_autoptr(VfmTable) table = vfm_table_new("llrll");
    guint known = 0;

    for (guint i = 0; i < host->groups->len; i++) {
        const VfmIommuGroup *group = g_ptr_array_index(host->groups, i);

        known += group->reserved_known;
        for (guint j = 0; j < group->reserved->len; j++) {
            Place place = {.region = g_array_index(group->reserved, VfmReserved, j), .group = group->id};

            g_array_append_val(places, place);
        }
    }
    if (places->len == 0)
        return;
    g_array_sort(places, compare_places);
    vfm_table_row(table, "reserved from", "to", "size", "type", "in");
    for (guint i = 0, next; i < places->len; i = next) {
        const VfmReserved *region = &g_array_index(places, Place, i).region;
        const uint64_t length = region->end - region->start;
        g_autofree char *start = g_strdup_printf("0x%016" PRIx64, region->start);
        g_autofree char *end = g_strdup_printf("0x%016" PRIx64, region->end);
        g_autofree char *size = length == UINT64_MAX ? g_strdup("all") : vfm_size_text(length + 1);
        g_autofree char *in = groups_with(places, i, known, &next);

        vfm_table_row(table, start, end, size, vfm_reserved_type_name(region->type), in);
    }
    putchar('\n');
    vfm_table_print(table, terminal, 2);
}

void vfm_host_print(const VfmTerminal *terminal, const VfmHost *host)
{
    g_autofree char *name = vfm_printable(host->name ? host->name : "of unknown name");
    g_autofree char *kernel = vfm_printable(host->kernel ? host->kernel : "of unknown version");

    printf("%sHost %s%s, Linux %s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD), name,
           vfm_terminal_off(terminal, VFM_STYLE_BOLD), kernel);
    print_facts(host);
    if (host->groups->len) {
        print_groups(terminal, host);
        print_reserved(terminal, host);
    }
}
