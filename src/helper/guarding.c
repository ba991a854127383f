/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guarding.h"

#include "guard.h"
#include "host_read.h"
#include "log.h"
#include "plan.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Refusals that are written to the log; what is refused more often says nothing new. */
#define LOGGED_REFUSALS 100

typedef struct {
    VfmJournal *journal;
    int limits; /* /proc/PID/limits of QEMU, -1: not readable */
} Process;

static VfmBalloonPolicy get_balloon(void *data)
{
    return (VfmBalloonPolicy)vfm_journal_state(((Process *)data)->journal)->balloon;
}

static void set_balloon(void *data, VfmBalloonPolicy policy)
{
    VfmJournal *journal = ((Process *)data)->journal;

    vfm_journal_begin(journal)->balloon = (uint8_t)policy;
    vfm_journal_commit(journal);
}

static uint64_t get_noted(void *data)
{
    return vfm_journal_state(((Process *)data)->journal)->noted;
}

/* libvirt changes it while the guest runs (prlimit before a hot-plug), so it is read each time. */
static VfmMaybe get_memlock(void *data)
{
    char text[4096], *line;
    int fd = ((Process *)data)->limits;
    ssize_t n = fd >= 0 ? pread(fd, text, sizeof(text) - 1, 0) : -1;
    guint64 value;

    if (n <= 0)
        return VFM_NONE;
    text[n] = '\0';
    line = strstr(text, "\nMax locked memory");
    if (!line || sscanf(line, "\nMax locked memory %" G_GUINT64_FORMAT, &value) != 1)
        return VFM_NONE; /* "unlimited" */
    return VFM_SOME(value);
}

static void count_refusal(void *data, const char *command, const char *why)
{
    VfmJournal *journal = ((Process *)data)->journal;
    VfmJournalState *next = vfm_journal_begin(journal);

    if (next->refusals++ < LOGGED_REFUSALS)
        vfm_log("refused %s: %s", command, why);
    vfm_journal_commit(journal);
}

static void get_facts(void *data, VfmGuardFacts *facts)
{
    VfmJournal *journal = ((Process *)data)->journal;
    const VfmJournalState *state = vfm_journal_state(journal);

    facts->restarts = journal->shared->restarts;
    facts->clients = state->clients;
    facts->refusals = state->refusals;
    facts->level = journal->shared->level == VFM_LEVEL_FULL ? "full" : "relay";
}

/* {"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, ... */
static unsigned get_version(void *data)
{
    VfmJournal *journal = ((Process *)data)->journal;
    uint32_t length = vfm_journal_state(journal)->greeting_length;
    g_autofree char *text = g_strndup(journal->shared->greeting, length);
    static const char *const keys[] = {"\"major\":", "\"minor\":", "\"micro\":"};
    unsigned parts[3] = {0};

    for (int i = 0; i < 3; i++) {
        const char *at = strstr(text, keys[i]);

        if (!at || sscanf(at + strlen(keys[i]), "%u", &parts[i]) != 1)
            return 0;
    }
    return VFM_VERSION(parts[0], parts[1], parts[2]);
}

VfmTalker *vfm_guarding_new(VfmJournal *journal, void *data)
{
    const VfmGuarding *guarding = data;
    g_autofree char *limits = g_strdup_printf("/proc/%d/limits", guarding->qemu_pid);
    g_autoptr(GError) error = NULL;
    Process *process = g_new0(Process, 1);
    VfmGuardHost host = {get_balloon,   set_balloon, get_noted,   get_memlock,
                         count_refusal, get_facts,   get_version, process};
    VfmHost *machine = vfm_host_read("/", &error);

    if (!machine)
        vfm_log("negotiating without this machine's limits: %s", error->message);
    process->journal = journal;
    process->limits = open(limits, O_RDONLY | O_CLOEXEC);
    return vfm_guard_new(guarding->argv, guarding->arch, &guarding->policy, machine, &host);
}
