/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* sandbox_parts.h - what the mediator's sandbox and that of the mapping process share. All return 0 or errno. */
#pragma once

#include <glib.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>

/* No new privileges, no core dump, no ptrace by others. */
int vfm_sandbox_seal(void);

/* Of the capabilities that the calling thread has, those in @keep (bits, CAP_*) stay. */
int vfm_sandbox_keep_capabilities(uint64_t keep);

/* An empty filter under which all calls fail with EPERM; NULL without memory. */
scmp_filter_ctx vfm_sandbox_filter(void);
int vfm_sandbox_allow(scmp_filter_ctx filter, const int *calls, size_t n);
/* mmap and mprotect of what is not to be executed. */
int vfm_sandbox_allow_memory(scmp_filter_ctx filter);
/* Puts the filter in force for the calling thread and all it makes, and frees it; @status: what went before. */
int vfm_sandbox_load(scmp_filter_ctx filter, int status);
