/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * policy_record.h - a domain's policy where vfiomem-qemu and the helper find it.
 *
 * QEMU's arguments say nothing of metadata, so the hook leaves the policy as a
 * file /run/vfiomem/UUID.policy before QEMU is started and takes it away when
 * libvirt releases the domain. What it never does: parse or judge; the text is
 * what policy_text.h of core wrote. libc only, as all of the hook's supervisor.
 */
#pragma once

#include <stddef.h>

/* Writes the @length bytes "UUID TEXT" of a driver's answer; whole or not at all. 0, or -1 with errno. */
int vfm_policy_record_write(const char *folder, const char *line, size_t length);

/* Takes away what was written for the UUID in @line; that there is nothing is no error. 0, or -1 with errno. */
int vfm_policy_record_remove(const char *folder, const char *line, size_t length);
