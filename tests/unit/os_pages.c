/*
 * os_pages.c - the door's finer states of a page: returned lazily, guarded, in a whole huge page.
 * Against a plain model under random calls, by what a program can then see of the memory, and by
 * what ends it.
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"
#include "tests/lib/child.h"
#include "workloads/lib/rng.h"

static size_t page;

static struct os *door_open(bool observe)
{
    struct os *os = os_open(&(struct os_config){.observe = observe});
    assert_non_null(os);
    return os;
}

static void assert_bytes(struct os *os, size_t committed, size_t lazy, size_t guarded)
{
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.committed_bytes, committed * page);
    assert_int_equal(counts.lazy_bytes, lazy * page);
    assert_int_equal(counts.guard_bytes, guarded * page);
    assert_true(counts.peak_lazy_bytes >= counts.lazy_bytes);
}

static bool all_are(const char *p, size_t bytes, char value)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i] != value)
            return false;
    return true;
}

/* ---- lazy ---- */

static void lazy_try(bool observe)
{
    struct os *os = door_open(observe);
    char *p = os_reserve(os, 100 * page, 1);
    assert_int_equal(os_commit(os, p, 70 * page), 0);
    memset(p, 7, 70 * page);
    assert_int_equal(os_decommit_lazy(os, p + 60 * page, 40 * page), 0); /* ten are committed */
    assert_bytes(os, 60, 10, 0);
    assert_int_equal(os_decommit_lazy(os, p + 60 * page, 40 * page), 0); /* nothing left */
    assert_bytes(os, 60, 10, 0);
    assert_int_equal(os_decommit_lazy(os, p + 50 * page, 15 * page), 0);
    assert_bytes(os, 50, 20, 0);
    assert_int_equal(os_commit(os, p + 65 * page, page), 0); /* back */
    assert_bytes(os, 51, 19, 0);
    memset(p + 65 * page, 8, page); /* from the first write on it is the program's */
    assert_int_equal(os_decommit(os, p + 50 * page, 10 * page), 0); /* for good */
    assert_bytes(os, 51, 9, 0);
    assert_int_equal(os_commit(os, p + 50 * page, 10 * page), 0);
    assert_true(all_are(p + 50 * page, 10 * page, 0));
    assert_true(all_are(p + 65 * page, page, 8));
    assert_true(all_are(p, 50 * page, 7));
    assert_bytes(os, 61, 9, 0);
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.peak_lazy_bytes, 20 * page);
    assert_int_equal(counts.calls[OS_LAZY], 3);
    os_release(os, p, 100 * page);
    assert_bytes(os, 0, 0, 0);
    os_close(os);
}

static void test_lazy(void **state)
{
    (void)state;
    lazy_try(true);
    lazy_try(false);
}

/* An observing door keeps the contents, so that every run sees the same. */
static void test_lazy_observed(void **state)
{
    (void)state;
    struct os *os = door_open(true);
    char *p = os_map(os, 8 * page, 1);
    memset(p, 5, 8 * page);
    assert_int_equal(os_decommit_lazy(os, p, 8 * page), 0);
    assert_int_equal(os_commit(os, p, 8 * page), 0);
    assert_true(all_are(p, 8 * page, 5));
    os_close(os);
}

/* The value of a line of the mapping that holds p, in kB; -1 = the kernel does not tell. */
static long smaps_kb(const void *p, const char *key)
{
    FILE *f = fopen("/proc/self/smaps", "r");
    char line[512];
    unsigned long start, end;
    long kb = -1;
    bool here = false;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            here = (uintptr_t)p >= start && (uintptr_t)p < end;
        else if (here && !strncmp(line, key, strlen(key)))
            kb = strtol(line + strlen(key) + 1, NULL, 10);
    }
    fclose(f);
    return kb;
}

/* The kernel has been told: pages are marked, and marked no more after a write. */
static void test_lazy_kernel(void **state)
{
    (void)state;
    enum { PAGES = 1024 };
    struct os *os = door_open(false);
    char *p = os_map(os, PAGES * page, 1);
    memset(p, 1, PAGES * page);
    long before = smaps_kb(p, "LazyFree:");
    if (before < 0) {
        os_close(os);
        skip();
    }
    assert_int_equal(before, 0);
    assert_int_equal(os_decommit_lazy(os, p, PAGES * page), 0);
    assert_true(smaps_kb(p, "LazyFree:") > (long)(PAGES * page / 1024 / 2));
    assert_int_equal(os_commit(os, p, PAGES * page), 0);
    memset(p, 2, PAGES * page);
    assert_true(all_are(p, PAGES * page, 2));
    assert_int_equal(os_decommit(os, p, PAGES * page), 0);
    assert_int_equal(smaps_kb(p, "Rss:"), 0);
    os_close(os);
}

/* ---- guards ---- */

static void guard_try(bool observe)
{
    struct os *os = door_open(observe);
    char *p = os_reserve(os, 10 * page, 1);
    assert_int_equal(os_commit(os, p, 2 * page), 0);
    memset(p, 3, 2 * page);
    assert_int_equal(os_decommit_lazy(os, p + page, page), 0);
    assert_int_equal(os_guard(os, p + page, 3 * page), 0); /* a lazy page is returned for good */
    assert_bytes(os, 1, 0, 3);
    assert_int_equal(os_guard(os, p + 3 * page, 2 * page), 0); /* one of them again */
    assert_bytes(os, 1, 0, 4);
    assert_int_equal(os_decommit(os, p, 10 * page), 0); /* guards stay */
    assert_bytes(os, 0, 0, 4);
    assert_int_equal(os_commit(os, p + page, 2 * page), 0);
    assert_bytes(os, 2, 0, 2);
    assert_true(all_are(p + page, 2 * page, 0));
    p[page] = p[3 * page - 1] = 1;
    os_release(os, p, 10 * page);
    assert_bytes(os, 0, 0, 0);
    os_close(os);
}

static void test_guard(void **state)
{
    (void)state;
    guard_try(true);
    guard_try(false);
}

enum deed {
    WRITE_BESIDE,
    WRITE_GUARD,
    WRITE_GUARD_AFTER_DECOMMIT,
    WRITE_LAZY_OBSERVED,
    GUARD_COMMITTED,
    GUARD_OUTSIDE,
    LAZY_OUTSIDE,
    HUGE_OUTSIDE,
    PLACE_OUTSIDE,
};

static int deed_do(void *arg)
{
    enum deed deed = *(enum deed *)arg;
    struct os *os = os_open(&(struct os_config){.observe = deed == WRITE_LAZY_OBSERVED});
    char *p = os_reserve(os, 4 * page, 1);
    volatile char *bytes = p;
    if (os_commit(os, p, 2 * page))
        return 2;
    bytes[0] = bytes[2 * page - 1] = 1;
    if (deed == GUARD_COMMITTED)
        os_guard(os, p + page, 2 * page);
    if (deed == GUARD_OUTSIDE)
        os_guard(os, p + 3 * page, 2 * page);
    if (deed == LAZY_OUTSIDE)
        os_decommit_lazy(os, p + 4 * page, page);
    if (deed == HUGE_OUTSIDE)
        os_huge(os, p + 4 * page, page, true);
    if (deed == PLACE_OUTSIDE)
        os_place(os, p + 4 * page, page, OS_NUMA_DEFAULT, 0);
    if (deed == WRITE_LAZY_OBSERVED && os_decommit_lazy(os, p, page) == 0)
        bytes[0] = 1;
    if (os_guard(os, p + 2 * page, page) ||
        (deed == WRITE_GUARD_AFTER_DECOMMIT && os_decommit(os, p, 4 * page)))
        return 3;
    if (deed == WRITE_BESIDE)
        bytes[2 * page - 1] = bytes[3 * page] = 1; /* not committed, but this door is timed */
    else
        bytes[2 * page] = 1;
    os_release(os, p, 4 * page);
    return 0;
}

static void test_ends(void **state)
{
    (void)state;
    static const struct {
        enum deed deed;
        int signal;
        const char *text;
    } ends[] = {
        {WRITE_BESIDE, 0, ""},
        {WRITE_GUARD, SIGSEGV, ""},
        {WRITE_GUARD_AFTER_DECOMMIT, SIGSEGV, ""},
        {WRITE_LAZY_OBSERVED, SIGSEGV, ""},
        {GUARD_COMMITTED, SIGABRT, "alloclab: os: guard over committed pages at 0x"},
        {GUARD_OUTSIDE, SIGABRT, "alloclab: os: guard outside a reservation at 0x"},
        {LAZY_OUTSIDE, SIGABRT, "alloclab: os: lazy decommit outside a reservation at 0x"},
        {HUGE_OUTSIDE, SIGABRT, "alloclab: os: huge-page advice outside a reservation at 0x"},
        {PLACE_OUTSIDE, SIGABRT, "alloclab: os: placement outside a reservation at 0x"},
    };
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        enum deed deed = ends[i].deed;
        struct child_end end = child_run(deed_do, &deed);
        assert_int_equal(end.signal, ends[i].signal);
        assert_int_equal(end.status, 0);
        assert_memory_equal(end.text, ends[i].text, strlen(ends[i].text));
    }
}

/* ---- calls by kind ---- */

static void test_calls(void **state)
{
    (void)state;
    struct os *os = door_open(false);
    char *p = os_reserve(os, 8 * page, 1), *q = os_map(os, page, 1);
    assert_null(os_reserve(os, 0, 1)); /* refused ones count as well */
    os_commit(os, p, page);
    os_commit(os, p, page);
    os_decommit(os, p, page);
    os_decommit_lazy(os, p, page);
    os_guard(os, p + page, page);
    os_huge(os, p, 8 * page, false);
    os_place(os, p, 8 * page, OS_NUMA_DEFAULT, 0);
    os_release(os, q, page);
    struct os_counts counts = os_counts(os);
    static const uint64_t expected[OS_CALLS] = {
        [OS_RESERVE] = 3, [OS_COMMIT] = 2, [OS_DECOMMIT] = 1, [OS_LAZY] = 1,
        [OS_GUARD] = 1,   [OS_HUGE] = 1,   [OS_PLACE] = 1,    [OS_RELEASE] = 1,
    };
    assert_memory_equal(counts.calls, expected, sizeof expected);
    assert_int_equal(counts.calls_count, 11);
    os_close(os);
}

/* ---- a model: random calls on one reservation, a letter a page ---- */

enum { MODEL_PAGES = 300 };

struct model {
    struct os *os;
    struct rng rng;
    char *p;
    char kind[MODEL_PAGES];  /* u uncommitted, c committed, l lazy, g guarded */
    char value[MODEL_PAGES]; /* what a committed page was filled with */
    char number;
};

static size_t model_count(const struct model *m, char kind)
{
    size_t count = 0;
    for (size_t i = 0; i < MODEL_PAGES; i++)
        count += m->kind[i] == kind;
    return count;
}

/* Fresh and decommitted pages are zero, lazy ones anything; committed ones keep what they hold. */
static void model_commit(struct model *m, size_t first, size_t count)
{
    assert_int_equal(os_commit(m->os, m->p + first * page, count * page), 0);
    for (size_t i = first; i < first + count; i++) {
        char *at = m->p + i * page;
        if (m->kind[i] != 'l')
            assert_true(all_are(at, page, m->kind[i] == 'c' ? m->value[i] : 0));
        memset(at, m->number, page);
        m->value[i] = m->number;
        m->kind[i] = 'c';
    }
    m->number++;
}

static void model_step(struct model *m)
{
    size_t first = rng_below(&m->rng, MODEL_PAGES);
    size_t count = 1 + rng_below(&m->rng, size_min(40, MODEL_PAGES - first));
    char *p = m->p + first * page, *kind = m->kind + first;
    switch (rng_below(&m->rng, 5)) {
    case 0:
        assert_int_equal(os_decommit(m->os, p, count * page), 0);
        for (size_t i = 0; i < count; i++)
            kind[i] = kind[i] == 'g' ? 'g' : 'u';
        break;
    case 1:
        assert_int_equal(os_decommit_lazy(m->os, p, count * page), 0);
        for (size_t i = 0; i < count; i++)
            kind[i] = kind[i] == 'c' ? 'l' : kind[i];
        break;
    case 2:
        if (memchr(kind, 'c', count))
            break;
        assert_int_equal(os_guard(m->os, p, count * page), 0);
        memset(kind, 'g', count);
        break;
    default:
        model_commit(m, first, count);
    }
}

static void model_try(bool observe)
{
    static struct model m;
    memset(&m, 0, sizeof m);
    m.os = door_open(observe);
    m.rng = rng_stream(11, observe);
    m.p = os_reserve(m.os, MODEL_PAGES * page, 1);
    memset(m.kind, 'u', sizeof m.kind);
    for (unsigned step = 0; step < 3000; step++) {
        model_step(&m);
        assert_bytes(m.os, model_count(&m, 'c'), model_count(&m, 'l'), model_count(&m, 'g'));
    }
    os_close(m.os);
}

static void test_model(void **state)
{
    (void)state;
    model_try(true);
    model_try(false);
}

/* ---- coverage ---- */

static void assert_coverage(struct os *os, size_t huge, size_t committed)
{
    struct os_coverage all = os_coverage(os);
    assert_int_equal(all.huge_bytes, huge);
    assert_int_equal(all.committed_bytes, committed);
}

static void test_coverage(void **state)
{
    (void)state;
    const size_t huge = OS_HUGE_BYTES;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe);
        char *p = os_reserve(os, 4 * huge, huge);
        assert_coverage(os, 0, 0);
        assert_int_equal(os_commit(os, p + huge - page, 2 * huge), 0); /* lies across two more */
        assert_coverage(os, huge, 2 * huge);
        assert_int_equal(os_commit(os, p + 3 * huge - page, page), 0);
        assert_coverage(os, 2 * huge, 2 * huge + page);
        assert_int_equal(os_decommit(os, p + huge + 5 * page, page), 0);
        assert_coverage(os, huge, 2 * huge);
        assert_int_equal(os_decommit_lazy(os, p + 2 * huge, page), 0);
        assert_coverage(os, 0, 2 * huge - page);
        os_release(os, p, 4 * huge);
        assert_coverage(os, 0, 0);
        os_close(os);
    }
}

/* Neighbours make a whole huge page together; a gap between them, and a start that is not aligned,
 * do not. */
static void test_coverage_neighbours(void **state)
{
    (void)state;
    const size_t huge = OS_HUGE_BYTES;
    struct os *os = door_open(true);
    char *a = os_reserve(os, huge, huge), *b = os_reserve(os, 3 * huge / 2, 1);
    char *c = os_reserve(os, huge / 2 - page, 1), *d = os_reserve(os, page, 1);
    assert_ptr_equal(b, a + huge);
    assert_int_equal(os_commit(os, b + huge / 4, 5 * huge / 4), 0);
    assert_int_equal(os_commit(os, c, huge / 2 - page), 0);
    assert_coverage(os, 0, 7 * huge / 4 - page);
    assert_int_equal(os_commit(os, d, page), 0);
    assert_coverage(os, huge, 7 * huge / 4);
    os_release(os, c, huge / 2 - page);
    assert_coverage(os, 0, 5 * huge / 4 + page);
    os_close(os);
}

/* Random commits on many reservations, against a map of all pages. */
static void test_coverage_model(void **state)
{
    (void)state;
    enum { RANGES = 16, MAP_HUGE = 64 };
    static char map[MAP_HUGE * 512], *start[RANGES];
    size_t pages[RANGES], whole = 0, all = 0;
    struct rng rng = rng_stream(13, 0);
    struct os *os = door_open(true);
    char *base = os_reserve(os, page, OS_HUGE_BYTES);
    os_release(os, base, page);
    memset(map, 0, sizeof map);
    for (unsigned i = 0; i < RANGES; i++) {
        pages[i] = 500 + rng_below(&rng, 1500);
        start[i] = os_reserve(os, pages[i] * page, 1);
    }
    for (unsigned step = 0; step < 300; step++) {
        unsigned i = (unsigned)rng_below(&rng, RANGES);
        size_t first = rng_below(&rng, pages[i]), count = 1 + rng_below(&rng, pages[i] - first);
        bool commit = rng_chance(&rng, 0.9);
        char *p = start[i] + first * page;
        assert_int_equal(commit ? os_commit(os, p, count * page) : os_decommit(os, p, count * page),
                         0);
        memset(map + (size_t)(p - base) / page, commit, count);
    }
    for (size_t i = 0; i < MAP_HUGE; i++) {
        whole += all_are(map + i * 512, 512, 1);
        for (size_t n = 0; n < 512; n++)
            all += (size_t)map[i * 512 + n];
    }
    assert_true(whole > 3 && whole < MAP_HUGE);
    assert_coverage(os, whole * OS_HUGE_BYTES, all * page);
    os_close(os);
}

int main(void)
{
    page = os_page_bytes();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_lazy_observed),
        cmocka_unit_test(test_lazy_kernel),
        cmocka_unit_test(test_guard),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_coverage),
        cmocka_unit_test(test_coverage_neighbours),
        cmocka_unit_test(test_coverage_model),
    };
    return cmocka_run_group_tests_name("os_pages", tests, NULL, NULL);
}
