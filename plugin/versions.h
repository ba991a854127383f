/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * versions.h - which libvirt and QEMU are installed, from what lies on disk.
 *
 * What it is: a handful of readlink, open and stat calls, so that negotiation
 * knows the rules of the versions at hand without a connection, without loading
 * libvirt (12 ms) and without starting QEMU (60 ms).
 * What it owns: nothing. What it never does: start a process, call libvirt, or
 * guess: where the files say nothing, the answer is 0 = unknown.
 *
 * Where the answers come from:
 *   libvirt  the file name behind the library's soname: libtool makes
 *            libvirt.so.0.MMNNN.P of release M.N.P (libvirt's meson.build:
 *            lt_version "0.<major*1000+minor>.<micro>")
 *   QEMU     libvirt's capabilities cache, <cache>/qemu/capabilities/<sha256 of
 *            the emulator's path>.xml, if its qemuctime still is the emulator's
 *            (libvirt src/qemu/qemu_capabilities.c), else dpkg's status file for
 *            the packaged /usr/bin/qemu-system-*
 *
 * Neither notices that the QEMU behind vfiomem-qemu is another one: where that counts, version_asked.h.
 *
 * Versions are VFM_VERSION numbers (plan.h), the same as libvirt's own.
 * Threads: no shared state.
 */
#pragma once

#include <glib.h>

/* 0 if unknown. The same as vfm_libvirt_version_below("/"). */
unsigned vfm_libvirt_version_installed(void);

/* The libvirt installed below @root ("/" or a tree of the same shape); 0 if unknown. */
unsigned vfm_libvirt_version_below(const char *root);

/* The QEMU behind @emulator, a path as domain XML has it; 0 if unknown.
 * @emulator NULL asks for /usr/bin/qemu-system-x86_64. */
unsigned vfm_qemu_version_installed(const char *emulator);
unsigned vfm_qemu_version_below(const char *root, const char *emulator);

/* "9.0.0" or "7.2.22" to a VFM_VERSION; missing parts are 0. 0 if @text is no
 * version or a part exceeds 999. */
unsigned vfm_version_parse(const char *text);

/* A VFM_VERSION as "9.0.0"; "unknown" for 0. Newly allocated. */
char *vfm_version_text(unsigned version);
