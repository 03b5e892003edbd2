/*
 * capture.c - captures made by hand, converted: what each oddity becomes and is counted as, and how
 * a damaged file is refused. What a correct program leaves is tested with real ones, in
 * tests/record.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "traces/formats/capture.h"
#include "traces/recorder/capture.h"

enum { MAX_RECORDS = 32, MAX_LANES = 8, TICKS = 1000000000 /* a second: a stamp is a ns */ };

static char folder[] = "/tmp/alloclab-capture-XXXXXX";

struct by_hand { /* a record, always written in its long form */
    enum capture_kind kind;
    uint32_t thread; /* its lane has the same number */
    uint64_t address, size;
    unsigned flags;
    uint64_t stamp; /* 0: a microsecond after the record before */
};

static struct by_hand record(enum capture_kind kind, uint32_t thread, uint64_t address,
                             uint64_t size)
{
    return (struct by_hand){.kind = kind, .thread = thread, .address = address, .size = size};
}

static struct by_hand flagged(struct by_hand r, unsigned flags)
{
    r.flags = flags;
    return r;
}

static struct by_hand at(struct by_hand r, uint64_t stamp)
{
    r.stamp = stamp;
    return r;
}

static void header_default(struct capture_header *h)
{
    *h = (struct capture_header){.magic = CAPTURE_MAGIC,
                                 .header_bytes = CAPTURE_HEADER_BYTES,
                                 .room_bytes = CAPTURE_ROOM_BYTES,
                                 .by_counter = 1,
                                 .ticks_per_s = TICKS,
                                 .recorder = CAPTURE_RECORDER,
                                 .program = "by-hand"};
}

static unsigned char bytes[CAPTURE_HEADER_BYTES + MAX_LANES * CAPTURE_CELL_BYTES];

/* Writes folder/NAME with what is in `bytes`; returns its path, which the next call overwrites. */
static const char *bytes_write(const char *name, size_t count)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, count, f), count);
    assert_int_equal(fclose(f), 0);
    return path;
}

static struct capture_chunk *chunk(unsigned cell)
{
    return (void *)(bytes + CAPTURE_HEADER_BYTES + cell * CAPTURE_CELL_BYTES);
}

/* An empty chunk in that cell. */
static struct capture_chunk *chunk_make(unsigned cell, uint32_t lane, uint32_t sequence)
{
    struct capture_chunk *c = chunk(cell);
    *c = (struct capture_chunk){.magic = CAPTURE_CHUNK_MAGIC + CAPTURE_HEADER_BYTES +
                                         cell * CAPTURE_CELL_BYTES,
                                .lane = lane,
                                .thread = lane,
                                .sequence = sequence};
    return c;
}

static void chunk_add(struct capture_chunk *c, uint64_t word)
{
    ((uint64_t *)(c + 1))[c->words++] = word;
}

static void chunk_add_long(struct capture_chunk *c, const struct by_hand *r, uint64_t stamp)
{
    chunk_add(c, CAPTURE_LONG | (uint64_t)r->kind << 4 | (uint64_t)r->flags << 12);
    chunk_add(c, stamp);
    chunk_add(c, r->address);
    chunk_add(c, r->size);
}

static const char *file_write(const char *name, const struct capture_header *h,
                              const struct by_hand *records, size_t count, size_t cut)
{
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, h, sizeof *h);
    uint64_t stamp = 0;
    for (size_t i = 0; i < count; i++) {
        const struct by_hand *r = &records[i];
        struct capture_chunk *c = chunk(r->thread - 1);
        if (c->magic == 0)
            chunk_make(r->thread - 1, r->thread, 0);
        stamp = r->stamp ? r->stamp : stamp + 1000;
        chunk_add_long(c, r, stamp);
    }
    return bytes_write(name, sizeof bytes - cut);
}

struct result {
    int status;
    struct capture_report report;
    struct error err;
    struct trace_totals totals;
    struct trace_op ops[MAX_RECORDS * 2];
    size_t count;
};

/* Converts a capture and reads the trace's first ops back, without THREAD_BEGIN. */
static void convert_and_read(const char *path, struct result *result)
{
    static const struct capture_options options = {.clock = true};
    FILE *trace = tmpfile();
    bool strict = result->report.odd.strict;
    memset(result, 0, sizeof *result);
    result->report.odd.strict = strict;
    assert_non_null(trace);
    struct trace_writer *out = trace_create_fd(fileno(trace), &result->err);
    assert_non_null(out);
    result->status = capture_convert(path, out, &options, &result->report, &result->err);
    if (result->status) {
        trace_abandon(out);
        fclose(trace);
        return;
    }
    result->totals = *trace_writer_totals(out);
    assert_int_equal(trace_finish(out, &result->err), 0);
    rewind(trace);
    struct trace_reader *in = trace_open_fd(fileno(trace), "converted", 0, &result->err);
    assert_non_null(in);
    struct trace_op op;
    while (trace_next(in, &op, &result->err) > 0)
        if (op.kind != TRACE_THREAD_BEGIN && result->count < sizeof result->ops / sizeof op)
            result->ops[result->count++] = op;
    trace_close(in);
    fclose(trace);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* Whatever the capture was, no descriptor of it stays open. */
static void convert(const char *path, struct result *result)
{
    unsigned before = open_descriptors();
    convert_and_read(path, result);
    assert_int_equal(open_descriptors(), before);
}

static void convert_records(const struct by_hand *records, size_t count, struct result *result)
{
    struct capture_header h;
    header_default(&h);
    convert(file_write("a.capture", &h, records, count, 0), result);
}

static void assert_op(const struct result *result, size_t i, unsigned kind, unsigned flags,
                      uint64_t object, uint64_t size)
{
    assert_true(i < result->count);
    assert_int_equal(result->ops[i].kind, kind);
    assert_int_equal(result->ops[i].flags, flags);
    assert_int_equal(result->ops[i].object, object);
    assert_int_equal(result->ops[i].size, size);
}

static void realloc_moves_and_its_address_is_given_out_meanwhile(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10),
        record(CAPTURE_REALLOC_BEGIN, 1, 0x1000, 20),
        record(CAPTURE_ALLOC, 2, 0x1000, 30),
        record(CAPTURE_REALLOC_END, 1, 0x2000, 20),
        record(CAPTURE_REALLOC_BEGIN, 2, 0x1000, 40),
        flagged(record(CAPTURE_REALLOC_END, 2, 0, 40), CAPTURE_FAILED),
        record(CAPTURE_FREE, 1, 0x2000, 0),
        record(CAPTURE_FREE, 2, 0x1000, 0),
    };
    struct result r = {0};
    convert_records(records, 8, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 6);
    assert_op(&r, 1, TRACE_ALLOC, 0, 1, 30);
    assert_op(&r, 2, TRACE_REALLOC, 0, 0, 20);
    assert_op(&r, 3, TRACE_REALLOC, TRACE_FAILED, 1, 40);
    assert_op(&r, 4, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 5, TRACE_FREE, 0, 1, 0);
    assert_int_equal(r.report.odd.double_allocs, 0);
    assert_int_equal(r.totals.end_live_objects, 0);
}

static void address_given_out_while_live_ends_what_was_there(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10),
        record(CAPTURE_ALLOC, 1, 0x1000, 11),
        record(CAPTURE_FREE, 1, 0x1000, 0),
    };
    struct result r = {0};
    convert_records(records, 3, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.odd.double_allocs, 1);
    assert_op(&r, 1, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 2, TRACE_ALLOC, 0, 1, 11);
    assert_op(&r, 3, TRACE_FREE, 0, 1, 0);
    assert_int_equal(r.totals.end_live_objects, 0);
    r.report.odd.strict = true;
    convert(file_write("a.capture", &(struct capture_header){0}, records, 0, 0), &r);
    assert_int_equal(r.status, -1); /* not a capture; and a strict one: */
    r.report.odd.strict = true;
    convert_records(records, 3, &r);
    assert_int_equal(r.status, -1);
    assert_non_null(strstr(r.err.text, "record 2: given out while live: 0x1000"));
}

/* Each lane in its own order; lane 1 alone, or lane 2 alone, cannot go first to its end. */
static void equal_stamps_get_an_order_that_is_possible(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        at(record(CAPTURE_FREE, 1, 0x2000, 0), 2000), /* lane 2 makes it */
        at(record(CAPTURE_ALLOC, 1, 0x1000, 10), 2000),
        at(record(CAPTURE_FREE, 1, 0x3000, 0), 2000), /* lane 2, after lane 3 freed it */
        at(record(CAPTURE_ALLOC, 2, 0x2000, 20), 2000),
        at(record(CAPTURE_REALLOC_BEGIN, 2, 0x1000, 30), 2000), /* lane 1 made it */
        at(record(CAPTURE_REALLOC_END, 2, 0x3000, 0), 2000),
        at(record(CAPTURE_ALLOC, 3, 0x3000, 40), 1000),
        at(record(CAPTURE_FREE, 3, 0x3000, 0), 2000),
        at(record(CAPTURE_ALLOC, 3, 0x1000, 50), 2000),
    };
    struct result r = {0};
    r.report.odd.strict = true;
    convert_records(records, 9, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.totals.ops, 8);
    assert_int_equal(r.totals.end_live_objects, 1);
    assert_int_equal(r.totals.end_live_bytes, 50);
    assert_int_equal(r.report.repaired, 1); /* in the order of the lanes: a free of 0x2000 */
}

/* x and y, a and b are given and taken by turns: taking what can be taken first leads astray. */
static void a_choice_that_leads_nowhere_is_taken_back(void **state)
{
    (void)state;
    const uint64_t x = 0x1000, z = 0x2000;
    const struct by_hand records[] = {
        at(record(CAPTURE_ALLOC, 1, x, 1), 1000), /* lane 1 could go first, but then lane 2 is stuck: */
        at(record(CAPTURE_ALLOC, 2, x, 2), 1000), /* x twice, and z is freed only after this one */
        at(record(CAPTURE_ALLOC, 2, z, 3), 1000), at(record(CAPTURE_FREE, 3, z, 0), 1000),
        at(record(CAPTURE_FREE, 3, x, 0), 1000),
    };
    struct result r = {0};
    r.report.odd.strict = true;
    convert_records(records, 5, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.totals.end_live_bytes, 1);
}

static void an_order_that_cannot_be_is_counted(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        at(record(CAPTURE_ALLOC, 1, 0x1000, 1), 1000),
        at(record(CAPTURE_ALLOC, 1, 0x1000, 2), 1000),
        at(record(CAPTURE_FREE, 2, 0x1000, 0), 1000),
        at(record(CAPTURE_FREE, 2, 0x1000, 0), 1000),
        at(record(CAPTURE_FREE, 2, 0x1000, 0), 1000),
        at(record(CAPTURE_FREE, 2, 0x7000, 0), 1000),
    };
    struct result r = {0};
    convert_records(records, 6, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.odd.unknown_frees, 2); /* no more than there must be */
    assert_int_equal(r.report.odd.double_allocs, 0);
    assert_int_equal(r.totals.end_live_objects, 0);
}

/* Lane 1 frees what lane 2 could not make larger, in this stamp and from an earlier one. */
static void a_realloc_that_fails_gives_its_block_back(void **state)
{
    (void)state;
    const struct by_hand end = flagged(record(CAPTURE_REALLOC_END, 2, 0, 0), CAPTURE_FAILED);
    const struct by_hand records[] = {
        at(record(CAPTURE_ALLOC, 2, 0x1000, 10), 1000),
        at(record(CAPTURE_ALLOC, 2, 0x2000, 20), 1000),
        at(record(CAPTURE_REALLOC_BEGIN, 2, 0x1000, UINT64_MAX), 1500),
        at(record(CAPTURE_FREE, 1, 0x2000, 0), 2000),
        at(record(CAPTURE_FREE, 1, 0x1000, 0), 2000),
        at(end, 2000),
        at(record(CAPTURE_REALLOC_BEGIN, 2, 0x2000, UINT64_MAX), 2000),
        at(end, 2000),
    };
    struct result r = {0};
    r.report.odd.strict = true;
    convert_records(records, 8, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.totals.ops, 6);
    assert_int_equal(r.totals.end_live_objects, 0);
}

static void reallocs_nest_in_a_thread(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10),         record(CAPTURE_ALLOC, 1, 0x2000, 20),
        record(CAPTURE_REALLOC_BEGIN, 1, 0x1000, 11), record(CAPTURE_REALLOC_BEGIN, 1, 0x2000, 21),
        record(CAPTURE_REALLOC_END, 1, 0x2000, 0),    record(CAPTURE_REALLOC_END, 1, 0x1000, 0),
    };
    struct result r = {0};
    convert_records(records, 6, &r);
    assert_op(&r, 2, TRACE_REALLOC, 0, 1, 21);
    assert_op(&r, 3, TRACE_REALLOC, 0, 0, 11);
}

static void what_was_freed_while_stopped_ends_when_its_address_returns(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10),
        record(CAPTURE_STOP, 1, 0, 0),
        record(CAPTURE_START, 1, 0, 0),
        record(CAPTURE_ALLOC, 1, 0x1000, 11),
    };
    struct result r = {0};
    convert_records(records, 4, &r);
    assert_int_equal(r.report.unseen_frees, 1);
    assert_int_equal(r.report.stops, 1);
    assert_int_equal(r.report.odd.double_allocs, 0);
    assert_op(&r, 1, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 2, TRACE_ALLOC, 0, 1, 11);
}

/* One that was under way at the stop got what another one, unseen, had freed meanwhile. */
static void calls_under_way_at_a_stop_may_come_after_it(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_STOP, 1, 0, 0),        record(CAPTURE_ALLOC, 1, 0x1000, 10),
        record(CAPTURE_ALLOC, 1, 0x1000, 11), record(CAPTURE_START, 1, 0, 0),
        record(CAPTURE_ALLOC, 1, 0x1000, 12), record(CAPTURE_ALLOC, 1, 0x1000, 13),
    };
    struct result r = {0};
    convert_records(records, 6, &r);
    assert_int_equal(r.report.unseen_frees, 2);
    assert_int_equal(r.report.odd.double_allocs, 1);
}

static void a_realloc_of_null_that_fails_makes_nothing(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_REALLOC_BEGIN, 1, 0, 20),
        flagged(record(CAPTURE_REALLOC_END, 1, 0, 20), CAPTURE_FAILED),
    };
    struct result r = {0};
    convert_records(records, 2, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 1);
    assert_op(&r, 0, TRACE_REALLOC, TRACE_NULL | TRACE_FAILED, TRACE_NO_OBJECT, 20);
}

static void unknown_addresses_are_dropped_or_taken_as_new(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        record(CAPTURE_FREE, 1, 0x1000, 0),
        record(CAPTURE_REALLOC_BEGIN, 1, 0x2000, 8),
        record(CAPTURE_REALLOC_END, 1, 0x3000, 8),
        record(CAPTURE_REALLOC_BEGIN, 1, 0x4000, 0),
        flagged(record(CAPTURE_REALLOC_END, 1, 0, 0), CAPTURE_FAILED),
        record(CAPTURE_SCOPE_END, 1, 9, 0),
        record(CAPTURE_FREE, 1, 0, 0),
    };
    struct result r = {0};
    convert_records(records, 7, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 2);
    assert_op(&r, 0, TRACE_REALLOC, TRACE_NULL, 0, 8);
    assert_op(&r, 1, TRACE_FREE, TRACE_NULL, TRACE_NO_OBJECT, 0);
    assert_int_equal(r.report.odd.unknown_frees, 1);
    assert_int_equal(r.report.odd.unknown_reallocs, 2);
    assert_int_equal(r.report.odd_marks, 1);
}

static void what_follows_the_first_loss_is_left_out(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        at(record(CAPTURE_ALLOC, 1, 0x1000, 10), 1000),
        at(record(CAPTURE_REALLOC_BEGIN, 1, 0x1000, 20), 2000), /* it never returned */
        at(record(CAPTURE_ALLOC, 2, 0x2000, 10), 2000),
        at(record(CAPTURE_ALLOC, 2, 0x3000, 10), 2001),
    };
    struct capture_header h;
    header_default(&h);
    h.lost_records = 5;
    h.started = (struct capture_time){.stamp = 500, .ns = 70500};
    h.lost = (struct capture_time){.stamp = 2000, .ns = 72000};
    struct result r = {0};
    convert(file_write("a.capture", &h, records, 4, 0), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.lost_records, 6);
    assert_int_equal(r.report.lost_at_ns, 1500);
    assert_int_equal(r.totals.ops, 2);
    assert_int_equal(r.totals.end_live_objects, 2);
}

/* The words of docs: a chunk's short forms, each beside the values it must decode to. */
static void short_forms(void **state)
{
    (void)state;
    const uint64_t base = UINT64_C(0x7f0000000000), low = 0x10000;
    struct capture_header h;
    header_default(&h);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &h, sizeof h);
    struct capture_chunk *c = chunk_make(0, 1, 0);
    c->stamp = 5000;
    c->address[0] = low;
    c->address[1] = base;
    chunk_add(c, CAPTURE_ALLOC | 100 << 4 | 1 << 21 | UINT64_C(65535) << 22 | UINT64_C(2) << 38);
    chunk_add(c, CAPTURE_CALLOC | 100 << 4 | UINT64_C(7) << 22 | UINT64_C(-1) << 38);
    chunk_add(c, CAPTURE_REALLOC_BEGIN | 1 << 21 | UINT64_C(9) << 22);
    chunk_add(c, CAPTURE_REALLOC_END | 1 << 21 | UINT64_C(3) << 22);
    chunk_add(c, CAPTURE_REALLOC_NULL | UINT64_C(1) << 40 | UINT64_C(800) << 4);
    chunk_add(c, CAPTURE_REALLOC_END | 1 << 21 | UINT64_C(1) << 22);
    chunk_add(c, CAPTURE_FREE_NULL);
    chunk_add(c, CAPTURE_FREE | 1 << 21 | UINT64_C(-1) << 22);
    chunk_add(c, CAPTURE_FREE_SIZED | UINT64_C(7) << 22);
    struct result r = {0};
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 7);
    assert_op(&r, 0, TRACE_ALLOC, 0, 0, 65535);
    assert_op(&r, 1, TRACE_CALLOC, 0, 1, 7);
    assert_op(&r, 2, TRACE_REALLOC, 0, 0, 9);
    assert_op(&r, 3, TRACE_REALLOC, TRACE_NULL, 2, (UINT64_C(1) << 40) >> 21);
    assert_op(&r, 4, TRACE_FREE, TRACE_NULL, TRACE_NO_OBJECT, 0);
    assert_op(&r, 5, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 6, TRACE_FREE, TRACE_SIZED, 1, 7);
    assert_int_equal(r.ops[1].clock_ns, 100);
    assert_int_equal(r.ops[4].clock_ns, 900);
    assert_int_equal(r.report.odd.unknown_frees + r.report.odd.unknown_reallocs, 0);
}

/* A room and a chunk of the same sequence: the chunk was being written when the process was killed. */
static void a_torn_chunk_is_not_read(void **state)
{
    (void)state;
    const struct by_hand first = record(CAPTURE_ALLOC, 1, 0x1000, 10),
                         torn = record(CAPTURE_ALLOC, 1, 0x2000, 20),
                         whole = record(CAPTURE_ALLOC, 1, 0x2000, 21);
    struct capture_header h;
    header_default(&h);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &h, sizeof h);
    chunk_add_long(chunk_make(1, 1, 0), &first, 1000);
    chunk_add_long(chunk_make(2, 1, 1), &torn, 2000);
    struct capture_chunk *room = chunk_make(3, 1, 1);
    room->type = CAPTURE_ROOM;
    chunk_add_long(room, &whole, 2000);
    struct result r = {0};
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_int_equal(r.count, 2);
    assert_op(&r, 0, TRACE_ALLOC, 0, 0, 10);
    assert_op(&r, 1, TRACE_ALLOC, 0, 1, 21);
    chunk(1)->magic = 0;
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_int_equal(r.status, -1);
    assert_non_null(strstr(r.err.text, "chunk 1 of lane 1 follows a gap"));
}

static void threads_end_after_their_last_op_and_the_clock_has_steps(void **state)
{
    (void)state;
    const struct by_hand records[] = {
        at(record(CAPTURE_ALLOC, 7, 0x1000, 10), 1000),
        at(record(CAPTURE_THREAD_END, 7, 0, 0), 1010),
        at(record(CAPTURE_ALLOC, 3, 0x2000, 10), 1099),
        at(record(CAPTURE_FREE, 7, 0x1000, 0), 1250),
        at(record(CAPTURE_FREE, 3, 0x2000, 0), 1300),
    };
    static const uint64_t expected[] = {0, 0, 200, 200, 300};
    struct capture_header h;
    header_default(&h);
    struct result r = {0};
    convert(file_write("a.capture", &h, records, 5, 0), &r);
    assert_int_equal(r.count, 5);
    assert_int_equal(r.ops[3].kind, TRACE_THREAD_END);
    assert_int_equal(r.ops[3].thread, 0);
    assert_int_equal(r.ops[4].thread, 1);
    for (int i = 0; i < 5; i++)
        assert_int_equal(r.ops[i].clock_ns, expected[i]);
}

static void child_inherits_what_is_live_at_the_fork(void **state)
{
    (void)state;
    const struct by_hand parent[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10), record(CAPTURE_ALLOC, 1, 0x2000, 20),
        record(CAPTURE_ALLOC, 1, 0x3000, 30), record(CAPTURE_FREE, 1, 0x2000, 0),
        record(CAPTURE_FREE, 1, 0x1000, 0),   /* after the fork */
        record(CAPTURE_ALLOC, 2, 0x4000, 40), /* in a lane that began after it */
    };
    const struct by_hand child[] = {
        record(CAPTURE_CUT, 1, 1, 4 * CAPTURE_LONG_WORDS), /* lane 1, sequence 0 */
        record(CAPTURE_FREE, 1, 0x1000, 0),
        record(CAPTURE_ALLOC, 1, 0x2000, 21),
    };
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    file_write("parent.capture", &h, parent, 6, 0);
    h.lanes_at_fork = 1;
    h.fork_thread = 1;
    strcpy(h.parent, "parent.capture");
    convert(file_write("child.capture", &h, child, 3, 0), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 4);
    assert_op(&r, 0, TRACE_LIVE, 0, 0, 10);
    assert_op(&r, 1, TRACE_LIVE, 0, 1, 30);
    assert_op(&r, 2, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 3, TRACE_ALLOC, 0, 2, 21);
    assert_int_equal(r.report.inherited_objects, 2);

    strcpy(h.parent, "child.capture"); /* its own parent: must end */
    convert(file_write("child.capture", &h, child, 3, 0), &r);
    assert_int_equal(r.status, -1);
    assert_non_null(strstr(r.err.text, "child.capture is its own ancestor"));
}

/* Numbers of threads are the recorder's, and any: tables must not grow with them. */
static void numbers_of_threads_may_be_any(void **state)
{
    (void)state;
    const struct by_hand parent[] = {record(CAPTURE_ALLOC, 1, 0x1000, 10)};
    const struct by_hand child[] = {record(CAPTURE_CUT, 1, 1, CAPTURE_LONG_WORDS)};
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    file_write("parent.capture", &h, parent, 1, 0);
    h.lanes_at_fork = 1;
    h.fork_thread = UINT32_MAX;
    strcpy(h.parent, "parent.capture");
    file_write("child.capture", &h, child, 1, 0);
    chunk(0)->thread = UINT32_MAX - 1;
    convert(bytes_write("child.capture", sizeof bytes), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 1);
    assert_op(&r, 0, TRACE_LIVE, 0, 0, 10);

    const struct by_hand two[] = {record(CAPTURE_ALLOC, 1, 0x1000, 10),
                                  record(CAPTURE_ALLOC, 2, 0x2000, 20)};
    header_default(&h);
    file_write("a.capture", &h, two, 2, 0);
    chunk(1)->lane = 1;
    chunk(1)->sequence = 1;
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_non_null(strstr(r.err.text, "chunk 1 of lane 1 is of another thread"));
}

/* As a handler may leave them that jumps out of one: what each would have changed stays as it was. */
static void reallocs_that_never_end_are_given_up(void **state)
{
    enum { BEGINS = 70, KEPT = 64 };
    (void)state;
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &h, sizeof h);
    struct capture_chunk *c = chunk_make(0, 1, 0);
    const struct by_hand alloc = record(CAPTURE_ALLOC, 1, 0x1000, 10);
    const struct by_hand begin = record(CAPTURE_REALLOC_BEGIN, 1, 0, 20);
    const struct by_hand end = record(CAPTURE_REALLOC_END, 1, 0x2000, 0);
    chunk_add_long(c, &alloc, 1000);
    for (unsigned i = 0; i < BEGINS; i++)
        chunk_add_long(c, &begin, 2000);
    chunk_add_long(c, &end, 3000);
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.odd.unreturned_calls, BEGINS - KEPT);
    assert_int_equal(r.totals.ops, 2);
    assert_int_equal(r.totals.end_live_objects, 2);
}

/* Two lanes whose events wait for each other, with many choices on the way: no order exists. */
static void trying_for_an_order_ends(void **state)
{
    enum { EVENTS = 1000 };
    (void)state;
    struct result r = {0};
    struct capture_header h;
    header_default(&h);
    memset(bytes, 0, sizeof bytes);
    memcpy(bytes, &h, sizeof h);
    for (uint32_t lane = 1; lane <= 2; lane++) {
        uint64_t word = CAPTURE_ALLOC, next = UINT64_C(1) << CAPTURE_NEAR_AT;
        struct capture_chunk *c = chunk_make((lane - 1) * 2, lane, 0);
        c->address[0] = lane << 24;
        for (unsigned i = 0; i < EVENTS; i++)
            chunk_add(c, word + next); /* each of its own address: any order will do */
        const struct by_hand wait = record(lane == 1 ? CAPTURE_FREE : CAPTURE_ALLOC, lane, 0x10, 0);
        const struct by_hand last = record(lane == 1 ? CAPTURE_ALLOC : CAPTURE_FREE, lane, 0x20, 0);
        chunk_add_long(c, lane == 1 ? &wait : &last, 0);
        chunk_add_long(c, lane == 1 ? &last : &wait, 0);
    }
    convert(bytes_write("a.capture", sizeof bytes), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.repaired, 0);
    assert_int_equal(r.report.odd.unknown_frees, 1);
}

static void damaged_captures_are_refused(void **state)
{
    (void)state;
    struct by_hand odd = record(CAPTURE_KINDS, 1, 0, 0);
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    convert(file_write("a.capture", &h, &odd, 1, 0), &r);
    assert_non_null(strstr(r.err.text, "a.capture: offset 65664: a record of unknown kind"));
    convert(file_write("a.capture", &h, &odd, 0, sizeof bytes - 100), &r);
    assert_non_null(strstr(r.err.text, "too short for a capture"));
    h.room_bytes = 24;
    convert(file_write("a.capture", &h, &odd, 0, 0), &r);
    assert_non_null(strstr(r.err.text, "offset 8: a capture of another version"));
    header_default(&h);
    h.magic++;
    convert(file_write("a.capture", &h, &odd, 0, 0), &r);
    assert_non_null(strstr(r.err.text, "offset 0: not a capture"));
    header_default(&h);
    memset(h.program, 'x', sizeof h.program);
    convert(file_write("a.capture", &h, &odd, 0, 0), &r);
    assert_non_null(strstr(r.err.text, "the header is damaged"));
    header_default(&h);
    strcpy(h.parent, "../elsewhere.capture");
    convert(file_write("a.capture", &h, &odd, 0, 0), &r);
    assert_non_null(strstr(r.err.text, "the header is damaged"));
    header_default(&h);
    strcpy(h.parent, "missing.capture");
    convert(file_write("a.capture", &h, &odd, 0, 0), &r);
    assert_non_null(strstr(r.err.text, "missing.capture: cannot read: No such file"));
}

static int folder_make(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    char path[128];
    static const char *const names[] = {"a", "parent", "child"};
    for (size_t i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s.capture", folder, names[i]);
        unlink(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(realloc_moves_and_its_address_is_given_out_meanwhile),
        cmocka_unit_test(address_given_out_while_live_ends_what_was_there),
        cmocka_unit_test(equal_stamps_get_an_order_that_is_possible),
        cmocka_unit_test(a_choice_that_leads_nowhere_is_taken_back),
        cmocka_unit_test(an_order_that_cannot_be_is_counted),
        cmocka_unit_test(a_realloc_that_fails_gives_its_block_back),
        cmocka_unit_test(reallocs_nest_in_a_thread),
        cmocka_unit_test(what_was_freed_while_stopped_ends_when_its_address_returns),
        cmocka_unit_test(calls_under_way_at_a_stop_may_come_after_it),
        cmocka_unit_test(a_realloc_of_null_that_fails_makes_nothing),
        cmocka_unit_test(unknown_addresses_are_dropped_or_taken_as_new),
        cmocka_unit_test(what_follows_the_first_loss_is_left_out),
        cmocka_unit_test(short_forms),
        cmocka_unit_test(a_torn_chunk_is_not_read),
        cmocka_unit_test(threads_end_after_their_last_op_and_the_clock_has_steps),
        cmocka_unit_test(child_inherits_what_is_live_at_the_fork),
        cmocka_unit_test(numbers_of_threads_may_be_any),
        cmocka_unit_test(reallocs_that_never_end_are_given_up),
        cmocka_unit_test(trying_for_an_order_ends),
        cmocka_unit_test(damaged_captures_are_refused),
    };
    return cmocka_run_group_tests_name("capture", tests, folder_make, folder_remove);
}
