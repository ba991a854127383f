/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * inputs.h - where domain XML comes from: files, directories, standard input, a libvirt daemon.
 *
 * The list is made first, cheaply, so that progress can be counted and a wrong
 * operand is told before any work; each text is loaded when its turn comes, so
 * that a thousand domains are never in memory at once. Does not look into XML.
 */
#pragma once

#include "options.h"

#include <glib.h>

typedef struct {
    const char *connect; /* URI, NULL: libvirt's default */
    GPtrArray *domains;  /* of const char *; NULL if none */
    bool all;
    bool inactive;
    bool connected; /* files, too, are meant for that libvirt; implied by @connect */
} VfmInputOptions;

/* Frees the list of domains, which reading options made. */
void vfm_input_options_clear(VfmInputOptions *options);

/* Rows for a command's option table. */
#define VFM_INPUT_OPTIONS(in)                                                                                          \
    {VFM_OPTION_TITLE, 0, NULL, NULL, "Domains from libvirt instead of files", NULL},                                  \
        {VFM_OPTION_TEXT, 'c', "connect", "URI", "libvirt to ask (default: libvirt's own default)", &(in)->connect},   \
        {VFM_OPTION_LIST, 'd', "domain", "NAME", "take this domain, by name or UUID; may repeat", &(in)->domains},     \
    {                                                                                                                  \
        VFM_OPTION_FLAG, 0, "all", NULL, "take all domains of that libvirt", &(in)->all                                \
    }
#define VFM_INACTIVE_OPTION(in)                                                                                        \
    {                                                                                                                  \
        VFM_OPTION_FLAG, 0, "inactive", NULL, "of running domains take the definition for the next start",             \
            &(in)->inactive                                                                                            \
    }

typedef enum { VFM_INPUT_FILE, VFM_INPUT_STDIN, VFM_INPUT_DOMAIN } VfmInputKind;

typedef struct {
    VfmInputKind kind;
    char *name; /* path, "-", or domain */
} VfmInput;

typedef struct {
    GPtrArray *list; /* of VfmInput* */
    bool several;    /* more than one, or named in a way that could have been more (a directory, --all) */
    VfmInputOptions options;
} VfmInputs;

typedef struct {
    char *text; /* ends in NUL, which does not count in @length */
    gsize length;
    unsigned libvirt_version, qemu_version; /* of the daemon it is from or for, VFM_VERSION; 0 unknown */
    bool connected;                         /* there is such a daemon: networks can be looked up */
} VfmInputText;

/* @operands: @count paths or "-". None of them and no domain: standard input, unless that is a terminal.
 * NULL with VFM_INPUT_ERROR (code VFM_INPUT_USAGE if the use is wrong) or VFM_SYSTEM_ERROR. */
VfmInputs *vfm_inputs_new(const VfmInputOptions *options, char **operands, int count, GError **error);
void vfm_inputs_free(VfmInputs *inputs);

/* Reads one. At most VFM_DOMAIN_XML_MAX bytes: what is larger is an error, found without reading it all. */
VfmInputText *vfm_input_load(const VfmInputs *inputs, const VfmInput *input, GError **error);
void vfm_input_text_free(VfmInputText *text);

/* For messages: the path, "standard input", or the domain's name. Borrowed. */
const char *vfm_input_name(const VfmInput *input);

G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmInputs, vfm_inputs_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(VfmInputText, vfm_input_text_free)
