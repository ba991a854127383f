/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * edit_parts.h - the steps that edits of a domain are made of.
 *
 * Private to xml/. An editor is one text being changed and the domain it was
 * when editing began; positions in the domain (the n-th memory device) hold
 * throughout, since no edit adds or removes a device it counts.
 */
#pragma once

#include "commandline.h"
#include "domain.h"
#include "splice.h"

typedef struct {
    VfmSplicer *splicer;     /* borrowed */
    const VfmDomain *domain; /* as parsed before the first edit */
} VfmEditor;

/* The <domain> element, below <domstatus> or not, and its <devices>. */
guint vfm_editor_domain(const VfmEditor *editor);
guint vfm_editor_devices(const VfmEditor *editor);

/* The @rank-th (from 0) child @name, VFM_NO_SPAN if there are fewer. */
guint vfm_editor_nth(const VfmEditor *editor, guint parent, const char *name, unsigned rank);

/* The child @name of @parent, made of @markup where it is missing; @order as in vfm_splicer_insert_child(). */
bool vfm_editor_ensure(VfmEditor *editor, guint parent, const char *const *order, const char *name, const char *markup,
                       guint *child, GError **error);

/* Sets an attribute unless it has that value. */
bool vfm_editor_set_attribute(VfmEditor *editor, guint element, const char *name, const char *value, GError **error);

/* Sets the size element @name of @parent to @bytes (a multiple of KiB), in the unit it has if that is possible. */
bool vfm_editor_set_size(VfmEditor *editor, guint parent, const char *const *order, const char *name, uint64_t bytes,
                         GError **error);

/* Changes a property in the @rank-th -device of that kind in <qemu:commandline>. */
bool vfm_editor_set_argument_number(VfmEditor *editor, VfmDriverKind kind, unsigned rank, const char *property,
                                    uint64_t value, GError **error);
bool vfm_editor_set_argument_switch(VfmEditor *editor, VfmDriverKind kind, unsigned rank, const char *property, bool on,
                                    GError **error);

/* Changes a switch in all -device of that kind that have it; none is no error. */
bool vfm_editor_argument_switches(VfmEditor *editor, VfmDriverKind kind, const char *property, bool on, GError **error);

/* Turns a boolean property that <qemu:override> gives device @alias off; none is no error. */
bool vfm_editor_override_off(VfmEditor *editor, const char *alias, const char *property, GError **error);
