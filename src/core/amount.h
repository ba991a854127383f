/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * amount.h - sizes and addresses as people read them in messages.
 *
 * Exact, never rounded: the number in a message is the number to type. Owns
 * nothing and keeps no state; thread-safe.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* "2 MiB", "126 GiB", "17 bytes": the largest power-of-1024 unit that divides @bytes, or two of them where that
 * would be a long number: "192 GiB + 512 KiB". Caller frees. */
char *vfm_amount(uint64_t bytes);

/* @value rounded up to a multiple of @to (not 0, any value); UINT64_MAX if it does not fit in 64 bits. */
uint64_t vfm_round_up(uint64_t value, uint64_t to);

/* Sum and product that stop at UINT64_MAX instead of wrapping. */
uint64_t vfm_add(uint64_t a, uint64_t b);
uint64_t vfm_mul(uint64_t a, uint64_t b);

/* 1, 2, 4, ...; 0 is none. */
bool vfm_is_power_of_two(uint64_t value);

#define VFM_KIB (UINT64_C(1) << 10)
#define VFM_MIB (UINT64_C(1) << 20)
#define VFM_GIB (UINT64_C(1) << 30)
#define VFM_TIB (UINT64_C(1) << 40)
