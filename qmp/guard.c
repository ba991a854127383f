/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "guard_parts.h"

#include "json_out.h"
#include "reply.h"

#include <string.h>

static const VfmRule *const rule_lists[] = {vfm_balloon_rules, vfm_device_rules, vfm_resize_rules, vfm_migration_rules,
                                            vfm_command_rules};

/* Nobody tells of a device that leaves QEMU when the process that maps has it no more. */
static void tell_present(const VfmCheck *check)
{
    const VfmGuardHost *process = &check->guard->process;

    if (process->present && check->picture->listed)
        process->present(process->data, check->picture->domain->assigned, check->guard->arguments->domain->assigned);
}

static void add_remembered(VfmCheck *check)
{
    const VfmGuardHost *process = &check->guard->process;
    const char *id, *address;
    VfmAssignedKind kind;

    for (unsigned i = 0; process->remembered && i < VFM_GUARD_REMEMBERED; i++)
        if (process->remembered(process->data, i, &kind, &id, &address))
            vfm_picture_add_back_end(check->picture, kind, id, address);
}

/* Gets the picture together, in one turn or two. Returns whether it is complete. */
static bool look(VfmCheck *check, VfmTalkTurn *turn)
{
    if (check->turn == 0) {
        vfm_picture_ask(turn->ask);
    } else if (check->turn == 1) {
        check->picture = vfm_picture_new(check->guard->arguments, turn->replies);
        tell_present(check);
        add_remembered(check);
        vfm_picture_ask_more(check->picture, turn->ask);
    } else {
        vfm_picture_set_more(check->picture, turn->replies);
    }
    check->turn++;
    return turn->ask->len == 0;
}

static VfmTalkVerdict check_step(VfmTalk *talk, VfmTalkTurn *turn)
{
    VfmCheck *check = (VfmCheck *)talk;
    VfmTalkVerdict verdict;

    if (turn->found && check->rule->resume) {
        check->decisions++;
        return check->rule->resume(check, turn);
    }
    if (check->limit_asked && check->decisions == 0) {
        guint64 bytes;

        if (turn->devices && g_str_has_prefix(turn->devices, "limit ") &&
            g_ascii_string_to_unsigned(turn->devices + strlen("limit "), 10, 0, G_MAXUINT64, &bytes, NULL))
            check->limit = VFM_SOME(bytes);
    } else if (!check->rule->blind && check->decisions == 0) {
        if (!look(check, turn))
            return VFM_TALK_ASK;
        if (check->rule->locks && check->guard->process.host_address) {
            check->limit_asked = true;
            turn->request = g_strdup("limit");
            return VFM_TALK_DEVICES;
        }
    }
    verdict = check->rule->decide(check, turn);
    check->decisions++;
    return verdict;
}

static void check_free(VfmTalk *talk)
{
    VfmCheck *check = (VfmCheck *)talk;

    vfm_picture_free(check->picture);
    g_clear_pointer(&check->arguments, json_object_unref);
    g_free(check->arguments_text);
    g_free(check->result);
    g_free(check->reason);
    g_free(check);
}

static const VfmTalkOps check_ops = {.step = check_step, .free = check_free};

static const VfmRule *find_rule(VfmSlice execute)
{
    for (size_t i = 0; i < G_N_ELEMENTS(rule_lists); i++)
        for (const VfmRule *rule = rule_lists[i]; rule->command; rule++)
            if (vfm_slice_is_string(execute, rule->command))
                return rule;
    return NULL;
}

static VfmTalk *guard_open(VfmTalker *talker, const VfmMessage *message, const char *text, size_t length)
{
    VfmGuard *guard = (VfmGuard *)talker;
    const VfmRule *rule = find_rule(message->execute);
    g_autoptr(JsonObject) arguments = NULL;
    VfmCheck *check;

    if (!rule)
        return NULL;
    arguments = vfm_answer_arguments(message->arguments);
    if (rule->matters && !rule->matters(guard, arguments))
        return NULL;
    check = g_new0(VfmCheck, 1);
    check->talk.ops = &check_ops;
    check->guard = guard;
    check->rule = rule;
    check->arguments = g_steal_pointer(&arguments);
    if (message->arguments.at)
        check->arguments_text = g_strndup(message->arguments.at, message->arguments.length);
    return &check->talk;
}

static VfmArch arch_of(const char *name)
{
    static const VfmArch known[] = {VFM_ARCH_X86_64, VFM_ARCH_I686,  VFM_ARCH_AARCH64,
                                    VFM_ARCH_PPC64,  VFM_ARCH_S390X, VFM_ARCH_RISCV64};

    for (size_t i = 0; i < G_N_ELEMENTS(known); i++)
        if (g_strcmp0(vfm_arch_name(known[i]), name) == 0)
            return known[i];
    return g_strcmp0(name, "i386") == 0 ? VFM_ARCH_I686 : VFM_ARCH_OTHER;
}

VfmTalker *vfm_guard_new(char *const *argv, const char *arch, const VfmPolicy *policy, VfmHost *host,
                         const VfmGuardHost *process)
{
    VfmGuard *guard = g_new0(VfmGuard, 1);

    guard->talker.open = guard_open;
    guard->arguments = vfm_qemu_arguments_read(argv);
    guard->host = host;
    guard->process = *process;
    guard->arguments->domain->arch = arch_of(arch);
    guard->arguments->domain->arch_name = g_strdup(arch);
    vfm_policy_copy(&guard->arguments->domain->policy, policy);
    return &guard->talker;
}

void vfm_guard_free(VfmTalker *talker)
{
    VfmGuard *guard = (VfmGuard *)talker;

    if (!guard)
        return;
    vfm_qemu_arguments_free(guard->arguments);
    if (guard->host)
        vfm_host_free(guard->host);
    g_free(guard);
}

static char *refusal_event(const char *command, const char *why)
{
    g_autoptr(VfmJsonOut) out = vfm_json_out_new(false);
    g_autofree char *data = NULL;

    vfm_json_out_object(out, NULL);
    vfm_json_out_string(out, "command", command);
    vfm_json_out_string(out, "action", "refused");
    vfm_json_out_string(out, "reason", why);
    vfm_json_out_end(out);
    data = vfm_json_out_finish(g_steal_pointer(&out));
    return vfm_reply_event("VFIOMEM_GUARD", data);
}

VfmTalkVerdict vfm_check_refuse(VfmCheck *check, VfmTalkTurn *turn, const char *format, ...)
{
    g_autofree char *why = NULL, *text = NULL, *reply = NULL, *event = NULL;
    va_list args;

    va_start(args, format);
    why = g_strdup_vprintf(format, args);
    va_end(args);
    text = g_strdup_printf("vfiomem: %s", why);
    reply = vfm_reply_error(turn->message->id, text);
    event = refusal_event(check->rule->command, why);
    g_string_append(turn->answer, reply);
    g_string_append(turn->events, event);
    check->guard->process.refused(check->guard->process.data, check->rule->command, why);
    return VFM_TALK_ANSWER;
}

VfmTalkVerdict vfm_check_fail(VfmTalkTurn *turn, const char *format, ...)
{
    g_autofree char *text = NULL, *reply = NULL;
    va_list args;

    va_start(args, format);
    text = g_strdup_vprintf(format, args);
    va_end(args);
    reply = vfm_reply_error(turn->message->id, text);
    g_string_append(turn->answer, reply);
    return VFM_TALK_ANSWER;
}

VfmTalkVerdict vfm_check_answer(VfmTalkTurn *turn, const char *json)
{
    g_autofree char *reply = vfm_reply_return(turn->message->id, json);

    g_string_append(turn->answer, reply);
    return VFM_TALK_ANSWER;
}

VfmPlan *vfm_check_plan(const VfmCheck *check)
{
    VfmPlanOptions options = {.host = check->guard->host,
                              .qemu_version = check->guard->process.qemu_version(check->guard->process.data)};

    return vfm_plan_new(check->picture->domain, &options);
}

char *vfm_plan_inhibitors(const VfmPlan *plan)
{
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < plan->holds->len; i++) {
        const VfmHold *hold = &g_array_index(plan->holds, VfmHold, i);

        if (hold->kind == VFM_HOLD_DISABLE_ALL || hold->kind == VFM_HOLD_DISABLE_UNCOORDINATED)
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", hold->holder);
    }
    return g_string_free(names, names->len == 0);
}
