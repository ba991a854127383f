/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * size_text.h - sizes in tables: short, to compare by eye.
 *
 * Core's vfm_amount() never rounds ("134217984 KiB"), which is right for numbers to type. Here
 * there is one decimal at most, and "~" in front where that is not the whole truth.
 */
#pragma once

#include "domain.h"

/* "135.5 GiB", "2 MiB", "~128 GiB", "0". The caller frees. */
char *vfm_size_text(uint64_t bytes);

/* The same, or @otherwise where the value is not set. The caller frees. */
char *vfm_maybe_size_text(VfmMaybe bytes, const char *otherwise);
