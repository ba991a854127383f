/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Post-copy and background snapshots take memory away behind everybody's back:
 * QEMU lets them be asked for while an assigned device has all of it pinned, and
 * device and guest then see different pages.
 */
#include "guard_parts.h"

#include <string.h>

static const char *dangerous(JsonObject *arguments)
{
    JsonArray *capabilities = vfm_member_array(arguments, "capabilities");

    for (guint i = 0; capabilities && i < json_array_get_length(capabilities); i++) {
        JsonObject *capability = vfm_element_object(capabilities, i);
        const char *name = vfm_member_string(capability, "capability");

        if (vfm_member_bool(capability, "state") == VFM_ON && name &&
            (strcmp(name, "postcopy-ram") == 0 || strcmp(name, "background-snapshot") == 0))
            return name;
    }
    return NULL;
}

static bool capabilities_matter(VfmGuard *guard, JsonObject *arguments)
{
    return dangerous(arguments) != NULL;
}

static VfmTalkVerdict refuse_if_inhibited(VfmCheck *check, VfmTalkTurn *turn, const char *what)
{
    g_autoptr(VfmPlan) plan = vfm_check_plan(check);
    g_autofree char *inhibitors = vfm_plan_inhibitors(plan);

    if (!inhibitors)
        return VFM_TALK_FORWARD;
    return vfm_check_refuse(check, turn,
                            "%s needs memory that can be taken away and given back, and %s has all of it pinned; "
                            "migrate without it, or unplug the device first",
                            what, inhibitors);
}

static VfmTalkVerdict decide_capabilities(VfmCheck *check, VfmTalkTurn *turn)
{
    return refuse_if_inhibited(check, turn, dangerous(check->arguments));
}

static VfmTalkVerdict decide_postcopy(VfmCheck *check, VfmTalkTurn *turn)
{
    return refuse_if_inhibited(check, turn, "post-copy");
}

const VfmRule vfm_migration_rules[] = {
    {.command = "migrate-set-capabilities", .matters = capabilities_matter, .decide = decide_capabilities},
    {.command = "migrate-start-postcopy", .decide = decide_postcopy},
    {.command = NULL},
};
