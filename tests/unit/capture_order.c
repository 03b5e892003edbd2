/*
 * capture_order.c - threads that hand blocks to each other within one stamp: an order that can have been is found
 * again, for whatever interleaving there was. The groups are drawn at random, so that each holds a true order; the
 * seed is printed, and SEED sets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "traces/capture_order.h"
#include "workloads/lib/rng.h"

enum {
    GROUPS = 3000,
    LANES = 5,
    MOST = CAPTURE_GROUP * LANES,
    ADDRESSES = 24,
    STEPS = 100,
    CLOCK_STEP = 3
};

static bool live[ADDRESSES]; /* before the group */

static bool is_live(void *arg, uint64_t address)
{
    (void)arg;
    return live[address / 64 - 1];
}

struct drawn {
    struct capture_event events[MOST]; /* grouped by lanes */
    size_t count;
};

/* What some threads did one after another, each at most CAPTURE_GROUP times: each event gives out an address that
 * was free, or releases one that was not. */
static void draw(struct drawn *d, struct rng *rng)
{
    struct capture_event by_lane[LANES][CAPTURE_GROUP];
    size_t counts[LANES] = {0}, steps = 1 + rng_below(rng, STEPS);
    unsigned lanes = 2 + (unsigned)rng_below(rng, LANES - 1),
             few = 2 + (unsigned)rng_below(rng, ADDRESSES - 1);
    bool now[ADDRESSES];
    for (unsigned i = 0; i < ADDRESSES; i++)
        now[i] = live[i] = rng_below(rng, 2);
    for (size_t i = 0; i < steps; i++) {
        unsigned lane = (unsigned)rng_below(rng, lanes), a = (unsigned)rng_below(rng, few);
        if (counts[lane] == CAPTURE_GROUP)
            continue;
        by_lane[lane][counts[lane]] =
            (struct capture_event){.address = (a + 1) * 64,
                                   .lane = lane,
                                   .clock = counts[lane] * CLOCK_STEP,
                                   .kind = now[a] ? CAPTURE_FREE : CAPTURE_ALLOC};
        counts[lane]++;
        now[a] = !now[a];
    }
    d->count = 0;
    for (unsigned lane = 0; lane < lanes; lane++) {
        memcpy(d->events + d->count, by_lane[lane], counts[lane] * sizeof *d->events);
        d->count += counts[lane];
    }
}

/* How many events cannot come as they stand. */
static size_t impossible(const struct drawn *d)
{
    bool now[ADDRESSES];
    size_t count = 0;
    memcpy(now, live, sizeof now);
    for (size_t i = 0; i < d->count; i++) {
        bool *at = &now[d->events[i].address / 64 - 1], gives = d->events[i].kind == CAPTURE_ALLOC;
        count += *at == gives;
        *at = gives;
    }
    return count;
}

static void lanes_assert_kept(const struct drawn *d)
{
    uint64_t next[LANES] = {0};
    for (size_t i = 0; i < d->count; i++) {
        const struct capture_event *e = &d->events[i];
        assert_int_equal(e->clock, next[e->lane]);
        next[e->lane] += CLOCK_STEP;
    }
}

static void test_what_has_an_order_gets_one(void **state)
{
    (void)state;
    const char *wish = getenv("SEED");
    uint64_t seed = wish ? strtoull(wish, NULL, 10) : 20261127;
    printf("seed %llu\n", (unsigned long long)seed);
    struct rng rng = rng_stream(seed, 0);
    struct capture_group group = {0};
    static struct drawn d;
    size_t repaired = 0;
    for (int i = 0; i < GROUPS; i++) {
        draw(&d, &rng);
        size_t before = impossible(&d);
        assert_true(capture_group_order(&group, d.events, d.count, is_live, NULL));
        if (impossible(&d))
            fail_msg("group %d: %zu events stand in no possible order", i, d.count);
        lanes_assert_kept(&d);
        repaired += before;
    }
    assert_int_equal(group.repaired, repaired);
    assert_true(repaired > GROUPS);
    capture_group_free(&group);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_what_has_an_order_gets_one)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
