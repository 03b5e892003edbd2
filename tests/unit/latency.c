/*
 * latency.c - the latency pass against a toy design with one planted slow op: it is found, named
 * and tagged; it stays in the replay-minimum if the design is slow each time, and vanishes from it
 * if only one replay was. Times are asserted only from below (a sleep lasts at least so long) and,
 * of the one that vanishes, against the sleep.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "harness/pass.h"

#define SLOW_ALLOC 501 /* the op that is slow is this alloc of the heap, from 1 */
#define SLOW_NS    20000000
#define REGION     ((size_t)4 << 20)

enum { ALLOCS = 1000 };

static enum plant { NOTHING, ALWAYS, FIRST_HEAP, DOOR, WANDERS } plant;
static unsigned heaps; /* made so far */

struct heap {
    struct os *os;
    char *next;
    unsigned allocs;
};

static struct heap *toy_create(const struct alloc_env *env)
{
    struct heap *heap = os_reserve(env->os, 2 * REGION, 1);
    if (!heap || os_commit(env->os, heap, REGION))
        return NULL;
    heaps++;
    heap->os = env->os;
    heap->next = (char *)(heap + 1) + (plant == WANDERS ? 16 * heaps : 0);
    return heap;
}

static void toy_destroy(struct heap *heap)
{
    os_release(heap->os, heap, 2 * REGION);
}

static void *toy_alloc(struct heap *heap, size_t size, size_t align)
{
    char *p = heap->next;
    bool now = ++heap->allocs == SLOW_ALLOC;
    (void)align;
    heap->next += (size + 15) & ~(size_t)15;
    if (now && (plant == ALWAYS || plant == DOOR || (plant == FIRST_HEAP && heaps == 1)))
        nanosleep(&(struct timespec){.tv_nsec = SLOW_NS}, NULL);
    if (now && plant == DOOR && !os_commit(heap->os, (char *)heap + REGION, REGION))
        ((volatile char *)heap)[2 * REGION - 1] = 1;
    return p;
}

static void toy_free(struct heap *heap, void *p, size_t size)
{
    (void)heap, (void)p, (void)size;
}

static const struct allocator toy = {.name = "toy",
                                     .traits = ALLOCATOR_REUSES | ALLOCATOR_FINDS_OWNER,
                                     .create = toy_create,
                                     .destroy = toy_destroy,
                                     .alloc = toy_alloc,
                                     .free = toy_free};

/* Pairs of an alloc or, each fifth time, a calloc, and its free. */
static const struct plan *plan_make(void)
{
    struct error err;
    int trace_fd = memfd_create("test", 0), plan_fd;
    struct trace_writer *writer = trace_create_fd(trace_fd, &err);
    for (uint64_t i = 0; i < ALLOCS; i++) {
        struct trace_op op = {.kind = i % 5 == 4 ? TRACE_CALLOC : TRACE_ALLOC,
                              .object = i,
                              .size = 100,
                              .scope = TRACE_NO_SCOPE};
        assert_int_equal(trace_put(writer, &op, &err), 0);
        op.kind = TRACE_FREE;
        op.size = 0;
        assert_int_equal(trace_put(writer, &op, &err), 0);
    }
    assert_int_equal(trace_finish(writer, &err), 0);
    struct trace_reader *reader = trace_open_fd(trace_fd, "test", 0, &err);
    assert_int_equal(plan_build(reader, PLAN_RELEASE_FREE, 0, &plan_fd, &err), 0);
    const struct plan *plan = plan_map(plan_fd, &err);
    trace_close(reader);
    close(trace_fd);
    close(plan_fd);
    return plan;
}

static struct outcome outcome;

static void measure_for(enum plant planted, unsigned every, unsigned replays)
{
    const struct spec spec = {.design = &toy, .name = "toy"};
    const struct cell_setup setup = {.plan = plan_make(),
                                     .spec = &spec,
                                     .config = {.latency_every = every, .latency_replays = replays},
                                     .outcome = &outcome};
    memset(&outcome, 0, sizeof outcome);
    plant = planted;
    heaps = 0;
    latency_pass(&setup);
    plan_unmap(setup.plan);
    assert_string_equal(outcome.detail, "");
    assert_int_equal(outcome.status, OUTCOME_OK);
}

static void measure(enum plant planted, unsigned every)
{
    measure_for(planted, every, 25);
}

/* The tail's row of the planted op: the alloc number SLOW_ALLOC, each of which has a free after it.
 */
static const struct latency_tail *planted_tail(void)
{
    const struct latency *l = &outcome.latency;
    for (uint32_t i = 0; i < l->tails; i++)
        if (l->tail[i].op == 2 * (SLOW_ALLOC - 1))
            return &l->tail[i];
    fail_msg("the planted op is not among the %u slowest", l->tails);
    return NULL;
}

static void slow_each_time(void **state)
{
    (void)state;
    measure(ALWAYS, 1);
    const struct latency_tail *tail = planted_tail();
    assert_true(outcome.value[METRIC_max_ns] >= SLOW_NS);
    assert_true(outcome.value[METRIC_replay_min_max_ns] >= SLOW_NS);
    assert_true((double)tail->least_ticks * outcome.latency.tick_ns >= SLOW_NS);
    assert_int_equal(tail->kind, LATENCY_ALLOC);
    assert_int_equal(tail->size, 100);
    assert_string_equal(outcome.latency.note, "");
    assert_int_equal(heaps, 3 + outcome.value[METRIC_replay_min_runs_count]);
}

/* The op of the replay-minimum's maximum stands in its list, with what it is and does; pages that
   the first replay faulted in are there. */
static void the_worst_of_the_minimum_is_named(void **state)
{
    (void)state;
    static const enum plant plants[] = {ALWAYS, DOOR};
    for (int i = 0; i < 2; i++) {
        measure(plants[i], 1);
        const struct latency *l = &outcome.latency;
        const struct latency_tail *most = l->worst;
        assert_int_equal(l->worsts, LATENCY_WORST);
        for (uint32_t k = 1; k < l->worsts; k++)
            most = l->worst[k].least_ticks > most->least_ticks ? &l->worst[k] : most;
        assert_int_equal(most->op, 2 * (SLOW_ALLOC - 1));
        assert_int_equal(most->kind, LATENCY_ALLOC);
        assert_int_equal(most->size, 100);
        uint32_t may = 0;
#ifdef __SANITIZE_ADDRESS__ /* in the shadow of what the door maps */
        may = plants[i] == DOOR ? LATENCY_FAULT : 0;
#endif
        assert_int_equal(most->causes & ~may, LATENCY_CAUSES_KNOWN | (i ? LATENCY_DOOR : 0));
        for (uint32_t k = 0; k < l->worsts; k++)
            assert_true(l->worst[k].kind == LATENCY_ALLOC || l->worst[k].kind == LATENCY_FREE);
    }
}

static void replays_have_a_limit(void **state)
{
    (void)state;
    measure_for(NOTHING, 1, 3);
    assert_int_equal(outcome.value[METRIC_replay_min_runs_count], 3);
    assert_int_equal(heaps, 2 + 3 + 1);
    measure_for(NOTHING, 1, 80);
    double runs = outcome.value[METRIC_replay_min_runs_count],
           still = outcome.value[METRIC_replay_min_still_count];
    print_message("%.0f replays, the last %.0f lowered nothing\n", runs, still);
    assert_true(runs == 80 || (still >= 50 && still * 2 >= runs));
}

static void slow_once(void **state)
{
    (void)state;
    measure(FIRST_HEAP, 1);
    assert_true(outcome.value[METRIC_max_ns] >= SLOW_NS);
    assert_true(outcome.known[METRIC_replay_min_max_ns]);
    assert_true((double)planted_tail()->least_ticks * outcome.latency.tick_ns < SLOW_NS);
}

static void causes_are_told_apart(void **state)
{
    (void)state;
    measure(DOOR, 1);
    assert_int_equal(planted_tail()->causes, LATENCY_CAUSES_KNOWN | LATENCY_DOOR | LATENCY_FAULT);
    measure(ALWAYS, 1);
    assert_int_equal(planted_tail()->causes & LATENCY_DOOR, 0);
}

static void other_addresses_are_another_run(void **state)
{
    (void)state;
    measure(WANDERS, 1);
    assert_true(outcome.known[METRIC_p50_ns]);
    assert_false(outcome.known[METRIC_replay_min_max_ns]);
    assert_string_equal(outcome.latency.note,
                        "no replay-minimum: replays from the same state did not return the same "
                        "addresses");
}

static void every_op_is_counted(void **state)
{
    (void)state;
    static const unsigned every[] = {1, 7, 1999};
    for (unsigned i = 0; i < sizeof every / sizeof *every; i++) {
        measure(NOTHING, every[i]);
        const struct histogram *kind = outcome.latency.kind;
        uint64_t sum = 0;
        for (int k = 0; k < LATENCY_KINDS; k++)
            sum += kind[k].total;
        assert_int_equal(sum, (2 * ALLOCS + every[i] - 1) / every[i]);
        assert_int_equal(outcome.value[METRIC_timed_ops_count], sum);
        assert_true(outcome.known[METRIC_replay_min_p50_ns]);
        assert_true(outcome.value[METRIC_clock_step_ns] > 0);
    }
    measure(NOTHING, 1);
    assert_int_equal(outcome.latency.kind[LATENCY_FREE].total, ALLOCS);
    assert_int_equal(outcome.latency.kind[LATENCY_CALLOC].total, ALLOCS / 5);
    assert_false(outcome.known[METRIC_p9999_ns]); /* of 2000 ops there is none */
}

/* ---- the door that makes it possible ---- */

static void a_pool_is_as_it_was(void **state)
{
    (void)state;
    size_t bytes = (size_t)1 << 30;
    char *pool = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    struct os_config config = {.pool = pool, .pool_bytes = bytes};
    char *first[3] = {NULL};
    for (int round = 0; round < 3; round++) {
        struct os *os = os_open(&config);
        char *p[3] = {os_reserve(os, 1 << 20, 1), os_map(os, 1 << 16, 1 << 21), NULL};
        os_release(os, p[0], 1 << 20);
        p[2] = os_reserve(os, 1 << 20, 1);
        assert_int_equal(os_commit(os, p[2], 1 << 20), 0);
        for (int i = 0; i < 3; i++)
            assert_true(round == 0 || p[i] == first[i]);
        memcpy(first, p, sizeof p);
        for (size_t i = 0; i < 1 << 20; i++)
            assert_int_equal(p[2][i], 0);
        for (size_t i = 0; i < 1 << 16; i++)
            assert_int_equal(p[1][i], 0); /* cleared by the close, not by a release */
        memset(p[2], 1, 1 << 20);
        memset(p[1], 2, 1 << 16);
        assert_int_equal(os_decommit(os, p[2], 1 << 16), 0);
        assert_int_equal(os_guard(os, p[2], 1 << 15), 0);
        assert_int_equal(os_decommit_lazy(os, p[2] + (1 << 17), 1 << 16), 0);
        assert_null(os_reserve(os, bytes, 1)); /* not beside the others */
        assert_null(os_reserve_hugetlb(os, 1 << 21, 1));
        os_close(os);
        unsigned char there[256];
        assert_int_equal(mincore(p[2], 1 << 20, there), 0);
        assert_true(there[255] & 1); /* committed until the end: its page stayed */
    }
    munmap(pool, bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worst_of_the_minimum_is_named),
        cmocka_unit_test(replays_have_a_limit),
        cmocka_unit_test(slow_each_time),
        cmocka_unit_test(slow_once),
        cmocka_unit_test(causes_are_told_apart),
        cmocka_unit_test(other_addresses_are_another_run),
        cmocka_unit_test(every_op_is_counted),
        cmocka_unit_test(a_pool_is_as_it_was),
    };
    return cmocka_run_group_tests_name("latency", tests, NULL, NULL);
}
