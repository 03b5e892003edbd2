/*
 * trace_ahead.c - a reader that decodes ahead on a thread hands out what one does that does not: the
 * same ops, one by one and in batches, from the front, from any block, and again; of a damaged file
 * the same ops before the damage, and the same words about it; and it may be closed at any op.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/layout.h"

enum { BLOCKS = 7, OPS = BLOCKS * LAYOUT_BLOCK_RECORDS - 1000 };

static struct image image, plain; /* plain: columns as they are */

static int images_make(void **state)
{
    (void)state;
    struct trace_op *ops = trace_maker_ops(1, OPS, MAKER_ALL);
    int fd = trace_maker_file(ops, OPS);
    image = image_read(fd);
    plain = image_unpack(&image);
    close(fd);
    free(ops);
    return 0;
}

static int images_free(void **state)
{
    (void)state;
    free(image.data);
    free(plain.data);
    return 0;
}

static struct trace_reader *opened(const struct image *from, unsigned flags)
{
    struct error err;
    struct trace_reader *r = image_open(from, flags, &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static uint64_t op_hash(uint64_t hash, const struct trace_op *op)
{
    const uint64_t fields[] = {op->kind, op->flags, op->align_log2, op->thread, op->object,
                               op->size, op->scope, op->clock_ns,   op->site};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        hash = (hash ^ fields[i]) * UINT64_C(0x9e3779b97f4a7c15) + (hash >> 29);
    return hash;
}

struct outcome {
    uint64_t ops, hash, offset;
    int got;
    struct error err;
};

/* Reads at most `most` ops, in batches of up to `batch`, or one by one if that is 0. */
static struct outcome read_on(struct trace_reader *r, uint64_t most, uint32_t batch)
{
    struct outcome o = {.got = 1};
    while (o.ops < most) {
        struct trace_batch b = {.count = 1};
        struct trace_op op;
        uint64_t left = most - o.ops;
        o.got = batch ? trace_next_batch(r, batch < left ? batch : (uint32_t)left, &b, &o.err)
                      : trace_next(r, &op, &o.err);
        if (o.got <= 0)
            break;
        for (uint32_t i = 0; i < b.count; i++) {
            if (batch)
                op = trace_batch_op(&b, i);
            o.hash = op_hash(o.hash, &op);
        }
        o.ops += b.count;
    }
    o.offset = trace_offset(r);
    return o;
}

static void same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->ops, b->ops);
    assert_int_equal(a->hash, b->hash);
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->got, b->got);
    if (a->got < 0)
        assert_string_equal(a->err.text, b->err.text);
}

static void same_ops(void **state)
{
    (void)state;
    static const uint32_t batches[] = {0, 1, 100, 1 << 20};
    for (unsigned flags = 0; flags <= TRACE_SKIP_CLOCK; flags += TRACE_SKIP_CLOCK)
        for (unsigned i = 0; i < 4; i++) {
            struct trace_reader *alone = opened(&image, flags);
            struct trace_reader *ahead = opened(&image, flags | TRACE_AHEAD);
            struct outcome a = read_on(alone, UINT64_MAX, 0);
            struct outcome b = read_on(ahead, UINT64_MAX, batches[i]);
            same(&a, &b);
            assert_int_equal(a.ops, OPS);
            assert_int_equal(a.got, 0);
            trace_close(alone);
            trace_close(ahead);
        }
}

static void other_places(void **state)
{
    (void)state;
    struct error err;
    struct trace_reader *alone = opened(&image, 0), *ahead = opened(&image, TRACE_AHEAD);
    for (uint64_t i = 0; i < 16; i++) {
        uint64_t ops = i * i * 3001 % (OPS + 1000), block = i * 5 % (BLOCKS + 1);
        struct outcome a = read_on(alone, ops, 0), b = read_on(ahead, ops, i % 3 * 50);
        same(&a, &b);
        if (i % 4 == 0) {
            assert_int_equal(trace_rewind(alone, &err), 0);
            assert_int_equal(trace_rewind(ahead, &err), 0);
        } else {
            trace_seek(alone, block);
            trace_seek(ahead, block);
        }
    }
    trace_close(alone);
    trace_close(ahead);
}

/* One byte of a column of the block is another, checksums are right. */
static void damaged(unsigned block, unsigned tag, size_t byte, uint8_t value)
{
    struct image bad = image_copy(&plain);
    size_t at = image_block(&bad, block), column = image_column(&bad, at, tag);
    if (!column) { /* threads, where one alone is left */
        assert_int_equal(tag, LAYOUT_THREAD);
        free(bad.data);
        return;
    }
    bad.data[column + byte] = value;
    image_repair(&bad);
    for (uint32_t batch = 0; batch <= 60; batch += 60) {
        struct trace_reader *alone = opened(&bad, 0), *ahead = opened(&bad, TRACE_AHEAD);
        struct outcome a = read_on(alone, UINT64_MAX, 0), b = read_on(ahead, UINT64_MAX, batch);
        assert_int_equal(a.got, -1);
        same(&a, &b);
        a = read_on(alone, 1, 0); /* it stays refused */
        b = read_on(ahead, 1, 0);
        assert_int_equal(a.got, -1);
        same(&a, &b);
        trace_close(alone);
        trace_close(ahead);
    }
    free(bad.data);
}

static void same_refusals(void **state)
{
    (void)state;
    for (unsigned block = 1; block <= BLOCKS; block += 2) { /* 0 has the meta pairs */
        damaged(block, LAYOUT_OP, 5000, 0xff);
        damaged(block, LAYOUT_BASE, 0, 1);
        damaged(block, LAYOUT_THREAD, 0, 0xfe);
    }
}

static void closed_early(void **state)
{
    (void)state;
    for (uint64_t ops = 0; ops < OPS; ops += 50021) {
        struct trace_reader *r = opened(&image, TRACE_AHEAD);
        assert_int_equal(read_on(r, ops, 64).ops, ops);
        trace_close(r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_ops),
        cmocka_unit_test(other_places),
        cmocka_unit_test(same_refusals),
        cmocka_unit_test(closed_early),
    };
    return cmocka_run_group_tests_name("trace_ahead", tests, images_make, images_free);
}
