/*
 * counter_probe.c - the trial of counter_probe.h. There are PMUs, emulated ones above all, that take
 * an event and never count it. So the work loads and stores all over more pages than a TLB has
 * entries and more lines than a cache has, and branches on bits that nothing can foretell: what then
 * stands at 0, may not count.
 */
#include "harness/counter_probe.h"

#include <string.h>
#include <sys/mman.h>

#define WORK_BYTES ((size_t)32 << 20)
#define WORK_STEPS 200000

static void work(unsigned char *pages)
{
    uint64_t state = 1;
    volatile unsigned sum = 0;
    for (unsigned i = 0; pages && i < WORK_STEPS; i++) {
        state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned char *at = &pages[(state >> 33) % WORK_BYTES];
        if (state >> 32 & 1)
            sum += *(volatile unsigned char *)at;
        else
            *(volatile unsigned char *)at = (unsigned char)i;
    }
}

void counter_probe(struct counter_list *list, const struct perf_door *door,
                   struct counter_count *counts, struct counter_place *place)
{
    static struct counter_thread thread;
    void *pages =
        mmap(NULL, WORK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    unsigned char *bytes = pages == MAP_FAILED ? NULL : pages;
    memset(counts, 0, list->counters * sizeof *counts);
    counter_thread_open(&thread, door, list, 0);
    counter_refusals(&thread, counts);
    for (unsigned group = 0; group < thread.groups; group++) {
        counter_start(&thread, group);
        work(bytes);
        counter_stop(&thread, group, counts);
    }
    counter_thread_close(&thread);
    if (bytes)
        munmap(bytes, WORK_BYTES);
    *place = (struct counter_place){.paranoid = perf_paranoid()};
    for (uint32_t i = 0; i < list->counters; i++) {
        list->counter[i].answers = counts[i].raw;
        place->pmu |= !list->counter[i].software && counts[i].raw;
    }
}
