/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * vfiomem-helper: the process beside QEMU. Started by vfiomem-qemu with the
 * monitor's listening socket, one end of a socket pair whose other end QEMU
 * has, and QEMU's arguments; ends with QEMU. See docs/mediator.md.
 */
#include "emulator_policy.h"
#include "error.h"
#include "guarding.h"
#include "log.h"
#include "supervisor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Descriptors that may be in flight at once in all streams, and some: vfm_flow_recover() looks at each number. */
#define NOFILE 4096

typedef struct {
    VfmSockets sockets;
    int ready;
    VfmGuarding guarding;
} Options;

static bool read_options(int argc, char **argv, Options *options, GError **error)
{
    int listener = -1, monitor = -1, ready = -1, devices = -1, pid = 0;
    char *arch = NULL;
    const GOptionEntry entries[] = {
        {"listen-fd", 0, 0, G_OPTION_ARG_INT, &listener, "listening socket of the monitor", "FD"},
        {"monitor-fd", 0, 0, G_OPTION_ARG_INT, &monitor, "socket to QEMU's monitor", "FD"},
        {"devices-fd", 0, 0, G_OPTION_ARG_INT, &devices, "socket to vfiomem-helper-devices", "FD"},
        {"arch", 0, 0, G_OPTION_ARG_STRING, &arch, "QEMU's target", "NAME"},
        {"ready-fd", 0, 0, G_OPTION_ARG_INT, &ready, "written to and closed when all is ready", "FD"},
        {"qemu-pid", 0, 0, G_OPTION_ARG_INT, &pid, "process that is or becomes QEMU", "PID"},
        {NULL, 0, 0, G_OPTION_ARG_NONE, NULL, NULL, NULL},
    };
    char **rest;
    g_autoptr(GOptionContext) context = g_option_context_new("-- QEMU's arguments");

    g_option_context_set_summary(context, "Mediates between libvirt and QEMU's monitor. Started by vfiomem-qemu.");
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, error))
        return false;
    rest = argv + 1;
    if (*rest && strcmp(*rest, "--") == 0)
        rest++;
    if (listener < 0 || monitor < 0 || pid <= 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                    "--listen-fd, --monitor-fd and --qemu-pid are needed; vfiomem-qemu gives them");
        return false;
    }
    *options = (Options){.sockets = {.listener = listener, .qemu = monitor, .pidfd = -1, .devices = devices},
                         .ready = ready,
                         .guarding = {.argv = rest, .qemu_pid = pid, .arch = arch, .devices = devices}};
    return true;
}

static void settle_in(Options *options)
{
    /* The guest's end is QEMU's to announce: only QEMU's death ends us. */
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1, SIGUSR2};
    struct rlimit limit;

    for (size_t i = 0; i < G_N_ELEMENTS(ignored); i++)
        signal(ignored[i], SIG_IGN);
    signal(SIGCHLD, SIG_DFL);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = MIN(limit.rlim_max, NOFILE);
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (chdir("/") < 0)
        vfm_log("chdir to /: %s", g_strerror(errno));
    options->sockets.pidfd = (int)syscall(SYS_pidfd_open, options->guarding.qemu_pid, 0);
    if (options->sockets.pidfd < 0)
        vfm_log("no notice of QEMU's end (pidfd: %s); the end of its monitor has to do", g_strerror(errno));
}

static void tell_ready(int fd)
{
    if (fd < 0)
        return;
    if (write(fd, "", 1) < 0)
        vfm_log("tell vfiomem-qemu that the helper is ready: %s", g_strerror(errno));
    close(fd);
}

int main(int argc, char **argv)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmJournal) journal = NULL;
    Options options;

    if (!read_options(argc, argv, &options, &error)) {
        g_printerr("vfiomem-helper: %s\n", error->message);
        return 2;
    }
    settle_in(&options);
    journal = vfm_journal_new(&error);
    if (!journal) {
        g_printerr("vfiomem-helper: %s\n", error->message);
        return 1;
    }
    if (!vfm_emulator_policy(&options.guarding.policy, options.guarding.argv, &error)) {
        /* vfiomem-qemu would not have come this far. */
        g_printerr("vfiomem-helper: %s\n", error->message);
        return 1;
    }
    vfm_journal_begin(journal)->balloon = (uint8_t)options.guarding.policy.balloon;
    vfm_journal_commit(journal);
    tell_ready(options.ready);
    return vfm_supervisor_run(journal, &options.sockets, vfm_guarding_new, &options.guarding);
}
