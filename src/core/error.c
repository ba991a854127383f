/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error.h"

G_DEFINE_QUARK(vfm - system - error - quark, vfm_system_error)
G_DEFINE_QUARK(vfm - input - error - quark, vfm_input_error)
G_DEFINE_QUARK(vfm - refused - quark, vfm_refused)

void vfm_set_system_error(GError **error, int errnum, const char *format, ...)
{
    g_autofree char *what = NULL;
    va_list args;

    if (!error)
        return;
    va_start(args, format);
    what = g_strdup_vprintf(format, args);
    va_end(args);
    g_set_error(error, VFM_SYSTEM_ERROR, errnum, "%s: %s", what, g_strerror(errnum));
}

void vfm_error_append(GError **error, const char *format, ...)
{
    g_autofree char *more = NULL;
    char *joined;
    va_list args;

    if (!error || !*error)
        return;
    va_start(args, format);
    more = g_strdup_vprintf(format, args);
    va_end(args);
    joined = g_strconcat((*error)->message, "; ", more, NULL);
    g_free((*error)->message);
    (*error)->message = joined;
}
