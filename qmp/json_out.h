/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * json_out.h - writes JSON text, value by value, in the order given.
 *
 * For our own documents only (the output contract, host files). json-glib's
 * builder is not used for them: it holds integers as signed 64 bits, and sizes
 * are unsigned; and it would pull gio into every `vfiomem check`, which costs
 * more than the check. Numbers are printed exactly, strings are always valid
 * UTF-8 (bytes that are not become U+FFFD) and never hold raw control bytes.
 *
 * Use: open containers with _object() and _array(), close each with _end();
 * @key names a member inside an object and is NULL inside an array or at the
 * top. Misuse is a programming error and aborts. Threads: one at a time.
 */
#pragma once

#include "domain.h"

typedef struct VfmJsonOut VfmJsonOut;

/* @pretty: two spaces per level, one member a line. Otherwise all on one line. */
VfmJsonOut *vfm_json_out_new(bool pretty);
void vfm_json_out_free(VfmJsonOut *out);

void vfm_json_out_object(VfmJsonOut *out, const char *key);
void vfm_json_out_array(VfmJsonOut *out, const char *key);
void vfm_json_out_end(VfmJsonOut *out);

/* NULL is written as null. */
void vfm_json_out_string(VfmJsonOut *out, const char *key, const char *value);
void vfm_json_out_number(VfmJsonOut *out, const char *key, uint64_t value);
void vfm_json_out_bool(VfmJsonOut *out, const char *key, bool value);
/* A value that is not set, and VFM_ABSENT, are null. */
void vfm_json_out_maybe(VfmJsonOut *out, const char *key, VfmMaybe value);
void vfm_json_out_switch(VfmJsonOut *out, const char *key, VfmSwitch value);
/* "0x…" with @digits digits at least, as a string: for addresses and ids, which people compare in hex. */
void vfm_json_out_hex(VfmJsonOut *out, const char *key, uint64_t value, unsigned digits);
/* @json is one whole JSON value, written as it is; NULL: null. */
void vfm_json_out_raw(VfmJsonOut *out, const char *key, const char *json);

/* Finished text, with a newline at the end if pretty. Frees @out. Every container must be closed. */
char *vfm_json_out_finish(VfmJsonOut *out);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmJsonOut, vfm_json_out_free)
