/*
 * results.c - writes the CSV files of a session. Columns come from the one table in metrics.h; text
 * that holds commas or quotes is quoted as RFC 4180 says.
 */
#include "harness/results.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "harness/cell.h"
#include "harness/comparison.h"
#include "harness/csv.h"

/* Whole numbers as such, others with six decimals. */
static void number_put(FILE *f, double value)
{
    fprintf(f, value == floor(value) && fabs(value) < 9e15 ? ",%.0f" : ",%.6f", value);
}

static void table_path(const struct results *r, const char *name, char *path, size_t room)
{
    snprintf(path, room, "%s/%s", r->directory, name);
}

static int exists_error(const char *path, struct error *err)
{
    return error_set(
        err, "%s exists already: results are never written over; choose another folder with -o",
        path);
}

static FILE *file_open(const struct results *r, const char *name, struct error *err)
{
    char path[1100];
    table_path(r, name, path, sizeof path);
    FILE *f = fopen(path, "wxe"); /* e: cells do not inherit it */
    if (!f && errno == EEXIST)
        exists_error(path, err);
    else if (!f)
        error_set(err, "%s: %s", path, strerror(errno));
    return f;
}

/* Makes the folder and those above it. */
static int folder_make(const char *directory, struct error *err)
{
    char path[sizeof((struct results *)NULL)->directory];
    strcpy(path, directory);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        if (mkdir(path, 0777) && errno != EEXIST)
            return error_set(err, "%s: cannot make the folder: %s", path, strerror(errno));
        *slash = '/';
    }
    if (mkdir(path, 0777) && errno != EEXIST)
        return error_set(err, "%s: cannot make the results folder: %s", path, strerror(errno));
    return 0;
}

/* Of a whole program nobody counted them. */
static void threads_count_put(FILE *f, const struct row_ids *ids)
{
    fputc(',', f);
    if (ids->threads)
        fprintf(f, "%u", ids->threads);
}

static void row_put(FILE *f, const struct results *r, const struct row_ids *ids,
                    const struct outcome *o)
{
    fprintf(f, "%s,%u,%u,", r->run_id, ids->block, ids->order);
    csv_put_text(f, ids->allocator);
    fputc(',', f);
    csv_put_text(f, ids->options);
    fputc(',', f);
    csv_put_text(f, ids->workload);
    threads_count_put(f, ids);
    fprintf(f, ",%s,%s,%u,%s,%s,%s,", ids->release, ids->replay, ids->copies, ids->affinity,
            ids->via, ids->touch);
    csv_put_text(f, ids->door);
    fprintf(f, ",%s,%u,%s,%s,", ids->pass, ids->repeat, status_names[o->status], ids->rank_group);
    csv_put_text(f, o->mode);
    fputc(',', f);
    csv_put_text(f, o->status == OUTCOME_OK ? "" : o->detail);
    fprintf(f, ",%s", ids->thp);
    for (int i = 0; i < METRIC_COUNT; i++) {
        if (o->known[i])
            number_put(f, o->value[i]);
        else
            fputc(',', f);
    }
    fputc('\n', f);
}

static void series_ids_put(FILE *f, const struct results *r, const struct row_ids *ids)
{
    fprintf(f, "%s,", r->run_id);
    csv_put_text(f, ids->allocator);
    fputc(',', f);
    csv_put_text(f, ids->options);
    fputc(',', f);
    csv_put_text(f, ids->workload);
    threads_count_put(f, ids);
    fprintf(f, ",%s", ids->release);
}

static void known_put(FILE *f, uint64_t value)
{
    if (value == SAMPLE_UNKNOWN)
        fputc(',', f);
    else
        fprintf(f, ",%llu", (unsigned long long)value);
}

static void timeline_put(FILE *f, const struct results *r, const struct row_ids *ids,
                         const struct outcome *o)
{
    for (uint32_t i = 0; i < o->samples; i++) {
        const struct sample *s = &o->sample[i];
        series_ids_put(f, r, ids);
        fprintf(f, ",%u,%llu,%llu", i, (unsigned long long)s->op_index,
                (unsigned long long)s->virtual_ns);
        const uint64_t values[] = {s->requested, s->usable,  s->committed, s->reserved, s->resident,
                                   s->walk[0],   s->walk[1], s->walk[2],   s->walk[3],  s->huge};
        for (unsigned k = 0; k < sizeof values / sizeof *values; k++)
            known_put(f, values[k]);
        fputc('\n', f);
    }
}

static void heapmap_put(FILE *f, const struct results *r, const struct row_ids *ids,
                        const struct outcome *o)
{
    for (uint32_t i = 0; i < o->heapmap_samples; i++) {
        for (uint32_t b = 0; b < o->heapmap_buckets; b++) {
            const uint64_t *bytes = o->heapmap[i].bytes[b];
            if (!(bytes[0] | bytes[1] | bytes[2] | bytes[3]))
                continue;
            series_ids_put(f, r, ids);
            fprintf(f, ",%u,%llu,%u,%llu,%llu", i, (unsigned long long)o->heapmap[i].op_index, b,
                    (unsigned long long)o->heapmap_bucket_bytes,
                    (unsigned long long)(b * o->heapmap_bucket_bytes));
            for (int k = 0; k < 4; k++)
                fprintf(f, ",%llu", (unsigned long long)bytes[k]);
            fputc('\n', f);
        }
    }
}

/* Rows of classes that nothing was of are left out; the first row is of no class. */
static void classes_put(FILE *f, const struct results *r, const struct row_ids *ids,
                        const struct outcome *o)
{
    const struct class_table *table = &o->classes;
    for (unsigned i = 0; i < CLASS_ROWS; i++) {
        const struct class_share *c = &table->row[i];
        if (!(c->requests | c->live | c->walk[0] | c->walk[1] | c->walk[2] | c->walk[3]))
            continue;
        series_ids_put(f, r, ids);
        fprintf(f, ",%s,%llu", ids->via, (unsigned long long)table->op_index);
        known_put(f, i ? class_row_bytes(i) : SAMPLE_UNKNOWN);
        const uint64_t values[] = {c->requests, c->live, c->requested,
                                   table->usable ? c->usable : SAMPLE_UNKNOWN,
                                   table->usable ? c->usable - c->requested : SAMPLE_UNKNOWN};
        for (unsigned k = 0; k < sizeof values / sizeof *values; k++)
            known_put(f, values[k]);
        for (unsigned k = 0; k < 4; k++)
            known_put(f, table->walked ? c->walk[k] : SAMPLE_UNKNOWN);
        fputc('\n', f);
    }
}

static void drain_put(FILE *f, const struct results *r, const struct row_ids *ids,
                      const struct outcome *o)
{
    for (uint32_t i = 0; i < o->drain_samples; i++) {
        const struct drain_sample *s = &o->drain[i];
        series_ids_put(f, r, ids);
        fprintf(f, ",%s,%u,%llu,%llu", ids->via, i, (unsigned long long)s->ns,
                (unsigned long long)s->resident);
        known_put(f, s->committed);
        fputc('\n', f);
    }
}

static void threads_put(FILE *f, const struct results *r, const struct row_ids *ids,
                        const struct outcome *o)
{
    for (uint32_t i = 0; i < o->lanes; i++) {
        const struct lane_share *lane = &o->lane[i];
        series_ids_put(f, r, ids);
        fprintf(f, ",%u,%u,%u,%u,%u,%u,%llu,%llu\n", ids->block, ids->copies, i, lane->copy,
                lane->first_thread, lane->recorded_threads, (unsigned long long)lane->busy_ns,
                (unsigned long long)lane->wait_ns);
    }
}

static void latency_put(FILE *f, const struct results *r, const struct row_ids *ids,
                        const struct outcome *o)
{
    const struct latency *l = &o->latency;
    for (unsigned kind = 0; kind < LATENCY_KINDS; kind++) {
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
            if (!l->kind[kind].count[b])
                continue;
            series_ids_put(f, r, ids);
            fprintf(f, ",%u,%s,%s,%.3f,%.3f,%llu\n", ids->block, ids->via, latency_kind_names[kind],
                    (double)histogram_low(b) * l->tick_ns,
                    ((double)histogram_high(b) + 1) * l->tick_ns,
                    (unsigned long long)l->kind[kind].count[b]);
        }
    }
}

static void tail_put(FILE *f, const struct results *r, const struct row_ids *ids,
                     const struct outcome *o)
{
    const struct latency *l = &o->latency;
    static const char *const causes[] = {"none seen", "os door", "page fault",
                                         "os door and page fault"};
    for (uint32_t i = 0; i < l->tails + l->worsts; i++) {
        bool worst = i >= l->tails;
        const struct latency_tail *t = worst ? &l->worst[i - l->tails] : &l->tail[i];
        series_ids_put(f, r, ids);
        fprintf(f, ",%u,%s,%s,%llu,%llu,", ids->block, ids->via, latency_kind_names[t->kind],
                (unsigned long long)t->op, (unsigned long long)t->size);
        if (!worst)
            fprintf(f, "%.3f", (double)t->ticks * l->tick_ns);
        fputc(',', f);
        if (l->least_known)
            fprintf(f, "%.3f", (double)t->least_ticks * l->tick_ns);
        fprintf(f, ",%s,%s\n",
                t->causes & LATENCY_CAUSES_KNOWN ? causes[t->causes % LATENCY_CAUSES_KNOWN] : "",
                worst ? "replay_min" : "pass");
    }
}

/* Empty where there is none: an interval of too few blocks, a q of what is not tested. */
static void chance_put(FILE *f, bool known, double value)
{
    fputc(',', f);
    if (known)
        fprintf(f, "%.6g", value);
}

static void comparison_put(FILE *f, const struct results *r, const struct row_ids *ids,
                           const struct row_ids *base, const struct comparison *c)
{
    bool tested = c->verdict != VERDICT_FLOOR;
    series_ids_put(f, r, ids);
    fprintf(f, ",%s,%u,%s,%s,%s,%s,%s,", ids->replay, ids->copies, ids->via, ids->touch,
            ids->rank_group, ids->pass, metric_row_of(c->metric)->name);
    csv_put_text(f, base->allocator);
    fputc(',', f);
    csv_put_text(f, base->options);
    fprintf(f, ",%s,%u,%.6f", base->release, c->blocks, c->ratio.estimate);
    chance_put(f, c->ratio.bounded, c->ratio.low);
    chance_put(f, c->ratio.bounded, c->ratio.high);
    chance_put(f, tested, c->test.p);
    chance_put(f, tested, c->test.q);
    fprintf(f, ",%s,%s,", c->ratio.exact ? "exact" : "normal", verdict_names[c->verdict]);
    csv_put_text(f, c->tied ? c->tied : "");
    fputc('\n', f);
}

struct counter_row { /* of counters.csv */
    const char *phase, *lane;
    const struct counter_count *counts;
    uint32_t counter;
    bool cold;
};

static void counter_put(FILE *f, const struct results *r, const struct row_ids *ids,
                        const struct outcome *o, const struct counter_row *row)
{
    const struct counter *c = &r->counters->counter[row->counter];
    const struct counter_count *count = &row->counts[row->counter];
    char note[256];
    enum counter_state state =
        counter_say(r->counters, row->counts, row->counter, r->place, note, sizeof note);
    if (state == COUNTER_UNUSED) /* it had no part in this phase */
        return;
    series_ids_put(f, r, ids);
    fprintf(f, ",%u,%s,%s,%u,%s,", ids->block, ids->via, ids->replay, ids->copies, row->phase);
    csv_put_text(f, r->counters->set_name[c->set]);
    fputc(',', f);
    csv_put_text(f, c->name);
    fprintf(f, ",%s,%s", c->software ? "software" : "pmu", row->lane);
    if (count->passes && !count->refused) {
        double value = count->value / count->passes;
        number_put(f, value);
        if (o->value[METRIC_ops] > 0)
            fprintf(f, ",%.9g", value / (o->value[METRIC_ops] * ids->copies));
        else
            fputc(',', f);
        number_put(f, (double)count->running_ns / (double)count->enabled_ns);
    } else {
        fputs(",,,", f);
    }
    fprintf(f, ",%s,", state == COUNTER_SUSPECT ? "yes" : "");
    csv_put_text(f, note);
    fputc('\n', f);
}

static void counter_rows_put(FILE *f, const struct results *r, const struct row_ids *ids,
                             const struct outcome *o, const struct counter_row *of)
{
    struct counter_row row = *of;
    for (row.counter = 0; row.counter < r->counters->counters; row.counter++)
        if (!row.cold || r->counters->counter[row.counter].software)
            counter_put(f, r, ids, o, &row);
}

static void counters_put(FILE *f, const struct results *r, const struct row_ids *ids,
                         const struct outcome *o)
{
    static struct counter_count sum[COUNTERS_MAX];
    const struct counters_found *found = &o->counters;
    for (int cold = 1; cold >= 0; cold--) {
        const struct counter_count(*counts)[COUNTERS_MAX] = cold ? found->cold : found->steady;
        struct counter_row row = {
            .phase = cold ? "cold" : "steady", .lane = "all", .counts = sum, .cold = cold};
        counter_sum(r->counters, counts, found->lanes, sum);
        counter_rows_put(f, r, ids, o, &row);
        for (unsigned lane = 0; lane < found->lanes && found->lanes > 1; lane++) {
            char name[16];
            snprintf(name, sizeof name, "%u", lane);
            row.lane = name;
            row.counts = counts[lane];
            counter_rows_put(f, r, ids, o, &row);
        }
    }
}

static void locality_put(FILE *f, const struct results *r, const struct row_ids *ids,
                         const struct outcome *o)
{
    const struct locality *l = &o->locality;
    for (unsigned model = 0; model < LOCALITY_MODELS; model++) {
        const struct locality_geometry *g = &locality_geometries[model];
        for (unsigned event = 0; event < LOCALITY_EVENT_COUNT; event++) {
            series_ids_put(f, r, ids);
            fprintf(f, ",%u,%s,%s,%s,\"%s\",\"%s\",%s,%llu\n", ids->block, ids->via, l->source,
                    g->name, g->first, g->last, locality_event_names[event],
                    (unsigned long long)l->count[model][event]);
        }
    }
}

static void histogram_put(FILE *f, const struct results *r, const struct row_ids *ids,
                          const struct open_times *t, const char *time, const struct histogram *h)
{
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        if (!h->count[b])
            continue;
        series_ids_put(f, r, ids);
        fprintf(f, ",%u,%s,%s,%.3f,%s,%llu,%llu,%llu\n", ids->block, ids->via,
                open_schedule_names[t->schedule], t->rate, time,
                (unsigned long long)histogram_low(b), (unsigned long long)histogram_high(b) + 1,
                (unsigned long long)h->count[b]);
    }
}

static void open_put(FILE *f, const struct results *r, const struct row_ids *ids,
                     const struct outcome *o)
{
    histogram_put(f, r, ids, &o->open, "response", &o->open.response);
    histogram_put(f, r, ids, &o->open, "service", &o->open.service);
}

/* ---- the tables ---- */

static uint32_t one_row(const struct outcome *o)
{
    (void)o;
    return 1;
}

static uint32_t timeline_rows(const struct outcome *o)
{
    return o->samples;
}

static uint32_t heapmap_rows(const struct outcome *o)
{
    return o->heapmap_samples;
}

static uint32_t classes_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK && o->classes.taken;
}

static uint32_t drain_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK ? o->drain_samples : 0;
}

static uint32_t threads_rows(const struct outcome *o)
{
    return o->lanes;
}

static uint32_t latency_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK && o->known[METRIC_timed_ops_count];
}

static uint32_t open_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK && o->known[METRIC_open_rate_per_s];
}

static uint32_t tail_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK ? o->latency.tails : 0;
}

static uint32_t counters_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK ? o->counters.lanes : 0;
}

static uint32_t locality_rows(const struct outcome *o)
{
    return o->status == OUTCOME_OK && o->locality.known;
}

/* A file of the results: made when a cell has the first rows for it. */
struct table {
    const char *name, *columns; /* NULL: the metrics'; else what follows SERIES_IDS */
    uint32_t (*rows)(const struct outcome *o); /* 0 = none of this cell; NULL: not of cells */
    void (*put)(FILE *f, const struct results *r, const struct row_ids *ids,
                const struct outcome *o);
};

#define SERIES_IDS "run_id,allocator,options,workload,threads,release"

static const struct table tables[RESULTS_TABLES] = {
    [RESULTS_ROWS] = {"results.csv", NULL, one_row, row_put},
    [RESULTS_TIMELINE] = {"timeline.csv",
                          "sample,op_index,virtual_ns,requested_bytes,usable_bytes,committed_bytes,"
                          "reserved_bytes,resident_bytes,walk_meta_bytes,walk_live_bytes,"
                          "walk_free_bytes,walk_unused_bytes,huge_coverage_bytes",
                          timeline_rows, timeline_put},
    [RESULTS_HEAPMAP] = {"heapmap.csv",
                         "sample,op_index,bucket,bucket_bytes,offset_bytes,meta_bytes,live_bytes,"
                         "free_bytes,unused_bytes",
                         heapmap_rows, heapmap_put},
    [RESULTS_CLASSES] = {"classes.csv",
                         "via,op_index,class_bytes,requests_count,live_count,requested_bytes,"
                         "usable_bytes,internal_waste_bytes,walk_meta_bytes,walk_live_bytes,"
                         "walk_free_bytes,walk_unused_bytes",
                         classes_rows, classes_put},
    [RESULTS_DRAIN] = {"drain.csv", "via,sample,freed_ns,resident_bytes,committed_bytes",
                       drain_rows, drain_put},
    [RESULTS_THREADS] = {"threads.csv",
                         "block,copies,lane,copy,first_thread,recorded_threads,busy_ns,wait_ns",
                         threads_rows, threads_put},
    [RESULTS_LATENCY] = {"latency.csv", "block,via,op,low_ns,high_ns,count", latency_rows,
                         latency_put},
    [RESULTS_TAIL] = {"latency_tail.csv",
                      "block,via,op,op_index,size_bytes,ns,replay_min_ns,cause,slowest_in",
                      tail_rows, tail_put},
    [RESULTS_COMPARISONS] = {"comparisons.csv",
                             "replay,copies,via,touch,rank_group,pass,metric,base,base_options,"
                             "base_release,blocks,ratio,low,high,p,q,method,verdict,tied",
                             NULL, NULL},
    [RESULTS_COUNTERS] = {"counters.csv",
                          "block,via,replay,copies,phase,set,event,source,lane,value,per_op,"
                          "running_ratio,suspect,note",
                          counters_rows, counters_put},
    [RESULTS_LOCALITY] = {"locality.csv",
                          "block,via,source,model,first_level,last_level,event,count",
                          locality_rows, locality_put},
    [RESULTS_OPEN] = {"open.csv", "block,via,schedule,rate_per_s,time,low_ns,high_ns,count",
                      open_rows, open_put},
};

/* A write that failed before, while a buffer was full, counts too: a flush alone would not tell. */
static int files_flush(const struct results *r, struct error *err)
{
    for (unsigned i = 0; i < RESULTS_TABLES; i++)
        if (r->file[i] && (fflush(r->file[i]) || ferror(r->file[i])))
            return error_set(err, "%s: cannot write: %s", r->directory, strerror(errno));
    return 0;
}

static int table_absent(const struct results *r, const struct table *table, struct error *err)
{
    char path[1100];
    table_path(r, table->name, path, sizeof path);
    return access(path, F_OK) ? 0 : exists_error(path, err);
}

static bool table_open(struct results *r, enum results_table which, struct error *err)
{
    const struct table *table = &tables[which];
    FILE *f = r->file[which] = file_open(r, table->name, err);
    if (!f)
        return false;
    for (int i = 0; !table->columns && metric_rows[i].name; i++)
        fprintf(f, "%s%s", i ? "," : "", metric_rows[i].name);
    if (table->columns)
        fprintf(f, SERIES_IDS ",%s", table->columns);
    fputc('\n', f);
    return true;
}

int results_open(struct results *r, const char *directory, struct error *err)
{
    time_t now = time(NULL);
    struct tm utc;
    *r = (struct results){.directory = ""};
    if (strlen(directory) >= sizeof r->directory)
        return error_set(err, "-o: the folder's name has %zu bytes; at most %zu fit",
                         strlen(directory), sizeof r->directory - 1);
    strcpy(r->directory, directory);
    gmtime_r(&now, &utc);
    size_t length = strftime(r->run_id, sizeof r->run_id, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(r->run_id + length, sizeof r->run_id - length, "-%d", (int)getpid());
    if (folder_make(directory, err))
        return -1;
    for (unsigned i = 0; i < RESULTS_TABLES; i++)
        if (table_absent(r, &tables[i], err))
            return -1;
    return table_open(r, RESULTS_ROWS, err) ? files_flush(r, err) : -1;
}

int results_put(struct results *r, const struct row_ids *ids, const struct outcome *o,
                struct error *err)
{
    for (unsigned i = 0; i < RESULTS_TABLES; i++) {
        if (!tables[i].rows || !tables[i].rows(o))
            continue;
        if (!r->file[i] && !table_open(r, (enum results_table)i, err))
            return -1;
        tables[i].put(r->file[i], r, ids, o);
    }
    return files_flush(r, err);
}

int results_put_comparison(struct results *r, const struct row_ids *ids, const struct row_ids *base,
                           const struct comparison *comparison, struct error *err)
{
    if (!r->file[RESULTS_COMPARISONS] && !table_open(r, RESULTS_COMPARISONS, err))
        return -1;
    comparison_put(r->file[RESULTS_COMPARISONS], r, ids, base, comparison);
    return files_flush(r, err);
}

void results_list(const struct results *r, FILE *stream)
{
    for (unsigned i = 0; i < RESULTS_TABLES; i++)
        if (r->file[i])
            fprintf(stream, "%s, ", tables[i].name);
    fputs("run.json", stream);
}

int results_close(struct results *r, struct error *err)
{
    int result = 0;
    for (unsigned i = 0; i < RESULTS_TABLES; i++)
        if (r->file[i] && fclose(r->file[i]))
            result = error_set(err, "%s: cannot write: %s", r->directory, strerror(errno));
    return result;
}
