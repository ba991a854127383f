/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan_text.h"
#include "plan_budget_text.h"
#include "size_text.h"
#include "table.h"
#include "versions.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static void print_heading(const VfmTerminal *terminal, const char *heading)
{
    printf("\n%s%s%s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD), heading,
           vfm_terminal_off(terminal, VFM_STYLE_BOLD));
}

static void print_title(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated)
{
    static const char *const accels[] = {"", ", KVM", ", TCG"};
    const VfmDomain *domain = negotiated->domain;
    const VfmHost *host = negotiated->options.host;
    g_autofree char *title = vfm_printable(*domain->name ? domain->name : name);
    g_autofree char *machine = vfm_printable(domain->machine_name ? domain->machine_name : "default machine");
    g_autofree char *arch = vfm_printable(domain->arch_name ? domain->arch_name : vfm_arch_name(domain->arch));
    g_autofree char *libvirt = vfm_version_text(negotiated->options.libvirt_version);
    g_autofree char *qemu = vfm_version_text(negotiated->options.qemu_version);
    g_autofree char *host_name = vfm_printable(host && host->name ? host->name : "unknown");

    printf("%s%s%s: %s, %s%s, %u vCPU%s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD), title,
           vfm_terminal_off(terminal, VFM_STYLE_BOLD), arch, machine, accels[domain->accel], domain->vcpus,
           domain->vcpus == 1 ? "" : "s");
    printf("Planned for host %s, libvirt %s, QEMU %s; mapping owned by %s%s\n", host_name, libvirt, qemu,
           domain->policy.owner == VFM_OWNER_HELPER ? "vfiomem's helper" : "QEMU",
           domain->iommus->len ? "; with a vIOMMU" : "");
}

static void print_assigned(const VfmTerminal *terminal, const VfmNegotiated *negotiated)
{
    const VfmDomain *domain = negotiated->domain;
    const VfmHost *host = negotiated->options.host;
    g_autoptr(VfmTable) table = vfm_table_new("llllrr");

    if (!domain->assigned->len)
        return;
    vfm_table_row(table, "device", "kind", "through", "managed", "group", "line");
    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);
        const VfmIommuGroup *group = vfm_host_find_group(host, assigned->address);
        g_autofree char *pool = assigned->network ? g_strdup_printf("of network %s", assigned->network) : NULL;
        g_autofree char *id = group ? g_strdup_printf("%u", group->id) : NULL;
        g_autofree char *line = assigned->line ? g_strdup_printf("%u", assigned->line) : NULL;

        vfm_table_row(table,
                      assigned->address ? assigned->address
                      : pool            ? pool
                                        : "chosen at start",
                      vfm_assigned_kind_name(assigned->kind), vfm_assigned_via_name(assigned->via),
                      assigned->managed ? "yes" : "no", id ? id : "-", line);
    }
    print_heading(terminal, "Assigned devices");
    vfm_table_print(table, terminal, 2);
}

static char *device_name(const VfmDomain *domain, guint index)
{
    const VfmMemoryDevice *device = g_ptr_array_index(domain->memory_devices, index);
    const char *model = device->model_name ? device->model_name : vfm_memory_model_name(device->model);

    if (device->alias)
        return g_strdup_printf("%s %s", model, device->alias);
    return g_strdup_printf("%s %u", model, index);
}

static void add_memory_row(VfmTable *table, const VfmDomain *domain, const VfmPlanMemory *memory, guint index)
{
    g_autofree char *name = device_name(domain, index);
    g_autofree char *node = memory->node.set ? g_strdup_printf("%" PRIu64, memory->node.value) : NULL;
    g_autofree char *size = vfm_size_text(memory->size);
    g_autofree char *requested = vfm_maybe_size_text(memory->requested, "");
    g_autofree char *block = vfm_maybe_size_text(memory->block, "-");
    g_autofree char *recommended = vfm_maybe_size_text(memory->recommended_block, "-");
    g_autofree char *now = g_strdup_printf("%" PRIu64, memory->mappings_now);
    g_autofree char *then = g_strdup_printf("%" PRIu64, memory->mappings_recommended);
    g_autofree char *line = memory->line ? g_strdup_printf("%u", memory->line) : NULL;

    vfm_table_row(table, name, node, size, requested, block, recommended, now, then, line);
}

static void print_memory(const VfmTerminal *terminal, const VfmNegotiated *negotiated)
{
    const VfmDomain *domain = negotiated->domain;
    const VfmPlan *plan = negotiated->plan;
    g_autoptr(VfmTable) table = vfm_table_new("lrrrrrrrr");
    g_autofree char *boot = vfm_size_text(domain->boot);

    vfm_table_row(table, "memory", "node", "size", "requested", "block now", "recommended", "mappings now", "then",
                  "line");
    vfm_table_row(table, "boot RAM", "", boot, "", "", "", "", "", "");
    for (guint i = 0; i < plan->memory->len; i++)
        add_memory_row(table, domain, g_ptr_array_index(plan->memory, i), i);
    print_heading(terminal, "Guest memory");
    vfm_table_print(table, terminal, 2);
}

static const char *hold_text(VfmHoldKind kind)
{
    static const char *const texts[VFM_HOLD_KINDS] = {
        "every discard is forbidden by",
        "balloon and free page reporting are inhibited by",
        "discards of any kind are needed by",
        "coordinated discards are needed by",
    };

    return (size_t)kind < G_N_ELEMENTS(texts) ? texts[kind] : "unknown";
}

/* All who hold one kind on one line: with eight GPUs they all say the same. */
static void print_holds(const VfmPlan *plan, VfmHoldKind kind)
{
    g_autoptr(GString) holders = g_string_new(NULL);
    g_autofree char *printable = NULL;

    for (guint i = 0; i < plan->holds->len; i++) {
        const VfmHold *hold = &g_array_index(plan->holds, VfmHold, i);

        if (hold->kind == kind)
            g_string_append_printf(holders, "%s%s", holders->len ? ", " : "", hold->holder);
    }
    if (!holders->len)
        return;
    printable = vfm_printable(holders->str);
    printf("  %s: %s\n", hold_text(kind), printable);
}

static const char *balloon_text(const VfmDomain *domain, const VfmPlan *plan)
{
    if (!domain->balloon.present)
        return "none";
    if (plan->balloon_effective)
        return "works: memory the guest gives back is free for the host";
    return "has no effect: the guest gives memory up, but the host does not get it back";
}

static void print_discards(const VfmTerminal *terminal, const VfmNegotiated *negotiated)
{
    const VfmPlan *plan = negotiated->plan;
    const VfmBalloon *balloon = &negotiated->domain->balloon;

    print_heading(terminal, "Discards of guest memory");
    printf("  balloon: %s%s\n", balloon_text(negotiated->domain, plan),
           balloon->present && balloon->implicit ? " (libvirt adds the device)" : "");
    if (balloon->free_page_reporting == VFM_ON)
        printf("  free page reporting: on%s\n", plan->balloon_effective ? "" : ", without effect");
    if (balloon->autodeflate == VFM_ON)
        printf("  autodeflate: on%s\n", plan->balloon_effective ? "" : ", without effect");
    for (guint kind = 0; kind < VFM_HOLD_KINDS; kind++)
        print_holds(plan, (VfmHoldKind)kind);
}

static void print_map(const VfmTerminal *terminal, const VfmPlan *plan)
{
    static const char *const kinds[] = {"RAM", "ROM", "device memory"};
    g_autoptr(VfmTable) table = vfm_table_new("llrll");

    print_heading(terminal, "Guest memory map");
    if (!plan->map_known) {
        puts("  not known for this machine type");
        return;
    }
    vfm_table_row(table, "from", "to", "size", "kind", "what");
    for (guint i = 0; i < plan->map->len; i++) {
        const VfmRange *range = &g_array_index(plan->map, VfmRange, i);
        g_autofree char *start = g_strdup_printf("0x%012" PRIx64, range->start);
        g_autofree char *end = g_strdup_printf("0x%012" PRIx64, range->start + range->size - 1);
        g_autofree char *size = vfm_size_text(range->size);

        vfm_table_row(table, start, end, size, range->kind < G_N_ELEMENTS(kinds) ? kinds[range->kind] : "",
                      range->name);
    }
    vfm_table_print(table, terminal, 2);
}

void vfm_plan_print(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated, bool map)
{
    print_title(terminal, name, negotiated);
    print_assigned(terminal, negotiated);
    print_memory(terminal, negotiated);
    if (negotiated->plan->containers->len) {
        vfm_plan_print_mappings(terminal, negotiated);
        vfm_plan_print_memlock(terminal, negotiated);
    }
    print_discards(terminal, negotiated);
    if (map)
        print_map(terminal, negotiated->plan);
}
