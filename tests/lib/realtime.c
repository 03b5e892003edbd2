/*
 * realtime.c - see realtime.h.
 */
#include "tests/lib/realtime.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "tests/lib/steps.h"
#include "workloads/lib/rng.h"

enum { HEADER = 8, GRANULE = 16, SMALLEST = 32 };

char *realtime_make(struct lab *lab, size_t block)
{
    return lab_make(lab, block - HEADER);
}

size_t realtime_served(const char *design, const char *options, size_t hole)
{
    struct lab lab;
    size_t low = SMALLEST,
           high = hole; /* every request that is served is below those that are not */
    lab_open(&lab, design, options, 0);
    char *p = realtime_make(&lab, hole);
    realtime_make(&lab, SMALLEST);
    lab_drop(&lab, p);
    while (low < high) {
        size_t middle = align_up((low + high) / 2 + 1, GRANULE);
        middle = size_min(middle, high);
        char *q = realtime_make(&lab, middle);
        if (q == p)
            low = middle;
        else
            high = middle - GRANULE;
        lab_drop(&lab, q);
    }
    char *q = realtime_make(&lab, low);
    assert_ptr_equal(q, p);
    lab_close(&lab);
    return low;
}

/* Three neighbours freed in every order are one block of 1024 bytes, which serves just that. */
void realtime_merges(void **state)
{
    static const unsigned orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2},
                                         {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    static const size_t sizes[] = {512, 192, 320};
    struct lab lab;
    lab_open(&lab, *state, "", 0);
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++) {
        char *block[3];
        for (unsigned k = 0; k < 3; k++)
            block[k] = realtime_make(&lab, sizes[k]);
        char *guard = realtime_make(&lab, SMALLEST);
        assert_ptr_equal(block[1], block[0] + 512);
        assert_ptr_equal(guard, block[0] + 1024);
        for (unsigned k = 0; k < 3; k++)
            lab_drop(&lab, block[orders[i][k]]);
        char *whole = realtime_make(&lab, 1024);
        assert_ptr_equal(whole, block[0]);
        lab_drop(&lab, whole);
        char *part = realtime_make(&lab, 256); /* the rest is one block as well */
        assert_ptr_equal(part, block[0]);
        assert_ptr_equal(realtime_make(&lab, 512), block[0] + 256);
        assert_ptr_equal(realtime_make(&lab, 256), block[0] + 768);
    }
    lab_close(&lab);
}

void realtime_reallocs(void **state)
{
    struct lab lab;
    lab_open(&lab, *state, "", 0);
    char *a = realtime_make(&lab, 256), *b = realtime_make(&lab, 128), *c = realtime_make(&lab, 64);
    assert_ptr_equal(lab_resize(&lab, a, 248, 120), a);
    assert_int_equal(lab_usable(&lab, a), 120);
    assert_ptr_equal(lab_resize(&lab, a, 120, 184), a);
    assert_ptr_equal(realtime_make(&lab, 64), a + 192);
    assert_ptr_equal(lab_resize(&lab, c, 56, 100000), c); /* the top */
    assert_ptr_equal(lab_resize(&lab, c, 100000, 56), c);
    char *moved = lab_resize(&lab, b, 120, 504);
    assert_true(moved && moved != b);
    for (size_t i = 0; i < 120; i++)
        assert_int_equal(moved[i], 0x5a);
    assert_ptr_equal(realtime_make(&lab, 128), b);
    char *aligned = lab.design->realloc(lab.heap, moved, 504, 400, 4096);
    assert_true(aligned && is_aligned((uintptr_t)aligned, 4096));
    lab_close(&lab);
}

/* What lies in front of an aligned object is a free block that merges with it again. */
void realtime_aligns(void **state)
{
    struct lab lab;
    lab_open(&lab, *state, "", 0);
    for (size_t align = 32; align <= 1 << 20; align *= 2) {
        char *p = lab.design->alloc(lab.heap, 100, align);
        rig_check(&lab.rig);
        assert_true(p && is_aligned((uintptr_t)p, align));
        char *guard = realtime_make(&lab, SMALLEST);
        lab_drop(&lab, p);
        p = lab.design->alloc(lab.heap, 100, align); /* out of the bins, or from the top */
        rig_check(&lab.rig);
        assert_true(p && is_aligned((uintptr_t)p, align));
        lab_drop(&lab, p);
        lab_drop(&lab, guard);
    }
    lab.design->trim(lab.heap);
    size_t empty = rig_committed(&lab.rig);
    char *first = realtime_make(&lab, SMALLEST);
    lab_drop(&lab, first);
    assert_true(rig_committed(&lab.rig) <= empty + 65536);
    lab_close(&lab);
}

void realtime_trims(void **state)
{
    struct lab lab;
    lab_open(&lab, *state, "", 0);
    size_t empty = rig_committed(&lab.rig);
    char *low = lab_make(&lab, 200000), *middle = lab_make(&lab, 200000);
    char *high = lab_make(&lab, 600000);
    size_t full = rig_committed(&lab.rig);
    lab_drop(&lab, high);
    lab_drop(&lab, low); /* a hole: stays */
    assert_int_equal(rig_committed(&lab.rig), full);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    assert_in_range(rig_committed(&lab.rig), full - 600000 - 65536, full - 590000);
    lab_drop(&lab, middle);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    assert_true(rig_committed(&lab.rig) <= empty + 65536);
    lab_make(&lab, 300000);
    lab_close(&lab);
}

/* No second region: what does not fit the pool is refused, and free memory serves again. */
void realtime_pool_is_all(void **state)
{
    struct lab lab;
    char *block[64];
    size_t n = 0;
    lab_open(&lab, *state, "pool=1m,commit=4k", 0);
    while ((block[n] = lab.design->alloc(lab.heap, 30000, 1)))
        n++;
    assert_in_range(n, 25, 34);
    rig_check(&lab.rig);
    assert_null(lab_resize(&lab, block[n - 1], 30000, 100000));
    lab_drop(&lab, block[3]);
    lab_drop(&lab, block[4]);
    assert_ptr_equal(lab_make(&lab, 32000), block[3]);
    lab_close(&lab);
}

void realtime_memory_runs_out(void **state)
{
    struct lab lab;
    char *block[2048];
    size_t n = 0;
    lab_open(&lab, *state, "", 1 << 20);
    while (n < sizeof block / sizeof *block && (block[n] = lab.design->alloc(lab.heap, 1000, 1)))
        n++;
    assert_in_range(n, 900, 1048);
    rig_check(&lab.rig);
    assert_null(lab_resize(&lab, block[n - 1], 1000, 100000));
    assert_null(lab.design->alloc(lab.heap, (size_t)1 << 45, 1));
    assert_null(lab.design->alloc(lab.heap, 1, (size_t)1 << 45));
    assert_null(lab.design->alloc(lab.heap, SIZE_MAX / 2, 1));
    for (size_t k = 0; k < n; k++)
        lab_drop(&lab, block[k]);
    assert_non_null(lab.design->alloc(lab.heap, 500000, 1)); /* merged again */
    lab_close(&lab);
}

/* ---- bounds ---- */

struct call {
    struct lab *lab;
    void *to_free; /* NULL = allocate */
    size_t size;
};

static void call_run(void *arg)
{
    struct call *call = arg;
    if (call->to_free)
        call->lab->design->free(call->lab->heap, call->to_free, 0);
    else
        call->lab->design->alloc(call->lab->heap, call->size, 1);
}

/* Steps of an alloc that splits a hole, and of a free that merges with both sides, in a heap with
 * so many holes of that size and others. */
static void steps_measure(const char *design, size_t holes, long *split, long *merge)
{
    struct lab lab;
    lab_open(&lab, design, "", 0);
    char *a = realtime_make(&lab, 512), *b = realtime_make(&lab, 512);
    char *c = realtime_make(&lab, 512);
    for (size_t i = 0; i < holes; i++) {
        void *p = lab.design->alloc(lab.heap, 512 - HEADER, 1);
        void *between = lab.design->alloc(lab.heap, 1, 1);
        void *q = lab.design->alloc(lab.heap, 1024 + GRANULE * (i % 50), 1);
        assert_true(p && between && q && lab.design->alloc(lab.heap, 1, 1));
        lab.design->free(lab.heap, p, 0);
        lab.design->free(lab.heap, q, 0);
    }
    lab.design->alloc(lab.heap, 1, 1);
    struct call call = {.lab = &lab, .size = 256 - HEADER};
    *split = steps_count(call_run, &call);
    lab.design->free(lab.heap, a, 0);
    lab.design->free(lab.heap, c, 0);
    call.to_free = b;
    *merge = steps_count(call_run, &call);
    lab_close(&lab);
}

/* Not only bounded: the same path takes the same number of instructions in every heap. */
void realtime_steps_are_constant(void **state)
{
    long split[3], merge[3];
    static const size_t holes[] = {2, 100, 2500};
    for (size_t i = 0; i < 3; i++)
        steps_measure(*state, holes[i], &split[i], &merge[i]);
    if (split[0] < 0)
        skip(); /* no right to trace */
    for (size_t i = 1; i < 3; i++) {
        assert_int_equal(split[i], split[0]);
        assert_int_equal(merge[i], merge[0]);
    }
}

/* Growth is at most one door call for an alloc, none for a free. */
void realtime_door_calls(void **state)
{
    static void *object[512];
    struct lab lab;
    struct rng rng = rng_stream(lab_seed(), 0);
    uint64_t most_alloc = 0, most_free = 0;
    lab_open(&lab, *state, "", 0);
    memset(object, 0, sizeof object);
    for (unsigned i = 0; i < 20000; i++) {
        size_t k = rng_below(&rng, 512);
        uint64_t before = os_counts(lab.rig.os).calls_count;
        if (object[k])
            lab.design->free(lab.heap, object[k], 0);
        uint64_t between = os_counts(lab.rig.os).calls_count;
        object[k] = lab.design->alloc(lab.heap, (size_t)1 << rng_below(&rng, 18), 1);
        uint64_t after = os_counts(lab.rig.os).calls_count;
        most_free = between - before > most_free ? between - before : most_free;
        most_alloc = after - between > most_alloc ? after - between : most_alloc;
    }
    assert_int_equal(most_alloc, 1);
    assert_int_equal(most_free, 0);
    lab_close(&lab);
}
