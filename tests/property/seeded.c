/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "seeded.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void steps_begin(Steps *run, const char *test, int argc, char **argv)
{
    *run = (Steps){.test = test, .seed = (uint64_t)g_get_real_time(), .steps = 1000000, .op = "begin"};
    for (int i = 1; i + 1 < argc; i += 2) {
        uint64_t value = strtoull(argv[i + 1], NULL, 10);

        if (strcmp(argv[i], "--seed") == 0)
            run->seed = value;
        else if (strcmp(argv[i], "--steps") == 0)
            run->steps = value;
    }
    printf("seed %" G_GUINT64_FORMAT ", %" G_GUINT64_FORMAT " steps\n", run->seed, run->steps);
    fflush(stdout);
    run->state = run->seed;
}

/* SplitMix64: one addition a number, and every seed is as good as any other. */
uint64_t steps_random(Steps *run)
{
    uint64_t z = run->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

unsigned steps_below(Steps *run, unsigned limit)
{
    return (unsigned)(steps_random(run) % limit);
}

void steps_fail(const Steps *run, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "seed %" G_GUINT64_FORMAT " step %" G_GUINT64_FORMAT " (%s%s%s): ", run->seed, run->step,
            run->kind ? run->kind : "", run->kind ? " world, " : "", run->op);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nreplay: %s --seed %" G_GUINT64_FORMAT " --steps %" G_GUINT64_FORMAT "\n", run->test, run->seed,
            run->step + 1);
    abort();
}

int seeds_run(int argc, char **argv, unsigned count, void (*check)(uint32_t seed))
{
    uint32_t seed = argc > 1 ? (uint32_t)g_ascii_strtoull(argv[1], NULL, 0) : g_random_int();

    if (argc > 2)
        count = (unsigned)atoi(argv[2]);
    printf("seed %u, %u domains\n", seed, count);
    fflush(stdout);
    for (unsigned i = 0; i < count; i++)
        check(seed + i);
    return 0;
}

void seeds_fail(uint32_t seed, const char *what)
{
    printf("not ok: seed %u: %s\n", seed, what);
    exit(1);
}
