/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <memory>, <maxMemory>, <memoryBacking>, <memtune> and the NUMA cells. */
#include "parts.h"

#include <string.h>

#include "number.h"

/* QEMU takes 128 nodes, libvirt's lists hold 1024. */
#define CELLS_MAX 1024

static bool read_backing_page(const VfmXmlReader *reader, const xmlNode *page, VfmBacking *backing)
{
    VfmHugepage entry = {.line = vfm_xml_line(page)};
    VfmMaybe size;

    if (!vfm_xml_size_attribute(reader, page, "size", &size))
        return false;
    if (!size.set || size.value == 0)
        return vfm_xml_fail(reader, page, VFM_INPUT_RANGE, "<page> of <hugepages> needs a size above 0");
    if ((size.value & (size.value - 1)) != 0)
        return vfm_xml_fail(reader, page, VFM_INPUT_RANGE,
                            "<page>: a huge page of %" G_GUINT64_FORMAT " KiB does not exist; sizes are powers of two",
                            size.value / VFM_KIB);
    entry.size = size.value;
    entry.nodeset = vfm_xml_attribute(page, "nodeset");
    g_array_append_val(backing->hugepages, entry);
    return true;
}

static bool read_hugepages(const VfmXmlReader *reader, const xmlNode *backing_node, VfmBacking *backing)
{
    xmlNode *hugepages;

    if (!vfm_xml_only_child(reader, backing_node, "hugepages", &hugepages))
        return false;
    backing->use_hugepages = hugepages != NULL;
    for (xmlNode *page = vfm_xml_child(hugepages, "page"); page; page = vfm_xml_next(page, "page")) {
        if (!read_backing_page(reader, page, backing))
            return false;
    }
    return true;
}

static bool read_backing(const VfmXmlReader *reader, const xmlNode *root, VfmBacking *backing)
{
    static const char *const sources[] = {"anonymous", "file", "memfd", NULL};
    static const char *const modes[] = {"shared", "private", NULL};
    static const char *const allocations[] = {"immediate", "ondemand", NULL};
    xmlNode *node, *source, *access, *allocation, *flag;
    int type, mode, when;

    if (!vfm_xml_only_child(reader, root, "memoryBacking", &node))
        return false;
    if (!node)
        return true;
    backing->line = vfm_xml_line(node);
    if (!read_hugepages(reader, node, backing) || !vfm_xml_only_child(reader, node, "source", &source) ||
        !vfm_xml_only_child(reader, node, "access", &access) ||
        !vfm_xml_only_child(reader, node, "allocation", &allocation) ||
        !vfm_xml_choice(reader, source, "type", sources, &type) ||
        !vfm_xml_choice(reader, access, "mode", modes, &mode) ||
        !vfm_xml_choice(reader, allocation, "mode", allocations, &when))
        return false;
    backing->source = type < 0 ? VFM_SOURCE_DEFAULT : (VfmSource)(VFM_SOURCE_ANONYMOUS + type);
    backing->shared = mode < 0 ? VFM_ABSENT : mode == 0 ? VFM_ON : VFM_OFF;
    backing->prealloc = when == 0;
    if (!vfm_xml_only_child(reader, node, "nosharepages", &flag))
        return false;
    backing->nosharepages = flag != NULL;
    if (!vfm_xml_only_child(reader, node, "locked", &flag))
        return false;
    backing->locked = flag != NULL;
    if (!vfm_xml_only_child(reader, node, "discard", &flag))
        return false;
    backing->discard = flag != NULL;
    return true;
}

static bool read_memtune(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    xmlNode *memtune;

    if (!vfm_xml_only_child(reader, root, "memtune", &memtune))
        return false;
    if (!memtune)
        return true;
    domain->memtune_line = vfm_xml_line(memtune);
    if (!vfm_xml_size_child(reader, memtune, "hard_limit", &domain->hard_limit, &domain->memtune_line))
        return false;
    if (domain->hard_limit.set && domain->hard_limit.value >= VFM_MEMORY_UNLIMITED)
        domain->hard_limit = VFM_NONE;
    return true;
}

/* Ids are given for all cells or for none; together they are 0 to n-1 (virDomainNumaDefParseXML). */
static bool read_cell(const VfmXmlReader *reader, const xmlNode *node, unsigned position, unsigned count,
                      VfmCell *cells)
{
    static const char *const modes[] = {"shared", "private", NULL};
    VfmMaybe id, memory;
    int mode;

    if (!vfm_xml_number_attribute(reader, node, "id", 10, G_MAXUINT, &id) ||
        !vfm_xml_size_attribute(reader, node, "memory", &memory) ||
        !vfm_xml_choice(reader, node, "memAccess", modes, &mode))
        return false;
    if (!id.set)
        id = VFM_SOME(position);
    if (id.value >= count)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "NUMA cell %" G_GUINT64_FORMAT ": ids of %u cells go from 0 to %u without a gap", id.value,
                            count, count - 1);
    if (cells[id.value].line)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "NUMA cell %" G_GUINT64_FORMAT " stands here again; the first one is in line %u", id.value,
                            cells[id.value].line);
    if (!memory.set)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "NUMA cell %" G_GUINT64_FORMAT " has no memory", id.value);
    cells[id.value].id = (unsigned)id.value;
    cells[id.value].memory = memory.value;
    cells[id.value].shared = mode < 0 ? VFM_ABSENT : mode == 0 ? VFM_ON : VFM_OFF;
    cells[id.value].line = MAX(vfm_xml_line(node), 1);
    return true;
}

static bool read_cells(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    xmlNode *cpu, *numa;
    unsigned count = 0, position = 0;

    if (!vfm_xml_only_child(reader, root, "cpu", &cpu) || !vfm_xml_only_child(reader, cpu, "numa", &numa))
        return false;
    for (xmlNode *cell = vfm_xml_child(numa, "cell"); cell; cell = vfm_xml_next(cell, "cell"))
        count++;
    if (count > CELLS_MAX)
        return vfm_xml_fail(reader, numa, VFM_INPUT_TOO_LARGE, "%u NUMA cells are too many; at most %d can be", count,
                            CELLS_MAX);
    g_array_set_size(domain->cells, count);
    for (xmlNode *cell = vfm_xml_child(numa, "cell"); cell; cell = vfm_xml_next(cell, "cell")) {
        if (!read_cell(reader, cell, position++, count, (VfmCell *)(void *)domain->cells->data))
            return false;
    }
    return true;
}

bool vfm_xml_read_memory(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    VfmMaybe memory;
    xmlNode *max;

    if (!vfm_xml_size_child(reader, root, "memory", &memory, &domain->memory_line) ||
        !vfm_xml_size_child(reader, root, "currentMemory", &domain->current_memory, NULL) ||
        !vfm_xml_size_child(reader, root, "maxMemory", &domain->max_memory, NULL) ||
        !vfm_xml_only_child(reader, root, "maxMemory", &max) ||
        !vfm_xml_number_attribute(reader, max, "slots", 10, G_MAXUINT, &domain->slots))
        return false;
    domain->memory = memory.set ? memory.value : 0;
    return read_backing(reader, root, &domain->backing) && read_memtune(reader, root, domain) &&
           read_cells(reader, root, domain);
}
