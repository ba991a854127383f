/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* What sizes of virtio-mem devices cost, and how a total is spread over them. */
#include "guard_parts.h"

#include "amount.h"
#include "reply.h"

static unsigned pinning(const VfmPlan *plan)
{
    unsigned n = 0;

    for (guint i = 0; i < plan->containers->len; i++)
        n += ((const VfmPlanContainer *)g_ptr_array_index(plan->containers, i))->pins;
    return n;
}

static const VfmMemoryDevice *device_at(const VfmCheck *check, guint i)
{
    return g_ptr_array_index(check->picture->domain->memory_devices, i);
}

/* What a virtio-mem device holds or will: the larger of plugged and asked for. */
static uint64_t held(const VfmCheck *check, guint i, const uint64_t *plugged)
{
    const VfmMemoryDevice *device = device_at(check, i);
    const VfmPictureMemory *memory = &g_array_index(check->picture->memory, VfmPictureMemory, i);
    uint64_t wanted = plugged ? plugged[i] : device->requested.set ? device->requested.value : 0;

    return device->model == VFM_MEM_VIRTIO_MEM ? MAX(wanted, memory->plugged) : device->size;
}

uint64_t vfm_check_pinned(const VfmCheck *check, const VfmPlan *plan, const uint64_t *plugged)
{
    unsigned containers = pinning(plan);
    uint64_t required = plan->memlock_required;

    for (guint i = 0; i < check->picture->memory->len; i++) {
        const VfmMemoryDevice *device = device_at(check, i);
        uint64_t spare = vfm_mul(containers, device->size - MIN(held(check, i, plugged), device->size));

        if (device->model == VFM_MEM_VIRTIO_MEM)
            required -= MIN(required, spare);
    }
    return required;
}

uint64_t vfm_check_mappings(const VfmCheck *check, const VfmPlan *plan, const uint64_t *plugged)
{
    uint64_t mappings = plan->containers->len ? plan->other_mappings : 0;

    for (guint i = 0; plan->containers->len && i < check->picture->memory->len; i++) {
        const VfmMemoryDevice *device = device_at(check, i);
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);

        if (device->model == VFM_MEM_VIRTIO_MEM && memory->block.set && memory->block.value)
            mappings = vfm_add(mappings, (held(check, i, plugged) + memory->block.value - 1) / memory->block.value);
    }
    return mappings;
}

VfmMaybe vfm_check_memlock(const VfmCheck *check)
{
    const VfmGuardHost *process = &check->guard->process;

    return process->host_address ? check->limit : process->memlock_limit(process->data);
}

const char *vfm_check_locker(const VfmCheck *check)
{
    return check->guard->process.host_address ? "vfiomem-helper-devices, which got its limit when the guest started "
                                                "(libvirt raises only QEMU's later),"
                                              : "QEMU";
}

VfmMaybe vfm_check_limit(const VfmCheck *check, const VfmPlan *plan)
{
    VfmMaybe limit = vfm_check_memlock(check);
    g_autofree uint64_t *none = g_new0(uint64_t, check->picture->memory->len);

    /* With windows less is pinned than this counts. */
    if (check->guard->arguments->domain->policy.windows->len)
        return VFM_NONE;
    /* More is pinned already: QEMU has CAP_IPC_LOCK, and nobody counts (Linux: drivers/vfio/vfio_iommu_type1.c). */
    if (limit.set && vfm_check_pinned(check, plan, none) > limit.value)
        return VFM_NONE;
    return limit;
}

char *vfm_check_sizes(const VfmCheck *check, const VfmPlan *plan, const uint64_t *requested)
{
    uint64_t pinned = vfm_check_pinned(check, plan, requested);
    uint64_t mappings = vfm_check_mappings(check, plan, requested);
    VfmMaybe limit = vfm_check_limit(check, plan);

    if (plan->budget.set && mappings > plan->budget.value)
        return g_strdup_printf("the assigned devices would need %" G_GUINT64_FORMAT " mappings and the budget of a "
                               "container is %" G_GUINT64_FORMAT "; ask for less, or give virtio-mem larger blocks "
                               "(`vfiomem plan` says which)",
                               mappings, plan->budget.value);
    if (pinned && limit.set && pinned > limit.value) {
        g_autofree char *needed = vfm_amount(pinned), *allowed = vfm_amount(limit.value);

        return g_strdup_printf("the assigned devices would pin %s and %s may lock %s (RLIMIT_MEMLOCK); raise "
                               "<memtune><hard_limit>, or ask for less",
                               needed, vfm_check_locker(check), allowed);
    }
    return NULL;
}

uint64_t vfm_guard_spread(uint64_t total, const uint64_t *sizes, const uint64_t *blocks, unsigned n, uint64_t *result)
{
    uint64_t all = 0, sum = 0;

    for (unsigned i = 0; i < n; i++)
        all += sizes[i];
    total = MIN(total, all);
    for (unsigned i = 0; i < n; i++) {
        /* In proportion, so that NUMA nodes stay balanced; 128 bits, as both factors are sizes. */
        uint64_t share = all ? (uint64_t)((unsigned __int128)total * sizes[i] / all) : 0;

        result[i] = blocks[i] ? share / blocks[i] * blocks[i] : 0;
        sum += result[i];
    }
    for (unsigned i = 0; i < n; i++) {
        uint64_t more = blocks[i] ? MIN(total - sum, sizes[i] - result[i]) / blocks[i] * blocks[i] : 0;

        result[i] += more;
        sum += more;
    }
    return sum;
}

bool vfm_resize_ask(VfmCheck *check, VfmTalkTurn *turn, uint64_t total, uint64_t *requested)
{
    guint n = check->picture->memory->len;
    g_autofree uint64_t *sizes = g_new0(uint64_t, n), *blocks = g_new0(uint64_t, n);
    bool any = false;

    for (guint i = 0; i < n; i++) {
        const VfmMemoryDevice *device = device_at(check, i);

        if (device->model != VFM_MEM_VIRTIO_MEM || !device->block.set || !device->alias)
            continue;
        sizes[i] = device->size;
        blocks[i] = device->block.value;
        any = true;
    }
    vfm_guard_spread(total, sizes, blocks, n, requested);
    for (guint i = 0; i < n; i++) {
        const VfmPictureMemory *memory = &g_array_index(check->picture->memory, VfmPictureMemory, i);

        if (blocks[i])
            g_ptr_array_add(turn->ask,
                            g_strdup_printf("\"execute\": \"qom-set\", \"arguments\": {\"path\": \"%s\", "
                                            "\"property\": \"requested-size\", \"value\": %" G_GUINT64_FORMAT "}",
                                            memory->path, requested[i]));
    }
    return any;
}

VfmTalkVerdict vfm_resize_done(VfmCheck *check, VfmTalkTurn *turn, const char *json)
{
    g_autofree char *event = NULL;

    for (guint i = 0; i < turn->replies->len; i++) {
        g_autofree char *why = vfm_answer_error(turn->replies->pdata[i]);

        if (why)
            return vfm_check_fail(turn, "vfiomem: QEMU refused to resize virtio-mem: %s", why);
    }
    event = vfm_reply_event("VFIOMEM_RESIZED", json);
    g_string_append(turn->events, event);
    return VFM_TALK_ANSWER;
}
