/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * hook_driver_main.c - vfiomem-hook-driver, the part of the hook that parses
 * and negotiates.
 *
 * Started by vfiomem-hook with the XML on standard input; answers as
 * hook_child.h says. It owns nothing, writes nothing but its answer, and may die:
 * its parent decides what then happens.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "driver.h"
#include "error.h"
#include "negotiating_driver.h"
#include "policy_text.h"
#include "versions.h"

/* One line, whatever the text holds. */
static void say(const char *kind, const char *text)
{
    g_autofree char *line = g_strdup(text);

    g_strdelimit(line, "\n\r", ' ');
    printf("%s: %s\n", kind, line);
}

static void report(VfmSeverity severity, const char *text, void *data)
{
    (void)data;
    say(severity == VFM_ERROR ? "error" : "warning", text);
}

static void record(const char *uuid, const char *policy, void *data)
{
    g_autofree char *text = policy ? g_strdup_printf("%s %s", uuid, policy) : g_strdup(uuid);

    (void)data;
    say(!policy ? "forget" : vfm_policy_text_needs_helper(policy) ? "needed-policy" : "policy", text);
}

static GString *read_input(void)
{
    GString *text = g_string_sized_new(64 * 1024);
    char part[64 * 1024];

    for (;;) {
        ssize_t got = read(STDIN_FILENO, part, sizeof part);

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return text;
        g_string_append_len(text, part, got);
    }
}

/* A version option that can't be read must not silently become "find out". */
static int version_option(const char *text, unsigned *version)
{
    *version = vfm_version_parse(text);
    if (*version)
        return 0;
    say("unusable", "vfiomem-hook was given a version that is not of the form 9.0.0");
    return -1;
}

static int parse_options(VfmLifecycleEvent *event, int argc, char **argv)
{
    static const struct option options[] = {
        {"host-root", required_argument, NULL, 'r'},
        {"libvirt-version", required_argument, NULL, 'L'},
        {"qemu-version", required_argument, NULL, 'Q'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "+", options, NULL)) != -1) {
        if (option == 'r')
            event->host_root = optarg;
        else if (option == 'L' && version_option(optarg, &event->libvirt_version) < 0)
            return -1;
        else if (option == 'Q' && version_option(optarg, &event->qemu_version) < 0)
            return -1;
        else if (option == '?')
            return -1;
    }
    if (argc - optind != 2)
        return -1;
    event->domain = argv[optind];
    event->point = vfm_lifecycle_from_operation(argv[optind + 1]);
    return 0;
}

int main(int argc, char **argv)
{
    VfmLifecycleEvent event = {.host_root = "/", .report = report, .record = record};
    g_autoptr(GString) xml = NULL;
    g_autoptr(GError) veto = NULL;

    if (parse_options(&event, argc, argv) < 0) {
        fprintf(stderr, "vfiomem-hook-driver is started by vfiomem-hook\n");
        return 2;
    }
    xml = read_input();
    event.xml = xml->str;
    event.xml_length = xml->len;
    if (vfm_driver_call(vfm_negotiating_driver(), &event, &veto))
        return 0;
    if (veto->domain == VFM_REFUSED) {
        say("refuse", veto->message);
        return 1;
    }
    say("unusable", veto->message);
    return 2;
}
