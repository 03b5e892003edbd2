/*
 * trace_figures.c - see trace_figures.h. Quantiles are those of histogram.h: never below the true
 * one and less than 1/64 above it; of sizes below 64 KiB they are exact.
 */
#include "harness/trace_figures.h"

#include <inttypes.h>
#include <stdio.h>

#include "traces/formats/text.h"

struct teller {
    trace_figure_fn *say;
    void *arg;
};

static void say_count(const struct teller *t, const char *key, uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64, value);
    t->say(t->arg, key, text);
}

/* Nothing of nothing is not a number. */
static void say_ratio(const struct teller *t, const char *key, double part, double whole)
{
    char text[48] = "";
    if (whole > 0)
        snprintf(text, sizeof text, "%.6g", part / whole);
    t->say(t->arg, key, text);
}

void trace_totals_each(const struct trace_totals *t, trace_figure_fn *say, void *arg)
{
    const struct teller to = {say, arg};
    say_count(&to, "records", t->records);
    say_count(&to, "ops", t->ops);
    for (unsigned kind = 0; kind < TRACE_KINDS; kind++)
        say_count(&to, text_kind_name(kind), t->kinds[kind]);
    say_count(&to, "failed", t->failed);
    say_count(&to, "null_frees", t->null_frees);
    say_count(&to, "null_reallocs", t->null_reallocs);
    say_count(&to, "sized_frees", t->sized_frees);
    say_count(&to, "objects", t->objects);
    say_count(&to, "threads", t->threads);
    say_count(&to, "scopes", t->scopes);
    say_count(&to, "peak_live_objects", t->peak_live_objects);
    say_count(&to, "peak_live_bytes", t->peak_live_bytes);
    say_count(&to, "end_live_objects", t->end_live_objects);
    say_count(&to, "end_live_bytes", t->end_live_bytes);
    say_count(&to, "allocated_bytes", t->allocated_bytes);
}

/* ---- quantiles ---- */

static const struct {
    const char *name;
    uint64_t one_in; /* so many are above: see histogram_quantile() */
} quantiles[] = {{"p50", 2}, {"p90", 10}, {"p99", 100}, {"p999", 1000}};

enum { QUANTILES = sizeof quantiles / sizeof *quantiles };

static void sizes_say(const struct trace_profile *p, const struct teller *to)
{
    uint64_t total = 0, bytes = 0, seen = 0;
    unsigned next = 0;
    char key[32];
    for (unsigned row = 0; row < PROFILE_SIZES; row++) {
        total += p->sizes[row].allocs;
        bytes += p->sizes[row].bytes;
    }
    say_ratio(to, "size_mean_bytes", (double)bytes, (double)total);
    for (unsigned row = 0; row < PROFILE_SIZES && total; row++) {
        seen += p->sizes[row].allocs;
        for (; next < QUANTILES && seen >= total - total / quantiles[next].one_in; next++) {
            uint64_t high = profile_size_high(row);
            snprintf(key, sizeof key, "size_%s_bytes", quantiles[next].name);
            say_count(to, key, high < p->size_max ? high : p->size_max);
        }
    }
    if (total)
        say_count(to, "size_max_bytes", p->size_max);
}

static void lives_say(const struct trace_profile *p, const struct teller *to, unsigned unit)
{
    struct histogram h = {.total = p->freed_objects, .max = p->life_max[unit]};
    char key[40];
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        h.count[i] = p->lives[unit][i].objects;
    snprintf(key, sizeof key, "life_mean_%s", profile_units[unit]);
    say_ratio(to, key, p->life_sum[unit], (double)h.total);
    for (unsigned i = 0; i < QUANTILES && h.total; i++) {
        snprintf(key, sizeof key, "life_%s_%s", quantiles[i].name, profile_units[unit]);
        say_count(to, key, histogram_quantile(&h, quantiles[i].one_in));
    }
    snprintf(key, sizeof key, "life_max_%s", profile_units[unit]);
    if (h.total)
        say_count(to, key, h.max);
}

static void chains_say(const struct trace_profile *p, const struct teller *to)
{
    struct profile_chain all = {0};
    for (unsigned i = 0; i < PROFILE_CHAIN_CELLS; i++) {
        all.objects += p->chains[i].objects;
        all.reallocs += p->chains[i].reallocs;
        all.first_bytes += p->chains[i].first_bytes;
        all.last_bytes += p->chains[i].last_bytes;
        all.copied_bytes += p->chains[i].copied_bytes;
    }
    say_count(to, "resized_objects", all.objects);
    say_ratio(to, "chain_mean_reallocs", (double)all.reallocs, (double)all.objects);
    say_count(to, "chain_max_reallocs", p->chain_max);
    say_ratio(to, "chain_growth", (double)all.last_bytes, (double)all.first_bytes);
    say_count(to, "chain_copied_bytes", all.copied_bytes);
    say_count(to, "reallocs_grown", p->reallocs_grown);
    say_count(to, "reallocs_shrunk", p->reallocs_shrunk);
    say_count(to, "reallocs_same", p->reallocs_same);
    say_count(to, "reallocs_by_others", p->remote_reallocs);
}

void trace_profile_each(const struct trace_profile *p, trace_figure_fn *say, void *arg)
{
    const struct teller to = {say, arg};
    uint64_t lifo = 0, handed = 0;
    for (uint64_t i = 0; i < p->thread_count; i++)
        lifo += p->threads[i].lifo_frees;
    for (uint64_t i = 0; i < p->pair_count; i++)
        handed += p->pairs[i].frees;
    sizes_say(p, &to);
    say_count(&to, "freed_objects", p->freed_objects);
    say_count(&to, "freed_start_objects", p->freed_start_objects);
    for (unsigned unit = 0; unit < LIFE_UNITS; unit++)
        if (unit != LIFE_NS || p->has_clock)
            lives_say(p, &to, unit);
    say_ratio(&to, "lifo_share", (double)lifo, (double)p->freed_objects);
    say_count(&to, "handover_frees", handed);
    say_ratio(&to, "handover_share", (double)handed, (double)p->freed_objects);
    say_count(&to, "handover_pairs", p->pair_count);
    chains_say(p, &to);
    say_count(&to, "peak_live_bytes_op", p->peak_call);
    say_count(&to, "scope_depth_max", p->scope_depth_max);
    say_count(&to, "scopes_open_max", p->scopes_open_max);
    say_count(&to, "scoped_objects", p->scoped_objects);
    say_count(&to, "scope_deaths", p->scope_deaths);
    say_ratio(&to, "scope_death_share", (double)p->scope_deaths, (double)p->scoped_objects);
    say_count(&to, "sites_seen", p->site_count);
    if (p->has_clock)
        say_count(&to, "clock_span_ns", p->clock_ns);
}

unsigned trace_top(uint64_t (*number)(const void *arg, uint64_t place), const void *arg,
                   uint64_t count, unsigned most, uint64_t *places)
{
    unsigned found = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t value = number(arg, i);
        if (!value || (found == most && value <= number(arg, places[found - 1])))
            continue;
        found += found < most;
        unsigned at = found - 1;
        for (; at && number(arg, places[at - 1]) < value; at--)
            places[at] = places[at - 1];
        places[at] = i;
    }
    return found;
}
