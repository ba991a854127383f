/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "emulator_argv.h"

#include "device_arg.h"

#include <string.h>

/* The next item of a comma-separated list, with ",," left as it is; *@at moves behind it. NULL at the end. */
static char *next_item(const char **at)
{
    const char *start = *at, *end = start;

    if (!start)
        return NULL;
    while (*end && !(end[0] == ',' && end[1] != ','))
        end += end[0] == ',' ? 2 : 1;
    *at = *end ? end + 1 : NULL;
    return g_strndup(start, (gsize)(end - start));
}

static char *unescape(const char *value)
{
    GString *out = g_string_new(NULL);

    for (; *value; value++) {
        g_string_append_c(out, *value);
        if (value[0] == ',' && value[1] == ',')
            value++;
    }
    return g_string_free(out, FALSE);
}

char *vfm_emulator_option(const char *options, const char *key)
{
    size_t length = strlen(key);
    char *item;

    while ((item = next_item(&options))) {
        g_autofree G_GNUC_UNUSED char *owned = item;

        if (strncmp(item, key, length) == 0 && item[length] == '=')
            return unescape(item + length + 1);
    }
    return NULL;
}

static bool has_bare(const char *options, const char *word)
{
    char *item;

    while ((item = next_item(&options))) {
        g_autofree G_GNUC_UNUSED char *owned = item;

        if (strcmp(item, word) == 0)
            return true;
    }
    return false;
}

static bool is_option(const char *argument, const char *name)
{
    /* QEMU takes one dash or two. */
    return argument[0] == '-' && strcmp(argument + (argument[1] == '-' ? 2 : 1), name) == 0;
}

/* libvirt 12 makes the monitor an object: {"qom-type":"monitor-qmp","id":"monitor","chardev":"charmonitor"}. */
static bool is_monitor_object(const char *text, const char *id)
{
    g_autoptr(VfmDeviceArg) object = vfm_device_arg_parse(text, "qom-type", NULL);

    return object && g_strcmp0(vfm_device_arg_get(object, "qom-type"), "monitor-qmp") == 0 &&
           g_strcmp0(vfm_device_arg_get(object, "chardev"), id) == 0;
}

/* Whether a control-mode monitor sits on the character device @id. */
static bool is_control_monitor(char *const *argv, const char *id)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++) {
        g_autofree char *chardev = NULL, *mode = NULL;

        if (is_option(argv[i], "object") && is_monitor_object(argv[i + 1], id))
            return true;
        if (!is_option(argv[i], "mon"))
            continue;
        chardev = vfm_emulator_option(argv[i + 1], "chardev");
        mode = vfm_emulator_option(argv[i + 1], "mode");
        if (g_strcmp0(chardev, id) == 0 && g_strcmp0(mode, "control") == 0)
            return true;
    }
    return false;
}

static bool parse_fd(const char *text, int *fd)
{
    guint64 value;

    if (!text || !g_ascii_string_to_unsigned(text, 10, 0, 1u << 20, &value, NULL))
        return false;
    *fd = (int)value;
    return true;
}

bool vfm_emulator_find_monitor(char *const *argv, VfmMonitorArgument *monitor)
{
    for (int i = 0; argv[i] && argv[i + 1]; i++) {
        g_autofree char *id = NULL, *fd = NULL, *server = NULL;
        const char *value = argv[i + 1];

        if (!is_option(argv[i], "chardev") || !g_str_has_prefix(value, "socket,"))
            continue;
        id = vfm_emulator_option(value, "id");
        fd = vfm_emulator_option(value, "fd");
        server = vfm_emulator_option(value, "server");
        if (!id || !(g_strcmp0(server, "on") == 0 || has_bare(value, "server")) || !parse_fd(fd, &monitor->fd))
            continue;
        if (!is_control_monitor(argv, id))
            continue;
        monitor->index = i + 1;
        return true;
    }
    return false;
}

char *vfm_emulator_rewrite_chardev(const char *chardev, int fd)
{
    static const char *const dropped[] = {"server", "wait", "nowait", "fd"};
    GString *out = g_string_new(NULL);
    char *item;

    while ((item = next_item(&chardev))) {
        g_autofree G_GNUC_UNUSED char *owned = item;
        size_t length = strcspn(item, "=");
        bool drop = false;

        for (size_t i = 0; i < G_N_ELEMENTS(dropped); i++)
            drop |= strlen(dropped[i]) == length && strncmp(item, dropped[i], length) == 0;
        if (!drop)
            g_string_append_printf(out, "%s%s", out->len ? "," : "", item);
    }
    g_string_append_printf(out, ",fd=%d,server=off", fd);
    return g_string_free(out, FALSE);
}

char *vfm_emulator_target(const char *name, const char *machine)
{
    const char *const prefix = "vfiomem-qemu-";

    if (g_str_has_prefix(name, prefix) && name[strlen(prefix)])
        return g_strdup(name + strlen("vfiomem-"));
    if (machine[0] == 'i' && machine[1] >= '3' && machine[1] <= '6' && strcmp(machine + 2, "86") == 0)
        machine = "i386";
    else if (strcmp(machine, "ppc64le") == 0)
        machine = "ppc64";
    return g_strdup_printf("qemu-system-%s", machine);
}
