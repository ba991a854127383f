/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulator_policy.h"

#include "error.h"
#include "log.h"
#include "policy_text.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define EMULATORS_FILE "/etc/vfiomem/emulators"

static const char *value_of(char *const *argv, const char *option)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++)
        if (argv[i][0] == '-' && strcmp(argv[i] + (argv[i][1] == '-' ? 2 : 1), option) == 0)
            return argv[i + 1];
    return NULL;
}

/* The text of @file, NULL where there is none. False: there is one, and it can't be read. */
static bool read_file(const char *file, char **text, GError **error)
{
    g_autofree char *folder = g_path_get_dirname(file);
    g_autoptr(GError) local = NULL;

    if (g_file_get_contents(file, text, NULL, &local) || g_error_matches(local, G_FILE_ERROR, G_FILE_ERROR_NOENT))
        return true;
    if (access(folder, X_OK) < 0) {
        /* Nobody can tell whether there is one, and most guests have none. */
        vfm_log("%s; the guest counts as one without a policy", local->message);
        return true;
    }
    g_set_error(error, VFM_SYSTEM_ERROR, EIO,
                "the domain's policy can't be read, and may want vfiomem's helper: %s; mend this, or remove that file "
                "if the domain has no such policy",
                local->message);
    return false;
}

static bool use_text(VfmPolicy *policy, const char *where, const char *text, GError **error)
{
    g_autoptr(GError) local = NULL;

    if (vfm_policy_from_text(policy, text, &local))
        return true;
    if (vfm_policy_text_needs_helper(text)) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                    "%s wants vfiomem's helper, and can't be used: %s; the guest does not start without what it asks "
                    "for",
                    where, local->message);
        return false;
    }
    vfm_log("%s: %s", where, local->message);
    return true;
}

bool vfm_emulator_policy(VfmPolicy *policy, char *const *argv, GError **error)
{
    const char *environment = g_getenv("VFIOMEM_POLICY");
    g_autofree char *file = vfm_policy_file(g_getenv("VFIOMEM_RUNDIR"), value_of(argv, "uuid"));
    g_autofree char *text = NULL;

    *policy = (VfmPolicy){.balloon = VFM_BALLOON_REFUSE};
    if (file && (!read_file(file, &text, error) || (text && !use_text(policy, file, text, error))))
        return false;
    return !environment || use_text(policy, "VFIOMEM_POLICY", environment, error);
}

char *vfm_emulator_configured(const char *target)
{
    const char *file = g_getenv("VFIOMEM_EMULATORS") ? g_getenv("VFIOMEM_EMULATORS") : EMULATORS_FILE;
    g_autofree char *text = NULL;
    g_auto(GStrv) lines = NULL;

    if (!g_file_get_contents(file, &text, NULL, NULL))
        return NULL;
    lines = g_strsplit(text, "\n", -1);
    for (char **line = lines; *line; line++) {
        char *equals = strchr(*line, '=');

        if (**line == '#' || !equals)
            continue;
        *equals = '\0';
        if (strcmp(g_strstrip(*line), target) == 0)
            return g_strdup(g_strstrip(equals + 1));
    }
    return NULL;
}
