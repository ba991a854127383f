/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * monitor_source.h - asking a running guest's helper, for `vfiomem status` and `vfiomem mappings`.
 *
 * One way only: libvirt's public monitor API. That the guest has no helper is
 * found out from QEMU's answer and said so.
 */
#pragma once

#include <glib.h>

/* The reply to one of our commands; @arguments is a JSON object or NULL. NULL with an error that a person
 * understands. The caller frees it. */
char *vfm_monitor_source_ask(const char *uri, const char *domain, const char *command, const char *arguments,
                             GError **error);

/* Prints the value of "return" in @reply on one line. */
void vfm_monitor_source_print(const char *reply);
