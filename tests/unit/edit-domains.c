/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* usage: edit-domains OUTPUT-FOLDER FILE... - writes each domain with every edit it can take, below the same name. */
#include <stdio.h>

#include "domain_edit.h"
#include "domain_xml.h"
#include "every_edit.h"

static int edit_file(const char *folder, const char *path)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(VfmDomain) domain = NULL;
    g_autoptr(GPtrArray) edits = NULL;
    g_autofree char *name = g_path_get_basename(path);
    g_autofree char *output = g_build_filename(folder, name, NULL);
    g_autofree char *text = NULL;
    g_autofree char *edited = NULL;
    gsize length;

    if (!g_file_get_contents(path, &text, &length, &error) ||
        !(domain = vfm_domain_xml_parse(text, length, path, &error))) {
        fprintf(stderr, "edit-domains: %s\n", error->message);
        return 1;
    }
    edits = every_edit(domain);
    edited = vfm_domain_xml_edit(text, length, path, edits, &error);
    if (!edited || !g_file_set_contents(output, edited, -1, &error)) {
        fprintf(stderr, "edit-domains: %s\n", error->message);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    int failed = argc < 3;

    for (int i = 2; i < argc; i++)
        failed |= edit_file(argv[1], argv[i]);
    return failed;
}
