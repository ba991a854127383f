/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "nodeset.h"

#include <stdlib.h>

#include "error.h"

static bool syntax_error(const char *text, GError **error)
{
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_SYNTAX, "'%s' is not a list of nodes like 0-3,^2", text);
    return false;
}

/* One node number below @nodes. */
static bool read_node(const char *text, const char **at, unsigned nodes, unsigned *node, GError **error)
{
    guint64 number;
    char *end;

    if (!g_ascii_isdigit(**at))
        return syntax_error(text, error);
    number = g_ascii_strtoull(*at, &end, 10);
    if (number >= nodes) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT, "NUMA node %.*s does not exist, the guest has %u",
                    (int)MIN(end - *at, 20), *at, nodes);
        return false;
    }
    *at = end;
    *node = (unsigned)number;
    return true;
}

bool vfm_nodeset_parse(const char *text, unsigned nodes, bool *set, GError **error)
{
    const char *at = text;
    bool any = false;

    for (;;) {
        unsigned first, last;
        bool out;

        while (g_ascii_isspace(*at))
            at++;
        out = *at == '^';
        at += out;
        if (!read_node(text, &at, nodes, &first, error))
            return false;
        last = first;
        if (*at == '-' && !out) {
            at++;
            if (!read_node(text, &at, nodes, &last, error))
                return false;
            if (last < first)
                return syntax_error(text, error);
        }
        for (unsigned node = first; node <= last; node++)
            set[node] = !out;
        while (g_ascii_isspace(*at))
            at++;
        if (*at == '\0')
            break;
        if (*at++ != ',')
            return syntax_error(text, error);
    }
    for (unsigned node = 0; node < nodes; node++)
        any |= set[node];
    return any || syntax_error(text, error);
}
