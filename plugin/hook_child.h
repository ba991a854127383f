/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_child.h - runs the part of the hook that parses, where its end costs nothing.
 *
 * What it is: fork, limits, exec, and what came of it. The child gets the XML as
 * its standard input and answers on its standard output in lines:
 *
 *   "warning: TEXT", "error: TEXT"   for the log
 *   "policy: UUID TEXT"              to be left for the helper; "forget: UUID" takes it away
 *   "needed-policy: UUID TEXT"       the same, and without it the start must not happen
 *   "refuse: SENTENCE"               with exit status 1: the start must not happen
 *   "unusable: SENTENCE"             with exit status 2: the input could not be judged
 *
 * Exit status 0 is consent. Anything else (a signal, another status, no answer
 * in time, a library that is missing) is "broken", and a line of
 * no known kind is kept as the reason.
 *
 * Limits: 10 s of CPU, 20 s in all, 1 GiB of address space, 64 descriptors, no
 * files written, no core, no new privileges. libc only.
 */
#pragma once

#include <stddef.h>

typedef enum { VFM_CHILD_CONSENTS, VFM_CHILD_REFUSES, VFM_CHILD_UNUSABLE, VFM_CHILD_BROKEN } VfmChildOutcome;

#define VFM_CHILD_ANSWER_MAX 65536

typedef struct {
    VfmChildOutcome outcome;
    char sentence[2048];               /* for all but CONSENTS; one line */
    char answer[VFM_CHILD_ANSWER_MAX]; /* all lines, NUL-terminated; the rest is dropped */
} VfmChildResult;

/* @argv[0] is the program's path, @argv ends in NULL. The @length bytes at @input are its
 * standard input. Always fills @result; a failure to start anything at all is BROKEN. */
void vfm_hook_child_run(char *const argv[], const char *input, size_t length, VfmChildResult *result);

/* The next line of *@at that starts with @prefix; *@at moves behind it. Sets @line and @length
 * to what follows the prefix; returns 0 when there is none left. */
int vfm_hook_child_next(const char **at, const char *prefix, const char **line, size_t *length);
