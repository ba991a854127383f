/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * terminal.h - what differs between a person watching and a pipe.
 *
 * Colours and the progress line are for terminals only; the text is the same
 * everywhere. Names and messages can hold whatever stands in somebody's XML or
 * sysfs, so what is printed for people goes through vfm_printable(). Keeps one
 * VfmTerminal per command, no global state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef enum {
    VFM_STYLE_PLAIN = 0,
    VFM_STYLE_BOLD,
    VFM_STYLE_DIM,
    VFM_STYLE_ERROR,
    VFM_STYLE_WARNING,
    VFM_STYLE_INFO,
    VFM_STYLE_GOOD
} VfmStyle;

typedef struct {
    bool colour;   /* standard output is a terminal, and neither NO_COLOR nor TERM=dumb objects */
    bool progress; /* standard error is a terminal */
    bool shown;    /* a progress line stands there */
    gint64 next;   /* monotonic time, µs: no new progress line before it */
} VfmTerminal;

void vfm_terminal_init(VfmTerminal *terminal);

/* Escape sequences to put around a text; both "" without colours. Static strings. */
const char *vfm_terminal_on(const VfmTerminal *terminal, VfmStyle style);
const char *vfm_terminal_off(const VfmTerminal *terminal, VfmStyle style);

/* "VERB 312 of 1000" on a line of its own that the next one overwrites. Nothing before half a second has passed
 * since vfm_terminal_init(), then ten times a second at most. */
void vfm_terminal_progress(VfmTerminal *terminal, const char *verb, guint done, guint total);

/* Wipes the progress line; call before anything else is printed. */
void vfm_terminal_clear(VfmTerminal *terminal);

/* @text as valid UTF-8 without control characters (each becomes '?'); tabs and line ends become spaces. Caller frees.
 */
char *vfm_printable(const char *text);

/* Prints "COMMAND: message" to standard error, made printable. */
void vfm_complain(VfmTerminal *terminal, const char *command, const char *message);

/* Flushes standard output. Returns @status, or VFM_EXIT_UNUSABLE after a complaint if not all could be written
 * (a full disk must not look like success to a script). */
int vfm_finish_output(VfmTerminal *terminal, const char *command, int status);
