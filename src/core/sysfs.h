/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * sysfs.h - small reads of /sys and /proc below a root that need not be ours.
 *
 * The root may be a copy of another machine's tree that somebody else made, so
 * nothing in it is trusted: symbolic links cannot leave the root (the kernel's
 * openat2 with RESOLVE_IN_ROOT), only regular files are read, never a FIFO or a
 * device, no file beyond VFM_SYSFS_FILE_MAX bytes and no directory beyond
 * VFM_SYSFS_ENTRIES_MAX entries. It gives text and numbers; what they mean is
 * host_read's business.
 *
 * "Not there" (ENOENT, ENOTDIR, a dangling link, an attribute whose driver has
 * no answer) is no error: it is how a host says that it does not know. Any other
 * failure is VFM_SYSTEM_ERROR, content of the wrong form is VFM_INPUT_ERROR;
 * both name the file.
 *
 * Threads: a VfmSysfs has no lock; one thread at a time.
 */
#pragma once

#include "domain.h"

#define VFM_SYSFS_FILE_MAX 65536u
#define VFM_SYSFS_ENTRIES_MAX 65536u

typedef struct VfmSysfs VfmSysfs;

/* @root: directory that holds "sys" and "proc". "/" is this machine.
 * Fails if it is no directory or holds neither. */
VfmSysfs *vfm_sysfs_open(const char *root, GError **error);
void vfm_sysfs_free(VfmSysfs *fs);

/* True if @root was "/": questions that only the running kernel can answer may be asked. */
bool vfm_sysfs_is_live(const VfmSysfs *fs);

/* True if the path (relative to the root, as all here) exists, whatever it is. */
bool vfm_sysfs_exists(const VfmSysfs *fs, const char *path);

/* Content without trailing white space, at most @max bytes of it (0: VFM_SYSFS_FILE_MAX, and more is an error).
 * NULL without @error: not there. The caller frees it. */
char *vfm_sysfs_text(const VfmSysfs *fs, const char *path, size_t max, GError **error);

/* A number, decimal or 0x…, alone in its file. *@value is not set where the file is not there
 * or says -1, the kernel's word for "none". False: @error is set. */
bool vfm_sysfs_number(const VfmSysfs *fs, const char *path, VfmMaybe *value, GError **error);

/* A module parameter of type bool: Y or N. */
bool vfm_sysfs_switch(const VfmSysfs *fs, const char *path, VfmSwitch *value, GError **error);

/* Names in a directory, sorted bytewise, without "." and "..". NULL without @error: not there.
 * Array of char* that frees its elements. */
GPtrArray *vfm_sysfs_list(const VfmSysfs *fs, const char *path, GError **error);

/* Last component of a symbolic link's target. NULL: not there or no link. The caller frees it. */
char *vfm_sysfs_link(const VfmSysfs *fs, const char *path);

/* For messages: the path as a person would type it. The caller frees it. */
char *vfm_sysfs_name(const VfmSysfs *fs, const char *path);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmSysfs, vfm_sysfs_free)
