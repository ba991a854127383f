/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * seeded.h - what tests of random input share: where chance comes from, and how a failure is repeated.
 *
 * Two kinds. A run of steps, each upon the state that the one before left; and
 * inputs that each have a seed of their own. It knows nothing of what is tested.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

typedef struct {
    const char *test; /* the program's name, for the line that repeats a failure */
    uint64_t seed, steps, step, state;
    const char *kind; /* of the present world; NULL if there is one kind */
    const char *op;   /* what is being done */
} Steps;

/* Takes [--seed N] [--steps N]; a million steps and the time's seed if not given. Prints both. */
void steps_begin(Steps *run, const char *test, int argc, char **argv);

uint64_t steps_random(Steps *run);
unsigned steps_below(Steps *run, unsigned limit);

/* Says seed, step and what was being done, then the formatted text, and how to repeat it; aborts. */
void steps_fail(const Steps *run, const char *format, ...) G_GNUC_NORETURN G_GNUC_PRINTF(2, 3);

/* Takes [SEED [COUNT]] and calls @check with COUNT seeds in a row, from a random one if none is given. */
int seeds_run(int argc, char **argv, unsigned count, void (*check)(uint32_t seed));

/* "not ok: seed N: WHAT", and the end of the program. */
void seeds_fail(uint32_t seed, const char *what) G_GNUC_NORETURN;
