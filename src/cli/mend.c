/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "mend.h"
#include "amount.h"
#include "command.h"
#include "diff.h"
#include "domain_edit.h"
#include "error.h"
#include "findings_text.h"

#include <stdio.h>
#include <string.h>

/* One edit can bring up another (a new block size changes what must be locked), a third round never did. */
#define ROUNDS_MAX 8

static void change_free(gpointer data)
{
    VfmChange *change = data;

    g_free(change->what);
    g_free(change->why);
    g_free(change->id);
    g_free(change);
}

static char *from_to(const char *what, VfmMaybe before, uint64_t after)
{
    g_autofree char *old_size = before.set ? vfm_amount(before.value) : g_strdup("not set");
    g_autofree char *new_size = vfm_amount(after);

    return g_strdup_printf("%s: %s -> %s", what, old_size, new_size);
}

static char *describe(const VfmEdit *edit, const VfmDomain *domain)
{
    const VfmMemoryDevice *memory =
        edit->index < domain->memory_devices->len ? g_ptr_array_index(domain->memory_devices, edit->index) : NULL;
    g_autofree char *what = NULL;

    switch (edit->kind) {
    case VFM_EDIT_BLOCK:
    case VFM_EDIT_REQUESTED:
        g_return_val_if_fail(memory, NULL);
        what = g_strdup_printf("%s of virtio-mem %u", edit->kind == VFM_EDIT_BLOCK ? "block" : "requested size",
                               edit->index);
        return from_to(what, edit->kind == VFM_EDIT_BLOCK ? memory->block : memory->requested, edit->value);
    case VFM_EDIT_FREE_PAGE_REPORTING_OFF:
        return g_strdup("free page reporting of the balloon: on -> off");
    case VFM_EDIT_AUTODEFLATE_OFF:
        return g_strdup("autodeflate of the balloon: on -> off");
    case VFM_EDIT_HARD_LIMIT:
        return from_to("hard_limit", domain->hard_limit, edit->value);
    case VFM_EDIT_MEMFD_SHARED:
        return g_strdup("guest memory: memfd, shared");
    case VFM_EDIT_EMULATOR:
        return g_strdup_printf("emulator: %s -> %s", domain->emulator ? domain->emulator : "libvirt's default",
                               edit->text);
    case VFM_EDIT_CACHING_MODE:
        return g_strdup("caching_mode of the intel vIOMMU: on");
    }
    g_return_val_if_reached(NULL);
}

static const char *message_of(const VfmPlan *plan, const char *id)
{
    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(plan->findings, i);

        if (g_strcmp0(finding->id, id) == 0)
            return finding->message;
    }
    return "";
}

static void add_changes(GPtrArray *changes, const GPtrArray *edits, const VfmNegotiated *negotiated)
{
    for (guint i = 0; i < edits->len; i++) {
        const VfmEdit *edit = g_ptr_array_index(edits, i);
        VfmChange *change = g_new0(VfmChange, 1);

        change->what = describe(edit, negotiated->domain);
        change->id = g_strdup(edit->why);
        change->why = g_strdup(message_of(negotiated->plan, edit->why));
        g_ptr_array_add(changes, change);
    }
}

VfmMended *vfm_mend(VfmNegotiator *negotiator, const VfmInputs *inputs, const VfmInput *input, const VfmInputText *text,
                    GError **error)
{
    g_autoptr(VfmMended) mended = g_new0(VfmMended, 1);
    VfmInputText now = *text; /* a view: its text is @mended's */

    mended->text = g_memdup2(text->text, text->length + 1);
    mended->changes = g_ptr_array_new_with_free_func(change_free);
    for (unsigned round = 0; round < ROUNDS_MAX; round++) {
        g_autoptr(GPtrArray) edits = NULL;
        char *edited;

        now.text = mended->text;
        g_clear_pointer(&mended->after, vfm_negotiated_free);
        mended->after = vfm_negotiate(negotiator, inputs, input, &now, error);
        if (!mended->after)
            return NULL;
        /* The parser takes UTF-16, but what follows handles strings. */
        if (memchr(now.text, '\0', now.length)) {
            g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_UNSUPPORTED,
                        "%s: the encoding can't be edited byte by byte; convert the file to UTF-8",
                        vfm_input_name(input));
            return NULL;
        }
        edits = vfm_plan_edits(mended->after->plan, mended->after->domain, &mended->after->options);
        if (!edits->len)
            return g_steal_pointer(&mended);
        edited = vfm_domain_xml_edit(now.text, now.length, vfm_input_name(input), edits, error);
        if (!edited)
            return NULL;
        add_changes(mended->changes, edits, mended->after);
        g_free(mended->text);
        mended->text = edited;
        now.length = strlen(edited); /* at first that of the input, which may hold a NUL and is then refused */
    }
    g_set_error(error, VFM_INPUT_ERROR, VFM_INPUT_CONFLICT,
                "%s: changes do not settle: each brings up another; please report this domain", vfm_input_name(input));
    return NULL;
}

void vfm_mended_free(VfmMended *mended)
{
    if (!mended)
        return;
    g_free(mended->text);
    g_ptr_array_unref(mended->changes);
    vfm_negotiated_free(mended->after);
    g_free(mended);
}

static void report_changes(const VfmMended *mended)
{
    const char *last = NULL;

    for (guint i = 0; i < mended->changes->len; i++) {
        const VfmChange *change = g_ptr_array_index(mended->changes, i);
        g_autofree char *what = vfm_printable(change->what);
        g_autofree char *why = vfm_printable(change->why);

        fprintf(stderr, "  %s\n", what);
        if (g_strcmp0(change->id, last) != 0)
            fprintf(stderr, "      because: %s [%s]\n", why, change->id);
        last = change->id;
    }
}

int vfm_mended_report(const VfmMended *mended, const char *name, VfmTerminal *terminal)
{
    const VfmPlan *plan = mended->after->plan;
    g_autofree char *printable = vfm_printable(name);
    bool errors = false;

    vfm_terminal_clear(terminal);
    fflush(stdout);
    if (mended->changes->len) {
        fprintf(stderr, "%s: %u %s\n", printable, mended->changes->len,
                mended->changes->len == 1 ? "change" : "changes");
        report_changes(mended);
    } else {
        fprintf(stderr, "%s: nothing to change\n", printable);
    }
    for (guint i = 0; i < plan->findings->len; i++) {
        const VfmFinding *finding = g_ptr_array_index(plan->findings, i);
        g_autofree char *message = vfm_printable(finding->message);

        if (finding->severity == VFM_INFO)
            continue;
        fprintf(stderr, "  left: %s: %s [%s]\n", vfm_severity_name(finding->severity), message, finding->id);
        if (finding->fix) {
            g_autofree char *fix = vfm_printable(finding->fix);

            fprintf(stderr, "      fix: %s\n", fix);
        }
        errors = errors || finding->severity == VFM_ERROR;
    }
    return errors ? VFM_EXIT_FINDINGS : VFM_EXIT_OK;
}

void vfm_mended_print_diff(const VfmMended *mended, const char *old_text, const char *name, const VfmTerminal *terminal)
{
    const char *relative = name + strspn(name, "/");
    g_autofree char *old_name = g_strconcat("a/", relative, NULL); /* as git does: patch -p1 takes it */
    g_autofree char *new_name = g_strconcat("b/", relative, NULL);
    g_autofree char *diff = vfm_diff(old_text, mended->text, old_name, new_name);

    if (!terminal->colour) {
        fputs(diff, stdout);
        return;
    }
    for (const char *line = diff; *line;) {
        const char *end = strchr(line, '\n');
        g_autofree char *copy = g_strndup(line, end ? (gsize)(end - line) : strlen(line));
        g_autofree char *printable = vfm_printable(copy);
        const VfmStyle style = g_str_has_prefix(line, "---") || g_str_has_prefix(line, "+++") ? VFM_STYLE_BOLD
                               : *line == '+'                                                 ? VFM_STYLE_GOOD
                               : *line == '-'                                                 ? VFM_STYLE_ERROR
                               : *line == '@'                                                 ? VFM_STYLE_INFO
                                                                                              : VFM_STYLE_PLAIN;

        printf("%s%s%s\n", vfm_terminal_on(terminal, style), printable, vfm_terminal_off(terminal, style));
        line += end ? (gsize)(end - line) + 1 : strlen(line);
    }
}
