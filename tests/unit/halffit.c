/*
 * halffit.c (test) - half-fit: that a free block serves requests up to a power of two and no more,
 * which is where the factor of two comes from; which of several free blocks is taken; what all
 * bounded designs must do (lib/realtime.h); and a random torture of every option.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "tests/lib/realtime.h"

/* Up to half of a free block is missed, less a granule; a power of two is served whole. */
static void serves_half(void **state)
{
    (void)state;
    size_t worst_hole = 0, worst_served = 1;
    for (size_t hole = 32; hole <= 1 << 22; hole = align_up(hole + hole / 9, 16)) {
        size_t served = realtime_served("halffit", "", hole);
        assert_int_equal(served, (size_t)1 << log2_floor(hole));
        assert_true(2 * served > hole);
    }
    for (size_t hole = 32; hole <= 1 << 20; hole *= 2) {
        assert_int_equal(realtime_served("halffit", "", hole), hole);
        worst_hole = 2 * hole - 16;
        worst_served = realtime_served("halffit", "", worst_hole);
        assert_int_equal(worst_hole, 2 * worst_served - 16);
    }
}

/* The hole of a block that is no power of two is too small for the same size again. */
static void does_not_look_into_its_own_bin(void **state)
{
    (void)state;
    struct lab lab;
    lab_open(&lab, "halffit", "", 0);
    char *hole = realtime_make(&lab, 96), *guard = realtime_make(&lab, 32);
    lab_drop(&lab, hole);
    char *other = realtime_make(&lab, 96);
    assert_ptr_equal(other, guard + 32);
    assert_ptr_equal(realtime_make(&lab, 64), hole);
    assert_ptr_equal(realtime_make(&lab, 32), hole + 64);
    lab_close(&lab);
}

static void bins_in_order(void **state)
{
    (void)state;
    static const size_t sizes[] = {1024, 1536, 2048, 8192 + 16};
    char *hole[4];
    struct lab lab;
    lab_open(&lab, "halffit", "", 0);
    for (size_t i = 0; i < 4; i++) {
        hole[i] = realtime_make(&lab, sizes[i]);
        realtime_make(&lab, 32);
    }
    for (size_t i = 0; i < 4; i++)
        lab_drop(&lab, hole[i]);
    assert_ptr_equal(realtime_make(&lab, 1024), hole[1]); /* the bin of 1024, last freed first */
    assert_ptr_equal(realtime_make(&lab, 1040), hole[2]); /* bin 2048: not into its own */
    assert_ptr_equal(realtime_make(&lab, 4096), hole[3]); /* over an empty bin */
    assert_ptr_equal(realtime_make(&lab, 4096), hole[3] + 4096);
    assert_ptr_equal(realtime_make(&lab, 1024), hole[0]);
    lab_close(&lab);
}

static void torture_all(void **state)
{
    (void)state;
    static const char *const pools[] = {"1m", "64g"}, *const commits[] = {"1", "64k", "1m"};
    const uint64_t seed = lab_seed();
    for (unsigned n = 0; n < 4 * 2 * 3; n++) {
        char options[128];
        snprintf(options, sizeof options, "pool=%s,commit=%s", pools[n % 2], commits[n / 2 % 3]);
        struct lab_torture torture = {.design = "halffit",
                                      .options = options,
                                      .seed = seed + n,
                                      .max_size = n % 4 < 2 ? 20000 : 1000,
                                      .commit_limit = n % 5 ? 0 : 1 << 20,
                                      .steps = 1200};
        lab_torture(&torture);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(serves_half),   cmocka_unit_test(does_not_look_into_its_own_bin),
        cmocka_unit_test(bins_in_order), REALTIME_TESTS("halffit"),
        cmocka_unit_test(torture_all),
    };
    return cmocka_run_group_tests_name("halffit", tests, NULL, NULL);
}
