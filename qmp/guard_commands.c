/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Commands of our own; docs/monitor-commands.md is their schema. */
#include "guard_parts.h"

#include "plan_json.h"
#include "policy_text.h"
#include "ranges.h"
#include "reply.h"

#include <string.h>

/* Most ranges of one vfiomem-query-mappings answer. */
#define PAGE_MAX 1000

static const char *const own_commands[] = {"vfiomem-query-status", "vfiomem-query-mappings", "vfiomem-query-plan",
                                           "vfiomem-resize", "vfiomem-set-policy"};

static const char *hold_name(VfmHoldKind kind)
{
    static const char *const names[] = {"disable-all", "disable-uncoordinated", "require-all", "require-coordinated"};

    return (size_t)kind < G_N_ELEMENTS(names) ? names[kind] : "unknown";
}

static void write_holds(VfmJsonOut *out, const VfmPlan *plan)
{
    vfm_json_out_array(out, "inhibitors");
    for (guint i = 0; i < plan->holds->len; i++) {
        const VfmHold *hold = &g_array_index(plan->holds, VfmHold, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "kind", hold_name(hold->kind));
        vfm_json_out_string(out, "holder", hold->holder);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
}

static void write_mappings(VfmJsonOut *out, const VfmCheck *check, const VfmPlan *plan)
{
    uint64_t used = vfm_check_mappings(check, plan, NULL), full = 0;

    for (guint i = 0; i < plan->containers->len; i++)
        full = MAX(full, ((const VfmPlanContainer *)g_ptr_array_index(plan->containers, i))->mappings_now);
    vfm_json_out_object(out, "mappings");
    vfm_json_out_number(out, "containers", plan->containers->len);
    vfm_json_out_number(out, "used", used);
    vfm_json_out_number(out, "full", full);
    vfm_json_out_maybe(out, "budget", plan->budget);
    vfm_json_out_maybe(out, "free",
                       plan->budget.set ? VFM_SOME(plan->budget.value - MIN(used, plan->budget.value)) : VFM_NONE);
    vfm_json_out_end(out);
}

static void write_memory(VfmJsonOut *out, const VfmCheck *check)
{
    const VfmDomain *domain = check->picture->domain;

    vfm_json_out_object(out, "memory");
    vfm_json_out_number(out, "boot", domain->boot);
    vfm_json_out_array(out, "devices");
    for (guint i = 0; i < check->picture->memory->len; i++) {
        const VfmPictureMemory *memory = &g_array_index(check->picture->memory, VfmPictureMemory, i);
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "id", memory->id);
        vfm_json_out_string(out, "model", vfm_memory_model_name(device->model));
        vfm_json_out_maybe(out, "node", device->node);
        vfm_json_out_maybe(out, "address", device->base);
        vfm_json_out_number(out, "size", device->size);
        vfm_json_out_maybe(out, "block", device->block);
        vfm_json_out_maybe(out, "requested", device->requested);
        vfm_json_out_number(out, "plugged", memory->plugged);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
    vfm_json_out_end(out);
}

/* Of a device that the helper serves: QEMU only knows its socket. */
static void write_served(VfmJsonOut *out, const VfmCheck *check, const VfmAssigned *assigned)
{
    const VfmGuardHost *process = &check->guard->process;
    VfmGuardServed served = {0};
    bool known = process->served && process->served(process->data, assigned->alias, assigned->address, &served);

    vfm_json_out_string(out, "host", known ? served.address : NULL);
    vfm_json_out_switch(out, "held", !known ? VFM_ABSENT : served.held ? VFM_ON : VFM_OFF);
    vfm_json_out_switch(out, "lost", !known ? VFM_ABSENT : served.lost ? VFM_ON : VFM_OFF);
}

static void write_assigned(VfmJsonOut *out, const VfmCheck *check)
{
    const VfmDomain *domain = check->picture->domain;

    vfm_json_out_array(out, "assigned");
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        vfm_json_out_object(out, NULL);
        vfm_json_out_string(out, "id", assigned->alias);
        vfm_json_out_string(out, "kind", vfm_assigned_kind_name(assigned->kind));
        vfm_json_out_string(out, "address", assigned->address);
        vfm_json_out_bool(out, "iommufd", assigned->iommufd);
        if (assigned->kind == VFM_ASSIGNED_USER)
            write_served(out, check, assigned);
        vfm_json_out_end(out);
    }
    vfm_json_out_end(out);
}

static void write_helper(VfmJsonOut *out, const VfmGuard *guard)
{
    VfmGuardFacts facts = {.level = "full"};

    guard->process.facts(guard->process.data, &facts);
    vfm_json_out_object(out, "helper");
    vfm_json_out_string(out, "level", facts.level);
    vfm_json_out_number(out, "restarts", facts.restarts);
    vfm_json_out_number(out, "clients", facts.clients);
    vfm_json_out_number(out, "refusals", facts.refusals);
    if (facts.devices)
        vfm_json_out_string(out, "devices", facts.devices);
    vfm_json_out_end(out);
}

/* What another process says becomes part of our answer only as what it should be. */
static bool is_object(const char *text)
{
    g_autoptr(JsonNode) node = text ? json_from_string(text, NULL) : NULL;

    return node && JSON_NODE_HOLDS_OBJECT(node);
}

static VfmTalkVerdict answer_status(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmPicture *picture = check->picture;
    const VfmGuardHost *process = &check->guard->process;
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(VfmJsonOut) out = NULL;
    g_autofree char *json = NULL;

    if (process->host_address && check->decisions == 0) {
        turn->request = g_strdup("status");
        return VFM_TALK_DEVICES;
    }
    plan = vfm_check_plan(check);
    out = vfm_json_out_new(false);
    vfm_json_out_object(out, NULL);
    vfm_json_out_string(out, "domain", picture->domain->name);
    vfm_json_out_string(out, "uuid", picture->domain->uuid);
    vfm_json_out_string(out, "state", picture->status);
    vfm_json_out_string(out, "owner", process->host_address ? "helper" : "qemu");
    vfm_json_out_string(out, "backend", plan->containers->len ? vfm_backend_kind_name(plan->backend) : NULL);
    vfm_json_out_object(out, "policy");
    vfm_json_out_string(out, "balloon", vfm_balloon_policy_name(process->balloon(process->data)));
    vfm_json_out_bool(out, "required", picture->domain->policy.required);
    vfm_json_out_end(out);
    write_holds(out, plan);
    vfm_json_out_object(out, "balloon");
    vfm_json_out_bool(out, "present", picture->domain->balloon.present);
    vfm_json_out_bool(out, "effective", plan->balloon_effective);
    vfm_json_out_maybe(out, "actual", picture->balloon);
    vfm_json_out_end(out);
    write_mappings(out, check, plan);
    vfm_json_out_number(out, "pinned", vfm_check_pinned(check, plan, NULL));
    vfm_json_out_object(out, "memlock");
    vfm_json_out_number(out, "required", plan->memlock_required);
    vfm_json_out_maybe(out, "limit", vfm_check_memlock(check));
    vfm_json_out_end(out);
    write_memory(out, check);
    write_assigned(out, check);
    write_helper(out, check->guard);
    if (process->host_address)
        vfm_json_out_raw(out, "helper-mapping", is_object(turn->devices) ? turn->devices : NULL);
    vfm_json_out_end(out);
    json = vfm_json_out_finish(g_steal_pointer(&out));
    return vfm_check_answer(turn, json);
}

static const char *range_kind(VfmRangeKind kind)
{
    return kind == VFM_RANGE_RAM ? "ram" : kind == VFM_RANGE_ROM ? "rom" : "device-memory";
}

/* How much of a range devices may reach: in helper mode only what lies in the policy's windows, if there are any.
 * *@pieces: in how many parts. */
static uint64_t reachable(const VfmCheck *check, const VfmRange *range, uint64_t *pieces)
{
    const GArray *windows = check->guard->arguments->domain->policy.windows;
    g_autoptr(GArray) reach = NULL, inside = NULL;
    uint64_t bytes = 0;

    *pieces = 1;
    if (!check->guard->process.host_address || windows->len == 0 || range->size == 0)
        return range->size;
    reach = vfm_ranges_new();
    for (guint i = 0; i < windows->len; i++) {
        const VfmWindow *window = &g_array_index(windows, VfmWindow, i);

        vfm_ranges_add(reach, window->start, window->start + (window->size - 1));
    }
    inside = vfm_ranges_clip(reach, range->start, range->start + (range->size - 1));
    for (guint i = 0; i < inside->len; i++) {
        const VfmIovaRange *part = &g_array_index(inside, VfmIovaRange, i);

        bytes += part->last - part->start + 1;
    }
    *pieces = inside->len;
    return bytes;
}

/* Of virtio-mem, QEMU says how much is plugged, not where: the range is given with what is mapped in it. */
static void write_range(VfmJsonOut *out, const VfmCheck *check, const VfmPlan *plan, const VfmRange *range)
{
    uint64_t mappings, mapped = reachable(check, range, &mappings);
    VfmMaybe block = VFM_NONE;

    if (range->device >= 0 && (guint)range->device < check->picture->memory->len) {
        const VfmMemoryDevice *device = g_ptr_array_index(check->picture->domain->memory_devices, range->device);

        if (device->model == VFM_MEM_VIRTIO_MEM && device->block.set && device->block.value) {
            block = device->block;
            mapped = MIN(mapped, g_array_index(check->picture->memory, VfmPictureMemory, range->device).plugged);
            mappings = mapped / block.value + (mapped % block.value != 0);
        }
    }
    if (plan->containers->len == 0)
        mapped = mappings = 0;
    vfm_json_out_object(out, NULL);
    vfm_json_out_number(out, "start", range->start);
    vfm_json_out_number(out, "size", range->size);
    vfm_json_out_string(out, "kind", range_kind(range->kind));
    vfm_json_out_string(out, "name", range->name);
    vfm_json_out_maybe(out, "block", block);
    vfm_json_out_number(out, "mapped", mapped);
    vfm_json_out_number(out, "mappings", mappings);
    vfm_json_out_end(out);
}

static VfmTalkVerdict answer_mappings(VfmCheck *check, VfmTalkTurn *turn)
{
    VfmMaybe offset = vfm_member_number(check->arguments, "offset"),
             limit = vfm_member_number(check->arguments, "limit");
    g_autoptr(VfmPlan) plan = vfm_check_plan(check);
    g_autoptr(VfmJsonOut) out = vfm_json_out_new(false);
    g_autofree char *json = NULL;
    uint64_t first = offset.set ? offset.value : 0;
    uint64_t count = MIN(limit.set ? limit.value : PAGE_MAX, PAGE_MAX);

    vfm_json_out_object(out, NULL);
    vfm_json_out_number(out, "total", plan->map->len);
    vfm_json_out_number(out, "offset", first);
    vfm_json_out_array(out, "ranges");
    for (uint64_t i = first; i < plan->map->len && i - first < count; i++)
        write_range(out, check, plan, &g_array_index(plan->map, VfmRange, i));
    vfm_json_out_end(out);
    vfm_json_out_end(out);
    json = vfm_json_out_finish(g_steal_pointer(&out));
    return vfm_check_answer(turn, json);
}

static VfmTalkVerdict answer_plan(VfmCheck *check, VfmTalkTurn *turn)
{
    g_autoptr(VfmPlan) plan = vfm_check_plan(check);
    g_autofree char *json = vfm_plan_to_json(check->picture->domain, plan, false);

    return vfm_check_answer(turn, json);
}

static VfmTalkVerdict answer_set_policy(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmGuardHost *process = &check->guard->process;
    const char *name = vfm_member_string(check->arguments, "balloon");
    VfmBalloonPolicy policy;

    if (!vfm_balloon_policy_from_name(&policy, name))
        return vfm_check_fail(turn, "vfiomem-set-policy: the argument 'balloon' must be 'refuse', 'resize' or 'pass'");
    process->set_balloon(process->data, policy);
    return vfm_check_answer(turn, "{}");
}

/* QEMU's list with ours at its end, so that whoever looks before asking finds them. */
static VfmTalkVerdict answer_commands(VfmCheck *check, VfmTalkTurn *turn)
{
    const char *reply = turn->replies && turn->replies->len ? turn->replies->pdata[0] : NULL;
    g_autoptr(GString) list = NULL;
    VfmMessage message;

    if (check->decisions == 0) {
        g_ptr_array_add(turn->ask, g_strdup("\"execute\": \"query-commands\""));
        return VFM_TALK_ASK;
    }
    if (!reply || !vfm_message_read(&message, reply, strlen(reply)) || message.returned.length < 2 ||
        message.returned.at[message.returned.length - 1] != ']')
        return VFM_TALK_FORWARD;
    list = g_string_new_len(message.returned.at, (gssize)message.returned.length - 1);
    for (size_t i = 0; i < G_N_ELEMENTS(own_commands); i++)
        g_string_append_printf(list, "%s{\"name\": \"%s\"}", list->len > 1 ? ", " : "", own_commands[i]);
    g_string_append_c(list, ']');
    return vfm_check_answer(turn, list->str);
}

const VfmRule vfm_command_rules[] = {
    {.command = "vfiomem-query-status", .locks = true, .decide = answer_status},
    {.command = "vfiomem-query-mappings", .decide = answer_mappings},
    {.command = "vfiomem-query-plan", .decide = answer_plan},
    {.command = "vfiomem-set-policy", .blind = true, .decide = answer_set_policy},
    {.command = "query-commands", .blind = true, .decide = answer_commands},
    {.command = NULL},
};
