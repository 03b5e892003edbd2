/*
 * feed.c - a writer that works apart: the file is the same to the byte as without, for any number of ops
 * around its batches, and an op that the rules refuse is told of, at the latest in the end.
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
                                    FEED_BATCH - 1,
                                    FEED_BATCH,
                                    FEED_BATCH + 1,
                                    2 * FEED_BATCH,
                                    2 * FEED_BATCH + 1,
                                    5 * FEED_BATCH + 77};
    (void)state;
    struct trace_op *ops = trace_maker_ops(7, 6 * FEED_BATCH, MAKER_ALL);
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

static void refused_op(void **state)
{
    static const size_t places[] = {0, FEED_BATCH, 3 * FEED_BATCH, 6 * FEED_BATCH - 1};
    (void)state;
    struct trace_op *ops = trace_maker_ops(8, 6 * FEED_BATCH, MAKER_ALL);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++)
        for (int apart = 0; apart < 2; apart++) {
            struct error err = {""};
            struct trace_op kept = ops[places[i]];
            bool failed;
            char record[32];
            ops[places[i]] =
                (struct trace_op){.kind = TRACE_FREE, .object = 1 << 30, .scope = TRACE_NO_SCOPE};
            fed(ops, 6 * FEED_BATCH, apart, &failed, &err);
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
        cmocka_unit_test(refused_op),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
