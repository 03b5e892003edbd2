/*
 * blowup.c - memory that a producer and a consumer need (make bench-blowup): one thread allocates
 * objects of 64 bytes, another frees them, and at most 16,384 wait between them in a ring, so that
 * never more than 1 MiB is in use, however many pass. What the door has committed meanwhile stands
 * beside the bound that the design's header states.
 *
 *     blowup OBJECTS CSV
 *
 * Each design runs in a process of its own, on real threads, through the contract, without ticks.
 * `limit`, up to which designs keep free pages, is set to 1 MiB, as the default of 128 would
 * hide the rest of the bound; the other options in a bound have their defaults. A bound is of the
 * memory beside what the heap with its two views has committed before the first object, plus 1/64
 * for segments' headers, and 64 KiB that are committed ahead. Resident memory is the process's,
 * above the state before the heap was made.
 *
 * private has no bound; it is stopped at 1 GiB. Exit status 1 if a design exceeds its bound, or if
 * private does not grow with what passes.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness/outcome.h"
#include "harness/pass.h"

enum { RING = 16384, SIZE = 64, POINTS = 400, UNIT = 8192, VIEWS = 3 };

#define MIB     ((uint64_t)1 << 20)
#define LIVE    ((uint64_t)(RING + 2) * SIZE) /* one more in each thread's hand */
#define LIMIT   ((uint64_t)1024 * MIB)
#define AHEAD   ((uint64_t)65536)
#define KEEP    (MIB / 4)
#define NOTHING UINT64_MAX

struct entrant {
    const char *spec;
    uint64_t bound;      /* bytes beside the base; NOTHING = none is stated */
    const char *formula; /* of the header, with these numbers */
};

static const struct entrant entrants[] = {
    {"segfit:cache=1m,batch=64,limit=1m", LIVE + (MIB + 64 * SIZE) * VIEWS + 8 * 64 * SIZE + MIB,
     "live + 3 views (cache 1 MiB + batch 4 KiB) + 8 batches + limit 1 MiB"},
    {"lockfree:limbo=16,keep=256k,limit=1m",
     LIVE * 8 / 7 + ((1 + 1 + 16 + 1) * UNIT + KEEP) * VIEWS + MIB,
     "8/7 live + 3 views ((1 + 1 + limbo 16 + 1) spans of 8 KiB + keep) + limit 1 MiB"},
    {"hoard:superblock=32k,slack=4,empty=0.25,limit=1m",
     LIVE * 4 / 3 + (2 * 4 + 1) * 4 * UNIT + MIB,
     "4/3 live + (2 heaps * slack 4 + 1) superblocks of 32 KiB + limit 1 MiB"},
    {"private", NOTHING, "none"},
    {"libc", NOTHING, "none stated"},
};

struct flow_point {
    uint64_t objects, committed, resident;
};

struct flow {
    const struct allocator *design;
    struct cell_heap heap;
    uint64_t objects;                    /* to hand over */
    _Alignas(64) _Atomic uint64_t made;  /* written by the producer */
    _Alignas(64) _Atomic uint64_t freed; /* written by the consumer */
    _Alignas(64) _Atomic uint64_t end;   /* how many there will be; shorter if memory runs out */
    uint64_t baseline;                   /* resident before the heap */
    struct flow_point points[POINTS + 2];
    unsigned count;
    void *ring[RING];
};

static void point_take(struct flow *f, uint64_t objects)
{
    f->points[f->count++] = (struct flow_point){objects, os_counts(f->heap.os).committed_bytes,
                                                resident_now() - f->baseline};
}

/* Enters, and lets the other thread enter too, so that the first sample is of both views. */
static struct heap *flow_enter(struct flow *f, pthread_barrier_t *start)
{
    struct heap *view =
        f->design->thread_enter ? f->design->thread_enter(f->heap.heap) : f->heap.heap;
    pthread_barrier_wait(start);
    return view;
}

struct side {
    struct flow *flow;
    pthread_barrier_t *start;
};

static void *produce(void *arg)
{
    const struct side *side = arg;
    struct flow *f = side->flow;
    struct heap *view = flow_enter(f, side->start);
    uint64_t step = f->objects / POINTS, freed = 0;
    point_take(f, 0);
    for (uint64_t i = 0; i < f->objects; i++) {
        while (i - freed == RING) {
            freed = atomic_load_explicit(&f->freed, memory_order_acquire);
            if (i - freed == RING)
                sched_yield();
        }
        char *p = f->design->alloc(view, SIZE, 16);
        if (!p) {
            atomic_store(&f->end, i);
            break;
        }
        memcpy(p, &i, sizeof i);
        f->ring[i % RING] = p;
        atomic_store_explicit(&f->made, i + 1, memory_order_release);
        if ((i + 1) % step == 0 && f->count <= POINTS)
            point_take(f, i + 1);
    }
    point_take(f, atomic_load(&f->end));
    if (f->design->thread_exit)
        f->design->thread_exit(view);
    return NULL;
}

static void *consume(void *arg)
{
    const struct side *side = arg;
    struct flow *f = side->flow;
    struct heap *view = flow_enter(f, side->start);
    uint64_t made = 0;
    for (uint64_t i = 0; i < atomic_load_explicit(&f->end, memory_order_acquire);) {
        made = atomic_load_explicit(&f->made, memory_order_acquire);
        if (i == made)
            sched_yield();
        for (; i < made; i++) {
            f->design->free(view, f->ring[i % RING], SIZE);
            atomic_store_explicit(&f->freed, i + 1, memory_order_release);
        }
    }
    if (f->design->thread_exit)
        f->design->thread_exit(view);
    return NULL;
}

static int rows_write(const struct flow *f, const struct entrant *e, uint64_t bound, FILE *csv)
{
    bool counted = !(f->design->traits & ALLOCATOR_FOREIGN);
    for (unsigned i = 0; i < f->count; i++) {
        const struct flow_point *s = &f->points[i];
        fprintf(csv, "%s,\"%s\",%lu,", f->design->name, e->formula, s->objects);
        fprintf(csv, counted ? "%lu," : ",", s->committed);
        fprintf(csv, bound != NOTHING ? "%lu,%lu\n" : "%lu,\n", s->resident, bound);
    }
    return fflush(csv) ? 1 : 0;
}

static void mib_print(uint64_t bytes)
{
    if (bytes == NOTHING)
        printf("%9s ", "-");
    else
        printf("%9.2f ", (double)bytes / MIB);
}

/* The row of the table; 1 if a promise was broken. */
static int flow_judge(const struct flow *f, const struct entrant *e, uint64_t bound, double seconds)
{
    uint64_t passed = atomic_load(&f->end), resident = 0;
    size_t peak = os_counts(f->heap.os).peak_committed_bytes;
    bool grows = bound == NOTHING && !(f->design->traits & ALLOCATOR_FOREIGN);
    for (unsigned i = 0; i < f->count; i++)
        resident = f->points[i].resident > resident ? f->points[i].resident : resident;
    bool broken = grows ? peak < passed * SIZE : bound != NOTHING && peak > bound;
    printf("%-10s %9.1f M ", f->design->name, (double)passed / 1e6);
    mib_print(f->design->traits & ALLOCATOR_FOREIGN ? NOTHING : peak);
    mib_print(resident);
    mib_print(bound);
    printf(" %-8s %6.1f  %s\n",
           broken             ? "BROKEN"
           : grows            ? "grows"
           : bound == NOTHING ? "-"
                              : "within",
           seconds * 1e9 / (double)(passed ? passed : 1),
           passed < f->objects ? "stopped at 1 GiB committed" : e->formula);
    return broken;
}

static int flow_run(const struct entrant *e, uint64_t objects, FILE *csv)
{
    static struct flow f;
    struct error err;
    struct spec spec;
    struct outcome outcome = {.status = 0};
    pthread_barrier_t start;
    pthread_t producer, consumer;
    struct side side = {&f, &start};
    if (spec_parse(e->spec, &spec, &err)) {
        fprintf(stderr, "bench-blowup: %s\n", err.text);
        return 2;
    }
    struct cell_setup setup = {
        .spec = &spec, .outcome = &outcome, .seed = 1, .door.commit_limit_bytes = LIMIT};
    f.design = spec.design;
    f.objects = objects;
    atomic_store(&f.end, objects);
    f.baseline = resident_now();
    if (!cell_heap_open(&f.heap, &setup, false)) {
        fprintf(stderr, "bench-blowup: %s: %s\n", e->spec, outcome.detail);
        return 1;
    }
    uint64_t begin = clock_now_ns();
    pthread_barrier_init(&start, NULL, 2);
    if (pthread_create(&producer, NULL, produce, &side) ||
        pthread_create(&consumer, NULL, consume, &side)) {
        fprintf(stderr, "bench-blowup: no thread\n");
        return 1;
    }
    pthread_join(producer, NULL);
    pthread_join(consumer, NULL);
    double seconds = (double)(clock_now_ns() - begin) / 1e9;
    uint64_t base = f.points[0].committed;
    uint64_t bound = e->bound == NOTHING ? NOTHING : base + e->bound * 65 / 64 + AHEAD;
    int result = flow_judge(&f, e, bound, seconds) | rows_write(&f, e, bound, csv);
    cell_heap_close(&f.heap, &setup);
    return result;
}

/* In a process of its own, so that resident memory is the design's. */
static int flow_fork(const struct entrant *e, uint64_t objects, FILE *csv)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int result = flow_run(e, objects, csv);
        fflush(NULL);
        _exit(result);
    }
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
        fprintf(stderr, "bench-blowup: %s: the process died\n", e->spec);
        return 1;
    }
    return WEXITSTATUS(status);
}

static bool is_registered(const char *spec)
{
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)strcspn(spec, ":"), spec);
    return allocator_find(name);
}

int main(int argc, char **argv)
{
    char part[4096];
    uint64_t objects = argc == 3 ? strtoull(argv[1], NULL, 10) : 0;
    if (objects < 1000000 || snprintf(part, sizeof part, "%s.part", argv[2]) >= (int)sizeof part) {
        fprintf(stderr, "usage: %s OBJECTS CSV (at least a million objects)\n", argv[0]);
        return 2;
    }
    FILE *csv = fopen(part, "w");
    if (!csv) {
        fprintf(stderr, "bench-blowup: %s cannot be written: choose another folder\n", part);
        return 2;
    }
    fprintf(csv, "design,formula,objects,committed_bytes,resident_bytes,bound_bytes\n");
    printf("%lu objects of %d bytes, at most %d in use, 2 threads; MiB\n", objects, SIZE, RING + 2);
    printf("%-10s %11s %9s %9s %9s  %-8s %6s\n", "design", "objects", "committed", "resident",
           "bound", "", "ns");
    int result = 0;
    for (size_t i = 0; i < sizeof entrants / sizeof *entrants; i++) {
        if (is_registered(entrants[i].spec))
            result |= flow_fork(&entrants[i], objects, csv);
        else
            printf("%s is not registered\n", entrants[i].spec);
    }
    if (fclose(csv) || rename(part, argv[2])) {
        fprintf(stderr, "bench-blowup: %s cannot be written\n", argv[2]);
        return 2;
    }
    return result;
}
