/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * answers.h - looking into QEMU's answers with json-glib, without trusting them.
 *
 * Every function takes what may be NULL or of another type and then says
 * "absent". Borrowed values belong to the node they come from.
 */
#pragma once

#include <json-glib/json-glib.h>

#include "domain.h"
#include "message.h"

/* The value of "return" in a reply, or NULL (an error, not JSON). The caller owns it. */
JsonNode *vfm_answer_value(const char *reply);

/* The text of an error reply, or NULL if it is none. To be freed. */
char *vfm_answer_error(const char *reply);

/* The arguments of a command as an object, or NULL. The caller owns it. */
JsonObject *vfm_answer_arguments(VfmSlice slice);

JsonObject *vfm_node_object(JsonNode *node);
JsonArray *vfm_node_array(JsonNode *node);
JsonObject *vfm_element_object(JsonArray *array, guint index);

const char *vfm_member_string(JsonObject *object, const char *name);
VfmMaybe vfm_member_number(JsonObject *object, const char *name);
VfmSwitch vfm_member_bool(JsonObject *object, const char *name);
JsonObject *vfm_member_object(JsonObject *object, const char *name);
JsonArray *vfm_member_array(JsonObject *object, const char *name);
