/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* findings_policy.c - the domain's own vfiomem policy: can it be kept. */
#include <string.h>

#include "amount.h"
#include "size_rounding.h"
#include "memory_backend.h"
#include "negotiation.h"

#define HELPER_QEMU VFM_VERSION(10, 1, 0) /* vfio-user-pci */

static unsigned line_of(unsigned line, const VfmPolicy *policy)
{
    return line ? line : policy->line;
}

static bool has_virtio_mem(const VfmDomain *domain)
{
    for (guint i = 0; i < domain->memory_devices->len; i++)
        if (((const VfmMemoryDevice *)g_ptr_array_index(domain->memory_devices, i))->model == VFM_MEM_VIRTIO_MEM)
            return true;
    return false;
}

static bool emulator_is_ours(const VfmDomain *domain)
{
    const char *name = domain->emulator ? strrchr(domain->emulator, '/') : NULL;

    name = name ? name + 1 : domain->emulator;
    return name && g_str_has_prefix(name, "vfiomem-qemu");
}

/* Only a shared memfd or hugetlbfs file reaches the helper with the guest's own content. */
static bool helper_can_reach(const VfmMemoryBackend *backend)
{
    return backend->shared && !(backend->disk_file && !backend->hugetlb);
}

typedef struct {
    GString *names; /* of what the helper can't reach; NULL: nothing yet */
    unsigned line;  /* of the first of them, where it says so itself */
} Unreachable;

static void add_unreachable(Unreachable *unreachable, VfmSwitch own, unsigned line, const char *name)
{
    if (!unreachable->names) {
        unreachable->names = g_string_new(name);
        unreachable->line = own == VFM_OFF ? line : 0;
    } else {
        g_string_append_printf(unreachable->names, ", %s", name);
    }
}

static void find_private(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    VfmMemoryBackend boot = vfm_memory_backend(domain, NULL, n->host);
    Unreachable unreachable = {NULL, 0};
    unsigned line;

    if (domain->live && !domain->type)
        return; /* QEMU's arguments: judged before it was started, and whatever came later as it came */
    if (!domain->cells->len && !helper_can_reach(&boot))
        add_unreachable(&unreachable, VFM_ABSENT, 0, "boot memory");
    for (guint i = 0; i < domain->cells->len; i++) {
        const VfmCell *cell = &g_array_index(domain->cells, VfmCell, i);
        VfmMemoryBackend backend = vfm_cell_backend(domain, cell, n->host);
        g_autofree char *name = g_strdup_printf("NUMA cell %u", cell->id);

        if (!helper_can_reach(&backend))
            add_unreachable(&unreachable, cell->shared, cell->line, name);
    }
    for (guint i = 0; i < domain->memory_devices->len; i++) {
        const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, i);
        VfmMemoryBackend backend = vfm_memory_backend(domain, device, n->host);
        g_autofree char *name = vfm_memory_label(domain, i);

        /* A file of its own may well be on tmpfs or hugetlbfs. */
        if (device->model == VFM_MEM_SGX_EPC || (device->path && backend.shared))
            continue;
        if (!helper_can_reach(&backend))
            add_unreachable(&unreachable, device->shared, device->line, name);
    }
    if (!unreachable.names)
        return;
    line = domain->backing.line ? domain->backing.line : domain->memory_line;
    vfm_note(n, VFM_FINDING_HELPER_MEMORY_PRIVATE, unreachable.line ? unreachable.line : line,
             g_strdup("set <source type='memfd'/> and <access mode='shared'/> in <memoryBacking>, and nothing private "
                      "below; `vfiomem apply` does it"),
             "the helper can map only guest memory it shares with QEMU (memfd or huge pages, access mode shared), not "
             "that of %s",
             unreachable.names->str);
    g_string_free(unreachable.names, TRUE);
}

static void find_helper(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const VfmPolicy *policy = &domain->policy;
    unsigned line = line_of(policy->mapping_line, policy), qemu = n->options->qemu_version;
    bool helper = policy->owner == VFM_OWNER_HELPER;

    if ((helper || policy->required) && !emulator_is_ours(domain)) {
        const char *path = n->options->emulator ? n->options->emulator : VFM_DEFAULT_EMULATOR;

        vfm_note(n, VFM_FINDING_HELPER_EMULATOR, domain->emulator_line ? domain->emulator_line : line,
                 g_strdup_printf("set <emulator> to %s; `vfiomem apply` does it", path),
                 "the policy wants vfiomem's helper beside QEMU, but <emulator> is %s, which starts none",
                 domain->emulator ? domain->emulator : "libvirt's default");
    }
    if (!helper)
        return;
    if (qemu && qemu < HELPER_QEMU)
        vfm_note(n, VFM_FINDING_HELPER_QEMU_VERSION, line, g_strdup("use QEMU 10.1 or newer, or owner='qemu'"),
                 "the policy has the helper own the mappings, which needs vfio-user-pci of QEMU 10.1; this is %u.%u",
                 qemu / 1000000, qemu / 1000 % 1000);
    else if (!qemu)
        vfm_note_as(n, VFM_INFO, VFM_FINDING_HELPER_QEMU_VERSION, line, NULL,
                    "the policy has the helper own the mappings, which needs QEMU 10.1 or newer; the version is not "
                    "known here");
    find_private(n);
}

/* "guest memory is at 0x0-0xbffff, 0x100000-0x7fffffff, ...": RAM only, the first few ranges. */
static char *memory_ranges(const VfmPlan *plan)
{
    g_autoptr(GString) text = g_string_new("guest memory is at");
    unsigned count = 0;

    for (guint i = 0; i < plan->map->len && count < 4; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);

        if (range->kind != VFM_RANGE_ROM)
            g_string_append_printf(text, "%s 0x%" G_GINT64_MODIFIER "x-0x%" G_GINT64_MODIFIER "x", count++ ? "," : "",
                                   range->start, range->start + range->size - 1);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

static void find_window(VfmNegotiation *n, const VfmWindow *window)
{
    const VfmPolicy *policy = &n->domain->policy;
    uint64_t page = vfm_base_page_size(n->domain, n->host);
    bool memory = !n->plan->map_known;

    for (guint i = 0; i < n->plan->map->len; i++) {
        const VfmRange *range = &g_array_index(n->plan->map, VfmRange, i);

        memory |=
            window->start < vfm_add(range->start, range->size) && range->start < vfm_add(window->start, window->size);
    }
    if (policy->owner != VFM_OWNER_HELPER)
        vfm_note(n, VFM_FINDING_POLICY_WINDOW, line_of(window->line, policy),
                 g_strdup("set owner='helper', or remove the window"),
                 "a window restricts what devices reach only where the helper owns the mappings; QEMU maps everything");
    else if (window->start % page || window->size % page || !window->size)
        vfm_note(n, VFM_FINDING_POLICY_WINDOW, line_of(window->line, policy),
                 g_strdup_printf("make start and size multiples of %" G_GUINT64_FORMAT " bytes", page),
                 "window 0x%" G_GINT64_MODIFIER "x + 0x%" G_GINT64_MODIFIER "x is empty or not made of whole pages",
                 window->start, window->size);
    else if (!memory)
        vfm_note(n, VFM_FINDING_POLICY_WINDOW, line_of(window->line, policy), memory_ranges(n->plan),
                 "window 0x%" G_GINT64_MODIFIER "x + 0x%" G_GINT64_MODIFIER "x holds no guest memory", window->start,
                 window->size);
}

static void find_budget_policy(VfmNegotiation *n)
{
    const VfmPolicy *policy = &n->domain->policy;
    const VfmPlan *plan = n->plan;

    /* The lower of the two is what the plan has. */
    if (policy->budget_mappings.set && plan->budget.set && policy->budget_mappings.value > plan->budget.value)
        vfm_note(n, VFM_FINDING_POLICY_BUDGET, line_of(policy->budget_line, policy),
                 g_strdup_printf("say %" G_GUINT64_FORMAT " or less, or raise dma_entry_limit of vfio_iommu_type1",
                                 plan->budget.value),
                 "the policy's budget of %" G_GUINT64_FORMAT " mappings is more than the %" G_GUINT64_FORMAT
                 " there are, and is not used",
                 policy->budget_mappings.value, plan->budget.value);
    if (policy->budget_headroom.set && plan->budget.set && policy->budget_headroom.value >= plan->budget.value)
        vfm_note_as(n, VFM_ERROR, VFM_FINDING_POLICY_BUDGET, line_of(policy->budget_line, policy),
                    g_strdup("lower headroom"),
                    "the policy keeps %" G_GUINT64_FORMAT " mappings free of %" G_GUINT64_FORMAT ": none are left",
                    policy->budget_headroom.value, plan->budget.value);
}

static void find_resize(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const VfmPolicy *policy = &domain->policy;
    unsigned line = line_of(policy->resize_line, policy);
    uint64_t total = vfm_rounded_total_memory(domain);
    g_autofree char *all = vfm_amount(total);
    g_autofree char *boot = vfm_amount(domain->boot);
    g_autofree char *min = vfm_amount(policy->resize_min.value);
    g_autofree char *max = vfm_amount(policy->resize_max.value);

    if (!policy->resize_present)
        return;
    if (!has_virtio_mem(domain))
        vfm_note(n, VFM_FINDING_POLICY_RESIZE, line, g_strdup("add a virtio-mem device"),
                 "automatic sizing moves virtio-mem, and the guest has none");
    else if (policy->resize_min.set && policy->resize_max.set && policy->resize_min.value > policy->resize_max.value)
        vfm_note(n, VFM_FINDING_POLICY_RESIZE, line, g_strdup("exchange min and max"),
                 "automatic sizing from %s to %s: min is more than max", min, max);
    else if (policy->resize_max.set && policy->resize_max.value > total)
        vfm_note(n, VFM_FINDING_POLICY_RESIZE, line, g_strdup_printf("lower max to %s, or add virtio-mem", all),
                 "automatic sizing up to %s: all memory at full size is %s", max, all);
    else if (policy->resize_min.set && policy->resize_min.value < domain->boot)
        vfm_note_as(n, VFM_WARNING, VFM_FINDING_POLICY_RESIZE, line, g_strdup_printf("raise min to %s", boot),
                    "automatic sizing down to %s: boot memory of %s always stays", min, boot);
}

void vfm_find_policy(VfmNegotiation *n)
{
    const VfmDomain *domain = n->domain;
    const VfmPolicy *policy = &domain->policy;

    if (!policy->present)
        return;
    find_helper(n);
    for (guint i = 0; i < policy->windows->len; i++)
        find_window(n, &g_array_index(policy->windows, VfmWindow, i));
    find_budget_policy(n);
    find_resize(n);
    if (policy->balloon == VFM_BALLOON_RESIZE && !has_virtio_mem(domain))
        vfm_note(n, VFM_FINDING_POLICY_BALLOON, line_of(policy->balloon_line, policy),
                 g_strdup("add a virtio-mem device, or say 'refuse'"),
                 "the policy turns balloon requests into virtio-mem resizes, and the guest has no virtio-mem");
    if (policy->owner == VFM_OWNER_QEMU && policy->backend != VFM_BACKEND_AUTO && n->plan->containers->len &&
        policy->backend != n->plan->backend)
        vfm_note(n, VFM_FINDING_POLICY_BACKEND, line_of(policy->mapping_line, policy),
                 g_strdup("assign the devices that way (<driver iommufd=>), or set owner='helper'"),
                 "the policy wants %s, but QEMU maps through %s: while it owns the mappings, the devices' own elements "
                 "decide",
                 vfm_backend_kind_name(policy->backend), vfm_backend_kind_name(n->plan->backend));
}
