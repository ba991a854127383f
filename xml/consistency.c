/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What no single element can tell: sums, nodes that exist, addresses that overlap, devices given twice. */
#include "parts.h"

#include <stdlib.h>
#include <string.h>

#include "nodeset.h"
#include "number.h"

/* Messages here name a stored line rather than a node. */
static bool fail_line(const VfmXmlReader *reader, unsigned line, int code, const char *format, ...) G_GNUC_PRINTF(4, 5);

static bool fail_line(const VfmXmlReader *reader, unsigned line, int code, const char *format, ...)
{
    g_autofree char *text = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    vfm_xml_fail_at(reader->error, reader->file, line, code, "%s", text);
    return false;
}

/* False if the sum leaves what libvirt can hold. */
static bool add_size(uint64_t *sum, uint64_t more)
{
    if (more > VFM_MEMORY_SIZE_MAX - *sum)
        return false;
    *sum += more;
    return true;
}

/* virDomainDefPostParseMemory(): cells say what the guest boots with; without cells it is what the memory
 * devices leave of <memory>. */
static bool derive_boot_memory(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    uint64_t cells = 0, devices = 0, total;
    unsigned line = domain->memory_line ? domain->memory_line : vfm_xml_line(root);

    for (guint i = 0; i < domain->cells->len; i++) {
        const VfmCell *cell = &g_array_index(domain->cells, VfmCell, i);

        if (!add_size(&cells, cell->memory))
            return fail_line(reader, cell->line, VFM_INPUT_RANGE, "the NUMA cells together exceed 8 EiB");
    }
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = domain->memory_devices->pdata[i];

        if (!device->from_commandline && !add_size(&devices, device->size))
            return fail_line(reader, device->line, VFM_INPUT_RANGE, "the memory devices together exceed 8 EiB");
    }
    if (cells == 0 && domain->memory == 0)
        return fail_line(reader, line, VFM_INPUT_SYNTAX,
                         "the guest has no memory: <memory> is absent or 0 and no NUMA cell has any");
    if (cells == 0 && devices >= domain->memory)
        return fail_line(reader, line, VFM_INPUT_CONFLICT,
                         "memory devices of %" G_GUINT64_FORMAT " KiB leave nothing of <memory> %" G_GUINT64_FORMAT
                         " KiB to boot with",
                         devices / VFM_KIB, domain->memory / VFM_KIB);
    domain->boot = cells > 0 ? cells : domain->memory - devices;
    total = domain->boot;
    if (!add_size(&total, devices))
        return fail_line(reader, line, VFM_INPUT_RANGE, "all guest memory together exceeds 8 EiB");
    if (domain->memory == 0)
        domain->memory = total;
    if (domain->max_memory.set && domain->max_memory.value > 0 && domain->max_memory.value < total)
        return fail_line(reader, vfm_xml_line(vfm_xml_child(root, "maxMemory")), VFM_INPUT_CONFLICT,
                         "<maxMemory> of %" G_GUINT64_FORMAT " KiB is below the guest's %" G_GUINT64_FORMAT
                         " KiB of boot memory and memory devices",
                         domain->max_memory.value / VFM_KIB, total / VFM_KIB);
    return true;
}

/* Without cells everything is node 0. */
static bool check_nodes(const VfmXmlReader *reader, const VfmDomain *domain)
{
    unsigned nodes = MAX(domain->cells->len, 1);

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = domain->memory_devices->pdata[i];

        if (device->node.set && device->node.value >= nodes)
            return fail_line(reader, device->line, VFM_INPUT_CONFLICT,
                             "%s memory is on NUMA node %" G_GUINT64_FORMAT ", but the guest has %u",
                             device->model_name, device->node.value, domain->cells->len);
    }
    return true;
}

static bool check_hugepages(const VfmXmlReader *reader, const VfmDomain *domain)
{
    const GArray *pages = domain->backing.hugepages;
    unsigned nodes = MAX(domain->cells->len, 1);
    g_autofree unsigned *used = g_new0(unsigned, nodes);
    unsigned all = 0;

    for (guint i = 0; i < pages->len; i++) {
        const VfmHugepage *page = &g_array_index(pages, VfmHugepage, i);
        g_autofree bool *set = g_new0(bool, nodes);
        GError *cause = NULL;

        if (!page->nodeset) {
            if (all)
                return fail_line(reader, page->line, VFM_INPUT_CONFLICT,
                                 "<page> without a nodeset stands here again; the first one is in line %u", all);
            all = MAX(page->line, 1);
            continue;
        }
        if (!vfm_nodeset_parse(page->nodeset, nodes, set, &cause)) {
            fail_line(reader, page->line, cause->code, "<page>: %s", cause->message);
            g_error_free(cause);
            return false;
        }
        for (unsigned node = 0; node < nodes; node++) {
            if (set[node] && used[node])
                return fail_line(reader, page->line, VFM_INPUT_CONFLICT,
                                 "<page>: NUMA node %u has its page size from line %u already", node, used[node]);
            if (set[node])
                used[node] = MAX(page->line, 1);
        }
    }
    return true;
}

static int compare_base(gconstpointer a, gconstpointer b)
{
    const VfmMemoryDevice *left = *(const VfmMemoryDevice *const *)a;
    const VfmMemoryDevice *right = *(const VfmMemoryDevice *const *)b;

    return left->base.value < right->base.value ? -1 : left->base.value > right->base.value;
}

/* Sorted, so that many devices stay cheap. */
static bool check_addresses(const VfmXmlReader *reader, const VfmDomain *domain)
{
    g_autoptr(GPtrArray) placed = g_ptr_array_new();

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        VfmMemoryDevice *device = domain->memory_devices->pdata[i];

        if (!device->base.set)
            continue;
        if (device->base.value > UINT64_MAX - device->size)
            return fail_line(reader, device->line, VFM_INPUT_RANGE,
                             "%s memory at 0x%" G_GINT64_MODIFIER "x ends beyond 64 bits", device->model_name,
                             device->base.value);
        g_ptr_array_add(placed, device);
    }
    g_ptr_array_sort(placed, compare_base);
    for (guint i = 1; i < placed->len; i++) {
        const VfmMemoryDevice *below = placed->pdata[i - 1];
        const VfmMemoryDevice *above = placed->pdata[i];

        if (below->base.value + below->size > above->base.value)
            return fail_line(reader, MAX(above->line, below->line), VFM_INPUT_CONFLICT,
                             "%s memory at 0x%" G_GINT64_MODIFIER "x overlaps the one at 0x%" G_GINT64_MODIFIER
                             "x of line %u",
                             (above->line > below->line ? above : below)->model_name,
                             (above->line > below->line ? above : below)->base.value,
                             (above->line > below->line ? below : above)->base.value, MIN(above->line, below->line));
    }
    return true;
}

static bool check_slots(const VfmXmlReader *reader, const VfmDomain *domain)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);

    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = domain->memory_devices->pdata[i];
        gpointer slot = GUINT_TO_POINTER((guint)device->slot.value);
        const VfmMemoryDevice *other;

        if (!device->slot.set)
            continue;
        other = g_hash_table_lookup(seen, slot);
        if (other)
            return fail_line(reader, device->line, VFM_INPUT_CONFLICT,
                             "memory slot %" G_GUINT64_FORMAT " is taken by the device in line %u", device->slot.value,
                             other->line);
        g_hash_table_insert(seen, slot, (gpointer)device);
    }
    return true;
}

/* The same device twice never starts: VFIO gives a device to one user only. NVMe drives may show several namespaces. */
static bool check_assigned_twice(const VfmXmlReader *reader, const VfmDomain *domain)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = domain->assigned->pdata[i];
        const VfmAssigned *other = assigned->address ? g_hash_table_lookup(seen, assigned->address) : NULL;

        if (!assigned->address)
            continue;
        if (other && !(assigned->kind == VFM_ASSIGNED_NVME && other->kind == VFM_ASSIGNED_NVME))
            return fail_line(reader, assigned->line, VFM_INPUT_CONFLICT,
                             "device %s is assigned here again; the first time is in line %u", assigned->address,
                             other->line);
        g_hash_table_insert(seen, assigned->address, (gpointer)assigned);
    }
    return true;
}

bool vfm_xml_check_domain(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    return derive_boot_memory(reader, root, domain) && check_nodes(reader, domain) && check_hugepages(reader, domain) &&
           check_addresses(reader, domain) && check_slots(reader, domain) && check_assigned_twice(reader, domain);
}
