/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * host_json.h - a host's topology as a JSON file, to plan for a host one is not on.
 *
 * `vfiomem host --format json` writes it, `--host FILE` reads it. The top is
 * one object with "format": "vfiomem-host-1"; docs/man/vfiomem-host.rst
 * describes the members. What is unknown is null. Sizes and counts are integers,
 * addresses and ids are strings in hex (JSON's integers end at 2^53 for many
 * readers, reserved regions do not).
 *
 * Reading is strict: unknown members, wrong types, zero where only "unknown"
 * would make sense, and regions that end before they start are errors that name
 * the file and the member. Members that are absent count as null, so that files
 * of older versions stay readable.
 *
 * The writer needs GLib only; the reader needs json-glib and is in the module
 * vfiomem-json, which programs load when they meet --host (its start-up would
 * otherwise be paid by every call). Threads: no shared state.
 */
#pragma once

#include "host.h"

#define VFM_HOST_JSON_FORMAT "vfiomem-host-1"
#define VFM_HOST_JSON_MAX (16u << 20) /* bytes; thousands of groups take one */

/* Pretty-printed. The caller frees the text. */
char *vfm_host_to_json(const VfmHost *host);

/* @text: @length bytes, need not end in NUL. @file: for messages. NULL with VFM_INPUT_ERROR. The caller owns the host.
 */
VfmHost *vfm_host_from_json(const char *text, gsize length, const char *file, GError **error);

/* Names in files, and in what is printed: "direct", "direct-relaxable", "reserved", "msi". Static. */
const char *vfm_reserved_type_name(VfmReservedType type);
