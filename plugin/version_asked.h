/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * version_asked.h - the version of the QEMU that vfiomem-qemu becomes, by asking it.
 *
 * What lies on disk (versions.h) does not tell it: libvirt's cache is keyed by
 * vfiomem-qemu's own file, so it is stale once the QEMU behind it is replaced.
 * Starting QEMU takes some 60 ms, so this is for guests whose start depends on
 * the version, those in helper mode.
 *
 * The path is out of domain XML, which may be anybody's: only a file is started
 * that belongs to root, nobody else may write, and whose name is that of an
 * emulator. It is started with nothing but a PATH, as nobody where we are root,
 * and for 5 s at most. What it owns: nothing. Threads: no shared state.
 */
#pragma once

#include <stdbool.h>

/* Whether @emulator is a vfiomem-qemu, by its name: then what lies on disk says nothing certain. NULL is none. */
bool vfm_emulator_is_wrapper(const char *emulator);

/* The version behind @emulator, which has to be a vfiomem-qemu, or of @real (VFIOMEM_QEMU in the domain's <qemu:env>),
 * if that is not NULL. A VFM_VERSION; 0: not known. */
unsigned vfm_qemu_version_asked(const char *emulator, const char *real);
