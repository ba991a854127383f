/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "machine_version.h"

#include "plan.h"

/* Names that carry no QEMU version: Ubuntu's releases. RHEL's are computed below. */
static const struct {
    const char *name;
    unsigned version;
} named[] = {
    {"bionic", VFM_VERSION(2, 11, 0)}, {"focal", VFM_VERSION(4, 2, 0)},    {"groovy", VFM_VERSION(5, 0, 0)},
    {"hirsute", VFM_VERSION(5, 2, 0)}, {"impish", VFM_VERSION(6, 0, 0)},   {"jammy", VFM_VERSION(6, 2, 0)},
    {"kinetic", VFM_VERSION(7, 0, 0)}, {"lunar", VFM_VERSION(7, 2, 0)},    {"mantic", VFM_VERSION(8, 0, 0)},
    {"noble", VFM_VERSION(8, 2, 0)},   {"oracular", VFM_VERSION(9, 0, 0)},
};

unsigned vfm_machine_version(const char *machine)
{
    const char *at = machine ? strrchr(machine, '-') : NULL;
    bool rhel = false;
    char *end;
    uint64_t major, minor;

    if (!at)
        return 0;
    at++;
    for (guint i = 0; i < G_N_ELEMENTS(named); i++)
        if (g_str_has_prefix(at, named[i].name))
            return named[i].version;
    if (g_str_has_prefix(at, "rhel")) {
        rhel = true;
        at += 4;
    }
    if (!g_ascii_isdigit(*at))
        return 0;
    major = g_ascii_strtoull(at, &end, 10);
    minor = *end == '.' && g_ascii_isdigit(end[1]) ? g_ascii_strtoull(end + 1, &end, 10) : 0;
    if (major > 99 || minor > 99)
        return 0;
    if (rhel) {
        /* RHEL names its own release: 9.2's machine is QEMU 7.2's, 9.0's is 6.2's, 8's and 7's are older. */
        if (major >= 10)
            return VFM_VERSION(9, 0, 0);
        if (major == 9)
            return minor >= 4 ? VFM_VERSION(8, 2, 0) : minor >= 2 ? VFM_VERSION(7, 2, 0) : VFM_VERSION(6, 2, 0);
        return VFM_VERSION(4, 2, 0);
    }
    return VFM_VERSION((unsigned)major, (unsigned)minor, 0);
}
