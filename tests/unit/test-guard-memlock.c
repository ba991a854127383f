/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Locked memory of a running guest whose devices are vfio-user-pci: the helper's, or another server's. */
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
    VfmPolicy policy = {.present = true, .owner = owner};
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_helpers_devices_count),
        cmocka_unit_test(test_the_helpers_devices_share_one_container),
        cmocka_unit_test(test_other_servers_do_not),
        cmocka_unit_test(test_the_plan_has_no_complaint),
    };

    return cmocka_run_group_tests_name("guard-memlock", tests, NULL, NULL);
}
