/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * device_arg.h - the value of QEMU's -device, -object and -netdev options.
 *
 * Takes both forms QEMU takes: "driver,key=value,..." (a comma inside a value is
 * doubled, QEMU docs "-device") and a JSON object. It knows where each value
 * stands in the text, so that one value can be changed and every other byte kept.
 * The JSON scanner reads one strict object (QEMU's single quotes included) and is
 * no general JSON reader: arrays are kept as raw text, nested objects become
 * dotted keys ("socket.path").
 *
 * Never: knows a driver, reads anything but the given text.
 * Errors: VFM_INPUT_ERROR without a place; the caller says where the option stands.
 * Threads: no state; an argument is read-only once made.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#include "domain.h"

/* Nesting allowed in the JSON form: devices need two, -blockdev one for each image of a chain. */
#define VFM_DEVICE_ARG_DEPTH 64

/* Properties in one argument; QEMU's largest devices have some 150. Keeps the search for duplicates cheap. */
#define VFM_DEVICE_ARG_PROPERTIES 512

typedef struct {
    char *key;
    char *value;         /* decoded; JSON true/false/null/numbers as text */
    bool bare;           /* keyval "key" without "=": value is "on" */
    bool quoted;         /* JSON string */
    gsize start, length; /* of the value in the text, quotes included */
} VfmArgProperty;

typedef struct {
    char *text;
    bool json;
    GArray *properties; /* of VfmArgProperty, in order */
} VfmDeviceArg;

/* @implied is the key of a first part without '=' ("driver", "qom-type", "type"). NULL on error. */
VfmDeviceArg *vfm_device_arg_parse(const char *text, const char *implied, GError **error);
void vfm_device_arg_free(VfmDeviceArg *arg);

/* The value of @key, NULL if absent; of several the last one, which is the one QEMU uses. */
const char *vfm_device_arg_get(const VfmDeviceArg *arg, const char *key);

/* A size with QEMU's suffixes (B, K, M, G, T, P, E: powers of 1024; plain numbers are bytes; 0x without
 * suffix), in bytes. Absent: *size is VFM_NONE and the result true. */
bool vfm_device_arg_size(const VfmDeviceArg *arg, const char *key, VfmMaybe *size, GError **error);

/* A plain unsigned number, decimal or 0x. */
bool vfm_device_arg_number(const VfmDeviceArg *arg, const char *key, VfmMaybe *number, GError **error);

/* on/yes/true/y and off/no/false/n. */
bool vfm_device_arg_switch(const VfmDeviceArg *arg, const char *key, VfmSwitch *value, GError **error);

/* New text in which @key has the number or is off: every place that sets it is changed, or it is added at the end. */
char *vfm_device_arg_with_number(const VfmDeviceArg *arg, const char *key, guint64 number);
char *vfm_device_arg_with_switch(const VfmDeviceArg *arg, const char *key, bool on);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmDeviceArg, vfm_device_arg_free)
