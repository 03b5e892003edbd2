/*
 * buddy.c (test) - the binary buddy system seen from its addresses: which block a request gets, how
 * blocks split and merge, that requests of 2^i take 2^i at multiples of 2^i, what a buddy that is
 * no neighbour and a neighbour that is no buddy do, how the top falls and what trim gives back;
 * Robson's program against the bound for buddies; and a random torture of every option.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "tests/lib/lab.h"

#define countof(a) (sizeof(a) / sizeof *(a))

static void powers_take_powers(void **state)
{
    (void)state;
    for (size_t min = 16; min <= 4096; min *= 4) {
        struct lab lab;
        char options[32];
        snprintf(options, sizeof options, "min=%zu", min);
        lab_open(&lab, "buddy", options, 0);
        for (size_t bytes = min; bytes <= 1 << 16; bytes *= 2) {
            char *first = lab_make(&lab, bytes);
            assert_true(is_aligned((uintptr_t)first, bytes));
            assert_int_equal(lab_usable(&lab, first), bytes);
            for (size_t n = 1; n < 5; n++)
                assert_ptr_equal(lab_make(&lab, bytes), first + n * bytes);
            for (size_t n = 0; n < 5; n++) /* leave no holes for the next size */
                assert_ptr_equal(lab_make(&lab, bytes), first + (n + 5) * bytes);
            char *above = lab_make(&lab, bytes + 1);
            assert_int_equal(lab_usable(&lab, above), 2 * bytes);
            assert_true(is_aligned((uintptr_t)above, 2 * bytes));
        }
        lab_close(&lab);
    }
}

static void aligned_blocks(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "buddy", "", 0);
    for (size_t align = 1; align <= 1 << 20; align *= 2) {
        char *p = lab.design->alloc(lab.heap, 24, align);
        assert_true(p && is_aligned((uintptr_t)p, align));
        assert_int_equal(lab_usable(&lab, p), size_max(align, 32));
    }
    char *far = lab.design->alloc(lab.heap, 100, (size_t)1 << 28); /* beyond the arena */
    assert_true(far && is_aligned((uintptr_t)far, (size_t)1 << 28));
    rig_check(&lab.rig);
    lab_close(&lab);
}

/* One block of 1024 is split for 64 bytes into itself and 64, 128, 256, 512, and merges again. */
static void splits_and_merges(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "buddy", "", 0);
    char *a = lab_make(&lab, 1024), *guard = lab_make(&lab, 1024);
    lab_drop(&lab, a);
    assert_int_equal(lab_free_sum(&lab).blocks, 1);
    assert_ptr_equal(lab_make(&lab, 64), a);
    assert_int_equal(lab_free_sum(&lab).blocks, 4);
    assert_int_equal(lab_free_sum(&lab).bytes, 1024 - 64);
    assert_ptr_equal(lab_make(&lab, 512), a + 512);
    assert_ptr_equal(lab_make(&lab, 64), a + 64);
    assert_ptr_equal(lab_make(&lab, 200), a + 256);
    assert_ptr_equal(lab_make(&lab, 100), a + 128);
    assert_int_equal(lab_free_sum(&lab).blocks, 0);
    static const size_t order[] = {128, 64, 512, 256, 0};
    static const size_t blocks[] = {1, 2, 3, 4, 1};
    for (size_t i = 0; i < countof(order); i++) {
        lab_drop(&lab, a + order[i]);
        assert_int_equal(lab_free_sum(&lab).blocks, blocks[i]);
    }
    assert_ptr_equal(lab_make(&lab, 1024), a);
    assert_ptr_equal(lab_make(&lab, 1024), guard + 1024);
    lab_close(&lab);
}

/* Two free neighbours that are no buddies stay two; that is the price of the XOR. */
static void neighbours_are_no_buddies(void **state)
{
    (void)state;
    struct lab lab;
    char *block[4];
    lab_open(&lab, "buddy", "", 0);
    for (size_t i = 0; i < countof(block); i++)
        block[i] = lab_make(&lab, 4096);
    lab_drop(&lab, block[1]);
    lab_drop(&lab, block[2]);
    assert_int_equal(lab_free_sum(&lab).blocks, 2);
    assert_true(lab_make(&lab, 8192) > block[3]);
    lab_drop(&lab, block[0]);
    assert_int_equal(lab_free_sum(&lab).blocks, 2); /* 8192 and 4096 */
    assert_ptr_equal(lab_make(&lab, 8192), block[0]);
    lab_close(&lab);
}

/* The smallest block that fits is split, and of one order the block that was freed last. */
static void smallest_is_split(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "buddy", "", 0);
    char *large = lab_make(&lab, 2048), *guard = lab_make(&lab, 2048);
    char *one = lab_make(&lab, 256), *two = lab_make(&lab, 256), *three = lab_make(&lab, 256);
    lab_make(&lab, 256);
    lab_drop(&lab, large);
    lab_drop(&lab, three);
    lab_drop(&lab, one);
    assert_ptr_equal(lab_make(&lab, 129), one);
    assert_ptr_equal(lab_make(&lab, 64), three);
    lab_drop(&lab, two);
    lab_drop(&lab, one); /* 512 with its buddy */
    assert_ptr_equal(lab_make(&lab, 512), one);
    assert_ptr_equal(lab_make(&lab, 512), large);
    lab_drop(&lab, guard);
    lab_close(&lab);
}

/* A gap below a large block costs its blocks' first pages, and is used before the top rises. */
static void gaps_stay_uncommitted(void **state)
{
    (void)state;
    struct lab lab;
    size_t page = os_page_bytes(), large = 4 << 20;
    lab_open(&lab, "buddy", "commit=4k", 0);
    char *small = lab_make(&lab, 16);
    size_t before = rig_committed(&lab.rig);
    char *p = lab_make(&lab, large);
    assert_true(is_aligned((uintptr_t)p, large));
    size_t levels = log2_floor(large / page), tables = large / 16 * 2;
    assert_true(rig_committed(&lab.rig) <= before + large + levels * page + tables);
    assert_ptr_equal(lab_make(&lab, 16), small + 16);
    assert_ptr_equal(lab_make(&lab, page), small + page);
    char *middle = lab_make(&lab, large / 2);
    assert_ptr_equal(middle, small + large / 2);
    lab_drop(&lab, middle);
    lab_drop(&lab, p);
    assert_ptr_equal(lab_make(&lab, large), p); /* the top has fallen to the gap, and rises again */
    lab_close(&lab);
}

static void top_falls(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "buddy", "", 0);
    char *a = lab_make(&lab, 16), *b = lab_make(&lab, 1024), *c = lab_make(&lab, 1 << 18);
    assert_int_equal(lab_free_sum(&lab).bytes > 0, 1);
    lab_drop(&lab, c);
    lab_drop(&lab, b);
    assert_int_equal(lab_free_sum(&lab).bytes, 0); /* no gap is left above the only object */
    assert_ptr_equal(lab_make(&lab, 32), a + 32);
    lab_drop(&lab, a + 32);
    lab_drop(&lab, a);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    assert_int_equal(rig_committed(&lab.rig), os_page_bytes()); /* the heap itself */
    assert_ptr_equal(lab_make(&lab, 16), a);
    lab_close(&lab);
}

static void trim_returns(void **state)
{
    (void)state;
    struct lab lab;
    char *block[16];
    size_t bytes = 1 << 16, page = os_page_bytes();
    lab_open(&lab, "buddy", "", 0);
    for (size_t i = 0; i < countof(block); i++)
        block[i] = lab_make(&lab, bytes);
    size_t full = rig_committed(&lab.rig);
    for (size_t i = 0; i < countof(block); i += 2)
        lab_drop(&lab, block[i]);
    assert_int_equal(rig_committed(&lab.rig), full);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    size_t returned = countof(block) / 2 * (bytes - page);
    assert_in_range(rig_committed(&lab.rig), full - returned - bytes, full - returned);
    size_t trimmed = rig_committed(&lab.rig);
    char *small = lab_make(&lab, 100); /* a step of a partial block */
    assert_int_equal(rig_committed(&lab.rig), trimmed + bytes - page);
    lab_drop(&lab, small);
    for (size_t i = 0; i < countof(block) / 2; i++)
        lab_make(&lab, bytes);
    assert_in_range(rig_committed(&lab.rig), full - bytes, full);
    lab_close(&lab);
}

static void realloc_in_place(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "buddy", "", 0);
    char *a = lab_make(&lab, 4096), *b = lab_make(&lab, 4096);
    assert_ptr_equal(lab_resize(&lab, a, 4096, 100), a);
    assert_int_equal(lab_usable(&lab, a), 128);
    assert_int_equal(lab_free_sum(&lab).blocks, 5); /* 128, 256, 512, 1024, 2048 */
    assert_ptr_equal(lab_make(&lab, 1000), a + 1024);
    assert_ptr_equal(lab_resize(&lab, a, 100, 1024), a);
    char *moved = lab_resize(&lab, a, 1024, 1025); /* its buddy is in use */
    assert_true(moved && moved != a && moved[1023] == 0x5a);
    assert_ptr_equal(lab_resize(&lab, moved, 1025, 900), moved);
    lab_drop(&lab, moved);
    assert_ptr_equal(lab_resize(&lab, b, 4096, 4000), b);
    lab_drop(&lab, a + 1024);
    char *up = lab_resize(&lab, b, 4096, 8192); /* b is an upper half: it must move */
    assert_true(up && up != b && up[4095] == 0x5a);
    char *high = lab_make(&lab, 1 << 17);
    size_t below = lab_free_sum(&lab).bytes;
    assert_ptr_equal(lab_resize(&lab, high, 1 << 17, 1 << 14), high); /* the top falls */
    assert_int_equal(lab_free_sum(&lab).bytes, below);
    assert_ptr_equal(lab_resize(&lab, high, 1 << 14, 1 << 17), high); /* and rises */
    assert_int_equal(lab_usable(&lab, high), 1 << 17);
    char *aligned = lab.design->realloc(lab.heap, up, 8192, 10, 4096);
    assert_true(aligned && is_aligned((uintptr_t)aligned, 4096));
    lab_close(&lab);
}

static void arenas_follow(void **state)
{
    (void)state;
    struct lab lab;
    char *block[100], *whole, *own;
    lab_open(&lab, "buddy", "arena=64k,commit=4k", 0);
    for (size_t i = 0; i < countof(block); i++)
        block[i] = lab_make(&lab, 8192);
    whole = lab_make(&lab, 1 << 16); /* as large as the first arena: a block */
    assert_true(is_aligned((uintptr_t)whole, 1 << 16));
    assert_int_equal(lab_usable(&lab, whole), 1 << 16);
    own = lab_make(&lab, (1 << 16) + 1); /* larger: pages of its own */
    assert_int_equal(lab_usable(&lab, own), (1 << 16) + os_page_bytes());
    own = lab_resize(&lab, own, (1 << 16) + 1, 1 << 20);
    assert_ptr_equal(lab_resize(&lab, own, 1 << 20, 1 << 18), own);
    own = lab_resize(&lab, own, 1 << 18, 1 << 14); /* back into the arenas */
    assert_int_equal(lab_usable(&lab, own), 1 << 14);
    lab_drop(&lab, own);
    lab_drop(&lab, whole);
    for (size_t i = 0; i < countof(block); i++)
        lab_drop(&lab, block[i]);
    lab.design->trim(lab.heap);
    rig_check(&lab.rig);
    assert_true(rig_committed(&lab.rig) <= 2 * os_page_bytes()); /* heap, table of large objects */
    lab_close(&lab);
}

static void memory_runs_out(void **state)
{
    (void)state;
    struct lab lab;
    char *block[2048];
    size_t n = 0;
    lab_open(&lab, "buddy", "", 2 << 20);
    while (n < countof(block) && (block[n] = lab.design->alloc(lab.heap, 1024, 1)))
        n++;
    assert_in_range(n, 1500, 2047);
    rig_check(&lab.rig);
    assert_null(lab.design->realloc(lab.heap, block[n - 1], 1000, 100000, 1));
    assert_null(lab.design->alloc(lab.heap, (size_t)1 << 20, 1));
    assert_null(lab.design->alloc(lab.heap, (size_t)1 << 45, 1));
    assert_null(lab.design->alloc(lab.heap, SIZE_MAX / 2, 1));
    rig_check(&lab.rig);
    for (size_t k = 0; k < n; k++)
        lab_drop(&lab, block[k]);
    assert_non_null(lab.design->alloc(lab.heap, 1 << 20, 1)); /* merged again */
    lab_close(&lab);
}

/*
 * Robson's argument for buddies: fill with blocks of 2^i, keep one in each block of 2^(i+1), free
 * the rest, go on with 2^(i+1). With M live units and sizes up to n = 2^k no request of the next
 * size finds a hole, so the heap grows by what was freed each time: M (1 + k/2).
 */
static size_t halving_extent(size_t live, unsigned largest_log2)
{
    enum { UNIT = 16, OBJECTS = 4096 };
    static char *object[OBJECTS];
    struct lab lab;
    size_t count = 0, extent = 0, used = 0;
    char *base = NULL;
    lab_open(&lab, "buddy", "", 0);
    for (unsigned k = 0; k <= largest_log2; k++) {
        size_t kept = 0, bytes = (size_t)UNIT << k;
        for (size_t i = 0; k && i < count; i++) {
            size_t half = bytes / 2, at = (size_t)(object[i] - base);
            if (at % bytes < half) { /* a lower half, or within one */
                object[kept++] = object[i];
            } else {
                used -= lab_usable(&lab, object[i]);
                lab.design->free(lab.heap, object[i], 0);
            }
        }
        for (count = k ? kept : 0; used + bytes <= live * UNIT; used += bytes) {
            char *p = lab.design->alloc(lab.heap, bytes, 1);
            assert_true(p && count < OBJECTS);
            base = base ? base : p;
            object[count++] = p;
            extent = size_max(extent, (size_t)(p - base) + bytes);
        }
        rig_check(&lab.rig);
    }
    lab_close(&lab);
    return extent / UNIT;
}

static void halving_bound(void **state)
{
    (void)state;
    for (size_t live = 256; live <= 2048; live *= 2)
        for (unsigned k = 1; k <= 5; k++)
            assert_int_equal(halving_extent(live, k), live + live / 2 * k);
}

/* ---- torture ---- */

static void torture_all(void **state)
{
    (void)state;
    static const char *const mins[] = {"16", "32", "64", "1000", "4k"};
    static const char *const arenas[] = {"64k", "256k", "64m"};
    static const char *const commits[] = {"1", "64k"};
    const uint64_t seed = lab_seed();
    for (size_t n = 0; n < countof(mins) * countof(arenas) * countof(commits); n++) {
        char options[128];
        snprintf(options, sizeof options, "min=%s,arena=%s,commit=%s", mins[n % countof(mins)],
                 arenas[n / countof(mins) % countof(arenas)],
                 commits[n / countof(mins) / countof(arenas)]);
        struct lab_torture torture = {.design = "buddy",
                                      .options = options,
                                      .seed = seed + n,
                                      .max_size = 20000,
                                      .steps = 1500};
        lab_torture(&torture);
        torture.commit_limit = 1 << 20;
        lab_torture(&torture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(powers_take_powers), cmocka_unit_test(aligned_blocks),
        cmocka_unit_test(splits_and_merges),  cmocka_unit_test(neighbours_are_no_buddies),
        cmocka_unit_test(smallest_is_split),  cmocka_unit_test(gaps_stay_uncommitted),
        cmocka_unit_test(top_falls),          cmocka_unit_test(trim_returns),
        cmocka_unit_test(realloc_in_place),   cmocka_unit_test(arenas_follow),
        cmocka_unit_test(memory_runs_out),    cmocka_unit_test(halving_bound),
        cmocka_unit_test(torture_all),
    };
    return cmocka_run_group_tests_name("buddy", tests, NULL, NULL);
}
