/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * reply.h - the texts that we say on the monitor ourselves.
 *
 * Built as bytes: the id of the command is echoed exactly as it came, and every
 * text ends in CRLF as QEMU's do (docs/interop/qmp-spec.rst); libvirt reads
 * lines. Everything is ASCII; other characters are escaped.
 */
#pragma once

#include "message.h"

/* {"id": ID, "error": {"class": "GenericError", "desc": @text}} */
char *vfm_reply_error(VfmSlice id, const char *text);

/* The same with a class of qapi/error.json, e.g. "CommandNotFound". */
char *vfm_reply_error_class(VfmSlice id, const char *class, const char *text);

/* {"return": @json, "id": ID}; @json is one JSON value without a line break. */
char *vfm_reply_return(VfmSlice id, const char *json);

/* {"timestamp": now, "event": @name, "data": @json} */
char *vfm_reply_event(const char *name, const char *json);

/* @text as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
char *vfm_reply_quote(const char *text);
