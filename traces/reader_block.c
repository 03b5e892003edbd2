/*
 * reader_block.c - one block of a trace file, which may come from anywhere. Nothing in it is
 * believed before it has been compared with what is possible: it must lie within the file, its
 * columns must fill it exactly, and what a column may decompress to is limited by its kind and the
 * block's records, so that no file can ask for more memory than a few MiB.
 */
#include "traces/reader.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <xxhash.h>

#define TRIM_BYTES ((uint64_t)8 << 20)

int reader_refuse(const struct trace_reader *r, uint64_t offset, struct error *err,
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

void reader_trim(struct trace_reader *r, uint64_t offset)
{
    if (offset < r->trimmed + TRIM_BYTES)
        return;
    uint64_t end = offset / TRIM_BYTES * TRIM_BYTES;
    madvise((void *)(r->map + r->trimmed), end - r->trimmed, MADV_DONTNEED);
    r->trimmed = end;
}

void reader_advise(const struct trace_reader *r, bool here_and_there)
{
    madvise((void *)r->map, r->bytes, here_and_there ? MADV_RANDOM : MADV_NORMAL);
}

int block_header(const struct trace_reader *r, uint64_t offset, uint64_t limit, struct block *block,
                 struct error *err)
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

int block_checksum(const struct trace_reader *r, const struct block *block, struct error *err)
{
    const uint8_t *p = r->map + block->offset;
    uint64_t sum = XXH64(p + 8, LAYOUT_BLOCK_BYTES - 8 + block->body_bytes, 0);
    if (sum != load64(p))
        return reader_refuse(r, block->offset, err,
                             "checksum is %016" PRIx64 ", but the block says %016" PRIx64
                             ": the file was changed after it was written: get it again, or see "
                             "what `alloclab trace convert --salvage` can read of it",
                             sum, load64(p));
    return 0;
}

int block_directory(const struct trace_reader *r, const struct block *block,
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

static int unzstd(const struct trace_reader *r, ZSTD_DCtx *zstd, const struct column_entry *e,
                  const uint8_t *stored, size_t stored_bytes, uint8_t *to, size_t raw,
                  struct error *err)
{
    size_t got = ZSTD_decompressDCtx(zstd, to, raw, stored, stored_bytes);
    if (ZSTD_isError(got))
        return reader_refuse(r, e->offset, err, "column %u does not decompress: %s", e->tag,
                             ZSTD_getErrorName(got));
    if (got != raw)
        return reader_refuse(r, e->offset, err, "column %u holds %zu bytes, not %zu", e->tag, got,
                             raw);
    return 0;
}

/* Makes the bytes after a part readable; where it ends. */
static const uint8_t *part_end(uint8_t *part, size_t bytes)
{
    memset(part + bytes, 0, LAYOUT_PAD_BYTES);
    return part + bytes;
}

static bool has_varints(unsigned tag)
{
    tag = tag == LAYOUT_REFERENCE ? LAYOUT_OBJECT : tag;
    return tag >= LAYOUT_OBJECT && tag < LAYOUT_OPS_TAGS && tag != LAYOUT_ALIGN;
}

/* The parts of a split column, one behind the other in its buffer. */
static int split_load(const struct trace_reader *r, ZSTD_DCtx *zstd, const struct column_entry *e,
                      struct column *c, struct error *err)
{
    uint32_t values = e->stored < LAYOUT_SPLIT_BYTES ? 0 : load32(e->data);
    uint32_t firsts = e->stored < LAYOUT_SPLIT_BYTES ? UINT32_MAX : load32(e->data + 4);
    if (values > e->raw || firsts > e->stored - LAYOUT_SPLIT_BYTES)
        return reader_refuse(r, e->offset, err, "column %u of %u bytes cannot be split so", e->tag,
                             e->stored);
    const size_t stored[] = {firsts, e->stored - LAYOUT_SPLIT_BYTES - firsts};
    const size_t raw[] = {values, e->raw - values};
    const uint8_t *from = e->data + LAYOUT_SPLIT_BYTES;
    uint8_t *to = c->buffer;
    for (unsigned i = 0; i < 2; i++) {
        if (stored[i] == raw[i])
            memcpy(to, from, raw[i]);
        else if (unzstd(r, zstd, e, from, stored[i], to, raw[i], err))
            return -1;
        const uint8_t *end = part_end(to, raw[i]);
        if (i == 0)
            c->end = end;
        else
            c->tails_end = end;
        from += stored[i];
        to += raw[i] + LAYOUT_PAD_BYTES;
    }
    c->tail = c->end + LAYOUT_PAD_BYTES;
    c->present = true;
    return 0;
}

int column_load(const struct trace_reader *r, ZSTD_DCtx *zstd, const struct column_entry *e,
                uint64_t limit, struct column *c, struct error *err)
{
    if (e->raw > limit)
        return reader_refuse(r, e->offset, err,
                             "column %u of %u bytes: at most %" PRIu64 " are possible", e->tag,
                             e->raw, limit);
    size_t room = e->raw + 2 * (size_t)LAYOUT_PAD_BYTES; /* it may have two parts */
    if (room > c->room) {
        free(c->buffer);
        c->room = room;
        c->buffer = malloc(c->room);
        if (!c->buffer) {
            c->room = 0;
            return reader_refuse(r, e->offset, err, "no memory for a column of %u bytes", e->raw);
        }
    }
    c->next = c->buffer;
    c->tail = c->tails_end = NULL;
    if (e->codec == LAYOUT_SPLIT && has_varints(e->tag))
        return split_load(r, zstd, e, c, err);
    if (e->codec == LAYOUT_ZSTD) {
        if (unzstd(r, zstd, e, e->data, e->stored, c->buffer, e->raw, err))
            return -1;
    } else if (e->codec != LAYOUT_RAW) {
        return reader_refuse(r, e->offset, err, "column %u has unknown codec %u", e->tag, e->codec);
    } else if (e->stored != e->raw) {
        return reader_refuse(r, e->offset, err, "column %u is stored in %u bytes, but holds %u",
                             e->tag, e->stored, e->raw);
    } else {
        memcpy(c->buffer, e->data, e->raw);
    }
    c->end = part_end(c->buffer, e->raw);
    c->present = true;
    return 0;
}

int column_find(struct trace_reader *r, const struct block *block, unsigned tag, uint64_t limit,
                struct column *c, struct error *err)
{
    struct column_entry entries[LAYOUT_MAX_COLUMNS];
    if (block_directory(r, block, entries, err))
        return -1;
    for (unsigned i = 0; i < block->columns; i++)
        if (entries[i].tag == tag && column_load(r, r->zstd, &entries[i], limit, c, err))
            return -1;
    return 0;
}
