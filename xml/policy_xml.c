/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* <metadata><vfiomem:policy>: ours alone, so what is not known here is a mistake and not somebody else's. */
#include "parts.h"

#include <string.h>

#include "number.h"

typedef bool (*ReadPolicy)(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy);

static bool is_ours(const xmlNode *node)
{
    return node->ns && strcmp((const char *)node->ns->href, VFM_POLICY_NAMESPACE) == 0;
}

/* Every attribute has to be in @known (NULL-terminated). */
static bool check_attributes(const VfmXmlReader *reader, const xmlNode *node, const char *const *known)
{
    for (const xmlAttr *attribute = node->properties; attribute; attribute = attribute->next) {
        g_autofree char *names = NULL;

        if (!attribute->ns && g_strv_contains(known, (const char *)attribute->name))
            continue;
        names = known[0] ? g_strjoinv(", ", (char **)known) : g_strdup("none");
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX,
                            "vfiomem policy: <%s> knows no attribute '%s%s%s'; it takes %s", (const char *)node->name,
                            attribute->ns && attribute->ns->prefix ? (const char *)attribute->ns->prefix : "",
                            attribute->ns && attribute->ns->prefix ? ":" : "", (const char *)attribute->name, names);
    }
    return true;
}

/* Only comments, white space and, if @elements, elements may stand below @node. */
static bool check_content(const VfmXmlReader *reader, const xmlNode *node, bool elements)
{
    for (const xmlNode *child = node->children; child; child = child->next) {
        bool text = child->type == XML_TEXT_NODE || child->type == XML_CDATA_SECTION_NODE;

        if (child->type == XML_COMMENT_NODE || child->type == XML_PI_NODE || (text && xmlIsBlankNode((xmlNode *)child)))
            continue;
        if (child->type == XML_ELEMENT_NODE && elements)
            continue;
        if (child->type == XML_ELEMENT_NODE)
            return vfm_xml_fail(reader, child, VFM_INPUT_SYNTAX, "vfiomem policy: <%s> holds no elements, found <%s>",
                                (const char *)node->name, (const char *)child->name);
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX, "vfiomem policy: <%s> holds no text",
                            (const char *)node->name);
    }
    return true;
}

static bool read_mapping(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const known[] = {"owner", "backend", "required", NULL};
    static const char *const owners[] = {"qemu", "helper", NULL};
    static const char *const backends[] = {"auto", "type1", "iommufd", NULL};
    int owner, backend;
    VfmSwitch required;

    if (policy->mapping_line)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: <mapping> stands here again; the first one is in line %u",
                            policy->mapping_line);
    if (!check_attributes(reader, node, known) || !vfm_xml_choice(reader, node, "owner", owners, &owner) ||
        !vfm_xml_choice(reader, node, "backend", backends, &backend) ||
        !vfm_xml_yes_no(reader, node, "required", &required))
        return false;
    policy->mapping_line = vfm_xml_line(node);
    policy->owner = owner < 0 ? VFM_OWNER_QEMU : (VfmOwner)owner;
    policy->backend = backend < 0 ? VFM_BACKEND_AUTO : (VfmBackendKind)backend;
    policy->required = required == VFM_ON;
    return true;
}

static bool read_budget(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const known[] = {"mappings", "headroom", NULL};

    if (policy->budget_line)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: <budget> stands here again; the first one is in line %u",
                            policy->budget_line);
    if (!check_attributes(reader, node, known) ||
        !vfm_xml_number_attribute(reader, node, "mappings", 10, G_MAXUINT32, &policy->budget_mappings) ||
        !vfm_xml_number_attribute(reader, node, "headroom", 10, G_MAXUINT32, &policy->budget_headroom))
        return false;
    if (policy->budget_mappings.set && policy->budget_mappings.value == 0)
        return vfm_xml_fail(reader, node, VFM_INPUT_RANGE, "vfiomem policy: a budget of 0 mappings allows no device");
    if (policy->budget_mappings.set && policy->budget_headroom.set &&
        policy->budget_headroom.value >= policy->budget_mappings.value)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: a headroom of %" G_GUINT64_FORMAT " leaves nothing of %" G_GUINT64_FORMAT
                            " mappings",
                            policy->budget_headroom.value, policy->budget_mappings.value);
    policy->budget_line = vfm_xml_line(node);
    return true;
}

static bool read_balloon(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const known[] = {"inhibited", NULL};
    static const char *const choices[] = {"refuse", "resize", "pass", NULL};
    int choice;

    if (policy->balloon_line)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: <balloon> stands here again; the first one is in line %u",
                            policy->balloon_line);
    if (!check_attributes(reader, node, known) || !vfm_xml_choice(reader, node, "inhibited", choices, &choice))
        return false;
    policy->balloon_line = vfm_xml_line(node);
    policy->balloon = choice < 0 ? VFM_BALLOON_REFUSE : (VfmBalloonPolicy)choice;
    return true;
}

/* Addresses and sizes of windows are bytes, decimal or 0x, as in every table of guest physical memory. */
static bool read_window(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const known[] = {"start", "size", NULL};
    VfmWindow window = {.line = vfm_xml_line(node)};
    VfmMaybe start, size;

    if (!check_attributes(reader, node, known) ||
        !vfm_xml_number_attribute(reader, node, "start", 0, UINT64_MAX, &start) ||
        !vfm_xml_number_attribute(reader, node, "size", 0, UINT64_MAX, &size))
        return false;
    if (!start.set || !size.set || size.value == 0)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX,
                            "vfiomem policy: <window> needs a start and a size above 0, both in bytes");
    if (start.value > UINT64_MAX - size.value)
        return vfm_xml_fail(reader, node, VFM_INPUT_RANGE, "vfiomem policy: <window> ends beyond 64 bits");
    window.start = start.value;
    window.size = size.value;
    g_array_append_val(policy->windows, window);
    return true;
}

static int compare_windows(gconstpointer a, gconstpointer b)
{
    const VfmWindow *left = a, *right = b;

    return left->start < right->start ? -1 : left->start > right->start;
}

/* Sorted, so that many windows stay cheap; the policy keeps the order they are written in. */
static bool check_windows(const VfmXmlReader *reader, const VfmPolicy *policy)
{
    g_autoptr(GArray) sorted = g_array_copy(policy->windows);

    g_array_sort(sorted, compare_windows);
    for (guint i = 1; i < sorted->len; i++) {
        const VfmWindow *below = &g_array_index(sorted, VfmWindow, i - 1);
        const VfmWindow *above = &g_array_index(sorted, VfmWindow, i);

        if (below->start + below->size <= above->start)
            continue;
        vfm_xml_fail_at(reader->error, reader->file, MAX(below->line, above->line), VFM_INPUT_CONFLICT,
                        "vfiomem policy: <window> overlaps the one in line %u", MIN(below->line, above->line));
        return false;
    }
    return true;
}

/* Bytes unless a unit is given, like the windows: one default within a policy. */
static bool read_resize_size(const VfmXmlReader *reader, const xmlNode *node, const char *name, const char *unit,
                             VfmMaybe *size)
{
    GError *cause = NULL;

    if (!vfm_xml_number_attribute(reader, node, name, 10, UINT64_MAX, size))
        return false;
    if (size->set && !vfm_size_scale(size->value, unit, 1, VFM_MEMORY_SIZE_MAX, &size->value, &cause)) {
        vfm_xml_fail(reader, node, cause->code, "vfiomem policy: %s of <resize>: %s", name, cause->message);
        g_error_free(cause);
        return false;
    }
    return true;
}

static bool read_resize(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const known[] = {"min", "max", "unit", NULL};
    g_autofree char *unit = vfm_xml_attribute(node, "unit");

    if (policy->resize_present)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: <resize> stands here again; the first one is in line %u",
                            policy->resize_line);
    if (!check_attributes(reader, node, known) || !read_resize_size(reader, node, "min", unit, &policy->resize_min) ||
        !read_resize_size(reader, node, "max", unit, &policy->resize_max))
        return false;
    if (policy->resize_min.set && policy->resize_max.set && policy->resize_min.value > policy->resize_max.value)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT, "vfiomem policy: <resize> has a min above its max");
    policy->resize_present = true;
    policy->resize_line = vfm_xml_line(node);
    return true;
}

static bool read_policy_child(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const struct {
        const char *name;
        ReadPolicy read;
    } readers[] = {
        {"mapping", read_mapping}, {"budget", read_budget}, {"balloon", read_balloon},
        {"window", read_window},   {"resize", read_resize},
    };

    for (gsize i = 0; is_ours(node) && i < G_N_ELEMENTS(readers); i++) {
        if (strcmp((const char *)node->name, readers[i].name) == 0)
            return check_content(reader, node, false) && readers[i].read(reader, node, policy);
    }
    return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX,
                        "vfiomem policy: <%s>%s is unknown; a policy holds mapping, budget, balloon, window, resize",
                        (const char *)node->name,
                        is_ours(node) ? "" : " is not in namespace " VFM_POLICY_NAMESPACE " and");
}

static bool read_policy(const VfmXmlReader *reader, const xmlNode *node, VfmPolicy *policy)
{
    static const char *const none[] = {NULL};

    if (!is_ours(node))
        return vfm_xml_fail(reader, node, VFM_INPUT_UNSUPPORTED,
                            "vfiomem policy: namespace '%s' is unknown here; this version reads " VFM_POLICY_NAMESPACE,
                            (const char *)node->ns->href);
    if (strcmp((const char *)node->name, "policy") != 0)
        return vfm_xml_fail(reader, node, VFM_INPUT_SYNTAX,
                            "<metadata>: <%s> is unknown in namespace " VFM_POLICY_NAMESPACE "; use <policy>",
                            (const char *)node->name);
    if (policy->present)
        return vfm_xml_fail(reader, node, VFM_INPUT_CONFLICT,
                            "vfiomem policy: <policy> stands here again; the first one is in line %u", policy->line);
    policy->present = true;
    policy->line = vfm_xml_line(node);
    if (!check_attributes(reader, node, none) || !check_content(reader, node, true))
        return false;
    for (const xmlNode *child = node->children; child; child = child->next) {
        if (child->type == XML_ELEMENT_NODE && !read_policy_child(reader, child, policy))
            return false;
    }
    return check_windows(reader, policy);
}

bool vfm_xml_read_policy(const VfmXmlReader *reader, const xmlNode *root, VfmDomain *domain)
{
    xmlNode *metadata;

    if (!vfm_xml_only_child(reader, root, "metadata", &metadata) || !vfm_xml_check_prefixes(reader, metadata))
        return false;
    for (const xmlNode *node = metadata ? metadata->children : NULL; node; node = node->next) {
        if (node->type != XML_ELEMENT_NODE || !node->ns ||
            !g_str_has_prefix((const char *)node->ns->href, VFM_POLICY_NAMESPACE_FAMILY))
            continue;
        if (!read_policy(reader, node, &domain->policy))
            return false;
    }
    return true;
}
