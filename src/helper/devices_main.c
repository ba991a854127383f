/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfiomem-helper-devices: the part of the helper that maps, in a process of its
 * own, so that neither the mediator's crash nor its sandbox touches a device, and a
 * guest that maps nothing here pays nothing. Started by vfiomem-qemu before the
 * helper; ends with QEMU. docs/helper-mode.md explains it.
 *
 *   vfiomem-helper-devices --control-fd=N --ready-fd=N --qemu-pid=PID --folder=DIR [--policy=TEXT] ADDRESS...
 *
 * On the ready descriptor: one line "socket PATH" for each address in order and "ready", or "error TEXT".
 * What is said on the control socket to the mediator: devices_wire.h.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices_control.h"
#include "devices_sandbox.h"
#include "log.h"
#include "policy_text.h"

typedef struct {
    int control, ready, qemu_pid;
    char *folder, *policy;
    char **addresses;
} Options;

static bool read_options(int argc, char **argv, Options *options, GError **error)
{
    const GOptionEntry entries[] = {
        {"control-fd", 0, 0, G_OPTION_ARG_INT, &options->control, "socket to the mediator", "FD"},
        {"ready-fd", 0, 0, G_OPTION_ARG_INT, &options->ready, "where the sockets are told", "FD"},
        {"qemu-pid", 0, 0, G_OPTION_ARG_INT, &options->qemu_pid, "process that is or becomes QEMU", "PID"},
        {"folder", 0, 0, G_OPTION_ARG_FILENAME, &options->folder, "private folder for sockets", "DIR"},
        {"policy", 0, 0, G_OPTION_ARG_STRING, &options->policy, "the domain's policy", "TEXT"},
        {G_OPTION_REMAINING, 0, 0, G_OPTION_ARG_STRING_ARRAY, &options->addresses, "devices", "ADDRESS..."},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    g_autoptr(GOptionContext) context = g_option_context_new(NULL);

    *options = (Options){.control = -1, .ready = -1};
    g_option_context_set_summary(context, "Maps guest memory and serves devices to QEMU. Started by vfiomem-qemu.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    if (options->qemu_pid <= 0 || !options->folder || options->ready < 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                    "--ready-fd, --qemu-pid and --folder are needed; vfiomem-qemu gives them");
        return false;
    }
    return true;
}

static void serve(VfmDeviceServer *server, int control, int pidfd)
{
    g_autoptr(GArray) slots = g_array_new(false, false, sizeof(struct pollfd));
    VfmDevicesControl requests = {0};
    bool qemu_lives = true;

    while (qemu_lives) {
        struct pollfd slot = {.fd = pidfd, .events = POLLIN};

        g_array_set_size(slots, 0);
        g_array_append_val(slots, slot);
        slot.fd = control; /* -1 is passed over */
        g_array_append_val(slots, slot);
        vfm_device_server_watch(server, slots);
        if (poll((struct pollfd *)(void *)slots->data, slots->len, -1) < 0 && errno != EINTR)
            return;
        for (unsigned i = 0; i < slots->len; i++) {
            const struct pollfd *ready = &g_array_index(slots, struct pollfd, i);

            if (!ready->revents)
                continue;
            if (i == 0)
                qemu_lives = false;
            else if (i == 1) {
                if (!vfm_devices_control_serve(&requests, control, server))
                    control = -1; /* events go to nobody then; closing would make the number somebody else's */
            } else {
                vfm_device_server_ready(server, ready->fd);
            }
        }
    }
}

static void notice(const char *action, const char *device, const char *text, gpointer data)
{
    vfm_devices_control_tell(GPOINTER_TO_INT(data), action, device, text);
}

static bool tell(int fd, const char *format, ...) G_GNUC_PRINTF(2, 3);

static bool tell(int fd, const char *format, ...)
{
    va_list args;
    int n;

    va_start(args, format);
    n = vdprintf(fd, format, args);
    va_end(args);
    return n >= 0;
}

static bool start(VfmDeviceServer *server, const Options *options)
{
    g_autoptr(GString) lines = g_string_new(NULL);

    for (char **address = options->addresses; address && *address; address++) {
        g_autoptr(GError) error = NULL;
        const char *path = vfm_device_server_add(server, *address, &error);

        if (!path) {
            tell(options->ready, "error %s\n", error->message);
            return false;
        }
        g_string_append_printf(lines, "socket %s\n", path);
    }
    return tell(options->ready, "%sready\n", lines->str);
}

int main(int argc, char **argv)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    g_autoptr(VfmDeviceServer) server = NULL;
    g_autoptr(GError) error = NULL;
    VfmPolicy policy = {.backend = VFM_BACKEND_AUTO};
    Options options;
    int pidfd;

    if (!read_options(argc, argv, &options, &error)) {
        g_printerr("vfiomem-helper-devices: %s\n", error->message);
        return 2;
    }
    policy.windows = g_array_new(false, false, sizeof(VfmWindow));
    if (options.policy && !vfm_policy_from_text(&policy, options.policy, &error)) {
        tell(options.ready, "error %s\n", error->message);
        return 2;
    }
    /* The guest's end is QEMU's to announce: only QEMU's death ends us. */
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(0077);
    pidfd = (int)syscall(SYS_pidfd_open, options.qemu_pid, 0);
    if (pidfd < 0) {
        tell(options.ready, "error no notice of QEMU's end: pidfd_open: %s; Linux 5.3 or newer is needed\n",
             g_strerror(errno));
        return 1;
    }
    if (!vfm_devices_sandbox_enter(&error))
        vfm_log("the sandbox of vfiomem-helper-devices is incomplete: %s", error->message);
    server = vfm_device_server_new(&(VfmDeviceServerOptions){.folder = options.folder,
                                                             .qemu_pid = options.qemu_pid,
                                                             .policy = &policy,
                                                             .notice = notice,
                                                             .notice_data = GINT_TO_POINTER(options.control)});
    if (start(server, &options)) {
        close(options.ready);
        serve(server, options.control, pidfd);
    }
    g_clear_pointer(&server, vfm_device_server_free);
    rmdir(options.folder);
    g_array_unref(policy.windows);
    return 0;
}
