/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor_read.h"

#include "answers.h"
#include "error.h"

static void pair_free(gpointer data)
{
    VfmStatusPair *pair = data;

    g_free(pair->name);
    g_free(pair->what);
    g_free(pair);
}

static void memory_free(gpointer data)
{
    VfmStatusMemory *memory = data;

    g_free(memory->id);
    g_free(memory->model);
    g_free(memory);
}

static JsonNode *value_of(const char *reply, GError **error)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);
    g_autofree char *why = node ? NULL : vfm_answer_error(reply);

    if (vfm_node_object(node))
        return g_steal_pointer(&node);
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s",
                why ? why : "the monitor's answer is none of vfiomem's");
    return NULL;
}

static uint64_t number(JsonObject *object, const char *name)
{
    VfmMaybe value = vfm_member_number(object, name);

    return value.set ? value.value : 0;
}

static guint count(JsonArray *array)
{
    return array ? json_array_get_length(array) : 0;
}

static GPtrArray *read_inhibitors(JsonArray *array)
{
    GPtrArray *pairs = g_ptr_array_new_with_free_func(pair_free);

    for (guint i = 0; i < count(array); i++) {
        JsonObject *element = vfm_element_object(array, i);
        VfmStatusPair *pair = g_new0(VfmStatusPair, 1);

        pair->name = g_strdup(vfm_member_string(element, "holder"));
        pair->what = g_strdup(vfm_member_string(element, "kind"));
        g_ptr_array_add(pairs, pair);
    }
    return pairs;
}

static GPtrArray *read_assigned(JsonArray *array)
{
    GPtrArray *pairs = g_ptr_array_new_with_free_func(pair_free);

    for (guint i = 0; i < count(array); i++) {
        JsonObject *element = vfm_element_object(array, i);
        const char *kind = vfm_member_string(element, "kind"), *address = vfm_member_string(element, "address");
        const char *host = vfm_member_string(element, "host"); /* of one that the helper serves at @address */
        VfmStatusPair *pair = g_new0(VfmStatusPair, 1);

        pair->name = g_strdup(vfm_member_string(element, "id"));
        pair->what = g_strdup_printf("%s %s%s",
                                     host   ? "pci"
                                     : kind ? kind
                                            : "?",
                                     host      ? host
                                     : address ? address
                                               : "",
                                     vfm_member_bool(element, "lost") == VFM_ON ? ", lost: the guest has a dead device"
                                     : vfm_member_bool(element, "held") == VFM_ON ? ", kept from DMA"
                                                                                  : "");
        g_ptr_array_add(pairs, pair);
    }
    return pairs;
}

static GPtrArray *read_memory(JsonArray *array)
{
    GPtrArray *devices = g_ptr_array_new_with_free_func(memory_free);

    for (guint i = 0; i < count(array); i++) {
        JsonObject *element = vfm_element_object(array, i);
        VfmStatusMemory *memory = g_new0(VfmStatusMemory, 1);

        memory->id = g_strdup(vfm_member_string(element, "id"));
        memory->model = g_strdup(vfm_member_string(element, "model"));
        memory->node = vfm_member_number(element, "node");
        memory->block = vfm_member_number(element, "block");
        memory->requested = vfm_member_number(element, "requested");
        memory->size = number(element, "size");
        memory->plugged = number(element, "plugged");
        g_ptr_array_add(devices, memory);
    }
    return devices;
}

VfmStatus *vfm_monitor_read_status(const char *reply, GError **error)
{
    g_autoptr(JsonNode) node = value_of(reply, error);
    JsonObject *root = vfm_node_object(node), *balloon, *mappings, *memlock, *memory, *helper;
    VfmStatus *status;

    if (!root)
        return NULL;
    status = g_new0(VfmStatus, 1);
    balloon = vfm_member_object(root, "balloon");
    mappings = vfm_member_object(root, "mappings");
    memlock = vfm_member_object(root, "memlock");
    memory = vfm_member_object(root, "memory");
    helper = vfm_member_object(root, "helper");
    status->domain = g_strdup(vfm_member_string(root, "domain"));
    status->state = g_strdup(vfm_member_string(root, "state"));
    status->owner = g_strdup(vfm_member_string(root, "owner"));
    status->backend = g_strdup(vfm_member_string(root, "backend"));
    status->balloon_policy = g_strdup(vfm_member_string(vfm_member_object(root, "policy"), "balloon"));
    status->level = g_strdup(vfm_member_string(helper, "level"));
    status->devices = g_strdup(vfm_member_string(helper, "devices"));
    status->balloon_present = vfm_member_bool(balloon, "present") == VFM_ON;
    status->balloon_effective = vfm_member_bool(balloon, "effective") == VFM_ON;
    status->balloon_actual = vfm_member_number(balloon, "actual");
    status->containers = number(mappings, "containers");
    status->mappings_used = number(mappings, "used");
    status->mappings_full = number(mappings, "full");
    status->budget = vfm_member_number(mappings, "budget");
    status->pinned = number(root, "pinned");
    status->memlock_required = number(memlock, "required");
    status->memlock_limit = vfm_member_number(memlock, "limit");
    status->boot = number(memory, "boot");
    status->restarts = number(helper, "restarts");
    status->refusals = number(helper, "refusals");
    status->inhibitors = read_inhibitors(vfm_member_array(root, "inhibitors"));
    status->assigned = read_assigned(vfm_member_array(root, "assigned"));
    status->memory = read_memory(vfm_member_array(memory, "devices"));
    return status;
}

bool vfm_monitor_read_mappings(const char *reply, GPtrArray *ranges, uint64_t *total, GError **error)
{
    g_autoptr(JsonNode) node = value_of(reply, error);
    JsonObject *root = vfm_node_object(node);
    JsonArray *array = vfm_member_array(root, "ranges");

    if (!root)
        return false;
    *total = number(root, "total");
    for (guint i = 0; i < count(array); i++) {
        JsonObject *element = vfm_element_object(array, i);
        VfmMappedRange *range = g_new0(VfmMappedRange, 1);

        range->start = number(element, "start");
        range->size = number(element, "size");
        range->mapped = number(element, "mapped");
        range->mappings = number(element, "mappings");
        range->block = vfm_member_number(element, "block");
        range->kind = g_strdup(vfm_member_string(element, "kind"));
        range->name = g_strdup(vfm_member_string(element, "name"));
        g_ptr_array_add(ranges, range);
    }
    return true;
}
