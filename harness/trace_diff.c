/*
 * trace_diff.c - both traces go through the same tables, one after the other, each in its column.
 *
 * Where both traces have a table of sites, a site is known by what it is; else by its number, which
 * means the same in two recordings only if both numbered their sites alike.
 */
#include "harness/trace_diff.h"

#include <inttypes.h>
#include <stdlib.h>

#include "harness/array.h"
#include "harness/csv.h"
#include "harness/tally.h"
#include "traces/sites_text.h"

struct row {
    uint64_t key; /* of sites: what they are called by here, see site_key */
    struct tally side[2];
    uint64_t site; /* its number in the trace that has it, the first one if both do */
    unsigned of;   /* that trace */
};

struct table {
    struct address_map index; /* key -> its row */
    struct row *rows;
    uint64_t count, room;
};

enum { BY_ALL, BY_SIZE, BY_SITE, TABLES };
enum { STACK_TOP = 3 }; /* frames of a site that are printed */

struct diff {
    struct table tables[TABLES];
    unsigned at; /* the side being read */
    /* Of both, if both traces have a table of sites; else NULL, and sites are their numbers. */
    const struct sites *sites[2];
    uint64_t *identities[2];
};

/* ---- reading ---- */

/* Two recordings number the same site differently: it is known by what it is. */
static uint64_t site_key(const struct diff *d, uint64_t site)
{
    uint32_t frame = d->sites[d->at] && site ? sites_find(d->sites[d->at], site) : 0;
    return frame ? d->identities[d->at][frame] : site;
}

static bool row_find(struct table *t, uint64_t key, uint64_t *row)
{
    int known = tally_row(&t->index, key, t->count, row);
    if (known)
        return known > 0;
    struct row *rows = array_room(t->rows, t->count, &t->room, sizeof *rows);
    if (!rows)
        return false;
    t->rows = rows;
    rows[t->count++] = (struct row){.key = key, .of = 2};
    return true;
}

/* A live allocation's entry: its row by size, its row by site. */
static void allocation_end(void *ctx, const struct address_entry *entry)
{
    struct diff *d = ctx;
    struct row *by_size = &d->tables[BY_SIZE].rows[address_entry_id(entry)];
    by_size->side[d->at].live -= by_size->key;
    d->tables[BY_SITE].rows[entry->size].side[d->at].live -= by_size->key;
    d->tables[BY_ALL].rows[0].side[d->at].live -= by_size->key;
}

static bool allocation_begin(void *ctx, const struct trace_op *op, uint64_t *by_size,
                             uint64_t *by_site)
{
    struct diff *d = ctx;
    const uint64_t keys[TABLES] = {0, op->size, site_key(d, op->site)};
    uint64_t all, *rows[TABLES] = {&all, by_size, by_site};
    for (unsigned i = 0; i < TABLES; i++) {
        if (!row_find(&d->tables[i], keys[i], rows[i]))
            return false;
        struct row *row = &d->tables[i].rows[*rows[i]];
        if (row->of > d->at) {
            row->of = d->at;
            row->site = op->site;
        }
        tally_begin(&row->side[d->at], op);
    }
    return true;
}

/* ---- printing ---- */

static int64_t grown(uint64_t before, uint64_t after)
{
    return (int64_t)(after - before);
}

static bool same(const struct row *row)
{
    const struct tally *a = &row->side[0], *b = &row->side[1];
    return a->allocations == b->allocations && a->bytes == b->bytes && a->peak == b->peak &&
           a->live == b->live;
}

static int magnitude_compare(uint64_t a_before, uint64_t a_after, uint64_t b_before,
                             uint64_t b_after)
{
    uint64_t a = a_after > a_before ? a_after - a_before : a_before - a_after;
    uint64_t b = b_after > b_before ? b_after - b_before : b_before - b_after;
    return (a < b) - (a > b);
}

/* The larger difference first: of bytes, else of allocations. */
static int rows_compare(const void *first, const void *second)
{
    const struct row *a = first, *b = second;
    int by =
        magnitude_compare(a->side[0].bytes, a->side[1].bytes, b->side[0].bytes, b->side[1].bytes);
    if (by == 0)
        by = magnitude_compare(a->side[0].allocations, a->side[1].allocations,
                               b->side[0].allocations, b->side[1].allocations);
    return by ? by : (a->key > b->key) - (a->key < b->key);
}

static void row_print(FILE *stream, const char *name, const struct row *row, bool csv)
{
    const struct tally *a = &row->side[0], *b = &row->side[1];
    if (csv)
        fprintf(stream,
                "%s,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",",
                name, row->key, a->allocations, b->allocations, a->bytes, b->bytes, a->peak,
                b->peak, a->live, b->live);
    else
        fprintf(stream,
                "%12s %11" PRIu64 " %11" PRIu64 " %+11" PRId64 " %+14" PRId64 " %+13" PRId64
                " %+13" PRId64,
                name, a->allocations, b->allocations, grown(a->allocations, b->allocations),
                grown(a->bytes, b->bytes), grown(a->peak, b->peak), grown(a->live, b->live));
}

/* What a site is, at the end of its row. */
static void row_end(FILE *stream, const struct diff *d, const struct row *row, bool by_site,
                    bool csv)
{
    char text[400] = "";
    const struct sites *sites = by_site && row->of < 2 ? d->sites[row->of] : NULL;
    uint32_t frame = sites && row->site ? sites_find(sites, row->site) : 0;
    if (frame)
        sites_frame_text(sites, frame, STACK_TOP, text, sizeof text);
    if (csv)
        csv_put_text(stream, text);
    else if (frame)
        fprintf(stream, "  %s", text);
    putc('\n', stream);
}

static void head_print(FILE *stream, const char *what)
{
    fprintf(stream, "%12s %11s %11s %11s %14s %13s %13s\n", what, "allocs A", "allocs B", "B-A",
            "bytes B-A", "peak B-A", "left B-A");
}

static void table_print(FILE *stream, struct diff *d, unsigned by, uint64_t top, bool csv)
{
    static const char *const names[TABLES] = {"all", "size", "site"};
    struct table *t = &d->tables[by];
    uint64_t differ = 0, printed = 0;
    if (t->count)
        qsort(t->rows, t->count, sizeof *t->rows, rows_compare);
    for (uint64_t i = 0; i < t->count; i++)
        differ += !same(&t->rows[i]);
    if (!csv) {
        fprintf(stream, "\nby %s: %" PRIu64 " of %" PRIu64 " differ\n", names[by], differ,
                t->count);
        if (differ)
            head_print(stream, names[by]);
    }
    for (uint64_t i = 0; i < t->count && (csv || top == 0 || printed < top); i++) {
        const struct row *row = &t->rows[i];
        char name[24];
        snprintf(name, sizeof name, "%" PRIu64, by == BY_SITE ? row->site : row->key);
        if (!csv && same(row))
            continue;
        row_print(stream, csv ? names[by] : name, row, csv);
        row_end(stream, d, row, by == BY_SITE, csv);
        printed++;
    }
    if (!csv && printed < differ)
        fprintf(stream, "%12s %" PRIu64 " more: --top N\n", "..", differ - printed);
}

static void diff_print(FILE *stream, struct diff *d, struct trace_reader *const traces[2],
                       uint64_t top, bool csv)
{
    const struct row nothing = {0}, *all = &nothing;
    bool sites = trace_has_sites(traces[0]) || trace_has_sites(traces[1]);
    if (d->tables[BY_ALL].count)
        all = d->tables[BY_ALL].rows;
    if (csv) {
        fputs("by,key,allocations_a,allocations_b,bytes_a,bytes_b,peak_bytes_a,peak_bytes_b,"
              "left_bytes_a,left_bytes_b,place\n",
              stream);
    } else {
        fprintf(stream, "A            %s\nB            %s\n\n", trace_name(traces[0]),
                trace_name(traces[1]));
        head_print(stream, "");
    }
    row_print(stream, "all", all, csv);
    row_end(stream, d, all, false, csv);
    table_print(stream, d, BY_SIZE, top, csv);
    if (sites)
        table_print(stream, d, BY_SITE, top, csv);
    else if (!csv)
        fputs("\nby site: neither recording has call sites\n", stream);
}

static int sites_read(struct diff *d, struct trace_reader *const traces[2], struct error *err)
{
    if (!trace_has_site_table(traces[0]) || !trace_has_site_table(traces[1]))
        return 0;
    for (unsigned i = 0; i < 2; i++) {
        d->sites[i] = trace_reader_sites(traces[i], err);
        if (!d->sites[i])
            return -1;
        d->identities[i] = sites_identities(d->sites[i]);
        if (!d->identities[i])
            return error_set(err, "%s: no memory for its call sites", trace_name(traces[i]));
    }
    return 0;
}

int trace_diff_print(FILE *stream, struct trace_reader *const traces[2], uint64_t top, bool csv,
                     struct error *err)
{
    struct diff d = {.at = 0};
    struct tally_follower follower = {.begin = allocation_begin, .end = allocation_end, .ctx = &d};
    int failed = sites_read(&d, traces, err);
    for (; d.at < 2 && !failed; d.at++)
        failed = tally_follow(&follower, traces[d.at], err);
    if (!failed)
        diff_print(stream, &d, traces, top, csv);
    for (unsigned i = 0; i < TABLES; i++) {
        address_map_free(&d.tables[i].index);
        free(d.tables[i].rows);
    }
    free(d.identities[0]);
    free(d.identities[1]);
    return failed;
}
