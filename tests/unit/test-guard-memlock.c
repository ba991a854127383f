/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locked memory and mappings of a running guest whose devices are vfio-user-pci: the helper's, or another server's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "amount.h"
#include "guard.h"
#include "monitor_read.h"
#include "plan.h"
#include "reply.h"

#define DIMM "{\"execute\":\"device_add\",\"arguments\":{\"driver\":\"pc-dimm\",\"id\":\"dimm0\",\"memdev\":\"%s\"}}"
#define SIZE                                                                                                           \
    "{\"execute\":\"qom-set\",\"arguments\":{\"path\":\"/machine/peripheral/vm0\",\"property\":\"requested-size\","    \
    "\"value\":%u}}"
#define STATUS "{\"execute\":\"vfiomem-query-status\"}"

/* As libvirt starts a guest, after vfiomem-qemu changed it: 256 MiB, up to 1 GiB of virtio-mem, two devices. */
static const char *const arguments[] = {
    "-machine", "pc-q35-10.1,accel=tcg,memory-backend=pc.ram",
    "-m",       "size=262144k,slots=4,maxmem=8388608k",
    "-object",  "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,\"size\":268435456}",
    "-object",  "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"mem0\",\"share\":true,\"size\":1073741824}",
    "-device",  "{\"driver\":\"virtio-mem-pci\",\"id\":\"vm0\",\"memdev\":\"mem0\",\"node\":0,\"block-size\":2097152}",
    "-device",  "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev0\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/3\"}}",
    "-device",  "{\"driver\":\"vfio-user-pci\",\"id\":\"hostdev1\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/4\"}}",
    NULL};

/* What QEMU says, by a part of the question. */
static const struct {
    const char *part, *value;
} known[] = {
    {"query-status", "{\"status\": \"running\", \"running\": true}"},
    {"query-memory-devices",
     "[{\"type\": \"virtio-mem\", \"data\": {\"memdev\": \"/objects/mem0\", \"memaddr\": 4294967296, \"block-size\": "
     "2097152, \"size\": 134217728, \"node\": 0, \"max-size\": 1073741824, \"requested-size\": 134217728, \"id\": "
     "\"vm0\"}}]"},
    {"query-balloon", NULL},
    {"qom-list", "[{\"name\": \"vm0\", \"type\": \"child<virtio-mem-pci>\"}, {\"name\": \"hostdev0\", \"type\": "
                 "\"child<vfio-user-pci>\"}, {\"name\": \"hostdev1\", \"type\": \"child<vfio-user-pci>\"}]"},
    {"query-memdev", "[{\"id\": \"mem0\", \"size\": 1073741824, \"share\": true}, {\"id\": \"big\", \"size\": "
                     "2147483648, \"share\": true}, {\"id\": \"small\", \"size\": 134217728, \"share\": true}]"},
};

/* Of the policy; NULL: none. */
static GArray *windows;

static VfmBalloonPolicy refuse(void *data)
{
    return VFM_BALLOON_REFUSE;
}

static uint64_t nothing(void *data)
{
    return 0;
}

static VfmMaybe memlock(void *data)
{
    return *(VfmMaybe *)data;
}

static void refused(void *data, const char *command, const char *why)
{
}

static void facts(void *data, VfmGuardFacts *out)
{
}

static unsigned version(void *data)
{
    return VFM_VERSION(10, 1, 2);
}

static char *host_address(void *data, const char *text, GError **error)
{
    return NULL;
}

static void answer_all(const GPtrArray *ask, GPtrArray *replies)
{
    g_ptr_array_set_size(replies, 0);
    for (guint i = 0; i < ask->len; i++) {
        const char *value = NULL;

        for (size_t k = 0; k < G_N_ELEMENTS(known) && !value; k++)
            value = strstr(ask->pdata[i], known[k].part) ? known[k].value : NULL;
        g_ptr_array_add(replies, value ? vfm_reply_return((VfmSlice){0}, value) : vfm_reply_error((VfmSlice){0}, "no"));
    }
}

/* Our answer to @command; NULL: it goes to QEMU. */
static char *say(VfmOwner owner, VfmMaybe limit, const char *command)
{
    VfmGuardHost host = {.balloon = refuse,
                         .noted = nothing,
                         .memlock_limit = memlock,
                         .refused = refused,
                         .facts = facts,
                         .qemu_version = version,
                         .host_address = owner == VFM_OWNER_HELPER ? host_address : NULL,
                         .data = &limit};
    VfmPolicy policy = {.present = true, .owner = owner, .windows = windows};
    VfmTalker *guard = vfm_guard_new((char *const *)arguments, "x86_64", &policy, NULL, &host);
    g_autoptr(GPtrArray) replies = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GString) answer = g_string_new(NULL), events = g_string_new(NULL);
    g_autofree char *devices = NULL;
    VfmTalkVerdict verdict = VFM_TALK_ASK;
    VfmMessage message;
    VfmTalk *talk;

    assert_true(vfm_message_read(&message, command, strlen(command)));
    talk = guard->open(guard, &message, command, strlen(command));
    assert_non_null(talk);
    for (int turns = 0; turns < 10 && verdict != VFM_TALK_FORWARD && verdict != VFM_TALK_ANSWER; turns++) {
        g_autoptr(GPtrArray) ask = g_ptr_array_new_with_free_func(g_free);
        VfmTalkTurn turn = {.message = &message,
                            .replies = replies,
                            .ask = ask,
                            .answer = answer,
                            .events = events,
                            .devices = devices};

        verdict = talk->ops->step(talk, &turn);
        g_free(turn.keep);
        g_clear_pointer(&devices, g_free);
        if (verdict == VFM_TALK_DEVICES)
            devices = g_strcmp0(turn.request, "limit") == 0 ? g_strdup_printf("limit %" G_GUINT64_FORMAT, limit.value)
                                                            : g_strdup("{}");
        g_free(turn.request);
        answer_all(ask, replies);
    }
    talk->ops->free(talk);
    vfm_guard_free(guard);
    return verdict == VFM_TALK_ANSWER ? g_strdup(answer->str) : NULL;
}

static void expect(VfmOwner owner, uint64_t limit, const char *command, const char *part)
{
    g_autofree char *answer = say(owner, VFM_SOME(limit), command);

    if (!part != !answer || (part && !strstr(answer, part)))
        fail_msg("'%s' is not what comes of %s: %s", part ? part : "forwarding", command, answer);
}

static VfmStatus *status_of(VfmOwner owner)
{
    g_autofree char *answer = say(owner, VFM_SOME(512 * VFM_MIB), STATUS);
    VfmStatus *status = vfm_monitor_read_status(answer, NULL);

    assert_non_null(status);
    return status;
}

static void test_the_helpers_devices_count(void **state)
{
    g_autofree char *all = g_strdup_printf(SIZE, 1u << 30), *more = g_strdup_printf(SIZE, 192u << 20);
    g_autofree char *big = g_strdup_printf(DIMM, "big"), *small = g_strdup_printf(DIMM, "small");
    VfmOwner owner = VFM_OWNER_HELPER;

    /* 256 MiB and 128 MiB plugged of the 512 MiB that it may lock. */
    expect(owner, 512 * VFM_MIB, all, "vfiomem-helper-devices");
    expect(owner, 512 * VFM_MIB, all, "1310976 KiB");
    expect(owner, 512 * VFM_MIB, more, NULL);
    expect(owner, 2 * VFM_GIB, all, NULL);
    expect(owner, 512 * VFM_MIB, big, "vfiomem-helper-devices");
    expect(owner, 513 * VFM_MIB, small, NULL);
    expect(owner, 4 * VFM_GIB, big, NULL);
}

static void test_the_helpers_devices_share_one_container(void **state)
{
    g_autoptr(VfmStatus) status = status_of(VFM_OWNER_HELPER);

    assert_int_equal(status->containers, 1);
    assert_true(status->pinned >= 384 * VFM_MIB && status->pinned < 386 * VFM_MIB);
    assert_string_equal(status->backend, "type1");
}

/* Of devices that another server maps for, QEMU and we lock nothing. */
static void test_other_servers_do_not(void **state)
{
    g_autofree char *all = g_strdup_printf(SIZE, 1u << 30), *big = g_strdup_printf(DIMM, "big");
    g_autoptr(VfmStatus) status = status_of(VFM_OWNER_QEMU);

    expect(VFM_OWNER_QEMU, 512 * VFM_MIB, all, NULL);
    expect(VFM_OWNER_QEMU, 512 * VFM_MIB, big, NULL);
    assert_int_equal(status->containers, 2);
    assert_int_equal(status->pinned, 0);
}

/* libvirt counts them as what they are to it, so nothing is missing in its limit. */
static void test_the_plan_has_no_complaint(void **state)
{
    g_autofree char *answer = say(VFM_OWNER_HELPER, VFM_NONE, "{\"execute\":\"vfiomem-query-plan\"}");

    assert_non_null(answer);
    assert_null(strstr(answer, "memlock-"));
    assert_non_null(strstr(answer, "\"limit_from\":\"libvirt\""));
}

/* In @answer the range that begins at @start is said to be mapped so far. */
static void expect_mapped(const char *answer, uint64_t start, uint64_t size, uint64_t mapped, uint64_t mappings)
{
    g_autofree char *range =
        g_strdup_printf("{\"start\":%" G_GUINT64_FORMAT ",\"size\":%" G_GUINT64_FORMAT ",", start, size);
    g_autofree char *what = g_strdup_printf("\"mapped\":%" G_GUINT64_FORMAT ",\"mappings\":%" G_GUINT64_FORMAT "}",
                                            mapped, mappings);
    const char *at = answer ? strstr(answer, range) : NULL;
    const char *said = at ? strstr(at, "\"mapped\"") : NULL;

    if (!said || !g_str_has_prefix(said, what))
        fail_msg("%s is not said of %s: %s", what, range, answer);
}

static void test_mappings_lie_in_the_windows(void **state)
{
    /* Half of RAM in two parts; 64 MiB where virtio-mem has 128 MiB plugged, somewhere. */
    const VfmWindow parts[] = {{.start = 16 * VFM_MIB, .size = 64 * VFM_MIB},
                               {.start = 128 * VFM_MIB, .size = 64 * VFM_MIB},
                               {.start = 4 * VFM_GIB, .size = 64 * VFM_MIB}};
    const char *command = "{\"execute\":\"vfiomem-query-mappings\"}";
    g_autofree char *all = say(VFM_OWNER_HELPER, VFM_NONE, command);
    g_autofree char *some = NULL, *others = NULL;

    expect_mapped(all, VFM_MIB, 255 * VFM_MIB, 255 * VFM_MIB, 1);
    expect_mapped(all, 4 * VFM_GIB, VFM_GIB, 128 * VFM_MIB, 64);
    windows = g_array_new(false, false, sizeof(VfmWindow));
    g_array_append_vals(windows, parts, G_N_ELEMENTS(parts));
    some = say(VFM_OWNER_HELPER, VFM_NONE, command);
    others = say(VFM_OWNER_QEMU, VFM_NONE, command);
    g_clear_pointer(&windows, g_array_unref);
    expect_mapped(some, VFM_MIB, 255 * VFM_MIB, 128 * VFM_MIB, 2);
    expect_mapped(some, 4 * VFM_GIB, VFM_GIB, 64 * VFM_MIB, 32);
    /* QEMU knows no windows. */
    expect_mapped(others, VFM_MIB, 255 * VFM_MIB, 255 * VFM_MIB, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_helpers_devices_count),
        cmocka_unit_test(test_the_helpers_devices_share_one_container),
        cmocka_unit_test(test_other_servers_do_not),
        cmocka_unit_test(test_the_plan_has_no_complaint),
        cmocka_unit_test(test_mappings_lie_in_the_windows),
    };

    return cmocka_run_group_tests_name("guard-memlock", tests, NULL, NULL);
}
