/*
 * rng.h - the one source of randomness: xoshiro256** (Blackman & Vigna, "Scrambled Linear
 * Pseudorandom Number Generators", ACM TOMS 47(4), 2021), its 256-bit state filled by splitmix64
 * (Steele, Lea & Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014). Integers
 * only, so every machine draws the same.
 *
 * A workload draws each of its quantities from a stream of its own (rng_stream), so that one more
 * draw of a size does not change who runs next. Cost: about 1 ns a draw. A struct rng belongs to
 * one thread at a time.
 */
#ifndef ALLOCLAB_RNG_H
#define ALLOCLAB_RNG_H

#include <stdbool.h>
#include <stdint.h>

struct rng {
    uint64_t s[4]; /* never all zero */
};

static inline uint64_t rng_rotate(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

/* Advances a splitmix64 state and returns its output. */
static inline uint64_t rng_splitmix(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* 2^64 / golden ratio */
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Stream number `stream` of a seed; equal pairs give equal sequences. */
static inline struct rng rng_stream(uint64_t seed, uint64_t stream)
{
    uint64_t state = seed;
    state = rng_splitmix(&state) + stream;
    struct rng rng;
    for (int i = 0; i < 4; i++)
        rng.s[i] = rng_splitmix(&state);
    return rng;
}

/* 64 uniform bits. */
static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t *s = rng->s;
    uint64_t result = rng_rotate(s[1] * 5, 7) * 9;
    uint64_t shifted = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= shifted;
    s[3] = rng_rotate(s[3], 45);
    return result;
}

/*
 * Uniform in [0, bound), bound > 0, without bias: the high half of a 128-bit product, rejecting the
 * few low halves that would make some results more frequent (Lemire, "Fast Random Integer
 * Generation in an Interval", ACM TOMACS 29(1), 2019). At most two draws on average, almost always
 * one.
 */
static inline uint64_t rng_below(struct rng *rng, uint64_t bound)
{
    unsigned __int128 product = (unsigned __int128)rng_next(rng) * bound;
    if ((uint64_t)product < bound) {
        uint64_t reject = -bound % bound; /* 2^64 mod bound */
        while ((uint64_t)product < reject)
            product = (unsigned __int128)rng_next(rng) * bound;
    }
    return (uint64_t)(product >> 64);
}

/* Uniform in [min, max]. */
static inline uint64_t rng_between(struct rng *rng, uint64_t min, uint64_t max)
{
    uint64_t width = max - min + 1;
    return width ? min + rng_below(rng, width) : rng_next(rng);
}

/* True with probability p, exact to 2^-53. */
static inline bool rng_chance(struct rng *rng, double p)
{
    return (double)(rng_next(rng) >> 11) < p * 0x1p53; /* both sides exact: no libm, no rounding */
}

#endif
