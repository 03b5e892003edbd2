/*
 * dist.c - the distributions of dist.h in fixed point. Qn = an integer that stands for itself /
 * 2^n.
 *
 * Everything is inversion: a uniform V in Q63 goes through log2 (repeated squaring), is scaled, and
 * comes back through 2^x (Taylor series); only the normal is drawn in pairs, by the polar method of
 * Marsaglia & Bray ("A Convenient Method for Generating Normal Variables", SIAM Review 6(3), 1964).
 */
#include "workloads/lib/dist.h"

#define LN2_Q62   UINT64_C(3196577161300663914)
#define ONE_Q32   (UINT64_C(1) << 32)
#define ONE_Q63   (UINT64_C(1) << 63)
#define LOG2E     1.4426950408889634
#define SERIES    18 /* ln(2)^19 / 19! < 2^-66 */
#define NORMAL_Q  28
#define LOG2_LAST (UINT64_C(62) << 32) /* the largest exponent that exp2_floor takes, Q32 */

typedef unsigned __int128 wide;

/* log2(x) of x > 0 in Q32. The mantissa is squared; whenever it passes 2, the next bit of the
 * logarithm is 1. */
static uint64_t log2_q32(uint64_t x)
{
    unsigned exponent = 63u - (unsigned)__builtin_clzll(x);
    uint64_t mantissa = x << (63 - exponent); /* Q63, in [1, 2) */
    uint64_t fraction = 0;
    for (int i = 0; i < 32; i++) {
        uint64_t square = (uint64_t)((wide)mantissa * mantissa >> 64); /* Q62, in [1, 4) */
        uint64_t carry = square >> 63;
        fraction = fraction << 1 | carry;
        mantissa = square << (1 - carry);
    }
    return (uint64_t)exponent << 32 | fraction;
}

/* floor(2^y) of y in Q32, y <= LOG2_LAST. */
static uint64_t exp2_floor(uint64_t y)
{
    uint64_t x = (uint64_t)((wide)(y & (ONE_Q32 - 1)) * LN2_Q62 >> 32); /* Q62 */
    uint64_t one = UINT64_C(1) << 62, power = one;
    for (unsigned k = SERIES; k > 0; k--)
        power = one + (uint64_t)((wide)x * power >> 62) / k;
    return power >> (62 - (y >> 32));
}

/* -log2(V) in Q32, V uniform on (low, 1], low in Q63. */
static uint64_t minus_log2_uniform(struct rng *rng, uint64_t low)
{
    return (UINT64_C(63) << 32) - log2_q32(rng_between(rng, low + 1, ONE_Q63));
}

uint64_t dist_log_point(uint64_t min, uint64_t max, uint64_t i, uint64_t n)
{
    uint64_t low = log2_q32(min), octaves = log2_q32(max) - low;
    uint64_t x = exp2_floor(low + (uint64_t)((wide)octaves * i / n));
    return i == n ? max : x < min ? min : x;
}

static uint64_t to_q32(double x)
{
    return (uint64_t)(x * 0x1p32); /* the product is exact */
}

struct dist dist_uniform(uint64_t min, uint64_t max)
{
    return (struct dist){.kind = DIST_UNIFORM, .min = min, .max = max};
}

/* a = log2(min), b = log2((max + 1) / min). */
struct dist dist_log_uniform(uint64_t min, uint64_t max)
{
    uint64_t low = log2_q32(min);
    return (struct dist){DIST_LOG_UNIFORM, min, max, low, log2_q32(max + 1) - low};
}

/* a = log2((m + 1) / m), 0 when the mean is the minimum. */
struct dist dist_geometric(double mean, uint64_t min, uint64_t max)
{
    uint64_t m = mean > (double)min ? to_q32(mean - (double)min) : 0;
    return (struct dist){DIST_GEOMETRIC, min, max, m ? log2_q32(m + ONE_Q32) - log2_q32(m) : 0, 0};
}

/* a = 1 / shape, b = (min / h)^shape in Q63. */
struct dist dist_pareto(double shape, uint64_t min, uint64_t max)
{
    uint64_t octaves = log2_q32(max + 1) - log2_q32(min);
    wide drop = (wide)octaves * to_q32(shape) >> 32;
    uint64_t low = drop < LOG2_LAST ? exp2_floor(LOG2_LAST - (uint64_t)drop) << 1 : 0;
    return (struct dist){DIST_PARETO, min, max, to_q32(1 / shape), low};
}

/* a = log2(median), not below the true one, so that sigma = 0 gives the median; b = sigma *
 * log2(e). */
struct dist dist_lognormal(uint64_t median, double sigma, uint64_t min, uint64_t max)
{
    return (struct dist){DIST_LOGNORMAL, min, max, log2_q32(median) + 2, to_q32(sigma * LOG2E)};
}

static uint64_t square_root(uint64_t x)
{
    uint64_t root = 0;
    for (uint64_t bit = UINT64_C(1) << 31; bit; bit >>= 1)
        if ((root | bit) * (root | bit) <= x)
            root |= bit;
    return root;
}

/* A standard normal, Q28: u * sqrt(-2 ln(s) / s), (u, v) uniform in the unit disc, s = u^2 + v^2.
 */
static int64_t normal_draw(struct rng *rng)
{
    int64_t u;
    uint64_t s;
    do {
        u = (int64_t)(rng_next(rng) >> 32) - (INT64_C(1) << 31); /* Q31 */
        int64_t v = (int64_t)(rng_next(rng) >> 32) - (INT64_C(1) << 31);
        s = (uint64_t)(u * u) + (uint64_t)(v * v); /* Q62 */
    } while (s == 0 || s >= UINT64_C(1) << 62);
    uint64_t share = (uint64_t)(((wide)(uint64_t)(u * u) << 32) / s);
    uint64_t scale = (uint64_t)((wide)(LOG2_LAST - log2_q32(s)) * LN2_Q62 >> 61); /* -2 ln(s) */
    uint64_t square = (uint64_t)((wide)share * scale >> 32);
    int64_t root = (int64_t)square_root(square << 24);
    return u < 0 ? -root : root;
}

static uint64_t lognormal_draw(const struct dist *dist, struct rng *rng)
{
    __int128 shift = (__int128)normal_draw(rng) * (__int128)dist->b / (1 << NORMAL_Q);
    __int128 y = (__int128)dist->a + shift;
    if (y < 0)
        return dist->min;
    return y > (__int128)LOG2_LAST ? dist->max : exp2_floor((uint64_t)y);
}

static uint64_t raw_draw(const struct dist *dist, struct rng *rng)
{
    uint64_t y;
    switch (dist->kind) {
    case DIST_LOG_UNIFORM:
        return exp2_floor(dist->a + (uint64_t)((wide)rng_next(rng) * dist->b >> 64));
    case DIST_GEOMETRIC:
        return dist->a ? dist->min + minus_log2_uniform(rng, 0) / dist->a : dist->min;
    case DIST_PARETO:
        y = log2_q32(dist->min) +
            (uint64_t)((wide)minus_log2_uniform(rng, dist->b) * dist->a >> 32);
        return y > LOG2_LAST ? dist->max : exp2_floor(y);
    case DIST_LOGNORMAL:
        return lognormal_draw(dist, rng);
    case DIST_UNIFORM:
        break;
    }
    return rng_between(rng, dist->min, dist->max);
}

uint64_t dist_draw(const struct dist *dist, struct rng *rng)
{
    uint64_t x = raw_draw(dist, rng);
    return x < dist->min ? dist->min : x > dist->max ? dist->max : x;
}
