/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* virtio-mem's requested size: what libvirt's update-memory-device sends, and vfiomem-resize. */
#include "guard_parts.h"

#include "amount.h"
#include "json_out.h"

#include <string.h>

static bool property_matters(VfmGuard *guard, JsonObject *arguments)
{
    return g_strcmp0(vfm_member_string(arguments, "property"), "requested-size") == 0;
}

/* The memory device of a QOM path: absolute, below /machine/peripheral, or the bare id. */
static bool find_device(const VfmPicture *picture, const char *path, guint *index)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    const char *id = slash ? slash + 1 : path;

    for (guint i = 0; id && i < picture->memory->len; i++) {
        if (strcmp(g_array_index(picture->memory, VfmPictureMemory, i).id, id) == 0) {
            *index = i;
            return true;
        }
    }
    return false;
}

static VfmTalkVerdict decide_requested(VfmCheck *check, VfmTalkTurn *turn)
{
    VfmMaybe value = vfm_member_number(check->arguments, "value");
    g_autoptr(VfmPlan) plan = NULL;
    g_autofree uint64_t *requested = g_new0(uint64_t, check->picture->memory->len);
    g_autofree char *asked = NULL, *why = NULL, *unit = NULL, *most = NULL;
    const VfmMemoryDevice *device;
    guint at;

    if (!value.set || !find_device(check->picture, vfm_member_string(check->arguments, "path"), &at))
        return VFM_TALK_FORWARD;
    device = g_ptr_array_index(check->picture->domain->memory_devices, at);
    if (device->model != VFM_MEM_VIRTIO_MEM || !device->block.set || !device->block.value)
        return VFM_TALK_FORWARD;
    asked = vfm_amount(value.value);
    unit = vfm_amount(device->block.value);
    most = vfm_amount(device->size);
    if (value.value > device->size)
        return vfm_check_refuse(check, turn, "%s of %s are asked for and it has at most %s", asked, device->alias,
                                most);
    if (value.value % device->block.value) {
        g_autofree char *below = vfm_amount(value.value / device->block.value * device->block.value);

        return vfm_check_refuse(check, turn, "%s of %s are not a multiple of its block size of %s; ask for %s", asked,
                                device->alias, unit, below);
    }
    plan = vfm_check_plan(check);
    if (plan->containers->len == 0)
        return VFM_TALK_FORWARD;
    for (guint i = 0; i < check->picture->memory->len; i++) {
        const VfmMemoryDevice *other = g_ptr_array_index(check->picture->domain->memory_devices, i);

        requested[i] = other->requested.value;
    }
    /* Giving back is always possible. */
    if (value.value <= requested[at])
        return VFM_TALK_FORWARD;
    requested[at] = value.value;
    why = vfm_check_sizes(check, plan, requested);
    return why ? vfm_check_refuse(check, turn, "%s cannot grow to %s: %s", device->alias, asked, why)
               : VFM_TALK_FORWARD;
}

static char *sizes_json(const VfmCheck *check, const uint64_t *requested)
{
    g_autoptr(VfmJsonOut) out = vfm_json_out_new(false);
    uint64_t sum = 0;

    vfm_json_out_object(out, NULL);
    vfm_json_out_array(out, "devices");
    for (guint i = 0; i < check->picture->memory->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(check->picture->domain->memory_devices, i);

        if (device->model != VFM_MEM_VIRTIO_MEM)
            continue;
        sum += requested[i];
        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "id", device->alias);
        vfm_json_out_number(out, "requested", requested[i]);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
    vfm_json_out_number(out, "virtio-mem", sum);
    vfm_json_out_string(out, "cause", "vfiomem-resize");
    vfm_json_out_end(out);
    return vfm_json_out_finish(g_steal_pointer(&out));
}

/* vfiomem-resize {"virtio-mem": BYTES}: over all devices. */
static VfmTalkVerdict decide_resize(VfmCheck *check, VfmTalkTurn *turn)
{
    VfmMaybe total = vfm_member_number(check->arguments, "virtio-mem");
    g_autofree uint64_t *requested = g_new0(uint64_t, check->picture->memory->len);
    g_autoptr(VfmPlan) plan = NULL;
    g_autofree char *why = NULL;

    if (check->decisions > 0) {
        VfmTalkVerdict verdict = vfm_resize_done(check, turn, check->result);

        return turn->answer->len ? verdict : vfm_check_answer(turn, check->result);
    }
    if (!total.set)
        return vfm_check_fail(turn, "vfiomem-resize: the argument 'virtio-mem' (bytes over all virtio-mem devices) is "
                                    "missing or no number");
    if (!vfm_resize_ask(check, turn, total.value, requested))
        return vfm_check_fail(turn, "vfiomem-resize: this guest has no virtio-mem device");
    plan = vfm_check_plan(check);
    why = vfm_check_sizes(check, plan, requested);
    if (why) {
        g_ptr_array_set_size(turn->ask, 0);
        return vfm_check_refuse(check, turn, "cannot resize: %s", why);
    }
    check->result = sizes_json(check, requested);
    return VFM_TALK_ASK;
}

const VfmRule vfm_resize_rules[] = {
    {.command = "qom-set", .locks = true, .matters = property_matters, .decide = decide_requested},
    {.command = "vfiomem-resize", .locks = true, .decide = decide_resize},
    {.command = NULL},
};
