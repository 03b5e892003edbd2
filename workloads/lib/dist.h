/*
 * dist.h - integer-valued distributions for sizes, lifetimes and counts.
 *
 * They are computed in fixed point (log2 and 2^x in integers), so the values depend neither on the
 * machine's libm nor on the compiler. U is uniform on (0, 1], Z is a standard normal.
 *
 *   uniform      every integer of [min, max] alike
 *   log_uniform  floor(min * (h / min)^U), h = max + 1: each octave alike;
 *                P(k) = ln((k + 1) / k) / ln(h / min), mean about (max - min) / ln(max / min).
 *                Over the ranks 1..n it is Zipf's law with exponent 1
 *   geometric    min + floor(ln U / ln(m / (m + 1))), m = mean - min: the exponential's integer
 *                form, P(min + k) = q (1 - q)^k with q = 1 / (m + 1). Its mean is exact, but for
 *                what is clipped at max
 *   pareto       floor(min * V^(-1/a)), V uniform on ((min / h)^a, 1], h = max + 1: the bounded
 *                Pareto of shape a, F(x) = (1 - (min / x)^a) / (1 - (min / h)^a); heavy-tailed for
 *                a < 2
 *   lognormal    floor(median * e^(sigma Z)), moved to min or max where it lies outside them
 *
 * log2 and 2^x are true to 2^-30, so a probability is true to about 1e-9. Limits: max < 2^40; min
 * is at least 1, but for uniform and geometric; 0.01 <= shape <= 100; sigma <= 16; mean <= 1e6.
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
