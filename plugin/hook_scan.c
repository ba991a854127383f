/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook_scan.h"

#include <stdbool.h>
#include <string.h>

/* Whether @needle is in the @length bytes at @text; bytes, so NUL and broken UTF-8 don't matter. */
static const char *find(const char *text, size_t length, const char *needle)
{
    return memmem(text, length, needle, strlen(needle));
}

/* An element @tag (with "<") whose start tag holds @value, quoted either way. */
static bool element_with(const char *text, size_t length, const char *tag, const char *value)
{
    const char *end = text + length;
    char single[64], twofold[64];
    size_t size = strlen(value);

    if (size + 3 > sizeof single)
        return false;
    single[0] = single[size + 1] = '\'';
    twofold[0] = twofold[size + 1] = '"';
    memcpy(single + 1, value, size + 1);
    memcpy(twofold + 1, value, size + 1);
    single[size + 1] = '\'';
    twofold[size + 1] = '"';
    single[size + 2] = twofold[size + 2] = '\0';

    for (const char *at = text; (at = find(at, (size_t)(end - at), tag)); at++) {
        const char *close = memchr(at, '>', (size_t)(end - at));
        size_t span = (size_t)((close ? close : end) - at);

        if (find(at, span, single) || find(at, span, twofold))
            return true;
    }
    return false;
}

const char *vfm_hook_scan(const char *text, size_t length)
{
    static const struct {
        const char *tag, *value, *words;
    } elements[] = {
        {"<hostdev", "pci", "a PCI <hostdev>"},
        {"<hostdev", "mdev", "a mediated <hostdev>"},
        {"<interface", "hostdev", "an <interface type='hostdev'>"},
        {"<interface", "vdpa", "an <interface type='vdpa'>"},
        {"<disk", "nvme", "a <disk type='nvme'>"},
        {"<source", "nvme", "an NVMe <source>"},
        {"<disk", "vhostvdpa", "a <disk type='vhostvdpa'>"},
    };
    static const struct {
        const char *bytes, *words;
    } words[] = {
        {"urn:vfiomem:domain:1", "a vfiomem policy"},
        {"vfio-pci", "vfio-pci on QEMU's command line"},
        {"vfio-user-pci", "vfio-user-pci on QEMU's command line"},
        {"vhost-vdpa", "vhost-vdpa on QEMU's command line"},
        {"nvme://", "an nvme:// disk"},
    };

    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++) {
        if (element_with(text, length, elements[i].tag, elements[i].value))
            return elements[i].words;
    }
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (find(text, length, words[i].bytes))
            return words[i].words;
    }
    return NULL;
}
