/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "module.h"
#include "error.h"

#include <dlfcn.h>
#include <errno.h>

gpointer vfm_module_symbol(const char *module, const char *symbol, GError **error)
{
    g_autofree char *file = g_strconcat(module, ".so", NULL);
    void *handle = dlopen(file, RTLD_LAZY | RTLD_LOCAL);
    gpointer address = handle ? dlsym(handle, symbol) : NULL;

    if (!address) {
        const char *reason = dlerror();

        g_set_error(error, VFM_SYSTEM_ERROR, ELIBACC,
                    "module %s: %s; it is installed beside vfiomem, and so must be the library that it uses", module,
                    reason ? reason : "no such symbol");
    }
    return address;
}
