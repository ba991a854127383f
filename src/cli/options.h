/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * options.h - one table per command that both reads its options and prints its help.
 *
 * Because there is only one table, an option cannot be accepted and not be in
 * --help, or the reverse. Options and operands may be mixed; "--" ends options.
 * Values point into argv. Prints nothing but help (standard output) and one line about a
 * wrong use (standard error). No state, except that getopt's is reset.
 */
#pragma once

#include "terminal.h"

#include <stdbool.h>

typedef enum {
    VFM_OPTION_TITLE = 0, /* no option: a heading in the help; an empty row ends the table */
    VFM_OPTION_FLAG,      /* bool *target */
    VFM_OPTION_TEXT,      /* const char **target; given twice: usage error */
    VFM_OPTION_LIST,      /* GPtrArray **target of const char *, made on first use; may repeat */
    VFM_OPTION_CHOICE     /* unsigned *target: position in @choices */
} VfmOptionKind;

typedef struct {
    VfmOptionKind kind;
    char letter; /* 0: long form only */
    const char *name;
    const char *value; /* placeholder in the help; of a CHOICE: its words, separated by '|' */
    const char *help;  /* one line; a '\n' starts another */
    void *target;
} VfmOption;

typedef struct {
    const char *operands; /* "[FILE|DIRECTORY|-]..."; "": it takes none */
    const char *sole;     /* what its one operand is, which must be given; NULL: there may be any number */
    const char *about;    /* paragraph below the synopsis */
    const char *examples; /* lines at the end of the help; NULL if none */
} VfmUsage;

/* Reads @argv and moves operands to its front (after argv[0]); *@argc becomes their number plus one.
 * Returns false when the command is to end with *@status: help was printed, or the use was wrong. */
bool vfm_options_parse(int *argc, char **argv, const VfmUsage *usage, const VfmOption *options, int *status);

/* Prints "COMMAND: message (see COMMAND --help)" and returns VFM_EXIT_UNUSABLE. */
int vfm_usage_error(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Tells @error, as a usage error if its code says so (VFM_INPUT_USAGE). Returns VFM_EXIT_UNUSABLE. */
int vfm_command_error(VfmTerminal *terminal, const char *command, const GError *error);
