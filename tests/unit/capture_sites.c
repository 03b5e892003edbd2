/*
 * capture_sites.c - what captures say of sites, made by hand and converted: tables of lanes meet in
 * one, are forgotten, and each kind of damage is refused. What the recorder really leaves is tested
 * in tests/record.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "traces/formats/capture.h"
#include "traces/recorder/capture.h"
#include "traces/sites.h"

enum { LANES = 2, MAX_OPS = 16 };

static unsigned char bytes[CAPTURE_HEADER_BYTES + LANES * CAPTURE_CELL_BYTES];
static char path[] = "/tmp/alloclab-capture-sites-XXXXXX";

static struct capture_chunk *chunk(unsigned lane)
{
    return (void *)(bytes + CAPTURE_HEADER_BYTES + (lane - 1) * CAPTURE_CELL_BYTES);
}

static int begin(void **state)
{
    (void)state;
    memset(bytes, 0, sizeof bytes);
    struct capture_header h = {.magic = CAPTURE_MAGIC,
                               .header_bytes = CAPTURE_HEADER_BYTES,
                               .room_bytes = CAPTURE_ROOM_BYTES,
                               .ticks_per_s = 1000000000,
                               .recorder = CAPTURE_RECORDER,
                               .program = "by-hand",
                               .sites = CAPTURE_SITES_STACK};
    memcpy(bytes, &h, sizeof h);
    for (unsigned lane = 1; lane <= LANES; lane++)
        *chunk(lane) = (struct capture_chunk){.magic = CAPTURE_CHUNK_MAGIC + CAPTURE_HEADER_BYTES +
                                                       (lane - 1) * CAPTURE_CELL_BYTES,
                                              .lane = lane,
                                              .thread = lane};
    return 0;
}

static void add(unsigned lane, uint64_t word)
{
    struct capture_chunk *c = chunk(lane);
    ((uint64_t *)(c + 1))[c->words++] = word;
}

static void add_text(unsigned lane, const char *text, size_t count)
{
    char words[64] = {0};
    memcpy(words, text, count);
    for (size_t i = 0; i < (count + 7) / 8; i++) {
        uint64_t word;
        memcpy(&word, words + 8 * i, 8);
        add(lane, word);
    }
}

static void add_module(unsigned lane, const char *build, const char *name)
{
    add(lane, CAPTURE_MODULE | (uint64_t)strlen(build) << CAPTURE_BUILD_AT |
                  (uint64_t)strlen(name) << CAPTURE_NAME_AT);
    add_text(lane, build, strlen(build));
    add_text(lane, name, strlen(name));
}

static void add_node(unsigned lane, uint64_t caller, uint64_t module, uint64_t offset)
{
    add(lane, CAPTURE_NODE | caller << CAPTURE_CALLER_AT | module << CAPTURE_MODULE_AT);
    add(lane, offset);
}

static void add_site(unsigned lane, uint64_t node)
{
    add(lane, CAPTURE_SITE | node << CAPTURE_CALLER_AT);
}

static void add_alloc(unsigned lane, uint64_t stamp, uint64_t address)
{
    add(lane, CAPTURE_LONG | (uint64_t)CAPTURE_ALLOC << 4);
    add(lane, stamp);
    add(lane, address);
    add(lane, 10);
}

struct result {
    int status;
    struct error err;
    struct trace_op ops[MAX_OPS];
    size_t count;
    struct trace_reader *in;
    const struct sites *sites;
    FILE *file;
};

/* Converts, and reads the trace back; result_end() is due if it worked. */
static void convert(struct result *r, bool paths)
{
    const struct capture_options options = {.clock = true, .paths = paths};
    struct capture_report report = {0};
    *r = (struct result){.file = tmpfile()};
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, sizeof bytes, f), sizeof bytes);
    assert_int_equal(fclose(f), 0);
    struct trace_writer *out = trace_create_fd(fileno(r->file), &r->err);
    assert_non_null(out);
    r->status = capture_convert(path, out, &options, &report, &r->err);
    if (r->status) {
        trace_abandon(out);
        fclose(r->file);
        return;
    }
    assert_int_equal(trace_finish(out, &r->err), 0);
    rewind(r->file);
    r->in = trace_open_fd(fileno(r->file), "converted", 0, &r->err);
    assert_non_null(r->in);
    while (r->count < MAX_OPS && trace_next(r->in, &r->ops[r->count], &r->err) > 0)
        r->count += r->ops[r->count].kind != TRACE_THREAD_BEGIN;
    r->sites = trace_reader_sites(r->in, &r->err);
    assert_non_null(r->sites);
}

static void result_end(struct result *r)
{
    trace_close(r->in);
    fclose(r->file);
}

/* The op's site is a stack of `depth` frames, innermost first: offsets in modules of these names. */
static void assert_stack(const struct result *r, size_t op, unsigned depth,
                         const char *const *names, const uint64_t *offsets)
{
    assert_true(op < r->count);
    uint32_t frame = sites_find(r->sites, r->ops[op].site);
    for (unsigned i = 0; i < depth; i++) {
        assert_int_not_equal(frame, 0);
        struct site_place p = sites_place_at(r->sites, sites_frame_place(r->sites, frame));
        assert_int_equal(p.offset, offsets[i]);
        if (names[i])
            assert_string_equal(sites_module_at(r->sites, p.module).name, names[i]);
        else
            assert_int_equal(p.module, 0);
        frame = sites_frame_caller(r->sites, frame);
    }
    assert_int_equal(frame, 0);
}

static void tables_of_lanes_meet_in_one(void **state)
{
    (void)state;
    struct result r;
    add_module(1, "\x01\xab", "/usr/lib/libone.so");
    add_module(1, "", "program");
    add_node(1, 0, 2, 0x500);
    add_node(1, 1, 1, 0x700);
    add_site(1, 2);
    add_alloc(1, 1000, 0x1000);
    add_module(2, "", "program"); /* the same, in another order and with other numbers */
    add_module(2, "\x01\xab", "/usr/lib/libone.so");
    add_node(2, 0, 0, 0);
    add_node(2, 0, 1, 0x500);
    add_node(2, 2, 2, 0x700);
    add_site(2, 3);
    add_alloc(2, 2000, 0x2000);
    add_site(2, 1);
    add_alloc(2, 3000, 0x3000);
    add_alloc(2, 4000, 0x4000);
    convert(&r, false);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 4);
    static const char *const names[] = {"libone.so", "program"};
    assert_stack(&r, 0, 2, names, (const uint64_t[]){0x700, 0x500});
    assert_int_equal(r.ops[0].site, r.ops[1].site);
    assert_stack(&r, 2, 1, (const char *const[]){NULL}, (const uint64_t[]){SITE_NO_OFFSET});
    assert_int_equal(r.ops[3].site, 0);
    assert_int_equal(sites_count(r.sites, SITES_MODULE), 2);
    assert_int_equal(sites_count(r.sites, SITES_FRAME), 3);
    assert_string_equal(sites_module_at(r.sites, 1).build, "01ab");
    assert_string_equal(sites_module_at(r.sites, 1).path, "");
    result_end(&r);

    convert(&r, true);
    assert_string_equal(sites_module_at(r.sites, 1).path, "/usr/lib/libone.so");
    assert_string_equal(sites_module_at(r.sites, 2).path, "");
    result_end(&r);
}

static void what_is_forgotten_is_counted_anew(void **state)
{
    (void)state;
    struct result r;
    add_module(1, "", "one");
    add_node(1, 0, 1, 0x10);
    add_site(1, 1);
    add_alloc(1, 1000, 0x1000);
    add(1, CAPTURE_FORGET);
    add_module(1, "", "two");
    add_node(1, 0, 1, 0x10);
    add_site(1, 1);
    add_alloc(1, 2000, 0x2000);
    add(1, CAPTURE_FORGET); /* and nothing after it */
    convert(&r, false);
    assert_int_equal(r.count, 2);
    assert_stack(&r, 0, 1, (const char *const[]){"one"}, (const uint64_t[]){0x10});
    assert_stack(&r, 1, 1, (const char *const[]){"two"}, (const uint64_t[]){0x10});
    result_end(&r);
}

/* A killed process may have explained a site that no record names yet. */
static void a_lane_without_events_is_none(void **state)
{
    (void)state;
    struct result r;
    add_module(2, "", "one");
    add_node(2, 0, 1, 0x10);
    add_alloc(1, 1000, 0x1000);
    convert(&r, false);
    assert_int_equal(r.status, 0);
    assert_int_equal(r.count, 1);
    result_end(&r);
}

/* Sites change neither when events are nor their order. */
static void records_of_sites_take_no_time(void **state)
{
    (void)state;
    struct result r;
    uint64_t soon = CAPTURE_FREE_NULL;
    add_alloc(1, 1000, 0x1000);
    for (int i = 0; i < 3; i++) {
        add_node(1, 0, 0, 0);
        add(1, soon);
    }
    add(1, CAPTURE_FREE_NULL | UINT64_C(400) << CAPTURE_KIND_BITS);
    convert(&r, false);
    assert_int_equal(r.count, 5);
    static const uint64_t clocks[] = {0, 100, 200, 300, 400};
    for (int i = 0; i < 5; i++)
        assert_int_equal(r.ops[i].clock_ns, clocks[i]);
    result_end(&r);
}

static void refused(const char *what)
{
    struct result r;
    convert(&r, false);
    assert_int_equal(r.status, -1);
    if (!strstr(r.err.text, what))
        fail_msg("%s: not about %s", r.err.text, what);
}

static void damage_is_refused(void **state)
{
    add_site(1, 1);
    add_alloc(1, 1000, 0x1000);
    refused("offset 65664: a damaged record of a site"); /* a node that is not there */

    begin(state);
    add_node(1, 0, 0, 0);
    add_node(1, 2, 0, 0);
    add_alloc(1, 1000, 0x1000);
    refused("offset 65680: a damaged record of a site"); /* its own caller */

    begin(state);
    add_node(1, 0, 1, 0);
    add_alloc(1, 1000, 0x1000);
    refused("a damaged record of a site"); /* a module that is not there */

    begin(state);
    add_alloc(1, 1000, 0x1000);
    add(1, CAPTURE_NODE);
    refused("a damaged record of a site"); /* cut short */

    begin(state);
    add_alloc(1, 1000, 0x1000);
    add(1, CAPTURE_MODULE | UINT64_C(65535) << CAPTURE_NAME_AT);
    refused("a damaged record of a site");

    begin(state);
    add_node(1, 0, 0, 0);
    add_alloc(1, 1000, 0x1000);
    add_site(1, 1);
    refused("a site without its record");

    begin(state);
    add_node(1, 0, 0, 0);
    add_site(1, 1);
    add_node(1, 0, 0, 0);
    add_alloc(1, 1000, 0x1000);
    refused("a site without its record");

    begin(state); /* amid short records, which are read in rows */
    add_node(1, 0, 0, 0);
    add_alloc(1, 1000, 0x1000);
    for (unsigned node = 1; node <= 3; node += 2) {
        add_site(1, node);
        add(1, CAPTURE_FREE_NULL);
        add(1, CAPTURE_FREE_NULL);
    }
    refused("offset 65736: a damaged record of a site");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(tables_of_lanes_meet_in_one, begin),
        cmocka_unit_test_setup(what_is_forgotten_is_counted_anew, begin),
        cmocka_unit_test_setup(a_lane_without_events_is_none, begin),
        cmocka_unit_test_setup(records_of_sites_take_no_time, begin),
        cmocka_unit_test_setup(damage_is_refused, begin),
    };
    int fd = mkstemp(path);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    return failed;
}
