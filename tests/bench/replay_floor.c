/*
 * replay_floor.c - what the harness itself costs (make bench-replay): the replay loop over `null`
 * beside a bare C loop over the same ops, the load of a trace file into a plan, and the memory of
 * both, in one interleaved run.
 *
 * The bare loop: one array of 8-byte ops {slot, size; size 0 = free}, slots reused, slots
 * prefetched 16 ahead, calls through two function pointers to functions that do nothing. Best of 9
 * passes each, the two taking turns; the spread (median) stands beside. Bars: 1.25 times the bare
 * loop on a random order of ops, 1.5 times on an alternating one, 40 ns an op for the load.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "allocators/lib/os.h"
#include "harness/pass.h"
#include "harness/registry.h"
#include "harness/target.h"

#define PASSES 9

struct bare_op {
    uint32_t slot, size; /* size 0 = free */
};

struct timing {
    double ns[PASSES];
};

static void *bare_alloc(struct heap *view, size_t size, size_t align)
{
    (void)size;
    (void)align;
    return view;
}

static void bare_free(struct heap *view, void *p, size_t size)
{
    (void)view;
    (void)p;
    (void)size;
}

/* Through volatile pointers, so that the compiler cannot know what is called. */
static void *(*volatile alloc_pointer)(struct heap *, size_t, size_t) = bare_alloc;
static void (*volatile free_pointer)(struct heap *, void *, size_t) = bare_free;

static __attribute__((noinline)) void bare_loop(const struct bare_op *ops, size_t count,
                                                void **slots)
{
    void *(*alloc)(struct heap *, size_t, size_t) = alloc_pointer;
    void (*free)(struct heap *, void *, size_t) = free_pointer;
    struct heap *heap = (struct heap *)slots;
    for (size_t i = 0; i < count; i++) {
        __builtin_prefetch(&slots[ops[i + 16].slot], 1);
        if (ops[i].size)
            slots[ops[i].slot] = alloc(heap, ops[i].size, 16);
        else
            free(heap, slots[ops[i].slot], 0);
    }
}

/* The plan's main part as bare ops; the count, or 0 if a word is neither a plain alloc nor a plain
 * free. */
static size_t bare_ops_make(const struct plan *plan, struct bare_op *ops)
{
    const struct plan_thread *thread = (const void *)((const char *)plan + plan->threads_offset);
    const uint64_t *words = (const void *)((const char *)plan + thread->words_offset);
    size_t count = 0;
    for (uint64_t i = 0; count < plan->ops; i++) {
        unsigned kind = PLAN_KIND(words[i]);
        if (kind == PLAN_START)
            continue;
        if (kind > PLAN_FREE)
            return 0;
        ops[count].slot = PLAN_SLOT(words[i]);
        ops[count++].size = kind == PLAN_ALLOC ? PLAN_LOW(words[i]) : 0;
    }
    return count;
}

static void *pages_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "bench-replay: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void timing_sort(struct timing *t)
{
    qsort(t->ns, PASSES, sizeof *t->ns, double_order);
}

static bool null_pass(struct replay *r, double *ns)
{
    const struct plan *plan = r->plan;
    bool done = replay_pass_begin(r);
    uint64_t start = clock_now_ns();
    done = done && replay_runs(r, 0, plan->main_runs);
    *ns = (double)(clock_now_ns() - start) / (double)plan->ops;
    done = done && replay_runs(r, plan->main_runs, plan->runs);
    replay_pass_end(r);
    return done;
}

static int loops_compare(const char *name, const struct plan *plan, double load_ns, double bar)
{
    struct error err;
    struct spec spec;
    struct replay replay;
    struct outcome *outcome = pages_map(sizeof *outcome);
    struct cell_setup setup = {.plan = plan, .spec = &spec, .outcome = outcome};
    struct cell_heap h;
    struct bare_op *ops = pages_map((plan->ops + 16) * sizeof *ops);
    void **slots = pages_map(plan->slots * sizeof *slots);
    size_t count = bare_ops_make(plan, ops);
    struct timing bare, null;
    if (!count || spec_parse("null", &spec, &err) || !cell_heap_open(&h, &setup, false) ||
        replay_open(&replay, plan, spec.design, h.heap, TOUCH_NONE, &err)) {
        fprintf(stderr, "bench-replay: %s: the loops cannot be set up\n", name);
        return 1;
    }
    bare_loop(ops, count, slots); /* both warm up once */
    if (!null_pass(&replay, &null.ns[0]))
        return 1;
    for (int i = 0; i < PASSES; i++) {
        uint64_t start = clock_now_ns();
        bare_loop(ops, count, slots);
        bare.ns[i] = (double)(clock_now_ns() - start) / (double)count;
        if (!null_pass(&replay, &null.ns[i]))
            return 1;
    }
    timing_sort(&bare);
    timing_sort(&null);
    double per_op =
        (double)(plan->bytes + replay.tables_bytes - 8 * plan->slots) / (double)plan->ops;
    printf("%-10s %6.2f %6.2f  %6.2f %6.2f   %5.2fx (bar %.2fx)  %6.1f (bar 40)  %6.3f B/op + 8 "
           "B/slot, %zu MiB\n",
           name, bare.ns[0], bare.ns[PASSES / 2], null.ns[0], null.ns[PASSES / 2],
           null.ns[0] / bare.ns[0], bar, load_ns, per_op,
           (size_t)(plan->bytes + replay.tables_bytes) >> 20);
    munmap(ops, (plan->ops + 16) * sizeof *ops);
    munmap(slots, plan->slots * sizeof *slots);
    replay_close(&replay);
    return 0;
}

static int order_bench(const char *order, double bar)
{
    struct error err;
    struct target target;
    char text[64];
    snprintf(text, sizeof text, "random:ops=10m,live=100k,order=%s", order);
    if (target_open(&target, text, 1, &err)) {
        fprintf(stderr, "bench-replay: %s\n", err.text);
        return 2;
    }
    double load_ns = 1e9;
    const struct plan *plan = NULL;
    for (int i = 0; i < 3; i++) { /* best of three loads of the file, each into a new plan */
        int fd;
        uint64_t start = clock_now_ns();
        if (plan_build(target.trace, PLAN_RELEASE_FREE, 0, &fd, &err) ||
            !(plan = plan_map(fd, &err))) {
            fprintf(stderr, "bench-replay: %s\n", err.text);
            return 2;
        }
        double ns = (double)(clock_now_ns() - start) / (double)plan->ops;
        load_ns = ns < load_ns ? ns : load_ns;
        close(fd);
        if (i < 2)
            plan_unmap(plan);
    }
    int result = loops_compare(order, plan, load_ns, bar);
    plan_unmap(plan);
    target_close(&target);
    return result;
}

int main(void)
{
    printf("10 M ops, 100 k live, touch none, ns/op: best and median of %d interleaved passes\n",
           PASSES);
    printf("%-10s %6s %6s  %6s %6s   %-20s %-16s %s\n", "order", "bare", "median", "null", "median",
           "best/best", "load ns/op", "harness memory");
    int result = order_bench("random", 1.25);
    return result ? result : order_bench("alternate", 1.5);
}
