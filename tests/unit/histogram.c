/*
 * histogram.c - the stated error of histogram.h: buckets tile all values, none is wider than 1/64
 * of its least value, and a quantile lies at most that much above the value of its rank.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "harness/histogram.h"
#include "workloads/lib/rng.h"

#define SEED   UINT64_C(20240611)
#define VALUES 20000

static void buckets_tile_all_values(void **state)
{
    (void)state;
    assert_int_equal(histogram_low(0), 0);
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t low = histogram_low(i), high = histogram_high(i);
        assert_int_equal(histogram_bucket(low), i);
        assert_int_equal(histogram_bucket(high), i);
        assert_true(high - low <= low / HISTOGRAM_PARTS);
        if (i + 1 < HISTOGRAM_BUCKETS)
            assert_true(high + 1 == histogram_low(i + 1));
        else
            assert_true(high == UINT64_MAX);
    }
}

static int u64_order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Values of all magnitudes up to 2^bits; the quantiles against those of the sorted values. */
static void quantiles_hold(unsigned bits, unsigned count)
{
    static const uint64_t one_in[] = {2, 4, 10, 100, 1000, 10000, 1000000};
    static uint64_t values[VALUES];
    static struct histogram h;
    struct rng rng = rng_stream(SEED, bits);
    h = (struct histogram){.total = 0};
    for (unsigned i = 0; i < count; i++) {
        values[i] = rng_next(&rng) >> (64 - bits) >> rng_below(&rng, bits);
        histogram_add(&h, values[i]);
    }
    qsort(values, count, sizeof *values, u64_order);
    assert_int_equal(h.total, count);
    assert_true(h.max == values[count - 1]);
    for (unsigned i = 0; i < sizeof one_in / sizeof *one_in; i++) {
        uint64_t rank = count - count / one_in[i], got = histogram_quantile(&h, one_in[i]);
        uint64_t exact = values[rank - 1];
        assert_true(got >= exact);
        assert_true(got - exact <= exact / HISTOGRAM_PARTS);
    }
}

static void quantiles_keep_the_error(void **state)
{
    (void)state;
    printf("# seed %llu\n", (unsigned long long)SEED);
    for (unsigned bits = 1; bits <= 64; bits++)
        quantiles_hold(bits, VALUES);
    for (unsigned count = 1; count < 200; count++)
        quantiles_hold(20, count);
}

static void sums_are_exact(void **state)
{
    (void)state;
    static struct histogram a, b, all;
    for (uint64_t value = 1; value < UINT64_C(1) << 40; value = value * 5 / 4 + 1) {
        histogram_add(value % 2 ? &a : &b, value);
        histogram_add(&all, value);
    }
    histogram_merge(&a, &b);
    assert_memory_equal(&a, &all, sizeof all);
    static const struct histogram none;
    assert_int_equal(histogram_quantile(&none, 2), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_tile_all_values),
        cmocka_unit_test(quantiles_keep_the_error),
        cmocka_unit_test(sums_are_exact),
    };
    return cmocka_run_group_tests_name("histogram", tests, NULL, NULL);
}
