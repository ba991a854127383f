/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "negotiating_driver.h"

#include <string.h>

#include "domain_xml.h"
#include "error.h"
#include "host_read.h"
#include "plan.h"
#include "policy_text.h"
#include "version_asked.h"
#include "versions.h"

/* Whether anything here can be of vfiomem's business: a guest without is never held up. An interface of some
 * network does not count until libvirt has made a device of it, at start: most guests have one. */
static bool concerns_us(const VfmDomain *domain)
{
    for (guint i = 0; i < domain->assigned->len; i++) {
        if (!((const VfmAssigned *)domain->assigned->pdata[i])->unresolved)
            return true;
    }
    return domain->policy.present;
}

/* Before the first step of a start, and again for a daemon that comes back: what the helper has to know. */
static void record_policy(const VfmLifecycleEvent *event, const VfmDomain *domain)
{
    g_autofree char *text = NULL;

    if (!event->record || !domain->uuid || !domain->policy.present || event->point == VFM_LIFECYCLE_START)
        return;
    text = vfm_policy_to_text(&domain->policy);
    event->record(domain->uuid, text, event->report_data);
}

/* In helper mode what is on disk is not enough: a QEMU that is too old, or no longer is, must be told from it. */
static unsigned find_qemu_version(const VfmLifecycleEvent *event, const VfmDomain *domain)
{
    bool here = strcmp(event->host_root, "/") == 0;

    if (here && domain->policy.owner == VFM_OWNER_HELPER && vfm_emulator_is_wrapper(domain->emulator))
        return vfm_qemu_version_asked(domain->emulator, domain->real_emulator);
    return vfm_qemu_version_below(event->host_root, domain->emulator);
}

/* The findings of the event's domain, or NULL with @error. Empty if it is none of our business. */
static GPtrArray *negotiate(const VfmLifecycleEvent *event, GError **error)
{
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(event->xml, event->xml_length, "domain XML", error);
    g_autoptr(VfmHost) host = NULL;
    g_autoptr(VfmPlan) plan = NULL;
    g_autoptr(GError) trouble = NULL;
    VfmPlanOptions options = {.libvirt_version = event->libvirt_version, .qemu_version = event->qemu_version};

    if (!domain)
        return NULL;
    record_policy(event, domain);
    if (!concerns_us(domain))
        return vfm_findings_new();
    host = vfm_host_read_basics(event->host_root, &trouble);
    if (host && !vfm_host_read_groups_of(host, event->host_root, domain, &trouble))
        g_clear_pointer(&host, vfm_host_free);
    if (!host) {
        /* Half a picture of the host is worse than none: plan as for any host, and say so. */
        g_autofree char *text =
            g_strdup_printf("planning without this machine's limits: %s", trouble ? trouble->message : "unreadable");

        event->report(VFM_WARNING, text, event->report_data);
    }
    options.host = host;
    if (!options.libvirt_version)
        options.libvirt_version = vfm_libvirt_version_below(event->host_root);
    if (!options.qemu_version)
        options.qemu_version = find_qemu_version(event, domain);
    plan = vfm_plan_new(domain, &options);
    return g_steal_pointer(&plan->findings);
}

/* Takes " (line 12)" out of @text: the lines are those of the XML that libvirt made for this call,
 * which nobody has in front of them. */
static char *without_lines(const char *text)
{
    static const char mark[] = " (line ";
    GString *plain = g_string_new(NULL);
    const char *at;

    while ((at = strstr(text, mark))) {
        const char *end = at + strlen(mark);

        while (g_ascii_isdigit(*end))
            end++;
        if (*end == ')')
            g_string_append_len(plain, text, at - text);
        else
            g_string_append_len(plain, text, end - text);
        text = *end == ')' ? end + 1 : end;
    }
    g_string_append(plain, text);
    return g_string_free(plain, FALSE);
}

/* "message; fix [id]" */
static char *finding_text(const VfmFinding *finding)
{
    g_autofree char *text = g_strdup_printf("%s%s%s [%s]", finding->message, finding->fix ? "; " : "",
                                            finding->fix ? finding->fix : "", finding->id);

    return without_lines(text);
}

char *vfm_negotiating_sentence(const GPtrArray *findings)
{
    const VfmFinding *first = NULL;
    guint errors = 0;
    char *text;

    for (guint i = 0; i < findings->len; i++) {
        const VfmFinding *finding = findings->pdata[i];

        if (finding->severity == VFM_ERROR && errors++ == 0)
            first = finding;
    }
    g_return_val_if_fail(first, g_strdup(""));
    text = finding_text(first);
    if (errors > 1) {
        char *whole = g_strdup_printf("%s (and %u more; `vfiomem check` lists all)", text, errors - 1);

        g_free(text);
        text = whole;
    }
    /* Whatever a message holds, virsh must get one line. */
    return g_strdelimit(text, "\n\r", ' ');
}

static void report_all(const VfmLifecycleEvent *event, const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        const VfmFinding *finding = findings->pdata[i];
        g_autofree char *text = NULL;

        if (finding->severity == VFM_INFO)
            continue; /* a log is for what somebody should act on */
        text = finding_text(finding);
        event->report(finding->severity, text, event->report_data);
    }
}

static bool has_errors(const GPtrArray *findings)
{
    for (guint i = 0; i < findings->len; i++) {
        if (((const VfmFinding *)findings->pdata[i])->severity == VFM_ERROR)
            return true;
    }
    return false;
}

static bool judge(const VfmLifecycleEvent *event, bool report, GError **error)
{
    g_autoptr(GPtrArray) findings = negotiate(event, error);
    g_autofree char *sentence = NULL;

    if (!findings)
        return false;
    if (report)
        report_all(event, findings);
    if (!has_errors(findings))
        return true;
    sentence = vfm_negotiating_sentence(findings);
    g_set_error_literal(error, VFM_REFUSED, VFM_REFUSED_POLICY, sentence);
    return false;
}

static bool report_and_judge(const VfmLifecycleEvent *event, GError **error)
{
    return judge(event, true, error);
}

static bool judge_again(const VfmLifecycleEvent *event, GError **error)
{
    return judge(event, false, error);
}

/* The guest runs: its error findings are news for the log only. */
static bool look_on(const VfmLifecycleEvent *event, GError **error)
{
    g_autoptr(GPtrArray) findings = negotiate(event, error);

    if (!findings)
        return false;
    if (has_errors(findings)) {
        g_autofree char *sentence = vfm_negotiating_sentence(findings);
        g_autofree char *text = g_strdup_printf("runs, but its next start would be refused: %s", sentence);

        event->report(VFM_WARNING, text, event->report_data);
    }
    return true;
}

static bool forget_policy(const VfmLifecycleEvent *event, GError **error)
{
    g_autoptr(VfmDomain) domain = vfm_domain_xml_parse(event->xml, event->xml_length, "domain XML", error);

    if (!domain)
        return false;
    if (event->record && domain->uuid && domain->policy.present)
        event->record(domain->uuid, NULL, event->report_data);
    return true;
}

const VfmDriverOps *vfm_negotiating_driver(void)
{
    static const VfmDriverOps driver = {
        .name = "negotiation",
        .prepare = report_and_judge,
        .start = judge_again,
        .release = forget_policy,
        .migrate = report_and_judge,
        .restore = report_and_judge,
        .reconnect = look_on,
    };

    return &driver;
}
