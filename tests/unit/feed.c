/*
 * feed.c - a writer that works apart: the file is the same to the byte as without, for any number of ops
 * around its batches; with sites that are found on the way it is the same each time, and has them all; and an op that the rules refuse is told of, at the latest in the end.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/feed.h"

/* The file that comes of the ops; `failed`: an op was refused, `err` says why. */
static struct image fed(const struct trace_op *ops, size_t count, bool apart, bool *failed,
                        struct error *err)
{
    struct error ignored;
    struct trace_feed feed;
    struct image image = {NULL, 0};
    int fd = memfd_create("fed", MFD_CLOEXEC);
    struct trace_writer *w = trace_create_fd(fd, err);
    assert_non_null(w);
    *failed = false;
    trace_feed_open(&feed, w, NULL, apart);
    for (size_t i = 0; i < count && !*failed; i++) {
        *trace_feed_slot(&feed) = ops[i];
        *failed = trace_feed_put(&feed, err) != 0;
    }
    if (trace_feed_close(&feed, *failed ? &ignored : err))
        *failed = true;
    if (*failed) {
        trace_abandon(w);
    } else {
        assert_int_equal(trace_finish(w, err), 0);
        image = image_read(fd);
    }
    close(fd);
    return image;
}

static void same_bytes(void **state)
{
    static const size_t counts[] = {0,
                                    1,
                                    FEED_ALONE - 1,
                                    FEED_ALONE,
                                    FEED_ALONE + 1,
                                    FEED_ALONE + FEED_BATCH,
                                    FEED_ALONE + FEED_BATCH + 1,
                                    FEED_ALONE + 2 * FEED_BATCH + 77};
    (void)state;
    struct trace_op *ops = trace_maker_ops(7, 3 * FEED_BATCH, MAKER_ALL);
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct error err;
        bool failed;
        struct image apart = fed(ops, counts[i], true, &failed, &err);
        assert_false(failed);
        struct image plain = fed(ops, counts[i], false, &failed, &err);
        assert_false(failed);
        assert_int_equal(apart.bytes, plain.bytes);
        assert_memory_equal(apart.data, plain.data, plain.bytes);
        free(apart.data);
        free(plain.data);
    }
    free(ops);
}

/* A table that grows with the ops: what an op's site stands for is in the file before the op. */
static struct image fed_with_sites(size_t count, bool apart)
{
    struct error err;
    struct trace_feed feed;
    struct sites *sites = sites_new();
    int fd = memfd_create("fed", MFD_CLOEXEC);
    struct trace_writer *w = trace_create_fd(fd, &err);
    assert_non_null(w);
    assert_non_null(sites);
    trace_feed_open(&feed, w, sites, apart);
    for (size_t i = 0; i < count; i++) {
        struct site_place place = {.offset = i / 7};
        uint32_t frame = sites_frame(sites, 0, sites_place(sites, &place, &err), &err);
        *trace_feed_slot(&feed) = (struct trace_op){.object = i,
                                                    .size = 8,
                                                    .scope = TRACE_NO_SCOPE,
                                                    .site = sites_of_frame(sites, frame, &err)};
        assert_int_equal(trace_feed_put(&feed, &err), 0);
    }
    assert_int_equal(trace_feed_close(&feed, &err), 0);
    assert_int_equal(trace_finish(w, &err), 0);
    sites_free(sites);
    struct image image = image_read(fd);
    close(fd);
    return image;
}

static void sites_on_the_way(void **state)
{
    static const size_t counts[] = {1, FEED_ALONE, FEED_ALONE + FEED_BATCH, 3 * FEED_BATCH + 77};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof counts / sizeof *counts; i++) {
        struct error err;
        struct trace_op op;
        struct image image = fed_with_sites(counts[i / 2], i % 2), again;
        struct trace_reader *r = image_open(&image, 0, &err);
        assert_non_null(r);
        const struct sites *sites = trace_reader_sites(r, &err);
        assert_non_null(sites);
        for (size_t n = 0; n < counts[i / 2]; n++) {
            assert_int_equal(trace_next(r, &op, &err), 1);
            uint32_t frame = sites_find(sites, op.site);
            assert_int_not_equal(frame, 0);
            assert_int_equal(sites_place_at(sites, sites_frame_place(sites, frame)).offset, n / 7);
        }
        trace_close(r);
        again = fed_with_sites(counts[i / 2], i % 2);
        assert_int_equal(again.bytes, image.bytes);
        assert_memory_equal(again.data, image.data, image.bytes);
        free(image.data);
        free(again.data);
    }
}

static void refused_op(void **state)
{
    static const size_t places[] = {0, FEED_ALONE, FEED_ALONE + FEED_BATCH, 3 * FEED_BATCH - 1};
    (void)state;
    struct trace_op *ops = trace_maker_ops(8, 3 * FEED_BATCH, MAKER_ALL);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int apart = 0; apart < 2; apart++) {
            struct error err = {""};
            struct trace_op kept = ops[places[i]];
            bool failed;
            char record[32];
            ops[places[i]] =
                (struct trace_op){.kind = TRACE_FREE, .object = 1 << 30, .scope = TRACE_NO_SCOPE};
            fed(ops, 3 * FEED_BATCH, apart, &failed, &err);
            ops[places[i]] = kept;
            snprintf(record, sizeof record, "record %zu: object", places[i]);
            assert_true(failed);
            assert_non_null(strstr(err.text, record));
        }
    free(ops);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(sites_on_the_way),
        cmocka_unit_test(refused_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
