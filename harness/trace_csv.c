/*
 * trace_csv.c - the tables of a trace's profile as CSV files; docs/traces.md lists their columns.
 * A table without rows is a file with its header.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/csv.h"
#include "harness/trace_figures.h"
#include "traces/sites_text.h"

static void sizes_write(FILE *f, const struct trace_profile *p)
{
    fputs("size_low_bytes,size_high_bytes,allocs,alloc_bytes,reallocs\n", f);
    for (unsigned row = 0; row < PROFILE_SIZES; row++) {
        const struct profile_size *s = &p->sizes[row];
        if (s->allocs + s->reallocs)
            fprintf(f, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                    profile_size_low(row), profile_size_high(row), s->allocs, s->bytes,
                    s->reallocs);
    }
}

static void lifetimes_write(FILE *f, const struct trace_profile *p)
{
    fputs("unit,life_low,life_high,objects,object_bytes\n", f);
    for (unsigned unit = 0; unit < LIFE_UNITS; unit++)
        for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
            if (p->lives[unit][i].objects)
                fprintf(f, "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                        profile_units[unit], histogram_low(i), histogram_high(i),
                        p->lives[unit][i].objects, p->lives[unit][i].bytes);
}

static void heat_write(FILE *f, const struct trace_profile *p)
{
    fputs("unit,size_low_bytes,size_high_bytes,life_low,life_high,objects\n", f);
    for (unsigned unit = 0; unit < LIFE_UNITS; unit++)
        for (unsigned size = 0; size < PROFILE_SIZE_CELLS; size++)
            for (unsigned life = 0; life < PROFILE_LIFE_CELLS; life++)
                if (p->heat[unit][size][life])
                    fprintf(f, "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                            profile_units[unit], loglinear_low(size, PROFILE_SIZE_BITS),
                            loglinear_high(size, PROFILE_SIZE_BITS),
                            loglinear_low(life, PROFILE_LIFE_BITS),
                            loglinear_high(life, PROFILE_LIFE_BITS), p->heat[unit][size][life]);
}

/* The clock of a trace that has none is empty. */
static void live_write(FILE *f, const struct trace_profile *p)
{
    char clock[32] = "";
    fputs("ops,clock_ns,live_objects,live_bytes,peak_objects,peak_bytes,allocated_bytes\n", f);
    for (unsigned i = 0; i < p->sample_count; i++) {
        const struct profile_sample *s = &p->samples[i];
        if (p->has_clock)
            snprintf(clock, sizeof clock, "%" PRIu64, s->clock_ns);
        fprintf(f, "%" PRIu64 ",%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n",
                s->calls, clock, s->live_objects, s->live_bytes, s->peak_objects, s->peak_bytes,
                s->allocated_bytes);
    }
}

/* What a thread freed of its own stands on the diagonal, with how much of it was the youngest. */
static void handover_write(FILE *f, const struct trace_profile *p)
{
    fputs("made_by,freed_by,frees,bytes\n", f);
    for (uint64_t i = 0; i < p->thread_count; i++)
        if (p->threads[i].own_frees)
            fprintf(f, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", i, i,
                    p->threads[i].own_frees, p->threads[i].own_bytes);
    for (uint64_t i = 0; i < p->pair_count; i++)
        fprintf(f, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", p->pairs[i].threads >> 32,
                p->pairs[i].threads & UINT32_MAX, p->pairs[i].frees, p->pairs[i].bytes);
}

static void threads_write(FILE *f, const struct trace_profile *p)
{
    fputs("thread,allocs,frees,lifo_frees,end_live_objects\n", f);
    for (uint64_t i = 0; i < p->thread_count; i++) {
        const struct profile_thread *t = &p->threads[i];
        fprintf(f, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 "\n", i, t->allocs,
                t->frees, t->lifo_frees, t->live);
    }
}

static void chains_write(FILE *f, const struct trace_profile *p)
{
    fputs("reallocs_low,reallocs_high,objects,reallocs,first_bytes,last_bytes,copied_bytes\n", f);
    for (unsigned i = 0; i < PROFILE_CHAIN_CELLS; i++) {
        const struct profile_chain *c = &p->chains[i];
        if (c->objects)
            fprintf(f,
                    "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                    ",%" PRIu64 "\n",
                    loglinear_low(i, PROFILE_CHAIN_BITS), loglinear_high(i, PROFILE_CHAIN_BITS),
                    c->objects, c->reallocs, c->first_bytes, c->last_bytes, c->copied_bytes);
    }
}

static void alignments_write(FILE *f, const struct trace_profile *p)
{
    fputs("align_bytes,calls\n", f);
    for (unsigned i = 0; i < 64; i++)
        if (p->aligns[i])
            fprintf(f, "%" PRIu64 ",%" PRIu64 "\n", UINT64_C(1) << i, p->aligns[i]);
}

static void site_place_write(FILE *f, const struct sites *sites, uint64_t site)
{
    char text[400];
    uint32_t frame = sites_find(sites, site);
    putc(',', f);
    if (frame)
        fprintf(f, "%" PRIu32, frame);
    putc(',', f);
    if (frame) {
        sites_place_text(sites, sites_frame_place(sites, frame), text, sizeof text);
        csv_put_text(f, text);
    }
    putc('\n', f);
}

/* The frame is that of frames.csv; of a site that is only a number frame and place are empty. */
static void sites_write(FILE *f, const struct trace_profile *p, const struct sites *sites)
{
    fputs("site,allocs,reallocs,allocated_bytes,frees,life_mean_ops,peak_live_bytes,"
          "end_live_objects,end_live_bytes,frame,place\n",
          f);
    for (uint64_t i = 0; i < p->site_count; i++) {
        const struct profile_site *s = &p->sites[i];
        char mean[48] = "";
        if (s->frees)
            snprintf(mean, sizeof mean, "%.6g", (double)s->life_ops / (double)s->frees);
        fprintf(f,
                "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%" PRIu64
                ",%" PRIu64 ",%" PRIu64,
                s->site, s->allocs, s->reallocs, s->allocated_bytes, s->frees, mean,
                s->peak_live_bytes, s->live_objects, s->live_bytes);
        site_place_write(f, sites, s->site);
    }
}

static void frames_write(FILE *f, const struct sites *s)
{
    fputs("frame,caller,module,build_id,offset,function,file,line\n", f);
    for (uint32_t n = 1; n <= sites_count(s, SITES_FRAME); n++) {
        const struct site_place place = sites_place_at(s, sites_frame_place(s, n));
        const struct site_module module =
            place.module ? sites_module_at(s, place.module) : (struct site_module){"", "", ""};
        fprintf(f, "%" PRIu32 ",", n);
        if (sites_frame_caller(s, n))
            fprintf(f, "%" PRIu32, sites_frame_caller(s, n));
        putc(',', f);
        csv_put_text(f, module.name);
        fprintf(f, ",%s,", module.build);
        if (place.offset != SITE_NO_OFFSET)
            fprintf(f, "0x%" PRIx64, place.offset);
        putc(',', f);
        csv_put_text(f, place.function);
        putc(',', f);
        csv_put_text(f, place.file);
        putc(',', f);
        if (place.line)
            fprintf(f, "%" PRIu32, place.line);
        putc('\n', f);
    }
}

/* ---- summary.csv ---- */

static void figure_write(void *arg, const char *key, const char *value)
{
    fprintf(arg, "%s,%s\n", key, value);
}

static void summary_write(FILE *f, struct trace_reader *r, const struct trace_totals *totals,
                          const struct trace_profile *p)
{
    const char *key, *value;
    fputs("key,value\nfile,", f);
    csv_put_text(f, trace_name(r));
    fputc('\n', f);
    for (unsigned i = 0; trace_meta_at(r, i, &key, &value); i++) {
        fprintf(f, "meta.%s,", key);
        csv_put_text(f, value);
        fputc('\n', f);
    }
    trace_totals_each(totals, figure_write, f);
    trace_profile_each(p, figure_write, f);
}

/* ---- the folder ---- */

static const struct {
    const char *name;
    void (*write)(FILE *f, const struct trace_profile *p); /* NULL: needs more than that */
} tables[] = {
    {"summary.csv", NULL},
    {"sizes.csv", sizes_write},
    {"lifetimes.csv", lifetimes_write},
    {"heat.csv", heat_write},
    {"live.csv", live_write},
    {"handover.csv", handover_write},
    {"threads.csv", threads_write},
    {"chains.csv", chains_write},
    {"alignments.csv", alignments_write},
    {"sites.csv", NULL},
    {"frames.csv", NULL},
};

enum { TABLES = sizeof tables / sizeof *tables };

struct folder {
    const char *name;
    struct trace_reader *r;
    const struct trace_totals *totals;
    const struct trace_profile *p;
    const struct sites *sites;
};

static void table_path(const struct folder *to, unsigned i, const char *suffix, char path[4096])
{
    snprintf(path, 4096, "%s/%s%s", to->name, tables[i].name, suffix);
}

static int table_write(const struct folder *to, unsigned i, struct error *err)
{
    char path[4096];
    table_path(to, i, ".part", path);
    FILE *f = fopen(path, "we");
    if (!f)
        return error_set(err, "%s: cannot create: %s", path, strerror(errno));
    if (tables[i].write)
        tables[i].write(f, to->p);
    else if (!strcmp(tables[i].name, "sites.csv"))
        sites_write(f, to->p, to->sites);
    else if (!strcmp(tables[i].name, "frames.csv"))
        frames_write(f, to->sites);
    else
        summary_write(f, to->r, to->totals, to->p);
    bool unwritten = ferror(f);
    if (fclose(f) || unwritten)
        return error_set(err, "%s: cannot write: %s", path, strerror(errno));
    return 0;
}

/* All tables or none get their names: half of a new one beside old ones would be taken for a whole. */
static int tables_write(const struct folder *to, struct error *err)
{
    char path[4096], part[4096];
    int failed = 0;
    for (unsigned i = 0; !failed && i < TABLES; i++)
        failed = table_write(to, i, err);
    for (unsigned i = 0; i < TABLES; i++) {
        table_path(to, i, ".part", part);
        table_path(to, i, "", path);
        if (!failed && rename(part, path))
            failed = error_set(err, "%s: cannot rename to %s: %s", part, path, strerror(errno));
        if (failed)
            unlink(part);
    }
    return failed;
}

int trace_csv_write(const char *folder, struct trace_reader *r, const struct trace_totals *totals,
                    const struct trace_profile *p, struct error *err)
{
    const struct folder to = {folder, r, totals, p, trace_reader_sites(r, err)};
    if (!to.sites)
        return -1;
    if (strlen(folder) > 4000)
        return error_set(err, "%s: name too long", folder);
    if (mkdir(folder, 0777) && errno != EEXIST)
        return error_set(err, "%s: cannot make the folder: %s", folder, strerror(errno));
    return tables_write(&to, err);
}
