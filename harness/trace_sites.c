/*
 * trace_sites.c - one pass over the ops adds up each site; then only the sites that are shown get
 * names.
 */
#include "harness/trace_sites.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "harness/array.h"
#include "harness/csv.h"
#include "harness/symbols.h"
#include "harness/tally.h"

struct row {
    uint64_t site; /* of several, the first one */
    struct tally sum;
};

struct table {
    const struct sites *sites;
    bool by_place;            /* sites of one place are one row: without its callers */
    struct address_map index; /* site, or place -> its row */
    struct row *rows;
    uint64_t count, room;
};

const char *const sites_by_names[] = {"bytes", "calls", "peak", "left", NULL};

static uint64_t row_value(const struct row *row, enum sites_by by)
{
    const uint64_t values[] = {row->sum.bytes, row->sum.allocations, row->sum.peak, row->sum.live};
    return values[by];
}

/* ---- adding up ---- */

/* Sites that only a number stands for have keys of their own. */
static uint64_t row_key(const struct table *t, uint64_t site)
{
    uint32_t frame = t->by_place ? sites_find(t->sites, site) : 0;
    return frame ? (uint64_t)sites_frame_place(t->sites, frame) << 32 : site;
}

static bool row_find(struct table *t, uint64_t site, uint64_t *row)
{
    int known = tally_row(&t->index, row_key(t, site), t->count, row);
    if (known)
        return known > 0;
    struct row *rows = array_room(t->rows, t->count, &t->room, sizeof *rows);
    if (!rows)
        return false;
    t->rows = rows;
    rows[t->count++] = (struct row){.site = site};
    return true;
}

/* A live allocation's entry: its row, its size. */
static bool allocation_begin(void *ctx, const struct trace_op *op, uint64_t *row, uint64_t *size)
{
    struct table *t = ctx;
    *size = op->size;
    if (!row_find(t, op->site, row))
        return false;
    tally_begin(&t->rows[*row].sum, op);
    return true;
}

static void allocation_end(void *ctx, const struct address_entry *entry)
{
    struct table *t = ctx;
    t->rows[address_entry_id(entry)].sum.live -= entry->size;
}

/* ---- showing ---- */

static int rows_compare(const void *first, const void *second, void *by)
{
    const struct row *a = first, *b = second;
    uint64_t x = row_value(a, *(enum sites_by *)by), y = row_value(b, *(enum sites_by *)by);
    return x != y ? (x < y) - (x > y) : (a->site > b->site) - (a->site < b->site);
}

struct view {
    FILE *stream;
    const struct sites *sites;
    const struct symbols *symbols;
    const struct sites_request *what;
};

/* The innermost function of a frame, as "name (where)". */
static void label_print(const struct view *v, uint32_t place, unsigned n)
{
    const char *where, *name = symbols_name(v->symbols, place, n, &where);
    fprintf(v->stream, *where ? "%s (%s)" : "%s", name, where);
}

static void site_print(const struct view *v, uint64_t site)
{
    uint32_t frame = sites_find(v->sites, site);
    if (site == 0)
        fputs("not recorded", v->stream);
    else if (!frame)
        fprintf(v->stream, "site %" PRIu64, site);
    else
        label_print(v, sites_frame_place(v->sites, frame), 0);
}

/* All but the innermost function. */
static void callers_print(const struct view *v, uint32_t frame)
{
    for (unsigned from = 1; frame; frame = sites_frame_caller(v->sites, frame), from = 0) {
        uint32_t place = sites_frame_place(v->sites, frame);
        for (unsigned n = from; n < symbols_count(v->symbols, place); n++) {
            fprintf(v->stream, "%62s", "<- ");
            label_print(v, place, n);
            fputc('\n', v->stream);
        }
    }
}

/* The names from the root on; a ';' inside of a name would end it. */
static void folded_print(const struct view *v, uint32_t frame)
{
    uint32_t caller = sites_frame_caller(v->sites, frame);
    uint32_t place = sites_frame_place(v->sites, frame);
    if (caller) {
        folded_print(v, caller);
        fputc(';', v->stream);
    }
    for (unsigned n = symbols_count(v->symbols, place); n--;) {
        const char *where;
        for (const char *c = symbols_name(v->symbols, place, n, &where); *c; c++)
            fputc(*c == ';' ? ',' : *c, v->stream);
        if (n)
            fputc(';', v->stream);
    }
}

static void csv_print(const struct view *v, const struct row *row)
{
    uint32_t frame = sites_find(v->sites, row->site);
    uint32_t place = frame ? sites_frame_place(v->sites, frame) : 0;
    const char *where = "", *name = place ? symbols_name(v->symbols, place, 0, &where) : "";
    fprintf(v->stream, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", row->site,
            row->sum.allocations, row->sum.bytes, row->sum.peak, row->sum.live);
    csv_put_quoted(v->stream, name);
    fputc(',', v->stream);
    csv_put_quoted(v->stream, where);
    fputc('\n', v->stream);
}

static void row_print(const struct view *v, const struct row *row)
{
    uint32_t frame = sites_find(v->sites, row->site);
    if (v->what->form == SITES_CSV) {
        csv_print(v, row);
        return;
    }
    if (v->what->form == SITES_FOLDED) {
        if (frame)
            folded_print(v, frame);
        else
            site_print(v, row->site);
        fprintf(v->stream, " %" PRIu64 "\n", row_value(row, v->what->by));
        return;
    }
    fprintf(v->stream, "%11" PRIu64 " %15" PRIu64 " %15" PRIu64 " %15" PRIu64 "  ",
            row->sum.allocations, row->sum.bytes, row->sum.peak, row->sum.live);
    site_print(v, row->site);
    fputc('\n', v->stream);
    if (v->what->form == SITES_STACKS)
        callers_print(v, frame);
}

/* The names of all places that the rows lead to. */
static struct symbols *names_read(const struct table *t, uint64_t rows, const struct sites *sites,
                                  const char *debug, struct error *err)
{
    unsigned char *wanted = calloc(sites_count(sites, SITES_PLACE) + (size_t)1, 1);
    if (!wanted) {
        error_set(err, "no memory for names");
        return NULL;
    }
    for (uint64_t i = 0; i < rows; i++)
        for (uint32_t f = sites_find(sites, t->rows[i].site); f; f = sites_frame_caller(sites, f))
            wanted[sites_frame_place(sites, f)] = 1;
    struct symbols *s = symbols_read(sites, wanted, debug, stderr, err);
    free(wanted);
    return s;
}

static int table_print(FILE *stream, struct table *t, const struct sites_request *what,
                       struct error *err)
{
    uint64_t rows = what->top && what->top < t->count ? what->top : t->count;
    enum sites_by by = what->by;
    struct view v = {.stream = stream, .sites = t->sites, .what = what};
    if (t->count)
        qsort_r(t->rows, t->count, sizeof *t->rows, rows_compare, &by);
    struct symbols *names = names_read(t, rows, v.sites, what->debug, err);
    if (!names)
        return -1;
    v.symbols = names;
    if (what->form == SITES_CSV)
        fputs("site,calls,bytes,peak_bytes,left_bytes,function,where\n", stream);
    else if (what->form != SITES_FOLDED)
        fprintf(stream, "%11s %15s %15s %15s  %s\n", "calls", "bytes", "peak bytes", "left bytes",
                "site");
    for (uint64_t i = 0; i < rows; i++)
        row_print(&v, &t->rows[i]);
    if (rows < t->count && what->form < SITES_FOLDED)
        fprintf(stream, "%11s %" PRIu64 " more: --top N\n", "..", t->count - rows);
    symbols_free(names);
    return 0;
}

int trace_sites_print(FILE *stream, struct trace_reader *r, const struct sites_request *what,
                      struct error *err)
{
    struct table t = {.by_place = what->form == SITES_TABLE};
    struct tally_follower follower = {.begin = allocation_begin, .end = allocation_end, .ctx = &t};
    if (!trace_has_sites(r))
        return error_set(err,
                         "%s: no call sites were recorded: `alloclab record --sites=stack` does",
                         trace_name(r));
    t.sites = trace_reader_sites(r, err);
    int failed = t.sites ? tally_follow(&follower, r, err) : -1;
    if (!failed)
        failed = table_print(stream, &t, what, err);
    address_map_free(&t.index);
    free(t.rows);
    return failed;
}
