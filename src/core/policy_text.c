/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "policy_text.h"

#include "error.h"

#include <string.h>

static const char *const balloon_names[] = {
    [VFM_BALLOON_REFUSE] = "refuse", [VFM_BALLOON_RESIZE] = "resize", [VFM_BALLOON_PASS] = "pass"};

const char *vfm_balloon_policy_name(VfmBalloonPolicy policy)
{
    return (size_t)policy < G_N_ELEMENTS(balloon_names) ? balloon_names[policy] : "unknown";
}

bool vfm_balloon_policy_from_name(VfmBalloonPolicy *policy, const char *name)
{
    for (size_t i = 0; i < G_N_ELEMENTS(balloon_names); i++) {
        if (g_strcmp0(name, balloon_names[i]) == 0) {
            *policy = (VfmBalloonPolicy)i;
            return true;
        }
    }
    return false;
}

static bool set_count(VfmMaybe *count, const char *value)
{
    guint64 number;

    if (!g_ascii_string_to_unsigned(value, 10, 0, G_MAXUINT64, &number, NULL))
        return false;
    *count = VFM_SOME(number);
    return true;
}

static const char *const owner_names[] = {[VFM_OWNER_QEMU] = "qemu", [VFM_OWNER_HELPER] = "helper"};
static const char *const backend_names[] = {
    [VFM_BACKEND_AUTO] = "auto", [VFM_BACKEND_TYPE1] = "type1", [VFM_BACKEND_IOMMUFD] = "iommufd"};

/* The index of @value among @n names, -1 if it is none. */
static int name_index(const char *const *names, size_t n, const char *value)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], value) == 0)
            return (int)i;
    return -1;
}

/* START:SIZE, hexadecimal with 0x or decimal, in bytes. */
static bool add_window(VfmPolicy *policy, const char *value)
{
    g_auto(GStrv) parts = g_strsplit(value, ":", -1);
    VfmWindow window = {0};
    char *end;

    if (g_strv_length(parts) != 2 || !g_ascii_isdigit(parts[0][0]) || !g_ascii_isdigit(parts[1][0]))
        return false;
    window.start = g_ascii_strtoull(parts[0], &end, 0);
    if (*end)
        return false;
    window.size = g_ascii_strtoull(parts[1], &end, 0);
    if (*end || window.size == 0 || window.start > UINT64_MAX - (window.size - 1))
        return false;
    if (!policy->windows)
        policy->windows = g_array_new(false, false, sizeof(VfmWindow));
    g_array_append_val(policy->windows, window);
    return true;
}

static bool set_word(VfmPolicy *policy, const char *key, const char *value)
{
    int index;

    if (strcmp(key, "owner") == 0) {
        index = name_index(owner_names, G_N_ELEMENTS(owner_names), value);
        policy->owner = index >= 0 ? (VfmOwner)index : policy->owner;
        return index >= 0;
    }
    if (strcmp(key, "backend") == 0) {
        index = name_index(backend_names, G_N_ELEMENTS(backend_names), value);
        policy->backend = index >= 0 ? (VfmBackendKind)index : policy->backend;
        return index >= 0;
    }
    if (strcmp(key, "window") == 0)
        return add_window(policy, value);
    if (strcmp(key, "balloon") == 0)
        return vfm_balloon_policy_from_name(&policy->balloon, value);
    if (strcmp(key, "mappings") == 0)
        return set_count(&policy->budget_mappings, value);
    if (strcmp(key, "headroom") == 0)
        return set_count(&policy->budget_headroom, value);
    if (strcmp(key, "required") != 0 || (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0))
        return false;
    policy->required = strcmp(value, "yes") == 0;
    return true;
}

bool vfm_policy_from_text(VfmPolicy *policy, const char *text, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \t\r\n", -1);

    for (char **word = words; *word; word++) {
        char *equals = strchr(*word, '=');

        if (!**word)
            continue;
        if (equals)
            *equals = '\0';
        if (!equals || !set_word(policy, *word, equals + 1)) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX,
                        "policy: cannot use '%s%s%s'; known are balloon=refuse|resize|pass, required=yes|no, "
                        "mappings=N, headroom=N, owner=qemu|helper, backend=auto|type1|iommufd and window=START:SIZE",
                        *word, equals ? "=" : "", equals ? equals + 1 : "");
            return false;
        }
        policy->present = true;
    }
    return true;
}

char *vfm_policy_to_text(const VfmPolicy *policy)
{
    GString *out = g_string_new(NULL);

    g_string_append_printf(out, "balloon=%s required=%s", vfm_balloon_policy_name(policy->balloon),
                           policy->required ? "yes" : "no");
    if (policy->budget_mappings.set)
        g_string_append_printf(out, " mappings=%" G_GUINT64_FORMAT, policy->budget_mappings.value);
    if (policy->budget_headroom.set)
        g_string_append_printf(out, " headroom=%" G_GUINT64_FORMAT, policy->budget_headroom.value);
    if (policy->owner != VFM_OWNER_QEMU)
        g_string_append_printf(out, " owner=%s", owner_names[policy->owner]);
    if (policy->backend != VFM_BACKEND_AUTO)
        g_string_append_printf(out, " backend=%s", backend_names[policy->backend]);
    for (unsigned i = 0; policy->windows && i < policy->windows->len; i++) {
        const VfmWindow *window = &g_array_index(policy->windows, VfmWindow, i);

        g_string_append_printf(out, " window=%#" G_GINT64_MODIFIER "x:%#" G_GINT64_MODIFIER "x", window->start,
                               window->size);
    }
    return g_string_free(out, FALSE);
}

bool vfm_policy_text_needs_helper(const char *text)
{
    g_auto(GStrv) words = g_strsplit_set(text, " \t\r\n", -1);

    for (char **word = words; *word; word++)
        if ((g_str_has_prefix(*word, "owner=") && strcmp(*word, "owner=qemu") != 0) ||
            (g_str_has_prefix(*word, "required=") && strcmp(*word, "required=no") != 0))
            return true;
    return false;
}

char *vfm_policy_file(const char *folder, const char *uuid)
{
    if (!uuid || !g_uuid_string_is_valid(uuid))
        return NULL;
    return g_strdup_printf("%s/%s.policy", folder ? folder : VFM_POLICY_FOLDER, uuid);
}
