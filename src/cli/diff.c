/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "diff.h"

#include <glib.h>
#include <stdbool.h>
#include <string.h>

#define CONTEXT 3

/* A line with its line end, in somebody else's text. */
typedef struct {
    const char *start;
    gsize length;
} Line;

typedef struct {
    char op;    /* ' ', '-', '+' */
    guint line; /* of the new text for '+', else of the old one; from 0 */
} Step;

typedef struct {
    GArray *old_lines, *new_lines; /* of Line */
    GArray *steps;                 /* of Step, in order */
} Diff;

static GArray *split(const char *text)
{
    GArray *lines = g_array_new(FALSE, FALSE, sizeof(Line));

    while (*text) {
        const char *end = strchr(text, '\n');
        Line line = {.start = text, .length = end ? (gsize)(end - text) + 1 : strlen(text)};

        g_array_append_val(lines, line);
        text += line.length;
    }
    return lines;
}

static bool same(const Diff *diff, guint old_line, guint new_line)
{
    const Line *a = &g_array_index(diff->old_lines, Line, old_line);
    const Line *b = &g_array_index(diff->new_lines, Line, new_line);

    return a->length == b->length && memcmp(a->start, b->start, a->length) == 0;
}

static void step(GArray *steps, char op, guint line)
{
    Step one = {.op = op, .line = line};

    g_array_append_val(steps, one);
}

/* Follows the furthest-reaching paths back from the end; @trace[d] holds V after d edits. Steps come out reversed. */
static void walk_back(GArray *steps, GPtrArray *trace, guint from_old, guint from_new, int n, int m)
{
    int x = n, y = m;

    for (int d = (int)trace->len - 1; d >= 0; d--) {
        const int k = x - y;
        const int *before = d ? (const int *)trace->pdata[d - 1] + (d - 1) : NULL; /* index -(d-1) .. d-1 */
        int before_x = 0, before_y = 0;

        if (d) {
            const bool down = k == -d || (k != d && before[k - 1] < before[k + 1]);
            const int before_k = down ? k + 1 : k - 1;

            before_x = before[before_k];
            before_y = before_x - before_k;
        }
        while (x > before_x && y > before_y) {
            x--, y--;
            step(steps, ' ', from_old + (guint)x);
        }
        if (d && x == before_x)
            step(steps, '+', from_new + (guint)--y);
        else if (d)
            step(steps, '-', from_old + (guint)--x);
    }
}

/* The edit script of the parts that differ: old [from, from + n), new [from, from + m). */
static void search(Diff *diff, guint from, int n, int m)
{
    g_autoptr(GPtrArray) trace = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GArray) back = g_array_new(FALSE, FALSE, sizeof(Step));

    for (int d = 0; d <= VFM_DIFF_EDITS_MAX && d <= n + m; d++) {
        int *v = g_new0(int, 2 * (gsize)d + 1);
        int *now = v + d; /* index -d .. d */
        const int *before = d ? (const int *)trace->pdata[d - 1] + (d - 1) : NULL;

        g_ptr_array_add(trace, v);
        for (int k = -d; k <= d; k += 2) {
            int x = 0, y;

            if (d)
                x = k == -d || (k != d && before[k - 1] < before[k + 1]) ? before[k + 1] : before[k - 1] + 1;
            y = x - k;
            while (x < n && y < m && same(diff, from + (guint)x, from + (guint)y))
                x++, y++;
            now[k] = x;
            if (x >= n && y >= m) {
                walk_back(back, trace, from, from, n, m);
                for (guint i = back->len; i > 0; i--)
                    g_array_append_val(diff->steps, g_array_index(back, Step, i - 1));
                return;
            }
        }
    }
    for (int i = 0; i < n; i++)
        step(diff->steps, '-', from + (guint)i);
    for (int i = 0; i < m; i++)
        step(diff->steps, '+', from + (guint)i);
}

static void compare(Diff *diff)
{
    const guint old_count = diff->old_lines->len, new_count = diff->new_lines->len;
    guint head = 0, tail = 0;

    while (head < old_count && head < new_count && same(diff, head, head))
        head++;
    while (tail < old_count - head && tail < new_count - head && same(diff, old_count - tail - 1, new_count - tail - 1))
        tail++;
    for (guint i = 0; i < head; i++)
        step(diff->steps, ' ', i);
    search(diff, head, (int)(old_count - head - tail), (int)(new_count - head - tail));
    for (guint i = old_count - tail; i < old_count; i++)
        step(diff->steps, ' ', i);
}

static void print_range(GString *out, char sign, guint start, guint count)
{
    /* An empty range is named by the line before it. */
    g_string_append_printf(out, "%c%u", sign, count ? start + 1 : start);
    if (count != 1)
        g_string_append_printf(out, ",%u", count);
}

/* Steps [from, to) as one hunk; @old_line and @new_line are those of the first step. */
static void print_hunk(GString *out, const Diff *diff, guint from, guint to, guint old_line, guint new_line)
{
    guint old_count = 0, new_count = 0;

    for (guint i = from; i < to; i++) {
        const char op = g_array_index(diff->steps, Step, i).op;

        old_count += op != '+';
        new_count += op != '-';
    }
    g_string_append(out, "@@ ");
    print_range(out, '-', old_line, old_count);
    g_string_append_c(out, ' ');
    print_range(out, '+', new_line, new_count);
    g_string_append(out, " @@\n");
    for (guint i = from; i < to; i++) {
        const Step *one = &g_array_index(diff->steps, Step, i);
        const Line *line = &g_array_index(one->op == '+' ? diff->new_lines : diff->old_lines, Line, one->line);

        g_string_append_c(out, one->op);
        g_string_append_len(out, line->start, (gssize)line->length);
        if (line->start[line->length - 1] != '\n')
            g_string_append(out, "\n\\ No newline at end of file\n");
    }
}

static void print_hunks(GString *out, const Diff *diff)
{
    const Step *steps = (const Step *)(gpointer)diff->steps->data;
    const guint count = diff->steps->len;
    guint old_line = 0, new_line = 0, done = 0; /* lines before step @done */

    for (guint i = 0; i < count; i++) {
        guint from, to, quiet = 0;

        if (steps[i].op == ' ')
            continue;
        from = i - MIN(i - done, CONTEXT);
        /* A hunk goes on until more unchanged lines follow than two contexts hold. */
        for (to = i; to < count && quiet <= 2 * CONTEXT; to++)
            quiet = steps[to].op == ' ' ? quiet + 1 : 0;
        to -= quiet > CONTEXT ? quiet - CONTEXT : 0;
        for (; done < from; done++, old_line++, new_line++)
            ;
        print_hunk(out, diff, from, to, old_line, new_line);
        for (; done < to; done++) {
            old_line += steps[done].op != '+';
            new_line += steps[done].op != '-';
        }
        i = to - 1;
    }
}

char *vfm_diff(const char *old_text, const char *new_text, const char *old_name, const char *new_name)
{
    GString *out = g_string_new(NULL);
    Diff diff;

    if (g_str_equal(old_text, new_text))
        return g_string_free(out, FALSE);
    diff.old_lines = split(old_text);
    diff.new_lines = split(new_text);
    diff.steps = g_array_new(FALSE, FALSE, sizeof(Step));
    compare(&diff);
    g_string_append_printf(out, "--- %s\n+++ %s\n", old_name, new_name);
    print_hunks(out, &diff);
    g_array_unref(diff.steps);
    g_array_unref(diff.old_lines);
    g_array_unref(diff.new_lines);
    return g_string_free(out, FALSE);
}
