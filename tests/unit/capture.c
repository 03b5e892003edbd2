/*
 * capture.c - captures made by hand, converted: what each oddity becomes and is counted as, and how
 * a damaged file is refused. What a correct program leaves is tested with real ones, in
 * tests/record.
 */
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

enum { MAX_RECORDS = 32 };

static char folder[] = "/tmp/alloclab-capture-XXXXXX";

static struct capture_record record(enum capture_kind kind, uint32_t thread, uint64_t address,
                                    uint64_t size)
{
    return (struct capture_record){
        .kind = (uint8_t)kind, .thread = thread, .address = address, .size = size};
}

static struct capture_record flagged(struct capture_record r, unsigned flags)
{
    r.flags = (uint8_t)flags;
    return r;
}

static void header_default(struct capture_header *h)
{
    *h = (struct capture_header){.magic = CAPTURE_MAGIC,
                                 .header_bytes = CAPTURE_HEADER_BYTES,
                                 .record_bytes = CAPTURE_RECORD_BYTES,
                                 .recorder = CAPTURE_RECORDER,
                                 .program = "by-hand"};
}

/* Writes folder/NAME; returns its path, which the next call overwrites. */
static const char *file_write(const char *name, const struct capture_header *h,
                              const struct capture_record *records, size_t count, size_t cut)
{
    static char path[128];
    static unsigned char bytes[CAPTURE_HEADER_BYTES + (MAX_RECORDS + 8) * CAPTURE_RECORD_BYTES];
    memset(bytes, 0, sizeof bytes); /* unused records follow, as in a segment */
    memcpy(bytes, h, sizeof *h);
    memcpy(bytes + CAPTURE_HEADER_BYTES, records, count * sizeof *records);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes - cut, f), sizeof bytes - cut);
    assert_int_equal(fclose(f), 0);
    return path;
}

struct result {
    int status;
    struct capture_report report;
    struct error err;
    struct trace_totals totals;
    struct trace_op ops[MAX_RECORDS * 2];
    size_t count;
};

/* Converts a capture and reads the trace back, without its THREAD_BEGIN ops. */
static void convert(const char *path, struct result *result)
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
    while (trace_next(in, &result->ops[result->count], &result->err) > 0)
        result->count += result->ops[result->count].kind != TRACE_THREAD_BEGIN;
    trace_close(in);
    fclose(trace);
}

static void convert_records(const struct capture_record *records, size_t count,
                            struct result *result)
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
    const struct capture_record records[] = {
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

static void address_given_out_while_live_is_an_inversion(void **state)
{
    (void)state;
    const struct capture_record records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10),
        record(CAPTURE_ALLOC, 1, 0x1000, 11),
        record(CAPTURE_FREE, 1, 0x1000, 0),
    };
    struct result r = {0};
    convert_records(records, 3, &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.odd.double_allocs, 1);
    assert_int_equal(r.report.odd.first_odd_line, 2);
    assert_op(&r, 1, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 2, TRACE_ALLOC, 0, 1, 11);
    assert_int_equal(r.totals.end_live_objects, 0);
    r.report.odd.strict = true;
    convert(file_write("a.capture", &(struct capture_header){0}, records, 0, 0), &r);
    assert_int_equal(r.status, -1); /* not a capture; and a strict one: */
    r.report.odd.strict = true;
    convert_records(records, 3, &r);
    assert_int_equal(r.status, -1);
    assert_non_null(strstr(r.err.text, "record 2: given out while live: 0x1000"));
}

static void unknown_addresses_are_dropped_or_taken_as_new(void **state)
{
    (void)state;
    const struct capture_record records[] = {
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

static void unfilled_and_lost_records_are_counted(void **state)
{
    (void)state;
    const struct capture_record records[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10), record(CAPTURE_NONE, 0, 0, 0),
        record(CAPTURE_REALLOC_BEGIN, 1, 0x1000, 20), /* killed in there: it never returned */
    };
    struct capture_header h;
    header_default(&h);
    h.lost_records = 5;
    struct result r = {0};
    convert(file_write("a.capture", &h, records, 3, 0), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.report.unfilled_records, 1);
    assert_int_equal(r.report.lost_records, 5);
    assert_int_equal(r.totals.ops, 1);
    assert_int_equal(r.totals.end_live_objects, 1);
}

static void threads_end_after_their_last_op_and_time_never_runs_back(void **state)
{
    (void)state;
    struct capture_record records[] = {
        record(CAPTURE_ALLOC, 7, 0x1000, 10), record(CAPTURE_THREAD_END, 7, 0, 0),
        record(CAPTURE_ALLOC, 3, 0x2000, 10), record(CAPTURE_FREE, 7, 0x1000, 0),
        record(CAPTURE_FREE, 3, 0x2000, 0),
    };
    static const uint64_t clocks[] = {1000, 1010, 1005, 990, 1030};
    static const uint64_t expected[] = {0, 10, 10, 10, 30};
    for (int i = 0; i < 5; i++)
        records[i].clock_ns = clocks[i];
    struct capture_header h;
    header_default(&h);
    h.clock = 1;
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
    const struct capture_record parent[] = {
        record(CAPTURE_ALLOC, 1, 0x1000, 10), record(CAPTURE_ALLOC, 1, 0x2000, 20),
        record(CAPTURE_ALLOC, 1, 0x3000, 30), record(CAPTURE_FREE, 1, 0x2000, 0),
        record(CAPTURE_FREE, 1, 0x1000, 0), /* after the fork */
    };
    const struct capture_record child[] = {
        record(CAPTURE_FREE, 1, 0x1000, 0),
        record(CAPTURE_ALLOC, 1, 0x2000, 21),
    };
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    file_write("parent.capture", &h, parent, 5, 0);
    h.parent_records = 4;
    h.fork_thread = 1;
    strcpy(h.parent, "parent.capture");
    convert(file_write("child.capture", &h, child, 2, 0), &r);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 4);
    assert_op(&r, 0, TRACE_LIVE, 0, 0, 10);
    assert_op(&r, 1, TRACE_LIVE, 0, 1, 30);
    assert_op(&r, 2, TRACE_FREE, 0, 0, 0);
    assert_op(&r, 3, TRACE_ALLOC, 0, 2, 21);
    assert_int_equal(r.report.inherited_objects, 2);

    strcpy(h.parent, "child.capture"); /* its own parent: must end */
    convert(file_write("child.capture", &h, child, 2, 0), &r);
    assert_int_equal(r.status, -1);
    assert_non_null(strstr(r.err.text, "ancestors"));
}

static void damaged_captures_are_refused(void **state)
{
    (void)state;
    struct capture_record odd = record(CAPTURE_KINDS, 1, 0, 0);
    struct capture_header h;
    struct result r = {0};
    header_default(&h);
    convert(file_write("a.capture", &h, &odd, 1, 0), &r);
    assert_non_null(strstr(r.err.text, "a.capture: offset 65536: a record of unknown kind"));
    convert(file_write("a.capture", &h, &odd, 0, CAPTURE_HEADER_BYTES), &r);
    assert_non_null(strstr(r.err.text, "too short for a capture"));
    h.record_bytes = 24;
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
        cmocka_unit_test(address_given_out_while_live_is_an_inversion),
        cmocka_unit_test(unknown_addresses_are_dropped_or_taken_as_new),
        cmocka_unit_test(unfilled_and_lost_records_are_counted),
        cmocka_unit_test(threads_end_after_their_last_op_and_time_never_runs_back),
        cmocka_unit_test(child_inherits_what_is_live_at_the_fork),
        cmocka_unit_test(damaged_captures_are_refused),
    };
    return cmocka_run_group_tests_name("capture", tests, folder_make, folder_remove);
}
