/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "versions.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "plan.h"

/* The version line comes after some 200 lines of flags, 10 KiB into the cache file. */
#define CAPABILITIES_HEAD (64 * 1024)
#define DPKG_STATUS_MAX (64 * 1024 * 1024)

/* Reads one run of digits, moves @at behind it; false if there is none or it is above @max. */
static bool read_part(const char **at, unsigned max, unsigned *value)
{
    unsigned long number = 0;
    const char *p = *at;

    if (!g_ascii_isdigit(*p))
        return false;
    for (; g_ascii_isdigit(*p); p++) {
        number = number * 10 + (unsigned long)(*p - '0');
        if (number > max)
            return false;
    }
    *at = p;
    *value = (unsigned)number;
    return true;
}

unsigned vfm_version_parse(const char *text)
{
    unsigned part[3] = {0, 0, 0};

    for (unsigned i = 0; i < 3; i++) {
        if (!read_part(&text, 999, &part[i]))
            return 0;
        if (*text == '\0')
            return VFM_VERSION(part[0], part[1], part[2]);
        if (*text++ != '.')
            return 0;
    }
    return 0; /* a fourth part */
}

char *vfm_version_text(unsigned version)
{
    if (version == 0)
        return g_strdup("unknown");
    return g_strdup_printf("%u.%u.%u", version / 1000000, version / 1000 % 1000, version % 1000);
}

/* "libvirt.so.0.9000.0" -> 9.0.0 */
static unsigned version_of_soname(const char *name)
{
    static const char prefix[] = "libvirt.so.0.";
    unsigned release, micro;

    if (!g_str_has_prefix(name, prefix))
        return 0;
    name += sizeof prefix - 1;
    if (!read_part(&name, 999999, &release) || *name++ != '.' || !read_part(&name, 999, &micro) || *name != '\0')
        return 0;
    return VFM_VERSION(release / 1000, release % 1000, micro);
}

unsigned vfm_libvirt_version_below(const char *root)
{
    /* Where the dynamic linker of the distributions we know looks; the daemon's own place comes first. */
    static const char *const folders[] = {
        "usr/lib/" VFM_MULTIARCH,       "usr/lib64",       "usr/lib",
        "usr/local/lib/" VFM_MULTIARCH, "usr/local/lib64", "usr/local/lib",
    };

    for (size_t i = 0; i < G_N_ELEMENTS(folders); i++) {
        g_autofree char *path = g_build_filename(root, folders[i], "libvirt.so.0", NULL);
        char target[256];
        ssize_t length = readlink(path, target, sizeof target - 1);
        const char *slash;
        unsigned version;

        if (length <= 0)
            continue;
        target[length] = '\0';
        slash = strrchr(target, '/');
        version = version_of_soname(slash ? slash + 1 : target);
        if (version)
            return version;
    }
    return 0;
}

unsigned vfm_libvirt_version_installed(void)
{
    return vfm_libvirt_version_below("/");
}

/* The first @max bytes of a file as a string, or NULL. */
static char *read_head(const char *path, size_t max)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    g_autofree char *text = NULL;
    size_t used = 0;

    if (fd < 0)
        return NULL;
    text = g_malloc(max + 1);
    while (used < max) {
        ssize_t got = read(fd, text + used, max - used);

        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(fd);
    text[used] = '\0';
    return g_steal_pointer(&text);
}

/* The number in <tag>number</tag>; false if it is not there. */
static bool element_number(const char *text, const char *tag, guint64 *value)
{
    g_autofree char *open_tag = g_strdup_printf("<%s>", tag);
    const char *at = strstr(text, open_tag);
    char *end;

    if (!at)
        return false;
    *value = g_ascii_strtoull(at + strlen(open_tag), &end, 10);
    return end != at + strlen(open_tag) && *end == '<';
}

static unsigned version_of_cache(const char *root, const char *emulator)
{
    g_autofree char *binary = g_build_filename(root, emulator, NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, emulator, -1);
    g_autofree char *name = g_strconcat(sum, ".xml", NULL);
    g_autofree char *system = g_build_filename(root, "var/cache/libvirt/qemu/capabilities", name, NULL);
    g_autofree char *text = read_head(system, CAPABILITIES_HEAD);
    guint64 ctime = 0, version = 0;
    struct stat about;

    if (!text) {
        /* A person's own session daemon keeps its cache at home; the system's may be unreadable to them. */
        g_autofree char *own =
            g_build_filename(root, g_get_user_cache_dir(), "libvirt", "qemu", "capabilities", name, NULL);

        text = read_head(own, CAPABILITIES_HEAD);
    }
    if (!text || stat(binary, &about) < 0)
        return 0;
    if (!element_number(text, "qemuctime", &ctime) || ctime != (guint64)about.st_ctime)
        return 0; /* QEMU was replaced since libvirt looked */
    if (!element_number(text, "version", &version) || version == 0 || version > 999999999)
        return 0;
    return (unsigned)version;
}

/* "1:7.2+dfsg-7+deb12u18" -> 7.2.0: the packaged version, without epoch and revision. */
static unsigned version_of_package(const char *text)
{
    g_autofree char *clean = NULL;
    const char *colon = strchr(text, ':');
    size_t length;

    if (colon)
        text = colon + 1;
    length = strspn(text, "0123456789.");
    while (length > 0 && text[length - 1] == '.')
        length--;
    clean = g_strndup(text, length);
    return vfm_version_parse(clean);
}

/* Mapped rather than read: the file has about a megabyte, and looking through it is most of what a version costs.
 * dpkg replaces it by rename, so it does not shrink while it is mapped. */
static unsigned version_of_dpkg(const char *root, const char *emulator)
{
    /* qemu-system-common is of the same source as every emulator of it. */
    static const char heading[] = "\nPackage: qemu-system-common\n";
    g_autofree char *path = g_build_filename(root, "var/lib/dpkg/status", NULL);
    g_autoptr(GMappedFile) file = NULL;
    g_autofree char *paragraph = NULL;
    const char *text, *at, *end, *version;
    struct stat about;
    gsize length;

    if (!g_str_has_prefix(emulator, "/usr/bin/qemu-system-"))
        return 0;
    if (stat(path, &about) < 0 || !S_ISREG(about.st_mode) || about.st_size > DPKG_STATUS_MAX)
        return 0;
    file = g_mapped_file_new(path, FALSE, NULL);
    if (!file)
        return 0;
    text = g_mapped_file_get_contents(file);
    length = g_mapped_file_get_length(file);
    at = text ? memmem(text, length, heading, sizeof heading - 1) : NULL;
    if (!at)
        return 0;
    length -= (gsize)(at - text);
    end = memmem(at, length, "\n\n", 2);
    paragraph = g_strndup(at, end ? (gsize)(end - at) : length);
    if (!strstr(paragraph, "\nStatus: install ok installed\n"))
        return 0;
    version = strstr(paragraph, "\nVersion: ");
    return version ? version_of_package(version + strlen("\nVersion: ")) : 0;
}

unsigned vfm_qemu_version_below(const char *root, const char *emulator)
{
    unsigned version;

    if (!emulator)
        emulator = "/usr/bin/qemu-system-x86_64";
    version = version_of_cache(root, emulator);
    return version ? version : version_of_dpkg(root, emulator);
}

unsigned vfm_qemu_version_installed(const char *emulator)
{
    return vfm_qemu_version_below("/", emulator);
}
