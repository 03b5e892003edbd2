/*
 * segfit.c - what segfit and its parts promise in numbers: the classes' waste, batches between bins
 * and central lists, the bound on free memory when one thread allocates and another frees, what
 * tick gives back after which time of a virtual clock, and what pages does with runs.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include <cmocka.h>

#include "allocators/lib/central.h"
#include "allocators/lib/front.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/size_class.h"
#include "harness/registry.h"
#include "tests/lib/child.h"
#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

#define KIB    ((size_t)1 << 10)
#define MIB    ((size_t)1 << 20)
#define SECOND UINT64_C(1000000000)

static struct rig rig;

static void start(const char *options)
{
    const struct rig_setup setup = {.options = options, .observe = true};
    rig_open(&rig, allocator_find("segfit"), &setup);
}

static void stop(void)
{
    rig_check(&rig);
    rig_close(&rig);
}

static char *take(size_t size)
{
    char *p = rig.design->alloc(rig.view, size, 16);
    assert_non_null(p);
    return p;
}

static void give(void *p)
{
    rig.design->free(rig.view, p, 0);
}

static void tick_after(uint64_t ns)
{
    rig.clock_ns += ns;
    rig.design->tick(rig.heap, rig.clock_ns);
}

/* ---- size classes ---- */

static void test_class_waste(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 64 * KIB; size++) {
        unsigned index = size_class_of(size);
        size_t bytes = size_class_bytes(index);
        assert_true(bytes >= size);
        assert_true(is_aligned(bytes, 16));
        if (index)
            assert_true(size_class_bytes(index - 1) < size);
        if (size > 128)
            assert_true(8 * (bytes - size) <= bytes); /* 12.5 % */
        else
            assert_true(bytes - size < 16);
    }
    for (size_t size = 16; size <= 64 * KIB; size *= 2)
        assert_int_equal(size_class_bytes(size_class_of(size)), size);
}

/* What the design hands out, large objects too. */
static void test_usable_waste(void **state)
{
    (void)state;
    start(NULL);
    for (size_t size = 129; size < 4 * MIB; size += size / 50 + 1) {
        char *p = take(size);
        size_t usable = rig.design->usable(rig.view, p);
        assert_true(usable >= size && 8 * (usable - size) <= usable);
        give(p);
    }
    stop();
}

/* ---- batches ---- */

static void test_batches(void **state)
{
    (void)state;
    enum { COUNT = 10 * 32 };
    static char *p[COUNT];
    start("batch=32,cache=0");
    for (unsigned i = 0; i < COUNT; i++)
        p[i] = take(64);
    assert_int_equal(rig_stat(&rig, "refills"), 10);
    assert_int_equal(rig_stat(&rig, "spans_taken"), 3); /* of 128 objects */
    for (unsigned i = 1; i < COUNT; i++)
        assert_true(p[i] != p[i - 1]);
    for (unsigned i = 0; i < 32; i++)
        give(p[i]); /* as many as the bin holds */
    assert_int_equal(rig_stat(&rig, "flushes"), 0);
    give(p[32]);
    assert_int_equal(rig_stat(&rig, "flushes"), 1);
    for (unsigned i = 33; i < COUNT; i++)
        give(p[i]);
    assert_int_equal(rig_stat(&rig, "flushes"), 9);
    assert_int_equal(rig_stat(&rig, "depot_bytes"), 8 * 32 * 64); /* no more than eight batches */
    assert_int_equal(rig_stat(&rig, "cached_bytes"), 32 * 64);
    rig_check(&rig);
    for (unsigned i = 0; i < COUNT; i++)
        p[i] = take(64);
    assert_int_equal(rig_stat(&rig, "spans_taken"), 3);
    stop();
}

/* A class of which little is used is little of: refills double from 2 KiB to a batch. */
static void test_slow_start(void **state)
{
    (void)state;
    start(NULL);
    for (unsigned i = 0; i < 128; i++) {
        take(64);
        assert_int_equal(rig_stat(&rig, "refills"), i < 32 ? 1 : i < 96 ? 2 : 3);
    }
    stop();
}

/* Without any tick: what one size leaves in caches is free for the next sizes. */
static void test_sweep(void **state)
{
    (void)state;
    static char *p[32 * 1024];
    start("age_ms=1000000");
    for (size_t size = 32; size <= 4096; size = size * 6 / 5) {
        size_t count = MIB / size;
        for (size_t i = 0; i < count; i++)
            p[i] = take(size);
        for (size_t i = 0; i < count; i++) /* so that each batch is of many spans */
            give(p[i * 7919 % count]);
        if (size > 64)
            assert_true(rig_committed(&rig) < 3 * MIB);
    }
    assert_true(rig_stat(&rig, "depots_swept") > 20);
    stop();
}

/* Bins that give and take in turn grow until a round stays within them; `cache` bounds that. */
static void test_bins_grow(void **state)
{
    (void)state;
    static char *p[1000];
    for (unsigned large = 0; large < 2; large++) {
        start(large ? "cache=1m" : "cache=16k");
        uint64_t refills = 0;
        for (unsigned round = 0; round < 20; round++) {
            refills = rig_stat(&rig, "refills");
            for (unsigned i = 0; i < 1000; i++)
                p[i] = take(64);
            for (unsigned i = 0; i < 1000; i++)
                give(p[i]);
        }
        refills = rig_stat(&rig, "refills") - refills;
        if (large)
            assert_int_equal(refills, 0);
        else
            assert_in_range(refills, 5, 16);
        rig_check(&rig);
        rig.design->trim(rig.heap);
        assert_int_equal(rig_bytes(&rig, WALK_FREE), 0);
        stop();
    }
}

/* A budget that is spent is won back from bins that no longer need it. */
static void test_budget(void **state)
{
    (void)state;
    static char *p[2000];
    start("cache=128k");
    for (size_t size = 64; size <= 8 * KIB; size *= 2) {
        size_t count = 256 * KIB / size > 2000 ? 2000 : 256 * KIB / size;
        for (unsigned round = 0; round < 10; round++) {
            for (size_t i = 0; i < count; i++)
                p[i] = take(size);
            for (size_t i = 0; i < count; i++)
                give(p[i]);
            rig_check(&rig);
        }
    }
    /* The header's bound, for the eight classes used. */
    assert_in_range(rig_stat(&rig, "cached_bytes"), 1, 128 * KIB + 8 * 8 * KIB);
    assert_in_range(rig_stat(&rig, "depot_bytes"), 1, 8 * 8 * 8 * KIB);
    stop();
}

/* ---- one thread allocates, another frees ---- */

static void test_flow_bound(void **state)
{
    (void)state;
    static char *window[512];
    start(NULL);
    struct heap *consumer = rig.design->thread_enter(rig.heap);
    size_t early = 0;
    for (unsigned i = 0; i < 400000; i++) {
        unsigned slot = i % 512;
        if (i >= 512)
            rig.design->free(consumer, window[slot], 0);
        window[slot] = take(16 + i % 13 * 16);
        if (i == 20000)
            early = rig_committed(&rig);
    }
    assert_true(rig_committed(&rig) <= early + 64 * KIB);
    assert_true(rig_committed(&rig) <= 4 * MIB);
    rig_check(&rig);
    for (unsigned i = 0; i < 512; i++)
        rig.design->free(consumer, window[i], 0);
    rig.design->thread_exit(consumer);
    rig_check(&rig);
    stop();
}

static void test_exit_returns_cache(void **state)
{
    (void)state;
    start(NULL);
    struct heap *other = rig.design->thread_enter(rig.heap);
    char *p = rig.design->alloc(other, 100, 16);
    assert_non_null(p);
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 17 * 112); /* 2 KiB were asked for */
    rig.design->thread_exit(other);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), 112);
    give(p); /* nobody's objects can be freed by anybody */
    rig.design->trim(rig.heap);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE) + rig_bytes(&rig, WALK_FREE), 0);
    stop();
}

/* ---- tick ---- */

static void test_idle_cache_drained(void **state)
{
    (void)state;
    start("age_ms=1000");
    if (!rig_stat(&rig, "views_can_be_drained"))
        skip(); /* the kernel has no membarrier */
    tick_after(SECOND);
    char *p = take(64);
    tick_after(SECOND); /* used since the last tick */
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 31 * 64);
    tick_after(SECOND / 2);
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 31 * 64);
    tick_after(SECOND / 2);
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 31 * 64); /* in the span now */
    uint64_t refills = rig_stat(&rig, "refills");
    give(p);
    p = take(64);
    char *q = take(64);
    assert_int_equal(rig_stat(&rig, "refills"), refills + 1);
    give(p);
    give(q);
    tick_after(SECOND);
    tick_after(SECOND); /* drained: the span is empty and goes to the pages */
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), 0);
    assert_int_equal(rig_stat(&rig, "spans_given"), 1);
    tick_after(SECOND); /* and they to the kernel, with the segment's header but the view's */
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 0);
    stop();
}

static void test_depot_drained(void **state)
{
    (void)state;
    static char *p[256];
    start("cache=0,age_ms=1000");
    for (unsigned i = 0; i < 256; i++)
        p[i] = take(64);
    for (unsigned i = 0; i < 256; i++)
        give(p[i]);
    assert_int_equal(rig_stat(&rig, "depot_bytes"), 3 * 64 * 64);
    rig.design->thread_exit(rig.view);
    assert_int_equal(rig_stat(&rig, "spans_given"), 0); /* the depot holds them */
    tick_after(SECOND);
    assert_int_equal(rig_stat(&rig, "spans_given"), 0);
    tick_after(SECOND);
    assert_int_equal(rig_stat(&rig, "spans_given"), 2);
    rig.view = rig.design->thread_enter(rig.heap);
    assert_non_null(rig.view);
    stop();
}

static void test_pages_returned_by_age(void **state)
{
    (void)state;
    start("age_ms=1000");
    tick_after(SECOND);
    char *p = take(4 * MIB), *q = take(8 * MIB), *fence = take(100 * KIB);
    size_t all = rig_committed(&rig);
    give(p);
    tick_after(SECOND / 2);
    give(q);
    tick_after(SECOND / 2);
    /* Merged with p: as young as its youngest part. */
    assert_in_range(rig_committed(&rig), all - 64 * KIB, all);
    tick_after(SECOND / 2);
    assert_true(rig_committed(&rig) <= all - 12 * MIB);
    give(fence);
    stop();
}

static void test_pages_returned_by_limit(void **state)
{
    (void)state;
    static char *p[16];
    start("limit=4m");
    for (unsigned i = 0; i < 16; i++) {
        p[i] = take(MIB);
        take(MIB / 8);
    }
    size_t all = rig_committed(&rig);
    for (unsigned i = 0; i < 16; i++) {
        give(p[i]);
        size_t gone = i < 4 ? 0 : (i - 3) * MIB;
        assert_in_range(rig_committed(&rig), all - gone - 128 * KIB, all - gone);
    }
    stop();
}

static void test_pages_never_returned(void **state)
{
    (void)state;
    start("return=never,limit=1m,age_ms=0");
    char *p = take(8 * MIB);
    size_t all = rig_committed(&rig);
    give(p);
    tick_after(SECOND);
    tick_after(100 * SECOND);
    assert_int_equal(rig_committed(&rig), all);
    rig.design->trim(rig.heap); /* is asked for, not policy */
    assert_true(rig_committed(&rig) <= all - 8 * MIB);
    stop();
}

/* Lazily returned pages are not committed, and not zero when they come back. */
static void test_pages_returned_lazily(void **state)
{
    (void)state;
    start("return=lazy,age_ms=1000");
    for (unsigned round = 0; round < 3; round++) {
        char *p = rig.design->zalloc(rig.view, 8 * MIB, 16);
        assert_non_null(p);
        for (size_t i = 0; i < 8 * MIB; i++)
            assert_int_equal(p[i], 0);
        memset(p, 0xa5, 8 * MIB);
        size_t all = rig_committed(&rig);
        give(p);
        tick_after(SECOND);
        tick_after(SECOND);
        assert_true(rig_committed(&rig) <= all - 8 * MIB);
        assert_true(os_counts(rig.os).lazy_bytes >= 8 * MIB);
        rig_check(&rig);
        take(100); /* so that the segment stays */
    }
    rig.design->trim(rig.heap);
    assert_int_equal(os_counts(rig.os).lazy_bytes, 0);
    stop();
}

/* Objects spread over spans, nine of ten freed at random: empty spans go, and at the end all. */
static void test_spans_returned(void **state)
{
    (void)state;
    enum { COUNT = 16000 };
    static char *p[COUNT];
    struct rng rng = rng_stream(1, 1);
    start("age_ms=1000");
    size_t live = 0;
    for (unsigned i = 0; i < COUNT; i++)
        p[i] = take(64 + rng_below(&rng, 4033));
    size_t peak = rig_committed(&rig);
    for (unsigned i = 0; i < COUNT; i++)
        if (rng_chance(&rng, 0.9)) {
            give(p[i]);
            p[i] = NULL;
        } else {
            live += rig.design->usable(rig.view, p[i]);
        }
    for (unsigned i = 0; i < 4; i++)
        tick_after(SECOND);
    rig_check(&rig);
    assert_true(rig_committed(&rig) < peak * 55 / 100);
    assert_int_equal(rig_bytes(&rig, WALK_LIVE), live);
    for (unsigned i = 0; i < COUNT; i++)
        if (p[i])
            give(p[i]);
    for (unsigned i = 0; i < 4; i++)
        tick_after(SECOND);
    assert_true(rig_committed(&rig) < MIB / 2);
    stop();
}

/* ---- fork ---- */

/*
 * Where gates cannot be closed, the child finds a view that its thread will never leave, with a
 * half-written bin: the bin's objects are lost to it, and all else is whole. A fork of real threads
 * is a promise of tests/conformance.c.
 */
static void test_fork_inside_view(void **state)
{
    (void)state;
    start(NULL);
    struct heap *other = rig.design->thread_enter(rig.heap);
    assert_non_null(other);
    char *p = rig.design->alloc(other, 64, 16);
    assert_non_null(p);
    rig.heap->shared->visits = false;
    assert_true(gate_enter(&other->gate));
    other->bins[size_class_of(64) + 1].count++; /* its next store would have been `head` */
    assert_non_null(rig.design->check(rig.heap));
    rig.design->fork(rig.heap, ALLOCATOR_FORK_BEFORE);
    rig.design->fork(rig.heap, ALLOCATOR_FORK_CHILD);
    rig_check(&rig);
    assert_int_equal(rig_bytes(&rig, WALK_FREE), 31 * 64); /* lost, but told */
    give(p);
    rig.design->thread_exit(other);
    rig.design->trim(rig.heap);
    rig_check(&rig);
    stop();
}

/* ---- a program that locks itself in later ---- */

static bool membarrier_forbid(void)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {.len = sizeof rules / sizeof *rules, .filter = rules};
    return !prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
           !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

enum { SANDBOX_RIGHT, SANDBOX_NONE, SANDBOX_VISITED, SANDBOX_SILENT, SANDBOX_CLOSED };

/* By the numbers of the root, whose bins are looked at directly: no assertions here. */
static int sandbox_deed(void *arg)
{
    struct front *s = rig.heap->shared;
    const struct allocator *design = rig.design;
    (void)arg;
    if (!membarrier_forbid())
        return SANDBOX_NONE;
    for (unsigned i = 0; i < 3; i++)
        design->tick(rig.heap, rig.clock_ns += 2 * SECOND);
    design->fork(rig.heap, ALLOCATOR_FORK_BEFORE);
    design->fork(rig.heap, ALLOCATOR_FORK_PARENT);
    if (s->drained)
        return SANDBOX_VISITED;
    if (s->visits || !design->mode(rig.heap))
        return SANDBOX_SILENT;
    bool closed = !gate_enter(&rig.view->gate);
    gate_leave(&rig.view->gate);
    return closed || design->check(rig.heap) ? SANDBOX_CLOSED : SANDBOX_RIGHT;
}

/* Without the fence nobody can know that a view's owner is outside, so nobody may look into it. */
static void test_membarrier_forbidden_later(void **state)
{
    (void)state;
    start(NULL);
    if (!rig_stat(&rig, "views_can_be_drained"))
        skip(); /* the kernel has no membarrier */
    give(take(64));
    struct child_end end = child_run(sandbox_deed, NULL);
    assert_int_equal(end.signal, 0);
    if (end.status == SANDBOX_NONE)
        skip(); /* the kernel has no filters */
    assert_int_equal(end.status, SANDBOX_RIGHT);
    stop();
}

/* ---- large objects ---- */

static void test_large_in_place(void **state)
{
    (void)state;
    start(NULL);
    char *p = take(100 * KIB);
    memset(p, 1, 100 * KIB);
    assert_ptr_equal(rig.design->realloc(rig.view, p, 100 * KIB, MIB, 16), p);
    rig_check(&rig);
    assert_ptr_equal(rig.design->realloc(rig.view, p, MIB, 70 * KIB, 16), p);
    rig_check(&rig);
    char *fence = take(80 * KIB);
    assert_ptr_equal(fence, p + 72 * KIB);
    assert_ptr_not_equal(rig.design->realloc(rig.view, p, 70 * KIB, MIB, 16), p);
    stop();
}

/* What is free in segments goes back when an object of its own reservation needs it. */
static void test_very_large_where_memory_is_short(void **state)
{
    (void)state;
    static char *p[100];
    const struct rig_setup setup = {.observe = true, .commit_limit_bytes = 64 * MIB};
    rig_open(&rig, allocator_find("segfit"), &setup);
    for (unsigned i = 0; i < 100; i++)
        p[i] = take(400 * KIB);
    for (unsigned i = 0; i < 100; i++)
        give(p[i]);
    assert_true(rig_committed(&rig) > 39 * MIB);
    give(take(40 * MIB));
    stop();
}

/* More than a segment holds, and aligned beyond what one can. */
static void test_very_large(void **state)
{
    (void)state;
    start(NULL);
    char *p = take(40 * MIB), *q = rig.design->alloc(rig.view, 100, 64 * MIB);
    assert_non_null(q);
    assert_true(is_aligned((uintptr_t)q, 64 * MIB));
    assert_int_equal(rig.design->usable(rig.view, p), 40 * MIB);
    rig_check(&rig);
    p[40 * MIB - 1] = 1;
    rig.design->free(rig.view, q, 100);
    rig.design->free(rig.view, p, 40 * MIB);
    assert_true(rig_committed(&rig) < MIB / 2);
    stop();
}

static void test_zalloc_fresh(void **state)
{
    (void)state;
    start(NULL);
    for (unsigned round = 0; round < 3; round++) {
        char *p = rig.design->zalloc(rig.view, 300 * KIB, 16);
        assert_non_null(p);
        for (size_t i = 0; i < 300 * KIB; i++)
            assert_int_equal(p[i], 0);
        memset(p, 1, 300 * KIB);
        give(p);
        if (round)
            rig.design->trim(rig.heap);
    }
    stop();
}

/* Freed in all orders, three neighbours become one run again. */
static void test_runs_merge(void **state)
{
    (void)state;
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    start(NULL);
    for (unsigned i = 0; i < 6; i++) {
        char *p[3], *fence;
        for (unsigned n = 0; n < 3; n++)
            p[n] = take(100 * KIB);
        fence = take(100 * KIB);
        for (unsigned n = 0; n < 3; n++) {
            give(p[orders[i][n]]);
            rig_check(&rig);
        }
        char *whole = take(3 * 104 * KIB);
        assert_ptr_equal(whole, p[0]);
        give(whole);
        give(fence);
    }
    stop();
}

/* ---- which span a central list takes from ---- */

/* Gives back so many objects of a span. */
static void span_drain(struct central *c, struct chain *span, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct block *b = span->head;
        span->head = block_next("test", 1, b);
        block_link(1, b, NULL);
        central_give(c, (struct chain){b, 1, 0}, true);
    }
}

static uintptr_t span_taken(struct central *c, uint32_t count)
{
    struct chain chain = central_take(c, count, 0);
    assert_int_equal(chain.count, count);
    return align_down((uintptr_t)chain.head, UNIT_BYTES);
}

/* The fullest quarter first, so that the emptiest span has time to become empty. */
static void test_fullest_span(void **state)
{
    (void)state;
    const struct os_config config = {.observe = true};
    static const uint32_t drained[] = {7, 3, 5, 1, 0}; /* of 8 */
    static const unsigned order[] = {3, 1, 2, 0};
    struct pages *pages = test_calloc(1, sizeof *pages);
    struct central c = {.pages = pages, .secret = 1, .bytes = 1024, .batch = 8, .tag = 1};
    struct chain spans[5];
    pages->os = os_open(&config);
    assert_non_null(pages->os);
    assert_true(pages_open(pages));
    c.design = "test";
    central_open(&c);
    assert_int_equal(c.objects, 8);
    for (unsigned i = 0; i < 5; i++)
        spans[i] = central_take(&c, 8, 0);
    uintptr_t start[5];
    for (unsigned i = 0; i < 5; i++)
        start[i] = align_down((uintptr_t)spans[i].head, UNIT_BYTES);
    for (unsigned i = 0; i < 5; i++)
        span_drain(&c, &spans[i], drained[i]);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(span_taken(&c, drained[order[i]]), start[order[i]]);
    pages_close(pages);
    os_close(pages->os);
    test_free(pages);
}

/* One object a call, in turns of two sides: no unit holds objects of both. Then side 0 gives all
 * back but one of each span, and side 1 crosses over to these as soon as they are a waste. */
static void test_sides(void **state)
{
    (void)state;
    enum { EACH = 2048, BYTES = 64 };
    const struct os_config config = {.observe = true};
    struct pages *pages = test_calloc(1, sizeof *pages);
    struct central c = {.pages = pages, .secret = 1, .bytes = BYTES, .batch = 64, .tag = 1};
    static struct chain taken[2][EACH];
    pages->os = os_open(&config);
    assert_non_null(pages->os);
    assert_true(pages_open(pages));
    c.design = "test";
    central_open(&c);
    for (unsigned i = 0; i < EACH; i++)
        for (unsigned side = 0; side < 2; side++) {
            taken[side][i] = central_take(&c, 1, side);
            assert_int_equal(taken[side][i].count, 1);
        }
    for (unsigned i = 0; i < EACH; i++)
        assert_int_not_equal(align_down((uintptr_t)taken[0][i].head, UNIT_BYTES),
                             align_down((uintptr_t)taken[1][i].head, UNIT_BYTES));
    uint64_t spans = c.spans_taken;
    for (unsigned i = 0; i < EACH; i++)
        if ((uintptr_t)taken[0][i].head % UNIT_BYTES)
            central_give(&c, taken[0][i], true);
    assert_int_equal(c.spans_given, 0);
    assert_true(c.room * BYTES > ROOM_BYTES);
    for (unsigned i = 0; i < EACH / 4; i++)
        assert_int_equal(central_take(&c, 1, 1).count, 1);
    assert_int_equal(c.spans_taken, spans);
    pages_close(pages);
    os_close(pages->os);
    test_free(pages);
}

/* ---- segments far apart, and memory that runs out ---- */

/* Segments that share a place in the table of numbers are found by the search. */
static void test_segments_collide(void **state)
{
    (void)state;
    const struct os_config config = {.observe = true};
    struct pages *pages = test_calloc(1, sizeof *pages);
    void *gap[2], *first = NULL;
    pages->os = os_open(&config);
    assert_non_null(pages->os);
    pages->limit_units = SIZE_MAX;
    assert_true(pages_open(pages));
    struct span *spans[2];
    for (unsigned i = 0; i < 2; i++) {
        spans[i] = pages_take(pages, RUN_UNITS_MAX, 1, TAG_LARGE);
        assert_non_null(spans[i]);
        if (!i)
            first = segment_of(spans[i]);
        gap[i] = os_reserve(pages->os, (NUMBERS - 1) * SEGMENT_BYTES, SEGMENT_BYTES);
        assert_non_null(gap[i]);
    }
    assert_ptr_equal(segment_of(spans[1]), (char *)first + NUMBERS * SEGMENT_BYTES);
    assert_true(pages_number_ok(pages, span_start(spans[0])));
    assert_false(pages_number_ok(pages, span_start(spans[1])));
    assert_ptr_equal(pages_search(pages, span_start(spans[1])), segment_of(spans[1]));
    assert_null(pages_search(pages, gap[0]));
    assert_null(pages_check(pages));
    pages_give(pages, spans[1]);
    pages_trim(pages);
    assert_int_equal(pages->segment_count, 1);
    assert_true(pages_number_ok(pages, span_start(spans[0])));
    pages_close(pages);
    os_close(pages->os);
    test_free(pages);
}

static void test_limit_finds_free_memory(void **state)
{
    (void)state;
    const struct rig_setup setup = {.observe = true, .commit_limit_bytes = 8 * MIB};
    rig_open(&rig, allocator_find("segfit"), &setup);
    char *p[6];
    for (unsigned i = 0; i < 6; i++)
        p[i] = take(MIB);
    for (unsigned i = 0; i < 6; i += 2)
        give(p[i]);
    rig_check(&rig);
    give(take(3 * MIB)); /* only if the freed ones' memory is used for it */
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_waste),
        cmocka_unit_test(test_usable_waste),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_sweep),
        cmocka_unit_test(test_bins_grow),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_flow_bound),
        cmocka_unit_test(test_exit_returns_cache),
        cmocka_unit_test(test_idle_cache_drained),
        cmocka_unit_test(test_depot_drained),
        cmocka_unit_test(test_pages_returned_by_age),
        cmocka_unit_test(test_pages_returned_by_limit),
        cmocka_unit_test(test_pages_never_returned),
        cmocka_unit_test(test_pages_returned_lazily),
        cmocka_unit_test(test_spans_returned),
        cmocka_unit_test(test_fork_inside_view),
        cmocka_unit_test(test_membarrier_forbidden_later),
        cmocka_unit_test(test_large_in_place),
        cmocka_unit_test(test_very_large),
        cmocka_unit_test(test_very_large_where_memory_is_short),
        cmocka_unit_test(test_zalloc_fresh),
        cmocka_unit_test(test_runs_merge),
        cmocka_unit_test(test_fullest_span),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_segments_collide),
        cmocka_unit_test(test_limit_finds_free_memory),
    };
    return cmocka_run_group_tests_name("segfit", tests, NULL, NULL);
}
