/*
 * writer.c - writes a trace: ops are held against the rules, appended to the columns of the block
 * being filled, and a full block is compressed, checksummed and written at once, so that a writer
 * that dies leaves whole blocks.
 *
 * What is new in the table of sites goes before each block of ops. The index and the totals come
 * last. The file is PATH.part until trace_finish renames it. The
 * bytes depend on the ops, the meta pairs, the sites and the version of libzstd only: two writers
 * given the same in the same order write the same.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zstd.h>

#include "traces/layout.h"
#include "traces/meta.h"
#include "traces/rules.h"
#include "traces/sites_rows.h"

enum {
    ZSTD_LEVEL = 3,
    AHEAD = 16,     /* ops whose objects are asked for before their turn */
    FAR_AHEAD = 48, /* ops that are asked for themselves: another core may have written them */
};

struct column {
    uint8_t *data;
    size_t used;
    uint64_t any;   /* not 0: the column says something, and is written */
    uint8_t *tails; /* of a split column: what follows the first bytes of the varints */
    size_t tails_used;
};

struct trace_writer {
    struct trace_rules rules;
    struct meta meta;
    struct column columns[LAYOUT_OPS_TAGS];
    uint32_t records; /* in the block */
    uint32_t run_thread, run;
    uint64_t clock;             /* of the record before */
    uint64_t reference;         /* the object that was referred to last in the block */
    uint64_t base[BASE_FIELDS]; /* of the block */
    uint64_t meta_written;      /* changes of meta that are in the file */
    uint64_t meta_changes;
    struct sites *sites;
    uint32_t sites_written[SITES_KINDS]; /* rows that are in the file */
    uint8_t *table;                      /* index rows */
    size_t rows, rows_room;
    uint8_t *out; /* one block, ready to be written */
    size_t out_room;
    ZSTD_CCtx *zstd;
    int fd;
    uint64_t offset;
    char *path, *part; /* NULL: the fd is the caller's */
    bool broken;       /* a write failed: nothing more is accepted */
};

/* Most bytes of a column, raw, when the block is full. */
static const size_t column_bytes[LAYOUT_OPS_TAGS] = {
    [LAYOUT_BASE] = 8 * BASE_FIELDS,
    [LAYOUT_OP] = LAYOUT_BLOCK_RECORDS,
    [LAYOUT_OBJECT] = LAYOUT_BLOCK_RECORDS * LAYOUT_VARINT_BYTES,
    [LAYOUT_SIZE] = LAYOUT_BLOCK_RECORDS * LAYOUT_VARINT_BYTES,
    [LAYOUT_ALIGN] = LAYOUT_BLOCK_RECORDS,
    [LAYOUT_THREAD] = LAYOUT_BLOCK_RECORDS * 2 * LAYOUT_VARINT_BYTES,
    [LAYOUT_SCOPE] = LAYOUT_BLOCK_RECORDS * LAYOUT_VARINT_BYTES,
    [LAYOUT_CLOCK] = LAYOUT_BLOCK_RECORDS * LAYOUT_VARINT_BYTES,
    [LAYOUT_SITE] = LAYOUT_BLOCK_RECORDS * LAYOUT_VARINT_BYTES,
};

static const char *writer_name(const struct trace_writer *w)
{
    return w->part ? w->part : "trace";
}

static int writer_write(struct trace_writer *w, const void *data, size_t bytes, struct error *err)
{
    const char *p = data;
    for (size_t left = bytes; left > 0;) {
        ssize_t done = write(w->fd, p, left);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            w->broken = true;
            return error_set(err, "%s: offset %" PRIu64 ": cannot write: %s", writer_name(w),
                             w->offset, done < 0 ? strerror(errno) : "no progress");
        }
        p += done;
        left -= (size_t)done;
        w->offset += (size_t)done;
    }
    return 0;
}

/* Appends bytes to the block in w->out, compressed if that makes less of them; how many there are. */
static size_t block_bytes(struct trace_writer *w, const void *raw, size_t bytes, size_t at)
{
    size_t stored = bytes > 64 ? ZSTD_compressCCtx(w->zstd, w->out + at, w->out_room - at, raw,
                                                   bytes, ZSTD_LEVEL)
                               : bytes;
    if (!ZSTD_isError(stored) && stored < bytes)
        return stored;
    if (bytes)
        memcpy(w->out + at, raw, bytes);
    return bytes;
}

static void block_entry(struct trace_writer *w, size_t entry, unsigned tag, enum layout_codec codec,
                        size_t stored, size_t bytes)
{
    store16(w->out + entry, (uint16_t)tag);
    store16(w->out + entry + 2, (uint16_t)codec);
    store32(w->out + entry + 4, (uint32_t)stored);
    store32(w->out + entry + 8, (uint32_t)bytes);
}

/* Appends a column to the block in w->out: `entry` is its place in the directory, `at` where its
 * bytes go. */
static size_t block_column(struct trace_writer *w, unsigned tag, const void *raw, size_t bytes,
                           size_t entry, size_t at)
{
    size_t stored = block_bytes(w, raw, bytes, at);
    block_entry(w, entry, tag, stored < bytes ? LAYOUT_ZSTD : LAYOUT_RAW, stored, bytes);
    return at + stored;
}

/* The same with a split column. */
static size_t block_split(struct trace_writer *w, unsigned tag, const struct column *c,
                          size_t entry, size_t at)
{
    size_t firsts = block_bytes(w, c->data, c->used, at + LAYOUT_SPLIT_BYTES);
    size_t stored = LAYOUT_SPLIT_BYTES + firsts;
    stored += block_bytes(w, c->tails, c->tails_used, at + stored);
    store32(w->out + at, (uint32_t)c->used);
    store32(w->out + at + 4, (uint32_t)firsts);
    block_entry(w, entry, tag, LAYOUT_SPLIT, stored, c->used + c->tails_used);
    return at + stored;
}

static int block_write(struct trace_writer *w, uint32_t type, unsigned columns, uint64_t records,
                       size_t end, struct error *err)
{
    store32(w->out + 8, type);
    store32(w->out + 12, columns);
    store64(w->out + 16, end - LAYOUT_BLOCK_BYTES);
    store64(w->out + 24, records);
    store64(w->out, XXH64(w->out + 8, end - 8, 0));
    return writer_write(w, w->out, end, err);
}

/* Makes w->out large enough for a block with `bytes` of raw columns. */
static int block_room(struct trace_writer *w, size_t bytes, struct error *err)
{
    size_t need = LAYOUT_BLOCK_BYTES + LAYOUT_MAX_COLUMNS * LAYOUT_ENTRY_BYTES +
                  ZSTD_compressBound(bytes) + LAYOUT_MAX_COLUMNS * ZSTD_compressBound(0);
    if (need <= w->out_room)
        return 0;
    uint8_t *out = realloc(w->out, need);
    if (!out)
        return error_set(err, "%s: no memory for a block of %zu bytes", writer_name(w), need);
    w->out = out;
    w->out_room = need;
    return 0;
}

static int meta_write(struct trace_writer *w, struct error *err)
{
    if (w->meta_written == w->meta_changes)
        return 0;
    char *text = malloc(w->meta.bytes + 1);
    if (!text || block_room(w, w->meta.bytes, err)) {
        free(text);
        return error_set(err, "%s: no memory for the meta pairs", writer_name(w));
    }
    size_t used = 0;
    for (size_t i = 0; i < w->meta.count; i++)
        used +=
            (size_t)sprintf(text + used, "%s=%s\n", w->meta.pairs[i].key, w->meta.pairs[i].value);
    size_t end = block_column(w, LAYOUT_PAIRS, text, used, LAYOUT_BLOCK_BYTES,
                              LAYOUT_BLOCK_BYTES + LAYOUT_ENTRY_BYTES);
    free(text);
    w->meta_written = w->meta_changes;
    return block_write(w, LAYOUT_META, 1, w->meta.count, end, err);
}

static int sites_block_write(struct trace_writer *w, const struct sites_column *columns,
                             int64_t rows, struct error *err)
{
    size_t bytes = 0, entry = LAYOUT_BLOCK_BYTES;
    unsigned count = 0;
    for (unsigned i = 0; i < SITES_COLUMNS; i++) {
        bytes += columns[i].used;
        count += columns[i].used != 0;
    }
    if (block_room(w, bytes, err))
        return -1;
    size_t end = entry + count * LAYOUT_ENTRY_BYTES;
    for (unsigned i = 0; i < SITES_COLUMNS; i++) {
        if (!columns[i].used)
            continue;
        end = block_column(w, columns[i].tag, columns[i].data, columns[i].used, entry, end);
        entry += LAYOUT_ENTRY_BYTES;
    }
    return block_write(w, LAYOUT_SITES, count, (uint64_t)rows, end, err);
}

/* What is new in the table of sites. */
static int sites_write(struct trace_writer *w, struct error *err)
{
    int64_t rows = 1;
    while (rows > 0) {
        struct sites_column columns[SITES_COLUMNS] = {{0}};
        rows = sites_block_fill(w->sites, w->sites_written, columns, err);
        if (rows > 0 && sites_block_write(w, columns, rows, err))
            rows = -1;
        sites_block_free(columns);
    }
    return rows < 0 ? -1 : 0;
}

struct sites *trace_writer_sites(struct trace_writer *w)
{
    return w->sites;
}

static int row_add(struct trace_writer *w, struct error *err)
{
    if (w->rows == w->rows_room) {
        size_t room = w->rows_room ? 2 * w->rows_room : 64;
        uint8_t *table = realloc(w->table, room * ROW_FIELDS * 8);
        if (!table)
            return error_set(err, "%s: no memory for the index", writer_name(w));
        w->table = table;
        w->rows_room = room;
    }
    uint8_t *row = w->table + w->rows++ * ROW_FIELDS * 8;
    store64(row + 8 * ROW_OFFSET, w->offset);
    store64(row + 8 * ROW_RECORDS, w->records);
    for (unsigned i = 0; i < BASE_FIELDS; i++)
        store64(row + 8 * (ROW_BASE + i), w->base[i]);
    return 0;
}

static void block_begin(struct trace_writer *w)
{
    const struct trace_totals *t = &w->rules.totals;
    w->base[BASE_RECORD] = t->records;
    w->base[BASE_OBJECT] = t->objects;
    w->base[BASE_SCOPE] = t->scopes;
    w->base[BASE_THREAD] = t->threads;
    w->base[BASE_CLOCK] = w->clock;
    w->records = w->run = 0;
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++)
        w->columns[tag].used = w->columns[tag].tails_used = w->columns[tag].any = 0;
    w->reference = t->objects;
}

static void run_end(struct trace_writer *w)
{
    struct column *c = &w->columns[LAYOUT_THREAD];
    c->used += varint_put(c->data + c->used, w->run_thread);
    c->used += varint_put(c->data + c->used, w->run);
    c->any |= w->run_thread;
}

static int block_flush(struct trace_writer *w, struct error *err)
{
    if (w->records == 0)
        return 0;
    run_end(w);
    struct column *base = &w->columns[LAYOUT_BASE];
    for (unsigned i = 0; i < BASE_FIELDS; i++)
        store64(base->data + 8 * i, w->base[i]);
    base->used = 8 * BASE_FIELDS;
    base->any = w->columns[LAYOUT_OP].any = 1;
    w->columns[LAYOUT_OBJECT].any = w->columns[LAYOUT_OBJECT].used;
    w->columns[LAYOUT_SIZE].any = w->columns[LAYOUT_SIZE].used;
    w->columns[LAYOUT_SCOPE].any = w->columns[LAYOUT_SCOPE].used;
    size_t bytes = 0;
    unsigned columns = 0;
    for (unsigned tag = 1; tag < LAYOUT_OPS_TAGS; tag++) {
        bytes += w->columns[tag].any ? w->columns[tag].used + w->columns[tag].tails_used : 0;
        columns += w->columns[tag].any != 0;
    }
    if (sites_write(w, err) || block_room(w, bytes, err) || row_add(w, err)) {
        w->broken = true;
        return -1;
    }
    size_t entry = LAYOUT_BLOCK_BYTES, end = entry + columns * LAYOUT_ENTRY_BYTES;
    for (unsigned tag = 1; tag < LAYOUT_OPS_TAGS; tag++) {
        if (!w->columns[tag].any)
            continue;
        end = tag == LAYOUT_OBJECT
                  ? block_split(w, LAYOUT_REFERENCE, &w->columns[tag], entry, end)
                  : block_column(w, tag, w->columns[tag].data, w->columns[tag].used, entry, end);
        entry += LAYOUT_ENTRY_BYTES;
    }
    if (block_write(w, LAYOUT_OPS, columns, w->records, end, err))
        return -1;
    block_begin(w);
    return 0;
}

static void column_varint(struct column *c, uint64_t value)
{
    c->used += varint_put(c->data + c->used, value);
}

static void column_split(struct column *c, uint64_t value)
{
    c->tails_used += varint_put_split(c->data + c->used++, c->tails + c->tails_used, value);
}

int trace_put(struct trace_writer *w, const struct trace_op *op, struct error *err)
{
    if (w->broken)
        return error_set(err, "%s: an earlier write failed", writer_name(w));
    if (w->records == 0 && w->offset <= LAYOUT_HEADER_BYTES && meta_write(w, err))
        return -1;
    if (trace_rules_put(&w->rules, op, err))
        return -1;
    struct column *columns = w->columns;
    unsigned code = layout_code(op), shape = layout_shapes[code];
    columns[LAYOUT_OP].data[columns[LAYOUT_OP].used++] = (uint8_t)code;
    if (shape & SHAPE_REF) {
        column_split(&columns[LAYOUT_OBJECT],
                     reference_of(op->object, w->rules.totals.objects - 1, w->reference));
        w->reference = op->object;
    }
    if (shape & SHAPE_SIZE)
        column_varint(&columns[LAYOUT_SIZE], op->size);
    if (shape & SHAPE_ALIGN) {
        columns[LAYOUT_ALIGN].data[columns[LAYOUT_ALIGN].used++] = op->align_log2;
        columns[LAYOUT_ALIGN].any |= op->align_log2;
    }
    if (shape & SHAPE_SCOPE)
        column_varint(&columns[LAYOUT_SCOPE],
                      op->scope == TRACE_NO_SCOPE ? 0 : w->rules.totals.scopes - op->scope);
    if (op->thread != w->run_thread || w->run == 0) {
        if (w->run)
            run_end(w);
        w->run_thread = op->thread;
        w->run = 0;
    }
    w->run++;
    column_varint(&columns[LAYOUT_CLOCK], zigzag(op->clock_ns - w->clock));
    columns[LAYOUT_CLOCK].any |= op->clock_ns;
    w->clock = op->clock_ns;
    column_varint(&columns[LAYOUT_SITE], op->site);
    columns[LAYOUT_SITE].any |= op->site;
    return ++w->records < LAYOUT_BLOCK_RECORDS ? 0 : block_flush(w, err);
}

struct
    ends { /* of columns: where the next value goes. Stores of bytes may change anything that has an
                 address, so these have none */
    uint8_t *code, *reference, *tail, *size, *clock, *site;
};

static struct ends columns_ends(const struct trace_writer *w)
{
    const struct column *columns = w->columns, *references = &columns[LAYOUT_OBJECT];
    return (struct ends){
        .code = columns[LAYOUT_OP].data + columns[LAYOUT_OP].used,
        .reference = references->data + references->used,
        .tail = references->tails + references->tails_used,
        .size = columns[LAYOUT_SIZE].data + columns[LAYOUT_SIZE].used,
        .clock = columns[LAYOUT_CLOCK].data + columns[LAYOUT_CLOCK].used,
        .site = columns[LAYOUT_SITE].data + columns[LAYOUT_SITE].used,
    };
}

static void columns_end_at(struct trace_writer *w, const struct ends *at)
{
    struct column *columns = w->columns, *references = &columns[LAYOUT_OBJECT];
    columns[LAYOUT_OP].used = (size_t)(at->code - columns[LAYOUT_OP].data);
    references->used = (size_t)(at->reference - references->data);
    references->tails_used = (size_t)(at->tail - references->tails);
    columns[LAYOUT_SIZE].used = (size_t)(at->size - columns[LAYOUT_SIZE].data);
    columns[LAYOUT_CLOCK].used = (size_t)(at->clock - columns[LAYOUT_CLOCK].data);
    columns[LAYOUT_SITE].used = (size_t)(at->site - columns[LAYOUT_SITE].data);
}

/* The thread has begun and not ended, and there is nothing in the op that few have. */
static inline bool is_plain(const struct trace_writer *w, const struct trace_op *op)
{
    return op->scope == TRACE_NO_SCOPE && op->align_log2 == 0 &&
           (op->thread == w->run_thread ||
            (op->thread < w->rules.totals.threads && !w->rules.threads[op->thread].ended));
}

/* The op is one of another thread than the one before. */
static void run_begin(struct trace_writer *w, uint32_t thread, size_t records)
{
    w->run += (uint32_t)records;
    run_end(w);
    w->run_thread = thread;
    w->run = 0;
}

/* Puts ops up to one that is not plain (see rules.h) or the block's last; how many. The block has some
 * already, the last of them by a thread that has not ended. */
static size_t plain_put(struct trace_writer *w, const struct trace_op *ops, size_t count)
{
    struct trace_totals totals = w->rules.totals;
    struct ends to = columns_ends(w);
    uint64_t clock = w->clock, reference = w->reference, clocks = 0, sites = 0;
    size_t room = LAYOUT_BLOCK_RECORDS - 1 - w->records, n = 0, counted = 0;
    for (room = room < count ? room : count; n < room && is_plain(w, &ops[n]); n++) {
        const struct trace_op *op = &ops[n];
        __builtin_prefetch(&op[FAR_AHEAD]);
        if (n + AHEAD < room)
            live_table_prefetch(&w->rules.objects, op[AHEAD].object);
        if (op->kind <= TRACE_CALLOC && op->flags == 0) {
            if (!trace_rules_make(&w->rules, &totals, op))
                break;
            to.size += varint_put(to.size, op->size);
        } else if (op->kind == TRACE_FREE && (op->flags & ~TRACE_SIZED) == 0) {
            if (!trace_rules_free_object(&w->rules, &totals, op))
                break;
            uint64_t value = reference_of(op->object, totals.objects - 1, reference);
            to.tail += varint_put_split(to.reference++, to.tail, value);
            reference = op->object;
            if (op->flags)
                to.size += varint_put(to.size, op->size);
        } else {
            break;
        }
        if (op->thread != w->run_thread) {
            run_begin(w, op->thread, n - counted);
            counted = n;
        }
        *to.code++ = layout_code(op);
        to.clock += varint_put(to.clock, zigzag(op->clock_ns - clock));
        if (op->site)
            to.site += varint_put(to.site, op->site);
        else
            *to.site++ = 0;
        clock = op->clock_ns;
        clocks |= clock;
        sites |= op->site;
    }
    columns_end_at(w, &to);
    w->rules.totals = totals;
    w->columns[LAYOUT_CLOCK].any |= clocks;
    w->columns[LAYOUT_SITE].any |= sites;
    w->clock = clock;
    w->reference = reference;
    w->run += (uint32_t)(n - counted);
    w->records += (uint32_t)n;
    return n;
}

int trace_put_all(struct trace_writer *w, const struct trace_op *ops, size_t count,
                  struct error *err)
{
    for (size_t i = 0; i < count;) {
        if (!w->broken && w->records && !w->rules.threads[w->run_thread].ended)
            i += plain_put(w, ops + i, count - i);
        if (i < count && trace_put(w, &ops[i++], err))
            return -1;
    }
    return 0;
}

int trace_set_meta(struct trace_writer *w, const char *key, const char *value, struct error *err)
{
    if (meta_set(&w->meta, key, strlen(key), value, strlen(value), err))
        return -1;
    w->meta_changes++;
    return 0;
}

int trace_copy_meta(const struct trace_reader *in, struct trace_writer *w, struct error *err)
{
    const char *key, *value;
    int failed = 0;
    for (unsigned i = 0; !failed && trace_meta_at(in, i, &key, &value); i++)
        failed = trace_set_meta(w, key, value, err);
    return failed;
}

int trace_copy_sites(struct trace_reader *in, struct trace_writer *w, struct error *err)
{
    const struct sites *from = trace_reader_sites(in, err);
    return from ? sites_copy(w->sites, from, err) : -1;
}

const struct trace_totals *trace_writer_totals(const struct trace_writer *w)
{
    return &w->rules.totals;
}

static int index_write(struct trace_writer *w, struct error *err)
{
    uint8_t totals[8 * TOTALS_FIELDS];
    size_t table_bytes = w->rows * ROW_FIELDS * 8;
    layout_totals_put(totals, &w->rules.totals);
    if (block_room(w, sizeof totals + table_bytes, err))
        return -1;
    uint64_t offset = w->offset;
    size_t entry = LAYOUT_BLOCK_BYTES, end = entry + 2 * LAYOUT_ENTRY_BYTES;
    end = block_column(w, LAYOUT_TOTALS, totals, sizeof totals, entry, end);
    end = block_column(w, LAYOUT_TABLE, w->table, table_bytes, entry + LAYOUT_ENTRY_BYTES, end);
    if (block_write(w, LAYOUT_INDEX, 2, w->rules.totals.records, end, err))
        return -1;
    uint8_t trailer[LAYOUT_TRAILER_BYTES];
    store64(trailer, offset);
    store64(trailer + 8, XXH64(trailer, 8, 0));
    memcpy(trailer + 16, LAYOUT_END_MAGIC, 8);
    return writer_write(w, trailer, sizeof trailer, err);
}

static void writer_free(struct trace_writer *w)
{
    if (w->path && w->fd >= 0)
        close(w->fd);
    for (unsigned tag = 0; tag < LAYOUT_OPS_TAGS; tag++) {
        free(w->columns[tag].data);
        free(w->columns[tag].tails);
    }
    trace_rules_free(&w->rules);
    meta_free(&w->meta);
    sites_free(w->sites);
    ZSTD_freeCCtx(w->zstd);
    free(w->table);
    free(w->out);
    free(w->path);
    free(w->part);
    free(w);
}

void trace_abandon(struct trace_writer *w)
{
    if (w->part)
        unlink(w->part);
    writer_free(w);
}

int trace_finish(struct trace_writer *w, struct error *err)
{
    int failed = w->broken ? error_set(err, "%s: an earlier write failed", writer_name(w))
                           : block_flush(w, err) || sites_write(w, err) || meta_write(w, err) ||
                                 index_write(w, err);
    if (!failed && w->path) {
        int lock = dup(w->fd),
            closed = close(w->fd); /* that it is taken lasts until it is renamed */
        w->fd = -1;
        if (closed)
            failed = error_set(err, "%s: cannot write: %s", w->part, strerror(errno));
        else if (rename(w->part, w->path))
            failed =
                error_set(err, "%s: cannot rename to %s: %s", w->part, w->path, strerror(errno));
        if (lock >= 0)
            close(lock);
    }
    if (failed) {
        trace_abandon(w);
        return -1;
    }
    writer_free(w);
    return 0;
}

/* A writer on an open fd; on error fd is left as it was. */
static struct trace_writer *writer_new(int fd, struct error *err)
{
    struct trace_writer *w = calloc(1, sizeof *w);
    bool whole = w && (w->zstd = ZSTD_createCCtx()) && (w->sites = sites_new());
    for (unsigned tag = 1; whole && tag < LAYOUT_OPS_TAGS; tag++)
        whole = (w->columns[tag].data = malloc(column_bytes[tag] + LAYOUT_VARINT_BYTES)) != NULL;
    whole = whole && (w->columns[LAYOUT_OBJECT].tails = malloc(column_bytes[LAYOUT_OBJECT]));
    if (!whole) {
        error_set(err, "no memory for a trace writer");
        if (w)
            writer_free(w);
        return NULL;
    }
    w->fd = fd;
    block_begin(w);
    return w;
}

static int header_write(struct trace_writer *w, struct error *err)
{
    uint8_t header[LAYOUT_HEADER_BYTES] = {0};
    memcpy(header, LAYOUT_MAGIC, 8);
    store32(header + 8, LAYOUT_VERSION);
    return writer_write(w, header, sizeof header, err);
}

struct trace_writer *trace_create_fd(int fd, struct error *err)
{
    struct trace_writer *w = writer_new(fd, err);
    if (w && header_write(w, err)) {
        trace_abandon(w);
        return NULL;
    }
    return w;
}

int trace_output_apart(const char *path, char *const *inputs, int count, struct error *err)
{
    struct stat part, input;
    char name[4096];
    if ((size_t)snprintf(name, sizeof name, "%s.part", path) >= sizeof name || stat(name, &part))
        return 0;
    for (int i = 0; i < count; i++)
        if (!stat(inputs[i], &input) && input.st_dev == part.st_dev && input.st_ino == part.st_ino)
            return error_set(
                err, "%s: would be written as %s first, which is the input %s: choose another name",
                path, name, inputs[i]);
    return 0;
}

/* Two writers of one file would leave a mixture. A lock ends with its process; file systems that have
 * none do not say that it is held. What the other one has renamed meanwhile is no part any more. */
static int part_take(int fd, const char *part, struct error *err)
{
    struct stat opened, named;
    if (flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return error_set(err, "%s: another process is writing it", part);
    if (fstat(fd, &opened) || stat(part, &named) || opened.st_ino != named.st_ino)
        return error_set(err, "%s: another process has written it: try again", part);
    return 0;
}

static int part_open(const char *path, const char *part, struct error *err)
{
    struct stat status;
    if (!*path)
        return error_set(err, "the output has no name: give one with -o");
    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return error_set(err, "%s: exists and is not a regular file: choose another name", path);
    int fd = open(part, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return error_set(err, "%s: cannot create: %s", part, strerror(errno));
    int failed = part_take(fd, part, err);
    if (!failed && ftruncate(fd, 0))
        failed = error_set(err, "%s: cannot write: %s", part, strerror(errno));
    if (failed)
        close(fd);
    return failed ? -1 : fd;
}

struct trace_writer *trace_create(const char *path, struct error *err)
{
    char *copy = strdup(path), *part = NULL;
    if (!copy || asprintf(&part, "%s.part", path) < 0) {
        free(copy);
        error_set(err, "no memory for a trace writer");
        return NULL;
    }
    int fd = part_open(path, part, err);
    struct trace_writer *w = fd < 0 ? NULL : writer_new(fd, err);
    if (!w) {
        if (fd >= 0) {
            close(fd);
            unlink(part);
        }
        free(copy);
        free(part);
        return NULL;
    }
    w->path = copy;
    w->part = part;
    if (header_write(w, err)) {
        trace_abandon(w);
        return NULL;
    }
    return w;
}
