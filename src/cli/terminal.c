/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "terminal.h"
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIRST_PROGRESS_AFTER (G_USEC_PER_SEC / 2)
#define PROGRESS_INTERVAL (G_USEC_PER_SEC / 10)

void vfm_terminal_init(VfmTerminal *terminal)
{
    const char *no_color = getenv("NO_COLOR");
    const char *term = getenv("TERM");

    *terminal = (VfmTerminal){
        .colour = isatty(STDOUT_FILENO) && !(no_color && *no_color) && term && !g_str_equal(term, "dumb"),
        .progress = isatty(STDERR_FILENO) && term && !g_str_equal(term, "dumb"),
        .next = g_get_monotonic_time() + FIRST_PROGRESS_AFTER,
    };
}

const char *vfm_terminal_on(const VfmTerminal *terminal, VfmStyle style)
{
    static const char *const codes[] = {"", "\033[1m", "\033[2m", "\033[1;31m", "\033[1;33m", "\033[1;36m", "\033[32m"};

    return terminal->colour ? codes[style] : "";
}

const char *vfm_terminal_off(const VfmTerminal *terminal, VfmStyle style)
{
    return terminal->colour && style != VFM_STYLE_PLAIN ? "\033[0m" : "";
}

void vfm_terminal_progress(VfmTerminal *terminal, const char *verb, guint done, guint total)
{
    gint64 now;

    if (!terminal->progress)
        return;
    now = g_get_monotonic_time();
    if (now < terminal->next)
        return;
    terminal->next = now + PROGRESS_INTERVAL;
    terminal->shown = true;
    fprintf(stderr, "\r\033[K%s %u of %u", verb, done, total);
    fflush(stderr);
}

void vfm_terminal_clear(VfmTerminal *terminal)
{
    if (!terminal->shown)
        return;
    terminal->shown = false;
    fputs("\r\033[K", stderr);
    fflush(stderr);
}

char *vfm_printable(const char *text)
{
    char *valid = g_utf8_make_valid(text ? text : "", -1);

    for (char *c = valid; *c; c = g_utf8_next_char(c)) {
        const unsigned char first = (unsigned char)c[0];

        if (first == '\n' || first == '\t' || first == '\r')
            *c = ' ';
        else if (first < 0x20 || first == 0x7f)
            *c = '?';
        else if (first == 0xc2 && (unsigned char)c[1] < 0xa0) /* U+0080 to U+009F: 8-bit control codes */
            c[1] = (char)0xbf;                                /* U+00BF, an inverted question mark */
    }
    return valid;
}

void vfm_complain(VfmTerminal *terminal, const char *command, const char *message)
{
    g_autofree char *printable = vfm_printable(message);

    vfm_terminal_clear(terminal);
    fflush(stdout); /* both often end in one terminal or file: keep their order */
    fprintf(stderr, "%s: %s\n", command, printable);
}

int vfm_finish_output(VfmTerminal *terminal, const char *command, int status)
{
    g_autofree char *message = NULL;

    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    message = g_strdup_printf("standard output: write: %s", errno ? g_strerror(errno) : "failed");
    vfm_complain(terminal, command, message);
    return VFM_EXIT_UNUSABLE;
}
