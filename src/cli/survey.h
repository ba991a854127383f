/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * survey.h - what `check` and `plan` share: negotiate every input, print each, sum up, choose the exit status.
 *
 * With JSON, one input is one object; several, or a directory, or --all, are an
 * array, and an input that is unusable is missing from it and told on standard error.
 */
#pragma once

#include "findings_text.h"
#include "negotiate.h"

typedef enum { VFM_FORMAT_HUMAN = 0, VFM_FORMAT_JSON } VfmFormat;
#define VFM_FORMAT_OPTION(target)                                                                                      \
    {                                                                                                                  \
        VFM_OPTION_CHOICE, 'f', "format", "human|json", "for people (default) or for programs", (target)               \
    }

typedef struct {
    VfmInputOptions input;
    VfmHostOptions host;
    unsigned format; /* VfmFormat */
} VfmSurveyOptions;

/* Domains by the worst they have; unusable inputs apart. */
typedef struct {
    guint with_errors, with_warnings, clean, unusable;
} VfmSurveyCount;

typedef struct {
    /* Prints one negotiated domain for people. @several: more are printed by the same command. */
    VfmFindingCount (*print)(const VfmTerminal *terminal, const char *name, const VfmNegotiated *negotiated,
                             bool several, gpointer data);
    /* Prints what is to be said at the end, of several domains; may be NULL. */
    void (*summary)(const VfmTerminal *terminal, const VfmSurveyCount *count, gpointer data);
    gpointer data;
} VfmSurveyPrinter;

/* The whole command: reads its options into @options through @table, returns its exit status. */
int vfm_survey_command(int argc, char **argv, const VfmUsage *usage, const VfmOption *table, VfmSurveyOptions *options,
                       const VfmSurveyPrinter *printer);
