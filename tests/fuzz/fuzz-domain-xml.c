/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Any bytes: parse; where that is a domain, edit everything an edit can reach, and hold the editor to its header:
 * the result is a domain with the same devices, and editing it again changes nothing.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "domain_edit.h"
#include "domain_xml.h"
#include "error.h"
#include "every_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, const GError *error)
{
    if (!good)
        g_error("%s: %s", what, error ? error->message : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmDomain) before = vfm_domain_xml_parse((const char *)data, size, "fuzz", &error);
    g_autoptr(VfmDomain) after = NULL;
    g_autoptr(GPtrArray) edits = NULL;
    g_autofree char *once = NULL;
    g_autofree char *twice = NULL;

    if (!before) {
        must(error && error->domain == VFM_INPUT_ERROR, "a wrong error", error);
        must(g_str_has_prefix(error->message, "fuzz:") && !strchr(error->message, '\n'), "a wrong message", error);
        return 0;
    }
    edits = every_edit(before);
    once = vfm_domain_xml_edit((const char *)data, size, "fuzz", edits, &error);
    if (!once) {
        must(g_error_matches(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED), "an edit broke the domain", error);
        return 0;
    }
    after = vfm_domain_xml_parse(once, strlen(once), "edited", &error);
    must(after != NULL, "the edited domain is none", error);
    must(after->memory_devices->len == before->memory_devices->len, "memory devices were lost", NULL);
    must(after->assigned->len == before->assigned->len, "assigned devices were lost", NULL);
    must(after->iommus->len == before->iommus->len, "IOMMUs were lost", NULL);
    must(after->boot == before->boot && after->memory == before->memory, "memory changed", NULL);
    twice = vfm_domain_xml_edit(once, strlen(once), "again", edits, &error);
    must(twice && strcmp(once, twice) == 0, "the second edit changed something", error);
    return 0;
}
