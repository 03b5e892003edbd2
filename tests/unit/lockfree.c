/*
 * lockfree.c - what lockfree promises in numbers: who owns a span when, the bound on memory when
 * one thread allocates and another frees, with reclamation of both kinds and with a reader that
 * stands still, and what exits, ticks and trims give back. A seed is drawn and printed;
 * ALLOCLAB_SEED=N repeats it.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "allocators/lib/shared_stack.h"
#include "harness/registry.h"
#include "tests/lib/rig.h"
#include "tests/lib/stress.h"

#define KIB    ((size_t)1 << 10)
#define MIB    ((size_t)1 << 20)
#define SECOND UINT64_C(1000000000)

enum { PER_SPAN = 128 }; /* objects of 64 bytes */

static struct rig rig;
static uint64_t seed;

static void start(const char *options)
{
    const struct rig_setup setup = {.options = options, .observe = true};
    rig_open(&rig, allocator_find("lockfree"), &setup);
}

static void stop(void)
{
    rig_check(&rig);
    rig_close(&rig);
}

static struct heap *enter(void)
{
    struct heap *view = rig.design->thread_enter(rig.heap);
    assert_non_null(view);
    return view;
}

static char *take(struct heap *view, size_t size)
{
    char *p = rig.design->alloc(view, size, 16);
    assert_non_null(p);
    return p;
}

static void give(struct heap *view, void *p)
{
    rig.design->free(view, p, 0);
}

/* ---- owners ---- */

/* One thread by itself never comes to the shared stacks. */
static void test_own_frees(void **state)
{
    (void)state;
    static char *p[10 * PER_SPAN];
    start(NULL);
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < 10 * PER_SPAN; i++)
            p[i] = take(rig.view, 64);
        for (unsigned i = 0; i < 10 * PER_SPAN; i++)
            give(rig.view, p[i]);
    }
    assert_int_equal(rig_stat(&rig, "spans_listed"), 0);
    assert_int_equal(rig_stat(&rig, "spans_adopted"), 0);
    assert_int_equal(rig_stat(&rig, "limbo_peak_spans_of_a_view"), 0);
    assert_true(rig_stat(&rig, "spans_taken_back") > 0);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), 0);
    stop();
}

/* A full span is listed by the 16th of its 128 objects that others free, and then adopted. */
static void test_listed_by_an_eighth(void **state)
{
    (void)state;
    static char *p[PER_SPAN + 1];
    start(NULL);
    struct heap *other = enter();
    for (unsigned i = 0; i <= PER_SPAN; i++)
        p[i] = take(rig.view, 64);
    for (unsigned i = 0; i < 15; i++)
        give(other, p[i]);
    rig_check(&rig);
    assert_int_equal(rig_stat(&rig, "spans_listed"), 0);
    give(other, p[15]);
    rig_check(&rig);
    assert_int_equal(rig_stat(&rig, "spans_listed"), 1);
    for (unsigned i = 0; i < 16; i++) {
        char *q = take(other, 64);
        assert_true(q >= p[0] && q <= p[15]);
    }
    assert_int_equal(rig_stat(&rig, "spans_adopted"), 1);
    assert_int_equal(rig_stat(&rig, "spans_taken"), 2);
    assert_int_equal(rig_stat(&rig, "limbo_spans"), 1);
    stop();
}

/* A full span that its last owner frees into is its own again, with all that others freed. */
static void test_taken_back(void **state)
{
    (void)state;
    static char *p[PER_SPAN + 1];
    start("keep=0");
    struct heap *other = enter();
    for (unsigned i = 0; i <= PER_SPAN; i++)
        p[i] = take(rig.view, 64);
    for (unsigned i = 0; i < 10; i++)
        give(other, p[i]);
    give(rig.view, p[10]);
    rig_check(&rig);
    assert_int_equal(rig_stat(&rig, "spans_taken_back"), 1);
    for (unsigned i = 11; i < PER_SPAN; i++)
        give(rig.view, p[i]);
    assert_int_equal(rig_stat(&rig, "spans_given"), 1);
    stop();
}

/* Of twelve empty spans the current one stays, and as many more as `keep` allows. */
static void test_kept(void **state)
{
    (void)state;
    static char *p[12 * PER_SPAN];
    start("keep=64k");
    for (unsigned round = 1; round <= 3; round++) {
        for (unsigned i = 0; i < 12 * PER_SPAN; i++)
            p[i] = take(rig.view, 64);
        assert_int_equal(rig_stat(&rig, "spans_taken"), 12 + (round - 1) * 3);
        for (unsigned i = 0; i < 12 * PER_SPAN; i++)
            give(rig.view, p[i]);
        rig_check(&rig);
        assert_int_equal(rig_stat(&rig, "spans_given"), round * 3);
    }
    rig.design->thread_exit(rig.view);
    assert_int_equal(rig_stat(&rig, "spans_given"), rig_stat(&rig, "spans_taken"));
    rig.view = enter();
    stop();
}

static void test_exit_leaves(void **state)
{
    (void)state;
    start(NULL);
    struct heap *other = enter();
    char *p = take(other, 64), *empty = take(other, 5000);
    give(other, empty);
    rig.design->thread_exit(other);
    rig_check(&rig);
    assert_int_equal(rig_stat(&rig, "spans_given"), 1);
    uint64_t taken = rig_stat(&rig, "spans_taken");
    char *q = take(rig.view, 64);
    assert_int_equal(rig_stat(&rig, "spans_taken"), taken);
    assert_int_equal(rig_stat(&rig, "spans_adopted"), 1);
    give(rig.view, p);
    give(rig.view, q);
    stop();
}

/* Threads that come and go leave nothing but what is alive, and use each other's records. */
static void test_threads_come_and_go(void **state)
{
    (void)state;
    size_t early = 0;
    start(NULL);
    for (unsigned i = 0; i < 3000; i++) {
        struct heap *a = enter(), *b = enter();
        char *p = take(a, 64 + i % 7 * 100), *q = take(b, 2000);
        give(b, p);
        rig.design->thread_exit(b);
        give(a, q);
        rig.design->thread_exit(a);
        if (i == 100)
            early = rig_committed(&rig);
    }
    assert_int_equal(rig_committed(&rig), early);
    assert_int_equal(rig_stat(&rig, "views"), 5); /* root, keeper, the rig's, a, b */
    stop();
}

/* ---- one thread allocates, another frees ---- */

enum { WINDOW = 4096 };

/* Committed bytes after so many objects of 13 classes, WINDOW of them alive at a time. */
static size_t flow(struct heap *consumer, unsigned objects)
{
    static char *window[WINDOW];
    for (unsigned i = 0; i < objects + WINDOW; i++) {
        if (i >= WINDOW)
            give(consumer, window[i % WINDOW]);
        window[i % WINDOW] = i < objects ? take(rig.view, 16 + i % 13 * 16) : NULL;
    }
    rig_check(&rig);
    return rig_committed(&rig);
}

/* The header's: 8/7 of what is alive, and for each view and class one span in use, one about to be
 * listed, and `limbo` spans in all; in units, and with the segment's header. */
static size_t flow_bound(uint64_t limbo)
{
    size_t live = WINDOW * (16 + 6 * 16);
    return live * 8 / 7 + (13 * 2 * rig_stat(&rig, "views") + limbo) * 8 * KIB + 128 * KIB;
}

static void flow_test(const char *options)
{
    start(options);
    struct heap *consumer = enter();
    size_t early = flow(consumer, 50000);
    assert_true(early <= flow_bound(rig_stat(&rig, "limbo_bound_spans")));
    assert_true(flow(consumer, 150000) <= early + 16 * 8 * KIB);
    assert_true(rig_stat(&rig, "spans_adopted") > 50);
    uint64_t bound = rig_stat(&rig, "limbo_bound_spans") / rig_stat(&rig, "views");
    assert_in_range(rig_stat(&rig, "limbo_peak_spans_of_a_view"), 1, bound);
    rig.design->thread_exit(consumer);
    stop();
}

static void test_flow_hazard(void **state)
{
    (void)state;
    flow_test("reclaim=hazard");
    flow_test("reclaim=hazard,limbo=1");
    flow_test("reclaim=hazard,limbo=128");
}

static void test_flow_epoch(void **state)
{
    (void)state;
    flow_test("reclaim=epoch");
    flow_test("reclaim=epoch,limbo=1");
    flow_test("reclaim=epoch,limbo=128");
}

/* A reader that stands still inside its epoch keeps all spans that were adopted with their
 * adopters, and no more wait in limbo than may; memory stays bounded, and comes back after it. */
static void test_flow_stalled(void **state)
{
    (void)state;
    start("reclaim=epoch,limbo=8");
    struct heap *consumer = enter(), *stalled = enter();
    struct reclaimer *reader = (struct reclaimer *)stalled; /* a view begins with its record */
    atomic_store(&reader->epoch.announced, 1);
    size_t early = flow(consumer, 50000);
    assert_true(flow(consumer, 150000) <= early + 16 * 8 * KIB);
    assert_true(early <= 2 * flow_bound(0)); /* two views hold spans: the rig's and the keeper */
    assert_int_equal(rig_stat(&rig, "limbo_peak_spans_of_a_view"), 8);
    atomic_store(&reader->epoch.announced, 0);
    rig.design->thread_exit(stalled);
    rig.design->thread_exit(consumer);
    rig.design->thread_exit(rig.view);
    rig.design->trim(rig.heap);
    assert_int_equal(rig_stat(&rig, "limbo_spans"), 0);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE) + rig_bytes(&rig, WALK_FREE), 0);
    rig.view = enter();
    stop();
}

enum { RING = 1024, HANDED = 300000 };

static _Atomic(char *) ring[RING];

static void *consumer_main(void *arg)
{
    for (unsigned i = 0; i < HANDED;) {
        char *p = atomic_exchange_explicit(&ring[i % RING], NULL, memory_order_acq_rel);
        if (p) {
            give(arg, p);
            i++;
        }
    }
    return NULL;
}

/* The same with real threads: what was committed at most. */
static void test_flow_threads(void **state)
{
    (void)state;
    for (unsigned epoch = 0; epoch < 2; epoch++) {
        const struct rig_setup setup = {.options = epoch ? "reclaim=epoch" : "reclaim=hazard"};
        rig_open(&rig, allocator_find("lockfree"), &setup);
        pthread_t thread;
        struct heap *consumer = enter();
        assert_int_equal(pthread_create(&thread, NULL, consumer_main, consumer), 0);
        for (unsigned i = 0; i < HANDED;)
            if (!atomic_load_explicit(&ring[i % RING], memory_order_acquire))
                atomic_store_explicit(&ring[i++ % RING], take(rig.view, 64), memory_order_release);
        assert_int_equal(pthread_join(thread, NULL), 0);
        size_t bound =
            (RING + 2) * 64 * 8 / 7 +
            (2 * rig_stat(&rig, "views") + rig_stat(&rig, "limbo_bound_spans")) * 8 * KIB;
        assert_true(os_counts(rig.os).peak_committed_bytes <= bound + 512 * KIB);
        rig.design->thread_exit(consumer);
        stop();
    }
}

/* tests/unit/stress.c runs the defaults; here is what it does not. */
static void test_stress(void **state)
{
    (void)state;
    static const char *const options[] = {"reclaim=epoch", "reclaim=epoch,limbo=1,keep=0",
                                          "reclaim=hazard,limbo=1,keep=0,age_ms=0"};
    for (unsigned i = 0; i < 3; i++)
        stress_run(&(struct stress){.design = "lockfree",
                                    .options = options[i],
                                    .threads = 4,
                                    .steps = 60000,
                                    .seed = seed + i,
                                    .upkeep = i > 0});
}

/* ---- what comes back ---- */

static void test_tick_sweeps(void **state)
{
    (void)state;
    static char *p[4 * PER_SPAN];
    start("age_ms=1000");
    struct heap *other = enter();
    for (unsigned i = 0; i < 4 * PER_SPAN; i++)
        p[i] = take(rig.view, 64);
    for (unsigned i = 0; i < 3 * PER_SPAN; i++)
        give(other, p[i]); /* three listed spans, all free: nobody's */
    assert_int_equal(rig_stat(&rig, "spans_given"), 0);
    rig.clock_ns += SECOND / 2;
    rig.design->tick(rig.heap, rig.clock_ns);
    assert_int_equal(rig_stat(&rig, "spans_given"), 0);
    rig.clock_ns += SECOND / 2;
    rig.design->tick(rig.heap, rig.clock_ns);
    rig_check(&rig);
    assert_int_equal(rig_stat(&rig, "spans_given"), 3);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), PER_SPAN * 64);
    rig.clock_ns += 2 * SECOND;
    rig.design->tick(rig.heap, rig.clock_ns); /* and their pages to the kernel */
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 0);
    stop();
}

/* More listed spans than limbo and keeper take at once, and some with objects that stay. */
static void test_trim_returns(void **state)
{
    (void)state;
    enum { SPANS = 600 };
    static char *p[SPANS * 4];
    start("limbo=4");
    struct heap *other = enter();
    for (unsigned i = 0; i < SPANS * 4; i++)
        p[i] = take(other, 4096);
    for (unsigned i = 0; i < SPANS * 4; i++)
        if (i % 40)
            give(rig.view, p[i]);
    rig.design->thread_exit(other);
    rig.design->trim(rig.heap);
    rig_check(&rig);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), SPANS / 10 * 4096);
    assert_int_equal(rig_stat(&rig, "spans_given"), SPANS * 9 / 10);
    assert_int_equal(rig_stat(&rig, "limbo_spans"), 0);
    for (unsigned i = 0; i < SPANS * 4; i += 40)
        give(rig.view, p[i]);
    rig.design->trim(rig.heap);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE) + rig_bytes(&rig, WALK_FREE), 0);
    stop();
}

/* With nothing left to commit, what waits in stacks is found. */
static void test_memory_short(void **state)
{
    (void)state;
    const struct rig_setup setup = {.observe = true, .commit_limit_bytes = 4 * MIB};
    static char *p[4096];
    unsigned count = 0;
    rig_open(&rig, allocator_find("lockfree"), &setup);
    struct heap *other = enter();
    while (count < 4096 && (p[count] = rig.design->alloc(other, 2048, 16)) != NULL)
        count++;
    assert_in_range(count, 1000, 4095);
    for (unsigned i = 0; i < count; i++)
        give(rig.view, p[i]);
    for (unsigned i = 0; i < count / 2; i++)
        take(rig.view, 1024);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_own_frees),    cmocka_unit_test(test_listed_by_an_eighth),
        cmocka_unit_test(test_taken_back),   cmocka_unit_test(test_kept),
        cmocka_unit_test(test_exit_leaves),  cmocka_unit_test(test_threads_come_and_go),
        cmocka_unit_test(test_flow_hazard),  cmocka_unit_test(test_flow_epoch),
        cmocka_unit_test(test_flow_stalled), cmocka_unit_test(test_flow_threads),
        cmocka_unit_test(test_stress),       cmocka_unit_test(test_tick_sweeps),
        cmocka_unit_test(test_trim_returns), cmocka_unit_test(test_memory_short),
    };
    const char *text = getenv("ALLOCLAB_SEED");
    seed = text ? strtoull(text, NULL, 10) : (uint64_t)time(NULL);
    printf("# ALLOCLAB_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests_name("lockfree", tests, NULL, NULL);
}
