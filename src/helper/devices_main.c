/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfiomem-helper-devices: the part of the helper that maps, in a process of its
 * own, so that neither the mediator's crash nor its sandbox touches a device, and a
 * guest that maps nothing here pays nothing. Started by vfiomem-qemu before the
 * helper; ends with QEMU. Two processes: a supervisor, and a worker that may die at any time, whose successor goes on
 * where it was (devices_state.h). docs/helper-mode.md explains it.
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "devices_sandbox.h"
#include "devices_state.h"
#include "devices_supervisor.h"
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

typedef struct {
    Options options;
    VfmPolicy policy;
    VfmDevicesState *state;
    int pidfd;
} Job;

static void serve(VfmDeviceServer *server, const Job *job)
{
    g_autoptr(GArray) slots = g_array_new(false, false, sizeof(struct pollfd));
    VfmDevicesShared *shared = job->state->shared;
    int control = job->options.control;
    bool qemu_lives = true;

    while (qemu_lives) {
        struct pollfd slot = {.fd = job->pidfd, .events = POLLIN};
        bool pending = vfm_devices_control_pending(&shared->control);
        bool waits = vfm_devices_control_waits(&shared->control);

        g_array_set_size(slots, 0);
        g_array_append_val(slots, slot);
        /* -1 is passed over. When the mediator is gone events go to nobody; closing would make the number somebody
         * else's. */
        slot.fd = shared->control.ended ? -1 : control;
        slot.events = waits ? POLLOUT : POLLIN;
        g_array_append_val(slots, slot);
        vfm_device_server_watch(server, slots);
        if (poll((struct pollfd *)(void *)slots->data, slots->len, pending ? 0 : -1) < 0) {
            if (errno == EINTR)
                continue;
            /* Returning would be the guest's end: its devices would be taken away. A successor may have more luck. */
            vfm_log("waiting for QEMU and the mediator failed: %s", g_strerror(errno));
            abort();
        }
        for (unsigned i = 0; i < slots->len; i++) {
            const struct pollfd *ready = &g_array_index(slots, struct pollfd, i);

            if (i == 1 ? !ready->revents && !pending : !ready->revents)
                continue;
            if (i == 0) {
                qemu_lives = false;
                vfm_device_server_cut(server);
            } else if (i == 1) {
                vfm_devices_control_serve(&shared->control, control, server);
                shared->progress++;
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

static bool is_named_before(char *const *addresses, char *const *address)
{
    for (char *const *before = addresses; before != address; before++)
        if (strcmp(*before, *address) == 0)
            return true;
    return false;
}

/* Has all devices served and says so. A predecessor may have come as far as anywhere in here. */
static bool start(VfmDeviceServer *server, const Job *job)
{
    g_autoptr(GString) lines = g_string_new(NULL);
    char **addresses = job->options.addresses;
    int ready = job->options.ready;

    for (char **address = addresses; address && *address; address++) {
        g_autoptr(GError) error = NULL;
        const char *path = NULL;

        if (is_named_before(addresses, address))
            g_set_error(&error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "%s is named twice", *address);
        else
            path = vfm_device_server_add(server, *address, &error);
        if (!path) {
            tell(ready, "error %s\n", error->message);
            return false;
        }
        g_string_append_printf(lines, "socket %s\n", path);
    }
    if (!tell(ready, "%sready\n", lines->str))
        return false;
    job->state->shared->started = 1;
    close(ready);
    return true;
}

/* A worker's life. */
static int work(gpointer data)
{
    const Job *job = data;
    VfmDevicesShared *shared = job->state->shared;
    g_autoptr(VfmDeviceServer) server = NULL;
    g_autoptr(GError) error = NULL;

    if (!vfm_devices_sandbox_enter(job->options.folder, &error) && shared->restarts == 0)
        vfm_log("the sandbox of vfiomem-helper-devices is incomplete: %s", error->message);
    vfm_devices_state_recover(job->state);
    if (shared->restarts > 0)
        notice(VFM_DEVICES_RESTARTED, NULL, "the process that maps ended and another one goes on where it was",
               GINT_TO_POINTER(job->options.control));
    server = vfm_device_server_new(&(VfmDeviceServerOptions){.folder = job->options.folder,
                                                             .qemu_pid = job->options.qemu_pid,
                                                             .policy = &job->policy,
                                                             .state = job->state,
                                                             .notice = notice,
                                                             .notice_data = GINT_TO_POINTER(job->options.control)});
    if (shared->started || start(server, job))
        serve(server, job);
    return 0;
}

static void give_up(gpointer data)
{
    const Job *job = data;

    /* What workers wrote is read here once more, and may be what they died of. */
    vfm_devices_sandbox_enter(job->options.folder, NULL);
    vfm_devices_state_give_up(job->state);
    if (!job->state->shared->started)
        tell(job->options.ready, "error the process that maps crashed again and again while it attached the devices\n");
}

/* Each message of QEMU's that maps memory has a descriptor, and hundreds of them may wait. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = MIN(limit.rlim_max, 65536);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static int supervise(Job *job)
{
    VfmDevicesSupervision supervision = {.journals = job->state->journals,
                                         .n_journals = VFM_DEVICE_SLOTS,
                                         .progress = &job->state->shared->progress,
                                         .restarts = &job->state->shared->restarts,
                                         .pidfd = job->pidfd,
                                         .work = work,
                                         .give_up = give_up,
                                         .data = job};
    bool well = vfm_devices_supervise(&supervision);

    rmdir(job->options.folder);
    return well ? 0 : 1;
}

int main(int argc, char **argv)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    g_autoptr(GError) error = NULL;
    Job job = {.policy = {.backend = VFM_BACKEND_AUTO}};
    int status;

    if (!read_options(argc, argv, &job.options, &error)) {
        g_printerr("vfiomem-helper-devices: %s\n", error->message);
        return 2;
    }
    job.policy.windows = g_array_new(false, false, sizeof(VfmWindow));
    if (job.options.policy && !vfm_policy_from_text(&job.policy, job.options.policy, &error)) {
        tell(job.options.ready, "error %s\n", error->message);
        return 2;
    }
    /* The guest's end is QEMU's to announce: only QEMU's death ends us. */
    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        signal(ignored[i], SIG_IGN);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    umask(0077);
    raise_descriptor_limit();
    job.pidfd = (int)syscall(SYS_pidfd_open, job.options.qemu_pid, 0);
    if (job.pidfd < 0) {
        tell(job.options.ready, "error no notice of QEMU's end: pidfd_open: %s; Linux 5.3 or newer is needed\n",
             g_strerror(errno));
        return 1;
    }
    job.state = vfm_devices_state_new(job.options.ready, &error);
    if (!job.state) {
        tell(job.options.ready, "error %s\n", error->message);
        return 1;
    }
    status = supervise(&job);
    vfm_devices_state_free(job.state);
    g_array_unref(job.policy.windows);
    g_free(job.options.folder);
    g_free(job.options.policy);
    g_strfreev(job.options.addresses);
    return status;
}
