/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "supervisor.h"

#include "log.h"
#include "sandbox.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Crashes over one message before workers do less, and crashes without any progress before we wait between them. */
#define CRASHES_PER_LEVEL 3
#define CRASHES_IN_A_ROW 20
#define WAIT_US 100000

static int work(VfmJournal *journal, const VfmSockets *sockets, VfmTalkerNew talker_new, void *data)
{
    g_autoptr(GError) error = NULL;
    VfmTalker *talker = NULL;

    vfm_flow_recover(journal, sockets);
    if (talker_new && journal->shared->level == VFM_LEVEL_FULL)
        talker = talker_new(journal, data);
    if (!vfm_sandbox_enter(&error) && journal->shared->restarts == 0)
        vfm_log("the sandbox is incomplete: %s", error->message);
    return vfm_worker_run(journal, sockets, talker);
}

/* After a crash: what should change. SIGKILL comes from outside and says nothing about the message. */
static void judge(VfmJournal *journal, int status, uint64_t *last_messages, unsigned *over_message, unsigned *in_a_row)
{
    static const char *const next[] = {"it now only relays messages, without guard and own commands",
                                       "it now passes bytes on unseen"};
    VfmShared *shared = journal->shared;
    uint64_t messages = vfm_journal_state(journal)->messages;
    bool progress = messages != *last_messages;
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;

    *last_messages = messages;
    *in_a_row = progress ? 0 : *in_a_row + 1;
    if (!killed)
        *over_message = progress ? 1 : *over_message + 1;
    if (*over_message >= CRASHES_PER_LEVEL && shared->level < VFM_LEVEL_RAW) {
        vfm_log("the mediator failed %u times over one message: %s", *over_message, next[shared->level]);
        shared->level++;
        *over_message = 0;
    }
    if (shared->restarts++ < 10)
        vfm_log("the mediator's worker ended (%s %d); another one goes on where it was",
                WIFSIGNALED(status) ? "signal" : "status",
                WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    shared->busy = 0;
    if (*in_a_row >= CRASHES_IN_A_ROW)
        g_usleep(WAIT_US);
}

/* QEMU's end is the end of all this, even if no worker gets as far as passing on its last words. */
static bool qemu_is_gone(const VfmJournal *journal, const VfmSockets *sockets)
{
    struct pollfd slot = {.fd = sockets->pidfd, .events = POLLIN};

    return vfm_journal_state(journal)->qemu_ended || (poll(&slot, 1, 0) == 1 && (slot.revents & POLLIN));
}

int vfm_supervisor_run(VfmJournal *journal, const VfmSockets *sockets, VfmTalkerNew talker_new, void *data)
{
    uint64_t last_messages = 0;
    unsigned over_message = 0, in_a_row = 0;

    for (;;) {
        /* Not fork: the table of descriptors is shared, everything else is a copy. */
        pid_t pid = (pid_t)syscall(SYS_clone, CLONE_FILES | SIGCHLD, NULL, NULL, NULL, NULL);
        int status;

        if (pid == 0)
            _exit(work(journal, sockets, talker_new, data));
        if (pid < 0) {
            vfm_log("no process for the mediator: %s; trying again", g_strerror(errno));
            g_usleep(WAIT_US);
            continue;
        }
        while (waitpid(pid, &status, 0) < 0)
            if (errno != EINTR)
                return 1;
        if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
            return 0;
        judge(journal, status, &last_messages, &over_message, &in_a_row);
        if (in_a_row >= CRASHES_IN_A_ROW && qemu_is_gone(journal, sockets)) {
            vfm_log("QEMU has ended, and the mediator failed %u times over its last words: they are given up",
                    in_a_row);
            return 1;
        }
    }
}
