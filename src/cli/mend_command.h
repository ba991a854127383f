/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mend_command.h - what `apply` and `define` share: mend every input, tell what was changed, put the result somewhere.
 *
 * Where it goes is the command's own and is its VfmMendWriter. Nothing is written of an
 * input that cannot be read or mended; the others are taken all the same.
 */
#pragma once

#include "mend.h"

typedef struct {
    VfmInputOptions input;
    VfmHostOptions host;
    const char *emulator;
    bool diff; /* print what would change instead of writing it */
} VfmMendOptions;

typedef struct {
    /* NULL, or why these inputs cannot be taken so: a usage error. May be NULL. */
    const char *(*wrong_use)(const VfmMendOptions *options, const VfmInputs *inputs, gpointer data);
    /* Puts one where it belongs. @status: VFM_EXIT_OK, or VFM_EXIT_FINDINGS if errors are left. False with @error. */
    bool (*write)(const char *command, const VfmMended *mended, const VfmInput *input, int status, gpointer data,
                  GError **error);
    gpointer data;
} VfmMendWriter;

/* Rows for the end of a command's option table. */
#define VFM_MEND_OPTIONS(options)                                                                                      \
    VFM_EMULATOR_OPTION(&(options)->emulator), VFM_INPUT_OPTIONS(&(options)->input), VFM_HOST_OPTIONS(&(options)->host)
#define VFM_EMULATOR_OPTION(target)                                                                                    \
    {                                                                                                                  \
        VFM_OPTION_TEXT, 0, "emulator", "PATH", "where vfiomem-qemu is, for guests that want the helper", (target)     \
    }

/* The whole command: reads its options into @options through @table, returns its exit status. */
int vfm_mend_command(int argc, char **argv, const VfmUsage *usage, const VfmOption *table, VfmMendOptions *options,
                     const VfmMendWriter *writer);
