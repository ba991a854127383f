/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "monitor_read.h"

void vfm_status_free(VfmStatus *status)
{
    if (!status)
        return;
    g_free(status->domain);
    g_free(status->state);
    g_free(status->owner);
    g_free(status->backend);
    g_free(status->balloon_policy);
    g_free(status->level);
    g_free(status->devices);
    g_clear_pointer(&status->inhibitors, g_ptr_array_unref);
    g_clear_pointer(&status->assigned, g_ptr_array_unref);
    g_clear_pointer(&status->memory, g_ptr_array_unref);
    g_free(status);
}

static void range_free(gpointer data)
{
    VfmMappedRange *range = data;

    g_free(range->kind);
    g_free(range->name);
    g_free(range);
}

GPtrArray *vfm_mapped_ranges_new(void)
{
    return g_ptr_array_new_with_free_func(range_free);
}
