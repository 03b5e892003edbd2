/*
 * idle.c - what goes back to the kernel when a program goes quiet, and what that costs (make
 * bench-idle).
 *
 *     idle [virtual] [cost] [DESIGN ..]
 *
 * Memory. 1 GiB of objects of 64 bytes to 4 KiB is allocated and written, log-uniform in size (as
 * many between 64 and 128 bytes as between 2 and 4 KiB), nine in ten are freed at random, and for
 * 15 seconds nothing happens but a tick every 100 ms; then the rest is freed, and the same again.
 * `virtual`: the 150 ticks say that 100 ms have passed, and come at once. Each design is in a
 * process of its own. Resident memory is the process's without files' pages (/proc/self/statm),
 * above the state before the heap was made. Beside the designs stands the page-exact layout: the
 * same objects end to end in the order of their allocation, and only pages without a live byte
 * given back. Of the 1 GiB it keeps some 417 MiB; 1 - 0.9^n of it, with the n = 5.2 objects that
 * touch a page on average, would be 434; of uniform sizes 270 would be kept.
 * Bars for segfit: 1.6
 * times the page-exact layout, and 32 MiB at the end.
 *
 * Cost. The same operations on heaps with return=decommit and with return=never, in turns, both at
 * their defaults otherwise, with real ticks every 100 ms: `churn` frees or allocates a random one
 * of 200,000 places, some 100 MiB; `burst` fills 256 MiB, frees it all, and is quiet for 1.5
 * seconds, of which only ticks are counted: the worst case, as everything goes back each time.
 * Medians of passes, and the median of the ratios of neighbours. `cost` measures nothing else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness/outcome.h"
#include "harness/pass.h"
#include "workloads/lib/dist.h"
#include "workloads/lib/rng.h"

enum { PASSES = 9, PLACES = 200000, CHURN_OPS = 2000000, DESIGNS_MAX = 32 };

#define MIB      ((uint64_t)1 << 20)
#define TOTAL    (1024 * MIB)
#define BURST    (256 * MIB)
#define ROOM     (TOTAL / 512) /* objects: their mean size is some 970 bytes */
#define TICK_NS  UINT64_C(100000000)
#define QUIET_NS (150 * TICK_NS)
#define BAR      1.6
#define BAR_END  (32 * MIB)

struct object {
    char *p;
    uint64_t size;
};

struct bench {
    struct spec spec;
    struct cell_heap heap;
    struct heap *view;
    struct object *objects;
    size_t count;
    bool is_virtual;
    uint64_t ahead_ns; /* of virtual time */
    uint64_t ticked_ns;
};

static void *room_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED) {
        fprintf(stderr, "bench-idle: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return p;
}

/* ---- a heap, and its clock ---- */

static void bench_open(struct bench *b, const char *text, size_t objects)
{
    struct error err;
    struct outcome *outcome = room_map(sizeof *outcome);
    memset(b, 0, sizeof *b);
    if (spec_parse(text, &b->spec, &err)) {
        fprintf(stderr, "bench-idle: %s\n", err.text);
        exit(2);
    }
    struct cell_setup setup = {.spec = &b->spec, .outcome = outcome, .seed = 1};
    b->objects = room_map(objects * sizeof *b->objects);
    if (!cell_heap_open(&b->heap, &setup, false)) {
        fprintf(stderr, "bench-idle: %s: %s\n", text, outcome->detail);
        exit(1);
    }
    const struct allocator *design = b->spec.design;
    b->view = design->thread_enter ? design->thread_enter(b->heap.heap) : b->heap.heap;
    b->ticked_ns = clock_now_ns();
}

static void bench_close(struct bench *b, size_t objects)
{
    if (b->spec.design->thread_exit)
        b->spec.design->thread_exit(b->view);
    b->spec.design->destroy(b->heap.heap);
    os_close(b->heap.os);
    munmap(b->objects, objects * sizeof *b->objects);
    spec_free(&b->spec);
}

static void bench_tick(struct bench *b)
{
    b->ticked_ns = clock_now_ns() + b->ahead_ns;
    if (b->spec.design->tick)
        b->spec.design->tick(b->heap.heap, b->ticked_ns);
}

static void bench_quiet(struct bench *b, uint64_t ns)
{
    for (uint64_t at = 0; at < ns; at += TICK_NS) {
        if (b->is_virtual)
            b->ahead_ns += TICK_NS;
        else
            nanosleep(&(struct timespec){.tv_nsec = TICK_NS}, NULL);
        bench_tick(b);
    }
}

static bool object_make(struct bench *b, struct object *o, uint64_t size)
{
    o->p = b->spec.design->alloc(b->view, size, 16);
    o->size = size;
    if (o->p)
        memset(o->p, 1, size);
    return o->p;
}

static void object_end(struct bench *b, struct object *o)
{
    b->spec.design->free(b->view, o->p, o->size);
    o->p = NULL;
}

/* Objects up to so many bytes; the same ones in every process. */
static bool bench_fill(struct bench *b, uint64_t total)
{
    struct dist sizes = dist_log_uniform(64, 4096);
    struct rng rng = rng_stream(1, 0);
    b->count = 0;
    for (uint64_t sum = 0; sum < total; b->count++) {
        uint64_t size = dist_draw(&sizes, &rng);
        if (!object_make(b, &b->objects[b->count], size))
            return false;
        sum += size;
    }
    return true;
}

/* ---- memory ---- */

static void row_print(const char *name, uint64_t peak, const uint64_t *resident,
                      const uint64_t *committed, const char *verdict)
{
    printf("%-18s %8.0f |", name, (double)peak / MIB);
    for (unsigned i = 0; i < 2; i++)
        if (committed)
            printf(" %8.1f %9.1f |", (double)resident[i] / MIB, (double)committed[i] / MIB);
        else
            printf(" %8.1f         - |", (double)resident[i] / MIB);
    printf(" %s\n", verdict);
}

/* The layout that keeps exactly the pages with a live byte; returns its bytes. */
static uint64_t exact_print(void)
{
    struct dist sizes = dist_log_uniform(64, 4096);
    struct rng rng = rng_stream(1, 0), fate = rng_stream(1, 1);
    uint64_t page = os_page_bytes(), at = 0, kept = 0, next = 0, live = 0, count = 0;
    for (uint64_t sum = 0; sum < TOTAL; count++) {
        uint64_t size = dist_draw(&sizes, &rng), first = at / page, last = (at + size - 1) / page;
        if (!rng_chance(&fate, 0.9)) {
            first = first < next ? next : first;
            kept += last + 1 > first ? last + 1 - first : 0;
            next = last + 1;
            live += size;
        }
        sum += size;
        at += (size + 15) / 16 * 16;
    }
    printf("%lu objects, %.1f MiB of them live after the first frees; MiB\n", count,
           (double)live / MIB);
    printf("%-18s %8s | %-18s | %-18s |\n", "", "", "9 of 10 freed", "all freed");
    printf("%-18s %8s | %8s %9s | %8s %9s |\n", "design", "peak", "resident", "committed",
           "resident", "committed");
    row_print("page-exact", at, (uint64_t[2]){kept * page, 0}, NULL, "");
    return kept * page;
}

static int memory_run(const char *text, bool is_virtual, uint64_t exact)
{
    struct bench b;
    char verdict[128] = "";
    uint64_t resident[2], committed[2];
    struct rng fate = rng_stream(1, 1);
    bench_open(&b, text, ROOM);
    b.is_virtual = is_virtual;
    uint64_t baseline = resident_now(); /* the heap's own first pages are among them */
    if (!bench_fill(&b, TOTAL)) {
        fprintf(stderr, "bench-idle: %s: no memory\n", text);
        return 1;
    }
    uint64_t peak = resident_now() - baseline;
    for (unsigned i = 0; i < 2; i++) {
        for (size_t k = 0; k < b.count; k++)
            if (b.objects[k].p && (i || rng_chance(&fate, 0.9)))
                object_end(&b, &b.objects[k]);
        bench_quiet(&b, b.spec.design->tick ? QUIET_NS : TICK_NS);
        uint64_t now = resident_now();
        resident[i] = now > baseline ? now - baseline : 0;
        committed[i] = os_counts(b.heap.os).committed_bytes;
    }
    bool bad = (double)resident[0] > BAR * (double)exact || resident[1] > BAR_END;
    bool judged = !strcmp(text, "segfit");
    snprintf(verdict, sizeof verdict, "%.2fx page-exact%s%s", (double)resident[0] / (double)exact,
             b.spec.design->tick ? "" : ", does not tick",
             !judged ? ""
             : bad   ? ", bars 1.6x and 32 MiB: MISSED"
                     : ", bars 1.6x and 32 MiB: met");
    row_print(text, peak, resident, b.spec.design->traits & ALLOCATOR_FOREIGN ? NULL : committed,
              verdict);
    return judged && bad;
}

/* In a process of its own. */
static int memory_fork(const char *text, bool is_virtual, uint64_t exact)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int result = memory_run(text, is_virtual, exact);
        fflush(NULL);
        _exit(result);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        fprintf(stderr, "bench-idle: %s: the process died\n", text);
        return 1;
    }
    return WEXITSTATUS(status);
}

/* ---- cost ---- */

static double churn_pass(struct bench *b, uint64_t seed)
{
    struct dist sizes = dist_log_uniform(64, 4096);
    struct rng rng = rng_stream(seed, 2);
    uint64_t begin = clock_now_ns();
    for (unsigned i = 0; i < CHURN_OPS; i++) {
        struct object *o = &b->objects[rng_below(&rng, PLACES)];
        if (o->p)
            object_end(b, o);
        else if (!object_make(b, o, dist_draw(&sizes, &rng)))
            exit(1);
        if (i % 4096 == 0 && clock_now_ns() - b->ticked_ns >= TICK_NS)
            bench_tick(b);
    }
    return (double)(clock_now_ns() - begin) / CHURN_OPS;
}

static double burst_pass(struct bench *b, uint64_t seed)
{
    (void)seed;
    uint64_t begin = clock_now_ns();
    if (!bench_fill(b, BURST))
        exit(1);
    for (size_t i = 0; i < b->count; i++)
        object_end(b, &b->objects[i]);
    double ops = 2 * (double)b->count;
    b->is_virtual = true;
    bench_quiet(b, 15 * TICK_NS);
    return (double)(clock_now_ns() - begin) / ops;
}

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values)
{
    qsort(values, PASSES, sizeof *values, double_order);
    return values[PASSES / 2];
}

static void cost_run(const char *design, const char *load,
                     double (*pass)(struct bench *b, uint64_t seed))
{
    static const char *const policies[] = {"never", "decommit"};
    struct bench b[2];
    double ns[2][PASSES], ratio[PASSES];
    char text[128];
    for (unsigned i = 0; i < 2; i++) {
        snprintf(text, sizeof text, "%s:return=%s", design, policies[i]);
        bench_open(&b[i], text, ROOM);
        pass(&b[i], 0); /* warms up */
    }
    for (unsigned n = 0; n < PASSES; n++) {
        for (unsigned k = 0; k < 2; k++) {
            unsigned i = (n + k) % 2; /* who is first alternates */
            ns[i][n] = pass(&b[i], n + 1);
        }
        ratio[n] = ns[1][n] / ns[0][n];
    }
    double never = median(ns[0]), decommit = median(ns[1]), middle = median(ratio);
    printf("%-10s %-6s %8.1f %9.1f  %.3f  (%.3f .. %.3f)\n", design, load, never, decommit, middle,
           ratio[PASSES / 4], ratio[PASSES - 1 - PASSES / 4]);
    for (unsigned i = 0; i < 2; i++)
        bench_close(&b[i], ROOM);
}

static void cost_print(const char *design)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        cost_run(design, "churn", churn_pass);
        cost_run(design, "burst", burst_pass);
        fflush(NULL);
        _exit(0);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
        fprintf(stderr, "bench-idle: %s: the process died\n", design);
}

static bool has_return(const struct allocator *design)
{
    for (const struct option *row = design->options; row && row->name; row++)
        if (!strcmp(row->name, "return"))
            return true;
    return false;
}

/* Those with something to do in a tick, the C library's, and segfit first. */
static size_t designs_find(const char **names)
{
    size_t count = 0;
    names[count++] = "segfit";
    for (size_t i = 0; allocators[i] && count < DESIGNS_MAX; i++)
        if (strcmp(allocators[i]->name, "segfit") && !(allocators[i]->traits & ALLOCATOR_WRAPS) &&
            (allocators[i]->tick || allocators[i]->traits & ALLOCATOR_FOREIGN))
            names[count++] = allocators[i]->name;
    return count;
}

int main(int argc, char **argv)
{
    const char *names[DESIGNS_MAX];
    bool is_virtual = false, memory = true;
    size_t count = 0;
    int result = 0;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "virtual"))
            is_virtual = true;
        else if (!strcmp(argv[i], "cost"))
            memory = false;
        else if (count < DESIGNS_MAX && allocator_find(argv[i]))
            names[count++] = argv[i];
        else {
            fprintf(stderr, "usage: %s [virtual] [cost] [DESIGN ..]: there is no %s\n", argv[0],
                    argv[i]);
            return 2;
        }
    }
    count = count ? count : designs_find(names);
    if (memory) {
        uint64_t exact = exact_print();
        for (size_t i = 0; i < count; i++)
            result |= memory_fork(names[i], is_virtual, exact);
        printf("\n");
    }
    printf("ns/op with return=%8s %8s  ratio  (middle half of %d passes)\n", "never", "decommit",
           PASSES);
    for (size_t i = 0; i < count; i++)
        if (has_return(allocator_find(names[i])))
            cost_print(names[i]);
    return result;
}
