/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan_budget_text.h"
#include "size_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define BAR_WIDTH 30

char *vfm_bar_text(uint64_t used, uint64_t limit)
{
    const long double share = limit ? (long double)used / (long double)limit : used ? 10.0L : 0.0L;
    const unsigned filled = share >= 1 ? BAR_WIDTH : (unsigned)(share * BAR_WIDTH);
    char bar[BAR_WIDTH + 1];
    unsigned percent;

    memset(bar, '.', BAR_WIDTH);
    memset(bar, '#', filled);
    bar[BAR_WIDTH] = '\0';
    if (share > 9.99L)
        return g_strdup_printf("[%s] over 999 %%", bar);
    /* What fits is rounded down and what does not is rounded up: 100 % is exactly all of it. */
    percent = (unsigned)(share * 100);
    return g_strdup_printf("[%s] %3u %%", bar, percent + (share > 1 && share * 100 > percent));
}

static VfmStyle style_of(bool fits, uint64_t used, uint64_t limit)
{
    return !fits ? VFM_STYLE_ERROR : used > limit - limit / 10 ? VFM_STYLE_WARNING : VFM_STYLE_GOOD;
}

static const char *verb(bool recommended)
{
    return recommended ? "recommended" : "now";
}

typedef struct {
    uint64_t blocks_now, blocks_recommended;
    unsigned devices; /* virtio-mem */
} Blocks;

static Blocks sum_blocks(const VfmPlan *plan)
{
    Blocks sum = {0};

    for (guint i = 0; i < plan->memory->len; i++) {
        const VfmPlanMemory *memory = g_ptr_array_index(plan->memory, i);

        if (memory->model != VFM_MEM_VIRTIO_MEM)
            continue;
        sum.blocks_now += memory->mappings_now;
        sum.blocks_recommended += memory->mappings_recommended;
        sum.devices++;
    }
    return sum;
}

static void print_row(const VfmTerminal *terminal, const VfmPlan *plan, uint64_t mappings, bool recommended)
{
    if (plan->budget.set) {
        const uint64_t limit = plan->budget.value;
        const VfmStyle style = style_of(mappings <= limit, mappings, limit);
        g_autofree char *bar = vfm_bar_text(mappings, limit);

        printf("  %-12s%8" PRIu64 "  %s%s%s of %" PRIu64 "\n", verb(recommended), mappings,
               vfm_terminal_on(terminal, style), bar, vfm_terminal_off(terminal, style), limit);
    } else {
        printf("  %-12s%8" PRIu64 "  no limit\n", verb(recommended), mappings);
    }
}

/* QEMU counts on its own, and refuses or warns by that (hw/vfio/listener.c). */
static void print_qemu_row(const VfmTerminal *terminal, const VfmPlan *plan, uint64_t blocks, unsigned devices,
                           bool recommended)
{
    const uint64_t counted = blocks + plan->memslots - MIN(plan->memslots, devices);
    const uint64_t limit = plan->qemu_limit.value;
    const VfmStyle style = style_of(counted <= limit, 0, limit);
    g_autofree char *bar = vfm_bar_text(counted, limit);

    printf("  %-12s%8" PRIu64 "  %s%s%s of %" PRIu64 "\n", verb(recommended), counted, vfm_terminal_on(terminal, style),
           bar, vfm_terminal_off(terminal, style), limit);
}

static void append_members(GString *members, const VfmNegotiated *negotiated, const VfmPlanContainer *container)
{
    for (guint i = 0; i < container->assigned->len; i++) {
        const unsigned at = g_array_index(container->assigned, unsigned, i);
        const VfmAssigned *assigned = g_ptr_array_index(negotiated->domain->assigned, at);

        g_string_append_printf(members, "%s%s", members->len ? ", " : "",
                               assigned->address   ? assigned->address
                               : assigned->network ? assigned->network
                                                   : vfm_assigned_kind_name(assigned->kind));
    }
}

static const char *way_of(const VfmPlanContainer *container)
{
    return container->kind == VFM_ASSIGNED_VDPA   ? "vDPA"
           : container->kind == VFM_ASSIGNED_NVME ? "NVMe driver"
                                                  : vfm_backend_kind_name(container->backend);
}

/* Containers of the same kind that are there for the same reason share a line: a vIOMMU makes one for each device. */
static void print_containers(const VfmNegotiated *negotiated)
{
    const GPtrArray *containers = negotiated->plan->containers;

    for (guint i = 0, next; i < containers->len; i = next) {
        const VfmPlanContainer *first = g_ptr_array_index(containers, i);
        g_autoptr(GString) members = g_string_new(NULL);
        g_autofree char *printable = NULL;

        for (next = i; next < containers->len; next++) {
            const VfmPlanContainer *container = g_ptr_array_index(containers, next);

            if (next > i &&
                (!g_str_equal(way_of(container), way_of(first)) || g_strcmp0(container->reason, first->reason) != 0))
                break;
            append_members(members, negotiated, container);
        }
        printable = vfm_printable(members->str);
        if (next == i + 1)
            printf("  container %u (%s): %s\n", i + 1, way_of(first), printable);
        else
            printf("  containers %u to %u (%s): %s\n", i + 1, next, way_of(first), printable);
        if (first->reason) {
            g_autofree char *reason = vfm_printable(first->reason);

            printf("      of %s own because %s\n", next == i + 1 ? "its" : "their", reason);
        }
    }
}

void vfm_plan_print_mappings(const VfmTerminal *terminal, const VfmNegotiated *negotiated)
{
    const VfmPlan *plan = negotiated->plan;
    const Blocks blocks = sum_blocks(plan);
    const VfmPlanContainer *fullest = g_ptr_array_index(plan->containers, 0);

    for (guint i = 1; i < plan->containers->len; i++) {
        const VfmPlanContainer *container = g_ptr_array_index(plan->containers, i);

        if (container->mappings_now > fullest->mappings_now)
            fullest = container;
    }
    printf("\n%sMappings%s in %s with all memory in use; %" PRIu64 " more are kept free for hot-plug\n",
           vfm_terminal_on(terminal, VFM_STYLE_BOLD), vfm_terminal_off(terminal, VFM_STYLE_BOLD),
           plan->containers->len == 1 ? "the container" : "the fullest container", plan->headroom);
    print_row(terminal, plan, fullest->mappings_now, false);
    if (fullest->mappings_recommended != fullest->mappings_now)
        print_row(terminal, plan, fullest->mappings_recommended, true);
    if (plan->containers->len > 1 || fullest->reason)
        print_containers(negotiated);
    if (!plan->qemu_limit.set || !blocks.devices)
        return;
    printf("  QEMU's own check counts blocks plus %" PRIu64 " memory slots:\n", plan->memslots);
    print_qemu_row(terminal, plan, blocks.blocks_now, blocks.devices, false);
    if (blocks.blocks_recommended != blocks.blocks_now)
        print_qemu_row(terminal, plan, blocks.blocks_recommended, blocks.devices, true);
}

void vfm_plan_print_memlock(const VfmTerminal *terminal, const VfmNegotiated *negotiated)
{
    static const char *const sources[] = {"set by libvirt", "from <hard_limit>", "no limit"};
    const VfmPlan *plan = negotiated->plan;
    const VfmMaybe limit = plan->memlock_limit;
    g_autofree char *required = vfm_size_text(plan->memlock_required);

    printf("\n%sLocked memory%s, at full size\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD),
           vfm_terminal_off(terminal, VFM_STYLE_BOLD));
    if (limit.set) {
        const bool fits = plan->memlock_required <= limit.value;
        const VfmStyle style = fits ? VFM_STYLE_GOOD : VFM_STYLE_ERROR;
        g_autofree char *text = vfm_size_text(limit.value);
        g_autofree char *bar = vfm_bar_text(plan->memlock_required, limit.value);

        printf("  needed %s  %s%s%s of %s, %s\n", required, vfm_terminal_on(terminal, style), bar,
               vfm_terminal_off(terminal, style), text, sources[plan->memlock_from]);
    } else {
        printf("  needed %s, %s\n", required,
               plan->memlock_from == VFM_LIMIT_LIBVIRT ? "limit left as it is by libvirt" : "no limit");
    }
}
