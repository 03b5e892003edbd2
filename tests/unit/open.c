/*
 * open.c - the open loop against a clock of the test's own: schedules are what they say, a slow op
 * is in the response times of those that queue behind it and in nobody else's service time, and a
 * plan has an arrival for each scope that begins outside of others, in both release modes.
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

#include "harness/open.h"
#include "harness/pass.h"

/* ---- schedules ---- */

enum { COUNT = 20000 };

static uint64_t due[COUNT], again[COUNT];

static void schedules(void **state)
{
    (void)state;
    open_due(due, COUNT, OPEN_UNIFORM, 1e6, 1);
    for (uint64_t i = 0; i < COUNT; i++)
        assert_int_equal(due[i], 1000 * i);
    open_due(due, COUNT, OPEN_POISSON, 1e6, 1);
    open_due(again, COUNT, OPEN_POISSON, 1e6, 1);
    assert_memory_equal(due, again, sizeof due);
    open_due(again, COUNT, OPEN_POISSON, 1e6, 2);
    assert_memory_not_equal(due, again, sizeof due);
    uint64_t below = 0, short_gaps = 0;
    assert_int_equal(due[0], 0);
    for (uint64_t i = 1; i < COUNT; i++) {
        assert_true(due[i] >= due[i - 1]);
        below += due[i] - due[i - 1] < 693;      /* the median of an exponential of mean 1000 */
        short_gaps += due[i] - due[i - 1] < 105; /* a tenth of them */
    }
    assert_in_range(due[COUNT - 1], 980u * COUNT, 1020u * COUNT);
    assert_in_range(below, COUNT * 49 / 100, COUNT * 51 / 100);
    assert_in_range(short_gaps, COUNT * 9 / 100, COUNT * 11 / 100);
}

static void recorded_times_are_stretched(void **state)
{
    (void)state;
    uint64_t times[] = {5000, 5010, 5005, 5100, 5400}; /* the third thread's clock is behind */
    const uint64_t wanted[] = {0, 100, 100, 1000, 4000};
    open_due(times, 5, OPEN_RECORDED, 1e6, 0);
    assert_memory_equal(times, wanted, sizeof times);
    uint64_t flat[] = {7, 7, 7}, even[] = {0, 1000, 2000};
    open_due(flat, 3, OPEN_RECORDED, 1e6, 0);
    assert_memory_equal(flat, even, sizeof flat);
    uint64_t one = 9;
    open_due(&one, 1, OPEN_RECORDED, 1e6, 0);
    assert_int_equal(one, 0);
}

/* ---- a design whose allocs take 100 ns of the test's clock, and one of them 50 us ---- */

#define ALLOC_NS   100
#define SLOW_NS    50000
#define SLOW_ALLOC 90
#define FRAMES     300
#define ALLOCS     3 /* of a frame, but the first 50 have 6 */

static uint64_t clock_ns;
static unsigned calls, scopes;
static char memory[64];

static void *toy_alloc(struct heap *heap, size_t size, size_t align)
{
    (void)heap, (void)size, (void)align;
    clock_ns += ++calls == SLOW_ALLOC ? SLOW_NS : ALLOC_NS;
    return memory;
}

static void toy_free(struct heap *heap, void *p, size_t size)
{
    (void)heap, (void)p, (void)size;
}

static struct heap *toy_enter(struct heap *heap)
{
    scopes++;
    return heap;
}

static void toy_exit(struct heap *view)
{
    (void)view;
}

static const struct allocator toy = {.name = "toy",
                                     .traits = ALLOCATOR_REUSES | ALLOCATOR_FINDS_OWNER,
                                     .alloc = toy_alloc,
                                     .free = toy_free,
                                     .scope_enter = toy_enter,
                                     .scope_exit = toy_exit};

static unsigned frame_allocs(uint64_t frame)
{
    return frame < 50 ? 2 * ALLOCS : ALLOCS;
}

static void op_put(struct trace_writer *writer, unsigned kind, uint64_t object, uint64_t scope,
                   uint64_t clock)
{
    struct error err;
    struct trace_op op = {.kind = (uint8_t)kind,
                          .object = object,
                          .size = kind == TRACE_ALLOC ? 32 : 0,
                          .scope = scope,
                          .clock_ns = clock};
    if (trace_put(writer, &op, &err))
        fail_msg("%s", err.text);
}

/* Something before the frames; frames, each with a scope inside it; frames arrive at i * i us. */
static struct trace_reader *frames_trace(void)
{
    struct error err;
    int fd = memfd_create("test", 0);
    struct trace_writer *writer = trace_create_fd(fd, &err);
    uint64_t object = 0;
    op_put(writer, TRACE_ALLOC, object++, TRACE_NO_SCOPE, 0);
    for (uint64_t i = 0; i < FRAMES; i++) {
        uint64_t at = 1000 * i * i + 7;
        op_put(writer, TRACE_SCOPE_BEGIN, TRACE_NO_OBJECT, 2 * i, at);
        op_put(writer, TRACE_SCOPE_BEGIN, TRACE_NO_OBJECT, 2 * i + 1, at);
        for (unsigned k = 0; k < frame_allocs(i); k++, object++) {
            op_put(writer, TRACE_ALLOC, object, TRACE_NO_SCOPE, at);
            op_put(writer, TRACE_FREE, object, TRACE_NO_SCOPE, at);
        }
        op_put(writer, TRACE_SCOPE_END, TRACE_NO_OBJECT, 2 * i + 1, at);
        op_put(writer, TRACE_SCOPE_END, TRACE_NO_OBJECT, 2 * i, at);
    }
    assert_int_equal(trace_finish(writer, &err), 0);
    struct trace_reader *reader = trace_open_fd(fd, "test", TRACE_SKIP_CLOCK, &err);
    close(fd);
    return reader;
}

static const struct plan *frames_plan(enum plan_release release, unsigned flags)
{
    struct error err;
    int fd;
    struct trace_reader *reader = frames_trace();
    trace_keep_clock(reader);
    assert_int_equal(plan_build(reader, release, flags, &fd, &err), 0);
    const struct plan *plan = plan_map(fd, &err);
    trace_close(reader);
    close(fd);
    return plan;
}

static void a_plan_has_an_arrival_for_each_outer_scope(void **state)
{
    (void)state;
    for (int release = 0; release < 2; release++) {
        const struct plan *plan = frames_plan((enum plan_release)release, PLAN_ARRIVALS);
        const struct plan_thread *t = (const void *)((const char *)plan + plan->threads_offset);
        const uint64_t *words = (const void *)((const char *)plan + t->words_offset);
        uint64_t found = 0;
        assert_int_equal(plan->arrivals, FRAMES);
        assert_true(plan->clocked);
        for (uint64_t i = 0; i < t->words; i++)
            if (PLAN_KIND(words[i]) == PLAN_ARRIVE) {
                assert_int_equal(PLAN_TIME(words[i]), 1000 * found * found + 7);
                found++;
            }
        assert_int_equal(found, FRAMES);
        plan_unmap(plan);
        plan = frames_plan((enum plan_release)release, 0);
        assert_int_equal(plan->arrivals, 0);
        plan_unmap(plan);
    }
}

/* ---- the server ---- */

static uint64_t fake_now(void *ctx)
{
    (void)ctx;
    return clock_ns;
}

static void fake_wait(void *ctx, uint64_t until)
{
    (void)ctx;
    assert_true(until > clock_ns);
    clock_ns = until;
}

/* Replays the frames by the schedule in `due` (closed: by none), and by hand. */
static void frames_serve(enum plan_release release, bool closed, struct open_times *found,
                         struct open_times *wanted, struct open_server *server)
{
    struct error err;
    struct replay replay;
    const struct plan *plan = frames_plan(release, PLAN_ARRIVALS);
    struct heap *heap = (struct heap *)memory;
    memset(found, 0, sizeof *found);
    memset(wanted, 0, sizeof *wanted);
    *server = (struct open_server){
        .due = closed ? NULL : due, .clock = {.now = fake_now, .wait = fake_wait}, .times = found};
    calls = scopes = 0;
    clock_ns = 1234567;
    assert_int_equal(replay_open(&replay, plan, &toy, heap, TOUCH_NONE, &err), 0);
    replay.arrive = open_arrive;
    replay.arrive_ctx = server;
    assert_true(replay_pass_begin(&replay));
    assert_true(replay_runs(&replay, 0, plan->main_runs));
    open_end(server);
    assert_int_equal(scopes, release == PLAN_RELEASE_SCOPE ? 2 * FRAMES : 0);
    replay_close(&replay);
    plan_unmap(plan);
    uint64_t done = 0, made = 1;
    for (uint64_t i = 0; i < FRAMES; i++) {
        uint64_t service = 0, intended = closed ? done : due[i];
        for (unsigned k = 0; k < frame_allocs(i); k++)
            service += ++made == SLOW_ALLOC ? SLOW_NS : ALLOC_NS;
        done = (done > intended ? done : intended) + service;
        histogram_add(&wanted->service, service);
        histogram_add(&wanted->response, done - intended);
    }
}

static uint64_t above(const struct histogram *h, uint64_t ns)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        count += histogram_low(i) > ns ? h->count[i] : 0;
    return count;
}

/* Frames come each 500 ns and take 300: one of 50 us delays the 250 after it. */
static void a_slow_op_delays_its_successors(void **state)
{
    (void)state;
    static struct open_times found, wanted;
    struct open_server server;
    for (int release = 0; release < 2; release++) {
        open_due(due, FRAMES, OPEN_UNIFORM, 2e6, 0);
        frames_serve((enum plan_release)release, false, &found, &wanted, &server);
        assert_memory_equal(&found, &wanted, sizeof found);
        assert_int_equal(server.arrivals, FRAMES);
        assert_int_equal(found.service.total, FRAMES);
        assert_int_equal(above(&found.service, 1000), 1);
        assert_true(above(&found.response, 10000) > 150);
        assert_int_equal(found.service.max, SLOW_NS + (2 * ALLOCS - 1) * ALLOC_NS);
        assert_true(server.late > 200 && server.late < FRAMES);
        uint64_t busy = SLOW_NS - ALLOC_NS;
        for (uint64_t i = 0; i < FRAMES; i++)
            busy += frame_allocs(i) * ALLOC_NS;
        assert_int_equal(server.busy_ns, busy);
        assert_int_equal(server.span_ns, clock_ns - server.origin);
    }
}

/* With time enough between frames nobody waits but behind the slow one. */
static void a_server_that_is_ready_waits(void **state)
{
    (void)state;
    static struct open_times found, wanted;
    struct open_server server;
    open_due(due, FRAMES, OPEN_UNIFORM, 1e4, 0);
    frames_serve(PLAN_RELEASE_FREE, false, &found, &wanted, &server);
    assert_memory_equal(&found, &wanted, sizeof found);
    assert_memory_equal(&found.response, &found.service, sizeof found.response);
    assert_int_equal(server.late, 0);
}

/* A closed loop asks a slow one less: its successors have not waited. */
static void a_closed_loop_does_not_see_it(void **state)
{
    (void)state;
    static struct open_times found, wanted;
    struct open_server server;
    frames_serve(PLAN_RELEASE_FREE, true, &found, &wanted, &server);
    assert_memory_equal(&found, &wanted, sizeof found);
    assert_int_equal(above(&found.response, 1000), 1);
    assert_int_equal(server.late, 0);
    assert_int_equal(server.busy_ns, server.span_ns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(schedules),
        cmocka_unit_test(recorded_times_are_stretched),
        cmocka_unit_test(a_plan_has_an_arrival_for_each_outer_scope),
        cmocka_unit_test(a_slow_op_delays_its_successors),
        cmocka_unit_test(a_server_that_is_ready_waits),
        cmocka_unit_test(a_closed_loop_does_not_see_it),
    };
    return cmocka_run_group_tests_name("open", tests, NULL, NULL);
}
