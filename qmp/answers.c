/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "answers.h"

#include <string.h>

static JsonNode *parse(const char *text, gssize length)
{
    g_autoptr(JsonParser) parser = json_parser_new_immutable();

    /* libvirt and QEMU write strict JSON; what json-glib refuses counts as not understood. */
    return json_parser_load_from_data(parser, text, length, NULL) ? json_parser_steal_root(parser) : NULL;
}

JsonObject *vfm_node_object(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_OBJECT(node) ? json_node_get_object(node) : NULL;
}

JsonArray *vfm_node_array(JsonNode *node)
{
    return node && JSON_NODE_HOLDS_ARRAY(node) ? json_node_get_array(node) : NULL;
}

JsonNode *vfm_answer_value(const char *reply)
{
    VfmMessage message;

    if (!vfm_message_read(&message, reply, strlen(reply)) || !message.returned.at)
        return NULL;
    return parse(message.returned.at, (gssize)message.returned.length);
}

char *vfm_answer_error(const char *reply)
{
    g_autoptr(JsonNode) error = NULL;
    VfmMessage message;
    const char *text;

    if (!vfm_message_read(&message, reply, strlen(reply)) || !message.error.at)
        return NULL;
    error = parse(message.error.at, (gssize)message.error.length);
    text = vfm_member_string(vfm_node_object(error), "desc");
    return g_strdup(text ? text : "QEMU gave no reason");
}

JsonObject *vfm_answer_arguments(VfmSlice slice)
{
    g_autoptr(JsonNode) node = slice.at ? parse(slice.at, (gssize)slice.length) : NULL;
    JsonObject *object = vfm_node_object(node);

    return object ? json_object_ref(object) : NULL;
}

JsonObject *vfm_element_object(JsonArray *array, guint index)
{
    return array && index < json_array_get_length(array) ? vfm_node_object(json_array_get_element(array, index)) : NULL;
}

static JsonNode *member(JsonObject *object, const char *name)
{
    return object ? json_object_get_member(object, name) : NULL;
}

const char *vfm_member_string(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);

    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING
               ? json_node_get_string(node)
               : NULL;
}

VfmMaybe vfm_member_number(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);

    if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64 ||
        json_node_get_int(node) < 0)
        return VFM_NONE;
    return VFM_SOME((uint64_t)json_node_get_int(node));
}

VfmSwitch vfm_member_bool(JsonObject *object, const char *name)
{
    JsonNode *node = member(object, name);

    if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_BOOLEAN)
        return VFM_ABSENT;
    return json_node_get_boolean(node) ? VFM_ON : VFM_OFF;
}

JsonObject *vfm_member_object(JsonObject *object, const char *name)
{
    return vfm_node_object(member(object, name));
}

JsonArray *vfm_member_array(JsonObject *object, const char *name)
{
    return vfm_node_array(member(object, name));
}
