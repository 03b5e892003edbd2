/*
 * reader_decode.c - see reader_decode.h. A block is checksummed and decompressed, its varints are
 * decoded, and values are spread over the records they belong to. Every reference is less than the
 * count of what has been made so far; what the ops mean (is this object still live?) is not looked
 * at here: see rules.h.
 *
 * An alloc or a free is a coin toss to the processor, so the loop over the records has no branch:
 * it reads as if every record had a size and a reference, and masks what it has not. Whether all was
 * as it must be is known after the last record; only if it was not, a loop that looks at everything
 * finds the first record that is wrong, and what to say of it.
 */
#include "traces/reader_decode.h"

#include <inttypes.h>
#include <stdlib.h>

#include "traces/reader.h"

#define BEYOND (UINT64_C(1) << 61)

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

/* ---- memory, as much as the largest block needs ---- */

void block_decoder_free(struct block_decoder *d)
{
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++) {
        free(d->columns[tag].buffer);
        free(d->values[tag]);
    }
    ZSTD_freeDCtx(d->zstd);
}

void decoded_free(struct decoded *block)
{
    free(block->codes);
    free(block->aligns);
    free(block->objects);
    free(block->sizes);
    free(block->clocks);
    free(block->sites);
    free(block->scopes);
    free(block->run);
}

/* Cleared once, so that what a damaged block says is always the same. */
static void *room_for(void **array, size_t items, size_t size)
{
    if (!*array)
        *array = calloc(items, size);
    return *array;
}

static bool values_room(struct block_decoder *d, unsigned tag)
{
    void *values = d->values[tag];
    d->values[tag] =
        room_for(&values, (tag == LAYOUT_THREAD ? 2 : 1) * LAYOUT_BLOCK_RECORDS + 1, 8);
    return d->values[tag];
}

static bool array_room_of(uint64_t **array)
{
    void *made = *array;
    *array = room_for(&made, LAYOUT_BLOCK_RECORDS, sizeof **array);
    return *array;
}

static bool bytes_room_of(uint8_t **array)
{
    void *made = *array;
    *array = room_for(&made, LAYOUT_BLOCK_RECORDS, 1);
    return *array;
}

static int arrays_room(const struct trace_reader *r, struct block_decoder *d, struct decoded *to,
                       struct error *err)
{
    const struct column *columns = d->columns;
    void *run = to->run;
    bool found = bytes_room_of(&to->codes) && array_room_of(&to->objects) &&
                 array_room_of(&to->sizes) && values_room(d, LAYOUT_OBJECT) &&
                 values_room(d, LAYOUT_SIZE);
    to->run = room_for(&run, LAYOUT_BLOCK_RECORDS, sizeof *to->run);
    found = found && to->run;
    found = found && (!columns[LAYOUT_ALIGN].present || bytes_room_of(&to->aligns));
    found = found && (!columns[LAYOUT_CLOCK].present || array_room_of(&to->clocks));
    found = found && (!columns[LAYOUT_SITE].present || array_room_of(&to->sites));
    found = found && (!columns[LAYOUT_THREAD].present || values_room(d, LAYOUT_THREAD));
    found = found && array_room_of(&to->scopes) && values_room(d, LAYOUT_SCOPE);
    return found ? 0
                 : reader_refuse(r, to->offset, err, "no memory for a block of %" PRIu32 " records",
                                 to->records);
}

/* ---- columns ---- */

/* The base column must say what the blocks before have added up to. */
static int base_check(const struct trace_reader *r, const struct block_decoder *d, uint64_t offset,
                      struct error *err)
{
    static const char *const names[BASE_FIELDS] = {"records", "objects", "scopes", "threads",
                                                   "clock"};
    const uint64_t here[BASE_FIELDS] = {d->records, d->objects, d->scopes, d->threads, d->clock};
    const struct column *base = &d->columns[LAYOUT_BASE];
    if (base->end - base->next < 8 * BASE_FIELDS)
        return reader_refuse(r, offset, err, "the base column is missing or short");
    if (!r->torn && memcmp(base->next, r->table.next + 8 * (ROW_FIELDS * d->at + ROW_BASE),
                           8 * BASE_FIELDS) != 0)
        return reader_refuse(r, offset, err,
                             "the index says something else of this block than its base column");
    for (unsigned i = 0; i < BASE_FIELDS; i++) {
        uint64_t said = load64(base->next + 8 * i);
        if (said == here[i] || (i == BASE_CLOCK && d->skip_clock))
            continue;
        return reader_refuse(r, offset, err,
                             "the block starts at %" PRIu64 " %s, but %" PRIu64 " came before it",
                             said, names[i], here[i]);
    }
    return 0;
}

/* Loads the columns of a block that the reader knows. */
static int block_columns(const struct trace_reader *r, struct block_decoder *d,
                         const struct block *block, struct error *err)
{
    struct column_entry entries[LAYOUT_MAX_COLUMNS];
    if (block_checksum(r, block, err) || block_directory(r, block, entries, err))
        return -1;
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++) {
        d->columns[tag].next = d->columns[tag].end = no_bytes;
        d->columns[tag].tail = NULL;
        d->columns[tag].present = false;
    }
    for (unsigned i = 0; i < block->columns; i++) {
        unsigned tag = entries[i].tag;
        if (tag == LAYOUT_REFERENCE || tag == LAYOUT_OBJECT) {
            d->backs = tag == LAYOUT_OBJECT;
            tag = LAYOUT_OBJECT;
            if (d->columns[tag].present)
                return reader_refuse(r, entries[i].offset, err,
                                     "the block has distances and references");
        }
        if (tag == 0 || tag >= LAYOUT_OPS_TAGS) {
            if (tag & LAYOUT_MUST)
                return reader_refuse(r, entries[i].offset, err,
                                     "column %u is unknown, and must be understood", tag);
            continue;
        }
        if (tag == LAYOUT_CLOCK && d->skip_clock)
            continue;
        uint64_t limit =
            tag == LAYOUT_BASE ? LAYOUT_BASE_BYTES : column_bytes[tag] * block->records;
        if (column_load(r, d->zstd, &entries[i], limit, &d->columns[tag], err))
            return -1;
    }
    const struct column *codes = &d->columns[LAYOUT_OP];
    if ((uint64_t)(codes->end - codes->next) != block->records)
        return reader_refuse(r, block->offset, err,
                             "the op column has %td bytes for %" PRIu64 " records",
                             codes->end - codes->next, block->records);
    return base_check(r, d, block->offset, err);
}

/* ---- varints ---- */

#define ONES UINT64_C(0x0101010101010101)

/* Varints of a byte each, eight at a time, as long as there are such; how many. */
static uint32_t bytes_decode(const uint8_t *next, const uint8_t *end, uint64_t *values,
                             uint32_t most)
{
    uint32_t count = 0;
    for (uint64_t word; most - count >= 8 && end - next >= 8; next += 8, count += 8) {
        word = load64(next);
        if (word & ONES)
            break;
        for (unsigned i = 0; i < 8; i++)
            values[count + i] = word >> (8 * i + 1) & 0x7f;
    }
    return count;
}

/* Where no byte can lie beyond the end, eight values are taken without a look at it. */
static uint32_t split_decode(struct column *c, uint64_t *values, uint32_t most)
{
    const uint8_t *first = c->next, *tail = c->tail;
    uint32_t count = 0, take;
    unsigned bytes;
    for (; count < most && first < c->end; first += take, count += take) {
        if ((take = bytes_decode(first, c->end, values + count, most - count)))
            continue;
        if (most - count >= 8 && c->end - first >= 8 && c->tails_end - tail >= 64) {
            for (; take < 8; take++, tail += bytes)
                values[count + take] = varint_get_split(first[take], tail, &bytes);
            continue;
        }
        values[count] = varint_get_split(*first, tail, &bytes);
        if (tail + bytes > c->tails_end)
            break;
        tail += bytes;
        take = 1;
    }
    c->next = first;
    c->tail = tail;
    return count;
}

static uint32_t plain_decode(struct column *c, uint64_t *values, uint32_t most)
{
    const uint8_t *next = c->next;
    uint32_t count = 0, take;
    unsigned bytes;
    for (; count < most && next < c->end; count += take) {
        take = bytes_decode(next, c->end, values + count, most - count);
        next += take;
        if (take)
            continue;
        bool sure = most - count >= 8 && c->end - next >= 8 * LAYOUT_VARINT_BYTES;
        for (; take < (sure ? 8 : 1); take++, next += bytes)
            values[count + take] = varint_get(next, &bytes);
        if (next > c->end) {
            next -= bytes;
            break;
        }
    }
    c->next = next;
    return count;
}

/* Decodes at most so many varints. One that reaches beyond the column's end is not taken: it, and
 * what is too many, stays there as what is left over. */
static uint32_t column_decode(struct column *c, uint64_t *values, uint32_t most)
{
    return c->tail ? split_decode(c, values, most) : plain_decode(c, values, most);
}

static bool column_used_up(const struct column *c)
{
    return c->next == c->end && (!c->tail || c->tail == c->tails_end);
}

/* References of older files, in the form of others; a distance that is beyond all objects stays so. */
static void backs_convert(uint64_t *values, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        values[i] = (values[i] < BEYOND ? values[i] : BEYOND) << 1;
}

/* What object a reference names, in a block at this point: see reference_of(). */
static uint64_t reference_object(uint64_t value, uint64_t newest, uint64_t before)
{
    uint64_t half = value >> 1;
    return value & 1 ? before + unzigzag(half) : newest - half;
}

static void columns_decode(struct block_decoder *d, struct decoded *to)
{
    struct column *columns = d->columns;
    uint32_t n = to->records;
    for (unsigned tag = LAYOUT_OBJECT; tag < LAYOUT_OPS_TAGS; tag++) {
        uint64_t *values = tag == LAYOUT_CLOCK  ? to->clocks
                           : tag == LAYOUT_SITE ? to->sites
                                                : d->values[tag];
        d->counts[tag] = 0;
        if (columns[tag].present && tag != LAYOUT_ALIGN)
            d->counts[tag] = column_decode(&columns[tag], values, tag == LAYOUT_THREAD ? 2 * n : n);
    }
    if (d->backs)
        backs_convert(d->values[LAYOUT_OBJECT], d->counts[LAYOUT_OBJECT]);
    memcpy(to->codes, columns[LAYOUT_OP].next, n);
    columns[LAYOUT_OP].next = columns[LAYOUT_OP].end;
}

/* ---- records ---- */

struct spread {                               /* what the loop over the records has seen */
    uint64_t objects, scopes, threads, clock; /* after them */
    unsigned shapes, all;                     /* of any, of all */
    bool sound;
};

/* Objects and sizes of all records. */
static void records_spread(const struct block_decoder *d, struct decoded *to, struct spread *s)
{
    const uint64_t *size = d->values[LAYOUT_SIZE], *reference = d->values[LAYOUT_OBJECT];
    uint64_t made = d->objects, before = made, wrong = 0;
    unsigned any = 0, all = SHAPE_OP;
    for (uint32_t i = 0; i < to->records; i++) {
        unsigned shape = layout_shapes[to->codes[i]];
        uint64_t has_size = shape / SHAPE_SIZE & 1, has_ref = shape / SHAPE_REF & 1;
        uint64_t makes = shape / SHAPE_MAKES & 1;
        uint64_t object = reference_object(*reference, made - 1, before);
        wrong |= has_ref & (object >= made);
        before = has_ref ? object : before;
        /* with neither a new object nor a reference all bits are set: TRACE_NO_OBJECT */
        to->objects[i] = (has_ref ? object : made) | ((makes | has_ref) - 1);
        to->sizes[i] = *size & (0 - has_size);
        size += has_size;
        reference += has_ref;
        made += makes;
        any |= shape;
        all &= shape;
    }
    s->objects = made;
    s->shapes = any;
    s->sound = all && !wrong && (size_t)(size - d->values[LAYOUT_SIZE]) == d->counts[LAYOUT_SIZE] &&
               (size_t)(reference - d->values[LAYOUT_OBJECT]) == d->counts[LAYOUT_OBJECT];
}

/* The scopes of all records, of a block that has any. */
static void scopes_spread(const struct block_decoder *d, struct decoded *to, struct spread *s)
{
    const uint64_t *back = d->values[LAYOUT_SCOPE];
    for (uint32_t i = 0; i < to->records; i++) {
        unsigned shape = layout_shapes[to->codes[i]];
        to->scopes[i] = TRACE_NO_SCOPE;
        if (shape & SHAPE_BEGIN) {
            to->scopes[i] = s->scopes++;
        } else if (shape & SHAPE_SCOPE) {
            s->sound &= *back <= s->scopes;
            to->scopes[i] = *back ? s->scopes - *back : TRACE_NO_SCOPE;
            back++;
        }
    }
    s->sound &= (size_t)(back - d->values[LAYOUT_SCOPE]) == d->counts[LAYOUT_SCOPE];
}

/* The same for alignments. */
static void aligns_spread(struct block_decoder *d, struct decoded *to, struct spread *s)
{
    struct column *c = &d->columns[LAYOUT_ALIGN];
    const uint8_t *align = c->next;
    for (uint32_t i = 0; i < to->records; i++) {
        bool has_align = layout_shapes[to->codes[i]] & SHAPE_ALIGN && align < c->end;
        to->aligns[i] = has_align ? *align : 0;
        s->sound &= to->aligns[i] <= 63;
        s->sound &= has_align == !!(layout_shapes[to->codes[i]] & SHAPE_ALIGN);
        align += has_align;
    }
    s->sound &= align == c->end;
}

static void clocks_sum(struct decoded *to, struct spread *s)
{
    for (uint32_t i = 0; i < to->records; i++)
        to->clocks[i] = s->clock += unzigzag(to->clocks[i]);
}

/* The runs of threads; they must cover the block. */
static void runs_spread(const struct block_decoder *d, struct decoded *to, struct spread *s)
{
    const uint64_t *value = d->values[LAYOUT_THREAD];
    uint32_t left = to->records;
    to->runs = 0;
    if (!d->columns[LAYOUT_THREAD].present) {
        to->run[to->runs++] = (struct decoded_run){.records = left};
        s->threads += s->threads == 0;
        return;
    }
    for (uint32_t i = 0; i + 1 < d->counts[LAYOUT_THREAD] && left; i += 2) {
        uint64_t thread = value[i], records = value[i + 1];
        if (records == 0 || records > left || thread > s->threads || thread == UINT32_MAX)
            break;
        to->run[to->runs++] = (struct decoded_run){(uint32_t)thread, (uint32_t)records};
        left -= (uint32_t)records;
        s->threads += thread == s->threads;
    }
    s->sound &= left == 0 && 2 * to->runs == d->counts[LAYOUT_THREAD];
}

/* ---- what is wrong ---- */

struct search { /* for the first record that is wrong */
    const struct trace_reader *r;
    const struct block_decoder *d;
    struct decoded *to;
    uint64_t objects, scopes, threads, before;
    uint32_t record, left; /* left: of the thread's run */
    uint32_t used[LAYOUT_OPS_TAGS];
};

__attribute__((format(printf, 2, 3), cold)) static int record_refuse(struct search *s,
                                                                     const char *format, ...)
{
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return reader_refuse(s->r, s->to->offset, &s->to->err, "record %" PRIu64 ": %s",
                         s->d->records + s->record, text);
}

/* The next value of a column that must have one. */
static int search_value(struct search *s, unsigned tag, uint64_t *value)
{
    if (s->used[tag] == s->d->counts[tag])
        return record_refuse(s, "the %s column ends too early", column_names[tag]);
    *value = s->d->values[tag][s->used[tag]++];
    return 0;
}

static int search_run(struct search *s)
{
    uint64_t thread = 0, run = 0, left = s->to->records - s->record;
    if (search_value(s, LAYOUT_THREAD, &thread) || search_value(s, LAYOUT_THREAD, &run))
        return -1;
    if (run == 0 || run > left)
        return record_refuse(s, "a run of %" PRIu64 " records where 1 to %" PRIu64 " are left", run,
                             left);
    if (thread > s->threads || thread == UINT32_MAX)
        return record_refuse(s, "thread %" PRIu64 " is out of order: the next new one is %" PRIu64,
                             thread, s->threads);
    s->left = (uint32_t)run;
    s->threads += thread == s->threads;
    return 0;
}

/* Alignment and scope. */
static int search_rare(struct search *s, unsigned shape)
{
    const struct column *align = &s->d->columns[LAYOUT_ALIGN];
    if (shape & SHAPE_ALIGN && align->present) {
        if (s->used[LAYOUT_ALIGN] == align->end - align->next)
            return record_refuse(s, "the align column ends too early");
        unsigned log2 = align->next[s->used[LAYOUT_ALIGN]++];
        if (log2 > 63)
            return record_refuse(s, "alignment 2^%u is impossible", log2);
    }
    s->scopes += (shape & SHAPE_BEGIN) != 0;
    uint64_t back = 0;
    if (shape & SHAPE_SCOPE && search_value(s, LAYOUT_SCOPE, &back))
        return -1;
    if (back > s->scopes)
        return record_refuse(s, "scope %" PRIu64 " back of only %" PRIu64, back - 1, s->scopes);
    return 0;
}

static int search_record(struct search *s)
{
    unsigned code = s->to->codes[s->record], shape = layout_shapes[code];
    uint64_t value = 0;
    if (!shape)
        return record_refuse(s, "there is no op with code 0x%02x", code);
    if (shape & SHAPE_SIZE && search_value(s, LAYOUT_SIZE, &value))
        return -1;
    if (shape & SHAPE_REF) {
        if (search_value(s, LAYOUT_OBJECT, &value))
            return -1;
        uint64_t object = reference_object(value, s->objects - 1, s->before);
        if (object >= s->objects)
            return record_refuse(s, "object %" PRId64 " of only %" PRIu64, (int64_t)object,
                                 s->objects);
        s->before = object;
    }
    s->objects += (shape & SHAPE_MAKES) != 0;
    if (search_rare(s, shape))
        return -1;
    for (unsigned tag = LAYOUT_CLOCK; tag <= LAYOUT_SITE; tag++)
        if (s->d->columns[tag].present && s->record >= s->d->counts[tag])
            return record_refuse(s, "the %s column ends too early", column_names[tag]);
    return 0;
}

/* Says what is wrong; the records before it are sound. */
__attribute__((cold)) static void damage_find(const struct trace_reader *r, struct block_decoder *d,
                                              struct decoded *to)
{
    struct search s = {.r = r,
                       .d = d,
                       .to = to,
                       .objects = d->objects,
                       .scopes = d->scopes,
                       .threads = d->threads,
                       .before = d->objects};
    bool has_runs = d->columns[LAYOUT_THREAD].present;
    to->failed = true;
    for (; s.record < to->records; s.record++, s.left--)
        if ((has_runs && s.left == 0 && search_run(&s)) || search_record(&s)) {
            to->records = s.record;
            return;
        }
    d->columns[LAYOUT_ALIGN].next += s.used[LAYOUT_ALIGN];
    d->counts[LAYOUT_ALIGN] = s.used[LAYOUT_ALIGN];
    s.used[LAYOUT_CLOCK] = d->counts[LAYOUT_CLOCK]; /* a value a record, and no more are decoded */
    s.used[LAYOUT_SITE] = d->counts[LAYOUT_SITE];
    unsigned tag = LAYOUT_OBJECT;
    while (tag < LAYOUT_SITE && column_used_up(&d->columns[tag]) && s.used[tag] == d->counts[tag])
        tag++;
    reader_refuse(r, to->offset, &to->err, "the %s column says more than the block's records",
                  column_names[tag]);
}

/* ---- a block ---- */

static void block_decode(const struct trace_reader *r, struct block_decoder *d, struct decoded *to)
{
    struct spread s = {.scopes = d->scopes, .threads = d->threads, .clock = d->clock};
    columns_decode(d, to);
    records_spread(d, to, &s);
    to->has_scopes = s.shapes & (SHAPE_SCOPE | SHAPE_BEGIN);
    to->has_aligns = d->columns[LAYOUT_ALIGN].present;
    to->has_clocks = d->columns[LAYOUT_CLOCK].present;
    to->has_sites = d->columns[LAYOUT_SITE].present;
    if (to->has_scopes)
        scopes_spread(d, to, &s);
    runs_spread(d, to, &s);
    for (unsigned tag = LAYOUT_OBJECT; tag < LAYOUT_OPS_TAGS; tag++)
        s.sound &= tag == LAYOUT_ALIGN || column_used_up(&d->columns[tag]);
    s.sound &= to->has_scopes || !d->counts[LAYOUT_SCOPE];
    s.sound &= !to->has_clocks || d->counts[LAYOUT_CLOCK] == to->records;
    s.sound &= !to->has_sites || d->counts[LAYOUT_SITE] == to->records;
    if (to->has_aligns)
        aligns_spread(d, to, &s);
    if (to->has_clocks)
        clocks_sum(to, &s);
    if (!s.sound) {
        damage_find(r, d, to);
        return;
    }
    d->records += to->records;
    d->objects = s.objects;
    d->scopes = s.scopes;
    d->threads = s.threads;
    d->clock = to->has_clocks ? s.clock : 0;
}

/* After the last block: have we seen what the index says? */
static int totals_check(const struct trace_reader *r, const struct block_decoder *d,
                        struct error *err)
{
    const struct trace_totals *t = &r->totals;
    if (r->torn || (t->objects == d->objects && t->scopes == d->scopes && t->threads == d->threads))
        return 0;
    return reader_refuse(r, r->index_offset, err,
                         "the index says %" PRIu64 " objects, %" PRIu64 " scopes, %" PRIu64
                         " threads, but the blocks hold %" PRIu64 ", %" PRIu64 ", %" PRIu64,
                         t->objects, t->scopes, t->threads, d->objects, d->scopes, d->threads);
}

void block_decoder_next(struct trace_reader *r, struct block_decoder *d, struct decoded *to)
{
    to->runs = 0;
    to->failed = to->ended = false;
    if (d->at == r->count) {
        to->records = 0;
        to->ended = true;
        to->failed = totals_check(r, d, &to->err);
    } else { /* here alone: a trace without blocks has no array of them */
        const struct block *block = &r->blocks[d->at];
        to->offset = block->offset;
        to->records = (uint32_t)block->records;
        reader_trim(r, block->offset);
        if (block_columns(r, d, block, &to->err) || arrays_room(r, d, to, &to->err)) {
            to->failed = true;
            to->records = 0;
        } else {
            block_decode(r, d, to);
        }
        d->at++;
    }
    d->over = to->failed || to->ended;
}
