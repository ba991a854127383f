/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "number.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "error.h"

bool vfm_number_parse(const char *text, int base, uint64_t *value, GError **error)
{
    const char *start = text;
    char *end = NULL;
    unsigned long long number;

    while (g_ascii_isspace(*start))
        start++;
    if (*start == '\0') {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "no number is given");
        return false;
    }
    if (*start == '-') {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "'%s' is negative", text);
        return false;
    }
    errno = 0;
    number = strtoull(start, &end, base);
    if (end == start || *end != '\0') {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "'%s' is not a number", text);
        return false;
    }
    if (errno == ERANGE) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "'%s' does not fit in 64 bits", text);
        return false;
    }
    *value = number;
    return true;
}

/* The factor of @unit, or 0 if libvirt does not know it. */
static uint64_t unit_scale(const char *unit)
{
    static const char powers[] = "kmgtpe";
    const char *power = strchr(powers, g_ascii_tolower(unit[0]));
    uint64_t base, scale = 1;

    if (g_ascii_strcasecmp(unit, "b") == 0 || g_ascii_strcasecmp(unit, "byte") == 0 ||
        g_ascii_strcasecmp(unit, "bytes") == 0)
        return 1;
    if (unit[1] == '\0' || g_ascii_strcasecmp(unit + 1, "ib") == 0)
        base = 1024;
    else if (g_ascii_strcasecmp(unit + 1, "b") == 0)
        base = 1000;
    else
        return 0;
    if (!power)
        return 0;
    for (const char *p = powers; p <= power; p++)
        scale *= base;
    return scale;
}

bool vfm_size_scale(uint64_t number, const char *unit, uint64_t default_scale, uint64_t limit, uint64_t *bytes,
                    GError **error)
{
    uint64_t scale = unit && *unit ? unit_scale(unit) : default_scale;

    if (scale == 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "unit '%s' is unknown; use b, KiB, MiB, GiB, TiB, PiB, EiB or KB, MB, GB, TB, PB, EB", unit);
        return false;
    }
    if (number > limit / scale) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "%" G_GUINT64_FORMAT " %s is too large", number,
                    unit && *unit              ? unit
                    : default_scale == VFM_KIB ? "KiB"
                                               : "bytes");
        return false;
    }
    *bytes = number * scale;
    return true;
}

bool vfm_memory_size_parse(const char *text, const char *unit, uint64_t *bytes, GError **error)
{
    uint64_t number, size;

    if (!vfm_number_parse(text, 10, &number, error) ||
        !vfm_size_scale(number, unit, VFM_KIB, VFM_MEMORY_SIZE_MAX, &size, error))
        return false;
    if (size > VFM_MEMORY_UNLIMITED) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "%s bytes are too large", text);
        return false;
    }
    *bytes = (size + VFM_KIB - 1) / VFM_KIB * VFM_KIB;
    return true;
}
