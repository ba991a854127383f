/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_text.h - a plan as tables that a person understands.
 *
 * Sections: assigned devices, guest memory with its blocks now and recommended,
 * the mapping budget with a bar, locked memory against its limit, who inhibits
 * what; the guest memory map where it is asked for. Findings are printed by
 * findings_text. Sections with nothing to say are left out.
 */
#pragma once

#include "negotiate.h"

/* @name: the input's. @map: with the guest memory map. */
void vfm_plan_print(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated, bool map);
