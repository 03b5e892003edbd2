/*
 * dist.h - integer-valued distributions for sizes, lifetimes and counts.
 *
 * They are computed in fixed point (log2 and 2^x in integers), so the values do not depend on the
 * machine's libm, on its rounding or on the compiler. U is uniform on (0, 1], Z is a standard
 * normal.
 *
 *   uniform      every integer of [min, max] alike
 *   log_uniform  floor(min * ((max + 1) / min)^U): each octave alike; P(k) = ln((k + 1) / k) /
 * ln((max + 1) / min), mean about (max - min) / ln(max / min). Over ranks 1..n it is Zipf's law
 * with exponent 1. geometric    min + floor(ln U / ln(m / (m + 1))), m = mean - min: the
 * exponential's integer form, P(min + k) = q (1 - q)^k with q = 1 / (m + 1); its mean is exact
 * before clipping at max pareto       floor of the bounded Pareto, F(x) = (1 - (min / x)^a) / (1 -
 * (min / h)^a), h = max + 1: x = min * V^(-1/a), V uniform on ((min / h)^a, 1]; heavy-tailed for
 * shape a < 2 lognormal    floor(median * e^(sigma Z)), moved to min or max where it lies outside
 * them
 *
 * Error of log2 and 2^x: below 2^-30, so a probability is true to about 1e-9. Limits: 1 <= min for
 * all but uniform and geometric, max < 2^40, 0.01 <= shape <= 100, sigma <= 16, mean <= 1e6.
 */
#ifndef ALLOCLAB_DIST_H
#define ALLOCLAB_DIST_H

#include <stdint.h>

#include "workloads/lib/rng.h"

enum dist_kind { DIST_UNIFORM, DIST_LOG_UNIFORM, DIST_GEOMETRIC, DIST_PARETO, DIST_LOGNORMAL };

struct dist {
    enum dist_kind kind;
    uint64_t min, max; /* inclusive; every draw lies between them */
    uint64_t a, b;     /* parameters in fixed point, by kind; see dist.c */
};

struct dist dist_uniform(uint64_t min, uint64_t max);
struct dist dist_log_uniform(uint64_t min, uint64_t max);
struct dist dist_geometric(double mean, uint64_t min, uint64_t max);
struct dist dist_pareto(double shape, uint64_t min, uint64_t max);
struct dist dist_lognormal(uint64_t median, double sigma, uint64_t min, uint64_t max);

/* The point i/n of the way from min to max on a logarithmic scale, floor(min * (max / min)^(i/n));
 * i <= n. */
uint64_t dist_log_point(uint64_t min, uint64_t max, uint64_t i, uint64_t n);

/* 1 ns (uniform) to about 200 ns (lognormal). */
uint64_t dist_draw(const struct dist *dist, struct rng *rng);

#endif
