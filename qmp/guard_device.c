/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Devices and memory that are plugged in while the guest runs. A mapping that
 * fails for plain RAM, or QEMU's own count of mappings at run time, ends in
 * hw_error: the guest is lost (hw/vfio/listener.c). So negotiation judges the
 * guest as it would be, and what it finds wrong never reaches QEMU.
 */
#include "guard_parts.h"

#include "amount.h"
#include "domain_copy.h"
#include "finding_id.h"

#include <string.h>

/* Findings that are no errors for a guest that starts, but fatal for one that runs. */
static bool is_fatal(const VfmFinding *finding)
{
    return finding->severity == VFM_ERROR ||
           strcmp(finding->id, vfm_finding_id_name(VFM_FINDING_MEMORY_NOT_PINNABLE)) == 0;
}

static bool has_prefix(const VfmFinding *finding, const char *prefix)
{
    return g_str_has_prefix(finding->id, prefix);
}

/* Locked memory is judged against what QEMU really may lock, not against what libvirt's formula would allow; memory for
 * the helper by what QEMU says of it (judge_sharing). */
static bool counts(const VfmFinding *finding)
{
    return is_fatal(finding) && !has_prefix(finding, "memlock-") && !has_prefix(finding, "policy-") &&
           !has_prefix(finding, "helper-");
}

static bool was_there(const VfmPlan *before, const VfmFinding *finding)
{
    for (guint i = 0; i < before->findings->len; i++) {
        const VfmFinding *old = g_ptr_array_index(before->findings, i);

        if (strcmp(old->id, finding->id) == 0 && strcmp(old->message, finding->message) == 0)
            return true;
    }
    return false;
}

/* The first finding that the newcomer is to blame for; too many mappings are everybody's. Borrowed from @after. */
static const VfmFinding *trouble(const VfmPlan *before, const VfmPlan *after)
{
    for (guint i = 0; i < after->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(after->findings, i);

        if (counts(finding) && (has_prefix(finding, "mapping-budget") || !was_there(before, finding)))
            return finding;
    }
    return NULL;
}

static VfmTalkVerdict refuse_memlock(VfmCheck *check, VfmTalkTurn *turn, uint64_t pinned, uint64_t limit)
{
    g_autofree char *needed = vfm_amount(pinned), *allowed = vfm_amount(limit);

    if (check->guard->process.host_address)
        return vfm_check_refuse(
            check, turn,
            "with this device %s must be pinned, and %s may lock %s (RLIMIT_MEMLOCK): the device "
            "could not reach all memory; give the domain a <memtune><hard_limit> and start it again",
            needed, vfm_check_locker(check), allowed);
    return vfm_check_refuse(check, turn,
                            "with this device QEMU must pin %s and may lock %s (RLIMIT_MEMLOCK): QEMU would end with "
                            "'DMA mapping failed' and the guest with it; raise <memtune><hard_limit>, or take the "
                            "limit out so that libvirt sets its own",
                            needed, allowed);
}

/* QEMU sends the helper the file behind a private mapping too, where other pages lie than the guest's: devices would
 * read and write those, and nobody would notice. */
static VfmTalkVerdict judge_sharing(VfmCheck *check, VfmTalkTurn *turn, const VfmDeviceArg *arg)
{
    const char *memdev = vfm_device_arg_get(arg, "memdev"), *id = vfm_device_arg_get(arg, "id");

    if (!check->guard->process.host_address ||
        !vfm_picture_backend_is_private(check->picture, check->guard->arguments, memdev))
        return VFM_TALK_FORWARD;
    return vfm_check_refuse(check, turn,
                            "the helper maps guest memory, and can map only what it shares with QEMU, which memory %s "
                            "of %s is not; give the domain <source type='memfd'/> and <access mode='shared'/> in "
                            "<memoryBacking>, and the device no access='private' [%s]",
                            memdev, id ? id : vfm_device_arg_get(arg, "driver"),
                            vfm_finding_id_name(VFM_FINDING_HELPER_MEMORY_PRIVATE));
}

/* The guest as it would be is already in check->picture; @before and @limit are of the guest without the newcomer. */
static VfmTalkVerdict judge(VfmCheck *check, VfmTalkTurn *turn, const VfmPlan *before, VfmMaybe limit)
{
    g_autoptr(VfmPlan) after = vfm_check_plan(check);
    const VfmFinding *finding = trouble(before, after);
    uint64_t pinned = vfm_check_pinned(check, after, NULL);

    if (finding)
        return vfm_check_refuse(check, turn, "%s%s%s [%s]", finding->message, finding->fix ? "; " : "",
                                finding->fix ? finding->fix : "", finding->id);
    if (limit.set && pinned > limit.value)
        return refuse_memlock(check, turn, pinned, limit.value);
    return VFM_TALK_FORWARD;
}

static void complete_memory(VfmCheck *check, const VfmDeviceArg *arg)
{
    GPtrArray *devices = check->picture->domain->memory_devices;
    VfmMemoryDevice *device = g_ptr_array_index(devices, devices->len - 1);
    VfmPictureMemory entry = {.memory = devices->len - 1};
    VfmMaybe size =
        vfm_picture_backend_size(check->picture, check->guard->arguments, vfm_device_arg_get(arg, "memdev"));

    if (size.set)
        device->size = size.value;
    entry.id = g_strdup(device->alias ? device->alias : "");
    entry.plugged = device->model == VFM_MEM_VIRTIO_MEM ? 0 : device->size;
    g_array_append_val(check->picture->memory, entry);
}

/*
 * Helper mode: the device is the helper's, QEMU gets a vfio-user-pci in its place. That QEMU is asked in our own name
 * and the client gets its answer. Both questions happen once, whatever becomes of the worker that asks them: the talk
 * is taken up at its last checkpoint, which is the stage.
 */
typedef enum { STAGE_JUDGE, STAGE_SERVE, STAGE_PLUG, STAGE_FORGET } Stage;

#define CHECKPOINT_SERVE "serve"
#define CHECKPOINT_PLUG "plug "

static VfmTalkVerdict request_device(VfmCheck *check, VfmTalkTurn *turn, const char *address)
{
    check->stage = STAGE_SERVE;
    turn->request = g_strdup_printf("add %s", address);
    turn->keep = g_strdup(CHECKPOINT_SERVE);
    return VFM_TALK_DEVICES;
}

static bool devices_are_gone(const VfmCheck *check)
{
    VfmGuardFacts facts = {0};

    check->guard->process.facts(check->guard->process.data, &facts);
    return g_strcmp0(facts.devices, "gone") == 0;
}

static VfmTalkVerdict refuse_without_devices(VfmCheck *check, VfmTalkTurn *turn)
{
    return vfm_check_refuse(check, turn,
                            "the process that mapped memory for this guest's devices has ended, its reason is in the "
                            "domain's log; shut the guest down and start it again to assign devices to it");
}

static VfmTalkVerdict serve_by_helper(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmGuardHost *process = &check->guard->process;
    g_autoptr(GError) error = NULL;
    g_autofree char *address = NULL, *trial = NULL;

    if (!process->host_address)
        return VFM_TALK_FORWARD;
    address = process->host_address(process->data, check->arguments_text, &error);
    /* What can't be kept is refused before the device is touched. */
    if (address)
        trial = process->replace_device(process->data, check->arguments_text, "/", &error);
    if (error)
        return vfm_check_refuse(check, turn, "%s", error->message);
    if (!address)
        return VFM_TALK_FORWARD;
    if (devices_are_gone(check))
        return refuse_without_devices(check, turn);
    return request_device(check, turn, address);
}

static VfmTalkVerdict plug(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmGuardHost *process = &check->guard->process;
    const char *answer = turn->devices;
    g_autoptr(GError) error = NULL;
    g_autofree char *replaced = NULL;

    if (!answer && devices_are_gone(check))
        return refuse_without_devices(check, turn);
    if (!answer)
        return vfm_check_refuse(check, turn,
                                "the process that maps devices did not answer in time, and what it was asked for has "
                                "been taken back; the domain's log may say why");
    if (!g_str_has_prefix(answer, "socket "))
        return vfm_check_refuse(check, turn, "%s",
                                g_str_has_prefix(answer, "error ") ? answer + strlen("error ") : answer);
    check->result = g_strdup(answer + strlen("socket "));
    replaced = process->replace_device(process->data, check->arguments_text, check->result, &error);
    if (!replaced) {
        check->stage = STAGE_FORGET;
        check->reason = g_strdup(error->message);
        turn->request = g_strdup_printf("forget %s", check->result);
        return VFM_TALK_DEVICES;
    }
    check->stage = STAGE_PLUG;
    turn->keep = g_strdup_printf(CHECKPOINT_PLUG "%s", check->result);
    g_ptr_array_add(turn->ask, g_strdup_printf("\"execute\": \"device_add\", \"arguments\": %s", replaced));
    return VFM_TALK_ASK;
}

static VfmTalkVerdict after_plugging(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmGuardHost *process = &check->guard->process;
    const char *reply = turn->replies->len ? g_ptr_array_index(turn->replies, 0) : NULL;
    g_autofree char *why = reply ? vfm_answer_error(reply) : g_strdup("QEMU's reply was lost");

    if (!why) {
        process->plugged(process->data, check->result, vfm_member_string(check->arguments, "id"));
        return vfm_check_answer(turn, "{}");
    }
    check->stage = STAGE_FORGET;
    check->reason = g_steal_pointer(&why);
    turn->request = g_strdup_printf("forget %s", check->result);
    return VFM_TALK_DEVICES;
}

static VfmTalkVerdict next_stage(VfmCheck *check, VfmTalkTurn *turn)
{
    switch ((Stage)check->stage) {
    case STAGE_SERVE:
        return plug(check, turn);
    case STAGE_PLUG:
        return after_plugging(check, turn);
    default:
        return vfm_check_fail(turn, "%s", check->reason);
    }
}

static VfmTalkVerdict resume_device(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmGuardHost *process = &check->guard->process;
    g_autofree char *address = NULL;

    if (g_str_has_prefix(turn->found, CHECKPOINT_PLUG) && process->host_address) {
        check->stage = STAGE_PLUG;
        check->result = g_strdup(turn->found + strlen(CHECKPOINT_PLUG));
        return VFM_TALK_RESUME;
    }
    address = process->host_address ? process->host_address(process->data, check->arguments_text, NULL) : NULL;
    return address ? request_device(check, turn, address) : VFM_TALK_FORWARD;
}

static VfmTalkVerdict decide_device(VfmCheck *check, VfmTalkTurn *turn)
{
    g_autoptr(VfmDeviceArg) arg = NULL;
    g_autoptr(VfmPlan) before = NULL;
    VfmTalkVerdict verdict;
    VfmQemuDevice kind;
    bool had_balloon;
    VfmMaybe limit;

    if (check->stage != STAGE_JUDGE)
        return next_stage(check, turn);
    arg = vfm_device_arg_parse(check->arguments_text, "driver", NULL);
    if (!arg)
        return VFM_TALK_FORWARD;
    before = vfm_check_plan(check);
    limit = vfm_check_limit(check, before);
    had_balloon = check->picture->domain->balloon.present;
    kind = vfm_qemu_add_device(check->picture->domain, check->guard->arguments->backends, arg);
    if (kind == VFM_QEMU_BALLOON && had_balloon)
        return VFM_TALK_FORWARD; /* QEMU says it well itself */
    if (kind == VFM_QEMU_MEMORY) {
        verdict = judge_sharing(check, turn, arg);
        if (verdict != VFM_TALK_FORWARD)
            return verdict;
        complete_memory(check, arg);
    }
    verdict = judge(check, turn, before, limit);
    return verdict == VFM_TALK_FORWARD && kind == VFM_QEMU_ASSIGNED ? serve_by_helper(check, turn) : verdict;
}

static bool device_matters(VfmGuard *guard, JsonObject *arguments)
{
    VfmQemuDevice kind = vfm_qemu_device_kind(vfm_member_string(arguments, "driver"));

    return kind == VFM_QEMU_ASSIGNED || kind == VFM_QEMU_MEMORY || kind == VFM_QEMU_BALLOON;
}

/* Of a back end that will be QEMU's, nothing QMP asks for tells what it is: so it is remembered. */
static VfmTalkVerdict decide_back_end(VfmCheck *check, VfmTalkTurn *turn, VfmAssignedKind kind, VfmAssignedVia via,
                                      const char *id, const char *address)
{
    const VfmGuardHost *process = &check->guard->process;
    g_autoptr(VfmPlan) before = vfm_check_plan(check);
    /* Its memory is QEMU's to lock, and counted apart from what the helper locks. */
    VfmMaybe limit = process->host_address ? VFM_NONE : vfm_check_limit(check, before);
    VfmAssigned *assigned = vfm_domain_add_assigned(check->picture->domain, kind, via);
    VfmTalkVerdict verdict;

    assigned->address = g_strdup(address);
    verdict = judge(check, turn, before, limit);
    if (verdict == VFM_TALK_FORWARD && process->remember && vfm_picture_can_ask(id))
        process->remember(process->data, kind, id, address);
    return verdict;
}

static bool netdev_matters(VfmGuard *guard, JsonObject *arguments)
{
    return g_strcmp0(vfm_member_string(arguments, "type"), "vhost-vdpa") == 0;
}

static VfmTalkVerdict decide_netdev(VfmCheck *check, VfmTalkTurn *turn)
{
    return decide_back_end(check, turn, VFM_ASSIGNED_VDPA, VFM_VIA_INTERFACE, vfm_member_string(check->arguments, "id"),
                           vfm_member_string(check->arguments, "vhostdev"));
}

/* The NVMe node in a tree of nodes that are made together; it lives as long as the one at the top. */
static JsonObject *find_nvme(JsonObject *node, unsigned depth)
{
    g_autoptr(GList) members = NULL;
    JsonObject *found = NULL;

    if (!node || depth > 32 || g_strcmp0(vfm_member_string(node, "driver"), "nvme") == 0)
        return depth > 32 ? NULL : node;
    members = json_object_get_members(node);
    for (GList *member = members; member && !found; member = member->next)
        found = find_nvme(vfm_member_object(node, member->data), depth + 1);
    return found;
}

static bool blockdev_matters(VfmGuard *guard, JsonObject *arguments)
{
    return find_nvme(arguments, 0) != NULL;
}

static VfmTalkVerdict decide_blockdev(VfmCheck *check, VfmTalkTurn *turn)
{
    return decide_back_end(check, turn, VFM_ASSIGNED_NVME, VFM_VIA_DISK,
                           vfm_member_string(check->arguments, "node-name"),
                           vfm_member_string(find_nvme(check->arguments, 0), "device"));
}

static bool object_matters(VfmGuard *guard, JsonObject *arguments)
{
    const char *type = vfm_member_string(arguments, "qom-type");

    return type && g_str_has_prefix(type, "memory-backend-");
}

/* Harmless in itself; what it is has to be known when a device is put in front of it. object-del needs nothing: QEMU
 * refuses it while a device uses the backend, and sizes are asked for anew each time. */
static VfmTalkVerdict decide_object(VfmCheck *check, VfmTalkTurn *turn)
{
    VfmDeviceArg *arg = vfm_device_arg_parse(check->arguments_text, "qom-type", NULL);

    if (arg)
        vfm_qemu_add_backend(check->guard->arguments->backends, arg);
    return VFM_TALK_FORWARD;
}

const VfmRule vfm_device_rules[] = {
    {.command = "device_add",
     .locks = true,
     .matters = device_matters,
     .decide = decide_device,
     .resume = resume_device},
    {.command = "netdev_add", .matters = netdev_matters, .decide = decide_netdev},
    {.command = "blockdev-add", .matters = blockdev_matters, .decide = decide_blockdev},
    {.command = "object-add", .blind = true, .matters = object_matters, .decide = decide_object},
    {.command = NULL},
};
