/*
 * plan.c - plans and both replay loops, held against a spy design that writes down every call it
 * gets: which view, which object, which size. Each expectation is the exact list of calls.
 */
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

#include "harness/observe.h"
#include "harness/plan.h"
#include "harness/replay.h"

/* ---- the spy ---- */

struct heap {
    char name[8];
};

static struct heap views[64];
static unsigned view_count;
static char said[65536];
static _Alignas(16) unsigned char pool[65536];
static size_t pool_used;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    size_t length = strlen(said);
    va_list args;
    va_start(args, format);
    vsnprintf(said + length, sizeof said - length, format, args);
    va_end(args);
}

static int object_number(const void *p)
{
    return (int)(((const unsigned char *)p - pool) / 64);
}

static struct heap *view_new(const char *kind)
{
    struct heap *view = &views[view_count];
    snprintf(view->name, sizeof view->name, "%s%u", kind, view_count++);
    return view;
}

static void *spy_alloc(struct heap *view, size_t size, size_t align)
{
    void *p = pool + pool_used;
    pool_used += 64; /* sizes in these tests are only words */
    say("%s:a%d:%zu", view->name, object_number(p), size);
    say(align > 16 ? "/%zu " : " ", align);
    return p;
}

static void spy_free(struct heap *view, void *p, size_t size)
{
    say("%s:f%d", view->name, object_number(p));
    say(size ? ":%zu " : " ", size);
}

static void *spy_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    (void)align;
    say("%s:r%d:%zu>%zu ", view->name, object_number(p), old, size);
    return p;
}

static void *spy_zalloc(struct heap *view, size_t size, size_t align)
{
    say("zero ");
    return spy_alloc(view, size, align);
}

static struct heap *spy_scope_enter(struct heap *parent)
{
    struct heap *view = view_new("s");
    say("%s(%s) ", view->name, parent->name);
    return view;
}

static void spy_scope_exit(struct heap *view)
{
    say("-%s ", view->name);
}

static struct heap *spy_thread_enter(struct heap *root)
{
    (void)root;
    struct heap *view = view_new("t");
    say("+%s ", view->name);
    return view;
}

static void spy_thread_exit(struct heap *view)
{
    say("-%s ", view->name);
}

static struct allocator spy = {.name = "spy",
                               .traits = ALLOCATOR_REUSES,
                               .alloc = spy_alloc,
                               .free = spy_free,
                               .realloc = spy_realloc,
                               .zalloc = spy_zalloc,
                               .scope_enter = spy_scope_enter,
                               .scope_exit = spy_scope_exit};

/* ---- traces by hand: "a SIZE", "f ID", ... ---- */

static struct trace_reader *trace_make(const struct trace_op *ops, size_t count, int *fd)
{
    struct error err;
    *fd = memfd_create("test", 0);
    struct trace_writer *writer = trace_create_fd(*fd, &err);
    uint64_t objects = 0, scopes = 0;
    for (size_t i = 0; i < count; i++) {
        struct trace_op op = ops[i];
        if (trace_makes_object(&op))
            op.object = objects++;
        else if (op.kind != TRACE_REALLOC && (op.kind != TRACE_FREE || op.flags & TRACE_NULL))
            op.object = TRACE_NO_OBJECT;
        if (op.kind == TRACE_SCOPE_BEGIN)
            op.scope = scopes++;
        else if (op.kind < TRACE_SCOPE_BEGIN || op.kind > TRACE_SCOPE_SWITCH)
            op.scope = TRACE_NO_SCOPE;
        if (trace_put(writer, &op, &err))
            fail_msg("op %zu: %s", i, err.text);
    }
    if (trace_finish(writer, &err))
        fail_msg("%s", err.text);
    struct trace_reader *reader = trace_open_fd(*fd, "test", 0, &err);
    assert_non_null(reader);
    return reader;
}

static const struct plan *plan_make(const struct trace_op *ops, size_t count,
                                    enum plan_release release, unsigned flags)
{
    struct error err;
    int trace_fd, plan_fd;
    struct trace_reader *reader = trace_make(ops, count, &trace_fd);
    if (plan_build(reader, release, flags, &plan_fd, &err))
        fail_msg("%s", err.text);
    const struct plan *plan = plan_map(plan_fd, &err);
    assert_non_null(plan);
    trace_close(reader);
    close(trace_fd);
    close(plan_fd);
    return plan;
}

static void spy_reset(void)
{
    said[0] = 0;
    view_count = 0;
    pool_used = 0;
    view_new("r");
}

static const char *replay_said(const struct plan *plan, uint64_t to)
{
    struct error err;
    struct replay replay;
    spy_reset();
    assert_int_equal(replay_open(&replay, plan, &spy, &views[0], TOUCH_NONE, &err), 0);
    assert_true(replay_pass_begin(&replay));
    assert_true(replay_runs(&replay, 0, to));
    replay_pass_end(&replay);
    replay_close(&replay);
    return said;
}

static bool one_view; /* of observe_said's replays */

static const char *observe_said(const struct plan *plan, uint64_t to)
{
    struct error err;
    struct observe observe = {.hooks = &(const struct observe_hooks){.made = NULL}};
    spy_reset();
    assert_int_equal(replay_open(&observe.replay, plan, &spy, &views[0], TOUCH_NONE, &err), 0);
    observe.replay.one_view = one_view;
    assert_true(replay_pass_begin(&observe.replay));
    assert_int_equal(observe_runs(&observe, 0, to), OBSERVE_DONE);
    replay_pass_end(&observe.replay);
    replay_close(&observe.replay);
    return said;
}

/* Both loops make exactly these calls; with the epilogue. */
static void expect_calls(const struct trace_op *ops, size_t count, enum plan_release release,
                         const char *expected)
{
    const struct plan *plan = plan_make(ops, count, release, 0);
    assert_string_equal(replay_said(plan, plan->runs), expected);
    assert_string_equal(observe_said(plan, plan->runs), expected);
    plan_unmap(plan);
}

#define COUNT(ops) (sizeof(ops) / sizeof *(ops))
#define ALLOC(n)                                                                                   \
    {                                                                                              \
        .kind = TRACE_ALLOC, .size = (n)                                                           \
    }
#define FREE(id)                                                                                   \
    {                                                                                              \
        .kind = TRACE_FREE, .object = (id)                                                         \
    }
#define BEGIN                                                                                      \
    {                                                                                              \
        .kind = TRACE_SCOPE_BEGIN                                                                  \
    }
#define END(id)                                                                                    \
    {                                                                                              \
        .kind = TRACE_SCOPE_END, .scope = (id)                                                     \
    }
#define SWITCH(id)                                                                                 \
    {                                                                                              \
        .kind = TRACE_SCOPE_SWITCH, .scope = (id)                                                  \
    }

/* ---- the tests ---- */

static void every_kind_of_call(void **state)
{
    (void)state;
    const struct trace_op ops[] = {
        ALLOC(24),
        {.kind = TRACE_CALLOC, .size = 8},
        {.kind = TRACE_ALIGNED, .size = 100, .align_log2 = 12},
        {.kind = TRACE_REALLOC, .object = 0, .size = 48},
        {.kind = TRACE_FREE, .object = 1, .size = 8, .flags = TRACE_SIZED},
        {.kind = TRACE_FREE, .flags = TRACE_NULL},
        {.kind = TRACE_ALLOC, .size = 1 << 20, .flags = TRACE_FAILED},
        {.kind = TRACE_REALLOC, .size = 5, .flags = TRACE_NULL},
        {.kind = TRACE_REALLOC, .object = 0, .size = 9, .flags = TRACE_FAILED},
        {.kind = TRACE_REALLOC, .object = 2, .size = 0, .flags = TRACE_ENDS},
        ALLOC(0),
        FREE(0),
    };
    expect_calls(
        ops, COUNT(ops), PLAN_RELEASE_FREE,
        "r0:a0:24 zero r0:a1:8 r0:a2:100/4096 r0:r0:24>48 r0:f1:8 r0:a3:5 r0:f2 r0:a4:1 r0:f0 "
        "r0:f3 r0:f4 ");
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    assert_int_equal(plan->ops, 12);
    assert_int_equal(plan->objects, 5);
    assert_int_equal(plan->slots, 3); /* reused */
    assert_int_equal(plan->peak_requested_bytes, 48 + 8 + 100);
    assert_int_equal(plan->max_align_log2, 12);
    plan_unmap(plan);
}

static void a_plan_loops(void **state)
{
    (void)state;
    const struct trace_op ops[] = {ALLOC(1), ALLOC(2), FREE(0)};
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    assert_string_equal(replay_said(plan, plan->main_runs), "r0:a0:1 r0:a1:2 r0:f0 ");
    assert_string_equal(replay_said(plan, plan->runs), "r0:a0:1 r0:a1:2 r0:f0 r0:f1 ");
    plan_unmap(plan);
}

static void sizes_beyond_32_bits(void **state)
{
    (void)state;
    const struct trace_op ops[] = {
        ALLOC((UINT64_C(5) << 32) + 7),
        {.kind = TRACE_REALLOC, .object = 0, .size = (UINT64_C(3) << 32) + 1},
        FREE(0)};
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_FREE,
                 "r0:a0:21474836487 r0:r0:21474836487>12884901889 r0:f0 ");
}

static void needs_size_is_given_every_size(void **state)
{
    (void)state;
    const struct trace_op ops[] = {
        ALLOC(24), {.kind = TRACE_REALLOC, .object = 0, .size = 48}, FREE(0)};
    spy.traits |= ALLOCATOR_NEEDS_SIZE;
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_FREE, "r0:a0:24 r0:r0:24>48 r0:f0:48 ");
    spy.traits &= ~(unsigned)ALLOCATOR_NEEDS_SIZE;
}

static const struct trace_op scoped[] = {BEGIN,   ALLOC(10), BEGIN,   ALLOC(20), ALLOC(30),
                                         FREE(1), END(1),    FREE(2), END(0)};

static void escapees_move_outwards(void **state)
{
    (void)state;
    /* Object 2 outlives scope 1: it is placed in scope 0. Object 0 is freed by the epilogue: in the
     * root. */
    expect_calls(scoped, COUNT(scoped), PLAN_RELEASE_SCOPE,
                 "s1(r0) r0:a0:10 s2(s1) s2:a1:20 s1:a2:30 -s2 -s1 r0:f0 ");
    /* With release=free scopes are dropped, and escapees only counted. */
    expect_calls(scoped, COUNT(scoped), PLAN_RELEASE_FREE,
                 "r0:a0:10 r0:a1:20 r0:a2:30 r0:f1 r0:f2 r0:f0 ");
    for (int release = 0; release < 2; release++) {
        const struct plan *plan = plan_make(scoped, COUNT(scoped), (enum plan_release)release, 0);
        assert_int_equal(plan->escaped_objects, 2);
        assert_int_equal(plan->escaped_bytes, 40);
        assert_int_equal(plan->dropped_frees, release == PLAN_RELEASE_SCOPE ? 2 : 0);
        assert_int_equal(plan->ops, 5);
        plan_unmap(plan);
    }
}

static void owner_found_from_the_address(void **state)
{
    (void)state;
    const struct trace_op ops[] = {
        BEGIN,  ALLOC(10), BEGIN, {.kind = TRACE_REALLOC, .object = 0, .size = 20},
        END(1), FREE(0),   END(0)};
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_SCOPE,
                 "s1(r0) s1:a0:10 s2(s1) s1:r0:10>20 -s2 -s1 "); /* the owner's view is given */
    spy.traits |= ALLOCATOR_FINDS_OWNER;
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_SCOPE,
                 "s1(r0) s1:a0:10 s2(s1) r0:r0:10>20 -s2 -s1 ");
    spy.traits &= ~(unsigned)ALLOCATOR_FINDS_OWNER;
}

static void scopes_interleave(void **state)
{
    (void)state;
    const struct trace_op ops[] = {BEGIN,     ALLOC(1), SWITCH(TRACE_NO_SCOPE),
                                   BEGIN,     ALLOC(2), SWITCH(0),
                                   FREE(1),   ALLOC(3), END(0),
                                   SWITCH(1), ALLOC(4), FREE(0),
                                   FREE(2),   FREE(3),  END(1)};
    /* 0 and 2 are freed after scope 0 has ended, so they are placed in the root; 1 and 3 die with
     * scope 1, wherever they are freed from. */
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_SCOPE,
                 "s1(r0) r0:a0:1 s2(r0) s2:a1:2 r0:a2:3 -s1 s2:a3:4 r0:f0 r0:f2 -s2 ");
}

static void the_epilogue_closes_scopes(void **state)
{
    (void)state;
    const struct trace_op ops[] = {BEGIN, ALLOC(1), BEGIN, ALLOC(2)};
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_SCOPE, "s1(r0) s1:a0:1 s2(s1) s2:a1:2 -s2 -s1 ");
}

static void drops_are_seen_by_observers_only(void **state)
{
    (void)state;
    const struct plan *plan = plan_make(scoped, COUNT(scoped), PLAN_RELEASE_SCOPE, PLAN_OBSERVE);
    const char *expected = "s1(r0) r0:a0:10 s2(s1) s2:a1:20 s1:a2:30 -s2 -s1 r0:f0 ";
    assert_string_equal(observe_said(plan, plan->runs), expected);
    assert_string_equal(replay_said(plan, plan->runs), expected);
    plan_unmap(plan);
}

static uint64_t plan_words(const struct plan *plan)
{
    const struct plan_thread *threads = (const void *)((const char *)plan + plan->threads_offset);
    uint64_t words = 0;
    for (uint64_t i = 0; i < plan->threads; i++)
        words += threads[i].words;
    return words;
}

static void threads_have_views(void **state)
{
    (void)state;
    const struct trace_op ops[] = {ALLOC(1),
                                   {.kind = TRACE_ALLOC, .size = 2, .thread = 1},
                                   {.kind = TRACE_FREE, .object = 0, .thread = 1},
                                   {.kind = TRACE_THREAD_END, .thread = 1},
                                   FREE(1)};
    spy.thread_enter = spy_thread_enter;
    spy.thread_exit = spy_thread_exit;
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_FREE,
                 "+t1 t1:a0:1 +t2 t2:a1:2 t2:f0 -t2 t1:f1 -t1 ");
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    one_view = true;
    assert_string_equal(observe_said(plan, plan->runs), "+t1 t1:a0:1 t1:a1:2 t1:f0 t1:f1 -t1 ");
    one_view = false;
    spy.thread_enter = NULL;
    spy.thread_exit = NULL;
    plan_unmap(plan);
    plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, PLAN_PARALLEL);
    assert_int_equal(plan->threads, 2);
    assert_int_equal(plan->shared_objects, 2);
    uint64_t words = plan_words(plan);
    plan_unmap(plan);
    /* A plan that is replayed serially and timed has the same calls, and no turns beside them. */
    plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    assert_int_equal(plan->shared_objects, 0);
    assert_int_equal(plan_words(plan), words - 4);
    plan_unmap(plan);
}

/* One run before the trace, for what was live, one of it, and one after it; the calls in the same
   order; and the header says of threads what it says in any plan. */
static void threads_merged_keep_the_order(void **state)
{
    (void)state;
    const struct trace_op ops[] = {{.kind = TRACE_LIVE, .size = 70},
                                   ALLOC(1),
                                   {.kind = TRACE_ALLOC, .size = 2, .thread = 1},
                                   {.kind = TRACE_REALLOC, .object = 1, .size = 9, .thread = 1},
                                   ALLOC(3),
                                   {.kind = TRACE_FREE, .object = 1, .thread = 1},
                                   {.kind = TRACE_THREAD_END, .thread = 1},
                                   FREE(2)};
    spy.thread_enter = spy_thread_enter; /* is not called */
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, PLAN_MERGED);
    assert_string_equal(replay_said(plan, plan->runs),
                        "r0:a0:70 r0:a1:1 r0:a2:2 r0:r1:1>9 r0:a3:3 r0:f1 r0:f2 r0:f0 r0:f3 ");
    assert_int_equal(plan->threads, 2);
    assert_int_equal(plan->start_runs, 1);
    assert_int_equal(plan->main_runs, 2);
    assert_int_equal(plan->runs, 3);
    plan_unmap(plan);
    plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    assert_true(plan->runs > 3);
    plan_unmap(plan);
    spy.thread_enter = NULL;
}

static void designs_that_cannot_reuse_run_in_a_scope(void **state)
{
    (void)state;
    const struct trace_op ops[] = {ALLOC(1)};
    spy.traits &= ~(unsigned)ALLOCATOR_REUSES;
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_FREE, "s1(r0) s1:a0:1 s1:f0 -s1 ");
    spy.traits |= ALLOCATOR_REUSES;
}

static void a_live_object_is_made_but_not_counted(void **state)
{
    (void)state;
    const struct trace_op ops[] = {{.kind = TRACE_LIVE, .size = 70}, FREE(0)};
    expect_calls(ops, COUNT(ops), PLAN_RELEASE_FREE, "r0:a0:70 r0:f0 ");
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    assert_int_equal(plan->ops, 1);
    /* What makes it is not among the runs that are timed. */
    assert_int_equal(plan->start_objects, 1);
    assert_string_equal(replay_said(plan, plan->start_runs), "r0:a0:70 ");
    plan_unmap(plan);
    const struct trace_op none[] = {ALLOC(1), FREE(0)};
    plan = plan_make(none, COUNT(none), PLAN_RELEASE_FREE, 0);
    assert_int_equal(plan->start_runs, 0);
    plan_unmap(plan);
}

static void an_empty_trace_is_a_plan(void **state)
{
    (void)state;
    const struct plan *plan = plan_make(NULL, 0, PLAN_RELEASE_FREE, 0);
    assert_string_equal(replay_said(plan, plan->runs), "");
    plan_unmap(plan);
}

static void every_new_object_is_touched(void **state)
{
    struct error err;
    struct replay replay;
    (void)state;
    const struct trace_op ops[] = {
        ALLOC(8),
        {.kind = TRACE_CALLOC, .size = 8},
        {.kind = TRACE_ALIGNED, .size = 8, .align_log2 = 6},
    };
    const struct plan *plan = plan_make(ops, COUNT(ops), PLAN_RELEASE_FREE, 0);
    spy_reset();
    memset(pool, 0, sizeof pool);
    assert_int_equal(replay_open(&replay, plan, &spy, &views[0], TOUCH_FIRST, &err), 0);
    assert_true(replay_pass_begin(&replay));
    assert_true(replay_runs(&replay, 0, plan->main_runs));
    for (size_t i = 0; i < COUNT(ops); i++)
        assert_int_equal(pool[64 * i], 1);
    replay_close(&replay);
    plan_unmap(plan);
}

static void what_is_no_plan_is_refused(void **state)
{
    (void)state;
    struct error err;
    int fd = memfd_create("test", 0);
    assert_null(plan_map(fd, &err));
    assert_non_null(strstr(err.text, "not a plan"));
    assert_int_equal(ftruncate(fd, 4096), 0);
    assert_null(plan_map(fd, &err));
    assert_non_null(strstr(err.text, "wrong magic"));
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_of_call),
        cmocka_unit_test(a_plan_loops),
        cmocka_unit_test(sizes_beyond_32_bits),
        cmocka_unit_test(needs_size_is_given_every_size),
        cmocka_unit_test(escapees_move_outwards),
        cmocka_unit_test(owner_found_from_the_address),
        cmocka_unit_test(scopes_interleave),
        cmocka_unit_test(the_epilogue_closes_scopes),
        cmocka_unit_test(drops_are_seen_by_observers_only),
        cmocka_unit_test(threads_have_views),
        cmocka_unit_test(threads_merged_keep_the_order),
        cmocka_unit_test(designs_that_cannot_reuse_run_in_a_scope),
        cmocka_unit_test(a_live_object_is_made_but_not_counted),
        cmocka_unit_test(an_empty_trace_is_a_plan),
        cmocka_unit_test(every_new_object_is_touched),
        cmocka_unit_test(what_is_no_plan_is_refused),
    };
    return cmocka_run_group_tests_name("plan", tests, NULL, NULL);
}
