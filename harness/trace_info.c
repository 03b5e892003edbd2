/*
 * trace_info.c - the totals come from the index, and are there at once; a torn trace is read
 * through for them. What the objects are like takes a pass over the ops. The last lines say what the
 * file tells about the machine and the program that it was recorded from, for whoever is about to
 * share it.
 */
#include "harness/trace_info.h"

#include <inttypes.h>

#include "harness/trace_figures.h"
#include "traces/check.h"
#include "traces/sites_text.h"

static void number_print(FILE *stream, const char *key, uint64_t value)
{
    fprintf(stream, "%-18s %" PRIu64 "\n", key, value);
}

static void word_print(FILE *stream, const char *key, const char *value)
{
    fprintf(stream, "%-18s %s\n", key, value);
}

static void figure_print(void *arg, const char *key, const char *value)
{
    if (*value)
        word_print(arg, key, value);
}

/* ---- tables, the first rows ---- */

enum { TOP = 10 };

static uint64_t size_calls(const void *arg, uint64_t row)
{
    const struct trace_profile *p = arg;
    return p->sizes[row].allocs;
}

static uint64_t site_bytes(const void *arg, uint64_t place)
{
    const struct trace_profile *p = arg;
    return p->sites[place].allocated_bytes;
}

static uint64_t pair_frees(const void *arg, uint64_t place)
{
    const struct trace_profile *p = arg;
    return p->pairs[place].frees;
}

static void sizes_print(FILE *stream, const struct trace_profile *p)
{
    uint64_t rows[TOP], made = 0;
    for (uint64_t i = 0; i < p->thread_count; i++)
        made += p->threads[i].allocs;
    unsigned found = trace_top(size_calls, p, PROFILE_SIZES, TOP, rows);
    for (unsigned i = 0; i < found; i++) {
        unsigned row = (unsigned)rows[i];
        fprintf(stream, "%-18s %" PRIu64, "top_size", profile_size_low(row));
        if (row >= PROFILE_EXACT)
            fprintf(stream, " to %" PRIu64, profile_size_high(row));
        fprintf(stream, " bytes: %" PRIu64 " allocs, %.2f %%\n", p->sizes[row].allocs,
                100 * (double)p->sizes[row].allocs / (double)made);
    }
}

static void sites_print(FILE *stream, const struct trace_profile *p, const struct sites *sites)
{
    enum { STACK_TOP = 3 };
    uint64_t places[TOP];
    unsigned found = trace_top(site_bytes, p, p->site_count, TOP, places);
    for (unsigned i = 0; i < found; i++) {
        const struct profile_site *s = &p->sites[places[i]];
        uint32_t frame = sites_find(sites, s->site);
        char text[400];
        sites_frame_text(sites, frame, STACK_TOP, text, sizeof text);
        fprintf(stream,
                "%-18s %" PRIu64 ": %" PRIu64 " bytes in %" PRIu64 " allocs and %" PRIu64
                " reallocs, peak %" PRIu64 " live, %" PRIu64 " at the end%s%s\n",
                "top_site", s->site, s->allocated_bytes, s->allocs, s->reallocs, s->peak_live_bytes,
                s->live_bytes, frame ? ": " : "", text);
    }
}

static void handover_print(FILE *stream, const struct trace_profile *p)
{
    uint64_t places[TOP];
    unsigned found = trace_top(pair_frees, p, p->pair_count, TOP, places);
    for (unsigned i = 0; i < found; i++) {
        const struct profile_pair *pair = &p->pairs[places[i]];
        fprintf(stream,
                "%-18s made by thread %" PRIu64 ", freed by %" PRIu64 ": %" PRIu64
                " objects, %" PRIu64 " bytes\n",
                "top_handover", pair->threads >> 32, pair->threads & UINT32_MAX, pair->frees,
                pair->bytes);
    }
}

static void aligns_print(FILE *stream, const struct trace_profile *p)
{
    for (unsigned i = 1; i < sizeof p->aligns / sizeof *p->aligns; i++)
        if (p->aligns[i])
            fprintf(stream, "%-18s %" PRIu64 " bytes: %" PRIu64 " calls\n", "alignment",
                    UINT64_C(1) << i, p->aligns[i]);
}

/* What the table of sites says, beyond numbers. */
static void sites_disclose(FILE *stream, struct trace_reader *r)
{
    struct error err;
    const struct sites *s = trace_reader_sites(r, &err);
    uint32_t builds = 0, paths = 0, offsets = 0, functions = 0;
    if (!s) {
        word_print(stream, "discloses", "site: a table of sites that cannot be read");
        return;
    }
    for (uint32_t n = 1; n <= sites_count(s, SITES_MODULE); n++) {
        const struct site_module module = sites_module_at(s, n);
        builds += *module.build != 0;
        paths += *module.path != 0;
        fprintf(stream, "%-18s module: %s%s%s\n", "discloses", module.name,
                *module.path ? ", at " : "", module.path);
    }
    for (uint32_t n = 1; n <= sites_count(s, SITES_PLACE); n++) {
        const struct site_place place = sites_place_at(s, n);
        offsets += place.offset != SITE_NO_OFFSET;
        functions += *place.function || *place.file;
    }
    fprintf(
        stream,
        "%-18s site: call stacks of %" PRIu32 " sites; build ids of %" PRIu32 " modules and paths "
        "of %" PRIu32 "; %" PRIu32 " offsets in modules; %" PRIu32 " names of functions or files\n",
        "discloses", sites_count(s, SITES_SITE), builds, paths, offsets, functions);
}

void trace_disclosure_print(FILE *stream, struct trace_reader *r)
{
    const char *key, *value;
    word_print(stream, "discloses",
               "sizes, lifetimes and order of allocations, by thread and scope");
    if (trace_has_clock(r))
        word_print(stream, "discloses", "clock: when each call was made, since the first");
    if (trace_has_sites(r))
        word_print(stream, "discloses", "site: numbers of the places in the program");
    if (trace_has_site_table(r))
        sites_disclose(stream, r);
    for (unsigned i = 0; trace_meta_at(r, i, &key, &value); i++)
        fprintf(stream, "%-18s meta: %s, which says \"%s\"\n", "discloses", key, value);
    if (trace_unknown_bytes(r))
        fprintf(stream,
                "%-18s whatever is in %" PRIu64
                " bytes of blocks or columns that are unknown to this "
                "program; a copy by `alloclab trace convert` leaves them out\n",
                "discloses", trace_unknown_bytes(r));
    word_print(stream, "discloses", "nothing else: no addresses, no contents");
}

static int profile_print(FILE *stream, struct trace_reader *r, const struct trace_totals *totals,
                         const char *csv, struct error *err)
{
    fflush(stream); /* the totals are there; the rest takes a while */
    const struct sites *sites = trace_reader_sites(r, err);
    struct trace_profile *p = sites ? trace_profile_read(r, err) : NULL;
    if (!p)
        return -1;
    trace_profile_each(p, figure_print, stream);
    sizes_print(stream, p);
    aligns_print(stream, p);
    handover_print(stream, p);
    sites_print(stream, p, sites);
    int failed = csv ? trace_csv_write(csv, r, totals, p, err) : 0;
    trace_profile_free(p);
    return failed;
}

int trace_info_print(FILE *stream, struct trace_reader *r, const struct trace_info *what,
                     struct error *err)
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
    trace_totals_each(&totals, figure_print, stream);
    if (!what->brief && profile_print(stream, r, &totals, what->csv, err))
        return -1;
    trace_disclosure_print(stream, r);
    return 0;
}
