/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_text.h - a domain's policy as a few words of text.
 *
 * QEMU's arguments say nothing of the domain's metadata, so what the hook read
 * there has to get to the helper some other way: as a file in the run-time
 * folder named after the domain's UUID, or in the environment variable
 * VFIOMEM_POLICY (<qemu:env>). Words are key=value, separated by white space:
 *   balloon=refuse|resize|pass  required=yes|no  mappings=N  headroom=N
 *   owner=qemu|helper  backend=auto|type1|iommufd  window=START:SIZE (repeatable)
 *
 * No I/O. Threads: no shared state.
 */
#pragma once

#include "domain.h"

/* Folder of the files, unless VFIOMEM_RUNDIR names another. */
#define VFM_POLICY_FOLDER "/run/vfiomem"

/* Sets in @policy what @text says and leaves the rest; windows are added, to an array made where there is none.
 * VFM_INPUT_ERROR names the word it does not know. */
bool vfm_policy_from_text(VfmPolicy *policy, const char *text, GError **error);

/* Whether a guest with this policy must not run without the helper (owner=helper, required=yes). Also answers for text
 * that vfm_policy_from_text() can't use, by the words that are there; in doubt it is true. */
bool vfm_policy_text_needs_helper(const char *text);

/* One line without a newline. To be freed. */
char *vfm_policy_to_text(const VfmPolicy *policy);

/* The file for a domain: @folder (NULL: VFM_POLICY_FOLDER) and its UUID. NULL if @uuid is none. To be freed. */
char *vfm_policy_file(const char *folder, const char *uuid);

/* "refuse", "resize", "pass". */
const char *vfm_balloon_policy_name(VfmBalloonPolicy policy);
bool vfm_balloon_policy_from_name(VfmBalloonPolicy *policy, const char *name);
