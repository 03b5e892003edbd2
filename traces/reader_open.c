/*
 * reader_open.c - opens a trace file: maps it, follows the blocks from the first to the trailer,
 * and holds them against the index; or, of a torn file, finds the blocks at its front that are
 * whole. The columns of ops are left alone: see reader.c. The mapped file must not shrink while it
 * is read. What cannot be mapped, a pipe, is copied to a temporary file first: a reader goes to the index,
 * and twice over the ops, as it needs.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "traces/reader.h"
#include "traces/sites.h"
#include "traces/table_grow.h"

static int meta_parse(struct trace_reader *r, const struct block *block, const struct column *c,
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

static int meta_load(struct trace_reader *r, const struct block *block, struct error *err)
{
    struct column c = {0};
    int failed =
        ++r->meta_blocks > LAYOUT_META_BLOCKS
            ? reader_refuse(r, block->offset, err, "more than %d meta blocks", LAYOUT_META_BLOCKS)
            : column_find(r, block, LAYOUT_PAIRS, LAYOUT_META_BYTES, &c, err) ||
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

static int site_block_add(struct trace_reader *r, const struct block *block, struct error *err)
{
    void *grown = r->site_count == r->site_room
                      ? table_grow(r->site_blocks, &r->site_room, sizeof *r->site_blocks)
                      : r->site_blocks;
    if (!grown)
        return reader_refuse(r, block->offset, err, "no memory for the list of blocks");
    r->site_blocks = grown;
    r->site_blocks[r->site_count++] = *block;
    return 0;
}

static bool tag_known(uint32_t type, unsigned tag)
{
    switch (type) {
    case LAYOUT_META:
        return tag == LAYOUT_PAIRS;
    case LAYOUT_OPS:
        return (tag >= LAYOUT_BASE && tag < LAYOUT_OPS_TAGS) || tag == LAYOUT_REFERENCE;
    case LAYOUT_SITES:
        return tag >= LAYOUT_ROWS && tag <= LAYOUT_SITE_FRAME;
    case LAYOUT_INDEX:
        return tag == LAYOUT_TOTALS || tag == LAYOUT_TABLE;
    default:
        return false;
    }
}

/* Counts what is skipped: the bytes of a type of block, or of columns, that are unknown here. */
static void unknown_count(struct trace_reader *r, const struct block *block)
{
    const uint8_t *entry = r->map + block->offset + LAYOUT_BLOCK_BYTES;
    bool known = block->type == LAYOUT_META || block->type == LAYOUT_OPS ||
                 block->type == LAYOUT_SITES || block->type == LAYOUT_INDEX;
    if (!known)
        r->unknown_bytes += block->body_bytes;
    for (unsigned i = 0; known && i < block->columns; i++, entry += LAYOUT_ENTRY_BYTES)
        if (!tag_known(block->type, load16(entry)))
            r->unknown_bytes += load32(entry + 4);
}

/* Notes the block, or reads it, by what it is. */
static int block_note(struct trace_reader *r, const struct block *block, struct error *err)
{
    unknown_count(r, block);
    switch (block->type) {
    case LAYOUT_META:
        return meta_load(r, block, err);
    case LAYOUT_OPS:
        return block_add(r, block, err);
    case LAYOUT_SITES:
        return site_block_add(r, block, err);
    default:
        return 0;
    }
}

/* Follows the blocks from the first up to `limit`, where one must end. */
static int blocks_walk(struct trace_reader *r, uint64_t limit, struct error *err)
{
    struct block block;
    for (uint64_t at = LAYOUT_HEADER_BYTES; at < limit;
         at += LAYOUT_BLOCK_BYTES + block.body_bytes) {
        reader_trim(r, at);
        if (block_header(r, at, limit, &block, err))
            return -1;
        if (block.type == LAYOUT_INDEX)
            return reader_refuse(
                r, at, err, "an index where only the trailer's at %" PRIu64 " is expected", limit);
        if (block.type != LAYOUT_OPS && block_checksum(r, &block, err))
            return -1;
        if (block_note(r, &block, err))
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
    struct column totals = {0};
    int failed = column_find(r, index, LAYOUT_TOTALS, LAYOUT_TOTALS_BYTES, &totals, err) ||
                 column_find(r, index, LAYOUT_TABLE, r->bytes, &r->table, err);
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
        return reader_refuse(
            r, r->bytes, err,
            "the file does not end as a trace does: it is torn, or something was "
            "added; `alloclab trace convert --salvage` reads the blocks that are whole");
    at = r->index_offset = load64(trailer);
    if (XXH64(trailer, 8, 0) != load64(trailer + 8))
        return reader_refuse(r, end, err, "the trailer's checksum is wrong");
    if (at < LAYOUT_HEADER_BYTES || at > end)
        return reader_refuse(r, end, err, "the trailer says that the index is at %" PRIu64, at);
    if (block_header(r, at, end, &index, err))
        return -1;
    if (index.type != LAYOUT_INDEX || index.body_bytes != end - at - LAYOUT_BLOCK_BYTES)
        return reader_refuse(r, at, err, "there is no index that ends at the trailer");
    unknown_count(r, &index);
    if (block_checksum(r, &index, err) || blocks_walk(r, at, err))
        return -1;
    return index_load(r, &index, err);
}

static void blocks_forget(struct trace_reader *r)
{
    meta_free(&r->meta);
    r->count = r->meta_blocks = r->site_count = 0;
    r->has_clock = r->has_sites = false;
    r->index_offset = r->unknown_bytes = 0;
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
        if (block_note(r, &block, err))
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
    reader_advise(r, false);
    for (size_t i = 0; !failed && i < r->count; i++)
        failed = block_checksum(r, &r->blocks[i], err);
    return failed ? torn_open(r, err) : 0;
}

/* A file without a name, in $TMPDIR or /tmp; -1. */
static int spool_open(const struct trace_reader *r, struct error *err)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%s/alloclab-trace-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return error_set(err,
                         "%s: cannot be mapped, and cannot be copied to %.500s: %s; TMPDIR says "
                         "where there is room",
                         r->name, path, strerror(errno));
    unlink(path);
    return fd;
}

static bool write_all(int fd, const uint8_t *bytes, size_t count)
{
    while (count) {
        ssize_t wrote = write(fd, bytes, count);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return false;
        bytes += wrote;
        count -= (size_t)wrote;
    }
    return true;
}

/* All that comes from `from`, unless it does not begin as a trace does: then it may have no end. */
static int spool_copy(const struct trace_reader *r, int from, int to, struct error *err)
{
    uint8_t bytes[65536];
    size_t held = 0;
    for (bool begun = false;;) {
        ssize_t got = read(from, bytes + held, sizeof bytes - held);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set(err, "%s: cannot read: %s", r->name, strerror(errno));
        held += (size_t)got;
        if (got && !begun && held < LAYOUT_HEADER_BYTES)
            continue;
        bool other = !begun && (held < 8 || memcmp(bytes, LAYOUT_MAGIC, 8) != 0);
        begun = true;
        if (!write_all(to, bytes, held))
            return error_set(
                err,
                "%s: cannot be copied to a temporary file: %s; TMPDIR says where there "
                "is room",
                r->name, strerror(errno));
        held = 0;
        if (!got || other)
            return 0;
    }
}

static int file_map(struct trace_reader *r, int fd, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set(err, "%s: cannot read: %s", r->name, strerror(errno));
    r->bytes = (uint64_t)status.st_size;
    if (r->bytes == 0)
        return reader_refuse(r, 0, err, "the file is empty");
    void *map = mmap(NULL, r->bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return error_set(err, "%s: cannot map: %s", r->name, strerror(errno));
    r->map = map;
    reader_advise(r, true); /* of a whole file headers are read, and nothing between them */
    return 0;
}

static int reader_map(struct trace_reader *r, int fd, struct error *err)
{
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set(err, "%s: cannot read: %s", r->name, strerror(errno));
    if (S_ISREG(status.st_mode))
        return file_map(r, fd, err);
    if (S_ISDIR(status.st_mode))
        return error_set(err, "%s: is a folder, not a trace", r->name);
    int spool = spool_open(r, err);
    int failed = spool < 0 || spool_copy(r, fd, spool, err) || file_map(r, spool, err);
    if (spool >= 0)
        close(spool);
    return failed ? -1 : 0;
}

struct trace_reader *trace_open_fd(int fd, const char *name, unsigned flags, struct error *err)
{
    struct trace_reader *r = calloc(1, sizeof *r);
    if (!r || !(r->name = strdup(name)) || !(r->zstd = ZSTD_createDCtx()) ||
        !(r->decoder.zstd = ZSTD_createDCtx())) {
        error_set(err, "%s: no memory for a trace reader", name);
        if (r)
            trace_close(r);
        return NULL;
    }
    r->flags = flags;
    r->decoder.skip_clock = flags & TRACE_SKIP_CLOCK;
    if (reader_map(r, fd, err) || reader_open(r, err)) {
        trace_close(r);
        return NULL;
    }
    r->offset = LAYOUT_HEADER_BYTES;
    r->trimmed = 0;
    reader_advise(r, false);
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

void trace_close(struct trace_reader *r)
{
    ahead_end(r);
    block_decoder_free(&r->decoder);
    for (unsigned i = 0; i < AHEAD_BLOCKS; i++)
        decoded_free(&r->decoded[i]);
    free(r->table.buffer);
    if (r->map)
        munmap((void *)r->map, r->bytes);
    meta_free(&r->meta);
    sites_free(r->sites);
    ZSTD_freeDCtx(r->zstd);
    free(r->site_blocks);
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

void trace_keep_clock(struct trace_reader *r)
{
    r->flags &= ~(unsigned)TRACE_SKIP_CLOCK;
}

bool trace_has_clock(const struct trace_reader *r)
{
    return r->has_clock;
}

bool trace_has_sites(const struct trace_reader *r)
{
    return r->has_sites;
}

uint64_t trace_unknown_bytes(const struct trace_reader *r)
{
    return r->unknown_bytes;
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
