/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_log.h - where the hook's notes go.
 *
 * libvirt shows a hook's standard error only if the hook fails, so notes go to syslog where there is one
 * (facility daemon, ident "vfiomem-hook"), and a file can be named. Standard error is the last resort,
 * and never used when the start is refused: there only the one sentence may stand. libc only.
 */
#pragma once

#include <stdbool.h>

typedef struct {
    const char *file;   /* NULL: syslog, or standard error where there is none */
    const char *domain; /* for every line */
    const char *operation;
    bool quiet_stderr; /* the sentence is to stand alone */
} VfmHookLog;

/* @priority as for syslog(3): LOG_WARNING, LOG_ERR. @text has @length bytes, one line. */
void vfm_hook_log(const VfmHookLog *log, int priority, const char *text, int length);
