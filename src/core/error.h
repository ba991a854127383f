/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * error.h - the three kinds of failure, kept apart by type.
 *
 * A broken machine, a wrong input and a refusal by rule call for different
 * reactions (retry or give up; correct the input; change the domain or the
 * host), so each has a GError domain of its own and none can be mistaken for
 * another:
 *
 *   VFM_SYSTEM_ERROR   the kernel or the C library said no. code = errno.
 *   VFM_INPUT_ERROR    what a person or a peer handed in is unusable.
 *   VFM_REFUSED        everything works and is well-formed, but a rule of
 *                      VFIO, QEMU, libvirt or the policy forbids it.
 *
 * Every message names what failed, on which object and why, and ends with what
 * to do where that is known. Messages are single lines without a final period
 * or newline; they are made by the functions below so that errno is always
 * spelled out. Nothing here keeps state; all functions are thread-safe.
 */
#pragma once

#include <glib.h>

#define VFM_SYSTEM_ERROR (vfm_system_error_quark())
#define VFM_INPUT_ERROR (vfm_input_error_quark())
#define VFM_REFUSED (vfm_refused_quark())

/* The domain VFM_SYSTEM_ERROR. */
GQuark vfm_system_error_quark(void);
/* The domain VFM_INPUT_ERROR. */
GQuark vfm_input_error_quark(void);
/* The domain VFM_REFUSED. */
GQuark vfm_refused_quark(void);

typedef enum {
    VFM_INPUT_SYNTAX = 1, /* not XML, not JSON, truncated, wrong root */
    VFM_INPUT_RANGE,      /* a number overflows, is negative, has no unit we know */
    VFM_INPUT_CONFLICT,   /* two parts of the input contradict each other */
    VFM_INPUT_TOO_LARGE,  /* beyond a documented bound */
    VFM_INPUT_USAGE,      /* the caller's arguments are off */
    VFM_INPUT_UNSUPPORTED /* well-formed, and not handled here */
} VfmInputError;

typedef enum {
    VFM_REFUSED_BUDGET = 1, /* the mapping budget (type1: dma_entry_limit) */
    VFM_REFUSED_MEMLOCK,    /* RLIMIT_MEMLOCK */
    VFM_REFUSED_RESERVED,   /* a reserved region or the aperture hits guest RAM */
    VFM_REFUSED_INHIBITED,  /* disable/require of discards collide (QEMU: -EBUSY) */
    VFM_REFUSED_ALIGNMENT,  /* address, size or block size is not aligned */
    VFM_REFUSED_STATE,      /* not in this state: e.g. plug of a plugged block */
    VFM_REFUSED_POLICY      /* the domain's own policy says no */
} VfmRefused;

/* Sets @error to VFM_SYSTEM_ERROR with code @errnum and the text
 * "<formatted>: <strerror(errnum)>". @errnum is positive. */
void vfm_set_system_error(GError **error, int errnum, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Adds to a message that is set what went wrong after it: "<message>; <formatted>". Nothing where @error is
 * NULL or unset. For a way back that failed as well. */
void vfm_error_append(GError **error, const char *format, ...) G_GNUC_PRINTF(2, 3);
