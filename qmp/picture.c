/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "picture.h"

#include "answers.h"
#include "domain_copy.h"

#include <string.h>

#define PERIPHERAL "/machine/peripheral"

typedef enum { ASK_STATUS, ASK_MEMORY, ASK_BALLOON, ASK_PERIPHERAL, ASK_MEMDEV, ASK_COUNT } Question;

static const char *const questions[ASK_COUNT] = {
    [ASK_STATUS] = "\"execute\": \"query-status\"",
    [ASK_MEMORY] = "\"execute\": \"query-memory-devices\"",
    [ASK_BALLOON] = "\"execute\": \"query-balloon\"",
    [ASK_PERIPHERAL] = "\"execute\": \"qom-list\", \"arguments\": {\"path\": \"" PERIPHERAL "\"}",
    [ASK_MEMDEV] = "\"execute\": \"query-memdev\"",
};

void vfm_picture_ask(GPtrArray *ask)
{
    for (size_t i = 0; i < ASK_COUNT; i++)
        g_ptr_array_add(ask, g_strdup(questions[i]));
}

static void memory_clear(gpointer data)
{
    g_free(((VfmPictureMemory *)data)->id);
    g_free(((VfmPictureMemory *)data)->path);
}

static const VfmMemoryDevice *known_memory(const VfmQemuArguments *arguments, const char *id)
{
    for (guint i = 0; i < arguments->domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(arguments->domain->memory_devices, i);

        if (g_strcmp0(device->alias, id) == 0)
            return device;
    }
    return NULL;
}

static VfmMemoryModel model_of(const char *type)
{
    static const struct {
        const char *type;
        VfmMemoryModel model;
    } models[] = {{"dimm", VFM_MEM_DIMM},
                  {"nvdimm", VFM_MEM_NVDIMM},
                  {"virtio-pmem", VFM_MEM_VIRTIO_PMEM},
                  {"virtio-mem", VFM_MEM_VIRTIO_MEM},
                  {"sgx-epc", VFM_MEM_SGX_EPC}};

    for (size_t i = 0; i < G_N_ELEMENTS(models); i++)
        if (g_strcmp0(type, models[i].type) == 0)
            return models[i].model;
    return VFM_MEM_OTHER;
}

/* "/objects/mem0" -> "mem0" */
static const char *last_part(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;

    return slash ? slash + 1 : path;
}

/* One element of query-memory-devices (qapi/machine.json). */
static void add_memory(VfmPicture *picture, const VfmQemuArguments *arguments, JsonObject *element)
{
    const char *type = vfm_member_string(element, "type");
    JsonObject *data = vfm_member_object(element, "data");
    const char *id = vfm_member_string(data, "id"), *memdev = last_part(vfm_member_string(data, "memdev"));
    const VfmMemoryDevice *known = id ? known_memory(arguments, id) : NULL;
    VfmMemoryModel model = model_of(type);
    bool sparse = model == VFM_MEM_VIRTIO_MEM;
    VfmMaybe size = vfm_member_number(data, sparse ? "max-size" : "size");
    VfmMaybe plugged = vfm_member_number(data, "size");
    const VfmDeviceArg *backend = memdev ? g_hash_table_lookup(arguments->backends, memdev) : NULL;
    VfmPictureMemory entry = {.id = g_strdup(id ? id : ""),
                              .path = id ? g_strdup_printf(PERIPHERAL "/%s", id) : NULL,
                              .plugged = plugged.value,
                              .memory = picture->domain->memory_devices->len};
    VfmMemoryDevice *device = known ? vfm_domain_copy_memory(picture->domain, known)
                                    : vfm_domain_add_memory(picture->domain, model, size.value);

    device->model = model;
    if (!known) {
        device->alias = g_strdup(id);
        device->model_name = g_strdup(type);
        device->path = backend ? g_strdup(vfm_device_arg_get(backend, "mem-path")) : NULL;
    }
    if (size.set)
        device->size = size.value;
    device->base = vfm_member_number(data, model == VFM_MEM_DIMM || model == VFM_MEM_NVDIMM ? "addr" : "memaddr");
    device->node = vfm_member_number(data, "node");
    device->block = sparse ? vfm_member_number(data, "block-size") : VFM_NONE;
    device->requested = sparse ? vfm_member_number(data, "requested-size") : VFM_NONE;
    device->current = sparse ? plugged : VFM_NONE;
    g_array_append_val(picture->memory, entry);
}

static void add_known_memory(VfmPicture *picture, const VfmQemuArguments *arguments)
{
    for (guint i = 0; i < arguments->domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(arguments->domain->memory_devices, i);
        VfmPictureMemory entry = {.id = g_strdup(device->alias ? device->alias : ""),
                                  .path = device->alias ? g_strdup_printf(PERIPHERAL "/%s", device->alias) : NULL,
                                  .plugged =
                                      device->model == VFM_MEM_VIRTIO_MEM ? device->requested.value : device->size,
                                  .memory = i};

        vfm_domain_copy_memory(picture->domain, device);
        g_array_append_val(picture->memory, entry);
    }
}

static const VfmAssigned *known_assigned(const VfmQemuArguments *arguments, const char *id)
{
    for (guint i = 0; i < arguments->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(arguments->domain->assigned, i);

        if (assigned->via == VFM_VIA_HOSTDEV && assigned->alias && strcmp(assigned->alias, id) == 0)
            return assigned;
    }
    return NULL;
}

/* "child<vfio-pci>" -> "vfio-pci" */
static char *child_type(const char *type)
{
    if (!type || !g_str_has_prefix(type, "child<") || !g_str_has_suffix(type, ">"))
        return NULL;
    return g_strndup(type + strlen("child<"), strlen(type) - strlen("child<>"));
}

/* A device in /machine/peripheral: one that the arguments know stays what they say, whatever type it shows. */
static void add_peripheral(VfmPicture *picture, const VfmQemuArguments *arguments, JsonObject *element)
{
    const char *id = vfm_member_string(element, "name");
    g_autofree char *type = child_type(vfm_member_string(element, "type"));
    VfmQemuDevice kind = vfm_qemu_device_kind(type);
    const VfmAssigned *known = id ? known_assigned(arguments, id) : NULL;

    if (!id || !type)
        return;
    if (known) {
        vfm_domain_copy_assigned(picture->domain, known);
    } else if (kind == VFM_QEMU_ASSIGNED) {
        g_autofree char *text = g_strdup_printf("driver=%s,id=%s", type, id);
        g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(text, "driver", NULL);

        if (arg && vfm_qemu_add_device(picture->domain, arguments->backends, arg) == VFM_QEMU_ASSIGNED)
            g_ptr_array_add(picture->unnamed, g_strdup(id));
    } else if (kind == VFM_QEMU_BALLOON) {
        picture->domain->balloon.present = true;
    }
}

/* What QEMU takes for an id (util/id.c): nothing that would be more than one word of a monitor's command. */
bool vfm_picture_can_ask(const char *id)
{
    return id && g_ascii_isalpha(*id) && id[strspn(id, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "-._")] == '\0';
}

/* Assigned devices that cannot be asked for: those without an id, network and block back ends. */
static void add_hidden(VfmPicture *picture, const VfmQemuArguments *arguments, bool all)
{
    for (guint i = 0; i < arguments->domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(arguments->domain->assigned, i);
        bool listed = assigned->alias && assigned->via == VFM_VIA_HOSTDEV;

        if (all || !listed) {
            VfmAssigned *copy = vfm_domain_copy_assigned(picture->domain, assigned);

            if (copy->via != VFM_VIA_HOSTDEV && vfm_picture_can_ask(copy->alias))
                g_ptr_array_add(picture->hidden, copy);
        }
    }
}

static void read_memory(VfmPicture *picture, const VfmQemuArguments *arguments, const char *reply)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);
    JsonArray *array = vfm_node_array(node);

    if (!array) {
        add_known_memory(picture, arguments);
        return;
    }
    for (guint i = 0; i < json_array_get_length(array); i++)
        add_memory(picture, arguments, vfm_element_object(array, i));
}

static void read_peripheral(VfmPicture *picture, const VfmQemuArguments *arguments, const char *reply)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);
    JsonArray *array = vfm_node_array(node);

    picture->listed = array != NULL;
    add_hidden(picture, arguments, !array);
    for (guint i = 0; array && i < json_array_get_length(array); i++)
        add_peripheral(picture, arguments, vfm_element_object(array, i));
}

static void read_memdev(VfmPicture *picture, const char *reply)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);
    JsonArray *array = vfm_node_array(node);

    for (guint i = 0; array && i < json_array_get_length(array); i++) {
        JsonObject *element = vfm_element_object(array, i);
        const char *id = vfm_member_string(element, "id");
        VfmMaybe size = vfm_member_number(element, "size");

        if (id && vfm_member_bool(element, "share") == VFM_OFF)
            g_hash_table_add(picture->unshared, g_strdup(id));
        if (id && size.set) {
            uint64_t *value = g_new(uint64_t, 1);

            *value = size.value;
            g_hash_table_replace(picture->sizes, g_strdup(id), value);
        }
    }
}

VfmPicture *vfm_picture_new(const VfmQemuArguments *arguments, const GPtrArray *replies)
{
    VfmPicture *picture = g_new0(VfmPicture, 1);
    g_autoptr(JsonNode) balloon = NULL, status = NULL;

    picture->domain = vfm_domain_copy_frame(arguments->domain);
    picture->memory = g_array_new(FALSE, TRUE, sizeof(VfmPictureMemory));
    g_array_set_clear_func(picture->memory, memory_clear);
    picture->sizes = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    picture->unshared = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    picture->unnamed = g_ptr_array_new_with_free_func(g_free);
    picture->hidden = g_ptr_array_new();
    g_assert(replies->len == ASK_COUNT);
    read_memory(picture, arguments, replies->pdata[ASK_MEMORY]);
    read_peripheral(picture, arguments, replies->pdata[ASK_PERIPHERAL]);
    read_memdev(picture, replies->pdata[ASK_MEMDEV]);
    balloon = vfm_answer_value(replies->pdata[ASK_BALLOON]);
    picture->balloon = vfm_member_number(vfm_node_object(balloon), "actual");
    picture->domain->balloon.present = picture->balloon.set; /* without a device the question is an error */
    status = vfm_answer_value(replies->pdata[ASK_STATUS]);
    picture->status = g_strdup(vfm_member_string(vfm_node_object(status), "status"));
    return picture;
}

void vfm_picture_free(VfmPicture *picture)
{
    if (!picture)
        return;
    vfm_domain_free(picture->domain);
    g_array_unref(picture->memory);
    g_hash_table_unref(picture->sizes);
    g_hash_table_unref(picture->unshared);
    g_ptr_array_unref(picture->unnamed);
    g_ptr_array_unref(picture->hidden);
    g_free(picture->status);
    g_free(picture);
}

void vfm_picture_add_back_end(VfmPicture *picture, VfmAssignedKind kind, const char *id, const char *address)
{
    VfmAssigned *assigned;

    for (guint i = 0; i < picture->hidden->len; i++) {
        const VfmAssigned *known = picture->hidden->pdata[i];

        if (known->kind == kind && strcmp(known->alias, id) == 0)
            return;
    }
    assigned =
        vfm_domain_add_assigned(picture->domain, kind, kind == VFM_ASSIGNED_NVME ? VFM_VIA_DISK : VFM_VIA_INTERFACE);
    assigned->alias = g_strdup(id);
    assigned->address = g_strdup(address);
    g_ptr_array_add(picture->hidden, assigned);
}

static VfmAssigned *assigned_as(const VfmPicture *picture, const char *id)
{
    for (guint k = 0; k < picture->domain->assigned->len; k++) {
        VfmAssigned *assigned = g_ptr_array_index(picture->domain->assigned, k);

        if (assigned->via == VFM_VIA_HOSTDEV && g_strcmp0(assigned->alias, id) == 0)
            return assigned;
    }
    return NULL;
}

static char *monitor_command(const char *command, const char *argument)
{
    return g_strdup_printf("\"execute\": \"human-monitor-command\", \"arguments\": {\"command-line\": \"%s%s\"}",
                           command, argument);
}

void vfm_picture_ask_more(const VfmPicture *picture, GPtrArray *ask)
{
    for (guint i = 0; i < picture->unnamed->len; i++) {
        const char *id = picture->unnamed->pdata[i];
        const VfmAssigned *assigned = assigned_as(picture, id);

        g_ptr_array_add(ask,
                        g_strdup_printf("\"execute\": \"qom-get\", \"arguments\": {\"path\": \"" PERIPHERAL
                                        "/%s\", \"property\": \"%s\"}",
                                        id, assigned && assigned->kind == VFM_ASSIGNED_VDPA ? "vhostdev" : "host"));
    }
    for (guint i = 0; i < picture->hidden->len; i++) {
        const VfmAssigned *assigned = picture->hidden->pdata[i];

        /* One node, not all of them: the answer stays short (block/monitor/block-hmp-cmds.c). */
        g_ptr_array_add(ask, assigned->kind == VFM_ASSIGNED_NVME ? monitor_command("info block -n ", assigned->alias)
                                                                 : monitor_command("info network", ""));
    }
}

static void set_address(VfmPicture *picture, const char *id, const char *reply)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);
    VfmAssigned *assigned;

    if (!node || !JSON_NODE_HOLDS_VALUE(node) || json_node_get_value_type(node) != G_TYPE_STRING)
        return;
    assigned = assigned_as(picture, id);
    if (assigned && !assigned->address)
        assigned->address = json_node_dup_string(node);
}

/* "net0: index=0,type=vhost-vdpa,..." at the begin of a line, or behind "\ " below its device (net/net.c); "node0: "
 * and so on. */
static bool lists(const char *text, const VfmAssigned *assigned)
{
    g_autofree char *name = g_strdup_printf("%s: ", assigned->alias);

    for (const char *at = text; (at = strstr(at, name)); at++) {
        const char *line = at;

        while (line > text && line[-1] != '\n' && line[-1] != ' ' && line[-1] != '\\')
            line--;
        if (line != at)
            continue;
        if (assigned->kind == VFM_ASSIGNED_NVME || g_str_has_prefix(at + strlen(name), "index=")) {
            g_autofree char *rest = g_strndup(at, strcspn(at, "\r\n"));

            if (assigned->kind == VFM_ASSIGNED_NVME || strstr(rest, ",type=vhost-vdpa"))
                return true;
        }
    }
    return false;
}

static bool is_gone(const VfmAssigned *assigned, const char *reply)
{
    g_autoptr(JsonNode) node = vfm_answer_value(reply);

    return node && JSON_NODE_HOLDS_VALUE(node) && json_node_get_value_type(node) == G_TYPE_STRING &&
           !lists(json_node_get_string(node), assigned);
}

void vfm_picture_set_more(VfmPicture *picture, const GPtrArray *replies)
{
    guint i = 0;

    for (guint k = 0; k < picture->unnamed->len && i < replies->len; k++, i++)
        set_address(picture, picture->unnamed->pdata[k], replies->pdata[i]);
    for (guint k = 0; k < picture->hidden->len && i < replies->len; k++, i++)
        if (is_gone(picture->hidden->pdata[k], replies->pdata[i]))
            g_ptr_array_remove(picture->domain->assigned, picture->hidden->pdata[k]);
    g_ptr_array_set_size(picture->hidden, 0);
}

VfmMaybe vfm_picture_backend_size(const VfmPicture *picture, const VfmQemuArguments *arguments, const char *id)
{
    const uint64_t *size = id ? g_hash_table_lookup(picture->sizes, id) : NULL;
    const VfmDeviceArg *backend = id ? g_hash_table_lookup(arguments->backends, id) : NULL;
    VfmMaybe value = VFM_NONE;

    if (size)
        return VFM_SOME(*size);
    return backend && vfm_device_arg_size(backend, "size", &value, NULL) ? value : VFM_NONE;
}

bool vfm_picture_backend_is_private(const VfmPicture *picture, const VfmQemuArguments *arguments, const char *id)
{
    const VfmDeviceArg *backend = id ? g_hash_table_lookup(arguments->backends, id) : NULL;
    const char *type = backend ? vfm_device_arg_get(backend, "qom-type") : NULL;
    VfmSwitch share = VFM_ABSENT;

    if (id && g_hash_table_contains(picture->unshared, id))
        return true;
    if (!type || !vfm_device_arg_switch(backend, "share", &share, NULL))
        return false;
    if (strcmp(type, "memory-backend-memfd") == 0 || strcmp(type, "memory-backend-shm") == 0)
        return share == VFM_OFF; /* these are shared unless told otherwise */
    return share != VFM_ON || strcmp(type, "memory-backend-ram") == 0;
}

bool vfm_picture_has_run(const VfmPicture *picture)
{
    return picture->status && strcmp(picture->status, "prelaunch") != 0 && strcmp(picture->status, "inmigrate") != 0;
}
