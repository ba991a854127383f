/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "device_rewrite.h"

#include "error.h"

#include <stdio.h>
#include <string.h>

typedef enum { KEEP_STRING, KEEP_NUMBER, KEEP_SWITCH, DROP_HOST, DROP_IF_DEFAULT } Fate;

/* What becomes of each option. What is not here is an error. Options with a default are what libvirt writes anyway. */
static const struct {
    const char *key;
    Fate fate;
    const char *is_default; /* of DROP_IF_DEFAULT */
} fates[] = {
    {"id", KEEP_STRING, NULL},
    {"bus", KEEP_STRING, NULL},
    {"addr", KEEP_STRING, NULL},
    {"bootindex", KEEP_NUMBER, NULL},
    {"romfile", KEEP_STRING, NULL},
    {"rombar", KEEP_NUMBER, NULL},
    {"romsize", KEEP_NUMBER, NULL},
    {"multifunction", KEEP_SWITCH, NULL},
    {"acpi-index", KEEP_NUMBER, NULL},
    {"x-pci-vendor-id", KEEP_NUMBER, NULL},
    {"x-pci-device-id", KEEP_NUMBER, NULL},
    {"x-pci-sub-vendor-id", KEEP_NUMBER, NULL},
    {"x-pci-sub-device-id", KEEP_NUMBER, NULL},
    {"driver", DROP_HOST, NULL},
    {"host", DROP_HOST, NULL},
    {"display", DROP_IF_DEFAULT, "off"},
    {"ramfb", DROP_IF_DEFAULT, "off"},
    {"x-vga", DROP_IF_DEFAULT, "off"},
    {"x-igd-opregion", DROP_IF_DEFAULT, "off"},
    {"enable-migration", DROP_IF_DEFAULT, "auto"},
};

bool vfm_device_is_vfio_pci(const VfmDeviceArg *arg)
{
    const char *driver = vfm_device_arg_get(arg, "driver");

    return g_strcmp0(driver, "vfio-pci") == 0 || g_strcmp0(driver, "vfio-pci-nohotplug") == 0;
}

char *vfm_device_host_address(const VfmDeviceArg *arg, GError **error)
{
    const char *host = vfm_device_arg_get(arg, "host"), *id = vfm_device_arg_get(arg, "id");
    unsigned domain, bus, slot, function;
    int end = 0;

    if (!host) {
        g_set_error(
            error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
            "device %s is not named by its host address but by %s; the helper maps only PCI devices of the host: "
            "take owner='helper' out of <vfiomem:mapping>, or this device out of the domain",
            id ? id : "(without id)",
            vfm_device_arg_get(arg, "sysfsdev") ? "sysfsdev (a mediated device)"
            : vfm_device_arg_get(arg, "fd")     ? "a descriptor (libvirt's iommufd='yes')"
                                                : "nothing");
        return NULL;
    }
    /* sscanf would take signs, spaces and 0x. */
    if (host[strspn(host, "0123456789abcdefABCDEF:.")] ||
        sscanf(host, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &end) != 4 || host[end]) {
        domain = end = 0;
        if (host[strspn(host, "0123456789abcdefABCDEF:.")] ||
            sscanf(host, "%x:%x.%x%n", &bus, &slot, &function, &end) != 3 || host[end]) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "device %s: '%s' is no PCI address", id ? id : "",
                        host);
            return NULL;
        }
    }
    if (domain > 0xffff || bus > 0xff || slot > 0x1f || function > 7) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_RANGE, "device %s: '%s' is no PCI address", id ? id : "", host);
        return NULL;
    }
    return g_strdup_printf("%04x:%02x:%02x.%x", domain, bus, slot, function);
}

/* A JSON string; QEMU's values are paths and names. */
static void append_string(GString *out, const char *value)
{
    g_string_append_c(out, '"');
    for (const char *c = value; *c; c++) {
        if (*c == '"' || *c == '\\')
            g_string_append_printf(out, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            g_string_append_printf(out, "\\u%04x", *c);
        else
            g_string_append_c(out, *c);
    }
    g_string_append_c(out, '"');
}

static bool append_kept(GString *out, const VfmDeviceArg *arg, const char *key, Fate fate, GError **error)
{
    const char *value = vfm_device_arg_get(arg, key);

    g_string_append_printf(out, ",\"%s\":", key);
    if (fate == KEEP_SWITCH) {
        VfmSwitch on;

        if (!vfm_device_arg_switch(arg, key, &on, error))
            return false;
        g_string_append(out, on == VFM_ON ? "true" : "false");
    } else if (fate == KEEP_NUMBER) {
        gint64 number;

        /* bootindex may be -1: none. */
        if (!g_ascii_string_to_signed(value, 10, -1, G_MAXINT64, &number, NULL)) {
            VfmMaybe unsigned_number;

            if (!vfm_device_arg_number(arg, key, &unsigned_number, error))
                return false;
            number = unsigned_number.value;
        }
        g_string_append_printf(out, "%" G_GINT64_FORMAT, number);
    } else {
        append_string(out, value);
    }
    return true;
}

char *vfm_device_rewrite(const VfmDeviceArg *arg, const char *socket, unsigned timeout_ms, GError **error)
{
    g_autoptr(GString) out = g_string_new("{\"driver\":\"vfio-user-pci\"");
    const char *id = vfm_device_arg_get(arg, "id");

    for (unsigned i = 0; i < arg->properties->len; i++) {
        const VfmArgProperty *property = &g_array_index(arg->properties, VfmArgProperty, i);
        const char *last = vfm_device_arg_get(arg, property->key);
        unsigned f = 0;

        while (f < G_N_ELEMENTS(fates) && strcmp(fates[f].key, property->key) != 0)
            f++;
        if (f == G_N_ELEMENTS(fates) || (fates[f].fate == DROP_IF_DEFAULT && strcmp(last, fates[f].is_default) != 0 &&
                                         strcmp(last, "false") != 0)) {
            g_set_error(
                error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                "device %s: option %s=%s cannot be kept when the helper maps (vfio-user-pci has no such option); "
                "take it out, or owner='helper' out of <vfiomem:mapping>",
                id ? id : "(without id)", property->key, last);
            return NULL;
        }
        /* Of one that is given twice the last counts. */
        if (property->value != last || fates[f].fate > KEEP_SWITCH)
            continue;
        if (!append_kept(out, arg, property->key, fates[f].fate, error))
            return NULL;
    }
    g_string_append_printf(out, ",\"x-msg-timeout\":%u,\"socket\":{\"type\":\"unix\",\"path\":", timeout_ms);
    append_string(out, socket);
    g_string_append(out, "}}");
    return g_string_free(g_steal_pointer(&out), false);
}
