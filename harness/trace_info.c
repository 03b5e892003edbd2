/*
 * trace_info.c - the totals come from the index, so that a large trace is described at once; a torn
 * one is read through. The last lines say what the file tells about the machine and the program
 * that it was recorded from, for whoever is about to share it.
 */
#include "harness/trace_info.h"

#include <inttypes.h>

#include "traces/check.h"
#include "traces/formats/text.h"

static void number_print(FILE *stream, const char *key, uint64_t value)
{
    fprintf(stream, "%-18s %" PRIu64 "\n", key, value);
}

static void word_print(FILE *stream, const char *key, const char *value)
{
    fprintf(stream, "%-18s %s\n", key, value);
}

static void totals_print(FILE *stream, const struct trace_totals *t)
{
    number_print(stream, "records", t->records);
    number_print(stream, "ops", t->ops);
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++)
        number_print(stream, text_kind_name(kind), t->kinds[kind]);
    number_print(stream, "failed", t->failed);
    number_print(stream, "null_frees", t->null_frees);
    number_print(stream, "null_reallocs", t->null_reallocs);
    number_print(stream, "sized_frees", t->sized_frees);
    number_print(stream, "objects", t->objects);
    number_print(stream, "threads", t->threads);
    number_print(stream, "scopes", t->scopes);
    number_print(stream, "peak_live_objects", t->peak_live_objects);
    number_print(stream, "peak_live_bytes", t->peak_live_bytes);
    number_print(stream, "end_live_objects", t->end_live_objects);
    number_print(stream, "end_live_bytes", t->end_live_bytes);
    number_print(stream, "allocated_bytes", t->allocated_bytes);
}

static void disclosure_print(FILE *stream, const struct trace_reader *r)
{
    const char *key, *value;
    word_print(stream, "discloses",
               "sizes, lifetimes and order of allocations, by thread and scope");
    if (trace_has_clock(r))
        word_print(stream, "discloses", "clock: when each call was made, since the first");
    if (trace_has_sites(r))
        word_print(stream, "discloses", "site: numbers of the places in the program");
    for (unsigned i = 0; trace_meta_at(r, i, &key, &value); i++)
        fprintf(stream, "%-18s meta: %s, which says \"%s\"\n", "discloses", key, value);
    word_print(stream, "discloses", "nothing else: no addresses, no contents");
}

int trace_info_print(FILE *stream, struct trace_reader *r, struct error *err)
{
    struct trace_totals totals = *trace_reader_totals(r);
    const char *key, *value;
    if (trace_is_torn(r) && trace_check(r, &totals, err))
        return -1;
    word_print(stream, "file", trace_name(r));
    word_print(stream, "format", "alloclab trace, version 1");
    word_print(stream, "torn", trace_is_torn(r) ? "yes: only the whole blocks at its front" : "no");
    number_print(stream, "file_bytes", trace_bytes(r));
    if (totals.ops)
        fprintf(stream, "%-18s %.3f\n", "bytes_per_op",
                (double)trace_bytes(r) / (double)totals.ops);
    word_print(stream, "clock", trace_has_clock(r) ? "yes" : "no");
    word_print(stream, "sites", trace_has_sites(r) ? "yes" : "no");
    for (unsigned i = 0; trace_meta_at(r, i, &key, &value); i++)
        fprintf(stream, "meta.%-13s %s\n", key, value);
    totals_print(stream, &totals);
    disclosure_print(stream, r);
    return 0;
}
