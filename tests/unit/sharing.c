/*
 * sharing.c - cache lines with live objects of several threads: by hand on a few lines, and against a
 * plain count over all bytes on random objects.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "harness/sharing.h"
#include "workloads/lib/rng.h"

static void test_by_hand(void **state)
{
    struct sharing sharing;
    (void)state;
    assert_true(sharing_open(&sharing, 8));
    uintptr_t at = 0x7f0000000000;
    sharing_add(&sharing, at, 16, 0);
    sharing_add(&sharing, at + 16, 16, 0);
    assert_int_equal(sharing.used, 1);
    assert_int_equal(sharing.shared, 0);
    sharing_add(&sharing, at + 32, 16, 1);
    sharing_add(&sharing, at + 48, 16, 2); /* a third thread makes it no more shared */
    assert_int_equal(sharing.shared, 1);
    sharing_remove(&sharing, at + 32, 16, 1);
    assert_int_equal(sharing.shared, 1);
    sharing_remove(&sharing, at + 48, 16, 2);
    assert_int_equal(sharing.shared, 0);
    sharing_add(&sharing, at + 48, 64 * 3, 1); /* ends in the first line and in the fourth */
    assert_int_equal(sharing.used, 4);
    assert_int_equal(sharing.shared, 1);
    sharing_remove(&sharing, at, 16, 0);
    sharing_remove(&sharing, at + 16, 16, 0);
    assert_int_equal(sharing.used, 4);
    assert_int_equal(sharing.shared, 0);
    sharing_remove(&sharing, at + 48, 64 * 3, 1);
    assert_int_equal(sharing.used, 0);
    sharing_close(&sharing);
}

/* Toy allocators: both hand out 16 bytes at a time to two threads in turns. */
static void test_toys(void **state)
{
    struct sharing sharing;
    (void)state;
    assert_true(sharing_open(&sharing, 1000));
    for (unsigned i = 0; i < 1000; i++) /* one after the other, whoever asks */
        sharing_add(&sharing, 0x10000 + 16 * i, 16, i % 2);
    assert_int_equal(sharing.used, 250);
    assert_int_equal(sharing.shared, 250);
    sharing_clear(&sharing);
    for (unsigned i = 0; i < 1000; i++) /* each thread from a place of its own */
        sharing_add(&sharing, 0x10000 + 16 * (i / 2) + 0x100000 * (i % 2), 16, i % 2);
    assert_int_equal(sharing.used, 250);
    assert_int_equal(sharing.shared, 0);
    sharing_close(&sharing);
}

/* ---- against a count over all bytes ---- */

enum { ROOM = 64 * 64, OBJECTS = 200, THREADS = 4, STEPS = 4000 };

struct object {
    unsigned from, size, thread; /* size 0 = not live */
};

static void bytes_count(const struct object *objects, uint64_t *used, uint64_t *shared)
{
    static unsigned char threads[ROOM / 64]; /* by line: a bit for each */
    memset(threads, 0, sizeof threads);
    for (unsigned i = 0; i < OBJECTS; i++)
        for (unsigned b = 0; b < objects[i].size; b++)
            threads[(objects[i].from + b) / 64] |= (unsigned char)(1u << objects[i].thread);
    *used = *shared = 0;
    for (unsigned i = 0; i < ROOM / 64; i++) {
        *used += threads[i] != 0;
        *shared += (threads[i] & (threads[i] - 1)) != 0;
    }
}

static bool is_clear(const unsigned char *bytes, unsigned from, unsigned size)
{
    for (unsigned i = 0; i < size; i++)
        if (bytes[from + i])
            return false;
    return true;
}

static void test_random(void **state)
{
    static unsigned char bytes[ROOM];
    static struct object objects[OBJECTS];
    struct sharing sharing;
    uint64_t used, shared, seed = 4, most = 0;
    struct rng rng = rng_stream(seed, 0);
    (void)state;
    printf("seed %llu\n", (unsigned long long)seed);
    assert_true(sharing_open(&sharing, OBJECTS));
    for (unsigned step = 0; step < STEPS; step++) {
        struct object *o = &objects[rng_below(&rng, OBJECTS)];
        if (o->size) {
            sharing_remove(&sharing, 0x40000 + o->from, o->size, o->thread);
            memset(bytes + o->from, 0, o->size);
            o->size = 0;
        } else {
            unsigned size = 1 + (unsigned)rng_below(&rng, rng_below(&rng, 8) ? 40 : 300);
            unsigned from = (unsigned)rng_below(&rng, ROOM - size);
            if (!is_clear(bytes, from, size))
                continue;
            *o = (struct object){from, size, (unsigned)rng_below(&rng, THREADS)};
            memset(bytes + from, 1, size);
            sharing_add(&sharing, 0x40000 + from, size, o->thread);
        }
        bytes_count(objects, &used, &shared);
        assert_int_equal(sharing.used, used);
        assert_int_equal(sharing.shared, shared);
        most = shared > most ? shared : most;
    }
    assert_true(most > 5);
    sharing_close(&sharing);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_toys),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
