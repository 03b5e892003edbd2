/*
 * reader.c - reads a trace that may come from anywhere. The file is mapped; at open every block
 * header is followed from the first to the trailer and held against the index, and each block is
 * checksummed and decompressed when its first op is asked for. Nothing in the file is believed
 * before it has been compared with what is possible: a column's raw size is limited by its kind and
 * the block's records, so no file can ask for more memory than a few MiB, and every reference is
 * less than the count of what has been made so far.
 *
 * What the ops mean (is this object still live?) is not looked at here: see rules.h.
 * trace_next decodes straight from the columns' bytes; its only branches that depend on the data
 * are rare ones. The mapped file must not shrink while it is read.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "traces/layout.h"
#include "traces/meta.h"

struct cursor { /* in a column of the block being read */
    const uint8_t *next, *end;
    bool present;
    uint8_t *buffer;
    size_t room;
};

struct block {
    uint64_t offset, body_bytes, records;
    uint32_t type, columns;
};

struct trace_reader {
    struct cursor columns[LAYOUT_OPS_TAGS];
    uint64_t left;                            /* records of the block not yet read */
    uint64_t objects, scopes, threads, clock; /* made before the next record; clock of the last */
    uint64_t run;                             /* records left of the thread's run */
    uint32_t run_thread;
    bool extras; /* the block has a clock or a site column */
    bool failed; /* damage was found: there is no going on */

    const uint8_t *map;
    uint64_t bytes;
    char *name;
    unsigned flags;
    bool torn, has_clock, has_sites;
    unsigned meta_blocks;
    struct trace_totals totals;
    struct meta meta;
    struct block *blocks;   /* of ops */
    size_t count, room, at; /* at: the next block to read */
    uint64_t index_offset;
    uint64_t offset, records; /* of the block being read; read so far */
    struct cursor table;      /* index rows, unless torn */
    ZSTD_DCtx *zstd;
};

/* What the cursor of an absent column points to. */
static const uint8_t no_bytes[LAYOUT_PAD_BYTES];

static const char *const column_names[LAYOUT_OPS_TAGS] = {
    [LAYOUT_BASE] = "base",   [LAYOUT_OP] = "op",       [LAYOUT_OBJECT] = "object",
    [LAYOUT_SIZE] = "size",   [LAYOUT_ALIGN] = "align", [LAYOUT_THREAD] = "thread",
    [LAYOUT_SCOPE] = "scope", [LAYOUT_CLOCK] = "clock", [LAYOUT_SITE] = "site",
};

/* Most raw bytes of a column, a record. */
static const uint8_t column_bytes[LAYOUT_OPS_TAGS] = {
    [LAYOUT_OP] = 1,
    [LAYOUT_OBJECT] = LAYOUT_VARINT_BYTES,
    [LAYOUT_SIZE] = LAYOUT_VARINT_BYTES,
    [LAYOUT_ALIGN] = 1,
    [LAYOUT_THREAD] = 2 * LAYOUT_VARINT_BYTES,
    [LAYOUT_SCOPE] = LAYOUT_VARINT_BYTES,
    [LAYOUT_CLOCK] = LAYOUT_VARINT_BYTES,
    [LAYOUT_SITE] = LAYOUT_VARINT_BYTES,
};

static int reader_refuse(const struct trace_reader *r, uint64_t offset, struct error *err,
                         const char *format, ...) __attribute__((format(printf, 4, 5), cold));

static int reader_refuse(const struct trace_reader *r, uint64_t offset, struct error *err,
                         const char *format, ...)
{
    int used =
        snprintf(err->text, sizeof err->text, "%.500s: offset %" PRIu64 ": ", r->name, offset);
    va_list args;
    va_start(args, format);
    vsnprintf(err->text + used, sizeof err->text - (size_t)used, format, args);
    va_end(args);
    return -1;
}

/* ---- blocks ---- */

struct column_entry {
    const uint8_t *data;
    uint64_t offset;
    uint32_t stored, raw;
    uint16_t tag, codec;
};

static int block_header(const struct trace_reader *r, uint64_t offset, uint64_t limit,
                        struct block *block, struct error *err)
{
    if (limit - offset < LAYOUT_BLOCK_BYTES)
        return reader_refuse(r, offset, err,
                             "a block header of %d bytes does not fit before %" PRIu64,
                             LAYOUT_BLOCK_BYTES, limit);
    const uint8_t *p = r->map + offset;
    *block = (struct block){.offset = offset,
                            .type = load32(p + 8),
                            .columns = load32(p + 12),
                            .body_bytes = load64(p + 16),
                            .records = load64(p + 24)};
    if (block->body_bytes > limit - offset - LAYOUT_BLOCK_BYTES)
        return reader_refuse(r, offset, err, "the block's %" PRIu64 " bytes reach beyond %" PRIu64,
                             block->body_bytes, limit);
    if (block->columns > LAYOUT_MAX_COLUMNS)
        return reader_refuse(r, offset, err, "%u columns: at most %d are allowed", block->columns,
                             LAYOUT_MAX_COLUMNS);
    if ((uint64_t)block->columns * LAYOUT_ENTRY_BYTES > block->body_bytes)
        return reader_refuse(r, offset, err, "the directory of %u columns exceeds the block",
                             block->columns);
    if (block->type == LAYOUT_OPS && (block->records == 0 || block->records > LAYOUT_BLOCK_RECORDS))
        return reader_refuse(r, offset, err, "%" PRIu64 " records in a block: 1 to %d are allowed",
                             block->records, LAYOUT_BLOCK_RECORDS);
    return 0;
}

static int block_checksum(const struct trace_reader *r, const struct block *block,
                          struct error *err)
{
    const uint8_t *p = r->map + block->offset;
    uint64_t sum = XXH64(p + 8, LAYOUT_BLOCK_BYTES - 8 + block->body_bytes, 0);
    if (sum != load64(p))
        return reader_refuse(r, block->offset, err,
                             "checksum is %016" PRIx64 ", but the block says %016" PRIx64, sum,
                             load64(p));
    return 0;
}

/* Reads the directory; entries[columns]. */
static int block_directory(const struct trace_reader *r, const struct block *block,
                           struct column_entry *entries, struct error *err)
{
    uint64_t at = block->offset + LAYOUT_BLOCK_BYTES;
    uint64_t data = at + (uint64_t)block->columns * LAYOUT_ENTRY_BYTES;
    uint64_t end = block->offset + LAYOUT_BLOCK_BYTES + block->body_bytes;
    for (unsigned i = 0; i < block->columns; i++, at += LAYOUT_ENTRY_BYTES) {
        const uint8_t *p = r->map + at;
        struct column_entry *e = &entries[i];
        *e = (struct column_entry){.data = r->map + data,
                                   .offset = at,
                                   .tag = load16(p),
                                   .codec = load16(p + 2),
                                   .stored = load32(p + 4),
                                   .raw = load32(p + 8)};
        if (e->stored > end - data)
            return reader_refuse(r, at, err, "column %u of %u bytes exceeds the block by %" PRIu64,
                                 e->tag, e->stored, e->stored - (end - data));
        for (unsigned k = 0; k < i; k++)
            if (entries[k].tag == e->tag)
                return reader_refuse(r, at, err, "column %u comes twice", e->tag);
        data += e->stored;
    }
    if (data != end)
        return reader_refuse(r, block->offset, err,
                             "%" PRIu64 " bytes of the block belong to no column", end - data);
    return 0;
}

/* Decodes a column into the cursor's buffer, which grows to `limit` bytes at most. */
static int column_load(const struct trace_reader *r, const struct column_entry *e, uint64_t limit,
                       struct cursor *c, struct error *err)
{
    if (e->raw > limit)
        return reader_refuse(r, e->offset, err,
                             "column %u of %u bytes: at most %" PRIu64 " are possible", e->tag,
                             e->raw, limit);
    if (e->raw + LAYOUT_PAD_BYTES > c->room) {
        free(c->buffer);
        c->room = e->raw + LAYOUT_PAD_BYTES;
        c->buffer = malloc(c->room);
        if (!c->buffer) {
            c->room = 0;
            return reader_refuse(r, e->offset, err, "no memory for a column of %u bytes", e->raw);
        }
    }
    if (e->codec == LAYOUT_RAW && e->stored == e->raw) {
        memcpy(c->buffer, e->data, e->raw);
    } else if (e->codec == LAYOUT_ZSTD) {
        size_t got = ZSTD_decompressDCtx(r->zstd, c->buffer, e->raw, e->data, e->stored);
        if (ZSTD_isError(got))
            return reader_refuse(r, e->offset, err, "column %u does not decompress: %s", e->tag,
                                 ZSTD_getErrorName(got));
        if (got != e->raw)
            return reader_refuse(r, e->offset, err, "column %u holds %zu bytes, not %u", e->tag,
                                 got, e->raw);
    } else if (e->codec == LAYOUT_RAW) {
        return reader_refuse(r, e->offset, err, "column %u is stored in %u bytes, but holds %u",
                             e->tag, e->stored, e->raw);
    } else {
        return reader_refuse(r, e->offset, err, "column %u has unknown codec %u", e->tag, e->codec);
    }
    memset(c->buffer + e->raw, 0, LAYOUT_PAD_BYTES);
    c->present = true;
    c->next = c->buffer;
    c->end = c->buffer + e->raw;
    return 0;
}

/* Like reader_refuse, at the block being read; from here on the reader refuses everything. */
static int record_refuse(struct trace_reader *r, struct error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4), cold));

static int record_refuse(struct trace_reader *r, struct error *err, const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    r->failed = true;
    r->left = 0;
    return reader_refuse(r, r->offset, err, "record %" PRIu64 ": %s", r->records, text);
}

/* The base column must say what the blocks before have added up to. */
static int base_check(const struct trace_reader *r, const struct cursor *base, struct error *err)
{
    static const char *const names[BASE_FIELDS] = {"records", "objects", "scopes", "threads",
                                                   "clock"};
    const uint64_t here[BASE_FIELDS] = {r->records, r->objects, r->scopes, r->threads, r->clock};
    if (base->end - base->next < 8 * BASE_FIELDS)
        return reader_refuse(r, r->offset, err, "the base column is missing or short");
    if (!r->torn && memcmp(base->next, r->table.next + 8 * (ROW_FIELDS * r->at + ROW_BASE),
                           8 * BASE_FIELDS) != 0)
        return reader_refuse(r, r->offset, err,
                             "the index says something else of this block than its base column");
    for (unsigned i = 0; i < BASE_FIELDS; i++) {
        uint64_t said = load64(base->next + 8 * i);
        if (said == here[i] || (i == BASE_CLOCK && r->flags & TRACE_SKIP_CLOCK))
            continue;
        return reader_refuse(r, r->offset, err,
                             "the block starts at %" PRIu64 " %s, but %" PRIu64 " came before it",
                             said, names[i], here[i]);
    }
    return 0;
}

/* Loads the columns of a block that the reader knows. */
static int block_columns(struct trace_reader *r, const struct block *block, struct error *err)
{
    struct column_entry entries[LAYOUT_MAX_COLUMNS];
    if (block_checksum(r, block, err) || block_directory(r, block, entries, err))
        return -1;
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++) {
        r->columns[tag].next = r->columns[tag].end = no_bytes;
        r->columns[tag].present = false;
    }
    for (unsigned i = 0; i < block->columns; i++) {
        unsigned tag = entries[i].tag;
        if (tag == 0 || tag >= LAYOUT_OPS_TAGS) {
            if (tag & LAYOUT_MUST)
                return reader_refuse(r, entries[i].offset, err,
                                     "column %u is unknown, and must be understood", tag);
            continue;
        }
        if (tag == LAYOUT_CLOCK && r->flags & TRACE_SKIP_CLOCK)
            continue;
        uint64_t limit =
            tag == LAYOUT_BASE ? LAYOUT_BASE_BYTES : column_bytes[tag] * block->records;
        if (column_load(r, &entries[i], limit, &r->columns[tag], err))
            return -1;
    }
    return 0;
}

/* After the last block: have we seen what the index says? */
static int totals_check(const struct trace_reader *r, struct error *err)
{
    const struct trace_totals *t = &r->totals;
    if (r->torn || (t->objects == r->objects && t->scopes == r->scopes && t->threads == r->threads))
        return 0;
    return reader_refuse(r, r->index_offset, err,
                         "the index says %" PRIu64 " objects, %" PRIu64 " scopes, %" PRIu64
                         " threads, but the blocks hold %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                         t->objects, t->scopes, t->threads, r->objects, r->scopes, r->threads);
}

/* Goes to the next block. 1, 0 at the end, -1. */
__attribute__((noinline)) static int block_load(struct trace_reader *r, struct error *err)
{
    if (r->failed)
        return reader_refuse(r, r->offset, err, "reading has already failed here");
    if (r->at == r->count)
        return totals_check(r, err);
    const struct block *block = &r->blocks[r->at];
    const struct cursor *ops = &r->columns[LAYOUT_OP];
    r->offset = block->offset;
    r->failed = true;
    if (block_columns(r, block, err))
        return -1;
    if ((uint64_t)(ops->end - ops->next) != block->records)
        return reader_refuse(r, block->offset, err,
                             "the op column has %td bytes for %" PRIu64 " records",
                             ops->end - ops->next, block->records);
    if (base_check(r, &r->columns[LAYOUT_BASE], err))
        return -1;
    r->failed = false;
    r->extras = r->columns[LAYOUT_CLOCK].present || r->columns[LAYOUT_SITE].present;
    r->run_thread = 0;
    r->run = r->columns[LAYOUT_THREAD].present ? 0 : block->records;
    r->left = block->records;
    r->at++;
    return 1;
}

/* ---- ops ---- */

__attribute__((cold)) static int column_short(struct trace_reader *r, unsigned tag,
                                              struct error *err)
{
    return record_refuse(r, err, "the %s column ends too early", column_names[tag]);
}

/* The next varint of a column that must have one. */
static int varint_next(struct trace_reader *r, unsigned tag, uint64_t *value, struct error *err)
{
    struct cursor *c = &r->columns[tag];
    unsigned bytes;
    *value = varint_get(c->next, &bytes);
    c->next += bytes;
    return c->next <= c->end ? 0 : column_short(r, tag, err);
}

static int run_load(struct trace_reader *r, struct error *err)
{
    uint64_t thread, run;
    if (varint_next(r, LAYOUT_THREAD, &thread, err) || varint_next(r, LAYOUT_THREAD, &run, err))
        return -1;
    if (run == 0 || run > r->left)
        return record_refuse(r, err, "a run of %" PRIu64 " records where 1 to %" PRIu64 " are left",
                             run, r->left);
    if (thread > r->threads || thread == UINT32_MAX)
        return record_refuse(r, err,
                             "thread %" PRIu64 " is out of order: the next new one is %" PRIu64,
                             thread, r->threads);
    r->run = run;
    r->run_thread = (uint32_t)thread;
    return 0;
}

/* Alignment and scope of the ops that have one. */
static int op_rare(struct trace_reader *r, unsigned shape, struct trace_op *op, struct error *err)
{
    struct cursor *align = &r->columns[LAYOUT_ALIGN];
    if (shape & SHAPE_ALIGN && align->present) {
        if (align->next == align->end)
            return column_short(r, LAYOUT_ALIGN, err);
        op->align_log2 = *align->next++;
        if (op->align_log2 > 63)
            return record_refuse(r, err, "alignment 2^%u is impossible", op->align_log2);
    }
    if (shape & SHAPE_BEGIN)
        op->scope = r->scopes++;
    if (shape & SHAPE_SCOPE) {
        uint64_t back;
        if (varint_next(r, LAYOUT_SCOPE, &back, err))
            return -1;
        if (back > r->scopes)
            return record_refuse(r, err, "scope %" PRIu64 " back of only %" PRIu64, back - 1,
                                 r->scopes);
        op->scope = back ? r->scopes - back : TRACE_NO_SCOPE;
    }
    return 0;
}

static int op_extras(struct trace_reader *r, struct trace_op *op, struct error *err)
{
    uint64_t step;
    if (r->columns[LAYOUT_CLOCK].present) {
        if (varint_next(r, LAYOUT_CLOCK, &step, err))
            return -1;
        r->clock += unzigzag(step);
        op->clock_ns = r->clock;
    }
    if (r->columns[LAYOUT_SITE].present && varint_next(r, LAYOUT_SITE, &op->site, err))
        return -1;
    return 0;
}

/* After the last record of a block nothing may be left over. */
static int block_done(struct trace_reader *r, struct error *err)
{
    if (!r->columns[LAYOUT_CLOCK].present)
        r->clock = 0;
    for (unsigned tag = LAYOUT_OP; tag < LAYOUT_OPS_TAGS; tag++)
        if (r->columns[tag].next != r->columns[tag].end)
            return record_refuse(r, err, "the %s column has %td bytes too many", column_names[tag],
                                 r->columns[tag].end - r->columns[tag].next);
    return 0;
}

int trace_next(struct trace_reader *r, struct trace_op *op, struct error *err)
{
    if (r->left == 0) {
        int got = block_load(r, err);
        if (got <= 0)
            return got;
    }
    if (r->run == 0 && run_load(r, err))
        return -1;
    unsigned code = *r->columns[LAYOUT_OP].next++, shape = layout_shapes[code];
    if (!shape)
        return record_refuse(r, err, "there is no op with code 0x%02x", code);

    /* Size and reference are read as if every op had them, and then masked: no branch to
     * mispredict. */
    struct cursor *sizes = &r->columns[LAYOUT_SIZE], *backs = &r->columns[LAYOUT_OBJECT];
    uint64_t has_size = 0 - (uint64_t)(shape / SHAPE_SIZE & 1);
    uint64_t has_ref = 0 - (uint64_t)(shape / SHAPE_REF & 1);
    uint64_t makes = shape / SHAPE_MAKES & 1, none = (makes | (has_ref & 1)) - 1;
    unsigned size_bytes, back_bytes;
    uint64_t size = varint_get(sizes->next, &size_bytes);
    uint64_t back = varint_get(backs->next, &back_bytes);
    sizes->next += size_bytes & has_size;
    backs->next += back_bytes & has_ref;
    if (sizes->next > sizes->end)
        return column_short(r, LAYOUT_SIZE, err);
    if (backs->next > backs->end)
        return column_short(r, LAYOUT_OBJECT, err);
    if ((back & has_ref) >= (r->objects | ~has_ref))
        return record_refuse(r, err, "object %" PRIu64 " back of only %" PRIu64, back, r->objects);

    op->kind = code & 15;
    op->flags = (uint8_t)(code >> 4);
    op->align_log2 = 0;
    op->thread = r->run_thread;
    op->object = (r->objects - ((back + 1) & has_ref)) | none;
    op->size = size & has_size;
    op->scope = TRACE_NO_SCOPE;
    op->clock_ns = 0;
    op->site = 0;
    r->objects += makes;
    if (shape & (SHAPE_ALIGN | SHAPE_SCOPE | SHAPE_BEGIN) && op_rare(r, shape, op, err))
        return -1;
    if (r->extras && op_extras(r, op, err))
        return -1;
    r->threads += r->run_thread == r->threads;
    r->run--;
    r->records++;
    if (--r->left == 0 && block_done(r, err))
        return -1;
    return 1;
}

/* ---- opening ---- */

static int meta_parse(struct trace_reader *r, const struct block *block, const struct cursor *c,
                      struct error *err)
{
    struct error why;
    const char *p = (const char *)c->next, *end = (const char *)c->end;
    while (p < end) {
        const char *line = memchr(p, '\n', (size_t)(end - p));
        const char *equal = line ? memchr(p, '=', (size_t)(line - p)) : NULL;
        if (!equal)
            return reader_refuse(r, block->offset, err, "a meta line is not key=value");
        if (meta_set(&r->meta, p, (size_t)(equal - p), equal + 1, (size_t)(line - equal - 1), &why))
            return reader_refuse(r, block->offset, err, "%.300s", why.text);
        p = line + 1;
    }
    return 0;
}

/* Loads one column, by tag, of a block that is not of ops. 0 with c->present false if it is not
 * there. */
static int column_find(struct trace_reader *r, const struct block *block, unsigned tag,
                       uint64_t limit, struct cursor *c, struct error *err)
{
    struct column_entry entries[LAYOUT_MAX_COLUMNS];
    if (block_directory(r, block, entries, err))
        return -1;
    for (unsigned i = 0; i < block->columns; i++)
        if (entries[i].tag == tag && column_load(r, &entries[i], limit, c, err))
            return -1;
    return 0;
}

static int meta_load(struct trace_reader *r, const struct block *block, struct error *err)
{
    struct cursor c = {0};
    int failed =
        ++r->meta_blocks > LAYOUT_META_BLOCKS
            ? reader_refuse(r, block->offset, err, "more than %d meta blocks", LAYOUT_META_BLOCKS)
            : block_checksum(r, block, err) ||
                  column_find(r, block, LAYOUT_PAIRS, LAYOUT_META_BYTES, &c, err) ||
                  meta_parse(r, block, &c, err);
    free(c.buffer);
    return failed ? -1 : 0;
}

static int block_add(struct trace_reader *r, const struct block *block, struct error *err)
{
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 64;
        struct block *blocks = realloc(r->blocks, room * sizeof *blocks);
        if (!blocks)
            return reader_refuse(r, block->offset, err, "no memory for the list of blocks");
        r->blocks = blocks;
        r->room = room;
    }
    r->blocks[r->count++] = *block;
    const uint8_t *entry = r->map + block->offset + LAYOUT_BLOCK_BYTES;
    for (unsigned i = 0; i < block->columns; i++, entry += LAYOUT_ENTRY_BYTES) {
        r->has_clock |= load16(entry) == LAYOUT_CLOCK;
        r->has_sites |= load16(entry) == LAYOUT_SITE;
    }
    return 0;
}

/* Follows the blocks from the first up to `limit`, where one must end. */
static int blocks_walk(struct trace_reader *r, uint64_t limit, struct error *err)
{
    struct block block;
    for (uint64_t at = LAYOUT_HEADER_BYTES; at < limit;
         at += LAYOUT_BLOCK_BYTES + block.body_bytes) {
        if (block_header(r, at, limit, &block, err))
            return -1;
        if (block.type == LAYOUT_INDEX)
            return reader_refuse(
                r, at, err, "an index where only the trailer's at %" PRIu64 " is expected", limit);
        if (block.type == LAYOUT_META && meta_load(r, &block, err))
            return -1;
        if (block.type == LAYOUT_OPS && block_add(r, &block, err))
            return -1;
    }
    return 0;
}

static int index_check(struct trace_reader *r, const struct block *index, struct error *err)
{
    const uint8_t *row = r->table.next;
    uint64_t records = 0, rows = (uint64_t)(r->table.end - row) / (8 * ROW_FIELDS);
    if ((uint64_t)(r->table.end - row) % (8 * ROW_FIELDS) || rows != r->count)
        return reader_refuse(r, index->offset, err,
                             "the index has %td bytes of rows, where %zu blocks need %zu",
                             r->table.end - row, r->count, r->count * 8 * ROW_FIELDS);
    for (size_t i = 0; i < r->count; i++, row += 8 * ROW_FIELDS) {
        const struct block *block = &r->blocks[i];
        if (load64(row + 8 * ROW_OFFSET) != block->offset ||
            load64(row + 8 * ROW_RECORDS) != block->records)
            return reader_refuse(r, index->offset, err,
                                 "the index says block %zu has %" PRIu64 " records at %" PRIu64
                                 ", but it has %" PRIu64 " at %" PRIu64,
                                 i, load64(row + 8 * ROW_RECORDS), load64(row + 8 * ROW_OFFSET),
                                 block->records, block->offset);
        records += block->records;
    }
    if (records != r->totals.records)
        return reader_refuse(r, index->offset, err,
                             "the index says %" PRIu64 " records, but the blocks hold %" PRIu64,
                             r->totals.records, records);
    return 0;
}

static int index_load(struct trace_reader *r, const struct block *index, struct error *err)
{
    struct cursor totals = {0};
    int failed = column_find(r, index, LAYOUT_TOTALS, LAYOUT_TOTALS_BYTES, &totals, err) ||
                 column_find(r, index, LAYOUT_TABLE, r->count * 8 * ROW_FIELDS, &r->table, err);
    if (!failed && totals.end - totals.next < 8 * TOTALS_FIELDS)
        failed = reader_refuse(r, index->offset, err, "the totals are missing or short");
    if (!failed)
        layout_totals_get(totals.next, &r->totals);
    free(totals.buffer);
    return failed ? -1 : index_check(r, index, err);
}

/* A whole file: trailer, index, and everything between. */
static int whole_open(struct trace_reader *r, struct error *err)
{
    uint64_t at, end = r->bytes < LAYOUT_TRAILER_BYTES ? 0 : r->bytes - LAYOUT_TRAILER_BYTES;
    const uint8_t *trailer = r->map + end;
    struct block index;
    if (end < LAYOUT_HEADER_BYTES || memcmp(trailer + 16, LAYOUT_END_MAGIC, 8) != 0)
        return reader_refuse(r, r->bytes, err,
                             "the file does not end as a trace does: it is torn, or something was "
                             "added; --salvage reads the blocks that are whole");
    at = r->index_offset = load64(trailer);
    if (XXH64(trailer, 8, 0) != load64(trailer + 8))
        return reader_refuse(r, end, err, "the trailer's checksum is wrong");
    if (at < LAYOUT_HEADER_BYTES || at > end)
        return reader_refuse(r, end, err, "the trailer says that the index is at %" PRIu64, at);
    if (block_header(r, at, end, &index, err))
        return -1;
    if (index.type != LAYOUT_INDEX || index.body_bytes != end - at - LAYOUT_BLOCK_BYTES)
        return reader_refuse(r, at, err, "there is no index that ends at the trailer");
    if (block_checksum(r, &index, err) || blocks_walk(r, at, err))
        return -1;
    return index_load(r, &index, err);
}

static void blocks_forget(struct trace_reader *r)
{
    meta_free(&r->meta);
    r->count = r->meta_blocks = 0;
    r->has_clock = r->has_sites = false;
    r->index_offset = 0;
    r->totals = (struct trace_totals){0};
}

/* What is whole at the front of a torn file. */
static int torn_open(struct trace_reader *r, struct error *err)
{
    struct block block;
    struct error why;
    blocks_forget(r);
    r->torn = true;
    for (uint64_t at = LAYOUT_HEADER_BYTES; at < r->bytes;
         at += LAYOUT_BLOCK_BYTES + block.body_bytes) {
        if (block_header(r, at, r->bytes, &block, &why) || block.type == LAYOUT_INDEX ||
            block_checksum(r, &block, &why))
            break;
        if (block.type == LAYOUT_META && meta_load(r, &block, err))
            return -1;
        if (block.type == LAYOUT_OPS && block_add(r, &block, err))
            return -1;
    }
    return 0;
}

static int header_check(const struct trace_reader *r, struct error *err)
{
    if (r->bytes < LAYOUT_HEADER_BYTES || memcmp(r->map, LAYOUT_MAGIC, 8) != 0)
        return reader_refuse(r, 0, err,
                             "not a trace file; other forms are read by `alloclab trace convert "
                             "--from FORMAT`");
    if (load32(r->map + 8) != LAYOUT_VERSION)
        return reader_refuse(r, 8, err,
                             "version %u of the trace file; this program reads version %u",
                             load32(r->map + 8), LAYOUT_VERSION);
    if (load32(r->map + 12) != 0)
        return reader_refuse(r, 12, err,
                             "reserved bytes are not 0: a feature that is unknown here");
    return 0;
}

static int reader_open(struct trace_reader *r, struct error *err)
{
    if (header_check(r, err))
        return -1;
    int failed = whole_open(r, err);
    if (!(r->flags & TRACE_SALVAGE))
        return failed;
    for (size_t i = 0; !failed && i < r->count; i++)
        failed = block_checksum(r, &r->blocks[i], err);
    return failed ? torn_open(r, err) : 0;
}

static int reader_map(struct trace_reader *r, int fd, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set(err, "%s: cannot read: %s", r->name, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return error_set(err, "%s: not a regular file, and a trace is read by mapping it", r->name);
    r->bytes = (uint64_t)status.st_size;
    if (r->bytes == 0)
        return reader_refuse(r, 0, err, "the file is empty");
    void *map = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return error_set(err, "%s: cannot map: %s", r->name, strerror(errno));
    r->map = map;
    return 0;
}

struct trace_reader *trace_open_fd(int fd, const char *name, unsigned flags, struct error *err)
{
    struct trace_reader *r = calloc(1, sizeof *r);
    if (!r || !(r->name = strdup(name)) || !(r->zstd = ZSTD_createDCtx())) {
        error_set(err, "%s: no memory for a trace reader", name);
        if (r)
            trace_close(r);
        return NULL;
    }
    r->flags = flags;
    if (reader_map(r, fd, err) || reader_open(r, err)) {
        trace_close(r);
        return NULL;
    }
    r->offset = LAYOUT_HEADER_BYTES;
    return r;
}

struct trace_reader *trace_open(const char *path, unsigned flags, struct error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        error_set(err, "%s: cannot open: %s", path, strerror(errno));
        return NULL;
    }
    struct trace_reader *r = trace_open_fd(fd, path, flags, err);
    close(fd);
    return r;
}

int trace_rewind(struct trace_reader *r, struct error *err)
{
    (void)err;
    r->at = 0;
    r->left = r->run = 0;
    r->objects = r->scopes = r->threads = r->clock = r->records = 0;
    r->failed = false;
    r->offset = LAYOUT_HEADER_BYTES;
    return 0;
}

void trace_close(struct trace_reader *r)
{
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++)
        free(r->columns[tag].buffer);
    free(r->table.buffer);
    if (r->map)
        munmap((void *)r->map, r->bytes);
    meta_free(&r->meta);
    ZSTD_freeDCtx(r->zstd);
    free(r->blocks);
    free(r->name);
    free(r);
}

/* ---- what the file says of itself ---- */

const struct trace_totals *trace_reader_totals(const struct trace_reader *r)
{
    return &r->totals;
}

bool trace_is_torn(const struct trace_reader *r)
{
    return r->torn;
}

bool trace_has_clock(const struct trace_reader *r)
{
    return r->has_clock;
}

bool trace_has_sites(const struct trace_reader *r)
{
    return r->has_sites;
}

uint64_t trace_bytes(const struct trace_reader *r)
{
    return r->bytes;
}

const char *trace_name(const struct trace_reader *r)
{
    return r->name;
}

uint64_t trace_index_offset(const struct trace_reader *r)
{
    return r->index_offset;
}

uint64_t trace_offset(const struct trace_reader *r)
{
    return r->offset;
}

bool trace_meta_at(const struct trace_reader *r, unsigned i, const char **key, const char **value)
{
    if (i >= r->meta.count)
        return false;
    *key = r->meta.pairs[i].key;
    *value = r->meta.pairs[i].value;
    return true;
}

const char *trace_meta(const struct trace_reader *r, const char *key)
{
    return meta_get(&r->meta, key);
}
