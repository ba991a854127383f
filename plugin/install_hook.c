/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "install_hook.h"

#include <errno.h>
#include <glib/gstdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "error.h"

#define HOOKS "etc/libvirt/hooks"
#define ENTRY "50-vfiomem"
#define PROGRAM "vfiomem-hook"

typedef enum { PLACE_EMPTY, PLACE_OURS, PLACE_OURS_ELSEWHERE, PLACE_TAKEN } Place;

/* What is at @entry now; @target is set to where our link points. */
static Place look(const char *entry, const char *program, char **target)
{
    struct stat about;
    g_autofree char *base = NULL;

    if (lstat(entry, &about) < 0)
        return PLACE_EMPTY;
    *target = S_ISLNK(about.st_mode) ? g_file_read_link(entry, NULL) : NULL;
    if (!*target)
        return PLACE_TAKEN;
    base = g_path_get_basename(*target);
    if (strcmp(base, PROGRAM) != 0)
        return PLACE_TAKEN;
    return strcmp(*target, program) == 0 ? PLACE_OURS : PLACE_OURS_ELSEWHERE;
}

/* When the process started, in seconds since the epoch; 0 if that can't be known. */
static gint64 start_of(const char *root, long pid)
{
    g_autofree char *stat_path = g_strdup_printf("%s/proc/%ld/stat", root, pid);
    g_autofree char *all_path = g_build_filename(root, "proc/stat", NULL);
    g_autofree char *about = NULL, *all = NULL;
    const char *at, *boot;
    gint64 ticks;

    if (!g_file_get_contents(stat_path, &about, NULL, NULL) || !g_file_get_contents(all_path, &all, NULL, NULL))
        return 0;
    boot = strstr(all, "btime ");
    at = strrchr(about, ')'); /* the name may hold anything; field 3 follows it */
    for (int field = 2; at && field < 22; field++)
        at = strchr(at + 1, ' ');
    if (!boot || !at)
        return 0;
    ticks = g_ascii_strtoll(at + 1, NULL, 10);
    return g_ascii_strtoll(boot + strlen("btime "), NULL, 10) + ticks / sysconf(_SC_CLK_TCK);
}

/* The PID of the daemon that runs QEMU guests, 0 if none runs. Sets @name. */
static long find_daemon(const char *root, const char **name)
{
    static const char *const daemons[] = {"virtqemud", "libvirtd"};

    for (size_t i = 0; i < G_N_ELEMENTS(daemons); i++) {
        g_autofree char *path = g_strdup_printf("%s/run/%s.pid", root, daemons[i]);
        g_autofree char *text = NULL, *comm_path = NULL, *comm = NULL;
        long pid;

        if (!g_file_get_contents(path, &text, NULL, NULL))
            continue;
        pid = strtol(text, NULL, 10);
        if (pid <= 0)
            continue;
        comm_path = g_strdup_printf("%s/proc/%ld/comm", root, pid);
        if (!g_file_get_contents(comm_path, &comm, NULL, NULL) || strcmp(g_strchomp(comm), daemons[i]) != 0)
            continue; /* a file that was left behind */
        *name = daemons[i];
        return pid;
    }
    return 0;
}

/* Notes one executable hook; @oldest is the earliest change of any. */
static void note_hook(const char *path, GString *names, gint64 *oldest)
{
    struct stat about;

    if (stat(path, &about) < 0 || !S_ISREG(about.st_mode) || !(about.st_mode & 0111))
        return;
    g_string_append_printf(names, "%s%s", names->len ? ", " : "", path);
    if (*oldest == 0 || about.st_ctime < *oldest)
        *oldest = about.st_ctime;
}

/* The other executable qemu hooks: their paths, and since when the first has been there. */
static gint64 other_hooks(const char *hooks, GString *names)
{
    g_autofree char *single = g_build_filename(hooks, "qemu", NULL);
    g_autofree char *folder = g_build_filename(hooks, "qemu.d", NULL);
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    gint64 oldest = 0;
    const char *name;

    note_hook(single, names, &oldest);
    while (dir && (name = g_dir_read_name(dir))) {
        g_autofree char *path = g_build_filename(folder, name, NULL);

        if (strcmp(name, ENTRY) != 0)
            note_hook(path, names, &oldest);
    }
    return oldest;
}

static void explain_restart(const char *root, gint64 others_since, GString *report)
{
    const char *name = NULL;
    long pid = find_daemon(root, &name);
    gint64 start = pid ? start_of(root, pid) : 0;

    if (!pid) {
        g_string_append(report, "libvirt's daemon is not running: it will see the hook when it starts.\n");
    } else if (others_since && start && others_since < start) {
        g_string_append_printf(report,
                               "%s (PID %ld) calls qemu hooks already: this one works from the next start of a "
                               "guest on.\n",
                               name, pid);
    } else {
        g_string_append_printf(report,
                               "%s (PID %ld) looked for qemu hooks when it started and found none: restart it, e.g. "
                               "`systemctl restart %s`. Running guests go on running.\n",
                               name, pid, name);
    }
}

/* Whether AppArmor confines the daemon, and would not let it run @program: distributions' profiles allow the
 * system's own program folders (/usr/bin and the like, in usr.sbin.libvirtd) and what lies in the hooks' folder,
 * but the path that counts is the one behind the link. A hook that can't be run stops every guest. */
static bool confined(const char *root, const char *program)
{
    static const char *const allowed[] = {"/usr/bin", "/usr/sbin", "/bin", "/sbin"};
    static const char *const profiles[] = {"\nlibvirtd (enforce)", "\nvirtqemud (enforce)",
                                           "\n/usr/sbin/libvirtd (enforce)"};
    static const char *const exceptions[] = {"etc/apparmor.d/local/usr.sbin.libvirtd",
                                             "etc/apparmor.d/local/usr.sbin.virtqemud"};
    g_autofree char *loaded_path = g_build_filename(root, "sys/kernel/security/apparmor/profiles", NULL);
    g_autofree char *folder = g_path_get_dirname(program);
    g_autofree char *text = NULL, *loaded = NULL;
    bool enforced = false;

    if (!g_file_get_contents(loaded_path, &text, NULL, NULL))
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(allowed); i++) {
        if (strcmp(folder, allowed[i]) == 0)
            return false;
    }
    loaded = g_strconcat("\n", text, NULL);
    for (size_t i = 0; i < G_N_ELEMENTS(profiles); i++)
        enforced |= strstr(loaded, profiles[i]) != NULL;
    for (size_t i = 0; i < G_N_ELEMENTS(exceptions); i++) {
        g_autofree char *path = g_build_filename(root, exceptions[i], NULL);
        g_autofree char *rules = NULL;

        if (g_file_get_contents(path, &rules, NULL, NULL) && strstr(rules, program))
            return false;
    }
    return enforced;
}

static bool make_link(const char *folder, const char *entry, const char *program, GError **error)
{
    g_autofree char *temporary = g_strdup_printf("%s/.%s.%d", folder, ENTRY, (int)getpid());

    if (g_mkdir_with_parents(folder, 0755) < 0) {
        vfm_set_system_error(error, errno, "making %s", folder);
        return false;
    }
    /* libvirt may call it under the temporary name as well, for that moment: harmless, it is the same hook. */
    if (symlink(program, temporary) < 0 || rename(temporary, entry) < 0) {
        vfm_set_system_error(error, errno, "making the link %s", entry);
        unlink(temporary);
        return false;
    }
    return true;
}

static bool remove_link(const VfmHookInstall *wish, const char *entry, Place place, GString *report, GError **error)
{
    if (place == PLACE_EMPTY) {
        g_string_append_printf(report, "%s is not there: nothing to remove.\n", entry);
        return true;
    }
    if (!wish->dry_run && unlink(entry) < 0) {
        vfm_set_system_error(error, errno, "removing %s", entry);
        return false;
    }
    g_string_append_printf(report, "%s %s. libvirt stops calling it at once; no restart is needed.\n",
                           wish->dry_run ? "would remove" : "removed", entry);
    return true;
}

bool vfm_hook_install(const VfmHookInstall *wish, GString *report, GError **error)
{
    const char *root = wish->root ? wish->root : "/";
    const char *program = wish->program ? wish->program : VFM_BIN_DIR "/" PROGRAM;
    g_autofree char *hooks = g_build_filename(root, HOOKS, NULL);
    g_autofree char *folder = g_build_filename(hooks, "qemu.d", NULL);
    g_autofree char *entry = g_build_filename(folder, ENTRY, NULL);
    g_autofree char *target = NULL;
    g_autoptr(GString) names = g_string_new(NULL);
    const Place place = look(entry, program, &target);
    gint64 others_since;

    if (place == PLACE_TAKEN) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "%s is not a link to %s, so it is not vfiomem's: rename it, then try again", entry, PROGRAM);
        return false;
    }
    if (wish->remove)
        return remove_link(wish, entry, place, report, error);
    if (access(program, X_OK) < 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                    "%s is not there or not executable, so libvirt could not run it: install vfiomem first (meson "
                    "install)",
                    program);
        return false;
    }
    if (confined(root, program)) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "AppArmor's profile of libvirt's daemon does not let it run %s, and a hook that can't be run stops "
                    "every guest: install vfiomem with --prefix /usr, or add the line '%s PUx,' to "
                    "/etc/apparmor.d/local/usr.sbin.libvirtd and reload the profile",
                    program, program);
        return false;
    }
    others_since = other_hooks(hooks, names);
    if (place == PLACE_OURS) {
        g_string_append_printf(report, "%s -> %s is there already.\n", entry, program);
    } else {
        if (!wish->dry_run && !make_link(folder, entry, program, error))
            return false;
        g_string_append_printf(report, "%s %s -> %s\n", wish->dry_run ? "would make" : "made", entry, program);
        if (target)
            g_string_append_printf(report, "in place of the link to %s.\n", target);
    }
    if (names->len)
        g_string_append_printf(report, "Other qemu hooks stay and run as well: %s.\n", names->str);
    explain_restart(root, others_since, report);
    return true;
}
