/*
 * corrupt_trace.c - damaged trace files: torn anywhere, any bit flipped, every length and count
 * hostile. Each is refused with the file, the offset and what is wrong, and what was whole at the
 * front of a torn file can still be read. Damage behind the checksums is made by editing a file
 * whose columns are stored plainly, and making the checksums right again.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/check.h"
#include "traces/layout.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define BIG          (2 * LAYOUT_BLOCK_RECORDS + 5000)

static struct image small, big; /* big has three blocks of ops */

static struct image image_make(uint64_t seed, size_t count)
{
    struct trace_op *ops = trace_maker_ops(seed, count, MAKER_ALL);
    int fd = trace_maker_file(ops, count);
    struct image image = image_read(fd);
    close(fd);
    free(ops);
    return image;
}

static int images_make(void **state)
{
    (void)state;
    big = image_make(0, BIG);
    for (uint64_t seed = 0;; seed++) { /* until it has every column there is */
        small = image_make(seed, 60);
        if (load32(small.data + image_block(&small, 1) + 12) == LAYOUT_OPS_TAGS - 1)
            return 0;
        free(small.data);
    }
}

static int images_free(void **state)
{
    (void)state;
    free(small.data);
    free(big.data);
    return 0;
}

/* Opens and checks; -1 with a message that must name the file and an offset. */
static int image_check(const struct image *image, unsigned flags, uint64_t *records,
                       struct error *err)
{
    struct trace_totals totals = {0};
    struct trace_reader *r = image_open(image, flags, err);
    int failed = r ? trace_check(r, &totals, err) : -1;
    if (r)
        trace_close(r);
    if (records)
        *records = totals.records;
    if (failed && strncmp(err->text, "image: offset ", 14) != 0)
        fail_msg("a message without file and offset: %s", err->text);
    return failed;
}

static void refused(const struct image *image, const char *message)
{
    struct error err = {"it was accepted"};
    image_check(image, 0, NULL, &err);
    assert_string_equal(err.text, message);
}

/* ---- torn ---- */

static void torn_at_every_byte(void **state)
{
    (void)state;
    struct error err;
    uint64_t records;
    for (size_t bytes = 0; bytes < small.bytes; bytes++) {
        struct image torn = {small.data, bytes};
        assert_int_equal(image_check(&torn, 0, NULL, &err), -1);
        if (bytes < LAYOUT_HEADER_BYTES) {
            assert_int_equal(image_check(&torn, TRACE_SALVAGE, NULL, &err), -1);
            continue;
        }
        assert_int_equal(image_check(&torn, TRACE_SALVAGE, &records, &err), 0);
        assert_int_equal(records, bytes >= image_block(&small, 2) ? 60 : 0);
    }
}

static void torn_at_block_borders(void **state)
{
    (void)state;
    struct error err;
    uint64_t records;
    unsigned blocks = image_blocks(&big); /* meta, three of ops, index */
    assert_int_equal(blocks, 5);
    for (unsigned i = 1; i < blocks; i++)
        for (int step = -1; step <= 1; step++) {
            struct image torn = {big.data, image_block(&big, i) + (size_t)step};
            uint64_t whole = step < 0 ? i - 2 + (i == 1) : i - 1;
            whole = whole == 3 ? BIG : whole * LAYOUT_BLOCK_RECORDS;
            assert_int_equal(image_check(&torn, 0, NULL, &err), -1);
            assert_non_null(strstr(err.text, "--salvage` reads the blocks that are whole"));
            assert_int_equal(image_check(&torn, TRACE_SALVAGE, &records, &err), 0);
            assert_int_equal(records, whole);
        }
}

/* A block that is damaged in the middle ends what can be salvaged. */
static void salvage_to_the_damage(void **state)
{
    (void)state;
    struct error err;
    uint64_t records;
    struct image image = image_copy(&big);
    assert_int_equal(image_check(&image, TRACE_SALVAGE, &records, &err), 0);
    assert_int_equal(records, BIG);
    image.data[image_block(&big, 2) + 1000] ^= 1;
    assert_int_equal(image_check(&image, 0, NULL, &err), -1);
    assert_int_equal(image_check(&image, TRACE_SALVAGE, &records, &err), 0);
    assert_int_equal(records, LAYOUT_BLOCK_RECORDS);
    free(image.data);
}

static void every_bit_flipped(void **state)
{
    (void)state;
    struct error err;
    for (size_t i = 0; i < small.bytes * 8; i++) {
        small.data[i / 8] ^= (uint8_t)(1 << i % 8);
        if (image_check(&small, 0, NULL, &err) == 0)
            fail_msg("bit %zu of byte %zu flipped and not seen", i % 8, i / 8);
        image_check(&small, TRACE_SALVAGE, NULL, &err);
        small.data[i / 8] ^= (uint8_t)(1 << i % 8);
    }
    assert_int_equal(image_check(&small, 0, NULL, &err), 0);
}

/* ---- the file around the blocks ---- */

static void strange_files(void **state)
{
    (void)state;
    const char *const no_end =
        "image: offset %zu: the file does not end as a trace does: it is torn, or "
        "something was added; `alloclab trace convert --salvage` reads the blocks that are whole";
    char message[256];
    struct image empty = {small.data, 0}, image = image_copy(&small);
    refused(&empty, "image: offset 0: the file is empty");

    image_insert(&image, image.bytes, "x", 1);
    snprintf(message, sizeof message, no_end, image.bytes);
    refused(&image, message);
    image.bytes--;

    image.data[8] = 2;
    refused(&image, "image: offset 8: version 2 of the trace file; this program reads version 1");
    image.data[8] = 1;
    image.data[12] = 1;
    refused(&image, "image: offset 12: reserved bytes are not 0: a feature that is unknown here");
    image.data[12] = 0;
    image.data[0] = 'x';
    refused(&image, "image: offset 0: not a trace file; other forms are read by `alloclab trace "
                    "convert --from FORMAT`");
    free(image.data);
}

/* ---- behind the checksums ---- */

/* An edit: `bytes` bytes become `value`, at `at` behind a place in the second block (of ops) or the
 * index. */
enum place { HEADER, ENTRY, COLUMN, TRAILER };

struct edit {
    enum place place;
    bool index; /* in the index block; else in the block of ops */
    unsigned tag, at, bytes;
    uint64_t value;
    const char *what; /* message after "image: offset N: " */
};

static const struct edit edits[] = {
    {HEADER, false, 0, 16, 8, UINT64_MAX, "the block's 18446744073709551615 bytes reach beyond"},
    {HEADER, false, 0, 16, 8, 0, "the directory of 9 columns exceeds the block"},
    {HEADER, false, 0, 12, 4, 65, "65 columns: at most 64 are allowed"},
    {HEADER, false, 0, 12, 4, UINT32_MAX, "4294967295 columns: at most 64 are allowed"},
    {HEADER, false, 0, 24, 8, 0, "0 records in a block: 1 to 32768 are allowed"},
    {HEADER, false, 0, 24, 8, 32769, "32769 records in a block: 1 to 32768 are allowed"},
    {HEADER, false, 0, 24, 8, 61, "the index says block 0 has 60 records at"},
    {HEADER, false, 0, 8, 4, LAYOUT_INDEX, "an index where only the trailer's"},
    {HEADER, false, 0, 8, 4, 0x41414141, "the index has 56 bytes of rows, where 0 blocks need 0"},
    {HEADER, true, 0, 8, 4, LAYOUT_OPS, "there is no index that ends at the trailer"},
    {HEADER, true, 0, 16, 8, 8, "the directory of 2 columns exceeds the block"},
    {HEADER, true, 0, 16, 8, 64, "there is no index that ends at the trailer"},
    {ENTRY, false, LAYOUT_OP, 0, 2, LAYOUT_SIZE, "column 4 comes twice"},
    {ENTRY, false, LAYOUT_OP, 0, 2, 100, "the op column has 0 bytes for 60 records"},
    {ENTRY, false, LAYOUT_OP, 0, 2, 0x8064, "column 32868 is unknown, and must be understood"},
    {ENTRY, false, LAYOUT_BASE, 0, 2, 101, "the base column is missing or short"},
    {ENTRY, false, LAYOUT_SIZE, 2, 2, 7, "column 4 has unknown codec 7"},
    {ENTRY, false, LAYOUT_SIZE, 2, 2, LAYOUT_ZSTD, "column 4 does not decompress: "},
    {ENTRY, false, LAYOUT_SIZE, 4, 4, UINT32_MAX,
     "column 4 of 4294967295 bytes exceeds the block by"},
    {ENTRY, false, LAYOUT_SIZE, 8, 4, UINT32_MAX,
     "column 4 of 4294967295 bytes: at most 540 are possible"},
    {ENTRY, false, LAYOUT_SIZE, 8, 4, 540, "column 4 is stored in "},
    {ENTRY, false, LAYOUT_SIZE, 8, 4, 0, "column 4 is stored in "},
    {ENTRY, false, LAYOUT_SITE, 4, 4, 0, " bytes of the block belong to no column"},
    {COLUMN, false, LAYOUT_BASE, 8 * BASE_RECORD, 8, 1,
     "the index says something else of this block than its base column"},
    {COLUMN, false, LAYOUT_OP, 0, 1, 0x0f, "record 0: there is no op with code 0x0f"},
    {COLUMN, false, LAYOUT_OP, 59, 1, 0xff, "record 59: there is no op with code 0xff"},
    {COLUMN, false, LAYOUT_REFERENCE, 0, 9, UINT64_MAX, "of only"},
    {COLUMN, false, LAYOUT_REFERENCE, 0, 9, UINT64_MAX - 1, "of only"},
    {ENTRY, false, LAYOUT_REFERENCE, 0, 2, LAYOUT_OBJECT | 0x4000,
     "the object column ends too early"},
    {ENTRY, false, LAYOUT_OP, 0, 2, LAYOUT_OBJECT, "the block has distances and references"},
    {ENTRY, false, LAYOUT_OP, 2, 2, LAYOUT_SPLIT, "column 2 has unknown codec 2"},
    {ENTRY, false, LAYOUT_REFERENCE, 2, 2, LAYOUT_SPLIT, "cannot be split so"},
    {COLUMN, false, LAYOUT_THREAD, 0, 1, 2 << 1, "record 0: thread 2 is out of order"},
    {COLUMN, false, LAYOUT_THREAD, 1, 1, 0, "record 0: a run of 0 records where 1 to 60 are left"},
    {COLUMN, false, LAYOUT_THREAD, 1, 1, 61 << 1,
     "record 0: a run of 61 records where 1 to 60 are left"},
    {COLUMN, false, LAYOUT_SCOPE, 0, 1, 100 << 1, "scope 99 back of only"},
    {COLUMN, false, LAYOUT_ALIGN, 0, 1, 64, "alignment 2^64 is impossible"},
    {COLUMN, true, LAYOUT_TABLE, 8 * ROW_OFFSET, 8, 17,
     "the index says block 0 has 60 records at 17"},
    {COLUMN, true, LAYOUT_TABLE, 8 * ROW_RECORDS, 8, 59,
     "the index says block 0 has 59 records at"},
    {COLUMN, true, LAYOUT_TABLE, 8 * (ROW_BASE + BASE_OBJECT), 8, 1,
     "the index says something else of this block than its base column"},
    {COLUMN, true, LAYOUT_TOTALS, 0, 8, 61, "the index says 61 records, but the blocks hold 60"},
    {COLUMN, true, LAYOUT_TOTALS, 8, 8, 61, "the index says 61 for total 1, but the ops add up to"},
    {COLUMN, true, LAYOUT_TOTALS, 48, 8, 1000, "the index says 1000 objects,"},
    {COLUMN, true, LAYOUT_TOTALS, 72, 8, 1000,
     "the index says 1000 for total 9, but the ops add up to"},
    {COLUMN, true, LAYOUT_TOTALS, 8 * TOTALS_FIXED, 8, 1000,
     "the index says 1000 for total 14, but the ops add up to"},
    {ENTRY, true, LAYOUT_TOTALS, 0, 2, 1, "the totals are missing or short"},
    {ENTRY, true, LAYOUT_TABLE, 0, 2, 1, "the index has 0 bytes of rows, where 1 blocks need 56"},
    {TRAILER, true, 0, 0, 8, UINT64_MAX,
     "the trailer says that the index is at 18446744073709551615"},
    {TRAILER, true, 0, 0, 8, 0, "the trailer says that the index is at 0"},
    {TRAILER, true, 0, 0, 8, 20, "the block's "},
};

static void hostile_fields(void **state)
{
    (void)state;
    struct error err;
    struct image plain = image_unpack(&small);
    assert_int_equal(image_check(&plain, 0, NULL, &err), 0);
    for (size_t i = 0; i < COUNT(edits); i++) {
        const struct edit *e = &edits[i];
        struct image image = image_copy(&plain);
        size_t block = image_block(&image, e->index ? 2 : 1);
        size_t place = e->place == HEADER   ? block
                       : e->place == ENTRY  ? image_entry(&image, block, e->tag)
                       : e->place == COLUMN ? image_column(&image, block, e->tag)
                                            : image.bytes - LAYOUT_TRAILER_BYTES;
        assert_true(place > 0);
        uint8_t value[16];
        memset(value, e->value == UINT64_MAX ? 0xff : 0, sizeof value);
        store64(value, e->value);
        memcpy(image.data + place + e->at, value, e->bytes);
        image_repair(&image);
        err = (struct error){"it was accepted"};
        image_check(&image, 0, NULL, &err);
        if (!strstr(err.text, e->what))
            fail_msg("edit %zu: '%s' expected, but: %s", i, e->what, err.text);
        free(image.data);
    }
    free(plain.data);
}

/* Ops that are well-formed but break the rules are found by the check, with the block's offset. */
static void broken_rules(void **state)
{
    (void)state;
    char message[128];
    struct trace_op ops[] = {
        {.kind = TRACE_ALLOC, .object = 0, .size = 5, .scope = TRACE_NO_SCOPE},
        {.kind = TRACE_ALLOC, .object = 1, .size = 5, .scope = TRACE_NO_SCOPE},
        {.kind = TRACE_FREE, .object = 0, .scope = TRACE_NO_SCOPE},
        {.kind = TRACE_FREE, .object = 1, .scope = TRACE_NO_SCOPE},
    };
    int fd = trace_maker_file(ops, COUNT(ops));
    struct image packed = image_read(fd), image = image_unpack(&packed);
    size_t block = image_block(&image, 1);
    image.data[image_column(&image, block, LAYOUT_REFERENCE) + 1] = 1 << 2; /* object 0 again */
    image_repair(&image);
    snprintf(message, sizeof message, "image: offset %zu: record 3: object 0 is not live any more",
             block);
    refused(&image, message);
    close(fd);
    free(packed.data);
    free(image.data);
}

/* A few KiB that claim to decompress to a lot are refused before they are. */
static void decompression_bomb(void **state)
{
    (void)state;
    struct error err;
    struct image image = image_copy(&big);
    size_t block = image_block(&image, 1), entry = image_entry(&image, block, LAYOUT_SIZE);
    assert_int_equal(load16(image.data + entry + 2), LAYOUT_ZSTD);
    store32(image.data + entry + 8,
            9 * LAYOUT_BLOCK_RECORDS); /* the most that is possible: but false */
    image_repair(&image);
    assert_int_equal(image_check(&image, 0, NULL, &err), -1);
    assert_non_null(strstr(err.text, "column 4 holds "));
    store32(image.data + entry + 8, 9 * LAYOUT_BLOCK_RECORDS + 1);
    image_repair(&image);
    assert_int_equal(image_check(&image, 0, NULL, &err), -1);
    assert_non_null(strstr(err.text, "column 4 of 294913 bytes: at most 294912 are possible"));
    store32(image.data + entry + 8, 100); /* less than it holds */
    image_repair(&image);
    assert_int_equal(image_check(&image, 0, NULL, &err), -1);
    assert_non_null(strstr(err.text, "column 4 does not decompress: "));
    free(image.data);
}

/* ---- what a later version may add ---- */

static void unknown_parts_are_skipped(void **state)
{
    (void)state;
    struct error err;
    uint64_t records;
    struct image image = image_unpack(&small);
    size_t ops = image_block(&image, 1), columns = load32(image.data + ops + 12);
    uint8_t entry[LAYOUT_ENTRY_BYTES] = {0};

    /* a column with a tag of the future, first in the directory and in the data */
    store16(entry, 1000);
    store16(entry + 2, 77); /* even its codec may be unknown */
    store32(entry + 4, 5);
    store32(entry + 8, UINT32_MAX);
    image_insert(&image, ops + LAYOUT_BLOCK_BYTES + columns * LAYOUT_ENTRY_BYTES, "abcde", 5);
    image_insert(&image, ops + LAYOUT_BLOCK_BYTES, entry, sizeof entry);
    store32(image.data + ops + 12, (uint32_t)columns + 1);
    store64(image.data + ops + 16, load64(image.data + ops + 16) + 5 + sizeof entry);

    /* and a block of an unknown type before the index */
    uint8_t block[LAYOUT_BLOCK_BYTES + 7] = {0};
    memcpy(block + 8, "NEW!", 4);
    store64(block + 16, 7);
    store64(block + 24, 12345);
    image_insert(&image, image_block(&image, 2), block, sizeof block);
    store64(image.data + image.bytes - LAYOUT_TRAILER_BYTES, image_block(&image, 3));
    image_repair(&image);
    assert_int_equal(image_check(&image, 0, &records, &err), 0);
    assert_int_equal(records, 60);
    assert_int_equal(image_check(&image, TRACE_SALVAGE, &records, &err), 0);
    assert_int_equal(records, 60);
    free(image.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(torn_at_every_byte),
        cmocka_unit_test(torn_at_block_borders),
        cmocka_unit_test(salvage_to_the_damage),
        cmocka_unit_test(every_bit_flipped),
        cmocka_unit_test(strange_files),
        cmocka_unit_test(hostile_fields),
        cmocka_unit_test(broken_rules),
        cmocka_unit_test(decompression_bomb),
        cmocka_unit_test(unknown_parts_are_skipped),
    };
    return cmocka_run_group_tests_name("corrupt_trace", tests, images_make, images_free);
}
