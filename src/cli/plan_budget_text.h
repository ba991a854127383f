/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_budget_text.h - the two budgets of a plan, mappings and locked memory, with bars.
 */
#pragma once

#include "negotiate.h"

/* Only for plans with containers. */
void vfm_plan_print_mappings(const VfmTerminal *terminal, const VfmNegotiated *negotiated);
void vfm_plan_print_memlock(const VfmTerminal *terminal, const VfmNegotiated *negotiated);

/* "[########............]  40 %" of @limit; more than all of it is "[####################] 148 %". The caller frees. */
char *vfm_bar_text(uint64_t used, uint64_t limit);
