/*
 * merge.c - the traces of several processes as one, as if one program did it all: threads, objects,
 * scopes and sites of each are apart from those of the others.
 *
 * Order: by the clock if each trace has one, where equal the first given first; each clock counts
 * from its own trace's first op, so all start together. Otherwise by the number of the record: the
 * first of each, the second of each, and so on (`by` says it, or forces the latter). Within a trace
 * nothing changes places. What stands before the first call of a trace comes first in any case, since
 * there is what was live at its start.
 *
 * Meta: pairs of the whole of each trace get the prefix input.I., I from 0; thread.N.* and site.N.*
 * follow their numbers.
 *
 *     alloclab trace merge A.trace B.trace -o OUT
 */
#include <stdlib.h>

#include "traces/renumber.h"
#include "traces/transforms/transform.h"

struct merge_options {
    unsigned by;
};

enum merge_by { BY_AUTO, BY_CLOCK, BY_RECORD };

static const struct option merge_rows[] = {
    OPTION_ROW(struct merge_options, "by", by, CHOICE, "auto", 0, 0, "auto|clock|record",
               "the order; auto: clock if each trace has one"),
    {0}};

struct source {
    struct renumber to;
    struct trace_reader *in;
    struct trace_op op; /* the next one */
    uint64_t key, record;
    unsigned number;
    int got;
};

static bool source_before(const struct source *a, const struct source *b)
{
    return a->key < b->key || (a->key == b->key && a->number < b->number);
}

/* The next op of a source; its key never falls. */
static int source_next(struct source *s, bool by_clock, struct error *err)
{
    s->got = trace_next(s->in, &s->op, err);
    s->record++;
    uint64_t key = by_clock ? s->op.clock_ns : s->record;
    if (s->got > 0 && key > s->key)
        s->key = key;
    return s->got;
}

/* Lets the source at `at` of the heap sink to its place. */
static void heap_sink(struct source **heap, unsigned count, unsigned at)
{
    for (;;) {
        unsigned least = at;
        for (unsigned child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++)
            if (source_before(heap[child], heap[least]))
                least = child;
        if (least == at)
            return;
        struct source *sunk = heap[at];
        heap[at] = heap[least];
        heap[least] = sunk;
        at = least;
    }
}

/* What stands before the first call. */
static int source_start(struct source *s, bool by_clock, struct error *err)
{
    while (source_next(s, by_clock, err) > 0 && !trace_is_call(s->op.kind))
        if (renumber_put(&s->to, &s->op, err))
            return -1;
    return s->got < 0 ? -1 : 0;
}

static int sources_put(struct source *sources, struct source **heap, unsigned count, bool by_clock,
                       struct error *err)
{
    unsigned left = 0;
    for (unsigned i = 0; i < count; i++) {
        if (source_start(&sources[i], by_clock, err))
            return -1;
        if (sources[i].got)
            heap[left++] = &sources[i];
    }
    for (unsigned i = left / 2; i-- > 0;)
        heap_sink(heap, left, i);
    while (left) {
        if (renumber_put(&heap[0]->to, &heap[0]->op, err) ||
            source_next(heap[0], by_clock, err) < 0)
            return -1;
        if (!heap[0]->got)
            heap[0] = heap[--left];
        heap_sink(heap, left, 0);
    }
    return 0;
}

static int sources_meta(struct source *sources, unsigned count, struct error *err)
{
    char prefix[32];
    int failed = 0;
    for (unsigned i = 0; !failed && i < count; i++) {
        snprintf(prefix, sizeof prefix, "input.%u.", i);
        failed = renumber_meta(&sources[i].to, RENUMBER_PREFIXED, prefix, "", err);
    }
    return failed;
}

static int merge_run(const struct transform_job *job, struct error *err)
{
    const struct merge_options *o = job->options;
    uint64_t next_site = 1;
    bool clocks = true;
    struct source *sources = calloc(job->count, sizeof *sources);
    struct source **heap = calloc(job->count, sizeof *heap);
    int failed = sources && heap ? 0 : error_set(err, "no memory for %u traces", job->count);
    for (unsigned i = 0; !failed && i < job->count; i++) {
        sources[i] = (struct source){.in = job->in[i], .number = i};
        sources[i].to =
            (struct renumber){.in = job->in[i], .out = job->out, .next_site = &next_site};
        clocks &= trace_has_clock(job->in[i]);
        if (o->by == BY_CLOCK && !trace_has_clock(job->in[i]))
            failed =
                error_set(err, "%.500s: has no clock: merge --by record", trace_name(job->in[i]));
    }
    bool by_clock = o->by == BY_CLOCK || (o->by == BY_AUTO && clocks);
    if (!failed)
        failed = sources_put(sources, heap, job->count, by_clock, err) ||
                 sources_meta(sources, job->count, err);
    if (!failed)
        fprintf(job->report, "%-18s %s\n", "merged_by", by_clock ? "clock" : "record");
    for (unsigned i = 0; sources && i < job->count; i++)
        renumber_free(&sources[i].to);
    free(sources);
    free(heap);
    return failed ? -1 : 0;
}

TRACE_TRANSFORM(merge) = {
    .name = "merge",
    .summary = "several processes' traces as one, by clock, or record by record",
    .least_inputs = 2,
    .most_inputs = 4096,
    .options = merge_rows,
    .options_size = sizeof(struct merge_options),
    .run = merge_run,
};
