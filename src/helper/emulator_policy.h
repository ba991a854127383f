/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * emulator_policy.h - what vfiomem-qemu and the helper read besides their arguments.
 *
 * The domain's policy, from the file that the hook left for it or from
 * VFIOMEM_POLICY; and which emulator is configured for a target. Missing files
 * are no policy; text that is unusable is logged and does not count, unless it
 * asks for the helper. Reads, never writes.
 */
#pragma once

#include "domain.h"

/* The policy of the domain whose QEMU has these arguments (-uuid); the environment wins over the file. False: it asks,
 * or may ask, for the helper and can't be used; a guest must not start then. @policy holds what could be read. */
bool vfm_emulator_policy(VfmPolicy *policy, char *const *argv, GError **error);

/* The path that /etc/vfiomem/emulators gives for @target in a line "target = path", or NULL. To be freed. */
char *vfm_emulator_configured(const char *target);
