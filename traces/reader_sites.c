/*
 * reader_sites.c - the table of sites of a trace file, which may come from anywhere: every row must
 * refer to what is there, and none may come twice, so that a number has one meaning and a meaning one
 * number. What a block can make of itself in memory is limited by its rows, and by most_rows of
 * sites.c in all.
 */
#include "traces/reader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "traces/sites_rows.h"

struct loading { /* a block */
    struct trace_reader *r;
    const struct block *block;
    uint64_t rows[LAYOUT_ROWS_FIELDS];
    struct column strings, fields[SITES_FIELDS];
};

static int refuse(const struct loading *l, const struct error *why, struct error *err)
{
    return reader_refuse(l->r, l->block->offset, err, "%.400s", why->text);
}

static int rows_load(struct loading *l, const struct sites *s, struct error *err)
{
    const struct block *block = l->block;
    struct column c = {0};
    uint64_t sum = 0;
    int failed = column_find(l->r, block, LAYOUT_ROWS, LAYOUT_BASE_BYTES, &c, err);
    if (!failed && (!c.present || c.end - c.next < 8 * LAYOUT_ROWS_FIELDS))
        failed = reader_refuse(l->r, block->offset, err, "the column of rows is missing or short");
    for (unsigned i = 0; !failed && i < LAYOUT_ROWS_FIELDS; i++)
        l->rows[i] = load64(c.next + 8 * i);
    free(c.buffer);
    for (unsigned kind = 0; !failed && kind < SITES_KINDS; kind++) {
        uint64_t rows = l->rows[SITES_KINDS + kind];
        sum += rows < LAYOUT_SITE_ROWS ? rows : LAYOUT_SITE_ROWS;
        if (l->rows[kind] != sites_count(s, kind))
            failed = reader_refuse(l->r, block->offset, err,
                                   "rows of kind %u start after %" PRIu64 ", but %" PRIu32
                                   " came before",
                                   kind, l->rows[kind], sites_count(s, kind));
    }
    if (!failed && (sum != block->records || sum == 0 || sum > LAYOUT_SITE_ROWS))
        failed = reader_refuse(l->r, block->offset, err,
                               "%" PRIu64 " rows of call sites, and the block says %" PRIu64
                               ": 1 to %d are allowed",
                               sum, block->records, LAYOUT_SITE_ROWS);
    return failed;
}

static int columns_load(struct loading *l, struct error *err)
{
    struct column_entry entries[LAYOUT_MAX_COLUMNS];
    if (block_directory(l->r, l->block, entries, err))
        return -1;
    for (unsigned i = 0; i < l->block->columns; i++) {
        unsigned tag = entries[i].tag, field = 0;
        while (field < SITES_FIELDS && sites_fields[field].tag != tag)
            field++;
        uint64_t rows = field < SITES_FIELDS ? l->rows[SITES_KINDS + sites_fields[field].kind] : 0;
        if (field == SITES_FIELDS && tag & LAYOUT_MUST)
            return reader_refuse(l->r, entries[i].offset, err,
                                 "column %u is unknown, and must be understood", tag);
        if (tag == LAYOUT_STRINGS &&
            column_load(l->r, l->r->zstd, &entries[i], LAYOUT_STRINGS_BYTES, &l->strings, err))
            return -1;
        if (field < SITES_FIELDS && column_load(l->r, l->r->zstd, &entries[i],
                                                rows * LAYOUT_VARINT_BYTES, &l->fields[field], err))
            return -1;
    }
    return 0;
}

static int strings_add(struct loading *l, struct sites *s, struct error *err)
{
    const char *p = (const char *)l->strings.next, *end = (const char *)l->strings.end;
    struct error why;
    for (uint64_t i = 0; i < l->rows[SITES_KINDS + SITES_STRING]; i++) {
        const char *line = p ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        uint32_t number, next = sites_count(s, SITES_STRING) + 1;
        if (!line)
            return reader_refuse(l->r, l->block->offset, err, "strings are missing");
        size_t bytes = (size_t)(line - p);
        if (sites_string_add(s, p, bytes, &number, &why))
            return refuse(l, &why, err);
        const struct string_row *row = number ? sites_row_at(s, SITES_STRING, number) : NULL;
        if (number != next || row->bytes != bytes || memcmp(s->text + row->at, p, bytes) != 0)
            return reader_refuse(l->r, l->block->offset, err,
                                 "string %" PRIu32 " is empty, no text, too long or comes twice",
                                 next);
        p = line + 1;
    }
    return p == end ? 0 : reader_refuse(l->r, l->block->offset, err, "text of no string");
}

static int field_set(struct loading *l, unsigned i, void *row, uint32_t number, uint64_t *before,
                     struct error *err)
{
    const struct sites_field *f = &sites_fields[i];
    struct column *c = &l->fields[i];
    unsigned bytes;
    uint64_t value = 0;
    if (c->present && c->next < c->end) {
        value = varint_get(c->next, &bytes);
        c->next += bytes;
    } else if (c->present) {
        return reader_refuse(l->r, l->block->offset, err, "column %u is too short", f->tag);
    }
    value = f->coding == CODING_BACK   ? number - value
            : f->coding == CODING_STEP ? *before + unzigzag(value)
                                       : value;
    *before = value;
    if (f->bytes == sizeof value) {
        memcpy((char *)row + f->offset, &value, sizeof value);
        return 0;
    }
    uint32_t narrow = (uint32_t)value;
    if (value > UINT32_MAX)
        return reader_refuse(l->r, l->block->offset, err,
                             "column %u: %" PRIu64 " is no number of a row, and no line", f->tag,
                             value);
    memcpy((char *)row + f->offset, &narrow, sizeof narrow);
    return 0;
}

static int rows_add(struct loading *l, struct sites *s, enum sites_kind kind, struct error *err)
{
    uint64_t before[SITES_FIELDS] = {0};
    struct error why;
    for (uint64_t i = 0; i < l->rows[SITES_KINDS + kind]; i++) {
        union sites_row row = {.site = {.number = 0}};
        uint32_t next = sites_count(s, kind) + 1;
        memset(&row, 0, sizeof row);
        for (unsigned k = 0; k < SITES_FIELDS; k++)
            if (sites_fields[k].kind == kind && field_set(l, k, &row, next, &before[k], err))
                return -1;
        uint32_t number = sites_row_add(s, kind, &row, &why);
        if (number == 0)
            return refuse(l, &why, err);
        if (number != next)
            return reader_refuse(l->r, l->block->offset, err,
                                 "row %" PRIu32 " of kind %u is row %" PRIu32 " once more", next,
                                 kind, number);
    }
    return 0;
}

static int columns_used(struct loading *l, struct error *err)
{
    for (unsigned i = 0; i < SITES_FIELDS; i++)
        if (l->fields[i].present && l->fields[i].next != l->fields[i].end)
            return reader_refuse(l->r, l->block->offset, err,
                                 "column %u is longer than its rows, or ends inside one",
                                 sites_fields[i].tag);
    return 0;
}

static int block_load(struct trace_reader *r, const struct block *block, struct sites *s,
                      struct error *err)
{
    struct loading l = {.r = r, .block = block};
    int failed = rows_load(&l, s, err) || columns_load(&l, err) || strings_add(&l, s, err);
    for (unsigned kind = SITES_MODULE; !failed && kind < SITES_KINDS; kind++)
        failed = rows_add(&l, s, kind, err);
    failed = failed || columns_used(&l, err);
    free(l.strings.buffer);
    for (unsigned i = 0; i < SITES_FIELDS; i++)
        free(l.fields[i].buffer);
    return failed ? -1 : 0;
}

const struct sites *trace_reader_sites(struct trace_reader *r, struct error *err)
{
    if (r->sites)
        return r->sites;
    struct sites *s = sites_new();
    int failed = s ? 0 : error_set(err, "%.500s: no memory for its call sites", r->name);
    for (size_t i = 0; !failed && i < r->site_count; i++)
        failed = block_load(r, &r->site_blocks[i], s, err);
    if (failed) {
        sites_free(s);
        return NULL;
    }
    return r->sites = s;
}

bool trace_has_site_table(const struct trace_reader *r)
{
    return r->site_count > 0;
}
