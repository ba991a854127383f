/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "negotiate.h"
#include "connection.h"
#include "domain_xml.h"
#include "error.h"
#include "file_read.h"
#include "host_json.h"
#include "host_read.h"
#include "module.h"
#include "version_asked.h"
#include "versions.h"

#include <stdlib.h>
#include <string.h>

typedef VfmHost *(*HostFromJson)(const char *text, gsize length, const char *file, GError **error);

VfmHost *vfm_host_file_load(const char *path, GError **error)
{
    g_autofree char *text = NULL;
    gsize length;
    HostFromJson from_json;

    text = vfm_file_read(path, VFM_HOST_JSON_MAX, "the bound for host files", &length, error);
    if (!text)
        return NULL;
    from_json = (HostFromJson)vfm_module_symbol("vfiomem-json", "vfm_host_from_json", error);
    return from_json ? from_json(text, length, path, error) : NULL;
}

/* libvirt's local URIs have no host between "//" and the path. */
static bool is_local(const char *uri)
{
    const char *host;

    if (!uri)
        uri = getenv("LIBVIRT_DEFAULT_URI");
    host = uri ? strstr(uri, "://") : NULL;
    return !host || host[strlen("://")] == '/' || host[strlen("://")] == '\0';
}

static bool parse_version(const char *option, const char *text, unsigned *version, GError **error)
{
    if (!text)
        return true;
    *version = vfm_version_parse(text);
    if (*version)
        return true;
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "--%s=%s: not a version like 9.0.0", option, text);
    return false;
}

static bool check_options(const VfmHostOptions *options, GError **error)
{
    if ((options->file != NULL) + (options->sysfs != NULL) + options->none <= 1)
        return true;
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "only one of --host, --sysfs and --no-host can be given");
    return false;
}

bool vfm_negotiator_init(VfmNegotiator *negotiator, const VfmHostOptions *options, const VfmInputOptions *inputs,
                         const char *command, VfmTerminal *terminal, GError **error)
{
    const bool remote =
        (inputs->domains || inputs->all || inputs->connected || inputs->connect) && !is_local(inputs->connect);

    *negotiator = (VfmNegotiator){0};
    if (!check_options(options, error) ||
        !parse_version("libvirt-version", options->libvirt, &negotiator->libvirt_version, error) ||
        !parse_version("qemu-version", options->qemu, &negotiator->qemu_version, error))
        return false;
    if (options->file) {
        negotiator->host = vfm_host_file_load(options->file, error);
        return negotiator->host != NULL;
    }
    if (options->sysfs) {
        negotiator->root = g_strdup(options->sysfs);
        negotiator->host = vfm_host_read_basics(options->sysfs, error);
        return negotiator->host != NULL;
    }
    if (!options->none && !remote) {
        g_autoptr(GError) local = NULL;

        negotiator->host = vfm_host_read_basics("/", &local);
        if (negotiator->host) {
            negotiator->root = g_strdup("/");
            negotiator->here = true;
            negotiator->installed_qemus = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
            negotiator->installed_libvirt = vfm_libvirt_version_installed();
        } else {
            g_autofree char *message = g_strdup_printf("planning without this machine's topology: %s", local->message);

            vfm_complain(terminal, command, message);
        }
    }
    return true;
}

bool vfm_negotiator_set_emulator(VfmNegotiator *negotiator, const char *path, GError **error)
{
    g_autofree char *name = path ? g_path_get_basename(path) : NULL;

    /* By this name it is known again, by negotiation and by itself. */
    if (path && (path[0] != '/' || !g_str_has_prefix(name, "vfiomem-qemu"))) {
        g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_USAGE, "--emulator=%s: not the absolute path of vfiomem-qemu",
                    path);
        return false;
    }
    negotiator->emulator = path ? path : VFM_BINDIR "/vfiomem-qemu";
    return true;
}

void vfm_negotiator_clear(VfmNegotiator *negotiator)
{
    vfm_host_free(negotiator->host);
    g_free(negotiator->root);
    g_clear_pointer(&negotiator->installed_qemus, g_hash_table_unref);
    *negotiator = (VfmNegotiator){0};
}

/* Looking takes about as long as negotiating, and most domains of a host have the same emulator. */
static unsigned installed_qemu(VfmNegotiator *negotiator, const char *emulator)
{
    const char *key = emulator ? emulator : "";
    gpointer known;

    if (!negotiator->here)
        return 0;
    if (g_hash_table_lookup_extended(negotiator->installed_qemus, key, NULL, &known))
        return GPOINTER_TO_UINT(known);
    known = GUINT_TO_POINTER(vfm_qemu_version_installed(emulator));
    g_hash_table_insert(negotiator->installed_qemus, g_strdup(key), known);
    return GPOINTER_TO_UINT(known);
}

/* The same of a guest in helper mode, by asking: version_asked.h says why. */
static unsigned asked_qemu(VfmNegotiator *negotiator, const VfmDomain *domain)
{
    g_autofree char *key =
        g_strdup_printf("asked %s %s", domain->emulator, domain->real_emulator ? domain->real_emulator : "");
    gpointer known;

    if (g_hash_table_lookup_extended(negotiator->installed_qemus, key, NULL, &known))
        return GPOINTER_TO_UINT(known);
    known = GUINT_TO_POINTER(vfm_qemu_version_asked(domain->emulator, domain->real_emulator));
    g_hash_table_insert(negotiator->installed_qemus, g_steal_pointer(&key), known);
    return GPOINTER_TO_UINT(known);
}

static unsigned libvirt_version(const VfmNegotiator *negotiator, const VfmInputText *text)
{
    if (negotiator->libvirt_version)
        return negotiator->libvirt_version;
    return text->libvirt_version ? text->libvirt_version : negotiator->installed_libvirt;
}

static unsigned qemu_version(VfmNegotiator *negotiator, const VfmInputText *text, const VfmDomain *domain)
{
    if (negotiator->qemu_version)
        return negotiator->qemu_version;
    if (negotiator->here && domain->policy.owner == VFM_OWNER_HELPER && vfm_emulator_is_wrapper(domain->emulator))
        return asked_qemu(negotiator, domain);
    return text->qemu_version ? text->qemu_version : installed_qemu(negotiator, domain->emulator);
}

VfmNegotiated *vfm_negotiate(VfmNegotiator *negotiator, const VfmInputs *inputs, const VfmInput *input,
                             const VfmInputText *text, GError **error)
{
    const char *root = negotiator->root;
    g_autoptr(VfmNegotiated) result = g_new0(VfmNegotiated, 1);

    result->domain = vfm_domain_xml_parse(text->text, text->length, vfm_input_name(input), error);
    if (!result->domain)
        return NULL;
    if (text->connected && !vfm_connection_resolve(inputs->options.connect, result->domain, error))
        return NULL;
    if (root && !vfm_host_read_groups_of(negotiator->host, root, result->domain, error))
        return NULL;
    result->options = (VfmPlanOptions){
        .host = negotiator->host,
        .emulator = negotiator->emulator,
        .libvirt_version = libvirt_version(negotiator, text),
        .qemu_version = qemu_version(negotiator, text, result->domain),
    };
    result->plan = vfm_plan_new(result->domain, &result->options);
    return g_steal_pointer(&result);
}

void vfm_negotiated_free(VfmNegotiated *negotiated)
{
    if (!negotiated)
        return;
    vfm_plan_free(negotiated->plan);
    vfm_domain_free(negotiated->domain);
    g_free(negotiated);
}
