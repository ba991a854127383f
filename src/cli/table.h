/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * table.h - rows of text in columns as wide as they need to be.
 *
 * The first row is the heading. A table owns copies of its cells, made printable.
 */
#pragma once

#include "terminal.h"

#include <stdio.h>

typedef struct VfmTable VfmTable;

/* One character per column: 'l' left, 'r' right aligned. */
VfmTable *vfm_table_new(const char *columns);
void vfm_table_free(VfmTable *table);

/* As many strings as there are columns; NULL is an empty cell. */
void vfm_table_row(VfmTable *table, ...);

/* Prints with @indent blanks in front and two between columns, without blanks at line ends. */
void vfm_table_print(const VfmTable *table, const VfmTerminal *terminal, unsigned indent);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmTable, vfm_table_free)
