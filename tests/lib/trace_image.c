/*
 * trace_image.c - follows blocks by their headers with bounds of its own, for images may already be
 * damaged.
 */
#include "tests/lib/trace_image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <xxhash.h>
#include <zstd.h>

#include "traces/layout.h"

struct image image_read(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    struct image image = {malloc((size_t)status.st_size), (size_t)status.st_size};
    assert_non_null(image.data);
    assert_int_equal(pread(fd, image.data, image.bytes, 0), image.bytes);
    return image;
}

struct image image_copy(const struct image *image)
{
    struct image copy = {malloc(image->bytes + 1), image->bytes};
    assert_non_null(copy.data);
    memcpy(copy.data, image->data, image->bytes);
    return copy;
}

void image_insert(struct image *image, size_t offset, const void *bytes, size_t count)
{
    image->data = realloc(image->data, image->bytes + count + 1);
    assert_non_null(image->data);
    memmove(image->data + offset + count, image->data + offset, image->bytes - offset);
    image->bytes += count;
    if (bytes)
        memcpy(image->data + offset, bytes, count);
    else
        memset(image->data + offset, 0, count);
}

static void image_append(struct image *image, const void *bytes, size_t count)
{
    image_insert(image, image->bytes, bytes, count);
}

/* The bytes of the block at `at` that lie within the image; 0 if there is none. */
static size_t block_bytes(const struct image *image, size_t at)
{
    if (image->bytes < LAYOUT_TRAILER_BYTES + LAYOUT_BLOCK_BYTES ||
        at > image->bytes - LAYOUT_TRAILER_BYTES - LAYOUT_BLOCK_BYTES)
        return 0;
    uint64_t body = load64(image->data + at + 16);
    if (body > image->bytes - LAYOUT_TRAILER_BYTES - LAYOUT_BLOCK_BYTES - at)
        return 0;
    return LAYOUT_BLOCK_BYTES + (size_t)body;
}

unsigned image_blocks(const struct image *image)
{
    unsigned count = 0;
    for (size_t at = LAYOUT_HEADER_BYTES, bytes; (bytes = block_bytes(image, at)); at += bytes)
        count++;
    return count;
}

size_t image_block(const struct image *image, unsigned n)
{
    size_t at = LAYOUT_HEADER_BYTES;
    while (n--)
        at += block_bytes(image, at);
    return at;
}

static size_t column_seek(const struct image *image, size_t block, unsigned tag, bool entry)
{
    unsigned columns = load32(image->data + block + 12);
    size_t at = block + LAYOUT_BLOCK_BYTES, data = at + columns * (size_t)LAYOUT_ENTRY_BYTES;
    for (unsigned i = 0; i < columns; i++, at += LAYOUT_ENTRY_BYTES) {
        if (load16(image->data + at) == tag)
            return entry ? at : data;
        data += load32(image->data + at + 4);
    }
    return 0;
}

size_t image_entry(const struct image *image, size_t block, unsigned tag)
{
    return column_seek(image, block, tag, true);
}

size_t image_column(const struct image *image, size_t block, unsigned tag)
{
    return column_seek(image, block, tag, false);
}

void image_repair(struct image *image)
{
    for (size_t at = LAYOUT_HEADER_BYTES, bytes; (bytes = block_bytes(image, at)); at += bytes)
        store64(image->data + at, XXH64(image->data + at + 8, bytes - 8, 0));
    if (image->bytes >= LAYOUT_TRAILER_BYTES) {
        uint8_t *trailer = image->data + image->bytes - LAYOUT_TRAILER_BYTES;
        store64(trailer + 8, XXH64(trailer, 8, 0));
    }
}

/* The bytes of a part of a column, of which `raw` are known to be in it; the caller frees them. */
static uint8_t *part_unpack(const uint8_t *stored, size_t bytes, size_t raw)
{
    uint8_t *part = calloc(1, raw + LAYOUT_PAD_BYTES);
    assert_non_null(part);
    if (bytes == raw)
        memcpy(part, stored, raw);
    else
        assert_int_equal(ZSTD_decompress(part, raw, stored, bytes), raw);
    return part;
}

/* Writes the varints of a split column in one piece each. */
static void split_unpack(uint8_t *to, size_t raw, const uint8_t *stored, size_t bytes)
{
    size_t values = load32(stored), firsts = load32(stored + 4), at = 0;
    uint8_t *first = part_unpack(stored + LAYOUT_SPLIT_BYTES, firsts, values);
    uint8_t *tails = part_unpack(stored + LAYOUT_SPLIT_BYTES + firsts,
                                 bytes - LAYOUT_SPLIT_BYTES - firsts, raw - values);
    for (size_t i = 0; i < values; i++) {
        unsigned more;
        varint_get_split(first[i], tails + at, &more);
        *to++ = first[i];
        memcpy(to, tails + at, more);
        to += more;
        at += more;
    }
    assert_int_equal(at, raw - values);
    free(first);
    free(tails);
}

/* Appends a block with all its columns stored as they are. */
static void block_unpack(struct image *out, const struct image *in, size_t at)
{
    unsigned columns = load32(in->data + at + 12);
    size_t start = out->bytes, entry = at + LAYOUT_BLOCK_BYTES;
    size_t data = entry + columns * (size_t)LAYOUT_ENTRY_BYTES;
    image_append(out, in->data + at, data - at);
    for (unsigned i = 0; i < columns; i++, entry += LAYOUT_ENTRY_BYTES) {
        uint32_t stored = load32(in->data + entry + 4), raw = load32(in->data + entry + 8);
        size_t place = out->bytes;
        image_append(out, NULL, raw);
        if (load16(in->data + entry + 2) == LAYOUT_RAW)
            memcpy(out->data + place, in->data + data, raw);
        else if (load16(in->data + entry + 2) == LAYOUT_SPLIT)
            split_unpack(out->data + place, raw, in->data + data, stored);
        else
            assert_int_equal(ZSTD_decompress(out->data + place, raw, in->data + data, stored), raw);
        store16(out->data + start + (entry - at) + 2, LAYOUT_RAW);
        store32(out->data + start + (entry - at) + 4, raw);
        data += stored;
    }
    store64(out->data + start + 16, out->bytes - start - LAYOUT_BLOCK_BYTES);
}

struct image image_unpack(const struct image *image)
{
    struct image out = {NULL, 0};
    unsigned count = image_blocks(image);
    size_t index = 0;
    image_append(&out, image->data, LAYOUT_HEADER_BYTES);
    for (unsigned i = 0; i < count; i++) {
        index = out.bytes;
        block_unpack(&out, image, image_block(image, i));
    }
    uint8_t trailer[LAYOUT_TRAILER_BYTES] = {0};
    store64(trailer, index);
    memcpy(trailer + 16, LAYOUT_END_MAGIC, 8);
    image_append(&out, trailer, sizeof trailer);
    uint8_t *row = out.data + image_column(&out, index, LAYOUT_TABLE);
    for (unsigned i = 0; i < count; i++) {
        size_t at = image_block(&out, i);
        if (load32(out.data + at + 8) != LAYOUT_OPS)
            continue;
        store64(row + 8 * ROW_OFFSET, at);
        row += 8 * ROW_FIELDS;
    }
    image_repair(&out);
    return out;
}

struct trace_reader *image_open(const struct image *image, unsigned flags, struct error *err)
{
    int fd = memfd_create("image", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, image->data, image->bytes), image->bytes);
    struct trace_reader *r = trace_open_fd(fd, "image", flags, err);
    close(fd);
    return r;
}
