/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guarding.h"

#include "device_rewrite.h"
#include "emulator_devices.h"
#include "error.h"
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

G_STATIC_ASSERT((unsigned)VFM_GUARD_REMEMBERED == VFM_BACK_ENDS_MAX);

typedef struct {
    VfmJournal *journal;
    int limits;          /* /proc/PID/limits of QEMU, -1: not readable */
    bool helper;         /* helper mode */
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
    if (((Process *)data)->helper)
        facts->devices = state->devices_ended ? "gone" : "serving";
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

static void remember(void *data, VfmAssignedKind kind, const char *id, const char *address)
{
    VfmJournal *journal = ((Process *)data)->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    unsigned entry = state->back_end_next % VFM_BACK_ENDS_MAX;
    VfmJournalState *next;

    for (unsigned i = 0; i < VFM_BACK_ENDS_MAX; i++)
        if (state->back_ends >> i & 1 && strcmp(journal->shared->back_ends[i].id, id) == 0 &&
            journal->shared->back_ends[i].kind == kind)
            entry = i;
    /* It does not count while it is written. */
    next = vfm_journal_begin(journal);
    next->back_ends &= ~(1u << entry);
    vfm_journal_commit(journal);
    journal->shared->back_ends[entry].kind = kind;
    g_strlcpy(journal->shared->back_ends[entry].id, id, sizeof(journal->shared->back_ends[entry].id));
    g_strlcpy(journal->shared->back_ends[entry].address, address ? address : "",
              sizeof(journal->shared->back_ends[entry].address));
    next = vfm_journal_begin(journal);
    next->back_ends |= 1u << entry;
    next->back_end_next += entry == next->back_end_next % VFM_BACK_ENDS_MAX;
    vfm_journal_commit(journal);
}

static bool remembered(void *data, unsigned index, VfmAssignedKind *kind, const char **id, const char **address)
{
    VfmJournal *journal = ((Process *)data)->journal;
    const VfmBackEnd *back_end = &journal->shared->back_ends[index];

    if (index >= VFM_BACK_ENDS_MAX || !(vfm_journal_state(journal)->back_ends >> index & 1))
        return false;
    *kind = (VfmAssignedKind)back_end->kind;
    *id = back_end->id;
    *address = *back_end->address ? back_end->address : NULL;
    return true;
}

static char *host_address(void *data, const char *arguments, GError **error)
{
    g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(arguments, "driver", NULL);

    return arg && vfm_device_is_vfio_pci(arg) ? vfm_device_host_address(arg, error) : NULL;
}

static char *replace_device(void *data, const char *arguments, const char *socket, GError **error)
{
    g_autoptr(VfmDeviceArg) arg = vfm_device_arg_parse(arguments, "driver", error);

    return arg ? vfm_device_rewrite(arg, socket, ((Process *)data)->timeout_ms, error) : NULL;
}

static VfmDeviceEntry *find_device(VfmJournal *journal, const char *id, const char *socket, unsigned *entry)
{
    for (*entry = 0; *entry < VFM_DEVICES_MAX; ++*entry) {
        VfmDeviceEntry *device = &journal->shared->devices[*entry];

        if (vfm_device_set_has(&vfm_journal_state(journal)->devices, *entry) &&
            ((id && strcmp(device->id, id) == 0) || g_strcmp0(device->socket, socket) == 0))
            return device;
    }
    return NULL;
}

/* Outside of a change of state: said again by whoever takes this talk over, and only shown. */
static void plugged(void *data, const char *socket, const char *id)
{
    unsigned entry;
    VfmDeviceEntry *device = find_device(((Process *)data)->journal, NULL, socket, &entry);

    if (device)
        g_strlcpy(device->id, id ? id : "", sizeof(device->id));
}

static bool served(void *data, const char *id, const char *socket, VfmGuardServed *out)
{
    VfmJournal *journal = ((Process *)data)->journal;
    const VfmJournalState *state = vfm_journal_state(journal);
    unsigned entry;
    const VfmDeviceEntry *device = find_device(journal, id, socket, &entry);

    if (!device)
        return false;
    *out = (VfmGuardServed){.address = device->address,
                            .held = vfm_device_set_has(&state->held, entry),
                            .lost = vfm_device_set_has(&state->lost, entry)};
    return true;
}

/* Of devices that the start named; NULL: not one of them. */
static const char *id_at_start(const GPtrArray *start, const char *socket)
{
    for (guint i = 0; i < start->len; i++) {
        const VfmAssigned *assigned = start->pdata[i];

        if (g_strcmp0(assigned->address, socket) == 0)
            return assigned->alias;
    }
    return NULL;
}

static bool has_id(const GPtrArray *now, const char *id)
{
    for (guint i = 0; i < now->len; i++)
        if (g_strcmp0(((const VfmAssigned *)now->pdata[i])->alias, id) == 0)
            return true;
    return false;
}

static void present(void *data, const GPtrArray *now, const GPtrArray *start)
{
    VfmJournal *journal = ((Process *)data)->journal;
    VfmDeviceSet left = vfm_journal_state(journal)->devices;
    bool changed = false;

    for (unsigned i = 0; i < VFM_DEVICES_MAX; i++) {
        const VfmDeviceEntry *device = &journal->shared->devices[i];
        const char *id = *device->id ? device->id : id_at_start(start, device->socket);

        if (!vfm_device_set_has(&left, i) || !vfm_device_set_has(&vfm_journal_state(journal)->lost, i))
            continue;
        /* Of one without an id nobody can tell. */
        if (!id || has_id(now, id))
            continue;
        vfm_device_set_put(&left, i, false);
        changed = true;
    }
    if (!changed)
        return;
    vfm_journal_begin(journal)->devices = left;
    vfm_journal_commit(journal);
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
                         .remember = remember,
                         .remembered = remembered,
                         .data = process};
    VfmHost *machine = vfm_host_read("/", &error);

    if (!machine)
        vfm_log("negotiating without this machine's limits: %s", error->message);
    process->journal = journal;
    process->helper = guarding->devices >= 0;
    if (process->helper) {
        uint64_t ram;

        host.host_address = host_address;
        host.replace_device = replace_device;
        host.plugged = plugged;
        host.served = served;
        host.present = present;
        process->timeout_ms = vfm_emulator_timeout(vfm_emulator_shared_memory(guarding->argv, &ram, NULL) ? ram : 0);
    }
    process->limits = open(limits, O_RDONLY | O_CLOEXEC);
    return vfm_guard_new(guarding->argv, guarding->arch, &guarding->policy, machine, &host);
}
