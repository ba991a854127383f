/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * status_command.c - `vfiomem status`: a running guest's memory, who inhibits what, and the budgets.
 */
#include "command.h"
#include "error.h"
#include "module.h"
#include "monitor_read.h"
#include "monitor_source.h"
#include "negotiate.h"
#include "plan_budget_text.h"
#include "size_text.h"
#include "survey.h"
#include "table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *uri, *domain, *interval, *count;
    bool watch;
    unsigned format;
} Options;

static void print_memory(const VfmTerminal *terminal, const VfmStatus *status)
{
    g_autoptr(VfmTable) table = vfm_table_new("lrrrrrl");
    g_autofree char *boot = vfm_size_text(status->boot);

    vfm_table_row(table, "memory", "node", "size", "block", "requested", "plugged", "");
    vfm_table_row(table, "boot", NULL, boot, NULL, NULL, boot, NULL);
    for (guint i = 0; i < status->memory->len; i++) {
        const VfmStatusMemory *memory = g_ptr_array_index(status->memory, i);
        g_autofree char *name = g_strdup_printf("%s %s", memory->model, memory->id),
                        *size = vfm_size_text(memory->size), *block = vfm_maybe_size_text(memory->block, ""),
                        *requested = vfm_maybe_size_text(memory->requested, ""),
                        *plugged = vfm_size_text(memory->plugged),
                        *node = memory->node.set ? g_strdup_printf("%" G_GUINT64_FORMAT, memory->node.value) : NULL,
                        *way = NULL;

        if (memory->requested.set && memory->requested.value > memory->plugged)
            way = vfm_bar_text(memory->plugged, memory->requested.value);
        else if (memory->requested.set && memory->requested.value < memory->plugged)
            way = g_strdup("shrinking");
        vfm_table_row(table, name, node, size, block, requested, plugged, way);
    }
    vfm_table_print(table, terminal, 2);
}

static void print_pairs(const VfmTerminal *terminal, const char *title, const char *second, const GPtrArray *pairs)
{
    g_autoptr(VfmTable) table = vfm_table_new("ll");

    if (pairs->len == 0)
        return;
    vfm_table_row(table, title, second);
    for (guint i = 0; i < pairs->len; i++) {
        const VfmStatusPair *pair = g_ptr_array_index(pairs, i);

        vfm_table_row(table, pair->name, pair->what);
    }
    vfm_table_print(table, terminal, 2);
}

static void print_budgets(const VfmStatus *status)
{
    g_autofree char *pinned = vfm_size_text(status->pinned);
    g_autofree char *limit = vfm_maybe_size_text(status->memlock_limit, "");

    if (status->containers == 0) {
        puts("  nothing is assigned, so nothing is mapped or pinned");
        return;
    }
    printf("  mappings  %" G_GUINT64_FORMAT " of ", status->mappings_used);
    if (status->budget.set) {
        g_autofree char *bar = vfm_bar_text(status->mappings_used, status->budget.value);

        printf("%" G_GUINT64_FORMAT " %s", status->budget.value, bar);
    } else {
        printf("no limit");
    }
    printf(", %" G_GUINT64_FORMAT " at full size, in %" G_GUINT64_FORMAT " container%s\n", status->mappings_full,
           status->containers, status->containers == 1 ? "" : "s");
    printf("  pinned    %s; locked memory %s%s\n", pinned, *limit ? "is limited to " : "has no limit", limit);
}

static const char *owner_text(const char *owner)
{
    if (g_strcmp0(owner, "qemu") == 0)
        return "QEMU";
    return g_strcmp0(owner, "helper") == 0 ? "vfiomem's helper" : "unknown";
}

static void print_status(const VfmTerminal *terminal, const VfmStatus *status)
{
    g_autofree char *name = vfm_printable(status->domain ? status->domain : "");
    g_autofree char *actual = vfm_maybe_size_text(status->balloon_actual, "unknown");

    printf("%s%s%s: %s, mapped by %s%s%s\n", vfm_terminal_on(terminal, VFM_STYLE_BOLD), name,
           vfm_terminal_off(terminal, VFM_STYLE_BOLD), status->state ? status->state : "unknown",
           owner_text(status->owner), status->backend ? " through " : "", status->backend ? status->backend : "");
    print_memory(terminal, status);
    if (status->balloon_present)
        printf("  balloon   %s, %s; policy while inhibited: %s\n", actual,
               status->balloon_effective ? "effective" : "inhibited (frees nothing)",
               status->balloon_policy ? status->balloon_policy : "unknown");
    print_budgets(status);
    print_pairs(terminal, "assigned", "device", status->assigned);
    print_pairs(terminal, "holder", "of discards", status->inhibitors);
    printf("  helper    %s; %" G_GUINT64_FORMAT " refusal%s, %" G_GUINT64_FORMAT " restart%s\n",
           g_strcmp0(status->level, "full") == 0 ? "guards this guest" : "only relays, the domain's log says why",
           status->refusals, status->refusals == 1 ? "" : "s", status->restarts, status->restarts == 1 ? "" : "s");
    if (status->devices && strcmp(status->devices, "gone") == 0)
        puts("            the process that mapped memory for devices has ended; the domain's log says why. Shut the\n"
             "            guest down and start it again to give it devices");
}

/* Asks and prints once. */
static bool show(VfmTerminal *terminal, const Options *options, bool again, GError **error)
{
    g_autofree char *reply = vfm_monitor_source_ask(options->uri, options->domain, "vfiomem-query-status", NULL, error);
    g_autoptr(VfmStatus) status = NULL;
    VfmMonitorReadStatus read;

    if (!reply)
        return false;
    if (options->format == VFM_FORMAT_JSON) {
        vfm_monitor_source_print(reply);
        return true;
    }
    read = (VfmMonitorReadStatus)vfm_module_symbol(VFM_MONITOR_MODULE, VFM_MONITOR_STATUS, error);
    status = read ? read(reply, error) : NULL;
    if (!status)
        return false;
    if (again)
        fputs(terminal->colour ? "\033[H\033[J" : "\n", stdout);
    print_status(terminal, status);
    return true;
}

static bool positive(const char *text, guint64 most, guint64 *value)
{
    return !text || g_ascii_string_to_unsigned(text, 10, 1, most, value, NULL);
}

int vfm_command_status(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "DOMAIN",
        .sole = "domain's name or UUID",
        .about = "Shows a running guest: its memory and what of it is plugged, what is mapped and pinned\n"
                 "against what may be, which devices are assigned and who inhibits what. Asks the\n"
                 "helper that vfiomem-qemu put beside QEMU, through libvirt.\n"
                 "\n"
                 "Exit status: 0 shown, 2 not possible, or the command was used wrongly.",
        .examples = "  vfiomem status web1\n"
                    "  vfiomem status --watch web1\n"
                    "  vfiomem status --format=json web1 | jq .mappings",
    };
    Options options = {.uri = NULL};
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        VFM_FORMAT_OPTION(&options.format),
        {VFM_OPTION_TEXT, 'c', "connect", "URI", "libvirt to ask (default: libvirt's own)", &options.uri},
        {VFM_OPTION_FLAG, 'w', "watch", NULL, "again and again, until the guest or you end it", &options.watch},
        {VFM_OPTION_TEXT, 0, "interval", "SECONDS", "between two looks (default: 1)", &options.interval},
        {VFM_OPTION_TEXT, 0, "count", "N", "end after N looks", &options.count},
        {0},
    };
    guint64 interval = 1, count = 1;
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    int status;

    if (!vfm_options_parse(&argc, argv, &usage, table, &status))
        return status;
    if (!positive(options.interval, 86400, &interval) || !positive(options.count, G_MAXUINT32, &count))
        return vfm_usage_error(argv[0], "--interval and --count take a number above 0");
    if (options.watch && !options.count)
        count = G_MAXUINT64;
    options.domain = argv[1];
    vfm_terminal_init(&terminal);
    for (guint64 i = 0; i < count; i++) {
        if (i)
            g_usleep(interval * G_USEC_PER_SEC);
        if (!show(&terminal, &options, i > 0, &error))
            return vfm_command_error(&terminal, argv[0], error);
        fflush(stdout);
    }
    return vfm_finish_output(&terminal, argv[0], VFM_EXIT_OK);
}
