/*
 * locality_pass.c - the locality pass in the cell, under callgrind (locality.h): the plan twice on
 * one heap, of which the second time is counted, so that the figures are of the same steady state
 * as the throughput pass's, first uses of pages, the models' empty start and the epilogues apart.
 */
#include <alloca.h>
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "harness/locality.h"
#include "harness/pass.h"

/* The distance at which addresses fall into the same set of every simulated cache and TLB. */
#define STACK_STEP ((size_t)512 << 10)

/* No simulated cache or TLB reaches further: reading so many bytes in a row leaves nothing else in any. */
#define SWEEP_BYTES ((size_t)8 << 20)
#define SWEEP_STEP  64

/* Callgrind counts from its entry to its return, so its name must be a function's of its own, and
   the replay a call in it, not a jump out of it. */
__attribute__((noinline)) bool locality_counted(struct replay *r, uint64_t from, uint64_t to)
{
    bool done = replay_runs(r, from, to);
    __asm__ volatile("" : "+r"(done));
    return done;
}

/* One replay; false: memory ran out. */
static bool plan_replay(struct replay *r, bool (*run)(struct replay *, uint64_t, uint64_t))
{
    const struct plan *plan = r->plan;
    if (!replay_pass_begin(r) || !replay_runs(r, 0, plan->start_runs) ||
        !run(r, plan->start_runs, plan->main_runs) || !replay_runs(r, plan->main_runs, plan->runs))
        return false;
    replay_pass_end(r);
    return true;
}

static __attribute__((noinline)) void heap_replay(const struct cell_setup *setup)
{
    struct cell_heap h;
    struct replay replay;
    if (!cell_replay_open(&h, &replay, setup, false, setup->touch))
        return;
    outcome_set(setup->outcome, METRIC_harness_bytes,
                (double)(setup->plan->bytes + replay.tables_bytes));
    bool warm = plan_replay(&replay, replay_runs);
    if (warm && plan_replay(&replay, locality_counted)) {
        setup->outcome->status = OUTCOME_OK;
        cell_heap_close(&h, setup);
    } else {
        cell_heap_exhausted(&h, setup, "the allocator returned NULL in pass %d", warm);
    }
    replay_close(&replay);
}

/* What the process did before lay on a stack whose place depends on the environment: the models forget
 * it. False: no memory. */
static bool models_sweep(void)
{
    volatile const char *bytes =
        mmap(NULL, SWEEP_BYTES, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (bytes == MAP_FAILED)
        return false;
    for (size_t i = 0; i < SWEEP_BYTES; i += SWEEP_STEP)
        (void)bytes[i];
    munmap((void *)bytes, SWEEP_BYTES);
    return true;
}

/* What asks for the CPU nevertheless (drop-in libraries, rivals) gets the same answer each time. */
static void cpu_first(void)
{
    cpu_set_t allowed, one;
    int cpu = 0;
    if (sched_getaffinity(0, sizeof allowed, &allowed))
        return;
    while (cpu < CPU_SETSIZE - 1 && !CPU_ISSET((unsigned)cpu, &allowed))
        cpu++;
    CPU_ZERO(&one);
    CPU_SET((unsigned)cpu, &one);
    sched_setaffinity(0, sizeof one, &one);
}

void locality_pass(const struct cell_setup *setup)
{
    struct cell_setup own = *setup;
    /* The stack lies below arguments and environment, wherever their size puts it: on from here at
       the same distance from a multiple of the step. */
    /* cppcheck-suppress allocaCalled ; where the stack goes on is the point */
    char *level = alloca((uintptr_t)__builtin_frame_address(0) % STACK_STEP + 1);
    __asm__ volatile("" : : "r"(level) : "memory");
    own.repeats = true;
    cpu_first();
    if (models_sweep())
        heap_replay(&own);
    else
        outcome_fail(setup->outcome, OUTCOME_OOM, "no memory to begin with: %s", strerror(errno));
}
