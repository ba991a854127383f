/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* guard_parts.h - what the files of the guard share, and nobody else. */
#pragma once

#include "answers.h"
#include "guard.h"
#include "picture.h"
#include "plan.h"

typedef struct {
    VfmTalker talker;
    VfmQemuArguments *arguments; /* as QEMU started, and backends added since */
    VfmHost *host;
    VfmGuardHost process;
} VfmGuard;

typedef struct VfmCheck VfmCheck;

/* One guarded command, or one of ours. */
typedef struct {
    const char *command;
    bool locks; /* how much may be locked matters */
    bool blind; /* decided without asking QEMU anything; check->picture is NULL */
    /* Whether this call matters at all; NULL: always. @arguments may be NULL. */
    bool (*matters)(VfmGuard *guard, JsonObject *arguments);
    /* With the picture at hand; may ask further, and is then called again with the replies. */
    VfmTalkVerdict (*decide)(VfmCheck *check, VfmTalkTurn *turn);
    /* Instead of all that where a predecessor left a checkpoint, turn->found; decide() goes on from there. */
    VfmTalkVerdict (*resume)(VfmCheck *check, VfmTalkTurn *turn);
} VfmRule;

struct VfmCheck {
    VfmTalk talk;
    VfmGuard *guard;
    const VfmRule *rule;
    JsonObject *arguments; /* NULL if there are none */
    char *arguments_text;  /* the same as text; NULL if there are none */
    unsigned turn;
    unsigned decisions; /* calls of decide() before this one */
    VfmPicture *picture;
    bool limit_asked;
    VfmMaybe limit; /* helper mode: what the process that maps may lock, as it says */
    unsigned stage; /* a rule's own */
    char *result;   /* what a rule wants to remember between its decisions */
    char *reason;   /* the same */
};

/* The rules of each file, ended by one without a command. */
extern const VfmRule vfm_balloon_rules[];
extern const VfmRule vfm_device_rules[];
extern const VfmRule vfm_resize_rules[];
extern const VfmRule vfm_migration_rules[];
extern const VfmRule vfm_command_rules[];

/* Answers with an error, counts the refusal and adds VFIOMEM_GUARD. Returns VFM_TALK_ANSWER. */
VfmTalkVerdict vfm_check_refuse(VfmCheck *check, VfmTalkTurn *turn, const char *format, ...) G_GNUC_PRINTF(3, 4);
/* Answers with an error that is no refusal: the arguments are off. */
VfmTalkVerdict vfm_check_fail(VfmTalkTurn *turn, const char *format, ...) G_GNUC_PRINTF(2, 3);
/* Answers with @json. */
VfmTalkVerdict vfm_check_answer(VfmTalkTurn *turn, const char *json);

/* The plan of the picture as it is. To be freed. */
VfmPlan *vfm_check_plan(const VfmCheck *check);

/* "hostdev0 (0000:41:00.0), hostdev1": who inhibits ballooning; NULL: nobody. To be freed. */
char *vfm_plan_inhibitors(const VfmPlan *plan);

/* Bytes that must be lockable if each virtio-mem device @i holds @plugged[i] of the picture's memory; NULL: what it
 * holds or asks for now. 0 if nothing is pinned. */
uint64_t vfm_check_pinned(const VfmCheck *check, const VfmPlan *plan, const uint64_t *plugged);

/* What may be locked right now by whoever maps; not set: no limit, or not known. */
VfmMaybe vfm_check_memlock(const VfmCheck *check);
/* "QEMU", or who else that is; for messages. */
const char *vfm_check_locker(const VfmCheck *check);

/* The same, as far as it is held to it; not set: no limit, or none that counts. */
VfmMaybe vfm_check_limit(const VfmCheck *check, const VfmPlan *plan);

/* Mappings of one container in the same case. */
uint64_t vfm_check_mappings(const VfmCheck *check, const VfmPlan *plan, const uint64_t *plugged);

/* Whether sizes for all virtio-mem devices can be mapped. NULL if so, else the reason. To be freed. */
char *vfm_check_sizes(const VfmCheck *check, const VfmPlan *plan, const uint64_t *requested);

/* Spreads @total over the picture's virtio-mem devices and asks QEMU for it; the check's next decision gets the replies
 * (vfm_resize_done). False: there is no virtio-mem device. @requested gets one value per memory device. */
bool vfm_resize_ask(VfmCheck *check, VfmTalkTurn *turn, uint64_t total, uint64_t *requested);
/* The event VFIOMEM_RESIZED and the reply to a resize whose replies are in @turn; @json is its value. */
VfmTalkVerdict vfm_resize_done(VfmCheck *check, VfmTalkTurn *turn, const char *json);
