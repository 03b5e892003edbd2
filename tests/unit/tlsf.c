/*
 * tlsf.c (test) - two-level segregated fit: which requests a free block serves, for every second
 * level, against the formula; which of several free blocks is taken; what all bounded designs must
 * do (lib/realtime.h); and a random torture of every option.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "tests/lib/realtime.h"

/*
 * A free block is in a part of its doubling, and serves requests up to the part's beginning: the
 * whole of it in the linear part; else it misses less than 1 in 2^second.
 */
static void serves_all_but_a_part(void **state)
{
    (void)state;
    for (unsigned second = 1; second <= 6; second++) {
        char options[32];
        snprintf(options, sizeof options, "second=%u", second);
        for (size_t hole = 32; hole <= 1 << 22; hole = align_up(hole + hole / 5, 16)) {
            size_t part = ((size_t)1 << log2_floor(hole)) >> second;
            size_t expected = hole < (size_t)32 << second ? hole : hole - hole % part;
            size_t served = realtime_served("tlsf", options, hole);
            assert_int_equal(served, expected);
            assert_true((hole - served) << second < hole);
        }
    }
}

/* A part's beginning is served whole, and one granule less is not enough for it. */
static void parts_begin_exactly(void **state)
{
    (void)state;
    for (size_t part = 0; part < 32; part++) {
        size_t begin = 8192 + part * (8192 / 32);
        assert_int_equal(realtime_served("tlsf", "", begin), begin);
        assert_int_equal(realtime_served("tlsf", "", begin - 16),
                         begin - (part ? 8192 / 32 : 4096 / 32));
    }
}

static void bins_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {1024 + 32, 1024 + 96, 2048, 65536, 48};
    char *hole[5];
    struct lab lab;
    lab_open(&lab, "tlsf", "", 0);
    for (size_t i = 0; i < 5; i++) {
        hole[i] = realtime_make(&lab, sizes[i]);
        realtime_make(&lab, 32);
    }
    for (size_t i = 0; i < 5; i++)
        lab_drop(&lab, hole[i]);
    assert_ptr_equal(realtime_make(&lab, 48), hole[4]);          /* the linear part: exact */
    assert_ptr_equal(realtime_make(&lab, 1024 + 48), hole[1]);   /* hole 0 is of a lower part */
    assert_ptr_equal(realtime_make(&lab, 1024 + 32), hole[0]);   /* its part's beginning */
    assert_ptr_equal(realtime_make(&lab, 1024), hole[2]);        /* the next row */
    assert_ptr_equal(realtime_make(&lab, 1024), hole[2] + 1024); /* what was left of it, exactly */
    assert_ptr_equal(realtime_make(&lab, 2048), hole[3]);        /* over empty rows */
    lab_close(&lab);
}

static void last_freed_first(void **state)
{
    (void)state;
    char *hole[3];
    struct lab lab;
    lab_open(&lab, "tlsf", "", 0);
    for (size_t i = 0; i < 3; i++) {
        hole[i] = realtime_make(&lab, 256);
        realtime_make(&lab, 32);
    }
    lab_drop(&lab, hole[1]);
    lab_drop(&lab, hole[2]);
    lab_drop(&lab, hole[0]);
    assert_ptr_equal(realtime_make(&lab, 256), hole[0]);
    assert_ptr_equal(realtime_make(&lab, 256), hole[2]);
    assert_ptr_equal(realtime_make(&lab, 256), hole[1]);
    lab_close(&lab);
}

static void torture_all(void **state)
{
    (void)state;
    static const char *const pools[] = {"1m", "64g"}, *const commits[] = {"1", "64k", "1m"};
    const uint64_t seed = lab_seed();
    for (unsigned n = 0; n < 6 * 2 * 3; n++) {
        char options[128];
        snprintf(options, sizeof options, "second=%u,pool=%s,commit=%s", 1 + n % 6,
                 pools[n / 6 % 2], commits[n / 12]);
        struct lab_torture torture = {.design = "tlsf",
                                      .options = options,
                                      .seed = seed + n,
                                      .max_size = n % 2 ? 20000 : 1000,
                                      .commit_limit = n % 5 ? 0 : 1 << 20,
                                      .steps = 1200};
        lab_torture(&torture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_all_but_a_part),
        cmocka_unit_test(parts_begin_exactly),
        cmocka_unit_test(bins_in_order),
        cmocka_unit_test(last_freed_first),
        REALTIME_TESTS("tlsf"),
        cmocka_unit_test(torture_all),
    };
    return cmocka_run_group_tests_name("tlsf", tests, NULL, NULL);
}
