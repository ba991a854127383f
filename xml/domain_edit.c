/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain_edit.h"

#include <string.h>

#include "domain_xml.h"
#include "edit_parts.h"
#include "error.h"
#include "number.h"
#include "parts.h"

/* One kind of edit: how it is made, and how to see in a parsed domain that it holds. */
typedef struct {
    const char *what;
    bool (*apply)(VfmEditor *editor, const VfmEdit *edit, GError **error);
    bool (*holds)(const VfmDomain *domain, const VfmEdit *edit);
} EditOps;

static const char *const domain_order[] = {"name",      "uuid",    "genid",         "title",  "description",
                                           "metadata",  "iommufd", "maxMemory",     "memory", "currentMemory",
                                           "blkiotune", "memtune", "memoryBacking", NULL};
static const char *const memtune_order[] = {"hard_limit", NULL};
static const char *const backing_order[] = {"hugepages", "nosharepages", "locked", "source", "access", NULL};
static const char *const target_order[] = {"size", "node", "block", "requested", NULL};
static const char *const devices_order[] = {"emulator", NULL};
static const char *const iommu_order[] = {"driver", NULL};

static const VfmMemoryDevice *memory_device(const VfmDomain *domain, unsigned index)
{
    return index < domain->memory_devices->len ? domain->memory_devices->pdata[index] : NULL;
}

static const VfmIommu *iommu_device(const VfmDomain *domain, unsigned index)
{
    return index < domain->iommus->len ? domain->iommus->pdata[index] : NULL;
}

/* How many devices of the array stand before @index in the same place (XML or command line). */
static unsigned memory_rank(const VfmDomain *domain, unsigned index)
{
    unsigned rank = 0;

    for (unsigned i = 0; i < index; i++)
        rank += memory_device(domain, i)->from_commandline == memory_device(domain, index)->from_commandline;
    return rank;
}

static bool no_such_device(const char *what, unsigned index, GError **error)
{
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "the domain has no %s number %u", what, index);
    return false;
}

/* Sets <block> or <requested> in the target of a memory device, or its QEMU name in an argument. */
static bool set_memory_size(VfmEditor *editor, const VfmEdit *edit, const char *element, const char *property,
                            GError **error)
{
    const VfmMemoryDevice *device = memory_device(editor->domain, edit->index);
    guint memory, target;
    unsigned rank;

    if (!device)
        return no_such_device("memory device", edit->index, error);
    rank = memory_rank(editor->domain, edit->index);
    if (device->from_commandline)
        return vfm_editor_set_argument_number(editor, VFM_DRIVER_MEMORY, rank, property, edit->value, error);
    memory = vfm_editor_nth(editor, vfm_editor_devices(editor), "memory", rank);
    target = vfm_spans_child(editor->splicer->spans, memory, NULL, "target");
    return vfm_editor_set_size(editor, target, target_order, element, edit->value, error);
}

static bool apply_block(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    return set_memory_size(editor, edit, "block", "block-size", error);
}

static bool holds_block(const VfmDomain *domain, const VfmEdit *edit)
{
    const VfmMemoryDevice *device = memory_device(domain, edit->index);

    return device && device->block.set && device->block.value == edit->value;
}

static bool apply_requested(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    return set_memory_size(editor, edit, "requested", "requested-size", error);
}

static bool holds_requested(const VfmDomain *domain, const VfmEdit *edit)
{
    const VfmMemoryDevice *device = memory_device(domain, edit->index);

    return device && device->requested.set && device->requested.value == edit->value;
}

/* A switch of the balloon, wherever it was turned on. */
static bool balloon_off(VfmEditor *editor, const char *attribute, const char *property, GError **error)
{
    guint balloon = vfm_spans_child(editor->splicer->spans, vfm_editor_devices(editor), NULL, "memballoon");
    VfmAttributeSpan span;

    if (balloon != VFM_NO_SPAN && vfm_spans_attribute(editor->splicer->spans, balloon, attribute, &span) &&
        !vfm_splicer_set_attribute(editor->splicer, balloon, attribute, "off", error))
        return false;
    return vfm_editor_override_off(editor, "balloon0", property, error) &&
           vfm_editor_argument_switches(editor, VFM_DRIVER_BALLOON, property, false, error);
}

static bool apply_free_page_reporting(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    return balloon_off(editor, "freePageReporting", "free-page-reporting", error);
}

static bool holds_free_page_reporting(const VfmDomain *domain, const VfmEdit *edit)
{
    return domain->balloon.free_page_reporting != VFM_ON;
}

static bool apply_autodeflate(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    return balloon_off(editor, "autodeflate", "deflate-on-oom", error);
}

static bool holds_autodeflate(const VfmDomain *domain, const VfmEdit *edit)
{
    return domain->balloon.autodeflate != VFM_ON;
}

static uint64_t whole_kib(uint64_t bytes)
{
    return bytes / VFM_KIB * VFM_KIB + (bytes % VFM_KIB ? VFM_KIB : 0);
}

static bool apply_hard_limit(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    guint memtune;

    if (edit->value == 0 || edit->value >= VFM_MEMORY_UNLIMITED) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                    "a hard limit of %" G_GUINT64_FORMAT " bytes limits nothing that libvirt can hold", edit->value);
        return false;
    }
    return vfm_editor_ensure(editor, vfm_editor_domain(editor), domain_order, "memtune", "<memtune/>", &memtune,
                             error) &&
           vfm_editor_set_size(editor, memtune, memtune_order, "hard_limit", whole_kib(edit->value), error);
}

static bool holds_hard_limit(const VfmDomain *domain, const VfmEdit *edit)
{
    return domain->hard_limit.set && domain->hard_limit.value == whole_kib(edit->value);
}

/* Sets @attribute of the child of <memoryBacking>, making both. */
static bool set_backing(VfmEditor *editor, const char *child, const char *attribute, const char *value, GError **error)
{
    g_autofree char *markup = g_strdup_printf("<%s %s='%s'/>", child, attribute, value);
    guint backing, element;

    return vfm_editor_ensure(editor, vfm_editor_domain(editor), domain_order, "memoryBacking", "<memoryBacking/>",
                             &backing, error) &&
           vfm_editor_ensure(editor, backing, backing_order, child, markup, &element, error) &&
           vfm_editor_set_attribute(editor, element, attribute, value, error);
}

/* What says "private" below the general setting wins over it, so it has to change too. */
static bool share_each(VfmEditor *editor, guint parent, const char *name, const char *attribute, GError **error)
{
    for (guint i = vfm_spans_child(editor->splicer->spans, parent, NULL, name); i != VFM_NO_SPAN;
         i = vfm_spans_next(editor->splicer->spans, i, NULL, name)) {
        VfmAttributeSpan span;

        if (vfm_spans_attribute(editor->splicer->spans, i, attribute, &span) &&
            !vfm_editor_set_attribute(editor, i, attribute, "shared", error))
            return false;
    }
    return true;
}

static bool apply_memfd_shared(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    guint cpu, numa;

    if (!set_backing(editor, "source", "type", "memfd", error) ||
        !set_backing(editor, "access", "mode", "shared", error))
        return false;
    cpu = vfm_spans_child(editor->splicer->spans, vfm_editor_domain(editor), NULL, "cpu");
    numa = vfm_spans_child(editor->splicer->spans, cpu, NULL, "numa");
    return share_each(editor, numa, "cell", "memAccess", error) &&
           share_each(editor, vfm_editor_devices(editor), "memory", "access", error);
}

static bool holds_memfd_shared(const VfmDomain *domain, const VfmEdit *edit)
{
    for (guint i = 0; i < domain->cells->len; i++) {
        if (g_array_index(domain->cells, VfmCell, i).shared == VFM_OFF)
            return false;
    }
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = memory_device(domain, i);

        if (device->shared == VFM_OFF && !device->from_commandline)
            return false;
    }
    return domain->backing.source == VFM_SOURCE_MEMFD && domain->backing.shared == VFM_ON;
}

static bool apply_emulator(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    guint devices, emulator;

    if (!edit->text || !g_utf8_validate(edit->text, -1, NULL) || edit->text[0] != '/') {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "the emulator's path has to be absolute and UTF-8");
        return false;
    }
    return vfm_editor_ensure(editor, vfm_editor_domain(editor), domain_order, "devices", "<devices/>", &devices,
                             error) &&
           vfm_editor_ensure(editor, devices, devices_order, "emulator", "<emulator/>", &emulator, error) &&
           vfm_splicer_set_text(editor->splicer, emulator, edit->text, error);
}

static bool holds_emulator(const VfmDomain *domain, const VfmEdit *edit)
{
    return edit->text && g_strcmp0(domain->emulator, edit->text) == 0;
}

/* An IOMMU that libvirt would add by itself is written down, with what libvirt gives it. */
static bool write_implicit_iommu(VfmEditor *editor, GError **error)
{
    static const char *const order[] = {
        "emulator",   "disk",     "controller", "filesystem", "interface", "serial",  "console",  "channel", "tpm",
        "input",      "graphics", "sound",      "audio",      "video",     "hostdev", "redirdev", "hub",     "watchdog",
        "memballoon", "rng",      "panic",      "shmem",      "memory",    "iommu",   NULL};
    guint parent, iommu, driver;

    return vfm_editor_ensure(editor, vfm_editor_domain(editor), domain_order, "devices", "<devices/>", &parent,
                             error) &&
           vfm_editor_ensure(editor, parent, order, "iommu", "<iommu model='intel'/>", &iommu, error) &&
           vfm_editor_ensure(editor, iommu, iommu_order, "driver", "<driver intremap='on' caching_mode='on' eim='on'/>",
                             &driver, error);
}

static bool apply_caching_mode(VfmEditor *editor, const VfmEdit *edit, GError **error)
{
    const VfmIommu *iommu = iommu_device(editor->domain, edit->index);
    unsigned rank = 0;
    guint element, driver;

    if (!iommu)
        return no_such_device("IOMMU", edit->index, error);
    if (iommu->implicit)
        return write_implicit_iommu(editor, error);
    for (unsigned i = 0; i < edit->index; i++)
        rank += !iommu_device(editor->domain, i)->implicit &&
                iommu_device(editor->domain, i)->from_commandline == iommu->from_commandline;
    if (iommu->from_commandline)
        return vfm_editor_set_argument_switch(editor, VFM_DRIVER_IOMMU, rank, "caching-mode", true, error);
    element = vfm_editor_nth(editor, vfm_editor_devices(editor), "iommu", rank);
    return vfm_editor_ensure(editor, element, iommu_order, "driver", "<driver caching_mode='on'/>", &driver, error) &&
           vfm_editor_set_attribute(editor, driver, "caching_mode", "on", error);
}

static bool holds_caching_mode(const VfmDomain *domain, const VfmEdit *edit)
{
    const VfmIommu *iommu = iommu_device(domain, edit->index);

    return iommu && iommu->caching_mode == VFM_ON;
}

static const EditOps *ops_of(VfmEditKind kind)
{
    static const EditOps all[] = {
        [VFM_EDIT_BLOCK] = {"block size", apply_block, holds_block},
        [VFM_EDIT_REQUESTED] = {"requested size", apply_requested, holds_requested},
        [VFM_EDIT_FREE_PAGE_REPORTING_OFF] = {"free page reporting", apply_free_page_reporting,
                                              holds_free_page_reporting},
        [VFM_EDIT_AUTODEFLATE_OFF] = {"autodeflate", apply_autodeflate, holds_autodeflate},
        [VFM_EDIT_HARD_LIMIT] = {"hard limit", apply_hard_limit, holds_hard_limit},
        [VFM_EDIT_MEMFD_SHARED] = {"shared memory", apply_memfd_shared, holds_memfd_shared},
        [VFM_EDIT_EMULATOR] = {"emulator", apply_emulator, holds_emulator},
        [VFM_EDIT_CACHING_MODE] = {"caching mode", apply_caching_mode, holds_caching_mode},
    };

    return (gsize)kind < G_N_ELEMENTS(all) ? &all[kind] : NULL;
}

static bool apply_all(VfmEditor *editor, const char *file, const GPtrArray *edits, GError **error)
{
    for (guint i = 0; i < edits->len; i++) {
        const VfmEdit *edit = edits->pdata[i];
        const EditOps *ops = ops_of(edit->kind);
        GError *cause = NULL;

        if (ops && (ops->holds(editor->domain, edit) || ops->apply(editor, edit, &cause)))
            continue;
        g_set_error(error, VFM_INPUT_ERROR, cause ? cause->code : VFM_INPUT_USAGE, "%s: %s can't be set: %s", file,
                    ops ? ops->what : "edit", cause ? cause->message : "unknown kind of edit");
        g_clear_error(&cause);
        return false;
    }
    return true;
}

/* The promise of the header: the result is a domain and says what was asked for. */
static bool check_result(const VfmEditor *editor, const char *file, const GPtrArray *edits, GError **error)
{
    const GString *text = editor->splicer->text;
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(text->str, text->len, file, error);

    if (!domain)
        return false;
    for (guint i = 0; i < edits->len; i++) {
        const VfmEdit *edit = edits->pdata[i];

        if (ops_of(edit->kind)->holds(domain, edit))
            continue;
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "%s: the %s is set in a second place that can't be edited here (a -set option?); change it by hand",
                    file, ops_of(edit->kind)->what);
        return false;
    }
    return true;
}

char *vfm_domain_xml_edit(const char *text, gsize length, const char *file, const GPtrArray *edits, GError **error)
{
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(text, length, file, error);
    g_autoptr(VfmSplicer) splicer = NULL;
    VfmEditor editor = {.domain = domain};
    GError *cause = NULL;

    if (!domain)
        return NULL;
    if (edits->len == 0)
        return g_strndup(text, length);
    splicer = vfm_splicer_new(text, length, &cause);
    if (!splicer) {
        g_propagate_prefixed_error(error, cause, "%s: ", file);
        return NULL;
    }
    editor.splicer = splicer;
    if (!apply_all(&editor, file, edits, error) || !check_result(&editor, file, edits, error))
        return NULL;
    return g_strndup(splicer->text->str, splicer->text->len);
}
