/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * command.h - what every subcommand of `vfiomem` has in common.
 *
 * A command is one function: it reads its own options, prints its result to
 * standard output and everything else to standard error, and returns the exit
 * status of the program. It may use only what is on the layers below, and holds
 * nothing beyond its return.
 */
#pragma once

#include <glib.h>

/* design.md, output contract. Where several inputs differ, the worst one counts. */
typedef enum {
    VFM_EXIT_OK = 0,
    VFM_EXIT_FINDINGS = 1, /* error findings */
    VFM_EXIT_UNUSABLE = 2  /* unusable input or usage, or a machine that does not work */
} VfmExit;

/* @argv[0] is "vfiomem COMMAND", for messages. */
typedef int (*VfmCommandRun)(int argc, char **argv);

int vfm_command_check(int argc, char **argv);
int vfm_command_plan(int argc, char **argv);
int vfm_command_apply(int argc, char **argv);
int vfm_command_define(int argc, char **argv);
int vfm_command_host(int argc, char **argv);
int vfm_command_install_hook(int argc, char **argv);
int vfm_command_status(int argc, char **argv);
int vfm_command_mappings(int argc, char **argv);
