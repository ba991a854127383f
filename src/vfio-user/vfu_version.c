/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "vfu_version.h"

#include <json-glib/json-glib.h>
#include <string.h>

/* The object's @name as a number of at least @min, if it is there. */
static bool number(JsonObject *object, const char *name, uint64_t min, uint64_t *value, GError **error)
{
    JsonNode *node = json_object_get_member(object, name);

    if (!node)
        return true;
    if (!JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_INT64 || json_node_get_int(node) < 0 ||
        (uint64_t)json_node_get_int(node) < min) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                    "vfio-user: the client's capability %s is not a number of at least %" G_GUINT64_FORMAT, name, min);
        return false;
    }
    *value = json_node_get_int(node);
    return true;
}

static bool parse_capabilities(JsonObject *capabilities, VfmVfuClient *client, GError **error)
{
    JsonNode *multiple = json_object_get_member(capabilities, "write_multiple");

    if (!number(capabilities, "max_msg_fds", 1, &client->max_msg_fds, error) ||
        !number(capabilities, "max_data_xfer_size", 1, &client->max_data_xfer_size, error) ||
        !number(capabilities, "max_dma_maps", 0, &client->max_dma_maps, error) ||
        !number(capabilities, "pgsizes", 1, &client->page_sizes, error))
        return false;
    if (multiple) {
        if (!JSON_NODE_HOLDS_VALUE(multiple) || json_node_get_value_type(multiple) != G_TYPE_BOOLEAN) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE,
                        "vfio-user: the client's capability write_multiple is not a boolean");
            return false;
        }
        client->write_multiple = json_node_get_boolean(multiple);
    }
    return true;
}

bool vfm_vfu_version_parse(const void *payload, uint32_t length, VfmVfuClient *client, GError **error)
{
    g_autoptr(JsonParser) parser = NULL;
    g_autoptr(GError) local = NULL;
    VfmVfuVersion version;
    const char *text;
    JsonNode *root, *capabilities;

    /* The specification's defaults. */
    *client = (VfmVfuClient){
        .max_msg_fds = 1,
        .max_data_xfer_size = 1048576,
        .max_dma_maps = 65535,
        .page_sizes = 4096,
    };
    if (length < sizeof(version)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "vfio-user: the version message has %u bytes", length);
        return false;
    }
    memcpy(&version, payload, sizeof(version));
    client->major = version.major;
    client->minor = version.minor;
    text = (const char *)payload + sizeof(version);
    length -= sizeof(version);
    if (length > VFM_VFU_MAX_VERSION) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE,
                    "vfio-user: the version message has %u bytes of data, at most %d are read", length,
                    VFM_VFU_MAX_VERSION);
        return false;
    }
    if (length == 0)
        return true;
    if (memchr(text, '\0', length) != text + length - 1 || !g_utf8_validate(text, length - 1, NULL)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "vfio-user: the version message's data is not one UTF-8 string with a terminating NUL");
        return false;
    }
    parser = json_parser_new_immutable();
    if (!json_parser_load_from_data(parser, text, length - 1, &local)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "vfio-user: the version message's data is not JSON: %s",
                    local->message);
        return false;
    }
    root = json_parser_get_root(parser);
    if (!root || !JSON_NODE_HOLDS_OBJECT(root)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "vfio-user: the version message's data is not an object");
        return false;
    }
    capabilities = json_object_get_member(json_node_get_object(root), "capabilities");
    if (!capabilities)
        return true;
    if (!JSON_NODE_HOLDS_OBJECT(capabilities)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "vfio-user: the client's capabilities are not an object");
        return false;
    }
    return parse_capabilities(json_node_get_object(capabilities), client, error);
}

uint8_t *vfm_vfu_version_reply(const VfmVfuClient *client, const VfmVfuOffer *offer, uint32_t room, uint32_t *length,
                               GError **error)
{
    g_autoptr(GString) json = g_string_new("{\"capabilities\":{");
    VfmVfuVersion version = {0, 0};
    uint64_t budget = offer->max_dma_maps;
    uint8_t *reply;

    if (client->major != 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "vfio-user: the client speaks protocol version %u.%u, this server speaks 0.0", client->major,
                    client->minor);
        return NULL;
    }
    /* A subset of what was proposed; pgsizes is what QEMU aligns blocks to. */
    if (client->max_dma_maps != 0 && budget > client->max_dma_maps)
        budget = client->max_dma_maps;
    g_string_append_printf(json, "\"max_dma_maps\":%" G_GUINT64_FORMAT ",\"max_msg_fds\":%d", budget, VFM_VFU_MAX_FDS);
    g_string_append_printf(json, ",\"max_data_xfer_size\":%d", VFM_VFU_MAX_TRANSFER);
    g_string_append_printf(json, ",\"pgsizes\":%" G_GUINT64_FORMAT, offer->page_sizes);
    if (client->write_multiple)
        g_string_append(json, ",\"write_multiple\":true");
    g_string_append(json, "}}");
    *length = sizeof(version) + json->len + 1;
    if (*length > room) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                    "vfio-user: the client leaves %u bytes for the answer to its version, %u are needed", room,
                    *length);
        return NULL;
    }
    reply = g_malloc(*length);
    memcpy(reply, &version, sizeof(version));
    memcpy(reply + sizeof(version), json->str, json->len + 1);
    return reply;
}
