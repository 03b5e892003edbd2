/*
 * counters_summary.c - the counters pass on the terminal: for each target a line a design, its
 * columns of results.csv as medians over the blocks. Columns that nothing was counted for are left
 * out; the session said at its start why.
 */
#include <stdlib.h>
#include <string.h>

#include "harness/session.h"
#include "harness/stats.h"

static const enum metric columns[] = {
#define COLUMN(name, unit, better, how, definition) METRIC_##name,
    METRICS_COUNTERS(COLUMN)
#undef COLUMN
};

enum { COLUMNS = sizeof columns / sizeof *columns };

struct counted { /* a line: one contender in one release mode, with so many copies */
    unsigned contender, target, release, copies;
};

static bool is_of(const struct kept *k, const struct counted *line)
{
    return k->pass == PASS_COUNTERS && k->target == line->target &&
           k->contender == line->contender && k->release == line->release &&
           k->copies == line->copies;
}

/* The values over the blocks; how many. */
static unsigned values_take(const struct session *s, const struct counted *line, enum metric metric,
                            double *values)
{
    unsigned count = 0;
    for (unsigned i = 0; i < s->kept_count; i++)
        if (is_of(&s->kept[i], line) && s->kept[i].known[metric])
            values[count++] = s->kept[i].value[metric];
    return count;
}

static bool any_of(const struct session *s, unsigned target, enum metric metric)
{
    bool any = false;
    if (!strcmp(metric_row_of(metric)->better, "none")) /* null's own: it has a line */
        return false;
    for (unsigned i = 0; i < s->kept_count; i++)
        any |= s->kept[i].pass == PASS_COUNTERS && s->kept[i].target == target &&
               s->kept[i].known[metric];
    return any;
}

/* The column's name without "_per_op", which all have. */
static int title_length(enum metric metric)
{
    return (int)(strlen(metric_row_of(metric)->name) - strlen("_per_op"));
}

static void line_print(const struct session *s, const struct counted *line, double *values, FILE *f)
{
    fprintf(f, "  %-*s %-6s", summary_name_width(s), s->contenders[line->contender].text,
            release_names[line->release]);
    for (unsigned i = 0; i < COLUMNS; i++) {
        unsigned count = values_take(s, line, columns[i], values);
        if (!any_of(s, line->target, columns[i]))
            continue;
        if (count)
            fprintf(f, "  %*.6g", title_length(columns[i]), stats_median(values, count).estimate);
        else
            fprintf(f, "  %*s", title_length(columns[i]), "-");
    }
    if (line->copies)
        fprintf(f, "  %u cop%s", line->copies, line->copies == 1 ? "y" : "ies");
    for (unsigned i = 0; i < s->kept_count; i++)
        if (is_of(&s->kept[i], line) && s->kept[i].status != OUTCOME_OK) {
            fprintf(f, "  %s: %s", status_names[s->kept[i].status], s->kept[i].detail);
            break;
        }
    fputc('\n', f);
}

static void target_print(const struct session *s, unsigned target, double *values, FILE *f)
{
    fprintf(f, "\n%s: counted per op, median over the blocks\n  %-*s %-6s", s->targets[target].name,
            summary_name_width(s), "allocator", "release");
    for (unsigned i = 0; i < COLUMNS; i++)
        if (any_of(s, target, columns[i]))
            fprintf(f, "  %.*s", title_length(columns[i]), metric_row_of(columns[i])->name);
    fputc('\n', f);
    for (unsigned i = 0; i < 2 * s->contender_count * s->copies_count; i++) {
        struct counted line = {.target = target,
                               .contender = i / (2 * s->copies_count),
                               .release = i % 2,
                               .copies = s->parallel ? s->copies[i / 2 % s->copies_count] : 0};
        bool any = false;
        for (unsigned k = 0; k < s->kept_count; k++)
            any |= is_of(&s->kept[k], &line);
        if (any)
            line_print(s, &line, values, f);
    }
}

void counters_summary_print(const struct session *s, FILE *stream)
{
    if (!s->passes[PASS_COUNTERS])
        return;
    double *values = calloc(s->kept_count + 1, sizeof *values);
    if (!values) {
        fprintf(stream, "no memory for the table of counters; the rows are in counters.csv\n");
        return;
    }
    for (unsigned target = 0; target < s->target_count; target++)
        if (!s->targets[target].live)
            target_print(s, target, values, stream);
    free(values);
}
