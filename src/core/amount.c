/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "amount.h"

static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};

/* Index of the largest unit that divides @bytes, and how many of it. */
static unsigned in_units(uint64_t bytes, uint64_t *count)
{
    unsigned unit = 0;

    while (bytes && bytes % 1024 == 0 && unit + 1 < G_N_ELEMENTS(units)) {
        bytes /= 1024;
        unit++;
    }
    *count = bytes;
    return unit;
}

char *vfm_amount(uint64_t bytes)
{
    uint64_t count, rest;
    unsigned unit = in_units(bytes, &count), high = unit, low;

    if (count < 10000)
        return g_strdup_printf("%" G_GUINT64_FORMAT " %s", count, units[unit]);
    while (count >> (10 * (high - unit)) >= 1024 && high + 1 < G_N_ELEMENTS(units))
        high++;
    low = in_units(bytes - (bytes >> (10 * high) << (10 * high)), &rest);
    if (rest >= 10000)
        return g_strdup_printf("%" G_GUINT64_FORMAT " %s", count, units[unit]);
    return g_strdup_printf("%" G_GUINT64_FORMAT " %s + %" G_GUINT64_FORMAT " %s", bytes >> (10 * high), units[high],
                           rest, units[low]);
}

uint64_t vfm_round_up(uint64_t value, uint64_t to)
{
    uint64_t rest = value % to;

    return rest ? vfm_add(value, to - rest) : value;
}

uint64_t vfm_add(uint64_t a, uint64_t b)
{
    uint64_t sum;

    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

uint64_t vfm_mul(uint64_t a, uint64_t b)
{
    uint64_t product;

    return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

bool vfm_is_power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}
