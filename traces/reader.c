/*
 * reader.c - decodes the ops of a trace, block by block. A block is checksummed and decompressed
 * when its first op is asked for, its varints are decoded some ahead, and trace_next puts the
 * columns together again. Every reference is less than the count of what has been made so far; what
 * the ops mean (is this object still live?) is not looked at here: see rules.h.
 *
 * trace_next is on the way of every trace into a plan, and an alloc or a free is a coin toss to the
 * processor: its branches depend on rare things only.
 */
#include "traces/reader.h"

#include <inttypes.h>

#define BEYOND            (UINT64_C(1) << 61)
#define RARELY(condition) __builtin_expect(!!(condition), 0)

/* What a column that is absent points to. */
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

/* The number of the record at hand. */
static uint64_t record_number(const struct trace_reader *r)
{
    return r->records - r->left - r->run;
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
    uint64_t number = record_number(r);
    r->failed = true;
    r->left = r->run = 0;
    return reader_refuse(r, r->offset, err, "record %" PRIu64 ": %s", number, text);
}

/* The same as stream_fill() does, of a split column. */
static unsigned split_fill(struct column *c, uint64_t *values)
{
    const uint8_t *next = c->next, *tail = c->tail;
    unsigned count = 0, bytes;
    for (; count < STREAM_VALUES && next < c->end; count++) {
        values[count] = varint_get_split(*next, tail, &bytes);
        if (tail + bytes > c->tails_end)
            break;
        next++;
        tail += bytes;
    }
    c->next = next;
    c->tail = tail;
    return count;
}

/*
 * References as trace_next wants them: 2 * the signed step, + 1 if it is from the object that was
 * referred to before and not from the newest. A distance that is beyond all objects stays so.
 */
static void steps_make(uint64_t *values, unsigned count, bool backs)
{
    for (unsigned i = 0; i < count; i++) {
        uint64_t value = values[i];
        if (backs)
            value = value < BEYOND ? value << 1 : BEYOND << 1;
        uint64_t chained = value & 1;
        uint64_t step = chained ? unzigzag(value >> 1) : 0 - (value >> 1);
        values[i] = step << 1 | chained;
    }
}

/*
 * Decodes varints of a column until the stream is full. One that reaches beyond the column's end is
 * not taken, and stays there as what is left over. Without any the stream is dry, and ops that need
 * a value are no longer trace_next's business.
 */
static void stream_fill(struct trace_reader *r, unsigned tag)
{
    struct column *c = &r->columns[tag];
    struct stream *s = &r->streams[tag];
    const uint8_t *next = c->next, *end = c->end;
    unsigned count = c->tail ? split_fill(c, s->values) : 0, bytes;
    while (!c->tail && count < STREAM_VALUES && next < end) {
        s->values[count] = varint_get(next, &bytes);
        if (next + bytes > end)
            break;
        next += bytes;
        count++;
    }
    c->next = c->tail ? c->next : next;
    if (tag == LAYOUT_OBJECT)
        steps_make(s->values, count, r->backs);
    s->next = s->values;
    s->end = s->values + count;
    if (count)
        return;
    s->dry = true;
    s->end++;
    s->values[0] = 0;
    r->rare |= tag == LAYOUT_SIZE ? SHAPE_SIZE : tag == LAYOUT_OBJECT ? SHAPE_REF : 0;
}

/* The base column must say what the blocks before have added up to. */
static int base_check(const struct trace_reader *r, const struct column *base, struct error *err)
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
        r->columns[tag].tail = NULL;
        r->columns[tag].present = false;
        r->streams[tag].next = r->streams[tag].end = r->streams[tag].values;
        r->streams[tag].dry = false;
    }
    for (unsigned i = 0; i < block->columns; i++) {
        unsigned tag = entries[i].tag;
        if (tag == LAYOUT_REFERENCE || tag == LAYOUT_OBJECT) {
            r->backs = tag == LAYOUT_OBJECT;
            tag = LAYOUT_OBJECT;
            if (r->columns[tag].present)
                return reader_refuse(r, entries[i].offset, err,
                                     "the block has distances and references");
        }
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

/* After the last record of a block nothing may be left over. */
static int block_done(struct trace_reader *r, struct error *err)
{
    if (!r->loaded)
        return 0;
    if (!r->columns[LAYOUT_CLOCK].present)
        r->clock = 0;
    for (unsigned tag = LAYOUT_OBJECT; tag < LAYOUT_OPS_TAGS; tag++) {
        const struct column *c = &r->columns[tag];
        const struct stream *s = &r->streams[tag];
        if (c->next == c->end && (!c->tail || c->tail == c->tails_end) &&
            (s->dry || s->next == s->end))
            continue;
        r->failed = true;
        return reader_refuse(r, r->offset, err, "the %s column says more than the block's records",
                             column_names[tag]);
    }
    return 0;
}

/* Goes to the next block. 1, 0 at the end, -1. */
__attribute__((noinline)) static int block_load(struct trace_reader *r, struct error *err)
{
    if (r->failed)
        return reader_refuse(r, r->offset, err, "reading has already failed here");
    if (block_done(r, err))
        return -1;
    if (r->at == r->count)
        return totals_check(r, err);
    const struct block *block = &r->blocks[r->at];
    const struct column *codes = &r->columns[LAYOUT_OP];
    r->offset = block->offset;
    reader_trim(r, block->offset);
    r->failed = true;
    if (block_columns(r, block, err))
        return -1;
    if ((uint64_t)(codes->end - codes->next) != block->records)
        return reader_refuse(r, block->offset, err,
                             "the op column has %td bytes for %" PRIu64 " records",
                             codes->end - codes->next, block->records);
    if (base_check(r, &r->columns[LAYOUT_BASE], err))
        return -1;
    r->failed = false;
    r->loaded = true;
    r->at++;
    r->code = codes->next;
    r->records += block->records;
    r->left = block->records;
    r->reference = r->objects;
    r->extras = r->columns[LAYOUT_CLOCK].present || r->columns[LAYOUT_SITE].present;
    r->rare =
        SHAPE_OP | SHAPE_SCOPE | SHAPE_BEGIN | (r->columns[LAYOUT_ALIGN].present ? SHAPE_ALIGN : 0);
    stream_fill(r, LAYOUT_SIZE);
    stream_fill(r, LAYOUT_OBJECT);
    if (!r->columns[LAYOUT_THREAD].present) {
        r->run = r->left;
        r->left = 0;
        r->run_thread = 0;
        r->threads += r->threads == 0;
    }
    return 1;
}

/* ---- ops ---- */

/* The signed step of what steps_make() makes. */
static uint64_t signed_half(uint64_t step)
{
    return (uint64_t)((int64_t)step >> 1);
}

__attribute__((cold)) static int column_short(struct trace_reader *r, unsigned tag,
                                              struct error *err)
{
    return record_refuse(r, err, "the %s column ends too early", column_names[tag]);
}

/* The next varint of a column that must have one. */
static int varint_next(struct trace_reader *r, unsigned tag, uint64_t *value, struct error *err)
{
    struct stream *s = &r->streams[tag];
    if (s->next == s->end)
        stream_fill(r, tag);
    if (s->dry)
        return column_short(r, tag, err);
    *value = *s->next++;
    return 0;
}

static int run_load(struct trace_reader *r, struct error *err)
{
    uint64_t thread = 0, run = 0;
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
    r->left -= run;
    r->run_thread = (uint32_t)thread;
    r->threads += thread == r->threads;
    return 0;
}

/* Alignment and scope of the ops that have one. */
static int op_rare(struct trace_reader *r, unsigned shape, struct trace_op *op, struct error *err)
{
    struct column *align = &r->columns[LAYOUT_ALIGN];
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
        uint64_t back = 0;
        if (varint_next(r, LAYOUT_SCOPE, &back, err))
            return -1;
        if (back > r->scopes)
            return record_refuse(r, err, "scope %" PRIu64 " back of only %" PRIu64, back - 1,
                                 r->scopes);
        op->scope = back ? r->scopes - back : TRACE_NO_SCOPE;
    }
    return 0;
}

/* Clock and site of a record that is otherwise done. */
__attribute__((noinline)) static int op_extras(struct trace_reader *r, struct trace_op *op,
                                               struct error *err)
{
    uint64_t step = 0;
    r->run++; /* it is still this record's number that a message names */
    if (r->columns[LAYOUT_CLOCK].present) {
        if (varint_next(r, LAYOUT_CLOCK, &step, err))
            return -1;
        r->clock += unzigzag(step);
        op->clock_ns = r->clock;
    }
    if (r->columns[LAYOUT_SITE].present && varint_next(r, LAYOUT_SITE, &op->site, err))
        return -1;
    r->run--;
    return 1;
}

/* One record of any kind, with all checks and messages. */
__attribute__((noinline)) static int record_read(struct trace_reader *r, struct trace_op *op,
                                                 struct error *err)
{
    unsigned code = *r->code, shape = layout_shapes[code];
    uint64_t step = 0;
    if (!shape)
        return record_refuse(r, err, "there is no op with code 0x%02x", code);
    *op = (struct trace_op){.kind = code & 15,
                            .flags = (uint8_t)(code >> 4),
                            .thread = r->run_thread,
                            .object = TRACE_NO_OBJECT,
                            .scope = TRACE_NO_SCOPE};
    if (shape & SHAPE_SIZE && varint_next(r, LAYOUT_SIZE, &op->size, err))
        return -1;
    if (shape & SHAPE_REF) {
        if (varint_next(r, LAYOUT_OBJECT, &step, err))
            return -1;
        op->object = (step & 1 ? r->reference : r->objects - 1) + signed_half(step);
        if (op->object >= r->objects)
            return record_refuse(r, err, "object %" PRId64 " of only %" PRIu64, (int64_t)op->object,
                                 r->objects);
        r->reference = op->object;
    }
    if (shape & SHAPE_MAKES)
        op->object = r->objects++;
    if (op_rare(r, shape, op, err))
        return -1;
    r->code++;
    r->run--;
    return r->extras ? op_extras(r, op, err) : 1;
}

/* Makes the next record, its size and its reference available, and reads it. */
__attribute__((noinline)) static int record_prepare(struct trace_reader *r, struct trace_op *op,
                                                    struct error *err)
{
    if (r->run == 0) {
        int got = r->left ? 1 : block_load(r, err);
        if (got <= 0)
            return got;
        if (r->run == 0 && run_load(r, err))
            return -1;
    }
    for (unsigned tag = LAYOUT_OBJECT; tag <= LAYOUT_SIZE; tag++)
        if (r->streams[tag].next == r->streams[tag].end)
            stream_fill(r, tag);
    return trace_next(r, op, err);
}

int trace_next(struct trace_reader *r, struct trace_op *op, struct error *err)
{
    struct stream *sizes = &r->streams[LAYOUT_SIZE], *steps = &r->streams[LAYOUT_OBJECT];
    if (RARELY(r->run == 0 || sizes->next == sizes->end || steps->next == steps->end))
        return record_prepare(r, op, err);

    /* Size and reference are read as if every record had them, and then masked. */
    unsigned code = *r->code, shape = layout_shapes[code];
    uint64_t has_size = shape / SHAPE_SIZE & 1, has_ref = shape / SHAPE_REF & 1;
    uint64_t makes = shape / SHAPE_MAKES & 1, step = *steps->next;
    uint64_t from = step & 1 ? r->reference : r->objects - 1, object = from + signed_half(step);
    if (RARELY((shape ^ SHAPE_OP) & r->rare || (object >= r->objects) & has_ref))
        return record_read(r, op, err);
    op->kind = code & 15;
    op->flags = (uint8_t)(code >> 4);
    op->align_log2 = 0;
    op->thread = r->run_thread;
    /* with neither a new object nor a reference all bits are set: TRACE_NO_OBJECT */
    op->object = (has_ref ? object : r->objects) | ((makes | has_ref) - 1);
    r->reference = has_ref ? object : r->reference;
    op->size = *sizes->next & (0 - has_size);
    op->scope = TRACE_NO_SCOPE;
    op->clock_ns = 0;
    op->site = 0;
    sizes->next += has_size;
    steps->next += has_ref;
    r->objects += makes;
    r->code++;
    r->run--;
    return r->extras ? op_extras(r, op, err) : 1;
}

int trace_rewind(struct trace_reader *r, struct error *err)
{
    (void)err;
    r->at = 0;
    r->trimmed = 0;
    r->left = r->run = 0;
    r->objects = r->scopes = r->threads = r->clock = r->records = 0;
    r->failed = r->loaded = false;
    r->offset = LAYOUT_HEADER_BYTES;
    return 0;
}

bool trace_place_at(const struct trace_reader *r, uint64_t block, struct trace_place *place)
{
    if (r->torn || block >= r->count)
        return false;
    const uint8_t *base = r->table.next + 8 * (ROW_FIELDS * block + ROW_BASE);
    *place = (struct trace_place){.records = load64(base + 8 * BASE_RECORD),
                                  .objects = load64(base + 8 * BASE_OBJECT),
                                  .scopes = load64(base + 8 * BASE_SCOPE),
                                  .threads = load64(base + 8 * BASE_THREAD),
                                  .clock_ns = load64(base + 8 * BASE_CLOCK)};
    return true;
}

void trace_seek(struct trace_reader *r, uint64_t block)
{
    struct trace_place place;
    if (!trace_place_at(r, block, &place))
        return;
    r->at = block;
    r->left = r->run = 0;
    r->objects = place.objects;
    r->scopes = place.scopes;
    r->threads = place.threads;
    r->clock = place.clock_ns;
    r->records = place.records;
    r->failed = r->loaded = false;
}
