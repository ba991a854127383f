/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * negotiating_driver.h - the driver that negotiates before a guest starts.
 *
 * The same negotiation as `vfiomem check`, with the domain and the host at
 * hand. At prepare, migrate and restore every finding is reported, and an error
 * finding vetoes with one sentence. At start it only looks again, because
 * only then the devices of hostdev network pools are certain. At reconnect
 * it reports what the next start would be refused for, and never fails.
 */
#pragma once

#include "driver.h"

/* Static. */
const VfmDriverOps *vfm_negotiating_driver(void);

/* The sentence for a set of findings with at least one error: the first one and its mend,
 * and how many more there are. One line; newly allocated. */
char *vfm_negotiating_sentence(const GPtrArray *findings);
