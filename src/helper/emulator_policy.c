/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulator_policy.h"

#include "log.h"
#include "policy_text.h"

#include <string.h>

#define EMULATORS_FILE "/etc/vfiomem/emulators"

static const char *value_of(char *const *argv, const char *option)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++)
        if (argv[i][0] == '-' && strcmp(argv[i] + (argv[i][1] == '-' ? 2 : 1), option) == 0)
            return argv[i + 1];
    return NULL;
}

VfmPolicy vfm_emulator_policy(char *const *argv)
{
    const char *environment = g_getenv("VFIOMEM_POLICY");
    g_autofree char *file = vfm_policy_file(g_getenv("VFIOMEM_RUNDIR"), value_of(argv, "uuid"));
    g_autoptr(GError) error = NULL;
    g_autofree char *text = NULL;
    VfmPolicy policy = {.balloon = VFM_BALLOON_REFUSE};

    if (file && g_file_get_contents(file, &text, NULL, NULL) && !vfm_policy_from_text(&policy, text, &error)) {
        vfm_log("%s: %s", file, error->message);
        g_clear_error(&error);
    }
    if (environment && !vfm_policy_from_text(&policy, environment, &error))
        vfm_log("VFIOMEM_POLICY: %s", error->message);
    return policy;
}

bool vfm_emulator_helper_required(char *const *argv)
{
    return vfm_emulator_policy(argv).required;
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
