/*
 * os.c - the door: counts to the byte in both modes, against a plain model under random calls; what
 * an observing door protects; where it places; what it refuses, and what ends the program.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"
#include "tests/lib/child.h"
#include "workloads/lib/rng.h"

static size_t page;

static struct os *door_open(bool observe, size_t commit_limit_bytes)
{
    struct os_config config = {.observe = observe, .commit_limit_bytes = commit_limit_bytes};
    struct os *os = os_open(&config);
    assert_non_null(os);
    return os;
}

static void assert_counts(struct os *os, size_t reserved, size_t committed)
{
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.reserved_bytes, reserved);
    assert_int_equal(counts.committed_bytes, committed);
    assert_true(counts.peak_reserved_bytes >= reserved);
    assert_true(counts.peak_committed_bytes >= committed);
}

/* ---- counts ---- */

static void counts_try(bool observe)
{
    struct os *os = door_open(observe, 0);
    char *p = os_reserve(os, 100 * page - 1, 1);
    assert_non_null(p);
    assert_counts(os, 100 * page, 0);
    assert_int_equal(os_commit(os, p + page, 3 * page), 0);
    assert_counts(os, 100 * page, 3 * page);
    assert_int_equal(os_commit(os, p, 70 * page), 0); /* three of them again */
    assert_counts(os, 100 * page, 70 * page);
    assert_int_equal(os_decommit(os, p + 64 * page, 36 * page), 0);
    assert_counts(os, 100 * page, 64 * page);
    assert_int_equal(os_decommit(os, p + 64 * page, 36 * page), 0); /* nothing left */
    char *q = os_map(os, 1, page);
    assert_non_null(q);
    assert_counts(os, 101 * page, 65 * page);
    os_release(os, p, 100 * page);
    assert_counts(os, page, page);
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.peak_reserved_bytes, 101 * page);
    assert_int_equal(counts.peak_committed_bytes, 70 * page);
    assert_int_equal(counts.calls_count, 7);
    os_close(os);
}

static void test_counts(void **state)
{
    (void)state;
    counts_try(true);
    counts_try(false);
}

/* ---- a model: random calls against arrays of bytes ---- */

enum { MODEL_RANGES = 40, MODEL_PAGES = 200 };

struct model {
    struct os *os;
    struct rng rng;
    struct {
        char *p;
        size_t pages;
        char committed[MODEL_PAGES];
    } ranges[MODEL_RANGES];
    size_t reserved, committed;
};

static void model_reserve(struct model *m, unsigned i)
{
    size_t pages = 1 + rng_below(&m->rng, MODEL_PAGES);
    size_t align = page << rng_below(&m->rng, 6);
    bool map = rng_chance(&m->rng, 0.3);
    char *p = map ? os_map(m->os, pages * page, align) : os_reserve(m->os, pages * page, align);
    assert_non_null(p);
    assert_true(is_aligned((uintptr_t)p, align));
    m->ranges[i].p = p;
    m->ranges[i].pages = pages;
    memset(m->ranges[i].committed, map, pages);
    m->reserved += pages * page;
    m->committed += map * pages * page;
}

static void model_release(struct model *m, unsigned i)
{
    os_release(m->os, m->ranges[i].p, m->ranges[i].pages * page);
    for (size_t n = 0; n < m->ranges[i].pages; n++)
        m->committed -= m->ranges[i].committed[n] * page;
    m->reserved -= m->ranges[i].pages * page;
    m->ranges[i].p = NULL;
}

/* Each page is written with its own number and must still hold it; a new one must be zero. */
static void model_change(struct model *m, unsigned i, bool commit)
{
    size_t first = rng_below(&m->rng, m->ranges[i].pages);
    size_t count = 1 + rng_below(&m->rng, m->ranges[i].pages - first);
    char *p = m->ranges[i].p + first * page;
    assert_int_equal(
        commit ? os_commit(m->os, p, count * page) : os_decommit(m->os, p, count * page), 0);
    for (size_t n = first; n < first + count; n++) {
        char *at = m->ranges[i].p + n * page;
        if (commit)
            assert_int_equal(*at, m->ranges[i].committed[n] ? (char)(n + 1) : 0);
        if (commit)
            *at = (char)(n + 1);
        m->committed += commit && !m->ranges[i].committed[n] ? page : 0;
        m->committed -= !commit && m->ranges[i].committed[n] ? page : 0;
        m->ranges[i].committed[n] = commit;
    }
}

static void model_write(struct model *m, unsigned i)
{
    for (size_t n = 0; n < m->ranges[i].pages; n++)
        if (m->ranges[i].committed[n])
            m->ranges[i].p[n * page] = (char)(n + 1);
}

static void model_try(bool observe)
{
    static struct model model;
    struct model *m = &model;
    memset(m, 0, sizeof *m);
    m->os = door_open(observe, 0);
    m->rng = rng_stream(7, observe);
    for (unsigned step = 0; step < 4000; step++) {
        unsigned i = (unsigned)rng_below(&m->rng, MODEL_RANGES);
        if (!m->ranges[i].p) {
            model_reserve(m, i);
            model_write(m, i);
        } else if (rng_chance(&m->rng, 0.2)) {
            model_release(m, i);
        } else {
            model_change(m, i, rng_chance(&m->rng, 0.6));
        }
        assert_counts(m->os, m->reserved, m->committed);
    }
    for (unsigned i = 0; i < MODEL_RANGES; i++)
        if (m->ranges[i].p)
            model_release(m, i);
    assert_counts(m->os, 0, 0);
    os_close(m->os);
}

static void test_model(void **state)
{
    (void)state;
    model_try(true);
    model_try(false);
}

/* ---- placing ---- */

static void test_lowest_gap(void **state)
{
    (void)state;
    struct os *os = door_open(true, 0);
    char *a = os_reserve(os, 4 * page, 1), *b = os_reserve(os, 2 * page, 1);
    char *c = os_reserve(os, page, 1);
    assert_ptr_equal(b, a + 4 * page);
    assert_ptr_equal(c, b + 2 * page);
    os_release(os, a, 4 * page);
    assert_ptr_equal(os_reserve(os, 5 * page, 1), c + page); /* too large for the gap */
    assert_ptr_equal(os_reserve(os, 3 * page, 1), a);
    assert_ptr_equal(os_reserve(os, page, 1), a + 3 * page);
    os_close(os);
    os = door_open(true, 0);
    assert_ptr_equal(os_reserve(os, page, 1), a); /* and again from the start */
    os_close(os);
}

static void test_two_doors(void **state)
{
    (void)state;
    struct os *one = door_open(true, 0), *two = door_open(true, 0);
    char *p = os_map(one, page, 1), *q = os_map(two, page, 1);
    assert_non_null(p);
    assert_non_null(q);
    assert_ptr_not_equal(p, q);
    assert_ptr_equal(os_map(two, page, 1), q + page); /* it has moved for good */
    os_close(one);
    os_close(two);
}

static void test_base(void **state)
{
    (void)state;
    struct os *probe = door_open(true, 0);
    uintptr_t usual = (uintptr_t)os_reserve(probe, page, 1);
    os_close(probe);
    struct os_config config = {.observe = true, .base = usual + 64 * page};
    struct os *os = os_open(&config);
    assert_non_null(os);
    assert_true((uintptr_t)os_reserve(os, page, 1) == usual + 64 * page);
    os_close(os);
}

/* ---- refusals ---- */

static void limit_try(bool observe)
{
    struct os *os = door_open(observe, 10 * page);
    char *p = os_reserve(os, 100 * page, 1);
    assert_int_equal(os_commit(os, p, 8 * page), 0);
    assert_int_equal(os_commit(os, p + 6 * page, 5 * page), -ENOMEM);
    assert_counts(os, 100 * page, 8 * page);
    assert_int_equal(os_commit(os, p + 6 * page, 4 * page), 0);
    assert_null(os_map(os, page, 1));
    assert_counts(os, 100 * page, 10 * page);
    assert_int_equal(os_decommit(os, p, page), 0);
    assert_non_null(os_map(os, page, 1));
    os_close(os);
}

static void test_limit(void **state)
{
    (void)state;
    limit_try(true);
    limit_try(false);
}

static void test_impossible_sizes(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, 0);
        assert_null(os_reserve(os, 0, 1));
        assert_null(os_reserve(os, SIZE_MAX, 1));
        assert_null(os_reserve(os, (size_t)1 << 62, 1));
        assert_null(os_reserve(os, page, (size_t)1 << 63));
        assert_counts(os, 0, 0);
        os_close(os);
    }
}

/* ---- what ends the program ---- */

enum deed {
    TOUCH_UNCOMMITTED,
    TOUCH_DECOMMITTED,
    COMMIT_OUTSIDE,
    COMMIT_BEYOND,
    COMMIT_WRAPPING,
    DECOMMIT_UNALIGNED,
    RELEASE_PART,
    RELEASE_TWICE,
};

static int deed_do(void *arg)
{
    enum deed deed = *(enum deed *)arg;
    struct os *os = door_open(true, 0);
    volatile char *p = os_reserve(os, 4 * page, 1);
    os_commit(os, (char *)p, 2 * page);
    char *q = (char *)p;
    if (deed == TOUCH_UNCOMMITTED)
        p[2 * page] = 1;
    if (deed == TOUCH_DECOMMITTED && os_decommit(os, q + page, page) == 0)
        p[page] = 1;
    if (deed == COMMIT_OUTSIDE)
        os_commit(os, q - page, page);
    if (deed == COMMIT_BEYOND)
        os_commit(os, q + 3 * page, page + 1);
    if (deed == COMMIT_WRAPPING)
        os_commit(os, q, SIZE_MAX);
    if (deed == DECOMMIT_UNALIGNED)
        os_decommit(os, q + 16, 16);
    if (deed == RELEASE_PART)
        os_release(os, q, page);
    os_release(os, q, 4 * page);
    if (deed == RELEASE_TWICE)
        os_release(os, q, 4 * page);
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
        {TOUCH_UNCOMMITTED, SIGSEGV, ""},
        {TOUCH_DECOMMITTED, SIGSEGV, ""},
        {COMMIT_OUTSIDE, SIGABRT, "alloclab: os: commit outside a reservation at 0x"},
        {COMMIT_BEYOND, SIGABRT, "alloclab: os: commit outside a reservation at 0x"},
        {COMMIT_WRAPPING, SIGABRT, "alloclab: os: commit outside a reservation at 0x"},
        {DECOMMIT_UNALIGNED, SIGABRT, "alloclab: os: decommit outside a reservation at 0x"},
        {RELEASE_PART, SIGABRT, "alloclab: os: release of a part of a reservation at 0x"},
        {RELEASE_TWICE, SIGABRT, "alloclab: os: release outside a reservation at 0x"},
    };
    for (unsigned i = 0; i < sizeof ends / sizeof *ends; i++) {
        enum deed deed = ends[i].deed;
        struct child_end end = child_run(deed_do, &deed);
        assert_int_equal(end.signal, ends[i].signal);
        assert_memory_equal(end.text, ends[i].text, strlen(ends[i].text));
    }
}

/* ---- threads ---- */

static void *thread_main(void *arg)
{
    struct os *os = arg;
    for (unsigned i = 0; i < 300; i++) {
        char *p = os_reserve(os, 8 * page, 1);
        if (!p || os_commit(os, p, 5 * page) || os_decommit(os, p, page))
            return os;
        p[page] = 1;
        os_release(os, p, 8 * page);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    for (unsigned observe = 0; observe < 2; observe++) {
        struct os *os = door_open(observe, 0);
        pthread_t threads[4];
        for (unsigned i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, thread_main, os), 0);
        for (unsigned i = 0; i < 4; i++) {
            void *failed;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
        assert_counts(os, 0, 0);
        assert_int_equal(os_counts(os).calls_count, 4 * 300 * 4);
        os_close(os);
    }
}

/* Many reservations, so that the tree is more than a few nodes; and the door's own memory. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    static char *p[MANY];
    struct os *os = door_open(false, 0);
    for (unsigned i = 0; i < MANY; i++) {
        p[i] = os_map(os, page * (1 + i % 3), 1);
        assert_non_null(p[i]);
    }
    for (unsigned i = 0; i < MANY; i++)
        os_release(os, p[i * 7919 % MANY], page * (1 + i * 7919 % MANY % 3));
    assert_counts(os, 0, 0);
    os_close(os);
}

/* Closing unmaps what was never released. */
static void test_close_unmaps(void **state)
{
    (void)state;
    struct os *os = door_open(true, 0);
    char *p = os_map(os, page, 1);
    assert_non_null(p);
    os_close(os);
    assert_int_equal(msync(p, page, MS_ASYNC), -1);
    assert_int_equal(errno, ENOMEM);
}

int main(void)
{
    page = os_page_bytes();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_model),
        cmocka_unit_test(test_lowest_gap),
        cmocka_unit_test(test_two_doors),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_impossible_sizes),
        cmocka_unit_test(test_ends),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_close_unmaps),
    };
    return cmocka_run_group_tests_name("os", tests, NULL, NULL);
}
