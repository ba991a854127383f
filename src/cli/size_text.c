/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "size_text.h"

#include <inttypes.h>

char *vfm_size_text(uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    guint unit = 0;
    uint64_t whole, tenths, rest;
    bool rounded;

    if (bytes == 0)
        return g_strdup("0");
    while (unit + 1 < G_N_ELEMENTS(units) && bytes >> (10 * (unit + 1)))
        unit++;
    whole = bytes >> (10 * unit);
    rest = (bytes & ((UINT64_C(1) << (10 * unit)) - 1)) * 10; /* below 2^64: at most 60 bits before */
    tenths = rest >> (10 * unit);
    rounded = rest & ((UINT64_C(1) << (10 * unit)) - 1);
    if (tenths)
        return g_strdup_printf("%s%" PRIu64 ".%u %s", rounded ? "~" : "", whole, (unsigned)tenths, units[unit]);
    return g_strdup_printf("%s%" PRIu64 " %s", rounded ? "~" : "", whole, bytes == 1 ? "byte" : units[unit]);
}

char *vfm_maybe_size_text(VfmMaybe bytes, const char *otherwise)
{
    return bytes.set ? vfm_size_text(bytes.value) : g_strdup(otherwise);
}
