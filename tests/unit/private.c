/*
 * private.c - what private is there to show, in numbers: memory that grows with what passes from a
 * producer to a consumer, N-fold memory when N threads take turns, where hoard stays within its
 * bound in the same game; and that a thread keeps what it frees, and passes it on when it leaves.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/rig.h"

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

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

static char *take(struct heap *view, size_t size)
{
    char *p = rig.design->alloc(view, size, 16);
    assert_non_null(p);
    return p;
}

/* `count` objects of 64 bytes pass from one thread to another, at most 512 at a time. */
static size_t flow_peak(const char *design, unsigned count)
{
    static char *window[512];
    start(design, NULL);
    struct heap *consumer = rig.design->thread_enter(rig.heap);
    assert_non_null(consumer);
    for (unsigned i = 0; i < count + 512; i++) {
        char **slot = &window[i % 512];
        if (i >= 512)
            rig.design->free(consumer, *slot, 0);
        if (i < count)
            *slot = take(rig.view, 64);
    }
    size_t peak = os_counts(rig.os).peak_committed_bytes;
    rig.design->thread_exit(consumer);
    stop();
    return peak;
}

static void test_flow_grows(void **state)
{
    (void)state;
    size_t once = flow_peak("private", 100000), twice = flow_peak("private", 200000);
    assert_true(once > 100000 * 64);
    assert_in_range(twice - once, 100000 * 64, 100000 * 64 * 103 / 100);
    assert_true(flow_peak("hoard", 200000) < MIB);
    assert_true(flow_peak("segfit", 200000) < MIB);
}

/* N threads take turns: each allocates 1 MiB and frees it. */
static size_t turns_peak(const char *design, unsigned threads)
{
    enum { COUNT = 1024 * 1024 / 64 };
    static char *p[COUNT];
    struct heap *views[16];
    start(design, NULL);
    for (unsigned i = 0; i < threads; i++)
        views[i] = rig.design->thread_enter(rig.heap);
    for (unsigned turn = 0; turn < 3 * threads; turn++) {
        for (unsigned i = 0; i < COUNT; i++)
            p[i] = take(views[turn % threads], 64);
        for (unsigned i = 0; i < COUNT; i++)
            rig.design->free(views[turn % threads], p[i], 0);
    }
    size_t peak = os_counts(rig.os).peak_committed_bytes;
    for (unsigned i = 0; i < threads; i++)
        rig.design->thread_exit(views[i]);
    stop();
    return peak;
}

static void test_turns_multiply(void **state)
{
    (void)state;
    assert_in_range(turns_peak("private", 4), 4 * MIB, 4 * MIB * 110 / 100);
    assert_in_range(turns_peak("private", 16), 16 * MIB, 16 * MIB * 110 / 100);
    assert_true(turns_peak("hoard", 16) < 4 * MIB);
}

static void test_own_memory_is_reused(void **state)
{
    (void)state;
    start("private", NULL);
    for (size_t size = 16; size <= 64 * KIB; size *= 2) {
        char *p = take(rig.view, size);
        size_t all = rig_committed(&rig);
        for (unsigned i = 0; i < 1000; i++) {
            rig.design->free(rig.view, p, size);
            assert_ptr_equal(take(rig.view, size), p);
        }
        assert_int_equal(rig_committed(&rig), all);
        rig.design->free(rig.view, p, 0);
    }
    stop();
}

/* What another thread frees is out of reach, until a thread takes over its view. */
static void test_lists_are_inherited(void **state)
{
    (void)state;
    start("private", NULL);
    struct heap *other = rig.design->thread_enter(rig.heap);
    char *p = take(rig.view, 64);
    rig.design->free(other, p, 0);
    assert_ptr_not_equal(take(rig.view, 64), p);
    rig.design->thread_exit(other);
    rig_check(&rig);
    struct heap *heir = rig.design->thread_enter(rig.heap);
    assert_ptr_equal(heir, other);
    assert_ptr_equal(take(heir, 64), p);
    struct heap *fresh = rig.design->thread_enter(rig.heap);
    assert_ptr_not_equal(fresh, heir);
    rig.design->thread_exit(heir);
    rig.design->thread_exit(fresh);
    assert_ptr_equal(rig.design->thread_enter(rig.heap), fresh); /* left last, taken first */
    assert_ptr_equal(rig.design->thread_enter(rig.heap), heir);
    stop();
}

static void test_large_go_back(void **state)
{
    (void)state;
    start("private", "small=1k");
    size_t before = rig_committed(&rig);
    struct heap *other = rig.design->thread_enter(rig.heap);
    char *p = take(rig.view, 1025), *q = take(rig.view, 40 * MIB);
    assert_int_equal(rig.design->usable(rig.view, p), 8 * KIB);
    rig.design->free(other, p, 1025);
    rig.design->free(other, q, 40 * MIB);
    rig.design->trim(rig.heap);
    assert_true(rig_committed(&rig) <= before);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flow_grows),           cmocka_unit_test(test_turns_multiply),
        cmocka_unit_test(test_own_memory_is_reused), cmocka_unit_test(test_lists_are_inherited),
        cmocka_unit_test(test_large_go_back),
    };
    return cmocka_run_group_tests_name("private", tests, NULL, NULL);
}
