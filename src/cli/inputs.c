/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "inputs.h"
#include "connection.h"
#include "domain_xml.h"
#include "error.h"
#include "file_read.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOUND "the bound for domain XML"

void vfm_input_options_clear(VfmInputOptions *options)
{
    g_clear_pointer(&options->domains, g_ptr_array_unref);
}

static void input_free(gpointer data)
{
    VfmInput *input = data;

    g_free(input->name);
    g_free(input);
}

static void add(VfmInputs *inputs, VfmInputKind kind, const char *name)
{
    VfmInput *input = g_new0(VfmInput, 1);

    input->kind = kind;
    input->name = g_strdup(name);
    g_ptr_array_add(inputs->list, input);
}

static gint compare_inputs(gconstpointer a, gconstpointer b)
{
    return strcmp((*(VfmInput *const *)a)->name, (*(VfmInput *const *)b)->name);
}

/* The *.xml of a directory, not of those below it: /etc/libvirt/qemu has its networks there. */
static bool add_directory(VfmInputs *inputs, const char *path, GError **error)
{
    g_autoptr(GDir) dir = NULL;
    g_autoptr(GPtrArray) found = g_ptr_array_new();
    const char *name;

    errno = 0;
    dir = g_dir_open(path, 0, NULL);
    if (!dir) {
        vfm_set_system_error(error, errno, "%s: open directory", path);
        return false;
    }
    while ((name = g_dir_read_name(dir))) {
        VfmInput *input;

        if (!g_str_has_suffix(name, ".xml") || name[0] == '.')
            continue;
        input = g_new0(VfmInput, 1);
        input->kind = VFM_INPUT_FILE;
        input->name = g_build_filename(path, name, NULL);
        g_ptr_array_add(found, input);
    }
    if (found->len == 0) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED, "%s: no file in it ends in .xml", path);
        return false;
    }
    g_ptr_array_sort(found, compare_inputs);
    g_ptr_array_extend_and_steal(inputs->list, g_steal_pointer(&found));
    inputs->several = true;
    return true;
}

static bool add_stdin(VfmInputs *inputs, GError **error)
{
    for (guint i = 0; i < inputs->list->len; i++) {
        const VfmInput *other = g_ptr_array_index(inputs->list, i);

        if (other->kind == VFM_INPUT_STDIN) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "standard input (-) is given twice");
            return false;
        }
    }
    add(inputs, VFM_INPUT_STDIN, "-");
    return true;
}

static bool add_operand(VfmInputs *inputs, const char *operand, GError **error)
{
    struct stat info;

    if (g_str_equal(operand, "-"))
        return add_stdin(inputs, error);
    if (stat(operand, &info) == 0 && S_ISDIR(info.st_mode))
        return add_directory(inputs, operand, error);
    else
        add(inputs, VFM_INPUT_FILE, operand); /* one that cannot be read is told in its turn */
    return true;
}

static bool add_all_domains(VfmInputs *inputs, GError **error)
{
    g_auto(GStrv) names = vfm_connection_domain_names(inputs->options.connect, error);

    if (!names)
        return false;
    for (guint i = 0; names[i]; i++)
        add(inputs, VFM_INPUT_DOMAIN, names[i]);
    inputs->several = true;
    return true;
}

VfmInputs *vfm_inputs_new(const VfmInputOptions *options, char **operands, int count, GError **error)
{
    g_autoptr(VfmInputs) inputs = g_new0(VfmInputs, 1);

    inputs->list = g_ptr_array_new_with_free_func(input_free);
    inputs->options = *options;
    inputs->options.connected = options->connected || options->connect;
    for (int i = 0; i < count; i++) {
        if (!add_operand(inputs, operands[i], error))
            return NULL;
    }
    for (guint i = 0; options->domains && i < options->domains->len; i++)
        add(inputs, VFM_INPUT_DOMAIN, options->domains->pdata[i]);
    if (options->all && !add_all_domains(inputs, error))
        return NULL;
    if (inputs->list->len == 0 && !inputs->several) {
        if (options->connect && isatty(STDIN_FILENO)) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "which domain? Give --domain=NAME or --all");
            return NULL;
        }
        if (isatty(STDIN_FILENO)) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE,
                        "nothing to read; give a file, a directory, '-' or --domain=NAME");
            return NULL;
        }
        add(inputs, VFM_INPUT_STDIN, "-");
    }
    inputs->several = inputs->several || inputs->list->len > 1;
    return g_steal_pointer(&inputs);
}

void vfm_inputs_free(VfmInputs *inputs)
{
    if (!inputs)
        return;
    g_ptr_array_unref(inputs->list);
    g_free(inputs);
}

const char *vfm_input_name(const VfmInput *input)
{
    return input->kind == VFM_INPUT_STDIN ? "standard input" : input->name;
}

VfmInputText *vfm_input_load(const VfmInputs *inputs, const VfmInput *input, GError **error)
{
    g_autoptr(VfmInputText) text = g_new0(VfmInputText, 1);

    switch (input->kind) {
    case VFM_INPUT_FILE:
        text->text = vfm_file_read(input->name, VFM_DOMAIN_XML_MAX, BOUND, &text->length, error);
        /* virsh takes domains where this takes files. */
        if (!text->text && error && g_error_matches(*error, VFM_SYSTEM_ERROR, ENOENT) && *input->name &&
            !strpbrk(input->name, "/."))
            vfm_error_append(error, "a domain of libvirt's is given with --domain=%s", input->name);
        break;
    case VFM_INPUT_STDIN:
        text->text = vfm_fd_read(STDIN_FILENO, vfm_input_name(input), VFM_DOMAIN_XML_MAX, BOUND, &text->length, error);
        break;
    case VFM_INPUT_DOMAIN:
        text->text = vfm_connection_domain_xml(inputs->options.connect, input->name, inputs->options.inactive,
                                               &text->libvirt_version, &text->qemu_version, error);
        text->length = text->text ? strlen(text->text) : 0;
        break;
    }
    if (!text->text)
        return NULL;
    text->connected = input->kind == VFM_INPUT_DOMAIN || inputs->options.connected;
    if (text->connected && input->kind != VFM_INPUT_DOMAIN &&
        !vfm_connection_versions(inputs->options.connect, &text->libvirt_version, &text->qemu_version, error))
        return NULL;
    return g_steal_pointer(&text);
}

void vfm_input_text_free(VfmInputText *text)
{
    if (!text)
        return;
    g_free(text->text);
    g_free(text);
}
