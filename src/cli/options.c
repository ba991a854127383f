/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "options.h"
#include "command.h"
#include "error.h"

#include <getopt.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

/* Where help texts start; "  -f, --format=human|json" is the widest that fits. */
#define HELP_COLUMN 30

/* getopt_long's values for options: beyond all letters. */
#define FIRST_VALUE 256
#define HELP_VALUE 255

int vfm_usage_error(const char *command, const char *format, ...)
{
    g_autofree char *message = NULL;
    va_list args;

    va_start(args, format);
    message = g_strdup_vprintf(format, args);
    va_end(args);
    fprintf(stderr, "%s: %s (see %s --help)\n", command, message, command);
    return VFM_EXIT_UNUSABLE;
}

int vfm_command_error(VfmTerminal *terminal, const char *command, const GError *error)
{
    if (g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE))
        return vfm_usage_error(command, "%s", error->message);
    vfm_complain(terminal, command, error->message);
    return VFM_EXIT_UNUSABLE;
}

static void print_option(char letter, const char *name, const char *value, const char *help)
{
    g_autofree char *left = NULL;
    g_auto(GStrv) lines = g_strsplit(help, "\n", -1);

    left = g_strdup_printf("  %c%c%c --%s%s%s", letter ? '-' : ' ', letter ? letter : ' ', letter ? ',' : ' ', name,
                           value ? "=" : "", value ? value : "");
    if (strlen(left) > HELP_COLUMN - 2)
        printf("%s\n%*s%s\n", left, HELP_COLUMN, "", lines[0]);
    else
        printf("%-*s%s\n", HELP_COLUMN, left, lines[0]);
    for (guint i = 1; lines[0] && lines[i]; i++)
        printf("%*s%s\n", HELP_COLUMN, "", lines[i]);
}

static bool is_end(const VfmOption *option)
{
    return option->kind == VFM_OPTION_TITLE && !option->help;
}

/* A table starts with a title. */
static void print_help(const char *command, const VfmUsage *usage, const VfmOption *options)
{
    printf("Usage: %s [OPTIONS]%s%s\n\n%s\n", command, *usage->operands ? " " : "", usage->operands, usage->about);
    for (const VfmOption *option = options; !is_end(option); option++) {
        if (option->kind != VFM_OPTION_TITLE)
            print_option(option->letter, option->name, option->value, option->help);
        else
            printf("\n%s:\n", option->help);
        if (option == options) /* first in the first group, whatever that is */
            print_option('h', "help", NULL, "show this help");
    }
    if (usage->examples)
        printf("\nExamples:\n%s\n", usage->examples);
}

static bool set_choice(const VfmOption *option, const char *value)
{
    g_auto(GStrv) words = g_strsplit(option->value, "|", -1);

    for (guint i = 0; words[i]; i++) {
        if (g_str_equal(words[i], value)) {
            *(unsigned *)option->target = i;
            return true;
        }
    }
    return false;
}

/* NULL, or what is wrong; the caller frees it. */
static char *set_option(const VfmOption *option, const char *value)
{
    GPtrArray **list = option->target;
    const char **text = option->target;

    switch (option->kind) {
    case VFM_OPTION_FLAG:
        *(bool *)option->target = true;
        return NULL;
    case VFM_OPTION_TEXT:
        if (*text)
            return g_strdup_printf("--%s is given twice", option->name);
        *text = value;
        return NULL;
    case VFM_OPTION_LIST:
        if (!*list)
            *list = g_ptr_array_new();
        g_ptr_array_add(*list, (gpointer)value);
        return NULL;
    case VFM_OPTION_CHOICE:
        if (set_choice(option, value))
            return NULL;
        return g_strdup_printf("--%s=%s: must be one of %s", option->name, value, option->value);
    case VFM_OPTION_TITLE:
        break;
    }
    g_assert_not_reached();
}

static char *problem_of(int code, int before, char **argv)
{
    const char *word = before < optind ? argv[optind - 1] : argv[before];

    if (code == ':')
        return g_strdup_printf("%s needs a value", word);
    if (optopt && optopt < HELP_VALUE)
        return g_strdup_printf("unknown option -%c", optopt);
    if (optopt)
        return g_strdup_printf("%s takes no value", word);
    return g_strdup_printf("unknown option %s", word);
}

bool vfm_options_parse(int *argc, char **argv, const VfmUsage *usage, const VfmOption *options, int *status)
{
    g_autoptr(GString) letters = g_string_new(":h");
    g_autofree struct option *table = NULL;
    guint count = 0, rows = 0;

    while (!is_end(&options[rows]))
        rows++;
    table = g_new0(struct option, rows + 2);
    table[count++] = (struct option){"help", no_argument, NULL, HELP_VALUE};
    for (guint i = 0; i < rows; i++) {
        const bool valued = options[i].kind != VFM_OPTION_FLAG;

        if (options[i].kind == VFM_OPTION_TITLE)
            continue;
        table[count++] =
            (struct option){options[i].name, valued ? required_argument : no_argument, NULL, FIRST_VALUE + (int)i};
        if (options[i].letter)
            g_string_append_printf(letters, "%c%s", options[i].letter, valued ? ":" : "");
    }
    opterr = 0;
    optind = 0; /* 0, not 1: GNU's own state starts anew as well */
    for (;;) {
        const int before = MAX(optind, 1);
        const int code = getopt_long(*argc, argv, letters->str, table, NULL);
        const VfmOption *option = NULL;
        g_autofree char *problem = NULL;

        if (code == -1)
            break;
        if (code == 'h' || code == HELP_VALUE) {
            VfmTerminal terminal;

            print_help(argv[0], usage, options);
            vfm_terminal_init(&terminal);
            *status = vfm_finish_output(&terminal, argv[0], VFM_EXIT_OK);
            return false;
        }
        for (guint i = 0; i < rows && code != '?' && code != ':'; i++) {
            if (code == FIRST_VALUE + (int)i ||
                (options[i].kind != VFM_OPTION_TITLE && options[i].letter && code == options[i].letter))
                option = &options[i];
        }
        problem = option ? set_option(option, optarg) : problem_of(code, before, argv);
        if (problem) {
            *status = vfm_usage_error(argv[0], "%s", problem);
            return false;
        }
    }
    for (int i = optind; i < *argc; i++)
        argv[1 + i - optind] = argv[i];
    *argc = 1 + *argc - optind;
    if (!*usage->operands && *argc > 1)
        *status = vfm_usage_error(argv[0], "it takes no operands");
    else if (usage->sole && *argc != 2)
        *status = vfm_usage_error(argv[0], "it takes one %s", usage->sole);
    else
        return true;
    return false;
}
