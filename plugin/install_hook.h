/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * install_hook.h - puts vfiomem-hook where libvirt looks for hooks, or takes it away.
 *
 * What it is: one symbolic link, hooks/qemu.d/50-vfiomem, beside whatever hooks are there. A link,
 * not a copy or a script: if vfiomem is uninstalled and the link forgotten, libvirt skips it (it runs only
 * what is executable), where a script would fail and stop every guest. It
 * points into the folder of user programs because distributions' AppArmor profile for libvirtd lets it execute those.
 * What it never does: touch a file that is not ours, restart a daemon, call libvirt.
 *
 * Sources: libvirt docs/hooks.rst, src/util/virhook.c (hooks are looked for once, when the daemon starts; if there
 * was one then, the folder is read at each call).
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

typedef struct {
    const char *root;    /* "/" (or NULL), or a tree of the same shape */
    const char *program; /* what the link points to; NULL: the installed vfiomem-hook */
    bool remove;
    bool dry_run; /* say what would be done, and do nothing */
} VfmHookInstall;

/* Does it and adds to @report what was done, who else is there and whether the daemon has to be
 * restarted, in lines for a person. Doing it twice is fine. Errors: VFM_REFUSED where the place is taken by
 * something that is not ours, VFM_INPUT_ERROR where the program is not there, VFM_SYSTEM_ERROR. */
bool vfm_hook_install(const VfmHookInstall *wish, GString *report, GError **error);
