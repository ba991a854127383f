/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "edit_parts.h"

#include <string.h>

#include "device_arg.h"
#include "error.h"
#include "number.h"
#include "parts.h"

guint vfm_editor_domain(const VfmEditor *editor)
{
    const VfmSpans *spans = editor->splicer->spans;

    return vfm_spans_is(spans, 0, NULL, "domain") ? 0 : vfm_spans_child(spans, 0, NULL, "domain");
}

guint vfm_editor_devices(const VfmEditor *editor)
{
    return vfm_spans_child(editor->splicer->spans, vfm_editor_domain(editor), NULL, "devices");
}

guint vfm_editor_nth(const VfmEditor *editor, guint parent, const char *name, unsigned rank)
{
    guint child = vfm_spans_child(editor->splicer->spans, parent, NULL, name);

    while (child != VFM_NO_SPAN && rank-- > 0)
        child = vfm_spans_next(editor->splicer->spans, child, NULL, name);
    return child;
}

static bool lost(const char *what, GError **error)
{
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED, "its %s is not where it was read", what);
    return false;
}

bool vfm_editor_ensure(VfmEditor *editor, guint parent, const char *const *order, const char *name, const char *markup,
                       guint *child, GError **error)
{
    if (parent == VFM_NO_SPAN)
        return lost("element", error);
    *child = vfm_spans_child(editor->splicer->spans, parent, NULL, name);
    return *child != VFM_NO_SPAN ||
           vfm_splicer_insert_child(editor->splicer, parent, order, name, markup, child, error);
}

bool vfm_editor_set_attribute(VfmEditor *editor, guint element, const char *name, const char *value, GError **error)
{
    g_autofree char *old = vfm_spans_attribute_text(editor->splicer->spans, element, name, NULL);

    return g_strcmp0(old, value) == 0 || vfm_splicer_set_attribute(editor->splicer, element, name, value, error);
}

/* The unit for a new element: the largest in which @bytes is whole and that a person would write. */
static const char *plain_unit(uint64_t bytes, uint64_t *scale)
{
    static const char *const units[] = {"GiB", "MiB", "KiB"};

    for (gsize i = 0; i < G_N_ELEMENTS(units); i++) {
        *scale = UINT64_C(1) << (30 - 10 * i);
        if (bytes % *scale == 0 && (bytes > 0 || i == 2))
            return units[i];
    }
    return "KiB";
}

/* The unit a sibling uses, if the size is whole in it: generated XML is all KiB, hand-written is what people like. */
static const char *unit_beside(const VfmEditor *editor, guint parent, uint64_t bytes, uint64_t *scale)
{
    const VfmSpans *spans = editor->splicer->spans;
    guint size = vfm_spans_child(spans, parent, NULL, "size");
    g_autofree char *unit = size != VFM_NO_SPAN ? vfm_spans_attribute_text(spans, size, "unit", NULL) : NULL;

    if (unit && strcmp(unit, "KiB") == 0) {
        *scale = VFM_KIB;
        return "KiB";
    }
    return plain_unit(bytes, scale);
}

/* An element that is there: its number, and its unit only if it has to. */
static bool change_size(VfmEditor *editor, guint element, uint64_t bytes, GError **error)
{
    g_autofree char *unit = vfm_spans_attribute_text(editor->splicer->spans, element, "unit", NULL);
    g_autofree char *old = vfm_spans_text(editor->splicer->spans, element);
    g_autofree char *number = NULL;
    uint64_t scale = 1, was;

    if (vfm_memory_size_parse(old, unit, &was, NULL) && was == bytes)
        return true;
    if (!vfm_size_scale(1, unit, VFM_KIB, UINT64_MAX, &scale, error))
        return false;
    if (bytes % scale != 0) {
        const char *better = plain_unit(bytes, &scale);

        if (!vfm_splicer_set_attribute(editor->splicer, element, "unit", better, error))
            return false;
    }
    number = g_strdup_printf("%" G_GUINT64_FORMAT, bytes / scale);
    return vfm_splicer_set_text(editor->splicer, element, number, error);
}

bool vfm_editor_set_size(VfmEditor *editor, guint parent, const char *const *order, const char *name, uint64_t bytes,
                         GError **error)
{
    g_autofree char *markup = NULL;
    const char *unit;
    uint64_t scale;
    guint child;

    if (parent == VFM_NO_SPAN)
        return lost("element", error);
    if (bytes % VFM_KIB != 0 || bytes > VFM_MEMORY_SIZE_MAX) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                    "%" G_GUINT64_FORMAT " bytes are no whole number of KiB that libvirt can hold", bytes);
        return false;
    }
    child = vfm_spans_child(editor->splicer->spans, parent, NULL, name);
    if (child != VFM_NO_SPAN)
        return change_size(editor, child, bytes, error);
    unit = unit_beside(editor, parent, bytes, &scale);
    markup = g_strdup_printf("<%s unit='%s'>%" G_GUINT64_FORMAT "</%s>", name, unit, bytes / scale, name);
    return vfm_splicer_insert_child(editor->splicer, parent, order, name, markup, &child, error);
}

/* The next <qemu:arg> that is the value of a -device of @kind, behind *at; *at is VFM_NO_SPAN at the start
 * and the result. Options and values pair up as in commandline_xml.c. */
static VfmDeviceArg *next_device(const VfmEditor *editor, VfmDriverKind kind, guint *at)
{
    const VfmSpans *spans = editor->splicer->spans;
    guint line = vfm_spans_child(spans, vfm_editor_domain(editor), VFM_QEMU_NAMESPACE, "commandline");
    bool behind = *at == VFM_NO_SPAN;

    for (; line != VFM_NO_SPAN; line = vfm_spans_next(spans, line, VFM_QEMU_NAMESPACE, "commandline")) {
        g_autofree char *option = NULL;

        for (guint arg = vfm_spans_child(spans, line, VFM_QEMU_NAMESPACE, "arg"); arg != VFM_NO_SPAN;
             arg = vfm_spans_next(spans, arg, VFM_QEMU_NAMESPACE, "arg")) {
            g_autofree char *value = vfm_spans_attribute_text(spans, arg, "value", NULL);
            g_autoptr(VfmDeviceArg) device = NULL;
            int detail;

            if (!value)
                continue;
            if (!option) {
                option = g_strdup(vfm_commandline_option(value));
                continue;
            }
            if (behind && strcmp(option, "device") == 0)
                device = vfm_device_arg_parse(value, "driver", NULL);
            g_clear_pointer(&option, g_free);
            behind |= arg == *at;
            if (device && vfm_commandline_driver(vfm_device_arg_get(device, "driver"), &detail) == kind) {
                *at = arg;
                return g_steal_pointer(&device);
            }
        }
    }
    return NULL;
}

static VfmDeviceArg *nth_device(const VfmEditor *editor, VfmDriverKind kind, unsigned rank, guint *at, GError **error)
{
    VfmDeviceArg *device;

    *at = VFM_NO_SPAN;
    device = next_device(editor, kind, at);
    while (device && rank-- > 0) {
        vfm_device_arg_free(device);
        device = next_device(editor, kind, at);
    }
    if (!device)
        lost("-device", error);
    return device;
}

bool vfm_editor_set_argument_number(VfmEditor *editor, VfmDriverKind kind, unsigned rank, const char *property,
                                    uint64_t value, GError **error)
{
    guint at;
    g_autoptr(VfmDeviceArg) device = nth_device(editor, kind, rank, &at, error);
    g_autofree char *text = device ? vfm_device_arg_with_number(device, property, value) : NULL;

    return text && vfm_splicer_change_attribute(editor->splicer, at, "value", text, error);
}

bool vfm_editor_set_argument_switch(VfmEditor *editor, VfmDriverKind kind, unsigned rank, const char *property, bool on,
                                    GError **error)
{
    guint at;
    g_autoptr(VfmDeviceArg) device = nth_device(editor, kind, rank, &at, error);
    g_autofree char *text = device ? vfm_device_arg_with_switch(device, property, on) : NULL;

    return text && vfm_splicer_change_attribute(editor->splicer, at, "value", text, error);
}

bool vfm_editor_argument_switches(VfmEditor *editor, VfmDriverKind kind, const char *property, bool on, GError **error)
{
    guint at = VFM_NO_SPAN;

    for (;;) {
        g_autoptr(VfmDeviceArg) device = next_device(editor, kind, &at);
        g_autofree char *text = NULL;

        if (!device)
            return true;
        if (!vfm_device_arg_get(device, property))
            continue;
        text = vfm_device_arg_with_switch(device, property, on);
        if (!vfm_splicer_change_attribute(editor->splicer, at, "value", text, error))
            return false;
    }
}

bool vfm_editor_override_off(VfmEditor *editor, const char *alias, const char *property, GError **error)
{
    static const char *const path[] = {"override", "device", "frontend", "property"};
    const VfmSpans *spans = editor->splicer->spans;
    guint at[G_N_ELEMENTS(path)];
    gsize depth = 0;

    at[0] = vfm_spans_child(spans, vfm_editor_domain(editor), VFM_QEMU_NAMESPACE, path[0]);
    for (;;) {
        g_autofree char *text = NULL;

        if (at[depth] == VFM_NO_SPAN) {
            if (depth == 0)
                return true;
            depth--;
            at[depth] = vfm_spans_next(editor->splicer->spans, at[depth], VFM_QEMU_NAMESPACE, path[depth]);
            continue;
        }
        spans = editor->splicer->spans;
        text = vfm_spans_attribute_text(spans, at[depth], depth == 1 ? "alias" : "name", NULL);
        if (depth + 1 < G_N_ELEMENTS(path) && (depth != 1 || g_strcmp0(text, alias) == 0)) {
            at[depth + 1] = vfm_spans_child(spans, at[depth], VFM_QEMU_NAMESPACE, path[depth + 1]);
            depth++;
            continue;
        }
        /* libvirt's boolean override is written true or false. */
        if (depth + 1 == G_N_ELEMENTS(path) && g_strcmp0(text, property) == 0 &&
            !vfm_editor_set_attribute(editor, at[depth], "value", "false", error))
            return false;
        at[depth] = vfm_spans_next(editor->splicer->spans, at[depth], VFM_QEMU_NAMESPACE, path[depth]);
    }
}
