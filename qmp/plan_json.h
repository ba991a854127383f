/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * plan_json.h - the output contract of `vfiomem check|plan --format json`.
 *
 * One object per domain; docs/man/vfiomem-check.rst describes every member.
 * Members are never left out: what is unknown is null. Sizes are bytes, as
 * integers. Consumers may rely on the names and types; new members may be added.
 * Also what `vfiomem-query-plan` answers on the monitor. Threads: no shared state.
 */
#pragma once

#include "json_out.h"
#include "plan.h"

/* @plan must be of @domain. The caller frees the text. */
char *vfm_plan_to_json(const VfmDomain *domain, const VfmPlan *plan, bool pretty);

/* The same as one value inside a larger document. @key as in json_out.h. */
void vfm_plan_write_json(VfmJsonOut *out, const char *key, const VfmDomain *domain, const VfmPlan *plan);

/* One of several in an array: told apart by a member "file" at the start; NULL where it is from no file. */
void vfm_plan_write_json_of(VfmJsonOut *out, const char *file, const VfmDomain *domain, const VfmPlan *plan);
