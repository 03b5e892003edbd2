/*
 * sites_block.c - the rows of a table of sites as the columns of blocks. A block takes kinds in the
 * order in which they refer to each other, so that all a row refers to is in it, or before it.
 */
#include <stdlib.h>
#include <string.h>

#include "traces/layout.h"
#include "traces/sites_rows.h"

/* How many rows of each kind the block takes; all of them together. */
static uint32_t rows_take(const struct sites *s, const uint32_t written[SITES_KINDS],
                          uint32_t take[SITES_KINDS])
{
    uint32_t left = LAYOUT_SITE_ROWS;
    size_t bytes = 0;
    bool whole = true; /* everything of the kinds before is in */
    for (unsigned kind = 0; kind < SITES_KINDS; kind++) {
        uint32_t fresh = s->tables[kind].count - written[kind];
        take[kind] = !whole ? 0 : fresh < left ? fresh : left;
        for (uint32_t i = 1; kind == SITES_STRING && i <= take[kind]; i++) {
            const struct string_row *row = sites_row_at(s, SITES_STRING, written[kind] + i);
            bytes += row->bytes + 1;
            if (bytes > LAYOUT_STRINGS_BYTES)
                take[kind] = i - 1;
        }
        whole = whole && take[kind] == fresh;
        left -= take[kind];
    }
    return LAYOUT_SITE_ROWS - left;
}

static uint64_t field_get(const struct sites_field *f, const void *row)
{
    uint64_t wide;
    uint32_t narrow;
    if (f->bytes == sizeof wide) {
        memcpy(&wide, (const char *)row + f->offset, sizeof wide);
        return wide;
    }
    memcpy(&narrow, (const char *)row + f->offset, sizeof narrow);
    return narrow;
}

static bool column_room(struct sites_column *c, unsigned tag, size_t bytes)
{
    c->tag = tag;
    c->data = malloc(bytes);
    return c->data != NULL;
}

static bool strings_fill(const struct sites *s, uint32_t from, uint32_t count,
                         struct sites_column *c)
{
    size_t bytes = 0;
    for (uint32_t i = 1; i <= count; i++)
        bytes += ((const struct string_row *)sites_row_at(s, SITES_STRING, from + i))->bytes + 1;
    if (!column_room(c, LAYOUT_STRINGS, bytes + 1))
        return false;
    for (uint32_t i = 1; i <= count; i++) {
        const struct string_row *row = sites_row_at(s, SITES_STRING, from + i);
        memcpy(c->data + c->used, s->text + row->at, row->bytes);
        c->used += row->bytes;
        c->data[c->used++] = '\n';
    }
    return true;
}

static bool field_fill(const struct sites *s, const struct sites_field *f, uint32_t from,
                       uint32_t count, struct sites_column *c)
{
    uint64_t before = 0, any = 0;
    if (!column_room(c, f->tag, (size_t)count * LAYOUT_VARINT_BYTES + 1))
        return false;
    for (uint32_t n = from + 1; n <= from + count; n++) {
        uint64_t value = field_get(f, sites_row_at(s, f->kind, n));
        uint64_t coded = f->coding == CODING_BACK   ? n - value
                         : f->coding == CODING_STEP ? zigzag(value - before)
                                                    : value;
        before = value;
        any |= coded;
        c->used += varint_put(c->data + c->used, coded);
    }
    if (!any)
        c->used = 0;
    return true;
}

int64_t sites_block_fill(const struct sites *s, uint32_t written[SITES_KINDS],
                         struct sites_column columns[SITES_COLUMNS], struct error *err)
{
    uint32_t take[SITES_KINDS], rows = rows_take(s, written, take);
    if (rows == 0)
        return 0;
    bool whole = column_room(&columns[0], LAYOUT_ROWS, 8 * LAYOUT_ROWS_FIELDS);
    for (unsigned kind = 0; whole && kind < SITES_KINDS; kind++) {
        store64(columns[0].data + 8 * kind, written[kind]);
        store64(columns[0].data + 8 * (SITES_KINDS + kind), take[kind]);
    }
    columns[0].used = 8 * LAYOUT_ROWS_FIELDS;
    whole = whole && strings_fill(s, written[SITES_STRING], take[SITES_STRING], &columns[1]);
    for (unsigned i = 0; whole && i < SITES_FIELDS; i++) {
        const struct sites_field *f = &sites_fields[i];
        whole = field_fill(s, f, written[f->kind], take[f->kind], &columns[2 + i]);
    }
    for (unsigned kind = 0; kind < SITES_KINDS; kind++)
        written[kind] += take[kind];
    return whole ? (int64_t)rows : error_set(err, "no memory for a block of call sites");
}

void sites_block_free(struct sites_column columns[SITES_COLUMNS])
{
    for (unsigned i = 0; i < SITES_COLUMNS; i++)
        free(columns[i].data);
}
