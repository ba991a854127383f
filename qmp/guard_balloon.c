/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * balloon while somebody inhibits it: QEMU says yes, the guest gives memory up
 * and the host gets none of it (hw/virtio/virtio-balloon.c), so the policy decides.
 */
#include "guard_parts.h"

#include "amount.h"
#include "json_out.h"

static uint64_t virtio_mem_total(const VfmCheck *check, bool maximum)
{
    uint64_t total = 0;

    for (guint i = 0; i < check->picture->memory->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(check->picture->domain->memory_devices, i);

        if (device->model == VFM_MEM_VIRTIO_MEM)
            total += maximum ? device->size : device->requested.value;
    }
    return total;
}

static char *resized_json(uint64_t target, uint64_t base, uint64_t virtio_mem)
{
    g_autoptr(VfmJsonOut) out = vfm_json_out_new(false);

    vfm_json_out_object(out, NULL);
    vfm_json_out_number(out, "target", target);
    vfm_json_out_number(out, "base", base);
    vfm_json_out_number(out, "virtio-mem", virtio_mem);
    vfm_json_out_string(out, "cause", "balloon");
    vfm_json_out_end(out);
    return vfm_json_out_finish(g_steal_pointer(&out));
}

/*
 * libvirt's setmem is about memory that is no virtio-mem (src/qemu/qemu_driver.c, qemuDomainSetMemoryFlags): what it
 * asks the balloon to take is taken from virtio-mem, and given back when the balloon is asked to deflate. How much is
 * held back so is noted together with the request, so that a talk that is begun anew does not take it twice.
 */
static VfmTalkVerdict resize_instead(VfmCheck *check, VfmTalkTurn *turn, const VfmPlan *plan, uint64_t target)
{
    uint64_t base = check->picture->balloon.value, held_back = base - MIN(target, base), sum = 0;
    uint64_t whole = vfm_add(virtio_mem_total(check, false), check->guard->process.noted(check->guard->process.data));
    g_autofree uint64_t *requested = g_new0(uint64_t, check->picture->memory->len);
    g_autofree char *why = NULL, *asked = vfm_amount(held_back), *available = vfm_amount(whole);

    if (check->decisions > 0) {
        VfmTalkVerdict verdict = vfm_resize_done(check, turn, check->result);

        return turn->answer->len ? verdict : vfm_check_answer(turn, "{}");
    }
    if (virtio_mem_total(check, true) == 0)
        return vfm_check_refuse(check, turn,
                                "the policy turns the balloon into a virtio-mem resize, and this guest has no "
                                "virtio-mem device; add one, or set <vfiomem:balloon inhibited='pass'/>");
    if (held_back > whole)
        return vfm_check_refuse(check, turn,
                                "%s would have to come from virtio-mem and it holds %s; the rest of the guest's memory "
                                "stays pinned by assigned devices",
                                asked, available);
    vfm_resize_ask(check, turn, whole - held_back, requested);
    why = vfm_check_sizes(check, plan, requested);
    if (why) {
        g_ptr_array_set_size(turn->ask, 0);
        return vfm_check_refuse(check, turn, "cannot resize virtio-mem by %s: %s", asked, why);
    }
    for (guint i = 0; i < check->picture->memory->len; i++)
        sum += requested[i];
    check->result = resized_json(target, base, sum);
    turn->note = VFM_SOME(held_back);
    return VFM_TALK_ASK;
}

static VfmTalkVerdict decide_balloon(VfmCheck *check, VfmTalkTurn *turn)
{
    const VfmPicture *picture = check->picture;
    VfmMaybe target = vfm_member_number(check->arguments, "value");
    VfmBalloonPolicy policy = check->guard->process.balloon(check->guard->process.data);
    g_autoptr(VfmPlan) plan = vfm_check_plan(check);
    g_autofree char *inhibitors = vfm_plan_inhibitors(plan), *asked = NULL, *present = NULL;

    /* The balloon that libvirt sends in each start is no wish of anybody. */
    if (!target.set || !inhibitors || policy == VFM_BALLOON_PASS || !picture->balloon.set ||
        !vfm_picture_has_run(picture))
        return VFM_TALK_FORWARD;
    if (policy == VFM_BALLOON_RESIZE)
        return resize_instead(check, turn, plan, target.value);
    if (target.value >= picture->balloon.value)
        return VFM_TALK_FORWARD;
    asked = vfm_amount(target.value);
    present = vfm_amount(picture->balloon.value);
    return vfm_check_refuse(check, turn,
                            "ballooning from %s to %s would take memory from the guest and free none on the host: %s "
                            "keeps all of it pinned; %s, or set <vfiomem:balloon inhibited='pass'/>",
                            present, asked, inhibitors,
                            virtio_mem_total(check, true)
                                ? "resize virtio-mem instead (virsh update-memory-device --requested-size)"
                                : "give the guest a virtio-mem device to resize");
}

const VfmRule vfm_balloon_rules[] = {
    {.command = "balloon", .locks = true, .decide = decide_balloon},
    {.command = NULL},
};
