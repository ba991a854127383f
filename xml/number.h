/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * number.h - numbers and sizes as libvirt reads them in domain XML.
 *
 * Owns nothing and knows no XML: text in, integers out. What libvirt takes is
 * taken here, what it refuses is refused here, so that a size never means
 * something else to us than to the program that starts the guest. The rules
 * are those of libvirt's virScaleInteger() and virDomainParseMemory(), checked
 * against libvirt 9.0's test driver.
 *
 * Errors: VFM_INPUT_ERROR with VFM_INPUT_SYNTAX (no number, unknown unit) or
 * VFM_INPUT_RANGE (negative, too large); the text names the value only, the
 * caller says where it stands. Threads: no state.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "amount.h"

/* libvirt keeps sizes in KiB below 2^63 bytes (virMemoryMaxValue). */
#define VFM_MEMORY_SIZE_MAX ((uint64_t)INT64_MAX)

/* libvirt's VIR_DOMAIN_MEMORY_PARAM_UNLIMITED, in bytes: a limit from here on is none. */
#define VFM_MEMORY_UNLIMITED ((uint64_t)(INT64_MAX >> 10) << 10)

/* Reads all of @text as an unsigned number of @base (0: 0x is hexadecimal, a leading 0
 * octal). Leading white space and '+' are fine as for strtoull(), anything behind the digits is
 * not. */
bool vfm_number_parse(const char *text, int base, uint64_t *value, GError **error);

/* Bytes of @number in @unit; NULL or "" means @default_scale. Units in any case: b, byte, bytes; k,
 * m, g, t, p, e alone or with iB are powers of 1024, with B powers of 1000. More than @limit bytes is an error. */
bool vfm_size_scale(uint64_t number, const char *unit, uint64_t default_scale, uint64_t limit, uint64_t *bytes,
                    GError **error);

/* A guest memory size: default unit KiB, rounded up to whole KiB as libvirt does, in bytes. */
bool vfm_memory_size_parse(const char *text, const char *unit, uint64_t *bytes, GError **error);
