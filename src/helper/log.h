/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * log.h - lines for the domain's log (standard error), where a person looks.
 *
 * A line is dropped rather than waited for: the log may be a pipe whose reader
 * is busy, and the monitor must not stand still for it. Lines are at most 512
 * bytes. Any thread.
 */
#pragma once

#include <glib.h>

/* Writes "vfiomem: <text>\n". */
void vfm_log(const char *format, ...) G_GNUC_PRINTF(1, 2);
