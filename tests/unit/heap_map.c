/*
 * heap_map.c - the map of a heap held against a plain array: neighbours, other remainders of 16 in the
 * same leaf, both ends of the range; and that leaves in which nothing lives any more are let go.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "traces/heap_map.h"

enum { ADDRESSES = 40000, STEPS = 400000 };

static uint64_t state = UINT64_C(0x853c49e6748fea9b);

static unsigned draw(unsigned n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

static uint64_t address_of(unsigned i)
{
    switch (i % 5) {
    case 0:
        return i / 5;
    case 1:
        return UINT64_C(0x7f0000000000) + (uint64_t)i * 4096;
    case 2:
        return UINT64_C(0x555500000000) + (uint64_t)i * 16;
    case 3:
        return UINT64_C(0x555500000000) + (uint64_t)i * 16 + 8;
    default:
        return UINT64_MAX - i;
    }
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* What the map says is there is what the array says, in the order of the ids. */
static void check_live(const struct heap_map *map, const uint64_t *ids, bool sized)
{
    static uint64_t expected[ADDRESSES];
    size_t n = 0, count;
    for (unsigned i = 0; i < ADDRESSES; i++)
        if (ids[i])
            expected[n++] = ids[i];
    qsort(expected, n, sizeof *expected, compare_ids);
    uint64_t **live = heap_map_live(map, &count);
    assert_non_null(live);
    assert_int_equal(count, n);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(*live[i], expected[i]);
        assert_true(!sized || *heap_slot_size(live[i]) == 3 * expected[i]);
    }
    free(live);
}

static void agrees(bool sized)
{
    static uint64_t ids[ADDRESSES];
    struct heap_map map = {.sized = sized};
    print_message("seed %llx\n", (unsigned long long)state);
    for (unsigned i = 0; i < ADDRESSES; i++)
        ids[i] = 0;
    for (unsigned step = 1; step <= STEPS; step++) {
        unsigned i = draw(ADDRESSES);
        uint64_t *slot = heap_map_slot(&map, address_of(i));
        assert_non_null(slot);
        assert_int_equal(*slot, ids[i]);
        *slot = ids[i] = ids[i] ? 0 : step;
        if (sized)
            *heap_slot_size(slot) = 3 * (uint64_t)step;
        assert_int_equal(heap_map_has(&map, address_of(i)), ids[i] != 0);
        if (step % 512 == 0)
            heap_map_trim(&map);
        if (step % (STEPS / 4) == 0)
            check_live(&map, ids, sized);
    }
    for (unsigned i = 0; i < ADDRESSES; i++)
        assert_int_equal(heap_map_has(&map, address_of(i)), ids[i] != 0);
    heap_map_free(&map);
    assert_false(heap_map_has(&map, 0));
}

static void agrees_with_an_array(void **unused)
{
    (void)unused;
    agrees(false);
    agrees(true);
}

/* A heap that wanders on: what it has left behind takes no room. */
static void follows_the_live_set(void **unused)
{
    (void)unused;
    struct heap_map map = {0};
    for (uint64_t i = 0; i < 1000000; i++) {
        *heap_map_slot(&map, i << 12) = i + 1;
        if (i >= 100)
            *heap_map_slot(&map, (i - 100) << 12) = 0;
        if (i % 512 == 0)
            heap_map_trim(&map);
    }
    assert_true(map.used < 10000);
    assert_true(heap_map_has(&map, UINT64_C(999999) << 12));
    assert_false(heap_map_has(&map, UINT64_C(999000) << 12));
    heap_map_free(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_an_array),
        cmocka_unit_test(follows_the_live_set),
    };
    return cmocka_run_group_tests_name("heap_map", tests, NULL, NULL);
}
