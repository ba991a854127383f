/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "table.h"

#include <string.h>

struct VfmTable {
    char *columns;
    guint width;
    GPtrArray *cells; /* row after row */
};

VfmTable *vfm_table_new(const char *columns)
{
    VfmTable *table = g_new0(VfmTable, 1);

    table->columns = g_strdup(columns);
    table->width = (guint)strlen(columns);
    table->cells = g_ptr_array_new_with_free_func(g_free);
    return table;
}

void vfm_table_free(VfmTable *table)
{
    if (!table)
        return;
    g_free(table->columns);
    g_ptr_array_unref(table->cells);
    g_free(table);
}

void vfm_table_row(VfmTable *table, ...)
{
    va_list args;

    va_start(args, table);
    for (guint i = 0; i < table->width; i++)
        g_ptr_array_add(table->cells, vfm_printable(va_arg(args, const char *)));
    va_end(args);
}

void vfm_table_print(const VfmTable *table, const VfmTerminal *terminal, unsigned indent)
{
    g_autofree glong *widths = g_new0(glong, table->width);

    for (guint i = 0; i < table->cells->len; i++)
        widths[i % table->width] = MAX(widths[i % table->width], g_utf8_strlen(table->cells->pdata[i], -1));
    for (guint i = 0; i < table->cells->len; i += table->width) {
        const VfmStyle style = i == 0 ? VFM_STYLE_BOLD : VFM_STYLE_PLAIN;
        glong owed = indent; /* blanks before the next text: none are printed after the last */

        fputs(vfm_terminal_on(terminal, style), stdout);
        for (guint c = 0; c < table->width; c++) {
            const char *cell = table->cells->pdata[i + c];
            const glong pad = widths[c] - g_utf8_strlen(cell, -1);

            owed += c ? 2 : 0;
            if (*cell) {
                printf("%*s%s", (int)(owed + (table->columns[c] == 'r' ? pad : 0)), "", cell);
                owed = table->columns[c] == 'r' ? 0 : pad;
            } else {
                owed += widths[c];
            }
        }
        puts(vfm_terminal_off(terminal, style));
    }
}
