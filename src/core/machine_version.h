/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * machine_version.h - which QEMU a versioned machine type stands for.
 *
 * "pc-q35-7.2" behaves as QEMU 7.2 did whatever QEMU runs it. Distributions
 * have names of their own. Pure function, thread-safe.
 */
#pragma once

#include <glib.h>

/* VFM_VERSION of the machine type, 0 for an alias ("q35", "pc") or a name that says nothing. */
unsigned vfm_machine_version(const char *machine);
