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

static void text_put(FILE *f, const char *text)
{
    if (!strpbrk(text, ",\"\n\r")) {
        fputs(text, f);
        return;
    }
    fputc('"', f);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', f);
        fputc(*text, f);
    }
    fputc('"', f);
}

/* Whole numbers as such, others with six decimals. */
static void number_put(FILE *f, double value)
{
    fprintf(f, value == floor(value) && fabs(value) < 9e15 ? ",%.0f" : ",%.6f", value);
}

static FILE *file_open(const struct results *r, const char *name, struct error *err)
{
    char path[1100];
    snprintf(path, sizeof path, "%s/%s", r->directory, name);
    FILE *f = fopen(path, "wxe"); /* e: cells do not inherit it */
    if (!f && errno == EEXIST)
        error_set(
            err, "%s exists already: results are never written over; choose another folder with -o",
            path);
    else if (!f)
        error_set(err, "%s: %s", path, strerror(errno));
    return f;
}

/* A write that failed before, while a buffer was full, counts too: a flush alone would not tell. */
static int files_flush(const struct results *r, struct error *err)
{
    FILE *const files[] = {r->rows, r->timeline, r->heapmap, r->threads, r->latency, r->tail};
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (fflush(files[i]) || ferror(files[i]))
            return error_set(err, "%s: cannot write: %s", r->directory, strerror(errno));
    return 0;
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

int results_open(struct results *r, const char *directory, struct error *err)
{
    time_t now = time(NULL);
    struct tm utc;
    *r = (struct results){.rows = NULL};
    if (strlen(directory) >= sizeof r->directory)
        return error_set(err, "-o: the folder's name has %zu bytes; at most %zu fit",
                         strlen(directory), sizeof r->directory - 1);
    strcpy(r->directory, directory);
    gmtime_r(&now, &utc);
    size_t length = strftime(r->run_id, sizeof r->run_id, "%Y%m%dT%H%M%SZ", &utc);
    snprintf(r->run_id + length, sizeof r->run_id - length, "-%d", (int)getpid());
    if (folder_make(directory, err))
        return -1;
    if (!(r->rows = file_open(r, "results.csv", err)) ||
        !(r->timeline = file_open(r, "timeline.csv", err)) ||
        !(r->heapmap = file_open(r, "heapmap.csv", err)) ||
        !(r->threads = file_open(r, "threads.csv", err)) ||
        !(r->latency = file_open(r, "latency.csv", err)) ||
        !(r->tail = file_open(r, "latency_tail.csv", err)))
        return -1;
    for (int i = 0; metric_rows[i].name; i++)
        fprintf(r->rows, "%s%s", i ? "," : "", metric_rows[i].name);
    fputs("\n", r->rows);
    fputs("run_id,allocator,options,workload,threads,release,sample,op_index,virtual_ns,requested_"
          "bytes,"
          "usable_bytes,committed_bytes,reserved_bytes,resident_bytes,walk_meta_bytes,walk_live_"
          "bytes,"
          "walk_free_bytes,walk_unused_bytes,huge_coverage_bytes\n",
          r->timeline);
    fputs("run_id,allocator,options,workload,threads,release,sample,op_index,bucket,bucket_bytes,"
          "offset_bytes,meta_bytes,live_bytes,free_bytes,unused_bytes\n",
          r->heapmap);
    fputs("run_id,allocator,options,workload,threads,release,block,copies,lane,copy,first_thread,"
          "recorded_threads,busy_ns,wait_ns\n",
          r->threads);
    fputs("run_id,allocator,options,workload,threads,release,block,via,op,low_ns,high_ns,count\n",
          r->latency);
    fputs("run_id,allocator,options,workload,threads,release,block,via,op,op_index,size_bytes,ns,"
          "replay_min_ns,cause\n",
          r->tail);
    return files_flush(r, err);
}

static void row_put(const struct results *r, const struct row_ids *ids, const struct outcome *o)
{
    FILE *f = r->rows;
    fprintf(f, "%s,%u,%u,", r->run_id, ids->block, ids->order);
    text_put(f, ids->allocator);
    fputc(',', f);
    text_put(f, ids->options);
    fputc(',', f);
    text_put(f, ids->workload);
    fprintf(f, ",%u,%s,%s,%u,%s,%s,%s,", ids->threads, ids->release, ids->replay, ids->copies,
            ids->affinity, ids->via, ids->touch);
    text_put(f, ids->door);
    fprintf(f, ",%s,%u,%s,%s,", ids->pass, ids->repeat, status_names[o->status], ids->rank_group);
    text_put(f, o->mode);
    fputc(',', f);
    text_put(f, o->status == OUTCOME_OK ? "" : o->detail);
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
    text_put(f, ids->allocator);
    fputc(',', f);
    text_put(f, ids->options);
    fputc(',', f);
    text_put(f, ids->workload);
    fprintf(f, ",%u,%s", ids->threads, ids->release);
}

static void known_put(FILE *f, uint64_t value)
{
    if (value == SAMPLE_UNKNOWN)
        fputc(',', f);
    else
        fprintf(f, ",%llu", (unsigned long long)value);
}

static void timeline_put(const struct results *r, const struct row_ids *ids,
                         const struct outcome *o)
{
    for (uint32_t i = 0; i < o->samples; i++) {
        const struct sample *s = &o->sample[i];
        series_ids_put(r->timeline, r, ids);
        fprintf(r->timeline, ",%u,%llu,%llu", i, (unsigned long long)s->op_index,
                (unsigned long long)s->virtual_ns);
        const uint64_t values[] = {s->requested, s->usable,  s->committed, s->reserved, s->resident,
                                   s->walk[0],   s->walk[1], s->walk[2],   s->walk[3],  s->huge};
        for (unsigned k = 0; k < sizeof values / sizeof *values; k++)
            known_put(r->timeline, values[k]);
        fputc('\n', r->timeline);
    }
}

static void heapmap_put(const struct results *r, const struct row_ids *ids, const struct outcome *o)
{
    for (uint32_t i = 0; i < o->heapmap_samples; i++) {
        for (uint32_t b = 0; b < o->heapmap_buckets; b++) {
            const uint64_t *bytes = o->heapmap[i].bytes[b];
            if (!(bytes[0] | bytes[1] | bytes[2] | bytes[3]))
                continue;
            series_ids_put(r->heapmap, r, ids);
            fprintf(r->heapmap, ",%u,%llu,%u,%llu,%llu", i,
                    (unsigned long long)o->heapmap[i].op_index, b,
                    (unsigned long long)o->heapmap_bucket_bytes,
                    (unsigned long long)(b * o->heapmap_bucket_bytes));
            for (int k = 0; k < 4; k++)
                fprintf(r->heapmap, ",%llu", (unsigned long long)bytes[k]);
            fputc('\n', r->heapmap);
        }
    }
}

static void threads_put(const struct results *r, const struct row_ids *ids, const struct outcome *o)
{
    for (uint32_t i = 0; i < o->lanes; i++) {
        const struct lane_share *lane = &o->lane[i];
        series_ids_put(r->threads, r, ids);
        fprintf(r->threads, ",%u,%u,%u,%u,%u,%u,%llu,%llu\n", ids->block, ids->copies, i,
                lane->copy, lane->first_thread, lane->recorded_threads,
                (unsigned long long)lane->busy_ns, (unsigned long long)lane->wait_ns);
    }
}

static void latency_put(const struct results *r, const struct row_ids *ids, const struct latency *l)
{
    for (unsigned kind = 0; kind < LATENCY_KINDS; kind++) {
        for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
            if (!l->kind[kind].count[b])
                continue;
            series_ids_put(r->latency, r, ids);
            fprintf(r->latency, ",%u,%s,%s,%.3f,%.3f,%llu\n", ids->block, ids->via,
                    latency_kind_names[kind], (double)histogram_low(b) * l->tick_ns,
                    ((double)histogram_high(b) + 1) * l->tick_ns,
                    (unsigned long long)l->kind[kind].count[b]);
        }
    }
}

static void tail_put(const struct results *r, const struct row_ids *ids, const struct latency *l)
{
    static const char *const causes[] = {"none seen", "os door", "page fault",
                                         "os door and page fault"};
    for (uint32_t i = 0; i < l->tails; i++) {
        const struct latency_tail *t = &l->tail[i];
        series_ids_put(r->tail, r, ids);
        fprintf(r->tail, ",%u,%s,%s,%llu,%llu,%.3f,", ids->block, ids->via,
                latency_kind_names[t->kind], (unsigned long long)t->op, (unsigned long long)t->size,
                (double)t->ticks * l->tick_ns);
        if (l->least_known)
            fprintf(r->tail, "%.3f", (double)t->least_ticks * l->tick_ns);
        fprintf(r->tail, ",%s\n",
                t->causes & LATENCY_CAUSES_KNOWN ? causes[t->causes % LATENCY_CAUSES_KNOWN] : "");
    }
}

int results_put(struct results *r, const struct row_ids *ids, const struct outcome *o,
                struct error *err)
{
    row_put(r, ids, o);
    timeline_put(r, ids, o);
    heapmap_put(r, ids, o);
    threads_put(r, ids, o);
    if (o->status == OUTCOME_OK) {
        latency_put(r, ids, &o->latency);
        tail_put(r, ids, &o->latency);
    }
    return files_flush(r, err);
}

int results_close(struct results *r, struct error *err)
{
    FILE *files[] = {r->rows, r->timeline, r->heapmap, r->threads, r->latency, r->tail};
    int result = 0;
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        if (files[i] && fclose(files[i]))
            result = error_set(err, "%s: cannot write: %s", r->directory, strerror(errno));
    return result;
}
