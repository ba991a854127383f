/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_scan.h - may this text be a domain that vfiomem must answer for?
 *
 * What it is: the fallback for when the XML can't be parsed or the parser
 * crashed. A search through bytes that never fails and errs towards "yes": an element
 * inside a comment counts. What it never does: parse. libc only.
 */
#pragma once

#include <stddef.h>

/* The first thing found that gives a device access to guest memory, or a policy of ours, in
 * words for a sentence ("a PCI or mediated <hostdev>"); NULL if there is none. Static. */
const char *vfm_hook_scan(const char *text, size_t length);
