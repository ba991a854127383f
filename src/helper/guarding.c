/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guarding.h"

#include "device_rewrite.h"
#include "devices_wire.h"
#include "emulator_devices.h"
#include "error.h"
#include "guard.h"
#include "host_read.h"
#include "log.h"
#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Refusals that are written to the log; what is refused more often says nothing new. */
#define LOGGED_REFUSALS 100

/* The process that maps opens and resets a device before it answers. */
#define DEVICES_ANSWER_MS 30000

typedef struct {
    VfmJournal *journal;
    int limits;          /* /proc/PID/limits of QEMU, -1: not readable */
    int devices;         /* to vfiomem-helper-devices in helper mode, else -1 */
    uint64_t requests;   /* to it, so far */
    unsigned timeout_ms; /* of a device's answers to QEMU */
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

/* One request to the process that maps, and its answer; to be freed. NULL if it is gone or does not answer in time. */
static char *ask_devices(Process *process, const char *request)
{
    gint64 until = g_get_monotonic_time() + DEVICES_ANSWER_MS * G_TIME_SPAN_MILLISECOND;
    g_autofree char *line = g_strdup_printf("%" G_GUINT64_FORMAT " %s\n", ++process->requests, request);
    g_autofree char *packet = g_malloc(VFM_DEVICES_LINE_MAX + 1);

    if (sendto(process->devices, line, strlen(line), MSG_NOSIGNAL, NULL, 0) < 0)
        return NULL;
    for (;;) {
        struct pollfd slot = {.fd = process->devices, .events = POLLIN};
        gint64 left = (until - g_get_monotonic_time()) / G_TIME_SPAN_MILLISECOND;
        char *end;
        ssize_t n;

        if (left <= 0 || (poll(&slot, 1, (int)left) < 0 && errno != EINTR))
            return NULL;
        if (!slot.revents)
            continue;
        n = recvfrom(process->devices, packet, VFM_DEVICES_LINE_MAX, 0, NULL, NULL);
        if (n <= 0)
            return NULL;
        packet[n] = '\0';
        /* Events, and answers to what was given up waiting for. */
        if (g_ascii_strtoull(packet, &end, 10) != process->requests || *end != ' ')
            continue;
        return g_strndup(end + 1, strcspn(end + 1, "\n"));
    }
}

static void forget_device(void *data, const char *socket)
{
    g_autofree char *request = g_strdup_printf("forget %s", socket);

    g_free(ask_devices(data, request));
}

static char *serve_device(void *data, const char *arguments, char **socket, GError **error)
{
    Process *process = data;
    g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(arguments, "driver", NULL);
    g_autofree char *address = NULL, *request = NULL, *answer = NULL, *replaced = NULL;

    if (!arg || !vfm_device_is_vfio_pci(arg))
        return NULL;
    address = vfm_device_host_address(arg, error);
    if (!address)
        return NULL;
    request = g_strdup_printf("add %s", address);
    answer = ask_devices(process, request);
    if (!answer || !g_str_has_prefix(answer, "socket ")) {
        g_set_error(error, VFM_REFUSED, VFM_REFUSED_STATE, "%s",
                    answer && g_str_has_prefix(answer, "error ") ? answer + strlen("error ")
                                                                 : "the helper that maps devices is gone");
        return NULL;
    }
    replaced = vfm_device_rewrite(arg, answer + strlen("socket "), process->timeout_ms, error);
    if (!replaced) {
        forget_device(process, answer + strlen("socket "));
        return NULL;
    }
    *socket = g_strdup(answer + strlen("socket "));
    return g_steal_pointer(&replaced);
}

static char *get_mapping(void *data)
{
    char *answer = ask_devices(data, "status");

    /* Its own words, but only as JSON. */
    if (answer && *answer != '{')
        g_clear_pointer(&answer, g_free);
    return answer;
}

VfmTalker *vfm_guarding_new(VfmJournal *journal, void *data)
{
    const VfmGuarding *guarding = data;
    g_autofree char *limits = g_strdup_printf("/proc/%d/limits", guarding->qemu_pid);
    g_autoptr(GError) error = NULL;
    Process *process = g_new0(Process, 1);
    VfmGuardHost host = {.balloon = get_balloon,
                         .set_balloon = set_balloon,
                         .noted = get_noted,
                         .memlock_limit = get_memlock,
                         .refused = count_refusal,
                         .facts = get_facts,
                         .qemu_version = get_version,
                         .data = process};
    VfmHost *machine = vfm_host_read("/", &error);

    if (!machine)
        vfm_log("negotiating without this machine's limits: %s", error->message);
    process->journal = journal;
    process->devices = guarding->devices;
    if (process->devices >= 0) {
        uint64_t ram;

        host.serve_device = serve_device;
        host.forget_device = forget_device;
        host.mapping = get_mapping;
        process->timeout_ms = vfm_emulator_timeout(vfm_emulator_shared_memory(guarding->argv, &ram, NULL) ? ram : 0);
    }
    process->limits = open(limits, O_RDONLY | O_CLOEXEC);
    return vfm_guard_new(guarding->argv, guarding->arch, &guarding->policy, machine, &host);
}
