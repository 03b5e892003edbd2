/*
 * trace.c - what is written is read back, in the binary form and as text; totals are what they
 * should be; whatever breaks the rules is refused in exact words, and leaves the writer as it was.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/check.h"
#include "traces/layout.h"
#include "traces/rules.h"
#include "workloads/lib/rng.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

static const size_t counts[] = {0, 1, 2, 100, 32767, 32768, 32769, 70000};

static struct trace_reader *reader_of(int fd, unsigned flags)
{
    struct error err;
    struct trace_reader *r = trace_open_fd(fd, "made", flags, &err);
    if (!r)
        fail_msg("%s", err.text);
    return r;
}

static void op_equal(const struct trace_op *a, const struct trace_op *b, size_t i)
{
    if (a->kind != b->kind || a->flags != b->flags || a->align_log2 != b->align_log2 ||
        a->thread != b->thread || a->object != b->object || a->size != b->size ||
        a->scope != b->scope || a->clock_ns != b->clock_ns || a->site != b->site)
        fail_msg("op %zu differs: kind %u/%u flags %u/%u align %u/%u thread %u/%u object %" PRIu64
                 "/%" PRIu64 " size %" PRIu64 "/%" PRIu64 " scope %" PRIu64 "/%" PRIu64
                 " clock %" PRIu64 "/%" PRIu64 " site %" PRIu64 "/%" PRIu64,
                 i, a->kind, b->kind, a->flags, b->flags, a->align_log2, b->align_log2, a->thread,
                 b->thread, a->object, b->object, a->size, b->size, a->scope, b->scope, a->clock_ns,
                 b->clock_ns, a->site, b->site);
}

static void ops_equal(struct trace_reader *r, const struct trace_op *ops, size_t count, bool clock)
{
    struct trace_op op;
    struct error err;
    int got;
    size_t i = 0;
    for (; (got = trace_next(r, &op, &err)) > 0; i++) {
        assert_true(i < count);
        struct trace_op want = ops[i];
        want.clock_ns = clock ? want.clock_ns : 0;
        op_equal(&op, &want, i);
    }
    if (got < 0)
        fail_msg("%s", err.text);
    assert_int_equal(i, count);
}

static void round_trip(void **state)
{
    (void)state;
    for (unsigned features = 0; features <= MAKER_ALL; features++)
        for (size_t k = 0; k < COUNT(counts); k++) {
            if (counts[k] > 100 && features != MAKER_ALL && features % 5)
                continue;
            struct trace_op *ops = trace_maker_ops(features, counts[k], features);
            int fd = trace_maker_file(ops, counts[k]);
            struct trace_reader *r = reader_of(fd, 0);
            struct error err;
            struct trace_totals totals;
            assert_false(trace_is_torn(r));
            bool clock = false;
            for (size_t i = 0; i < counts[k]; i++)
                clock |= ops[i].clock_ns != 0;
            assert_int_equal(trace_has_clock(r), clock);
            ops_equal(r, ops, counts[k], true);
            assert_int_equal(trace_rewind(r, &err), 0);
            ops_equal(r, ops, counts[k], true);
            if (trace_check(r, &totals, &err))
                fail_msg("%s", err.text);
            trace_close(r);
            r = reader_of(fd, TRACE_SKIP_CLOCK);
            ops_equal(r, ops, counts[k], false);
            trace_close(r);
            close(fd);
            free(ops);
        }
}

static void read_back(const struct trace_op *ops, size_t count)
{
    int fd = trace_maker_file(ops, count);
    struct trace_reader *r = reader_of(fd, 0);
    ops_equal(r, ops, count, true);
    trace_close(r);
    close(fd);
}

/* Numbers as wide as they may be, and so random that no column of them becomes smaller. */
static void what_cannot_be_compressed(void **state)
{
    enum { OPS = LAYOUT_BLOCK_RECORDS + 100 };
    static struct trace_op ops[OPS];
    (void)state;
    struct rng rng = rng_stream(20261127, 1);
    for (uint32_t i = 0; i < OPS; i++)
        ops[i] = (struct trace_op){.kind = TRACE_ALLOC,
                                   .object = i,
                                   .scope = TRACE_NO_SCOPE,
                                   .size = rng_next(&rng) >> (64 - 40),
                                   .clock_ns = rng_next(&rng),
                                   .site = rng_next(&rng)};
    read_back(ops, OPS);
}

/* And references alone: their block is wider than those of the objects. */
static void frees_in_random_order(void **state)
{
    enum { OBJECTS = 4 * LAYOUT_BLOCK_RECORDS };
    static struct trace_op ops[2 * OBJECTS];
    (void)state;
    struct rng rng = rng_stream(20261127, 2);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        ops[i] =
            (struct trace_op){.kind = TRACE_ALLOC, .object = i, .scope = TRACE_NO_SCOPE, .size = 1};
        ops[OBJECTS + i] = (struct trace_op){.kind = TRACE_FREE, .scope = TRACE_NO_SCOPE};
        uint64_t other = rng_next(&rng) % (i + 1);
        ops[OBJECTS + i].object = ops[OBJECTS + other].object;
        ops[OBJECTS + other].object = i;
    }
    read_back(ops, 2 * OBJECTS);
}

/* Rewinding in the middle of a block starts from the first op again. */
static void rewind_early(void **state)
{
    (void)state;
    struct trace_op op, *ops = trace_maker_ops(7, 40000, MAKER_ALL);
    int fd = trace_maker_file(ops, 40000);
    struct trace_reader *r = reader_of(fd, 0);
    struct error err;
    for (unsigned stop = 1; stop < 40000; stop += 3333) {
        for (unsigned i = 0; i < stop; i++)
            assert_int_equal(trace_next(r, &op, &err), 1);
        assert_int_equal(trace_rewind(r, &err), 0);
    }
    ops_equal(r, ops, 40000, true);
    trace_close(r);
    close(fd);
    free(ops);
}

/* The totals, counted in the plainest way. */
static struct trace_totals totals_count(const struct trace_op *ops, size_t count)
{
    struct trace_totals t = {0};
    uint64_t *sizes = calloc(count + 1, sizeof *sizes);
    assert_non_null(sizes);
    for (size_t i = 0; i < count; i++) {
        const struct trace_op *op = &ops[i];
        bool gone = trace_ends_object(op), made = trace_makes_object(op);
        t.records++;
        t.kinds[op->kind]++;
        t.ops += op->kind <= TRACE_FREE;
        t.failed += op->flags & TRACE_FAILED ? 1 : 0;
        t.null_frees += op->kind == TRACE_FREE && op->flags & TRACE_NULL;
        t.null_reallocs += op->kind == TRACE_REALLOC && op->flags & TRACE_NULL;
        t.sized_frees += op->kind == TRACE_FREE && op->flags & TRACE_SIZED;
        t.objects += made;
        t.scopes += op->kind == TRACE_SCOPE_BEGIN;
        t.threads = op->thread >= t.threads ? op->thread + 1 : t.threads;
        if (made || (op->kind == TRACE_REALLOC && op->flags == 0)) {
            uint64_t old = made ? 0 : sizes[op->object];
            t.end_live_objects += made;
            t.end_live_bytes += op->size - old;
            if (op->kind != TRACE_LIVE && op->size > old)
                t.allocated_bytes += op->size - old;
            sizes[op->object] = op->size;
        } else if (gone) {
            t.end_live_objects--;
            t.end_live_bytes -= sizes[op->object];
        }
        if (t.end_live_objects > t.peak_live_objects)
            t.peak_live_objects = t.end_live_objects;
        if (t.end_live_bytes > t.peak_live_bytes)
            t.peak_live_bytes = t.end_live_bytes;
    }
    free(sizes);
    return t;
}

static void totals(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct trace_op *ops = trace_maker_ops(seed, 3000, MAKER_ALL);
        int fd = trace_maker_file(ops, 3000);
        struct trace_reader *r = reader_of(fd, 0);
        struct trace_totals want = totals_count(ops, 3000);
        assert_memory_equal(trace_reader_totals(r), &want, sizeof want);
        trace_close(r);
        close(fd);
        free(ops);
    }
}

/* Two writers given the same write the same bytes; blocks stand alone, so a longer trace starts
 * like a shorter. */
static void same_bytes(void **state)
{
    (void)state;
    struct trace_op *ops = trace_maker_ops(3, 70000, MAKER_ALL);
    int a = trace_maker_file(ops, 70000), b = trace_maker_file(ops, 70000);
    int shorter = trace_maker_file(ops, 40000);
    struct image x = image_read(a), y = image_read(b), z = image_read(shorter);
    assert_int_equal(x.bytes, y.bytes);
    assert_memory_equal(x.data, y.data, x.bytes);
    assert_memory_equal(x.data, z.data, image_block(&z, 2));
    close(a);
    close(b);
    close(shorter);
    free(x.data);
    free(y.data);
    free(z.data);
    free(ops);
}

/* ---- text ---- */

static char *export_text(int fd, size_t *bytes)
{
    struct trace_reader *r = reader_of(fd, 0);
    struct error err;
    uint64_t dropped = 1;
    char *text = NULL;
    FILE *stream = open_memstream(&text, bytes);
    assert_non_null(stream);
    assert_int_equal(trace_format_find("text")->export(r, stream, &dropped, &err), 0);
    assert_int_equal(dropped, 0);
    fclose(stream);
    trace_close(r);
    return text;
}

/* Imports text into a new memfd; -1 with the message. */
static int import_text(const char *text, size_t bytes, struct error *err)
{
    char path[64];
    int in = memfd_create("text", MFD_CLOEXEC), out = memfd_create("trace", MFD_CLOEXEC);
    assert_true(in >= 0 && out >= 0);
    assert_int_equal(write(in, text, bytes), bytes);
    snprintf(path, sizeof path, "/proc/self/fd/%d", in);
    struct trace_writer *w = trace_create_fd(out, err);
    struct import_report report = {0};
    assert_non_null(w);
    int failed = trace_format_find("text")->import(path, w, &report, err);
    close(in);
    if (!failed)
        return trace_finish(w, err) ? -1 : out;
    trace_abandon(w);
    close(out);
    return -1;
}

static void text_round_trip(void **state)
{
    (void)state;
    for (unsigned seed = 0; seed < 12; seed++) {
        size_t bytes, count = seed == 5 ? 40000 : 500 * seed;
        struct error err;
        struct trace_op *ops = trace_maker_ops(seed, count, seed % 3 ? MAKER_ALL : seed);
        int fd = trace_maker_file(ops, count);
        char *text = export_text(fd, &bytes);
        int again = import_text(text, bytes, &err);
        if (again < 0)
            fail_msg("%s", err.text);
        struct image a = image_read(fd), b = image_read(again);
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.data, b.data, a.bytes);
        close(fd);
        close(again);
        free(a.data);
        free(b.data);
        free(text);
        free(ops);
    }
}

#define FIRST "alloclab trace text 1\n"

static const struct {
    const char *text, *message;
} bad_texts[] = {
    {"", "line 1: the first line of a trace as text is 'alloclab trace text 1'"},
    {"alloclab trace text 2\n",
     "line 1: the first line of a trace as text is 'alloclab trace text 1'"},
    {FIRST "malloc 0 5\n", "line 2: 'malloc' is not an op; `alloclab describe text` lists them"},
    {FIRST "alloc 0\n", "line 2: the size is missing"},
    {FIRST "alloc\n", "line 2: the object is missing"},
    {FIRST "alloc 0 -5\n", "line 2: size '-5' is not a number: digits 0 to 9 are expected"},
    {FIRST "\n# x\nalloc 0 18446744073709551616\n",
     "line 4: size '18446744073709551616' does not fit into 64 bits"},
    {FIRST "alloc 0 1099511627776\n",
     "line 2: record 0: size 1099511627776 exceeds the limit of 1099511627775 bytes of a call that "
     "did not fail"},
    {FIRST "alloc 1 5\n", "line 2: record 0: object 1 is out of order: the next one is 0"},
    {FIRST "alloc 0 5 null\n", "line 2: 'null' is not expected here"},
    {FIRST "aligned 0 5 align=3\n", "line 2: alignment 3 is not a power of two"},
    {FIRST "aligned 0 5 align=0\n", "line 2: alignment 0 is not a power of two"},
    {FIRST "alloc 0 5 align=16\n", "line 2: record 0: this op has no alignment, but 2^4 is given"},
    {FIRST "free 0\n", "line 2: record 0: object 0 does not exist: only 0 have been made so far"},
    {FIRST "thread 1\nalloc 0 5\n",
     "line 3: record 0: thread 1 is out of order: the next new one is 0"},
    {FIRST "thread 4294967295\n", "line 2: thread 4294967295 exceeds the limit"},
    {FIRST "thread 0 0\n", "line 2: '0' is not expected here"},
    {FIRST "meta program\n", "line 2: meta without '=': KEY=VALUE is expected"},
    {FIRST "meta Program=x\n", "line 2: meta key has byte 0x50: a-z, 0-9, _ and . are allowed"},
    {FIRST "scope_end -\n", "line 2: record 0: the end of a scope names none"},
    {FIRST "alloc - 5\n",
     "line 2: record 0: object 18446744073709551615 is out of order: the next one is 0"},
    {FIRST "free - failed\n", "line 2: record 0: there is no op of kind 4 with flags 3"},
};

static void text_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_texts); i++) {
        struct error err;
        assert_int_equal(import_text(bad_texts[i].text, strlen(bad_texts[i].text), &err), -1);
        const char *colon = strstr(err.text, ": ");
        assert_non_null(colon);
        assert_string_equal(colon + 2, bad_texts[i].message);
    }
}

static void text_strange_lines(void **state)
{
    (void)state;
    struct error err;
    size_t bytes = 300000;
    char *text = malloc(bytes);
    assert_non_null(text);
    memset(text, 'a', bytes);
    memcpy(text, FIRST, strlen(FIRST));
    assert_int_equal(import_text(text, bytes, &err), -1);
    assert_non_null(strstr(err.text, ": line 2: longer than 131072 bytes"));
    memcpy(text + strlen(FIRST), "alloc 0 5\0", 10);
    text[strlen(FIRST) + 20] = '\n';
    assert_int_equal(import_text(text, bytes, &err), -1);
    assert_non_null(strstr(err.text, ": line 2: has a zero byte: this is not text"));
    memcpy(text + strlen(FIRST), "alloc 0 5\r\nfree 0",
           17); /* neither CR nor a missing end matter */
    int fd = import_text(text, strlen(FIRST) + 17, &err);
    assert_true(fd >= 0);
    close(fd);
    free(text);
}

/* ---- rules ---- */

#define OP(op_kind, op_flags, op_object, op_size)                                                  \
    {                                                                                              \
        .kind = op_kind, .flags = op_flags, .object = op_object, .size = op_size,                  \
        .scope = TRACE_NO_SCOPE                                                                    \
    }
#define ALIGNED(op_kind, op_flags, op_object, log2)                                                \
    {                                                                                              \
        .kind = op_kind, .flags = op_flags, .object = op_object, .size = 1, .align_log2 = log2,    \
        .scope = TRACE_NO_SCOPE                                                                    \
    }
#define SCOPED(op_kind, op_scope)                                                                  \
    {                                                                                              \
        .kind = op_kind, .object = NONE, .scope = op_scope                                         \
    }
#define ON(op_thread, op_kind, op_object, op_scope)                                                \
    {                                                                                              \
        .kind = op_kind, .thread = op_thread, .object = op_object, .scope = op_scope               \
    }
#define NONE TRACE_NO_OBJECT

/*
 * Against a trace of ten records in which object 0 is live, 1 freed, 2 ended by realloc; scope 0
 * open and 1 ended; thread 0 runs and thread 1 has ended.
 */
static const struct trace_op rules_before[] = {
    OP(TRACE_ALLOC, 0, 0, 10),
    OP(TRACE_CALLOC, 0, 1, 20),
    OP(TRACE_FREE, 0, 1, 0),
    OP(TRACE_ALLOC, 0, 2, 30),
    OP(TRACE_REALLOC, TRACE_ENDS, 2, 0),
    SCOPED(TRACE_SCOPE_BEGIN, 0),
    SCOPED(TRACE_SCOPE_BEGIN, 1),
    SCOPED(TRACE_SCOPE_END, 1),
    ON(1, TRACE_THREAD_BEGIN, NONE, NONE),
    ON(1, TRACE_THREAD_END, NONE, NONE),
};
static const struct {
    struct trace_op op;
    const char *message;
} refusals[] = {
    {OP(TRACE_KINDS, 0, NONE, 0), "there is no op of kind 11 with flags 0"},
    {OP(255, 0, NONE, 0), "there is no op of kind 255 with flags 0"},
    {OP(TRACE_ALLOC, TRACE_NULL, 3, 1), "there is no op of kind 0 with flags 2"},
    {OP(TRACE_ALLOC, 16, 3, 1), "there is no op of kind 0 with flags 16"},
    {OP(TRACE_FREE, TRACE_FAILED, 0, 0), "there is no op of kind 4 with flags 1"},
    {OP(TRACE_FREE, TRACE_ENDS, 0, 0), "there is no op of kind 4 with flags 8"},
    {OP(TRACE_REALLOC, TRACE_ENDS | TRACE_NULL, 0, 0), "there is no op of kind 3 with flags 10"},
    {OP(TRACE_LIVE, TRACE_FAILED, 3, 0), "there is no op of kind 10 with flags 1"},
    {OP(TRACE_ALLOC, 0, 4, 1), "object 4 is out of order: the next one is 3"},
    {OP(TRACE_REALLOC, TRACE_NULL, 0, 1), "object 0 is out of order: the next one is 3"},
    {OP(TRACE_ALLOC, TRACE_FAILED, 3, 1), "this op has no object, but 3 is given"},
    {OP(TRACE_FREE, TRACE_NULL, 0, 0), "this op has no object, but 0 is given"},
    {OP(TRACE_FREE, 0, 3, 0), "object 3 does not exist: only 3 have been made so far"},
    {OP(TRACE_FREE, 0, 1, 0), "object 1 is not live any more"},
    {OP(TRACE_FREE, TRACE_SIZED, 2, 5), "object 2 is not live any more"},
    {OP(TRACE_REALLOC, 0, 1, 5), "object 1 is not live any more"},
    {OP(TRACE_REALLOC, TRACE_FAILED, 2, 5), "object 2 is not live any more"},
    {OP(TRACE_FREE, 0, 0, 5), "this op has no size, but 5 is given"},
    {OP(TRACE_CALLOC, 0, 3, TRACE_MAX_SIZE + 1),
     "size 1099511627776 exceeds the limit of 1099511627775 bytes of a call that did not fail"},
    {OP(TRACE_REALLOC, TRACE_ENDS, 0, 1), "a realloc that ends its object has size 0, not 1"},
    {ALIGNED(TRACE_CALLOC, 0, 3, 4), "this op has no alignment, but 2^4 is given"},
    {ALIGNED(TRACE_ALIGNED, 0, 3, 41), "alignment 2^41 exceeds the limit of 2^40"},
    {ALIGNED(TRACE_ALIGNED, TRACE_FAILED, NONE, 64), "alignment 2^64 exceeds the limit of 2^63"},
    {SCOPED(TRACE_SCOPE_BEGIN, 3), "scope 3 is out of order: the next one is 2"},
    {SCOPED(TRACE_SCOPE_BEGIN, TRACE_NO_SCOPE),
     "scope 18446744073709551615 is out of order: the next one is 2"},
    {SCOPED(TRACE_SCOPE_END, 2), "scope 2 does not exist: only 2 have begun so far"},
    {SCOPED(TRACE_SCOPE_END, 1), "scope 1 has already ended"},
    {SCOPED(TRACE_SCOPE_SWITCH, 1), "scope 1 has already ended"},
    {SCOPED(TRACE_SCOPE_END, TRACE_NO_SCOPE), "the end of a scope names none"},
    {SCOPED(TRACE_THREAD_END, 0), "this op has no scope, but 0 is given"},
    {ON(3, TRACE_ALLOC, 3, NONE), "thread 3 is out of order: the next new one is 2"},
    {ON(1, TRACE_ALLOC, 3, NONE), "thread 1 has already ended"},
    {OP(TRACE_THREAD_BEGIN, 0, NONE, 0), "thread 0 has already begun"},
    {OP(TRACE_LIVE, 0, 3, 1), "an object that was live at the start comes after the first call"},
};
static void refused_ops(void **state)
{
    (void)state;
    struct error err;
    int fd = memfd_create("trace", MFD_CLOEXEC),
        plain = trace_maker_file(rules_before, COUNT(rules_before));
    struct trace_writer *w = trace_create_fd(fd, &err);
    assert_int_equal(trace_set_meta(w, "program", "maker", &err), 0);
    assert_int_equal(trace_set_meta(w, "command", "a=b c", &err), 0);
    for (size_t i = 0; i < COUNT(rules_before); i++)
        assert_int_equal(trace_put(w, &rules_before[i], &err), 0);
    for (size_t i = 0; i < COUNT(refusals); i++) {
        assert_int_equal(trace_put(w, &refusals[i].op, &err), -1);
        assert_int_equal(strncmp(err.text, "record 10: ", 11), 0);
        assert_string_equal(err.text + 11, refusals[i].message);
    }
    assert_int_equal(trace_finish(w, &err), 0);
    struct image a = image_read(fd),
                 b = image_read(plain); /* nothing refused left anything behind */
    assert_int_equal(a.bytes, b.bytes);
    assert_memory_equal(a.data, b.data, a.bytes);
    free(a.data);
    free(b.data);
    close(fd);
    close(plain);
}

/* A closed scope's threads fall back to the nearest open one around it, however scopes interleave.
 */
static void scope_fallback(void **state)
{
    (void)state;
    struct trace_rules rules = {0};
    struct error err;
    const struct {
        struct trace_op op;
        uint64_t current;
    } rows[] = {
        {SCOPED(TRACE_SCOPE_BEGIN, 0), 0},
        {SCOPED(TRACE_SCOPE_BEGIN, 1), 1},
        {SCOPED(TRACE_SCOPE_BEGIN, 2), 2},
        {SCOPED(TRACE_SCOPE_END, 1), 2}, /* around the current one: nothing changes yet */
        {SCOPED(TRACE_SCOPE_END, 2), 0}, /* past the one that has ended */
        {SCOPED(TRACE_SCOPE_BEGIN, 3), 3},
        {SCOPED(TRACE_SCOPE_SWITCH, TRACE_NO_SCOPE), TRACE_NO_SCOPE},
        {SCOPED(TRACE_SCOPE_BEGIN, 4), 4},
        {SCOPED(TRACE_SCOPE_SWITCH, 3), 3},
        {SCOPED(TRACE_SCOPE_END, 0), 3},
        {SCOPED(TRACE_SCOPE_END, 3), TRACE_NO_SCOPE},
        {ON(1, TRACE_SCOPE_SWITCH, NONE, 4), TRACE_NO_SCOPE},
        {SCOPED(TRACE_SCOPE_END, 4), TRACE_NO_SCOPE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(trace_rules_put(&rules, &rows[i].op, &err), 0);
        assert_int_equal(trace_rules_scope(&rules, 0), rows[i].current);
    }
    assert_int_equal(trace_rules_scope(&rules, 1), TRACE_NO_SCOPE);
    trace_rules_free(&rules);
}

/* ---- meta and files ---- */

static void meta(void **state)
{
    (void)state;
    const struct {
        const char *key, *value, *message;
    } rows[] = {
        {"", "x", "meta key of 0 characters: 1 to 255 are allowed"},
        {"a b", "x", "meta key has byte 0x20: a-z, 0-9, _ and . are allowed"},
        {"a=b", "x", "meta key has byte 0x3d: a-z, 0-9, _ and . are allowed"},
        {"a", "x\ny",
         "meta a: byte 0x0a at 1 is not text: the value must be UTF-8 without control "
         "characters"},
        {"a", "x\xc0\x80",
         "meta a: byte 0xc0 at 1 is not text: the value must be UTF-8 without "
         "control characters"},
        {"a", "\xed\xa0\x80",
         "meta a: byte 0xed at 0 is not text: the value must be UTF-8 without "
         "control characters"},
    };
    static const char highest[] = "\xf4\x8f\xbf\xbf"; /* of Unicode */
    struct error err;
    const char *key, *value;
    struct trace_op op = OP(TRACE_ALLOC, 0, 0, 10);
    int fd = memfd_create("trace", MFD_CLOEXEC);
    struct trace_writer *w = trace_create_fd(fd, &err);
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(trace_set_meta(w, rows[i].key, rows[i].value, &err), -1);
        assert_string_equal(err.text, rows[i].message);
    }
    assert_int_equal(trace_set_meta(w, "seed", "1", &err), 0);
    assert_int_equal(
        trace_set_meta(w, "program", "caf\xc3\xa9 = \xe2\x82\xac \xf0\x9f\x98\x80", &err), 0);
    assert_int_equal(trace_put(w, &op, &err), 0);
    assert_int_equal(trace_set_meta(w, "seed", "2", &err),
                     0); /* after the first op: the last value counts */
    assert_int_equal(trace_set_meta(w, "empty", "", &err), 0);
    assert_int_equal(trace_set_meta(w, "a_z.09", highest, &err), 0);
    assert_int_equal(trace_finish(w, &err), 0);
    struct trace_reader *r = reader_of(fd, 0);
    assert_string_equal(trace_meta(r, "seed"), "2");
    assert_string_equal(trace_meta(r, "empty"), "");
    assert_null(trace_meta(r, "see"));
    assert_true(trace_meta_at(r, 1, &key, &value));
    assert_string_equal(key, "program");
    assert_string_equal(value, "caf\xc3\xa9 = \xe2\x82\xac \xf0\x9f\x98\x80");
    assert_string_equal(trace_meta(r, "a_z.09"), highest);
    assert_false(trace_meta_at(r, 4, &key, &value));
    trace_close(r);
    close(fd);
}

/* Nothing that existed is lost, and nothing half-written is left. */
static void files(void **state)
{
    (void)state;
    struct error err;
    char dir[] = "/tmp/alloclab-trace-XXXXXX", path[64], part[80], text[32] = {0};
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/x.trace", dir);
    snprintf(part, sizeof part, "%s.part", path);
    FILE *old = fopen(path, "w");
    assert_non_null(old);
    fputs("old", old);
    fclose(old);
    struct trace_writer *w = trace_create(path, &err);
    assert_non_null(w);
    assert_int_equal(access(part, F_OK), 0);
    trace_abandon(w);
    assert_int_equal(access(part, F_OK), -1);
    old = fopen(path, "r");
    assert_non_null(fgets(text, sizeof text, old));
    assert_string_equal(text, "old");
    fclose(old);
    w = trace_create(path, &err);
    assert_int_equal(trace_finish(w, &err), 0);
    assert_int_equal(access(part, F_OK), -1);
    struct trace_reader *r = trace_open(path, 0, &err);
    assert_non_null(r);
    trace_close(r);
    unlink(path);
    assert_null(trace_create(dir, &err));
    assert_non_null(strstr(err.text, "exists and is not a regular file"));
    assert_null(trace_create("/dev/null", &err));
    assert_null(trace_open(dir, 0, &err));
    assert_null(trace_open(path, 0, &err));
    assert_non_null(strstr(err.text, "x.trace: cannot open: No such file"));
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(round_trip),
        cmocka_unit_test(what_cannot_be_compressed),
        cmocka_unit_test(frees_in_random_order),
        cmocka_unit_test(rewind_early),
        cmocka_unit_test(totals),
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(text_round_trip),
        cmocka_unit_test(text_refused),
        cmocka_unit_test(text_strange_lines),
        cmocka_unit_test(refused_ops),
        cmocka_unit_test(scope_fallback),
        cmocka_unit_test(meta),
        cmocka_unit_test(files),
    };
    return cmocka_run_group_tests_name("trace", tests, NULL, NULL);
}
