/*
 * ticks.c - what the clock of the latency pass costs, and how long its ticks are. See ticks.h.
 */
#include "harness/ticks.h"

#include "harness/histogram.h"
#include "harness/pass.h"

#define READS   20000
#define TRIES   16
#define BASE_NS 50000000u

struct ticks_cost ticks_cost(void)
{
    static struct histogram reads;
    uint64_t step = UINT64_MAX, before = ticks_begin();
    reads = (struct histogram){.total = 0};
    for (int i = 0; i < READS; i++) {
        uint64_t start = ticks_begin(), end = ticks_end();
        histogram_add(&reads, end - start);
        if (start != before && start - before < step)
            step = start - before;
        if (end != start && end - start < step)
            step = end - start;
        before = end;
    }
    return (struct ticks_cost){.read = histogram_quantile(&reads, 2), .step = step};
}

/* The reading of the machine's clock lies between two of the counter; of several tries the one in
   which these were closest. */
struct ticks_pair ticks_pair(void)
{
    struct ticks_pair best = {0, 0};
    uint64_t closest = UINT64_MAX;
    for (int i = 0; i < TRIES; i++) {
        uint64_t start = ticks_begin(), ns = clock_now_ns(), end = ticks_end();
        if (end - start < closest) {
            closest = end - start;
            best = (struct ticks_pair){.ticks = start + (end - start) / 2, .ns = ns};
        }
    }
    return best;
}

double ticks_ns(const struct ticks_pair *start)
{
    while (clock_now_ns() - start->ns < BASE_NS)
        ;
    struct ticks_pair now = ticks_pair();
    return (double)(now.ns - start->ns) / (double)(now.ticks - start->ticks);
}
