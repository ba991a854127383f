/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "devices_supervisor.h"

#include "log.h"
#include "vfu_session.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOGGED_RESTARTS = 10, HASTY_RESTARTS = 20, WAIT_US = 100000 };

static void note_crash(int signal_number)
{
    vfm_vfu_session_note_crash();
    raise(signal_number);
}

/* Whose crash it was can only be told from within. What somebody else handles (AddressSanitizer) is left to them. */
static void watch_crashes(void)
{
    static const int deadly[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGTRAP, SIGSYS};
    const struct sigaction action = {.sa_handler = note_crash, .sa_flags = (int)SA_RESETHAND | SA_NODEFER};
    struct sigaction before;

    for (size_t i = 0; i < G_N_ELEMENTS(deadly); i++)
        if (sigaction(deadly[i], NULL, &before) == 0 && before.sa_handler == SIG_DFL)
            sigaction(deadly[i], &action, NULL);
}

/* A clone that shares the table of descriptors and nothing else but memory that is shared anyway. */
static pid_t clone_files(void)
{
    return (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
}

static bool wait_for(pid_t pid, int *status)
{
    while (waitpid(pid, status, 0) < 0)
        if (errno != EINTR)
            return false;
    return true;
}

/* Something that differs whenever anything was done. */
static uint64_t progress_of(const VfmDevicesSupervision *supervision)
{
    uint64_t sum = supervision->progress ? *supervision->progress : 0;

    for (unsigned i = 0; i < supervision->n_journals; i++) {
        const VfmVfuState *state = vfm_vfu_journal_state(supervision->journals[i]);

        sum += state->received + state->sent + state->done + state->phase + state->fate;
    }
    return sum;
}

/* The connections over whose messages a worker crashed: the one whose thread said so, else all that were busy. */
static void blame(const VfmDevicesSupervision *supervision)
{
    bool told = false;

    for (unsigned i = 0; i < supervision->n_journals; i++)
        told |= *vfm_vfu_journal_crash_note(supervision->journals[i]) != 0;
    for (unsigned i = 0; i < supervision->n_journals; i++) {
        VfmVfuJournal *journal = supervision->journals[i];

        if (told ? *vfm_vfu_journal_crash_note(journal) != 0 : vfm_vfu_journal_busy(journal))
            vfm_vfu_journal_blame(journal);
    }
}

static bool qemu_is_gone(int pidfd)
{
    struct pollfd slot = {.fd = pidfd, .events = POLLIN};

    return pidfd >= 0 && poll(&slot, 1, 0) == 1 && (slot.revents & POLLIN);
}

static void give_up(const VfmDevicesSupervision *supervision, unsigned crashes)
{
    pid_t pid;
    int status;

    vfm_log("serving devices crashed %u times without getting anything done: they are silenced and given up", crashes);
    pid = clone_files();
    if (pid == 0) {
        supervision->give_up(supervision->data);
        _exit(0);
    }
    if (pid > 0)
        wait_for(pid, &status);
}

bool vfm_devices_supervise(const VfmDevicesSupervision *supervision)
{
    uint64_t last = progress_of(supervision);
    unsigned crashes = 0, hasty = 0;

    for (;;) {
        pid_t pid = clone_files();
        uint64_t now;
        int status;

        if (pid == 0) {
            watch_crashes();
            _exit(supervision->work(supervision->data));
        }
        if (pid < 0) {
            vfm_log("no process to serve devices: %s; trying again", g_strerror(errno));
            g_usleep(WAIT_US);
            continue;
        }
        if (!wait_for(pid, &status))
            return false;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return true;
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
            blame(supervision);
            crashes++;
        }
        now = progress_of(supervision);
        hasty = now == last ? hasty + 1 : 0;
        crashes = now == last ? crashes : 0;
        last = now;
        if (crashes >= VFM_DEVICES_CRASHES_IN_A_ROW ||
            (crashes >= VFM_VFU_CRASHES && qemu_is_gone(supervision->pidfd))) {
            give_up(supervision, crashes);
            return false;
        }
        if ((*supervision->restarts)++ < LOGGED_RESTARTS)
            vfm_log("the process that serves devices ended (%s %d); another one goes on where it was",
                    WIFSIGNALED(status) ? "signal" : "status",
                    WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
        if (hasty >= HASTY_RESTARTS)
            g_usleep(WAIT_US);
    }
}
