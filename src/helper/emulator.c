/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfiomem-qemu: what libvirt starts as a domain's <emulator>. Puts the helper
 * on libvirt's monitor and becomes QEMU by exec: the same process, descriptors,
 * limits, user and namespaces. Without libvirt's monitor among the arguments
 * (libvirt probing what the emulator can do, a person at a terminal) it is
 * exec and nothing else. See docs/man/vfiomem-qemu.1.
 */
#include "emulator_argv.h"
#include "emulator_devices.h"
#include "emulator_policy.h"
#include "error.h"
#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

/* A helper that has not said that it is ready by then is not coming. */
#define READY_MS 5000

/* Where the helper's descriptors are. */
enum { HELPER_LISTEN = 3, HELPER_MONITOR = 4, HELPER_READY = 5, HELPER_DEVICES = 6 };

static bool same_file(const char *path, const char *self)
{
    g_autofree char *real = realpath(path, NULL);

    return g_strcmp0(real, self) == 0;
}

static bool usable(const char *path, const char *self)
{
    return access(path, X_OK) == 0 && !same_file(path, self);
}

/* Beside us, in PATH, then where distributions put what is not for PATH. Never ourselves. */
static char *find_emulator(const char *target, const char *self)
{
    static const char *const folders[] = {"/usr/bin", "/usr/local/bin", "/usr/libexec", "/usr/lib/qemu"};
    const char *given = g_getenv("VFIOMEM_QEMU");
    g_autofree char *beside = g_path_get_dirname(self);
    g_autofree char *configured = vfm_emulator_configured(target);
    g_auto(GStrv) path = g_strsplit(g_getenv("PATH") ? g_getenv("PATH") : "", ":", -1);
    char *found = g_build_filename(beside, target, NULL);

    if (given && *given) {
        g_free(found);
        return g_strdup(given);
    }
    if (configured) {
        g_free(found);
        return g_steal_pointer(&configured);
    }
    for (size_t i = 0; !usable(found, self); i++) {
        const char *folder = i < g_strv_length(path) ? path[i] : NULL;

        if (!folder && i < g_strv_length(path) + G_N_ELEMENTS(folders))
            folder = folders[i - g_strv_length(path)];
        g_clear_pointer(&found, g_free);
        if (!folder)
            break;
        found = g_build_filename(*folder ? folder : ".", target, NULL);
    }
    return found;
}

/* @name beside us (a build tree), else where it was installed; @variable names it for tests. */
static char *find_helper(const char *self, const char *name, const char *variable)
{
    const char *given = g_getenv(variable);
    g_autofree char *folder = g_path_get_dirname(self);
    char *beside;

    if (given && *given)
        return g_strdup(given);
    beside = g_build_filename(folder, name, NULL);
    if (access(beside, X_OK) == 0)
        return beside;
    g_free(beside);
    return g_build_filename(VFIOMEM_LIBEXECDIR, name, NULL);
}

/* In the helper's process: only its descriptors and the log stay. @devices may be -1. */
static bool arrange_descriptors(int listener, int monitor, int ready, int devices)
{
    int high[4], wanted[4] = {listener, monitor, ready, devices}, count = devices < 0 ? 3 : 4;

    for (int i = 0; i < count; i++) {
        high[i] = fcntl(wanted[i], F_DUPFD, 16); /* out of the way of the numbers below */
        if (high[i] < 0)
            return false;
    }
    for (int i = 0; i < count; i++)
        if (dup2(high[i], HELPER_LISTEN + i) < 0)
            return false;
    return close_range(HELPER_LISTEN + count, ~0u, 0) == 0;
}

static char **helper_argv(const char *helper, char *const *argv, pid_t qemu, const char *target, int devices)
{
    GPtrArray *out = g_ptr_array_new();

    g_ptr_array_add(out, (gpointer)helper);
    g_ptr_array_add(out, g_strdup_printf("--listen-fd=%d", HELPER_LISTEN));
    g_ptr_array_add(out, g_strdup_printf("--monitor-fd=%d", HELPER_MONITOR));
    g_ptr_array_add(out, g_strdup_printf("--ready-fd=%d", HELPER_READY));
    g_ptr_array_add(out, g_strdup_printf("--qemu-pid=%d", (int)qemu));
    if (devices >= 0)
        g_ptr_array_add(out, g_strdup_printf("--devices-fd=%d", HELPER_DEVICES));
    if (g_str_has_prefix(target, "qemu-system-"))
        g_ptr_array_add(out, g_strdup_printf("--arch=%s", target + strlen("qemu-system-")));
    g_ptr_array_add(out, (gpointer) "--");
    for (int i = 1; argv[i]; i++)
        g_ptr_array_add(out, argv[i]);
    g_ptr_array_add(out, NULL);
    return (char **)g_ptr_array_free(out, FALSE);
}

/* Twice forked, so that QEMU never has a child it does not know. */
static void become_helper(char *const *command, int listener, int monitor, int ready, int devices)
{
    pid_t pid = fork();

    if (pid != 0)
        _exit(pid < 0);
    setsid();
    if (arrange_descriptors(listener, monitor, ready, devices)) {
        execv(command[0], command);
        vfm_log("%s: %s", command[0], g_strerror(errno));
    }
    _exit(127);
}

static bool wait_ready(int ready)
{
    struct pollfd slot = {.fd = ready, .events = POLLIN};
    char byte;
    int n;

    do
        n = poll(&slot, 1, READY_MS);
    while (n < 0 && errno == EINTR);
    return n == 1 && read(ready, &byte, 1) == 1;
}

/* Starts the helper. Returns QEMU's end of the monitor, -1 if there is no helper. */
static int start_helper(char *const *command, int listener, int devices)
{
    int monitor[2] = {-1, -1}, ready[2] = {-1, -1}, end = -1, status;
    pid_t pid = -1;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, monitor) == 0 && pipe2(ready, O_CLOEXEC) == 0)
        pid = fork();
    if (pid == 0)
        become_helper(command, listener, monitor[0], ready[1], devices);
    close(ready[1]);
    close(monitor[0]);
    if (pid > 0) {
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            ;
        if (wait_ready(ready[0]))
            end = monitor[1];
    }
    close(ready[0]);
    if (end < 0)
        close(monitor[1]);
    return end;
}

/* The helper takes the listening socket; QEMU finds a connected one under the same number. */
static bool mediate(const char *self, const char *target, char **argv, const VfmMonitorArgument *monitor, int devices)
{
    g_autofree char *helper = find_helper(self, "vfiomem-helper", "VFIOMEM_HELPER");
    int end = start_helper(helper_argv(helper, argv, getpid(), target, devices), monitor->fd, devices);

    if (end < 0) {
        vfm_log("%s did not start", helper);
        return false;
    }
    if (dup2(end, monitor->fd) < 0) { /* also makes it survive exec */
        vfm_log("descriptor %d: %s", monitor->fd, g_strerror(errno));
        return false;
    }
    close(end);
    argv[monitor->index] = vfm_emulator_rewrite_chardev(argv[monitor->index], monitor->fd);
    return true;
}

/* In helper mode devices go to the helper first; @control is -1 in any other. */
static bool hand_over_devices(const char *self, const char *emulator, char **argv, const VfmPolicy *policy,
                              int *control, GError **error)
{
    g_autofree char *program = NULL;

    *control = -1;
    if (policy->owner != VFM_OWNER_HELPER)
        return true;
    program = find_helper(self, "vfiomem-helper-devices", "VFIOMEM_HELPER_DEVICES");
    *control = vfm_emulator_start_devices(program, emulator, argv, policy, error);
    return *control >= 0;
}

/* Without libvirt's monitor (libvirt probing, a person at a terminal) nothing is done, and that must not give QEMU the
 * devices that a policy keeps from it. */
static bool check_unmediated(char **argv, const VfmPolicy *policy, GError **error)
{
    g_autoptr(GPtrArray) assigned = NULL;

    if (policy->owner != VFM_OWNER_HELPER)
        return true;
    assigned = vfm_emulator_assigned(argv, error);
    if (!assigned)
        return false;
    if (assigned->len)
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_POLICY,
                    "the policy has the helper map guest memory, and libvirt's monitor, beside which it starts, is not "
                    "among QEMU's arguments");
    return assigned->len == 0;
}

/* All that comes before QEMU. False: the guest must not start, and @error says why. A guest that asks for no helper
 * starts whatever happens here. */
static bool prepare(const char *self, const char *target, const char *emulator, char **argv, GError **error)
{
    VfmMonitorArgument monitor;
    VfmPolicy policy;
    int devices;

    if (!vfm_emulator_policy(&policy, argv, error))
        return false;
    if (!vfm_emulator_find_monitor(argv, &monitor))
        return check_unmediated(argv, &policy, error);
    if (!hand_over_devices(self, emulator, argv, &policy, &devices, error))
        return false;
    if (mediate(self, target, argv, &monitor, devices))
        return true;
    if (policy.owner == VFM_OWNER_HELPER) {
        /* A device that is plugged in later would be QEMU's own. */
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "the domain's policy has vfiomem's helper map guest memory, and its part on the monitor did not "
                    "start; see the lines above, or take owner='helper' out of <vfiomem:mapping>");
        return false;
    }
    if (policy.required) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE,
                    "the domain's policy requires vfiomem's helper, and it did not start; see the lines above, or take "
                    "required='yes' out of <vfiomem:mapping>");
        return false;
    }
    vfm_log("the guest runs without the helper, and nothing guards its memory");
    return true;
}

int main(int argc, char **argv)
{
    g_autofree char *self = realpath("/proc/self/exe", NULL);
    g_autofree char *name = g_path_get_basename(argc > 0 ? argv[0] : "vfiomem-qemu");
    g_autofree char *target = NULL, *emulator = NULL;
    g_autoptr(GError) error = NULL;
    struct utsname host;

    uname(&host);
    target = vfm_emulator_target(name, host.machine);
    emulator = find_emulator(target, self ? self : "");
    if (!emulator) {
        g_printerr("vfiomem-qemu: %s: no such emulator beside vfiomem-qemu, in PATH or in /usr/libexec; install it, or "
                   "name it in VFIOMEM_QEMU or /etc/vfiomem/emulators\n",
                   target);
        return 127;
    }
    if (!prepare(self ? self : "", target, emulator, argv, &error)) {
        g_printerr("vfiomem-qemu: %s\n", error->message);
        return 1;
    }
    argv[0] = emulator;
    execv(emulator, argv);
    g_printerr("vfiomem-qemu: %s: %s\n", emulator, g_strerror(errno));
    return 127;
}
