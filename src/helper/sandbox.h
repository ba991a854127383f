/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sandbox.h - what the worker gives up before it looks at a byte.
 *
 * No capability, no new privileges, no core dump or ptrace by others, and only
 * the system calls that moving bytes and allocating memory take: no files, no
 * processes, no new sockets but those accepted, no executable memory. Calls
 * beyond that fail with EPERM.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

/* For the calling process; cannot be undone. What the kernel lacks is reported in @error and the rest is still given
 * up. */
bool vfm_sandbox_enter(GError **error);
