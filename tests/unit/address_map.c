/*
 * address_map.c - the address table held against a plain array, through growth, removal of entries
 * in the middle of probe chains, and keys that a heap would not give: 0, and the highest ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "traces/address_map.h"

enum { KEYS = 3000, STEPS = 200000 };

static uint64_t state = UINT64_C(0x853c49e6748fea9b);

static unsigned draw(unsigned n)
{
    state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(state >> 33) % n;
}

/* Neighbours, whole pages apart, and both ends of the range. */
static uint64_t key_of(unsigned i)
{
    switch (i % 4) {
    case 0:
        return i / 4;
    case 1:
        return UINT64_C(0x7f0000000000) + (uint64_t)i * 4096;
    case 2:
        return UINT64_C(0x555500000000) + (uint64_t)i * 16;
    default:
        return UINT64_MAX - i;
    }
}

static void agrees_with_an_array(void **unused)
{
    (void)unused;
    static uint64_t sizes[KEYS]; /* 0: the key is not there */
    struct address_map map = {0};
    size_t used = 0;
    print_message("seed %llx\n", (unsigned long long)state);
    for (unsigned step = 1; step <= STEPS; step++) {
        /* Fewer keys in the second half: the table empties out. */
        unsigned i = draw(step < STEPS / 2 ? KEYS : KEYS / 10);
        struct address_entry *e = address_map_find(&map, key_of(i));
        assert_int_equal(e != NULL, sizes[i] != 0);
        if (e) {
            assert_int_equal(e->key, key_of(i));
            assert_int_equal(address_entry_id(e), i);
            assert_int_equal(e->size, sizes[i]);
            address_map_remove(&map, e);
            sizes[i] = 0;
            used--;
        } else {
            assert_true(address_map_add(&map, key_of(i), i, step));
            sizes[i] = step;
            used++;
        }
        assert_int_equal(map.used, used);
    }
    for (unsigned i = 0; i < KEYS; i++) {
        const struct address_entry *e = address_map_find(&map, key_of(i));
        assert_int_equal(e ? e->size : 0, sizes[i]);
    }
    address_map_free(&map);
    assert_null(address_map_find(&map, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(agrees_with_an_array)};
    return cmocka_run_group_tests_name("address_map", tests, NULL, NULL);
}
