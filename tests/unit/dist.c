/*
 * dist.c - the generator against its published test vectors, and every distribution against the
 * formula that dist.h states: distribution functions by the Kolmogorov-Smirnov distance, means
 * where they are exact. Seeds are fixed and printed, so a run either always passes or never.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "workloads/lib/dist.h"

#define SEED  UINT64_C(20240611)
#define DRAWS 200000

static void splitmix_gives_the_published_numbers(void **state)
{
    (void)state;
    const uint64_t expected[] = {UINT64_C(6457827717110365317), UINT64_C(3203168211198807973),
                                 UINT64_C(9817491932198370423), UINT64_C(4593380528125082431)};
    uint64_t s = 1234567;
    for (int i = 0; i < 4; i++)
        assert_int_equal(rng_splitmix(&s), expected[i]);
}

static void xoshiro_gives_the_published_numbers(void **state)
{
    (void)state;
    const uint64_t expected[] = {11520,
                                 0,
                                 1509978240,
                                 UINT64_C(1215971899390074240),
                                 UINT64_C(1216172134540287360),
                                 UINT64_C(607988272756665600),
                                 UINT64_C(16172922978634559625),
                                 UINT64_C(8476171486693032832)};
    struct rng rng = {{1, 2, 3, 4}};
    for (int i = 0; i < 8; i++)
        assert_int_equal(rng_next(&rng), expected[i]);
}

static void streams_and_seeds_differ(void **state)
{
    (void)state;
    struct rng a = rng_stream(1, 0), b = rng_stream(1, 1), c = rng_stream(2, 0),
               again = rng_stream(1, 0);
    uint64_t first = rng_next(&a);
    assert_int_equal(first, rng_next(&again));
    assert_int_not_equal(first, rng_next(&b));
    assert_int_not_equal(first, rng_next(&c));
}

/* With bound 3 * 2^62 a plain remainder draws the lowest third twice as often, and a plain product
 * every third result. */
static void bounded_draws_are_unbiased(void **state)
{
    (void)state;
    struct rng rng = rng_stream(SEED, 1);
    const uint64_t bound = UINT64_C(3) << 62;
    unsigned thirds[3] = {0};
    for (int i = 0; i < DRAWS; i++) {
        uint64_t x = rng_below(&rng, bound);
        assert_true(x < bound);
        thirds[x >> 62]++;
    }
    unsigned sixths[6] = {0};
    for (int i = 0; i < DRAWS; i++)
        sixths[rng_below(&rng, bound) % 6]++;
    for (int i = 0; i < 3; i++)
        assert_true(fabs(thirds[i] - DRAWS / 3.0) < 5 * sqrt(DRAWS * 2 / 9.0));
    for (int i = 0; i < 6; i++)
        assert_true(fabs(sixths[i] - DRAWS / 6.0) < 5 * sqrt(DRAWS * 5 / 36.0));
}

static void bounds_are_inclusive(void **state)
{
    (void)state;
    struct rng rng = rng_stream(SEED, 2);
    unsigned seen[3] = {0};
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(rng_below(&rng, 1), 0);
        assert_int_equal(rng_between(&rng, 7, 7), 7);
        uint64_t x = rng_between(&rng, 5, 7);
        assert_in_range(x, 5, 7);
        seen[x - 5]++;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
    rng_between(&rng, 0, UINT64_MAX); /* the width wraps to 0 */
}

static void chance_is_true_to_its_probability(void **state)
{
    (void)state;
    struct rng rng = rng_stream(SEED, 3);
    unsigned hits = 0;
    for (int i = 0; i < DRAWS; i++) {
        assert_false(rng_chance(&rng, 0));
        assert_true(rng_chance(&rng, 1));
        hits += rng_chance(&rng, 0.3);
    }
    assert_true(fabs(hits - 0.3 * DRAWS) < 5 * sqrt(DRAWS * 0.3 * 0.7));
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* P(X <= k) of the distribution under test. */
typedef double cdf_fn(const double *parameters, double k);

/* Draws, checks the range, and compares the empirical distribution function with the stated one at
 * every draw. */
static void assert_follows(const char *name, struct dist dist, cdf_fn *cdf,
                           const double *parameters)
{
    struct rng rng = rng_stream(SEED, 10);
    uint64_t *draws = malloc(DRAWS * sizeof *draws);
    assert_non_null(draws);
    for (int i = 0; i < DRAWS; i++) {
        draws[i] = dist_draw(&dist, &rng);
        assert_in_range(draws[i], dist.min, dist.max);
    }
    qsort(draws, DRAWS, sizeof *draws, compare);
    double worst = 0;
    for (int i = 0; i < DRAWS; i++)
        if (i + 1 == DRAWS || draws[i + 1] != draws[i])
            worst = fmax(worst, fabs((i + 1.0) / DRAWS - cdf(parameters, (double)draws[i])));
    free(draws);
    print_message("# %s: seed %llu, distance %.5f\n", name, (unsigned long long)SEED, worst);
    assert_true(worst < 1.95 / sqrt(DRAWS)); /* would be passed by chance in 1 of 1000 seeds */
}

static double uniform_cdf(const double *p, double k)
{
    return (k - p[0] + 1) / (p[1] - p[0] + 1);
}

static void uniform_follows_its_formula(void **state)
{
    (void)state;
    assert_follows("uniform", dist_uniform(16, 384), uniform_cdf, (double[]){16, 384});
    assert_follows("uniform", dist_uniform(0, 1), uniform_cdf, (double[]){0, 1});
}

static double log_uniform_cdf(const double *p, double k)
{
    return log((k + 1) / p[0]) / log((p[1] + 1) / p[0]);
}

static void log_uniform_follows_its_formula(void **state)
{
    (void)state;
    assert_follows("log_uniform", dist_log_uniform(1, 4000), log_uniform_cdf, (double[]){1, 4000});
    assert_follows("log_uniform", dist_log_uniform(100, 1 << 30), log_uniform_cdf,
                   (double[]){100, 1 << 30});
}

static double geometric_cdf(const double *p, double k)
{
    double m = p[0] - p[1]; /* mean above the minimum */
    return k >= p[2] ? 1 : 1 - pow(m / (m + 1), k - p[1] + 1);
}

static void geometric_follows_its_formula(void **state)
{
    (void)state;
    assert_follows("geometric", dist_geometric(8, 1, 4095), geometric_cdf, (double[]){8, 1, 4095});
    assert_follows("geometric", dist_geometric(0.5, 0, 100), geometric_cdf,
                   (double[]){0.5, 0, 100});
    assert_follows("geometric, clipped", dist_geometric(30, 1, 40), geometric_cdf,
                   (double[]){30, 1, 40});
    assert_follows("geometric", dist_geometric(1e6, 0, 1 << 30), geometric_cdf,
                   (double[]){1e6, 0, 1 << 30});
}

static double pareto_cdf(const double *p, double k)
{
    double a = p[0], min = p[1], h = p[2] + 1;
    return (1 - pow(min / (k + 1), a)) / (1 - pow(min / h, a));
}

static void pareto_follows_its_formula(void **state)
{
    (void)state;
    assert_follows("pareto", dist_pareto(1.1, 16, 1 << 18), pareto_cdf,
                   (double[]){1.1, 16, 1 << 18});
    assert_follows("pareto", dist_pareto(0.2, 1, 1000), pareto_cdf, (double[]){0.2, 1, 1000});
    assert_follows("pareto", dist_pareto(10, 1024, UINT64_C(1) << 39), pareto_cdf,
                   (double[]){10, 1024, 0x1p39});
}

static double lognormal_cdf(const double *p, double k)
{
    if (k >= p[3])
        return 1;
    return 0.5 * erfc(-(log(k + 1) - log(p[0])) / (p[1] * sqrt(2)));
}

static void lognormal_follows_its_formula(void **state)
{
    (void)state;
    assert_follows("lognormal", dist_lognormal(4096, 1.3, 1, 1 << 30), lognormal_cdf,
                   (double[]){4096, 1.3, 1, 1 << 30});
    assert_follows("lognormal, clipped", dist_lognormal(1024, 1, 512, 4096), lognormal_cdf,
                   (double[]){1024, 1, 512, 4096});
}

static void means_are_the_stated_ones(void **state)
{
    (void)state;
    const struct {
        struct dist dist;
        double mean, deviation;
    } rows[] = {
        {dist_uniform(16, 384), 200, 106.5},
        {dist_geometric(8, 1, 1 << 20), 8, 7.5},
        {dist_geometric(1, 0, 1 << 20), 1, 1.42},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct rng rng = rng_stream(SEED, 20);
        double sum = 0;
        for (int j = 0; j < DRAWS; j++)
            sum += (double)dist_draw(&rows[i].dist, &rng);
        assert_true(fabs(sum / DRAWS - rows[i].mean) < 4 * rows[i].deviation / sqrt(DRAWS));
    }
}

static void degenerate_parameters_give_the_one_value(void **state)
{
    (void)state;
    struct rng rng = rng_stream(SEED, 30);
    const struct dist dists[] = {dist_uniform(100, 100), dist_log_uniform(100, 100),
                                 dist_geometric(100, 100, 200), dist_pareto(1.1, 100, 100),
                                 dist_lognormal(100, 0, 1, 200)};
    for (size_t i = 0; i < sizeof dists / sizeof *dists; i++)
        for (int j = 0; j < 100; j++)
            assert_int_equal(dist_draw(&dists[i], &rng), 100);
}

static void log_points_divide_evenly(void **state)
{
    (void)state;
    for (uint64_t i = 0; i <= 4; i++)
        assert_int_equal(dist_log_point(16, 4096, i, 4), UINT64_C(16) << (2 * i));
    assert_int_equal(dist_log_point(100, 100, 0, 3), 100);
    assert_int_equal(dist_log_point(100, 999, 0, 3), 100);
    assert_int_equal(dist_log_point(100, 999, 3, 3), 999);
}

/* The same values on every machine: these are from x86-64. */
static void draws_do_not_depend_on_the_machine(void **state)
{
    (void)state;
    const struct dist dists[] = {dist_log_uniform(16, 4096), dist_geometric(30, 1, 4095),
                                 dist_pareto(1.1, 16, 1 << 18),
                                 dist_lognormal(4096, 1.3, 1, 1 << 24)};
    const uint64_t expected[] = {UINT64_C(11406658584311230308), UINT64_C(7985950122740654524),
                                 UINT64_C(1593069883998387311), UINT64_C(5173890589913191441)};
    for (size_t i = 0; i < sizeof dists / sizeof *dists; i++) {
        struct rng rng = rng_stream(1, i);
        uint64_t mix = 0;
        for (int j = 0; j < 1000; j++)
            mix = mix * 31 + dist_draw(&dists[i], &rng);
        assert_int_equal(mix, expected[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splitmix_gives_the_published_numbers),
        cmocka_unit_test(xoshiro_gives_the_published_numbers),
        cmocka_unit_test(streams_and_seeds_differ),
        cmocka_unit_test(bounded_draws_are_unbiased),
        cmocka_unit_test(bounds_are_inclusive),
        cmocka_unit_test(chance_is_true_to_its_probability),
        cmocka_unit_test(uniform_follows_its_formula),
        cmocka_unit_test(log_uniform_follows_its_formula),
        cmocka_unit_test(geometric_follows_its_formula),
        cmocka_unit_test(pareto_follows_its_formula),
        cmocka_unit_test(lognormal_follows_its_formula),
        cmocka_unit_test(means_are_the_stated_ones),
        cmocka_unit_test(degenerate_parameters_give_the_one_value),
        cmocka_unit_test(log_points_divide_evenly),
        cmocka_unit_test(draws_do_not_depend_on_the_machine),
    };
    return cmocka_run_group_tests_name("dist", tests, NULL, NULL);
}
