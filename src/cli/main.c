/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * main.c - `vfiomem COMMAND ...`: finds the command and hands over.
 */
#include "command.h"
#include "terminal.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    const char *about;
    VfmCommandRun run;
} commands[] = {
    {"check", "say what will not work, and how to mend it", vfm_command_check},
    {"plan", "show the numbers: blocks, mappings, locked memory, who inhibits what", vfm_command_plan},
    {"apply", "write the XML with what must change changed", vfm_command_apply},
    {"define", "the same, and define the result through libvirt", vfm_command_define},
    {"host", "show what this host offers, or save it for planning elsewhere", vfm_command_host},
    {"status", "show a running guest's memory, mappings and inhibitors", vfm_command_status},
    {"mappings", "show a running guest's memory map and what devices reach of it", vfm_command_mappings},
    {"install-hook", "let libvirt ask vfiomem before each start", vfm_command_install_hook},
};

static void print_help(void)
{
    puts("Usage: vfiomem COMMAND [OPTIONS] [FILE...]\n"
         "\n"
         "Elastic memory for libvirt guests that have devices assigned through VFIO.\n"
         "\n"
         "Commands:");
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++)
        printf("  %-14s%s\n", commands[i].name, commands[i].about);
    puts("\n"
         "Options:\n"
         "  -h, --help      show this help\n"
         "  -V, --version   show the version\n"
         "\n"
         "`vfiomem COMMAND --help` describes a command, as does `man vfiomem-COMMAND`.");
}

/* Letters to change, add or remove to make one word of the other; words longer than commands are far. */
static guint distance(const char *a, const char *b)
{
    guint row[32];
    const guint length = (guint)strlen(b);

    if (length >= G_N_ELEMENTS(row) || strlen(a) >= G_N_ELEMENTS(row))
        return G_MAXUINT;
    for (guint j = 0; j <= length; j++)
        row[j] = j;
    for (guint i = 1; a[i - 1]; i++) {
        guint diagonal = row[0]; /* of the row before */

        row[0] = i;
        for (guint j = 1; j <= length; j++) {
            const guint above = row[j];

            row[j] = MIN(MIN(above, row[j - 1]) + 1, diagonal + (a[i - 1] != b[j - 1]));
            diagonal = above;
        }
    }
    return row[length];
}

/* The command that was meant: the only one that begins so, or the nearest within two typing errors. */
static const char *meant(const char *word)
{
    const char *begins = NULL, *near = NULL;
    guint best = 3, beginning = 0;

    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        const guint far = distance(word, commands[i].name);

        if (g_str_has_prefix(commands[i].name, word)) {
            begins = commands[i].name;
            beginning++;
        }
        if (far < best) {
            near = commands[i].name;
            best = far;
        }
    }
    return beginning == 1 ? begins : near;
}

static int unknown(const char *word)
{
    g_autofree char *printable = vfm_printable(word);
    const char *guess = *word ? meant(word) : NULL;

    fprintf(stderr, "vfiomem: unknown command '%s'%s%s%s (see vfiomem --help)\n", printable,
            guess ? "; did you mean '" : "", guess ? guess : "", guess ? "'?" : "");
    return VFM_EXIT_UNUSABLE;
}

/* Whoever asked for help or a version must get it, or hear that it could not be written. */
static int printed(const char *command)
{
    VfmTerminal terminal;

    vfm_terminal_init(&terminal);
    return vfm_finish_output(&terminal, command, VFM_EXIT_OK);
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fputs("vfiomem: which command? (see vfiomem --help)\n", stderr);
        return VFM_EXIT_UNUSABLE;
    }
    if (g_str_equal(argv[1], "--help") || g_str_equal(argv[1], "-h") || g_str_equal(argv[1], "help")) {
        print_help();
        return printed("vfiomem");
    }
    if (g_str_equal(argv[1], "--version") || g_str_equal(argv[1], "-V")) {
        puts("vfiomem " VFM_PROJECT_VERSION);
        return printed("vfiomem");
    }
    for (guint i = 0; i < G_N_ELEMENTS(commands); i++) {
        if (g_str_equal(argv[1], commands[i].name)) {
            g_autofree char *name = g_strconcat("vfiomem ", commands[i].name, NULL);

            argv[1] = name;
            return commands[i].run(argc - 1, argv + 1);
        }
    }
    return unknown(argv[1]);
}
