/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "sysfs.h"
#include "error.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

struct VfmSysfs {
    int fd;
    char *root;
    bool live;
};

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define autoclose __attribute__((cleanup(close_fd)))

/* Opens below the root, never outside it. -1 and errno on failure. */
static int open_below(const VfmSysfs *fs, const char *path, int flags)
{
    struct open_how how = {
        .flags = (unsigned)flags | O_CLOEXEC,
        .resolve = fs->live ? 0 : RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
    };
    long fd;

    /* One's own /sys cannot be hostile, and old sandboxes refuse openat2. */
    if (fs->live)
        return openat(fs->fd, path, flags | O_CLOEXEC);
    /* RESOLVE_IN_ROOT answers EAGAIN when a rename anywhere raced with "..". */
    for (unsigned attempt = 0; attempt < 16; attempt++) {
        fd = syscall(SYS_openat2, fs->fd, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return (int)fd;
}

/* The ways in which a kernel says that it has no such thing. ELOOP: a link onto itself, in a copy. */
static bool means_absent(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ENXIO || errnum == ENODEV || errnum == ELOOP;
}

VfmSysfs *vfm_sysfs_open(const char *root, GError **error)
{
    g_autoptr(VfmSysfs) fs = g_new0(VfmSysfs, 1);

    fs->root = g_strdup(root && *root ? root : "/");
    fs->live = strspn(fs->root, "/") == strlen(fs->root);
    fs->fd = open(fs->root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fs->fd < 0) {
        vfm_set_system_error(error, errno, "host topology in %s", fs->root);
        return NULL;
    }
    if (!fs->live) {
        autoclose int probe = open_below(fs, ".", O_PATH | O_DIRECTORY);

        if (probe < 0) {
            vfm_set_system_error(error, errno,
                                 "host topology in %s: confining look-ups to it needs openat2 (Linux 5.6)", fs->root);
            return NULL;
        }
    }
    if (!vfm_sysfs_exists(fs, "sys") && !vfm_sysfs_exists(fs, "proc")) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "host topology in %s: neither sys nor proc is in it; give the directory that holds both", fs->root);
        return NULL;
    }
    return g_steal_pointer(&fs);
}

void vfm_sysfs_free(VfmSysfs *fs)
{
    if (!fs)
        return;
    close_fd(&fs->fd);
    g_free(fs->root);
    g_free(fs);
}

bool vfm_sysfs_is_live(const VfmSysfs *fs)
{
    return fs->live;
}

char *vfm_sysfs_name(const VfmSysfs *fs, const char *path)
{
    return g_strdup_printf("%s%s%s", fs->root, g_str_has_suffix(fs->root, "/") ? "" : "/", path);
}

bool vfm_sysfs_exists(const VfmSysfs *fs, const char *path)
{
    autoclose int fd = open_below(fs, path, O_PATH);

    return fd >= 0;
}

static void set_error(const VfmSysfs *fs, const char *path, int errnum, const char *what, GError **error)
{
    g_autofree char *name = vfm_sysfs_name(fs, path);

    vfm_set_system_error(error, errnum, "%s: %s", name, what);
}

static void set_malformed(const VfmSysfs *fs, const char *path, const char *what, GError **error)
{
    g_autofree char *name = vfm_sysfs_name(fs, path);

    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "%s: %s", name, what);
}

char *vfm_sysfs_text(const VfmSysfs *fs, const char *path, size_t max, GError **error)
{
    const size_t limit = max ? max : VFM_SYSFS_FILE_MAX;
    /* O_NONBLOCK: a FIFO in a copied tree must not hang us before fstat can tell. */
    autoclose int fd = open_below(fs, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    g_autoptr(GString) text = NULL;
    struct stat info;

    if (fd < 0) {
        if (!means_absent(errno))
            set_error(fs, path, errno, "open", error);
        return NULL;
    }
    if (fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) {
        set_malformed(fs, path, "not a regular file", error);
        return NULL;
    }
    text = g_string_sized_new(256);
    while (text->len < limit) {
        char chunk[4096];
        ssize_t got = read(fd, chunk, MIN(sizeof(chunk), limit - text->len));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0) {
            /* Attributes answer so when their device or driver has nothing to say. */
            if (!means_absent(errno) && errno != EIO && errno != EINVAL && errno != EOPNOTSUPP)
                set_error(fs, path, errno, "read", error);
            return NULL;
        }
        if (got == 0)
            break;
        g_string_append_len(text, chunk, got);
    }
    if (!max && text->len == limit) {
        set_malformed(fs, path, "longer than any such file", error);
        return NULL;
    }
    if (memchr(text->str, '\0', text->len)) {
        set_malformed(fs, path, "holds a NUL byte", error);
        return NULL;
    }
    return g_strchomp(g_string_free(g_steal_pointer(&text), FALSE));
}

bool vfm_sysfs_number(const VfmSysfs *fs, const char *path, VfmMaybe *value, GError **error)
{
    GError *local = NULL;
    g_autofree char *text = vfm_sysfs_text(fs, path, 0, &local);
    const bool hex = text && g_str_has_prefix(text, "0x");
    char *end = NULL;
    guint64 number;

    *value = VFM_NONE;
    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (!text || g_str_equal(text, "-1"))
        return true;
    errno = 0;
    number = g_ascii_strtoull(text + (hex ? 2 : 0), &end, hex ? 16 : 10);
    if (!g_ascii_isxdigit(text[hex ? 2 : 0]) || *end || errno) {
        set_malformed(fs, path, "not a number", error);
        return false;
    }
    *value = VFM_SOME(number);
    return true;
}

bool vfm_sysfs_switch(const VfmSysfs *fs, const char *path, VfmSwitch *value, GError **error)
{
    GError *local = NULL;
    g_autofree char *text = vfm_sysfs_text(fs, path, 0, &local);

    *value = VFM_ABSENT;
    if (local) {
        g_propagate_error(error, local);
        return false;
    }
    if (!text)
        return true;
    if (g_str_equal(text, "Y") || g_str_equal(text, "1")) {
        *value = VFM_ON;
    } else if (g_str_equal(text, "N") || g_str_equal(text, "0")) {
        *value = VFM_OFF;
    } else {
        set_malformed(fs, path, "neither Y nor N", error);
        return false;
    }
    return true;
}

static gint compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void close_dir(DIR **dir)
{
    if (*dir)
        closedir(*dir);
}

GPtrArray *vfm_sysfs_list(const VfmSysfs *fs, const char *path, GError **error)
{
    g_autoptr(GPtrArray) names = NULL;
    int fd = open_below(fs, path, O_RDONLY | O_DIRECTORY);
    __attribute__((cleanup(close_dir))) DIR *dir = NULL;
    const struct dirent *entry;

    if (fd < 0) {
        if (!means_absent(errno))
            set_error(fs, path, errno, "open", error);
        return NULL;
    }
    dir = fdopendir(fd);
    if (!dir) {
        set_error(fs, path, errno, "read directory", error);
        close(fd);
        return NULL;
    }
    names = g_ptr_array_new_with_free_func(g_free);
    while ((errno = 0, entry = readdir(dir))) {
        if (g_str_equal(entry->d_name, ".") || g_str_equal(entry->d_name, ".."))
            continue;
        if (names->len == VFM_SYSFS_ENTRIES_MAX) {
            set_malformed(fs, path, "more entries than any such directory", error);
            return NULL;
        }
        g_ptr_array_add(names, g_strdup(entry->d_name));
    }
    if (errno) {
        set_error(fs, path, errno, "read directory", error);
        return NULL;
    }
    g_ptr_array_sort(names, compare_names);
    return g_steal_pointer(&names);
}

char *vfm_sysfs_link(const VfmSysfs *fs, const char *path)
{
    autoclose int fd = open_below(fs, path, O_PATH | O_NOFOLLOW);
    char target[PATH_MAX];
    ssize_t length;

    if (fd < 0)
        return NULL;
    length = readlinkat(fd, "", target, sizeof(target) - 1);
    if (length <= 0)
        return NULL;
    target[length] = '\0';
    return g_path_get_basename(target);
}
