/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mappings_command.c - `vfiomem mappings`: a running guest's physical memory, and what of it devices can reach.
 */
#include "command.h"
#include "error.h"
#include "module.h"
#include "monitor_read.h"
#include "monitor_source.h"
#include "negotiate.h"
#include "size_text.h"
#include "survey.h"
#include "table.h"

#include <stdio.h>

/* Ranges asked for at once. */
#define PAGE 500

static bool read_all(VfmTerminal *terminal, const char *uri, const char *domain, bool json, GPtrArray *ranges,
                     GError **error)
{
    VfmMonitorReadMappings read =
        (VfmMonitorReadMappings)vfm_module_symbol(VFM_MONITOR_MODULE, VFM_MONITOR_MAPPINGS, error);
    uint64_t total = 1;

    while (read && ranges->len < total) {
        g_autofree char *arguments = g_strdup_printf("{\"offset\":%u,\"limit\":%u}", ranges->len, PAGE);
        g_autofree char *reply = vfm_monitor_source_ask(uri, domain, "vfiomem-query-mappings", arguments, error);
        guint before = ranges->len;

        if (!reply || !read(reply, ranges, &total, error))
            return false;
        if (json)
            vfm_monitor_source_print(reply);
        else
            vfm_terminal_progress(terminal, "read range", ranges->len, (guint)total);
        if (ranges->len == before)
            break; /* the map shrank while we read it */
    }
    vfm_terminal_clear(terminal);
    return read != NULL;
}

static void print_ranges(const VfmTerminal *terminal, const GPtrArray *ranges)
{
    g_autoptr(VfmTable) table = vfm_table_new("llrlrrr");

    vfm_table_row(table, "start", "end", "size", "what", "block", "mapped", "mappings");
    for (guint i = 0; i < ranges->len; i++) {
        const VfmMappedRange *range = g_ptr_array_index(ranges, i);
        g_autofree char *start = g_strdup_printf("0x%012" G_GINT64_MODIFIER "x", range->start),
                        *end = g_strdup_printf("0x%012" G_GINT64_MODIFIER "x",
                                               range->size ? range->start + range->size - 1 : range->start),
                        *size = vfm_size_text(range->size), *block = vfm_maybe_size_text(range->block, ""),
                        *mapped = vfm_size_text(range->mapped),
                        *mappings = g_strdup_printf("%" G_GUINT64_FORMAT, range->mappings);

        vfm_table_row(table, start, end, size, range->name ? range->name : range->kind, block, mapped, mappings);
    }
    vfm_table_print(table, terminal, 0);
}

int vfm_command_mappings(int argc, char **argv)
{
    static const VfmUsage usage = {
        .operands = "DOMAIN",
        .sole = "domain's name or UUID",
        .about = "Shows the physical memory of a running guest, range by range, and how much of each is\n"
                 "mapped for its assigned devices. Of virtio-mem QEMU says how much is plugged, not\n"
                 "where. As JSON, one line a page of at most 500 ranges.\n"
                 "\n"
                 "Exit status: 0 shown, 2 not possible, or the command was used wrongly.",
        .examples = "  vfiomem mappings web1",
    };
    const char *uri = NULL;
    unsigned format = VFM_FORMAT_HUMAN;
    const VfmOption table[] = {
        {VFM_OPTION_TITLE, 0, NULL, NULL, "Options", NULL},
        VFM_FORMAT_OPTION(&format),
        {VFM_OPTION_TEXT, 'c', "connect", "URI", "libvirt to ask (default: libvirt's own)", &uri},
        {0},
    };
    g_autoptr(GPtrArray) ranges = vfm_mapped_ranges_new();
    g_autoptr(GError) error = NULL;
    VfmTerminal terminal;
    int status;

    if (!vfm_options_parse(&argc, argv, &usage, table, &status))
        return status;
    vfm_terminal_init(&terminal);
    if (!read_all(&terminal, uri, argv[1], format == VFM_FORMAT_JSON, ranges, &error))
        return vfm_command_error(&terminal, argv[0], error);
    if (format == VFM_FORMAT_HUMAN)
        print_ranges(&terminal, ranges);
    return vfm_finish_output(&terminal, argv[0], VFM_EXIT_OK);
}
