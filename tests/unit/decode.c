/*
 * decode.c - words that come through a ring make the same calls as a plan in memory: in the same
 * order, of the same views, objects, sizes and alignments, part by part. Held against a design that
 * writes down every call, on random traces of every kind, on workloads and recordings, with chunks
 * so small that their borders fall everywhere; and what goes wrong on the way ends the replay with
 * the reason.
 */
#include <pthread.h>
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

#include "harness/decode.h"
#include "harness/observe.h"
#include "harness/plan.h"
#include "harness/target.h"
#include "tests/lib/trace_image.h"
#include "tests/lib/trace_maker.h"
#include "traces/layout.h"

#define SEED UINT64_C(20241105)

/* ---- a design that writes down what it is asked ---- */

struct heap {
    uint64_t number;
};

struct call {
    uint64_t what, view, object, size, more;
};

static struct call *calls;
static uint64_t call_count, call_room, object_count, view_count;
static struct heap root, views[1 << 16];
static char *pool; /* addresses to give out; never touched */

#define POOL_BYTES ((uint64_t)1 << 40)

static void note(char what, const struct heap *view, const void *p, uint64_t size, uint64_t more)
{
    if (call_count == call_room) {
        call_room = call_room ? 2 * call_room : 1024;
        calls = realloc(calls, call_room * sizeof *calls);
        assert_non_null(calls);
    }
    calls[call_count++] = (struct call){(uint64_t)what, view->number,
                                        p ? (uint64_t)((const char *)p - pool) : 0, size, more};
}

static void *object_new(void)
{
    return pool + 16 * ++object_count;
}

static void *spy_alloc(struct heap *view, size_t size, size_t align)
{
    void *p = object_new();
    note('a', view, p, size, align);
    return p;
}

static void *spy_zalloc(struct heap *view, size_t size, size_t align)
{
    void *p = object_new();
    note('z', view, p, size, align);
    return p;
}

static void spy_free(struct heap *view, void *p, size_t size)
{
    note('f', view, p, size, 0);
}

static void *spy_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    note('r', view, p, size, old << 8 | (unsigned)__builtin_ctzll(align));
    return object_new();
}

static struct heap *spy_thread_enter(struct heap *heap)
{
    struct heap *view = &views[view_count];
    view->number = ++view_count;
    note('+', heap, NULL, view->number, 0);
    return view;
}

static void spy_thread_exit(struct heap *view)
{
    note('-', view, NULL, 0, 0);
}

static const struct allocator spy = {.name = "spy",
                                     .traits = ALLOCATOR_REUSES | ALLOCATOR_NEEDS_SIZE,
                                     .alloc = spy_alloc,
                                     .zalloc = spy_zalloc,
                                     .free = spy_free,
                                     .realloc = spy_realloc,
                                     .thread_enter = spy_thread_enter,
                                     .thread_exit = spy_thread_exit};

/* ---- the decoder, on a thread ---- */

struct decoding {
    struct trace_reader *trace;
    struct ring ring;
    uint64_t passes;
    pthread_t thread;
};

static void *decoding_run(void *arg)
{
    struct decoding *d = arg;
    struct error err;
    bool failed = decode_passes(d->trace, &d->ring, d->passes, &err);
    ring_fail(&d->ring, failed ? err.text : "no more passes");
    return NULL;
}

static void decoding_start(struct decoding *d, struct trace_reader *trace,
                           const struct ring_shape *shape, uint64_t passes, struct ring *consumer)
{
    struct error err;
    int fd;
    assert_int_equal(ring_create(shape, &fd, &err), 0);
    *d = (struct decoding){.trace = trace, .passes = passes};
    assert_int_equal(ring_map(&d->ring, fd, RING_PRODUCER, &err), 0);
    assert_int_equal(ring_map(consumer, fd, RING_CONSUMER, &err), 0);
    close(fd);
    assert_int_equal(pthread_create(&d->thread, NULL, decoding_run, d), 0);
}

static void decoding_end(struct decoding *d, struct ring *consumer)
{
    pthread_join(d->thread, NULL);
    ring_unmap(&d->ring);
    ring_unmap(consumer);
}

/* ---- what a replay asks of the design ---- */

struct record {
    struct call *calls;
    uint64_t count;
};

static void record_begin(void)
{
    calls = NULL;
    call_count = call_room = object_count = view_count = 0;
}

static struct record record_take(void)
{
    return (struct record){calls, call_count};
}

static void pass_fast(const struct plan *plan, struct ring *ring)
{
    struct error err;
    struct replay r;
    assert_int_equal(replay_open(&r, plan, &spy, &root, TOUCH_NONE, &err), 0);
    r.ring = ring;
    assert_true(replay_pass_begin(&r));
    for (unsigned part = PLAN_PART_START; part <= PLAN_PART_END; part++) {
        assert_true(replay_part(&r, part));
        note('|', &root, NULL, part, 0);
    }
    replay_pass_end(&r);
    replay_close(&r);
}

static void pass_observed(const struct plan *plan, struct ring *ring)
{
    static const struct observe_hooks none = {0};
    struct error err;
    struct observe o = {.hooks = &none};
    assert_int_equal(replay_open(&o.replay, plan, &spy, &root, TOUCH_NONE, &err), 0);
    o.replay.ring = ring;
    assert_true(replay_pass_begin(&o.replay));
    for (unsigned part = PLAN_PART_START; part <= PLAN_PART_END; part++) {
        assert_int_equal(observe_parts(&o, part, part), OBSERVE_DONE);
        note('|', &root, NULL, part, 0);
    }
    assert_int_equal(o.op >= plan->ops, 1);
    replay_pass_end(&o.replay);
    replay_close(&o.replay);
}

static struct record plan_record(struct trace_reader *trace, struct plan *facts)
{
    struct error err;
    int fd;
    if (plan_build(trace, PLAN_RELEASE_FREE, 0, &fd, &err))
        fail_msg("%s", err.text);
    const struct plan *plan = plan_map(fd, &err);
    assert_non_null(plan);
    record_begin();
    pass_fast(plan, NULL);
    *facts = *plan;
    plan_unmap(plan);
    close(fd);
    return record_take();
}

static void records_compare(const char *name, const struct record *a, const struct record *b)
{
    uint64_t i = 0;
    while (i < a->count && i < b->count && !memcmp(&a->calls[i], &b->calls[i], sizeof *calls))
        i++;
    if (i != a->count || i != b->count)
        fail_msg("%s: call %llu of %llu and %llu differs", name, (unsigned long long)i,
                 (unsigned long long)a->count, (unsigned long long)b->count);
}

static void header_compare(const struct plan *plan, const struct plan *header)
{
    assert_true(plan->ops == header->ops);
    assert_true(plan->objects == header->objects);
    assert_true(plan->threads == header->threads);
    assert_true(plan->start_objects == header->start_objects);
    assert_true(plan->peak_requested_bytes == header->peak_requested_bytes);
    assert_true(plan->peak_live_objects == header->peak_live_objects);
    assert_true(plan->max_align_log2 == header->max_align_log2);
    assert_true(header->slots == header->peak_live_objects);
}

/* Two passes through a ring, one by each loop, against the plan's. */
static void stream_compare(struct trace_reader *trace, const char *name, uint32_t chunks,
                           uint32_t words)
{
    struct error err;
    struct plan facts, header;
    struct record wanted = plan_record(trace, &facts);
    if (decode_scan(trace, &header, &err))
        fail_msg("%s", err.text);
    header_compare(&facts, &header);
    struct ring_shape shape = decode_shape(&header);
    shape.chunks = chunks ? chunks : shape.chunks;
    shape.words = words ? words : shape.words;
    struct decoding d;
    struct ring ring;
    decoding_start(&d, trace, &shape, 2, &ring);
    for (int observed = 0; observed < 2; observed++) {
        record_begin();
        if (observed)
            pass_observed(&header, &ring);
        else
            pass_fast(&header, &ring);
        struct record got = record_take();
        records_compare(name, &wanted, &got);
        free(got.calls);
    }
    decoding_end(&d, &ring);
    free(wanted.calls);
}

/* ---- tests ---- */

static void random_traces(void **state)
{
    (void)state;
    struct error err;
    for (unsigned i = 0; i < 240; i++) {
        char name[64];
        unsigned features = i % 32;
        struct trace_op *ops = trace_maker_ops(SEED + i, 10 + i * 9, features);
        int fd = trace_maker_file(ops, 10 + i * 9);
        struct trace_reader *trace = trace_open_fd(fd, "random", TRACE_SKIP_CLOCK, &err);
        assert_non_null(trace);
        snprintf(name, sizeof name, "trace %u", i);
        stream_compare(trace, name, 1 + i % 4, 2 + i / 32 * 3 + i % 3);
        trace_close(trace);
        close(fd);
        free(ops);
    }
}

static void workloads_and_recordings(void **state)
{
    (void)state;
    static const char *const names[] = {
        "random:ops=200k,live=20k", "prodcons:ops=60k",           "request:requests=300",
        "larson:ops=60k",           "traces/samples/redis.trace", "traces/samples/requests.trace",
    };
    static const uint32_t words[] = {0, 997, 64};
    struct error err;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
        struct target target;
        if (target_open(&target, names[i], SEED, &err))
            fail_msg("%s", err.text);
        for (unsigned k = 0; k < sizeof words / sizeof *words; k++)
            stream_compare(target.trace, names[i], k ? 3 : 0, words[k]);
        target_close(&target);
    }
}

/* Replays as far as it goes; the reason for the end. */
static void stream_until(struct trace_reader *trace, const struct plan *header,
                         struct ring_shape shape, char *why, size_t bytes)
{
    struct error err;
    struct decoding d;
    struct ring ring;
    struct replay r;
    unsigned part = PLAN_PART_START;
    decoding_start(&d, trace, &shape, 1, &ring);
    assert_int_equal(replay_open(&r, header, &spy, &root, TOUCH_NONE, &err), 0);
    r.ring = &ring;
    record_begin();
    assert_true(replay_pass_begin(&r));
    while (part <= PLAN_PART_END && replay_part(&r, part))
        part++;
    assert_true(part <= PLAN_PART_END);
    assert_non_null(ring_failure(&ring));
    snprintf(why, bytes, "%s", ring_failure(&ring));
    replay_close(&r);
    free(calls);
    decoding_end(&d, &ring);
}

static void damage_ends_the_replay(void **state)
{
    (void)state;
    enum { OPS = 100000 }; /* four blocks */
    char why[1024], offset[64];
    struct error err;
    struct plan header;
    struct trace_op *ops = trace_maker_ops(SEED, OPS, 0);
    int fd = trace_maker_file(ops, OPS);
    struct image image = image_read(fd);
    struct trace_reader *trace = image_open(&image, 0, &err);
    assert_non_null(trace);
    assert_int_equal(decode_scan(trace, &header, &err), 0);
    trace_close(trace);

    size_t third = image_block(&image, 3); /* the first is of meta pairs */
    image.data[third + LAYOUT_BLOCK_BYTES + 200] ^= 1;
    trace = image_open(&image, 0, &err);
    assert_non_null(trace);
    snprintf(offset, sizeof offset, "image: offset %zu: checksum", third);
    stream_until(trace, &header, decode_shape(&header), why, sizeof why);
    assert_non_null(strstr(why, offset));
    assert_int_equal(decode_scan(trace, &header, &err), -1);
    assert_non_null(strstr(err.text, offset));
    trace_close(trace);
    free(image.data);
    close(fd);
    free(ops);
}

/* A ring made for less than the trace needs: the file is another one now. */
static void more_than_was_seen(void **state)
{
    (void)state;
    char why[1024];
    struct error err;
    struct target target;
    struct plan header;
    assert_int_equal(target_open(&target, "prodcons:ops=2k", SEED, &err), 0);
    assert_int_equal(decode_scan(target.trace, &header, &err), 0);
    struct ring_shape slots = decode_shape(&header), threads = decode_shape(&header);
    slots.slots--;
    stream_until(target.trace, &header, slots, why, sizeof why);
    assert_non_null(strstr(why, "not what it was"));
    threads.threads--;
    stream_until(target.trace, &header, threads, why, sizeof why);
    assert_non_null(strstr(why, "not what it was"));
    target_close(&target);
}

static void *fail_later(void *ring)
{
    usleep(20000);
    ring_fail(ring, "the first reason");
    ring_fail(ring, "another");
    return NULL;
}

static void failure_wakes_the_waiting(void **state)
{
    (void)state;
    struct error err;
    struct ring watcher, consumer;
    struct ring_shape shape = {.chunks = 2, .words = 8};
    pthread_t thread;
    int fd;
    assert_int_equal(ring_create(&shape, &fd, &err), 0);
    assert_int_equal(ring_map(&watcher, fd, RING_WATCHER, &err), 0);
    assert_int_equal(ring_map(&consumer, fd, RING_CONSUMER, &err), 0);
    assert_null(ring_failure(&consumer));
    assert_int_equal(pthread_create(&thread, NULL, fail_later, &watcher), 0);
    assert_null(ring_take(&consumer));
    assert_string_equal(ring_failure(&consumer), "the first reason");
    pthread_join(thread, NULL);
    ring_unmap(&watcher);
    ring_unmap(&consumer);
    close(fd);
}

/* A consumer that gives back what it never had: the producer goes no further. */
static void a_ring_written_over(void **state)
{
    (void)state;
    struct error err;
    struct ring producer, consumer;
    struct ring_shape shape = {.chunks = 2, .words = 8};
    int fd;
    assert_int_equal(ring_create(&shape, &fd, &err), 0);
    assert_int_equal(ring_map(&producer, fd, RING_PRODUCER, &err), 0);
    assert_int_equal(ring_map(&consumer, fd, RING_CONSUMER, &err), 0);
    assert_non_null(ring_claim(&producer));
    ring_publish(&producer);
    assert_non_null(ring_claim(&producer));
    ring_publish(&producer);
    assert_non_null(ring_take(&consumer));
    assert_non_null(ring_claim(&producer));
    consumer.mine = 5;
    ring_take(&consumer);
    assert_null(ring_claim(&producer));
    ring_unmap(&producer);
    ring_unmap(&consumer);
    close(fd);
}

static int pool_open(void **state)
{
    (void)state;
    pool = mmap(NULL, POOL_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return pool == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_traces),
        cmocka_unit_test(workloads_and_recordings),
        cmocka_unit_test(damage_ends_the_replay),
        cmocka_unit_test(more_than_was_seen),
        cmocka_unit_test(failure_wakes_the_waiting),
        cmocka_unit_test(a_ring_written_over),
    };
    printf("seed %llu\n", (unsigned long long)SEED);
    return cmocka_run_group_tests_name("decode", tests, pool_open, NULL);
}
