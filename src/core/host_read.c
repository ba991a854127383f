/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "host_read.h"
#include "error.h"
#include "host_groups.h"
#include "sysfs.h"

#include <fcntl.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* Large enough for meminfo and for the first CPU of cpuinfo. Not more: the kernel
 * makes cpuinfo CPU by CPU, and asks each for its frequency while doing so. */
#define FIRST_CPU_BYTES 4096

/* "KEY:   VALUE kB" of /proc/meminfo. */
static VfmMaybe meminfo_bytes(const char *text, const char *key)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (g_str_has_prefix(line, key) && line[strlen(key)] == ':') {
            char *end = NULL;
            guint64 value = g_ascii_strtoull(line + strlen(key) + 1, &end, 10);

            if (value && value <= G_MAXUINT64 / 1024 && g_str_has_prefix(end, " kB"))
                return VFM_SOME(value * 1024);
            return VFM_NONE;
        }
    }
    return VFM_NONE;
}

/* "address sizes   : 46 bits physical, 48 bits virtual" */
static VfmMaybe cpuinfo_phys_bits(const char *text)
{
    const char *line = strstr(text, "\naddress sizes");
    const char *value = line ? strchr(line, ':') : NULL;
    guint64 bits = value ? g_ascii_strtoull(value + 1, NULL, 10) : 0;

    return bits >= 32 && bits <= 64 ? VFM_SOME(bits) : VFM_NONE;
}

static bool read_memory(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    GError *local = NULL;
    g_autofree char *meminfo = vfm_sysfs_text(fs, "proc/meminfo", 0, &local);
    g_autofree char *cpuinfo = local ? NULL : vfm_sysfs_text(fs, "proc/cpuinfo", FIRST_CPU_BYTES, &local);

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (meminfo) {
        host->memory = meminfo_bytes(meminfo, "MemTotal");
        host->default_hugepage = meminfo_bytes(meminfo, "Hugepagesize");
    }
    if (cpuinfo)
        host->phys_bits = cpuinfo_phys_bits(cpuinfo);
    if (vfm_sysfs_is_live(fs)) {
        long page = sysconf(_SC_PAGESIZE);

        if (page > 0)
            host->page_size = VFM_SOME((uint64_t)page);
    }
    return true;
}

static bool read_thp(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    VfmMaybe size;

    if (!vfm_sysfs_number(fs, "sys/kernel/mm/transparent_hugepage/hpage_pmd_size", &size, error))
        return false;
    if (size.set && size.value) {
        host->thp_size = size;
        host->thp_known = true;
    } else {
        /* A kernel without THP has no such directory; a tree without sys/kernel/mm was not copied far enough. */
        host->thp_known =
            vfm_sysfs_exists(fs, "sys/kernel/mm") && !vfm_sysfs_exists(fs, "sys/kernel/mm/transparent_hugepage");
    }
    return true;
}

static gint compare_hugepages(gconstpointer a, gconstpointer b)
{
    const VfmHostHugepage *x = a, *y = b;

    return x->size < y->size ? -1 : x->size > y->size;
}

static bool read_hugepages(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    GError *local = NULL;
    g_autoptr(GPtrArray) names = vfm_sysfs_list(fs, "sys/kernel/mm/hugepages", &local);

    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    for (guint i = 0; names && i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        g_autofree char *total = g_strdup_printf("sys/kernel/mm/hugepages/%s/nr_hugepages", name);
        g_autofree char *free_pages = g_strdup_printf("sys/kernel/mm/hugepages/%s/free_hugepages", name);
        VfmHostHugepage pages = {0};
        char *end = NULL;

        if (!g_str_has_prefix(name, "hugepages-"))
            continue;
        pages.size = g_ascii_strtoull(name + strlen("hugepages-"), &end, 10);
        if (!g_str_equal(end, "kB") || !pages.size || pages.size > G_MAXUINT64 / 1024)
            continue;
        pages.size *= 1024;
        if (!vfm_sysfs_number(fs, total, &pages.total, error) || !vfm_sysfs_number(fs, free_pages, &pages.free, error))
            return false;
        g_array_append_val(host->hugepages, pages);
    }
    g_array_sort(host->hugepages, compare_hugepages);
    return true;
}

/* Whether VFIO offers device nodes (cdevs). The class alone does not say: it is there since 6.1, the nodes since
 * 6.6 and only if configured; then they have a line of their own in /proc/devices (drivers/vfio/device_cdev.c). */
static bool read_cdevs(const VfmSysfs *fs, VfmSwitch *cdevs, GError **error)
{
    GError *local = NULL;
    g_autofree char *devices = vfm_sysfs_text(fs, "proc/devices", 0, &local);

    *cdevs = VFM_ABSENT;
    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (devices) {
        g_auto(GStrv) lines = g_strsplit(devices, "\n", -1);

        *cdevs = VFM_OFF;
        for (guint i = 0; lines[i]; i++) {
            if (g_str_has_suffix(lines[i], " vfio-dev"))
                *cdevs = VFM_ON;
        }
    }
    return true;
}

static bool read_vfio(VfmHost *host, const VfmSysfs *fs, GError **error)
{
    const bool type1 = vfm_sysfs_exists(fs, "sys/module/vfio_iommu_type1");
    const bool container = vfm_sysfs_exists(fs, "sys/class/misc/vfio");
    const bool iommufd = vfm_sysfs_exists(fs, "sys/class/misc/iommu");
    const bool loaded = vfm_sysfs_exists(fs, "sys/class/vfio") || vfm_sysfs_exists(fs, "sys/class/vfio-dev");
    VfmSwitch cdevs;

    if (!vfm_sysfs_number(fs, "sys/module/vfio_iommu_type1/parameters/dma_entry_limit", &host->dma_entry_limit,
                          error) ||
        !vfm_sysfs_switch(fs, "sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts",
                          &host->unsafe_interrupts, error) ||
        !read_cdevs(fs, &cdevs, error))
        return false;
    /* Before VFIO is loaded nothing can be said; it brings iommufd with it where it was built for it. */
    if (loaded && (!iommufd || cdevs == VFM_OFF))
        host->iommufd = VFM_OFF;
    else if (loaded && cdevs == VFM_ON)
        host->iommufd = VFM_ON;
    /* Both providers call the device "vfio", but only a real container comes with the type1 driver: it
     * requests that module when it starts, and iommufd's layer excludes it (drivers/vfio/Kconfig). */
    if (type1)
        host->vfio_compat = VFM_OFF;
    else if (container && iommufd)
        host->vfio_compat = VFM_ON;
    return true;
}

/* The number of memory slots is known only to the kernel in use (KVM_CAP_NR_MEMSLOTS, Linux uapi kvm.h). */
static void ask_kvm(VfmHost *host)
{
    int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);
    int slots;

    if (fd < 0)
        return;
    slots = ioctl(fd, KVM_CHECK_EXTENSION, KVM_CAP_NR_MEMSLOTS);
    if (slots > 0)
        host->kvm_memslots = VFM_SOME((uint64_t)slots);
    close(fd);
}

static VfmHost *read_basics(const VfmSysfs *fs, GError **error)
{
    g_autoptr(VfmHost) host = vfm_host_new();
    GError *local = NULL;

    host->name = vfm_sysfs_text(fs, "proc/sys/kernel/hostname", 0, &local);
    if (host->name && (!*host->name || g_str_equal(host->name, "(none)"))) /* what the kernel says of one not set */
        g_clear_pointer(&host->name, g_free);
    if (!local)
        host->kernel = vfm_sysfs_text(fs, "proc/sys/kernel/osrelease", 0, &local);
    if (local) {
        g_propagate_error(error, local);
        return NULL;
    }
    if (!read_memory(host, fs, error) || !read_thp(host, fs, error) || !read_hugepages(host, fs, error) ||
        !read_vfio(host, fs, error) || !vfm_host_groups_read_isolation(host, fs, error))
        return NULL;
    if (vfm_sysfs_is_live(fs))
        ask_kvm(host);
    return g_steal_pointer(&host);
}

VfmHost *vfm_host_read_basics(const char *root, GError **error)
{
    g_autoptr(VfmSysfs) fs = vfm_sysfs_open(root, error);

    return fs ? read_basics(fs, error) : NULL;
}

VfmHost *vfm_host_read(const char *root, GError **error)
{
    g_autoptr(VfmSysfs) fs = vfm_sysfs_open(root, error);
    g_autoptr(VfmHost) host = fs ? read_basics(fs, error) : NULL;

    if (!host || !vfm_host_groups_read_all(host, fs, error))
        return NULL;
    return g_steal_pointer(&host);
}

bool vfm_host_read_groups_of(VfmHost *host, const char *root, const VfmDomain *domain, GError **error)
{
    g_autoptr(VfmSysfs) fs = NULL;

    for (guint i = 0; i < domain->assigned->len; i++) {
        const VfmAssigned *assigned = g_ptr_array_index(domain->assigned, i);

        if (!assigned->address || vfm_host_find_group(host, assigned->address))
            continue;
        if (!fs)
            fs = vfm_sysfs_open(root, error);
        if (!fs || !vfm_host_groups_read_of(host, fs, assigned, error))
            return false;
    }
    return true;
}
