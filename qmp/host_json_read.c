/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"
#include "host_json.h"

#include <errno.h>
#include <json-glib/json-glib.h>
#include <string.h>

/* Our files nest four deep; json-glib recurses as deep as a file asks it to. */
#define NESTING_MAX 16

/* An object being read, and how a person would point at it. */
typedef struct {
    const char *file;
    const char *path; /* "groups[3].devices[0]", "" at the top */
    JsonObject *object;
    GError **error;
} At;

static bool fail(const At *at, const char *member, const char *format, ...) G_GNUC_PRINTF(3, 4);

static bool fail(const At *at, const char *member, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(at->error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s: %s%s%s: %s", at->file, at->path,
                *at->path && member ? "." : "", member ? member : "", what);
    return false;
}

/* The member, or NULL if absent or null: unknown either way. */
static JsonNode *member_of(const At *at, const char *name)
{
    JsonNode *node = json_object_get_member(at->object, name);

    return node && !JSON_NODE_HOLDS_NULL(node) ? node : NULL;
}

static bool check_members(const At *at, const char *const *known)
{
    JsonObjectIter iter;
    const char *name;

    json_object_iter_init(&iter, at->object);
    while (json_object_iter_next(&iter, &name, NULL)) {
        if (!g_strv_contains(known, name))
            return fail(at, name, "unknown member");
    }
    return true;
}

static bool read_string(const At *at, const char *name, char **value)
{
    JsonNode *node = member_of(at, name);

    if (!node)
        return true;
    if (json_node_get_value_type(node) != G_TYPE_STRING)
        return fail(at, name, "must be a string or null");
    g_free(*value);
    *value = json_node_dup_string(node);
    return true;
}

static bool number_from(const At *at, const char *name, JsonNode *node, uint64_t least, VfmMaybe *value)
{
    gint64 number;

    if (json_node_get_value_type(node) != G_TYPE_INT64)
        return fail(at, name, "must be a whole number or null");
    number = json_node_get_int(node);
    if (number < 0)
        return fail(at, name, "must lie between %u and 2^63-1", (unsigned)least);
    if ((uint64_t)number < least)
        return fail(at, name, "must not be zero; what is unknown is null");
    *value = VFM_SOME((uint64_t)number);
    return true;
}

static bool read_number(const At *at, const char *name, uint64_t least, VfmMaybe *value)
{
    JsonNode *node = member_of(at, name);

    return !node || number_from(at, name, node, least, value);
}

static bool read_switch(const At *at, const char *name, VfmSwitch *value)
{
    JsonNode *node = member_of(at, name);

    if (!node)
        return true;
    if (json_node_get_value_type(node) != G_TYPE_BOOLEAN)
        return fail(at, name, "must be true, false or null");
    *value = json_node_get_boolean(node) ? VFM_ON : VFM_OFF;
    return true;
}

static bool read_hex(const At *at, const char *name, VfmMaybe *value)
{
    g_autofree char *text = NULL;
    char *end = NULL;

    if (!read_string(at, name, &text))
        return false;
    if (!text)
        return true;
    errno = 0;
    if (g_str_has_prefix(text, "0x") && g_ascii_isxdigit(text[2]))
        *value = VFM_SOME(g_ascii_strtoull(text + 2, &end, 16));
    if (!end || *end || errno)
        return fail(at, name, "must be a string like \"0xfee00000\"");
    return true;
}

/* thp_size: a size, null for unknown, "none" for a host without transparent huge pages. */
static bool read_thp(const At *at, VfmHost *host)
{
    JsonNode *node = member_of(at, "thp_size");

    if (!node)
        return true;
    host->thp_known = true;
    if (json_node_get_value_type(node) == G_TYPE_STRING && g_str_equal(json_node_get_string(node), "none"))
        return true;
    return number_from(at, "thp_size", node, 1, &host->thp_size);
}

typedef bool (*ReadElement)(const At *at, gpointer target);

/* Calls @read for each element of an array of objects. */
static bool read_objects(const At *at, const char *name, ReadElement read, gpointer target)
{
    JsonNode *node = member_of(at, name);
    JsonArray *array;

    if (!node)
        return true;
    if (!JSON_NODE_HOLDS_ARRAY(node))
        return fail(at, name, "must be an array or null");
    array = json_node_get_array(node);
    for (guint i = 0; i < json_array_get_length(array); i++) {
        JsonNode *element = json_array_get_element(array, i);
        g_autofree char *path = g_strdup_printf("%s%s%s[%u]", at->path, *at->path ? "." : "", name, i);
        At below = {.file = at->file, .path = path, .error = at->error};

        if (!JSON_NODE_HOLDS_OBJECT(element))
            return fail(&below, NULL, "must be an object");
        below.object = json_node_get_object(element);
        if (!read(&below, target))
            return false;
    }
    return true;
}

static bool read_hugepage(const At *at, gpointer target)
{
    static const char *const known[] = {"size", "total", "free", NULL};
    VfmHost *host = target;
    VfmHostHugepage pages = {0};
    VfmMaybe size = VFM_NONE;

    if (!check_members(at, known) || !read_number(at, "size", 1, &size) || !read_number(at, "total", 0, &pages.total) ||
        !read_number(at, "free", 0, &pages.free))
        return false;
    if (!size.set)
        return fail(at, "size", "is missing");
    pages.size = size.value;
    g_array_append_val(host->hugepages, pages);
    return true;
}

static bool read_device(const At *at, gpointer target)
{
    static const char *const known[] = {"address", "driver", "vendor", "device", "class", "numa_node", "cdev", NULL};
    VfmIommuGroup *group = target;
    g_autofree char *address = NULL;
    VfmHostDevice *device;

    if (!check_members(at, known) || !read_string(at, "address", &address))
        return false;
    if (!address || !*address)
        return fail(at, "address", "is missing");
    device = vfm_iommu_group_add_device(group, address);
    return read_string(at, "driver", &device->driver) && read_hex(at, "vendor", &device->vendor) &&
           read_hex(at, "device", &device->device) && read_hex(at, "class", &device->class_code) &&
           read_number(at, "numa_node", 0, &device->numa_node) && read_string(at, "cdev", &device->cdev);
}

static bool read_reserved(const At *at, gpointer target)
{
    static const char *const known[] = {"start", "end", "type", NULL};
    VfmIommuGroup *group = target;
    VfmMaybe start = VFM_NONE, end = VFM_NONE;
    g_autofree char *type = NULL;
    VfmReserved region = {0};

    if (!check_members(at, known) || !read_hex(at, "start", &start) || !read_hex(at, "end", &end) ||
        !read_string(at, "type", &type))
        return false;
    if (!start.set || !end.set || !type)
        return fail(at, NULL, "needs start, end and type");
    if (start.value > end.value)
        return fail(at, "end", "lies before start");
    region.start = start.value;
    region.end = end.value;
    for (VfmReservedType known_type = VFM_RESERVED_DIRECT; known_type <= VFM_RESERVED_MSI; known_type++) {
        if (g_str_equal(type, vfm_reserved_type_name(known_type))) {
            region.type = known_type;
            g_array_append_val(group->reserved, region);
            return true;
        }
    }
    return fail(at, "type", "must be direct, direct-relaxable, reserved or msi");
}

static bool read_group(const At *at, gpointer target)
{
    static const char *const known[] = {"id", "type", "devices", "reserved", NULL};
    VfmHost *host = target;
    VfmMaybe id = VFM_NONE;
    VfmIommuGroup *group;

    if (!check_members(at, known) || !read_number(at, "id", 0, &id))
        return false;
    if (!id.set || id.value > G_MAXUINT)
        return fail(at, "id", "must be a group number");
    group = vfm_host_add_group(host, (unsigned)id.value);
    group->reserved_known = member_of(at, "reserved") != NULL;
    return read_string(at, "type", &group->type) && read_objects(at, "devices", read_device, group) &&
           read_objects(at, "reserved", read_reserved, group);
}

static gint compare_groups(gconstpointer a, gconstpointer b)
{
    const VfmIommuGroup *x = *(VfmIommuGroup *const *)a, *y = *(VfmIommuGroup *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static gint compare_reserved(gconstpointer a, gconstpointer b)
{
    const VfmReserved *x = a, *y = b;

    return x->start < y->start ? -1 : x->start > y->start;
}

static gint compare_hugepages(gconstpointer a, gconstpointer b)
{
    const VfmHostHugepage *x = a, *y = b;

    return x->size < y->size ? -1 : x->size > y->size;
}

/* host.h promises ascending order and each group once; a file edited by hand need not have either. */
static bool sort(const At *at, VfmHost *host)
{
    g_ptr_array_sort(host->groups, compare_groups);
    g_array_sort(host->hugepages, compare_hugepages);
    for (guint i = 0; i < host->groups->len; i++) {
        VfmIommuGroup *group = g_ptr_array_index(host->groups, i);

        if (i && group->id == ((const VfmIommuGroup *)g_ptr_array_index(host->groups, i - 1))->id)
            return fail(at, "groups", "the group %u is there twice", group->id);
        g_array_sort(group->reserved, compare_reserved);
    }
    return true;
}

static VfmHost *read_host(const At *at)
{
    static const char *const known[] = {"format",
                                        "name",
                                        "kernel",
                                        "memory",
                                        "page_size",
                                        "phys_bits",
                                        "thp_size",
                                        "default_hugepage",
                                        "hugepages",
                                        "dma_entry_limit",
                                        "kvm_memslots",
                                        "iommu",
                                        "interrupt_remapping",
                                        "unsafe_interrupts",
                                        "iommufd",
                                        "vfio_compat",
                                        "groups",
                                        NULL};
    g_autoptr(VfmHost) host = vfm_host_new();
    g_autofree char *format = NULL;

    if (!read_string(at, "format", &format))
        return NULL;
    if (g_strcmp0(format, VFM_HOST_JSON_FORMAT) != 0) {
        fail(at, "format", "must be \"%s\": not a file of `vfiomem host --format json`, or of a later version",
             VFM_HOST_JSON_FORMAT);
        return NULL;
    }
    if (!check_members(at, known) || !read_string(at, "name", &host->name) ||
        !read_string(at, "kernel", &host->kernel) || !read_number(at, "memory", 1, &host->memory) ||
        !read_number(at, "page_size", 1, &host->page_size) || !read_number(at, "phys_bits", 1, &host->phys_bits) ||
        !read_thp(at, host) || !read_number(at, "default_hugepage", 1, &host->default_hugepage) ||
        !read_objects(at, "hugepages", read_hugepage, host) ||
        !read_number(at, "dma_entry_limit", 0, &host->dma_entry_limit) ||
        !read_number(at, "kvm_memslots", 1, &host->kvm_memslots) || !read_switch(at, "iommu", &host->iommu) ||
        !read_switch(at, "interrupt_remapping", &host->interrupt_remapping) ||
        !read_switch(at, "unsafe_interrupts", &host->unsafe_interrupts) ||
        !read_switch(at, "iommufd", &host->iommufd) || !read_switch(at, "vfio_compat", &host->vfio_compat) ||
        !read_objects(at, "groups", read_group, host) || !sort(at, host))
        return NULL;
    return g_steal_pointer(&host);
}

/* Deepest nesting of brackets outside strings. */
static unsigned nesting(const char *text, gsize length)
{
    unsigned depth = 0, deepest = 0;
    bool quoted = false;

    for (gsize i = 0; i < length; i++) {
        if (quoted) {
            if (text[i] == '\\')
                i++;
            else if (text[i] == '"')
                quoted = false;
        } else if (text[i] == '"') {
            quoted = true;
        } else if (text[i] == '{' || text[i] == '[') {
            depth++; /* not inside MAX(), which evaluates it twice */
            deepest = MAX(deepest, depth);
        } else if ((text[i] == '}' || text[i] == ']') && depth) {
            depth--;
        }
    }
    return deepest;
}

VfmHost *vfm_host_from_json(const char *text, gsize length, const char *file, GError **error)
{
    g_autoptr(JsonParser) parser = NULL;
    g_autoptr(GError) local = NULL;
    At top = {.file = file, .path = "", .error = error};
    JsonNode *root;

    if (length > VFM_HOST_JSON_MAX) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "%s: larger than %u MiB, which no host needs", file,
                    VFM_HOST_JSON_MAX >> 20);
        return NULL;
    }
    if (memchr(text, '\0', length) || !g_utf8_validate(text, (gssize)length, NULL)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s: not a text in UTF-8", file);
        return NULL;
    }
    if (nesting(text, length) > NESTING_MAX) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s: nested deeper than %u", file, NESTING_MAX);
        return NULL;
    }
    parser = json_parser_new();
    if (!json_parser_load_from_data(parser, text, (gssize)length, &local)) {
        /* json-glib calls its input "<data>" where it has no name: "<data>:3:5: …". */
        const char *message = g_str_has_prefix(local->message, "<data>:") ? local->message + strlen("<data>:") : NULL;

        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s:%s%s", file, message ? "" : " ",
                    message ? message : local->message);
        return NULL;
    }
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "%s: not a JSON object as `vfiomem host --format json` writes it", file);
        return NULL;
    }
    top.object = json_node_get_object(root);
    return read_host(&top);
}
