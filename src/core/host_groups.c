/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host_groups.h"
#include "error.h"

#include <errno.h>
#include <string.h>

#define GROUPS "sys/kernel/iommu_groups"

/* VT-d extended capability register, bit 3: interrupt remapping (sysfs-class-iommu-intel-iommu "ecap"). */
#define VTD_ECAP_IR (UINT64_C(1) << 3)

/* A device's name in sysfs; anything else in a copied tree is not a device. */
static bool is_device_name(const char *name)
{
    size_t length = strlen(name);

    if (length == 0 || length > 64 || g_str_equal(name, ".") || g_str_equal(name, ".."))
        return false;
    for (const char *c = name; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr(":.-_@,", *c))
            return false;
    }
    return true;
}

static bool group_id(const char *name, unsigned *id)
{
    guint64 value;

    /* The kernel writes no leading zeros; "07" beside "7" would be one group twice. */
    if ((name[0] == '0' && name[1]) || !g_ascii_string_to_unsigned(name, 10, 0, G_MAXUINT, &value, NULL))
        return false;
    *id = (unsigned)value;
    return true;
}

static bool on_command_line(const char *cmdline, const char *word)
{
    const size_t length = strlen(word);

    for (const char *at = strstr(cmdline, word); at; at = strstr(at + 1, word)) {
        if ((at == cmdline || at[-1] == ' ') && (at[length] == '\0' || at[length] == ' ' || at[length] == ','))
            return true;
    }
    return false;
}

/* No file says whether interrupts are remapped; what is there says what the hardware can and what the
 * administrator switched off. Enough of both decides, otherwise it stays unknown. */
static bool read_remapping(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    GError *local = NULL;
    g_autoptr(GPtrArray) units = vfm_sysfs_list(fs, "sys/class/iommu", &local);
    g_autofree char *cmdline = local ? NULL : vfm_sysfs_text(fs, "proc/cmdline", 0, &local);
    guint able = 0, unable = 0;

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    for (guint i = 0; units && i < units->len; i++) {
        const char *unit = g_ptr_array_index(units, i);
        g_autofree char *path = g_strdup_printf("sys/class/iommu/%s/intel-iommu/ecap", unit);
        g_autofree char *ecap = NULL;

        if (g_str_has_prefix(unit, "ivhd")) {
            able++; /* every AMD IOMMU remaps */
        } else if (g_str_has_prefix(unit, "dmar")) {
            ecap = vfm_sysfs_text(fs, path, 0, &local);
            if (local) {
                g_propagate_error(error, local);
                return false;
            }
            if (!ecap)
                continue;
            if (g_ascii_strtoull(ecap, NULL, 16) & VTD_ECAP_IR)
                able++;
            else
                unable++;
        }
    }
    if (unable ||
        (able && cmdline && (on_command_line(cmdline, "intremap=off") || on_command_line(cmdline, "nointremap"))))
        host->interrupt_remapping = VFM_OFF;
    else if (able && cmdline)
        host->interrupt_remapping = VFM_ON;
    return true;
}

bool vfm_host_groups_read_isolation(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    GError *local = NULL;
    g_autoptr(GPtrArray) names = vfm_sysfs_list(fs, GROUPS, &local);

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (names)
        host->iommu = names->len ? VFM_ON : VFM_OFF;
    return read_remapping(host, fs, error);
}

static gint compare_reserved(gconstpointer a, gconstpointer b)
{
    const VfmReserved *x = a, *y = b;

    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* "0x00000000fee00000 0x00000000feefffff msi": inclusive end. Types of later kernels count as reserved,
 * which is what they are to a guest. */
static bool parse_reserved(const char *line, VfmReserved *region)
{
    static const struct {
        const char *name;
        VfmReservedType type;
    } types[] = {
        {"direct", VFM_RESERVED_DIRECT},
        {"direct-relaxable", VFM_RESERVED_DIRECT_RELAXABLE},
        {"reserved", VFM_RESERVED_RESERVED},
        {"msi", VFM_RESERVED_MSI},
    };
    g_auto(GStrv) words = g_strsplit(line, " ", 4);
    guint64 ends[2];

    if (g_strv_length(words) != 3 || !*words[2])
        return false;
    for (guint i = 0; i < 2; i++) {
        char *end = NULL;

        if (!g_str_has_prefix(words[i], "0x") || !g_ascii_isxdigit(words[i][2]))
            return false;
        errno = 0;
        ends[i] = g_ascii_strtoull(words[i] + 2, &end, 16);
        if (*end || errno)
            return false;
    }
    if (ends[0] > ends[1])
        return false;
    *region = (VfmReserved){.start = ends[0], .end = ends[1], .type = VFM_RESERVED_RESERVED};
    for (guint i = 0; i < G_N_ELEMENTS(types); i++) {
        if (g_str_equal(words[2], types[i].name))
            region->type = types[i].type;
    }
    return true;
}

static bool read_reserved(VfmIommuGroup *group, const VfmSysfs *fs, GError **error)
{
    g_autofree char *path = g_strdup_printf(GROUPS "/%u/reserved_regions", group->id);
    GError *local = NULL;
    g_autofree char *text = vfm_sysfs_text(fs, path, 0, &local);
    g_auto(GStrv) lines = NULL;

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (!text)
        return true;
    group->reserved_known = true;
    lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i]; i++) {
        VfmReserved region;

        if (!*lines[i])
            continue;
        if (!parse_reserved(lines[i], &region)) {
            g_autofree char *name = vfm_sysfs_name(fs, path);

            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s:%u: not of the form \"0xSTART 0xEND TYPE\"", name,
                        i + 1);
            return false;
        }
        g_array_append_val(group->reserved, region);
    }
    g_array_sort(group->reserved, compare_reserved);
    return true;
}

static bool read_device(VfmIommuGroup *group, const VfmSysfs *fs, const char *name, GError **error)
{
    VfmHostDevice *device = vfm_iommu_group_add_device(group, name);
    g_autofree char *base = g_strdup_printf(GROUPS "/%u/devices/%s", group->id, name);
    g_autofree char *driver = g_strconcat(base, "/driver", NULL);
    g_autofree char *cdevs_path = g_strconcat(base, "/vfio-dev", NULL);
    g_autoptr(GPtrArray) cdevs = NULL;
    const struct {
        const char *file;
        VfmMaybe *value;
    } numbers[] = {
        {"vendor", &device->vendor},
        {"device", &device->device},
        {"class", &device->class_code},
        {"numa_node", &device->numa_node},
    };
    GError *local = NULL;

    device->driver = vfm_sysfs_link(fs, driver);
    for (guint i = 0; i < G_N_ELEMENTS(numbers); i++) {
        g_autofree char *path = g_strconcat(base, "/", numbers[i].file, NULL);

        if (!vfm_sysfs_number(fs, path, numbers[i].value, error))
            return false;
    }
    cdevs = vfm_sysfs_list(fs, cdevs_path, &local);
    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    for (guint i = 0; cdevs && !device->cdev && i < cdevs->len; i++) {
        const char *name_of_cdev = g_ptr_array_index(cdevs, i);
        g_autofree char *node = g_strdup_printf("%s/%s/dev", cdevs_path, name_of_cdev);

        /* Since 6.1 the directory is there for every device; only one with a node has a "dev" in it. */
        if (g_str_has_prefix(name_of_cdev, "vfio") && vfm_sysfs_exists(fs, node))
            device->cdev = g_strdup(name_of_cdev);
    }
    return true;
}

/* What was read so far. A directory linked into many groups multiplies: the sum has to be bounded, not only each part.
 */
typedef struct {
    uint64_t devices, reserved;
} Total;

static bool add_to_total(Total *total, const VfmIommuGroup *group, const VfmSysfs *fs, GError **error)
{
    total->devices += group->devices->len;
    total->reserved += group->reserved->len;
    if (total->devices > VFM_HOST_DEVICES_MAX || total->reserved > VFM_HOST_RESERVED_MAX) {
        g_autofree char *name = vfm_sysfs_name(fs, GROUPS);

        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_TOO_LARGE, "%s: more %s than any host has", name,
                    total->devices > VFM_HOST_DEVICES_MAX ? "devices" : "reserved regions");
        return false;
    }
    return true;
}

static bool read_group(VfmHost *host, const VfmSysfs *fs, unsigned id, Total *total, GError **error)
{
    VfmIommuGroup *group = vfm_host_add_group(host, id);
    g_autofree char *type = g_strdup_printf(GROUPS "/%u/type", id);
    g_autofree char *path = g_strdup_printf(GROUPS "/%u/devices", id);
    g_autoptr(GPtrArray) names = NULL;
    GError *local = NULL;

    group->type = vfm_sysfs_text(fs, type, 0, &local);
    if (!local)
        names = vfm_sysfs_list(fs, path, &local);
    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    for (guint i = 0; names && i < names->len; i++) {
        if (is_device_name(names->pdata[i]) && !read_device(group, fs, names->pdata[i], error))
            return false;
    }
    return read_reserved(group, fs, error) && add_to_total(total, group, fs, error);
}

static gint compare_groups(gconstpointer a, gconstpointer b)
{
    const VfmIommuGroup *x = *(VfmIommuGroup *const *)a, *y = *(VfmIommuGroup *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

bool vfm_host_groups_read_all(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    GError *local = NULL;
    g_autoptr(GPtrArray) names = vfm_sysfs_list(fs, GROUPS, &local);
    Total total = {0};

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    for (guint i = 0; names && i < names->len; i++) {
        unsigned id;

        if (group_id(names->pdata[i], &id) && !read_group(host, fs, id, &total, error))
            return false;
    }
    g_ptr_array_sort(host->groups, compare_groups);
    return true;
}

bool vfm_host_groups_read_of(VfmHost *host, const VfmSysfs *fs, const VfmAssigned *assigned, GError **error)
{
    const char *bus = assigned->kind == VFM_ASSIGNED_PCI    ? "pci"
                      : assigned->kind == VFM_ASSIGNED_NVME ? "pci"
                      : assigned->kind == VFM_ASSIGNED_MDEV ? "mdev"
                                                            : NULL;
    g_autofree char *path = NULL;
    g_autofree char *name = NULL;
    g_autofree char *lower = NULL;
    Total total = {0};
    unsigned id;

    if (!bus || !assigned->address || !is_device_name(assigned->address))
        return true;
    lower = g_ascii_strdown(assigned->address, -1); /* as the kernel writes addresses and UUIDs */
    path = g_strdup_printf("sys/bus/%s/devices/%s/iommu_group", bus, lower);
    name = vfm_sysfs_link(fs, path);
    if (!name || !group_id(name, &id))
        return true;
    for (guint i = 0; i < host->groups->len; i++) {
        const VfmIommuGroup *group = g_ptr_array_index(host->groups, i);

        if (group->id == id)
            return true;
        if (!add_to_total(&total, group, fs, error))
            return false;
    }
    if (!read_group(host, fs, id, &total, error))
        return false;
    g_ptr_array_sort(host->groups, compare_groups);
    return true;
}
