/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * negotiate.h - from an input to a plan: which host and which versions it is planned for.
 *
 * One VfmNegotiator per command: it keeps the host, to which the groups of each
 * domain's devices are added when they are first met. Where nothing is said, the host
 * is this machine; of a domain from a remote libvirt it is unknown.
 * Precedence of versions: option, then the daemon the domain came from, then
 * what is installed here if the host is this machine, then unknown. In helper
 * mode on this machine vfiomem-qemu is asked (version_asked.h): what it says comes right behind the option.
 */
#pragma once

#include "inputs.h"
#include "plan.h"
#include "terminal.h"

typedef struct {
    const char *file;    /* --host */
    const char *sysfs;   /* --sysfs */
    bool none;           /* --no-host */
    const char *libvirt; /* --libvirt-version */
    const char *qemu;    /* --qemu-version */
} VfmHostOptions;

/* Rows for a command's option table. */
#define VFM_HOST_OPTIONS(host)                                                                                         \
    {VFM_OPTION_TITLE, 0, NULL, NULL, "The host to plan for (default: this machine)", NULL},                           \
        {VFM_OPTION_TEXT, 0, "host", "FILE", "another one, from `vfiomem host --format=json`", &(host)->file},         \
        {VFM_OPTION_TEXT, 0, "sysfs", "DIR", "another one, whose /sys and /proc are in DIR", &(host)->sysfs},          \
        {VFM_OPTION_FLAG, 0, "no-host", NULL, "assume nothing about the host", &(host)->none},                         \
        {VFM_OPTION_TEXT, 0, "libvirt-version", "VERSION", "assume this libvirt", &(host)->libvirt},                   \
    {                                                                                                                  \
        VFM_OPTION_TEXT, 0, "qemu-version", "VERSION", "assume this QEMU", &(host)->qemu                               \
    }

typedef struct {
    VfmHost *host;                          /* NULL: unknown */
    char *root;                             /* where @host's groups can be looked up; NULL: nowhere */
    bool here;                              /* @host is this machine: what is installed on it counts */
    unsigned libvirt_version, qemu_version; /* as given; 0: not given */
    unsigned installed_libvirt;             /* 0: not known, or not to be asked */
    GHashTable *installed_qemus;            /* emulator ("" for none) -> version; filled as they are met */
    const char *emulator;                   /* vfiomem-qemu for domains whose policy wants the helper; borrowed */
} VfmNegotiator;

typedef struct {
    VfmDomain *domain;
    VfmPlan *plan;
    VfmPlanOptions options; /* @host is borrowed from the negotiator */
} VfmNegotiated;

/* False with @error: the options contradict each other (VFM_INPUT_USAGE), or the host asked for cannot be read.
 * That this machine cannot be read, unasked, is only complained about on @terminal. */
bool vfm_negotiator_init(VfmNegotiator *negotiator, const VfmHostOptions *options, const VfmInputOptions *inputs,
                         const char *command, VfmTerminal *terminal, GError **error);

/* Where vfiomem-qemu is; NULL: where it was installed. False with VFM_INPUT_USAGE if @path cannot be it. */
bool vfm_negotiator_set_emulator(VfmNegotiator *negotiator, const char *path, GError **error);
void vfm_negotiator_clear(VfmNegotiator *negotiator);

/* Parses, resolves networks if the domain came from a daemon, negotiates. NULL with @error. */
VfmNegotiated *vfm_negotiate(VfmNegotiator *negotiator, const VfmInputs *inputs, const VfmInput *input,
                             const VfmInputText *text, GError **error);
void vfm_negotiated_free(VfmNegotiated *negotiated);

/* Reads a host file, or the host below a root; for the command `host` too. NULL with @error. */
VfmHost *vfm_host_file_load(const char *path, GError **error);

G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(VfmNegotiator, vfm_negotiator_clear)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmNegotiated, vfm_negotiated_free)
