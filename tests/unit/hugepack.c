/*
 * hugepack.c - what packing into huge pages promises: the order in which huge pages are filled,
 * that only whole ones go back unless subrelease says otherwise, where long spans begin, and how
 * much of what stays committed is whole huge pages, beside segfit in the same program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/pages.h"
#include "harness/registry.h"
#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

#define KIB    ((size_t)1 << 10)
#define MIB    ((size_t)1 << 20)
#define SECOND UINT64_C(1000000000)

/* ---- pages ---- */

static struct pages *pages;

static void pages_start(void)
{
    const struct os_config config = {.observe = true};
    pages = test_calloc(1, sizeof *pages);
    pages->os = os_open(&config);
    assert_non_null(pages->os);
    pages->huge = true;
    pages->limit_units = SIZE_MAX;
    assert_true(pages_open(pages));
}

static void pages_stop(void)
{
    assert_null(pages_check(pages));
    pages_close(pages);
    os_close(pages->os);
    test_free(pages);
}

static struct span *span_take(size_t units)
{
    struct span *span = pages_take(pages, units, 1, TAG_LARGE);
    assert_non_null(span);
    assert_null(pages_check(pages));
    return span;
}

static void span_give(struct span *span)
{
    pages_give(pages, span);
    assert_null(pages_check(pages));
}

static unsigned huge_number(const struct span *span)
{
    return span_first(span) / HUGE_UNITS;
}

/* The shortest longest run that is enough; a whole huge page only when nothing else has room. */
static void test_packing_order(void **state)
{
    (void)state;
    static const unsigned kept[] = {221, 100, 200, 50}; /* units of huge pages 0 to 3 */
    struct span *gone[4] = {NULL};
    pages_start();
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(huge_number(span_take(kept[i])), i);
        if (i)
            gone[i] = span_take(HUGE_UNITS - kept[i]);
        assert_true(!i || huge_number(gone[i]) == i);
    }
    for (unsigned i = 1; i < 4; i++)
        span_give(gone[i]); /* free: none, 156, 56, 206 */
    assert_int_equal(huge_number(span_take(207)), 4);
    assert_int_equal(huge_number(span_take(57)), 1);  /* 99 left */
    assert_int_equal(huge_number(span_take(100)), 3); /* 106 left */
    assert_int_equal(huge_number(span_take(49)), 4);  /* exactly */
    assert_int_equal(huge_number(span_take(56)), 2);
    assert_int_equal(huge_number(span_take(99)), 1);
    assert_int_equal(huge_number(span_take(106)), 3);
    assert_int_equal(huge_number(span_take(1)), 5); /* all others are full */
    pages_stop();
}

/* Equal longest runs: the fullest one. */
static void test_fullest_of_equals(void **state)
{
    (void)state;
    struct span *span[3][5];
    pages_start();
    span_take(221);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned n = 0; n < 5; n++)
            span[i][n] = span_take(n < 3 ? 50 : 53);
    for (unsigned i = 0; i < 3; i++) /* free: 100 in two runs, 50, 100 in two runs */
        for (unsigned n = 0; n < 3; n++)
            if (n % 2 == i % 2)
                span_give(span[i][n]);
    assert_int_equal(huge_number(span_take(50)), 2);
    assert_int_not_equal(huge_number(span_take(50)), 2);
    pages_stop();
}

/* Whole huge pages from a boundary on; the rest of the last one is filled like any. */
static void test_long_spans(void **state)
{
    (void)state;
    pages_start();
    struct span *small = span_take(10), *span = span_take(700);
    assert_int_equal(huge_number(small), 0);
    assert_int_equal(span_first(span), HUGE_UNITS);
    assert_int_equal(huge_number(span_take(60)), 3); /* 68 were left there */
    assert_true(pages_resize(pages, span, 300));
    assert_null(pages_check(pages));
    assert_int_equal(huge_number(span_take(212)), 2); /* 211 are left in the first */
    span_give(span);
    assert_int_equal(span_first(span_take(256)), HUGE_UNITS);
    assert_null(pages_take(pages, pages_run_max(pages) + 1, 1, TAG_LARGE));
    span = span_take(pages_run_max(pages));
    assert_int_equal(span_first(span), HUGE_UNITS);
    pages_stop();
}

/* Anything, in any order, with the invariants checked at every step. */
static void test_random_runs(void **state)
{
    (void)state;
    enum { SPANS = 64 };
    struct span *spans[SPANS] = {NULL};
    struct rng rng = rng_stream(7, 7);
    pages_start();
    for (unsigned policy = 0; policy < 4; policy++) {
        for (unsigned i = 0; i < 1500; i++) {
            unsigned which = (unsigned)rng_below(&rng, SPANS);
            size_t units = 1 + rng_below(&rng, (size_t)4 << rng_below(&rng, 9));
            if (!spans[which])
                spans[which] = span_take(units);
            else if (rng_chance(&rng, 0.3))
                pages_resize(pages, spans[which], units);
            else if (spans[which]) {
                span_give(spans[which]);
                spans[which] = NULL;
            }
            if (i % 100 == 0)
                pages_tick(pages, pages->now_ns + SECOND);
            assert_null(pages_check(pages));
        }
        for (unsigned i = 0; i < SPANS; i++)
            if (spans[i])
                span_give(spans[i]);
        memset(spans, 0, sizeof spans);
        pages_trim(pages);
        assert_int_equal(pages->segment_count, 0);
        pages->thp = policy & 1;
        pages->subrelease = policy & 2;
    }
    pages_stop();
}

/* ---- the design ---- */

static struct rig rig;

static void start(const char *design, const char *options)
{
    const struct rig_setup setup = {.options = options, .observe = true};
    rig_open(&rig, allocator_find(design), &setup);
}

static void stop(void)
{
    rig_check(&rig);
    rig_close(&rig);
}

static void tick_after(uint64_t ns)
{
    rig.clock_ns += ns;
    rig.design->tick(rig.heap, rig.clock_ns);
}

/* Ten huge pages of large objects: one object that stays keeps its huge page, and only that. */
static void test_whole_pages_returned(void **state)
{
    (void)state;
    enum { COUNT = 200 };
    static char *p[COUNT];
    start("hugepack", "age_ms=1000");
    for (unsigned i = 0; i < COUNT; i++)
        p[i] = rig_take(&rig, rig.view, 104 * KIB);
    size_t full = rig_committed(&rig);
    assert_int_equal(full / (2 * MIB), 11);
    size_t stay = COUNT / 2;
    for (unsigned i = 0; i < COUNT; i++)
        if (i != stay)
            rig.design->free(rig.view, p[i], 0);
    assert_int_equal(rig_committed(&rig), full);
    tick_after(SECOND);
    tick_after(SECOND);
    /* Its own, and the first, which the header is in. */
    assert_int_equal(rig_committed(&rig) / (2 * MIB), 2);
    assert_int_equal(os_coverage(rig.os).huge_bytes, 4 * MIB);
    rig.design->trim(rig.heap);
    assert_int_equal(rig_committed(&rig) / (2 * MIB), 2);
    rig_check(&rig);
    rig.design->free(rig.view, p[stay], 0);
    rig.design->trim(rig.heap);
    assert_int_equal(rig_committed(&rig) / (2 * MIB), 1); /* the view is there */
    stop();
}

static void test_subrelease(void **state)
{
    (void)state;
    static char *p[200];
    start("hugepack", "age_ms=1000,subrelease=yes");
    for (unsigned i = 0; i < 200; i++)
        p[i] = rig_take(&rig, rig.view, 104 * KIB);
    for (unsigned i = 0; i < 200; i++)
        if (i % 10)
            rig.design->free(rig.view, p[i], 0);
    tick_after(SECOND);
    tick_after(SECOND);
    assert_true(rig_committed(&rig) < 3 * MIB);
    assert_int_equal(os_coverage(rig.os).huge_bytes, 0);
    stop();
}

/* With thp=on a huge page is committed as a whole, and with thp=off by the span. */
static void test_thp(void **state)
{
    (void)state;
    for (unsigned on = 0; on < 2; on++) {
        start("hugepack", on ? NULL : "thp=off");
        rig_take(&rig, rig.view, 64);
        assert_int_equal(os_coverage(rig.os).huge_bytes, on ? 2 * MIB : 0);
        assert_int_equal(os_counts(rig.os).calls[OS_HUGE], on);
        rig_take(&rig, rig.view, MIB);
        rig_take(&rig, rig.view, MIB);
        assert_int_equal(os_coverage(rig.os).huge_bytes, on ? 4 * MIB : 0);
        stop();
    }
}

struct outcome {
    size_t committed, huge;
};

/*
 * Objects of all sizes come and go in 12,000 slots; then ever fewer slots are refilled, down to one
 * in eight, while the program goes on; and what is free goes back.
 */
static struct outcome decay(const char *design)
{
    enum { COUNT = 12000, STEPS = 20 * COUNT };
    static char *p[COUNT];
    struct rng rng = rng_stream(3, 3);
    start(design, "age_ms=1000");
    memset(p, 0, sizeof p);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned slot = (unsigned)rng_below(&rng, COUNT), late = i > STEPS / 4 ? i - STEPS / 4 : 0;
        unsigned slots = COUNT - late / 20 * 7 / 6;
        if (p[slot])
            rig.design->free(rig.view, p[slot], 0);
        p[slot] = NULL;
        if (slot >= slots)
            continue;
        p[slot] = rig.design->alloc(rig.view, 64 + rng_below(&rng, 8129), 16);
        assert_non_null(p[slot]);
    }
    for (unsigned i = 0; i < 4; i++)
        tick_after(SECOND);
    rig_check(&rig);
    struct os_coverage coverage = os_coverage(rig.os);
    stop();
    return (struct outcome){coverage.committed_bytes, coverage.huge_bytes};
}

static void test_coverage(void **state)
{
    (void)state;
    struct outcome packed = decay("hugepack"), plain = decay("segfit");
    printf("# after decay: hugepack %zu of %zu KiB in huge pages, segfit %zu of %zu\n",
           packed.huge / KIB, packed.committed / KIB, plain.huge / KIB, plain.committed / KIB);
    assert_true(packed.huge * 10 >= packed.committed * 9);
    assert_true(plain.huge * 2 <= plain.committed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packing_order),
        cmocka_unit_test(test_fullest_of_equals),
        cmocka_unit_test(test_long_spans),
        cmocka_unit_test(test_random_runs),
        cmocka_unit_test(test_whole_pages_returned),
        cmocka_unit_test(test_subrelease),
        cmocka_unit_test(test_thp),
        cmocka_unit_test(test_coverage),
    };
    return cmocka_run_group_tests_name("hugepack", tests, NULL, NULL);
}
