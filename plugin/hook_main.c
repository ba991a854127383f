/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_main.c - vfiomem-hook, what libvirt runs from hooks/qemu.d.
 *
 * This program stands between every guest of the host and its start, so it is
 * the part that must not break: libc only, no parser, bounded memory, and one
 * rule for when the rest of vfiomem is broken. The parsing and negotiating is
 * done by vfiomem-hook-driver, a child with limits (hook_child.h). If the child crashes, is missing, finds a
 * library missing or can't read the XML, a guest with an assigned device or a policy of ours is refused, with
 * the reason; any other guest starts.
 *
 * It never calls libvirt (a hook that does deadlocks the daemon), never prints
 * on standard output (at migrate and restore that would become the guest's
 * XML), and never fails where libvirt would kill a running guest for it
 * (lifecycle.h).
 */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "hook_child.h"
#include "hook_log.h"
#include "hook_scan.h"
#include "lifecycle.h"
#include "policy_record.h"

/* As much as the parser takes, and one byte, so that the parser says "too large" itself. */
#define POLICY_FOLDER "/run/vfiomem" /* VFM_POLICY_FOLDER of policy_text.h */
#define XML_MAX ((size_t)16 * 1024 * 1024 + 1)

static const char usage[] =
    "usage: vfiomem-hook [OPTION...] DOMAIN OPERATION SUBOPERATION EXTRA < DOMAIN-XML\n"
    "\n"
    "Called by libvirt from /etc/libvirt/hooks/qemu.d; see vfiomem-hook(1) and `vfiomem install-hook`.\n"
    "\n"
    "  --log FILE               write notes to FILE instead of syslog\n"
    "  --host-root DIR          read the host's sys and proc below DIR instead of /\n"
    "  --libvirt-version N.N.N  plan for this libvirt instead of the installed one\n"
    "  --qemu-version N.N.N     plan for this QEMU instead of the installed one\n"
    "  --driver FILE            run FILE instead of the installed vfiomem-hook-driver\n"
    "  --help, --version\n"
    "\n"
    "Exit status: 0 go on; 1 refused, the reason is the one line on standard error; 2 wrong usage.\n";

typedef struct {
    VfmHookLog log;
    const char *driver;
    const char *host_root, *libvirt_version, *qemu_version;
    const char *domain, *operation;
    VfmLifecycle point;
} Call;

static int parse_arguments(Call *call, int argc, char **argv)
{
    static const struct option options[] = {
        {"log", required_argument, NULL, 'l'},
        {"host-root", required_argument, NULL, 'r'},
        {"libvirt-version", required_argument, NULL, 'L'},
        {"qemu-version", required_argument, NULL, 'Q'},
        {"driver", required_argument, NULL, 'd'},
        {"help", no_argument, NULL, 'h'},
        {"version", no_argument, NULL, 'V'},
        {NULL, 0, NULL, 0},
    };
    int option;

    /* "+": a domain may be named like an option; ours come before it. */
    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        switch (option) {
        case 'l':
            call->log.file = optarg;
            break;
        case 'r':
            call->host_root = optarg;
            break;
        case 'L':
            call->libvirt_version = optarg;
            break;
        case 'Q':
            call->qemu_version = optarg;
            break;
        case 'd':
            call->driver = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        case 'V':
            puts("vfiomem-hook " VFM_VERSION_TEXT);
            exit(0);
        default:
            fputs(usage, stderr);
            return -1;
        }
    }
    if (argc - optind < 2) {
        fputs(usage, stderr);
        return -1;
    }
    call->domain = argv[optind];
    call->operation = argv[optind + 1];
    call->point = vfm_lifecycle_from_operation(call->operation);
    call->log.domain = call->domain;
    call->log.operation = call->operation;
    return 0;
}

/* All of standard input up to the bound; the length is 0 if there is none. */
static char *read_input(size_t *length)
{
    size_t size = 64 * 1024, used = 0;
    char *text = malloc(size);

    while (text && used < XML_MAX) {
        ssize_t got;

        if (used == size) {
            char *more = realloc(text, size * 2);

            if (!more)
                break;
            text = more;
            size *= 2;
        }
        got = read(STDIN_FILENO, text + used, (size < XML_MAX ? size : XML_MAX) - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    *length = used;
    return text;
}

/* The driver beside this program (a build tree), else where it was installed. */
static const char *driver_path(void)
{
    static char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 32);
    char *slash;

    if (length > 0) {
        path[length] = '\0';
        slash = strrchr(path, '/');
        strcpy(slash ? slash + 1 : path, "vfiomem-hook-driver");
        if (access(path, X_OK) == 0)
            return path;
    }
    return VFM_LIBEXEC_DIR "/vfiomem-hook-driver";
}

static void ask_driver(const Call *call, const char *xml, size_t length, VfmChildResult *result)
{
    char *argv[12];
    int n = 0;

    argv[n++] = (char *)(call->driver ? call->driver : driver_path());
    if (call->host_root) {
        argv[n++] = (char *)"--host-root";
        argv[n++] = (char *)call->host_root;
    }
    if (call->libvirt_version) {
        argv[n++] = (char *)"--libvirt-version";
        argv[n++] = (char *)call->libvirt_version;
    }
    if (call->qemu_version) {
        argv[n++] = (char *)"--qemu-version";
        argv[n++] = (char *)call->qemu_version;
    }
    argv[n++] = (char *)"--";
    argv[n++] = (char *)call->domain;
    argv[n++] = (char *)call->operation;
    argv[n] = NULL;
    vfm_hook_child_run(argv, xml, length, result);
}

/* Returns whether an error was among them: then the sentence says nothing new to a log. */
static bool log_lines(const Call *call, const VfmChildResult *result)
{
    bool errors = false;

    static const struct {
        const char *prefix;
        int priority;
    } kinds[] = {{"error: ", LOG_ERR}, {"warning: ", LOG_WARNING}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *at = result->answer, *line;
        size_t length;

        while (vfm_hook_child_next(&at, kinds[i].prefix, &line, &length)) {
            errors |= kinds[i].priority == LOG_ERR;
            vfm_hook_log(&call->log, kinds[i].priority, line, (int)length);
        }
    }
    return errors;
}

/* What the driver, which may write no file, wants left for the helper or taken away. Returns 0, or -1 with a @sentence
 * if a policy could not be left that the guest must not run without. */
static int keep_records(const Call *call, const VfmChildResult *result, char *sentence, size_t size)
{
    static const struct {
        const char *prefix;
        int (*act)(const char *folder, const char *line, size_t length);
        bool needed;
    } kinds[] = {{"policy: ", vfm_policy_record_write, false},
                 {"needed-policy: ", vfm_policy_record_write, true},
                 {"forget: ", vfm_policy_record_remove, false}};
    const char *folder = getenv("VFIOMEM_RUNDIR");
    int status = 0;

    folder = folder ? folder : POLICY_FOLDER;
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        const char *at = result->answer, *line;
        size_t length;

        while (vfm_hook_child_next(&at, kinds[i].prefix, &line, &length)) {
            const char *why;
            char text[512];

            if (kinds[i].act(folder, line, length) == 0)
                continue;
            why = strerror(errno);
            snprintf(text, sizeof text, "the domain's policy could not be left for its helper in %s: %s", folder, why);
            if (kinds[i].needed && vfm_lifecycle_can_veto(call->point)) {
                snprintf(sentence, size,
                         "%s; without it QEMU would be started as if it had no policy: make the folder writable for "
                         "libvirt's daemon, or take owner='helper' and required='yes' out of <vfiomem:mapping>",
                         text);
                status = -1;
            } else
                vfm_hook_log(&call->log, LOG_WARNING, text, (int)strlen(text));
        }
    }
    return status;
}

/* The sentence a person reads in virsh, and in the log unless it is there. */
static int refuse(Call *call, const char *sentence, bool logged)
{
    call->log.quiet_stderr = true;
    if (!logged)
        vfm_hook_log(&call->log, LOG_ERR, sentence, (int)strlen(sentence));
    fprintf(stderr, "vfiomem: %s\n", sentence);
    return 1;
}

/* The driver could not judge. Who is held up for it? */
static int decide_without_driver(Call *call, const VfmChildResult *result, const char *xml, size_t length)
{
    const char *why = vfm_hook_scan(xml, length);
    char text[4096];

    if (result->outcome == VFM_CHILD_UNUSABLE)
        snprintf(text, sizeof text, "%s", result->sentence);
    else
        snprintf(text, sizeof text, "the check itself failed: %s", result->sentence);
    if (why && vfm_lifecycle_can_veto(call->point)) {
        size_t used = strlen(text);

        snprintf(text + used, sizeof text - used,
                 "; the domain has %s and must not %s unchecked: mend this, or take the hook away with `vfiomem "
                 "install-hook --remove`",
                 why, vfm_lifecycle_deed(call->point));
        return refuse(call, text, false);
    }
    vfm_hook_log(&call->log, LOG_WARNING, text, (int)strlen(text));
    return 0;
}

int main(int argc, char **argv)
{
    static VfmChildResult result; /* 70 KiB: not for the stack */
    Call call = {.domain = ""};
    size_t length = 0;
    char unkept[1024], *xml;
    int status = 0, kept;
    bool logged;

    if (parse_arguments(&call, argc, argv) < 0)
        return 2;
    xml = read_input(&length);
    if (!xml)
        return 0; /* not 64 KiB of memory: QEMU will say so better */
    ask_driver(&call, xml, length, &result);
    call.log.quiet_stderr = result.outcome != VFM_CHILD_CONSENTS;
    logged = log_lines(&call, &result);
    kept = keep_records(&call, &result, unkept, sizeof unkept);
    call.log.quiet_stderr = false;
    if (result.outcome == VFM_CHILD_UNUSABLE || result.outcome == VFM_CHILD_BROKEN)
        status = decide_without_driver(&call, &result, xml, length);
    else if (result.outcome == VFM_CHILD_REFUSES && vfm_lifecycle_can_veto(call.point))
        status = refuse(&call, result.sentence, logged);
    else if (kept < 0)
        status = refuse(&call, unkept, false);
    free(xml);
    return status;
}
