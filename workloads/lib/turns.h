/*
 * turns.h - a scheduler of threads that can all run: who is next is drawn with equal probability,
 * and does a burst of steps, geometric and at least 1. The trace is one exact order that could have
 * happened.
 */
#ifndef ALLOCLAB_TURNS_H
#define ALLOCLAB_TURNS_H

#include "workloads/lib/dist.h"

#define TURNS_MOST_STEPS 100000

struct turns {
    struct rng rng;
    struct dist bursts;
};

static inline struct turns turns_init(uint64_t seed, uint64_t stream, double mean)
{
    return (struct turns){rng_stream(seed, stream), dist_geometric(mean, 1, TURNS_MOST_STEPS)};
}

/* One of 0 .. n - 1, and how many steps it does. */
static inline unsigned turns_next(struct turns *turns, uint64_t n, uint64_t *steps)
{
    unsigned next = (unsigned)rng_below(&turns->rng, n);
    *steps = dist_draw(&turns->bursts, &turns->rng);
    return next;
}

#endif
