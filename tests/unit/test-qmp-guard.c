/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Each guarded command against a QEMU that is a list of answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "arguments.h"
#include "guard.h"
#include "monitor_read.h"
#include "plan.h"
#include "reply.h"

#define GIB (UINT64_C(1) << 30)

typedef struct {
    VfmBalloonPolicy balloon;
    VfmMaybe memlock;
    uint64_t noted;
    unsigned refusals;
    bool helper;             /* helper mode */
    bool gone;               /* the process that maps is gone */
    const char *serve_error; /* what it answers instead of a socket; "": nothing */
    char *forgotten;         /* socket QEMU did not take */
    char *plugged;           /* socket and id of a device it took */
    unsigned adds;
    char *remembered;  /* kind, id and address of a back end */
    const char *found; /* a checkpoint at the begin */
    char *keep;        /* the last checkpoint */
} Process;

static VfmBalloonPolicy get_balloon(void *data)
{
    return ((Process *)data)->balloon;
}

static void set_balloon(void *data, VfmBalloonPolicy policy)
{
    ((Process *)data)->balloon = policy;
}

static VfmMaybe get_memlock(void *data)
{
    return ((Process *)data)->memlock;
}

static uint64_t get_noted(void *data)
{
    return ((Process *)data)->noted;
}

static void refused(void *data, const char *command, const char *why)
{
    ((Process *)data)->refusals++;
}

static void facts(void *data, VfmGuardFacts *out)
{
    out->refusals = ((Process *)data)->refusals;
    out->devices = ((Process *)data)->gone ? "gone" : "serving";
}

static unsigned version(void *data)
{
    return VFM_VERSION(7, 2, 22);
}

static void remember(void *data, VfmAssignedKind kind, const char *id, const char *address)
{
    g_free(((Process *)data)->remembered);
    ((Process *)data)->remembered = g_strdup_printf("%s %s %s", vfm_assigned_kind_name(kind), id, address);
}

static bool remembered(void *data, unsigned index, VfmAssignedKind *kind, const char **id, const char **address)
{
    const char *text = ((Process *)data)->remembered;

    *kind = text && g_str_has_prefix(text, "nvme") ? VFM_ASSIGNED_NVME : VFM_ASSIGNED_VDPA;
    *id = *kind == VFM_ASSIGNED_NVME ? "n0" : "net1";
    *address = *kind == VFM_ASSIGNED_NVME ? "0000:05:00.0" : "/dev/vhost-vdpa-1";
    return text && index == 3;
}

static char *host_address(void *data, const char *text, GError **error)
{
    return strstr(text, "vfio-pci") ? g_strdup("0000:43:00.0") : NULL;
}

static char *replace_device(void *data, const char *text, const char *socket, GError **error)
{
    if (strstr(text, "x-vga")) {
        g_set_error_literal(error, g_quark_from_static_string("test"), 1, "no x-vga");
        return NULL;
    }
    return g_strdup_printf("{\"driver\": \"vfio-user-pci\", \"socket\": {\"path\": \"%s\"}}", socket);
}

static void plugged(void *data, const char *socket, const char *id)
{
    g_free(((Process *)data)->plugged);
    ((Process *)data)->plugged = g_strdup_printf("%s %s", socket, id);
}

static bool served(void *data, const char *id, const char *socket, VfmGuardServed *out)
{
    *out = (VfmGuardServed){.address = "0000:43:00.0", .held = true};
    return g_strcmp0(socket, "/run/3.sock") == 0;
}

/* What QEMU says. */
typedef struct {
    const char *status, *peripheral, *memory, *memdev, *balloon;
    bool refuses_devices;
    const char *network, *node; /* "info network", "info block -n" */
} Qemu;

static const Qemu running = {
    .status = "{\"status\": \"running\", \"running\": true}",
    .peripheral = "[{\"name\": \"vm0\", \"type\": \"child<virtio-mem-pci>\"}, {\"name\": \"hostdev0\", \"type\": "
                  "\"child<vfio-pci>\"}, {\"name\": \"type\", \"type\": \"string\"}]",
    .memory = "[{\"type\": \"virtio-mem\", \"data\": {\"memdev\": \"/objects/mem0\", \"memaddr\": 4294967296, "
              "\"block-size\": 2097152, \"size\": 0, \"node\": 0, \"max-size\": 1073741824, \"requested-size\": 0, "
              "\"id\": \"vm0\"}}]",
    .memdev = "[{\"id\": \"mem0\", \"size\": 1073741824}, {\"id\": \"big\", \"size\": 2147483648}]",
    .balloon = "{\"actual\": 268435456}",
};

static const char *const arguments[] = {"-machine",
                                        "pc-q35-7.2,accel=tcg",
                                        "-m",
                                        "size=262144k,slots=4,maxmem=8388608k",
                                        "-object",
                                        "{\"qom-type\":\"memory-backend-ram\",\"id\":\"mem0\",\"size\":1073741824}",
                                        "-device",
                                        "{\"driver\":\"virtio-mem-pci\",\"id\":\"vm0\",\"memdev\":\"mem0\",\"node\":0,"
                                        "\"block-size\":2097152,\"requested-size\":0}",
                                        "-device",
                                        "virtio-balloon-pci,id=balloon0",
                                        "-device",
                                        "{\"driver\":\"vfio-pci\",\"host\":\"0000:41:00.0\",\"id\":\"hostdev0\"}",
                                        "-name",
                                        "guest=demo,debug-threads=on",
                                        NULL};

static char *answer_to(const Qemu *qemu, const char *question)
{
    const struct {
        const char *part, *value;
    } known[] = {{"query-status", qemu->status},
                 {"query-memory-devices", qemu->memory},
                 {"query-balloon", qemu->balloon},
                 {"qom-list", qemu->peripheral},
                 {"query-memdev", qemu->memdev},
                 {"\"host\"", "\"0000:42:00.0\""},
                 {"\"info network\"", qemu->network},
                 {"\"info block -n n0\"", qemu->node},
                 {"query-commands", "[{\"name\": \"stop\"}]"},
                 {"qom-set", "{}"},
                 {"device_add", qemu->refuses_devices ? NULL : "{}"}};

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (strstr(question, known[i].part))
            return known[i].value ? vfm_reply_return((VfmSlice){0}, known[i].value)
                                  : vfm_reply_error((VfmSlice){0}, "no");
    fail_msg("unexpected question: %s", question);
    return NULL;
}

typedef struct {
    VfmTalkVerdict verdict;
    char *answer, *events, *last_asked;
} Outcome;

static void outcome_clear(Outcome *outcome)
{
    g_free(outcome->answer);
    g_free(outcome->events);
    g_free(outcome->last_asked);
}

/* What the process that maps answers; NULL: nothing. */
static char *devices_answer(Process *process, const char *request)
{
    if (process->gone)
        return NULL;
    if (strcmp(request, "limit") == 0)
        return process->memlock.set ? g_strdup_printf("limit %" G_GUINT64_FORMAT, process->memlock.value)
                                    : g_strdup("limit none");
    if (g_str_has_prefix(request, "add ")) {
        assert_string_equal(request, "add 0000:43:00.0");
        process->adds++;
        if (process->serve_error)
            return *process->serve_error ? g_strdup_printf("error %s", process->serve_error) : NULL;
        return g_strdup("socket /run/3.sock");
    }
    if (g_str_has_prefix(request, "forget ")) {
        g_free(process->forgotten);
        process->forgotten = g_strdup(request + strlen("forget "));
        return g_strdup("ok");
    }
    assert_string_equal(request, "status");
    return g_strdup("{\"mappings\":7}");
}

static Outcome say(const char *const *argv, Process *process, const Qemu *qemu, const char *command)
{
    VfmGuardHost host = {.balloon = get_balloon,
                         .set_balloon = set_balloon,
                         .noted = get_noted,
                         .memlock_limit = get_memlock,
                         .refused = refused,
                         .facts = facts,
                         .qemu_version = version,
                         .remember = remember,
                         .remembered = remembered,
                         .host_address = process->helper ? host_address : NULL,
                         .replace_device = process->helper ? replace_device : NULL,
                         .plugged = process->helper ? plugged : NULL,
                         .served = process->helper ? served : NULL,
                         .data = process};
    VfmPolicy policy = {.present = process->helper, .owner = process->helper ? VFM_OWNER_HELPER : VFM_OWNER_QEMU};
    VfmTalker *guard = vfm_guard_new((char *const *)argv, "x86_64", &policy, NULL, &host);
    g_autoptr(GPtrArray) replies = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) answer = g_string_new(NULL), events = g_string_new(NULL);
    Outcome outcome = {.verdict = VFM_TALK_FORWARD};
    g_autofree char *answered = NULL;
    VfmMessage message;
    VfmTalk *talk;

    assert_true(vfm_message_read(&message, command, strlen(command)));
    talk = guard->open(guard, &message, command, strlen(command));
    for (int turns = 0; talk && turns < 10; turns++) {
        g_autoptr(GPtrArray) ask = g_ptr_array_new_with_free_func(g_free);
        VfmTalkTurn turn = {.message = &message,
                            .replies = replies,
                            .ask = ask,
                            .answer = answer,
                            .events = events,
                            .found = turns == 0 ? process->found : NULL,
                            .devices = answered};

        outcome.verdict = talk->ops->step(talk, &turn);
        if (turn.keep) {
            g_free(process->keep);
            process->keep = turn.keep;
        }
        g_clear_pointer(&answered, g_free);
        if (outcome.verdict == VFM_TALK_DEVICES) {
            answered = devices_answer(process, turn.request);
            g_free(turn.request);
            continue;
        }
        if (outcome.verdict == VFM_TALK_RESUME)
            g_ptr_array_add(ask, g_strdup("device_add, of a predecessor"));
        else if (outcome.verdict != VFM_TALK_ASK)
            break;
        if (turn.note.set)
            process->noted = turn.note.value;
        g_ptr_array_set_size(replies, 0);
        for (guint i = 0; i < ask->len; i++)
            g_ptr_array_add(replies, answer_to(qemu, ask->pdata[i]));
        g_free(outcome.last_asked);
        outcome.last_asked = g_strdup(ask->pdata[0]);
    }
    if (talk)
        talk->ops->free(talk);
    vfm_guard_free(guard);
    outcome.answer = g_strdup(answer->str);
    outcome.events = g_strdup(events->str);
    return outcome;
}

/* Expects a refusal (or failure) that says @part, or forwarding if @part is NULL. */
static void expect(Process *process, const Qemu *qemu, const char *command, const char *part)
{
    Outcome outcome = say(arguments, process, qemu, command);

    if (!part) {
        if (outcome.verdict != VFM_TALK_FORWARD)
            fail_msg("%s was not forwarded: %s", command, outcome.answer);
    } else {
        assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
        if (!strstr(outcome.answer, part))
            fail_msg("'%s' is not in: %s", part, outcome.answer);
    }
    outcome_clear(&outcome);
}

static void test_reads_what_libvirt_writes(void **state)
{
    VfmQemuArguments *read = vfm_qemu_arguments_read((char *const *)arguments);
    const VfmMemoryDevice *memory = g_ptr_array_index(read->domain->memory_devices, 0);
    const VfmAssigned *assigned = g_ptr_array_index(read->domain->assigned, 0);

    assert_int_equal(read->domain->boot, 256u << 20);
    assert_int_equal(read->domain->max_memory.value, 8 * GIB);
    assert_int_equal(read->domain->machine, VFM_MACHINE_Q35);
    assert_int_equal(read->domain->accel, VFM_ACCEL_TCG);
    assert_string_equal(read->domain->name, "demo");
    assert_true(read->domain->balloon.present);
    assert_int_equal(memory->size, GIB);
    assert_int_equal(memory->block.value, 2u << 20);
    assert_string_equal(assigned->address, "0000:41:00.0");
    vfm_qemu_arguments_free(read);
}

static void test_plain_megabytes_and_odd_arguments(void **state)
{
    const char *const odd[] = {"-m", "512", "-device", "{broken", "-device", "vfio-pci,host=1:0.0", "-m", NULL};
    VfmQemuArguments *read = vfm_qemu_arguments_read((char *const *)odd);

    assert_int_equal(read->domain->boot, 512u << 20);
    assert_int_equal(read->domain->assigned->len, 1);
    vfm_qemu_arguments_free(read);
}

static void test_inflating_an_inhibited_balloon_is_refused(void **state)
{
    Process process = {.balloon = VFM_BALLOON_REFUSE};
    Qemu starting = running;

    expect(&process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600},\"id\":\"libvirt-7\"}",
           "\"id\": \"libvirt-7\", \"error\"");
    expect(&process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}",
           "hostdev 0000:41:00.0 keeps all of it pinned");
    assert_int_equal(process.refusals, 2);
    expect(&process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":268435456}}", NULL);
    starting.status = "{\"status\": \"prelaunch\"}";
    expect(&process, &starting, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}", NULL);
    process.balloon = VFM_BALLOON_PASS;
    expect(&process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}", NULL);
}

static void test_a_balloon_nobody_inhibits_is_nobodys_business(void **state)
{
    Process process = {.balloon = VFM_BALLOON_REFUSE};
    Qemu unplugged = running;

    unplugged.peripheral = "[{\"name\": \"vm0\", \"type\": \"child<virtio-mem-pci>\"}]";
    expect(&process, &unplugged, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}", NULL);
}

static void test_a_device_plugged_later_inhibits_too(void **state)
{
    const char *const without[] = {"-machine", "q35", "-m", "256", "-device", "virtio-balloon-pci,id=balloon0", NULL};
    Process process = {.balloon = VFM_BALLOON_REFUSE};
    Outcome outcome = say(without, &process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}");

    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    assert_non_null(strstr(outcome.answer, "0000:42:00.0")); /* asked of QEMU: the arguments do not know it */
    outcome_clear(&outcome);
}

/* With 512 MiB of virtio-mem: the balloon's 128 MiB less are taken from it, and given back. */
static void test_policy_resize_moves_virtio_mem(void **state)
{
    Process process = {.balloon = VFM_BALLOON_RESIZE};
    Qemu grown = running, shrunk = running;
    Outcome outcome;

    grown.memory = "[{\"type\": \"virtio-mem\", \"data\": {\"memdev\": \"/objects/mem0\", \"block-size\": 2097152, "
                   "\"size\": 536870912, \"max-size\": 1073741824, \"requested-size\": 536870912, \"id\": \"vm0\"}}]";
    shrunk.memory = "[{\"type\": \"virtio-mem\", \"data\": {\"memdev\": \"/objects/mem0\", \"block-size\": 2097152, "
                    "\"size\": 402653184, \"max-size\": 1073741824, \"requested-size\": 402653184, \"id\": \"vm0\"}}]";
    outcome =
        say(arguments, &process, &grown, "{\"execute\":\"balloon\",\"arguments\":{\"value\":134217728},\"id\":1}");
    assert_string_equal(outcome.answer, "{\"return\": {}, \"id\": 1}\r\n");
    assert_non_null(strstr(outcome.last_asked, "\"value\": 402653184"));
    assert_non_null(strstr(outcome.events, "VFIOMEM_RESIZED"));
    assert_int_equal(process.noted, 134217728);
    outcome_clear(&outcome);
    /* The same again, as after a crash: nothing is taken twice. */
    outcome = say(arguments, &process, &shrunk, "{\"execute\":\"balloon\",\"arguments\":{\"value\":134217728}}");
    assert_non_null(strstr(outcome.last_asked, "\"value\": 402653184"));
    outcome_clear(&outcome);
    outcome = say(arguments, &process, &shrunk, "{\"execute\":\"balloon\",\"arguments\":{\"value\":268435456}}");
    assert_non_null(strstr(outcome.last_asked, "\"value\": 536870912"));
    assert_int_equal(process.noted, 0);
    outcome_clear(&outcome);
    expect(&process, &running, "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}", "and it holds 0 bytes");
}

static void test_requested_sizes_are_checked(void **state)
{
#define SET(value)                                                                                                     \
    "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/vm0\",\"property\":\"requested-size\","    \
    "\"value\":" value "}}"
    Process process = {.memlock = VFM_SOME(768u << 20)};

    expect(&process, &running, SET("268435456"), NULL);
    expect(&process, &running, SET("3145728"), "not a multiple of its block size of 2 MiB; ask for 2 MiB");
    expect(&process, &running, SET("2147483648"), "it has at most 1 GiB");
    expect(&process, &running, SET("1073741824"), "may lock 768 MiB");
    expect(&process, &running,
           "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"vm0\",\"property\":\"other\",\"value\":3}}", NULL);
#undef SET
}

static void test_plugging_what_would_kill_the_guest_is_refused(void **state)
{
    Process process = {.memlock = VFM_SOME(2 * GIB)};

    expect(&process, &running,
           "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"big\"}}",
           "KiB and may lock 2 GiB");
    process.memlock = VFM_NONE;
    expect(&process, &running,
           "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"big\"}}",
           NULL);
    expect(&process, &running, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"virtio-net-pci\"}}", NULL);
    /* virtio-mem needs discards that vhost-vdpa forbids altogether. */
    expect(&process, &running,
           "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"vhost-vdpa\",\"id\":\"n0\",\"vhostdev\":\"/dev/x\"}}",
           "discard-conflict");
}

/* Neither shows in QEMU as what it is: they are remembered, and asked for by name. */
static void test_back_ends_plugged_later_inhibit_until_they_are_gone(void **state)
{
    const char *const without[] = {"-machine", "q35", "-m", "256", "-device", "virtio-balloon-pci,id=balloon0", NULL};
    static const char balloon[] = "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}";
    Process process = {.balloon = VFM_BALLOON_REFUSE};
    Qemu qemu = running;
    Outcome outcome;

    qemu.peripheral = "[]";
    qemu.memory = "[]";
    outcome = say(without, &process, &qemu,
                  "{\"execute\":\"netdev_add\",\"arguments\":{\"type\":\"vhost-vdpa\",\"id\":\"net1\",\"vhostdev\":"
                  "\"/dev/vhost-vdpa-1\"}}");
    assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
    assert_string_equal(process.remembered, "vdpa net1 /dev/vhost-vdpa-1");
    outcome_clear(&outcome);
    qemu.network = "\"hub 0\\r\\n \\\\ h0\\r\\nnic1: index=0,type=nic,model=virtio-net-pci\\r\\n "
                   "\\\\ net1: index=0,type=vhost-vdpa,\\r\\n\"";
    outcome = say(without, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    assert_non_null(strstr(outcome.answer, "vhost-vdpa-1"));
    outcome_clear(&outcome);
    /* Gone, or its id is another's now. */
    qemu.network = "\"xnet1: index=0,type=vhost-vdpa\\r\\nnet1: index=0,type=user,net=10.0.2.0\\r\\n\"";
    outcome = say(without, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
    outcome_clear(&outcome);
    /* A QEMU without a human monitor: it was there, so it counts. */
    qemu.network = NULL;
    outcome = say(without, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    outcome_clear(&outcome);

    outcome = say(without, &process, &qemu,
                  "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"raw\",\"node-name\":\"n0\",\"file\":{"
                  "\"driver\":\"nvme\",\"device\":\"0000:05:00.0\",\"namespace\":1}}}");
    assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
    assert_string_equal(process.remembered, "nvme n0 0000:05:00.0");
    outcome_clear(&outcome);
    qemu.node = "\"\\r\\nn0: json:{} (raw)\\r\\n    Cache mode:       writeback\\r\\n\"";
    outcome = say(without, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    assert_non_null(strstr(outcome.answer, "0000:05:00.0"));
    outcome_clear(&outcome);
    qemu.node = "\"\"";
    outcome = say(without, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
    outcome_clear(&outcome);
    /* What QEMU would not take for an id is not asked for. */
    g_clear_pointer(&process.remembered, g_free);
    outcome = say(without, &process, &qemu,
                  "{\"execute\":\"blockdev-add\",\"arguments\":{\"driver\":\"nvme\",\"node-name\":\"n0 -v\"}}");
    assert_null(process.remembered);
    outcome_clear(&outcome);
}

/* The same of those that were there at the start. */
static void test_back_ends_of_the_start_can_leave(void **state)
{
    const char *const with[] = {
        "-machine", "q35",
        "-m",       "256",
        "-device",  "virtio-balloon-pci,id=balloon0",
        "-netdev",  "{\"type\":\"vhost-vdpa\",\"id\":\"net1\",\"vhostdev\":\"/dev/vhost-vdpa-1\"}",
        NULL};
    static const char balloon[] = "{\"execute\":\"balloon\",\"arguments\":{\"value\":104857600}}";
    Process process = {.balloon = VFM_BALLOON_REFUSE};
    Qemu qemu = running;
    Outcome outcome;

    qemu.peripheral = "[]";
    qemu.memory = "[]";
    qemu.network = "\"net1: index=0,type=vhost-vdpa,\\r\\n\"";
    outcome = say(with, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    outcome_clear(&outcome);
    qemu.network = "\"\"";
    outcome = say(with, &process, &qemu, balloon);
    assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
    outcome_clear(&outcome);
}

static void test_post_copy_is_refused_while_pinned(void **state)
{
    Process process = {0};

    expect(&process, &running,
           "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":"
           "\"postcopy-ram\",\"state\":true}]}}",
           "hostdev 0000:41:00.0 has all of it pinned");
    expect(&process, &running,
           "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":"
           "\"events\",\"state\":true}]}}",
           NULL);
    expect(&process, &running, "{\"execute\":\"migrate-start-postcopy\"}", "pinned");
}

static void test_own_commands_answer(void **state)
{
    Process process = {.memlock = VFM_SOME(4 * GIB)};

    expect(&process, &running, "{\"execute\":\"vfiomem-query-status\"}", "\"holder\":\"hostdev 0000:41:00.0\"");
    expect(&process, &running, "{\"execute\":\"vfiomem-query-status\"}", "\"pinned\":268");
    expect(&process, &running, "{\"execute\":\"vfiomem-query-plan\"}", "\"findings\":[");
    expect(&process, &running, "{\"execute\":\"vfiomem-query-mappings\",\"arguments\":{\"limit\":1}}", "\"ranges\":[{");
    expect(&process, &running, "{\"execute\":\"query-commands\",\"id\":5}",
           "[{\"name\": \"stop\"}, {\"name\": \"vfiomem-query-status\"}");
    expect(&process, &running, "{\"execute\":\"vfiomem-set-policy\",\"arguments\":{\"balloon\":\"nonsense\"}}",
           "must be 'refuse'");
    expect(&process, &running, "{\"execute\":\"vfiomem-set-policy\",\"arguments\":{\"balloon\":\"pass\"}}",
           "\"return\"");
    assert_int_equal(process.balloon, VFM_BALLOON_PASS);
    expect(&process, &running, "{\"execute\":\"vfiomem-resize\"}", "missing or no number");
}

static void test_a_qemu_that_answers_nonsense_is_survived(void **state)
{
    const Qemu odd = {"7",  "{\"a\": 1}", "[3, {\"type\": 4}, {\"type\": \"virtio-mem\"}]", NULL, "[]", false,
                      NULL, NULL};
    const Qemu mute = {NULL, NULL, NULL, NULL, NULL, false, NULL, NULL};
    Process process = {0};

    expect(&process, &odd, "{\"execute\":\"vfiomem-query-status\"}", "\"return\"");
    expect(&process, &mute, "{\"execute\":\"vfiomem-query-status\"}", "\"return\"");
    expect(&process, &mute, "{\"execute\":\"balloon\",\"arguments\":{\"value\":1}}", NULL);
    expect(&process, &odd, "{\"execute\":\"balloon\",\"arguments\":[]}", NULL);
    expect(&process, &odd, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":7}}", NULL);
    expect(&process, &odd, "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\"}}", NULL);
}

static void test_spreading_keeps_blocks_and_proportion(void **state)
{
    const uint64_t sizes[] = {4096, 0, 8192, 4096}, blocks[] = {512, 0, 1024, 512};
    uint64_t result[4];

    assert_int_equal(vfm_guard_spread(8192, sizes, blocks, 4, result), 8192);
    assert_int_equal(result[0], 2048);
    assert_int_equal(result[1], 0);
    assert_int_equal(result[2], 4096);
    for (uint64_t total = 0; total < 20000; total += 77) {
        uint64_t sum = vfm_guard_spread(total, sizes, blocks, 4, result);

        assert_true(sum <= total && (sum == 16384 || total - sum < 512));
        for (int i = 0; i < 4; i++)
            assert_true(result[i] <= sizes[i] && (!blocks[i] || result[i] % blocks[i] == 0));
    }
}

static void test_helper_mode_takes_devices_over(void **state)
{
    static const char add[] = "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"vfio-pci\",\"host\":"
                              "\"0000:43:00.0\",\"id\":\"hostdev1\"},\"id\":\"libvirt-9\"}";
    const char *const without[] = {"-machine", "q35", "-m", "256", NULL};
    Process process = {.helper = true};
    Qemu qemu = running, bare = running;
    Outcome outcome = say(arguments, &process, &qemu, add);

    bare.peripheral = bare.memory = "[]";
    /* QEMU is asked for the replacement, and the client gets the answer to its own command. */
    assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
    assert_non_null(strstr(outcome.last_asked, "vfio-user-pci"));
    assert_non_null(strstr(outcome.answer, "\"libvirt-9\""));
    assert_non_null(strstr(outcome.answer, "\"return\": {}"));
    assert_string_equal(process.plugged, "/run/3.sock hostdev1");
    outcome_clear(&outcome);
    /* What QEMU refuses goes back. */
    qemu.refuses_devices = true;
    expect(&process, &qemu, add, "no");
    assert_string_equal(process.forgotten, "/run/3.sock");
    /* What the helper can't have is refused before QEMU hears of it, what can't be kept before the helper does. */
    process.serve_error = "0000:43:00.0 is not viable";
    expect(&process, &qemu, add, "is not viable");
    assert_int_equal(process.refusals, 1);
    process.serve_error = "";
    expect(&process, &qemu, add, "did not answer in time");
    process.adds = 0;
    expect(
        &process, &qemu,
        "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"vfio-pci\",\"host\":\"0000:43:00.0\",\"x-vga\":true}}",
        "no x-vga");
    /* What counts is what the process that maps may lock. */
    process.memlock = VFM_SOME(8 << 20);
    outcome = say(without, &process, &bare, add);
    assert_non_null(strstr(outcome.answer, "libvirt raises only QEMU's later"));
    outcome_clear(&outcome);
    expect(&process, &qemu, "{\"execute\":\"vfiomem-query-status\"}", "\"limit\":8388608");
    process.memlock = VFM_NONE;
    process.gone = true;
    expect(&process, &qemu, add, "start it again to assign devices");
    process.gone = false;
    assert_int_equal(process.adds, 0);
    /* Other devices are QEMU's. */
    expect(&process, &running,
           "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"big\"}}",
           NULL);
    outcome = say(arguments, &process, &running, "{\"execute\":\"vfiomem-query-status\"}");
    assert_non_null(strstr(outcome.answer, "\"owner\":\"helper\""));
    assert_non_null(strstr(outcome.answer, "{\"mappings\":7}"));
    assert_non_null(strstr(outcome.answer, "\"devices\":\"serving\""));
    outcome_clear(&outcome);
    process.gone = true;
    expect(&process, &running, "{\"execute\":\"vfiomem-query-status\"}", "\"helper-mapping\":null");
    g_free(process.forgotten);
    g_free(process.plugged);
    g_free(process.keep);
}

/* A worker died in the middle: the device is asked for and plugged once, and the client gets that answer. */
static void test_helper_mode_goes_on_where_it_was(void **state)
{
    static const char add[] = "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"vfio-pci\",\"host\":"
                              "\"0000:43:00.0\",\"id\":\"hostdev1\"},\"id\":\"libvirt-9\"}";
    Process process = {.helper = true, .found = "serve"};
    Qemu qemu = running;
    Outcome outcome = say(arguments, &process, &qemu, add);

    /* Asked again, which the number tells the other end, and plugged. */
    assert_int_equal(process.adds, 1);
    assert_string_equal(process.keep, "plug /run/3.sock");
    assert_non_null(strstr(outcome.last_asked, "vfio-user-pci"));
    assert_non_null(strstr(outcome.answer, "\"return\": {}"));
    outcome_clear(&outcome);
    /* QEMU was asked: only its answer is waited for. */
    process.found = process.keep;
    process.adds = 0;
    outcome = say(arguments, &process, &qemu, add);
    assert_string_equal(outcome.last_asked, "device_add, of a predecessor");
    assert_non_null(strstr(outcome.answer, "\"return\": {}"));
    assert_string_equal(process.plugged, "/run/3.sock hostdev1");
    outcome_clear(&outcome);
    qemu.refuses_devices = true;
    expect(&process, &qemu, add, "no");
    assert_string_equal(process.forgotten, "/run/3.sock");
    assert_int_equal(process.adds, 0);
    g_free(process.forgotten);
    g_free(process.plugged);
    g_free(process.keep);
}

static void test_a_device_kept_from_dma_shows(void **state)
{
    const char *const argv[] = {
        "-machine",
        "q35",
        "-m",
        "256",
        "-device",
        "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"socket\":{\"type\":\"unix\",\"path\":"
        "\"/run/3.sock\"}}",
        NULL};
    Process process = {.helper = true};
    g_autoptr(VfmStatus) status = NULL;
    Qemu qemu = running;
    Outcome outcome;

    qemu.peripheral = "[{\"name\": \"hostdev0\", \"type\": \"child<vfio-user-pci>\"}]";
    outcome = say(argv, &process, &qemu, "{\"execute\":\"vfiomem-query-status\"}");
    assert_non_null(strstr(outcome.answer, "\"host\":\"0000:43:00.0\",\"held\":true,\"lost\":false"));
    status = vfm_monitor_read_status(outcome.answer, NULL);
    assert_non_null(status);
    assert_string_equal(status->devices, "serving");
    assert_string_equal(((VfmStatusPair *)status->assigned->pdata[0])->what, "pci 0000:43:00.0, kept from DMA");
    outcome_clear(&outcome);
}

static Outcome plug_memory(Process *process, const Qemu *qemu, const char *driver, const char *backend)
{
    const char *const argv[] = {"-machine", "q35",   "-m", "size=262144k,slots=4,maxmem=8388608k",
                                "-object",  backend, NULL};
    g_autofree char *add = g_strdup_printf("{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"%s\",\"id\":"
                                           "\"dimm0\",\"memdev\":\"big\"}}",
                                           driver);

    return say(argv, process, qemu, add);
}

static void test_private_memory_is_kept_from_the_helper(void **state)
{
#define BIG "\"id\":\"big\",\"size\":2147483648"
    static const struct {
        const char *backend;
        bool private;
    } backends[] = {{"{\"qom-type\":\"memory-backend-memfd\"," BIG ",\"share\":true}", false},
                    {"{\"qom-type\":\"memory-backend-memfd\"," BIG "}", false},
                    {"{\"qom-type\":\"memory-backend-memfd\"," BIG ",\"share\":false}", true},
                    {"memory-backend-file,id=big,size=2G,mem-path=/x,share=on", false},
                    {"memory-backend-file,id=big,size=2G,mem-path=/x,share=off", true},
                    {"memory-backend-file,id=big,size=2G,mem-path=/x", true},
                    {"{\"qom-type\":\"memory-backend-ram\"," BIG "}", true}};
    static const char *const drivers[] = {"pc-dimm", "virtio-mem-pci"};
    Process helper = {.helper = true}, without = {.helper = false};
    Qemu bare = running, told;

    bare.peripheral = bare.memory = "[]";
    told = bare;
    told.memdev = "[{\"id\": \"big\", \"size\": 2147483648, \"share\": false}]";
    for (size_t i = 0; i < G_N_ELEMENTS(backends) * G_N_ELEMENTS(drivers); i++) {
        const char *driver = drivers[i % G_N_ELEMENTS(drivers)];
        bool private = backends[i / G_N_ELEMENTS(drivers)].private;
        Outcome outcome = plug_memory(&helper, &bare, driver, backends[i / G_N_ELEMENTS(drivers)].backend);

        assert_int_equal(outcome.verdict, private ? VFM_TALK_ANSWER : VFM_TALK_FORWARD);
        assert_true(!private || strstr(outcome.answer, "memory big of dimm0 is not"));
        assert_true(!private || strstr(outcome.answer, "[helper-memory-private]"));
        outcome_clear(&outcome);
        /* QEMU itself has no trouble with it. */
        outcome = plug_memory(&without, &bare, driver, backends[i / G_N_ELEMENTS(drivers)].backend);
        assert_int_equal(outcome.verdict, VFM_TALK_FORWARD);
        outcome_clear(&outcome);
        /* A backend of which a predecessor heard: QEMU tells. */
        outcome = plug_memory(&helper, &told, driver, "memory-backend-memfd,id=other,size=1G");
        assert_int_equal(outcome.verdict, VFM_TALK_ANSWER);
        outcome_clear(&outcome);
    }
}

static void test_a_helper_guest_has_no_findings_of_its_start(void **state)
{
    static const char *const boots[] = {"memory-backend-memfd,id=pc.ram,size=256M,share=on",
                                        "memory-backend-file,id=pc.ram,size=256M,mem-path=/dev/hugepages/x,share=on"};
    Process process = {.helper = true};
    Qemu qemu = running;

    qemu.peripheral = "[{\"name\": \"hostdev0\", \"type\": \"child<vfio-user-pci>\"}]";
    qemu.memory = "[]";
    for (size_t i = 0; i < G_N_ELEMENTS(boots); i++) {
        const char *const argv[] = {"-machine",
                                    "q35,memory-backend=pc.ram",
                                    "-m",
                                    "256",
                                    "-object",
                                    boots[i],
                                    "-device",
                                    "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"socket\":{\"type\":\"unix\","
                                    "\"path\":\"/run/3.sock\"}}",
                                    NULL};
        Outcome outcome = say(argv, &process, &qemu, "{\"execute\":\"vfiomem-query-plan\"}");

        assert_non_null(strstr(outcome.answer, "\"findings\""));
        if (strstr(outcome.answer, "helper-emulator") || strstr(outcome.answer, "helper-memory-private"))
            fail_msg("%s", outcome.answer);
        outcome_clear(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_what_libvirt_writes),
        cmocka_unit_test(test_plain_megabytes_and_odd_arguments),
        cmocka_unit_test(test_inflating_an_inhibited_balloon_is_refused),
        cmocka_unit_test(test_a_balloon_nobody_inhibits_is_nobodys_business),
        cmocka_unit_test(test_a_device_plugged_later_inhibits_too),
        cmocka_unit_test(test_policy_resize_moves_virtio_mem),
        cmocka_unit_test(test_requested_sizes_are_checked),
        cmocka_unit_test(test_plugging_what_would_kill_the_guest_is_refused),
        cmocka_unit_test(test_back_ends_plugged_later_inhibit_until_they_are_gone),
        cmocka_unit_test(test_back_ends_of_the_start_can_leave),
        cmocka_unit_test(test_post_copy_is_refused_while_pinned),
        cmocka_unit_test(test_own_commands_answer),
        cmocka_unit_test(test_a_qemu_that_answers_nonsense_is_survived),
        cmocka_unit_test(test_helper_mode_takes_devices_over),
        cmocka_unit_test(test_helper_mode_goes_on_where_it_was),
        cmocka_unit_test(test_private_memory_is_kept_from_the_helper),
        cmocka_unit_test(test_a_helper_guest_has_no_findings_of_its_start),
        cmocka_unit_test(test_a_device_kept_from_dma_shows),
        cmocka_unit_test(test_spreading_keeps_blocks_and_proportion),
    };

    return cmocka_run_group_tests_name("qmp-guard", tests, NULL, NULL);
}
