/*
 * typed.c - what keeping objects constructed saves (make bench-typed). A trace has sizes and no
 * constructors, so this is a program: objects as a server has for its sessions, a mutex, two list
 * heads and a table of 256 bytes that a constructor fills, are taken and given back, and between
 * that used as such objects are: locked, linked, a few places of the table read and written, and
 * put back as they were.
 *
 *     kept      an object cache with the constructor: it runs when memory becomes an object
 *     each      the same cache without one; the program constructs after each take, destructs
 *               before each give
 *     segfit    the same through segfit
 *     libc      the same through the C library
 *
 * A steady crowd of LIVE objects, of which one drawn at random is replaced at each step. The four
 * take turns; a pass is STEPS steps, PASSES of each after one to warm up. Printed: the median and
 * the least time of a step, the median of the ratios to `kept` within a turn, and how often the
 * constructor ran. Once with the use of the objects, once without it (take and give alone).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "allocators/lib/list.h"
#include "allocators/lib/object_cache.h"
#include "allocators/lib/option.h"
#include "harness/registry.h"
#include "workloads/lib/rng.h"

enum { LIVE = 1000, STEPS = 100000, PASSES = 21, WAYS = 4, TABLE = 64 };

struct session {
    pthread_mutex_t lock;
    struct list requests, link;
    uint32_t table[TABLE]; /* of slots: each names the next free one */
    uint64_t user;
};

static uint64_t constructed;

static void session_make(void *p, void *arg)
{
    struct session *s = p;
    (void)arg;
    pthread_mutex_init(&s->lock, NULL);
    list_init(&s->requests);
    list_init(&s->link);
    for (uint32_t i = 0; i < TABLE; i++)
        s->table[i] = (i + 1) % TABLE;
    s->user = 0;
    constructed++;
}

static void session_end(void *p, void *arg)
{
    (void)arg;
    pthread_mutex_destroy(&((struct session *)p)->lock);
}

/* What a program does with it, and undoes. */
static void session_use(struct session *s, struct list *all, uint64_t user)
{
    pthread_mutex_lock(&s->lock);
    s->user = user;
    list_insert_after(all, &s->link);
    uint32_t slot = user % TABLE, next = s->table[slot];
    s->table[slot] = TABLE;
    s->table[slot] = next;
    list_remove(&s->link);
    list_init(&s->link);
    s->user = 0;
    pthread_mutex_unlock(&s->lock);
}

/* ---- the four ways ---- */

struct bench {
    struct os *os;
    struct object_cache *kept, *each;
    const struct allocator *segfit;
    struct heap *heap, *view;
    struct session *live[WAYS][LIVE];
};

static inline struct session *session_take(struct bench *b, unsigned way)
{
    struct session *s = way == 0   ? object_cache_take(b->kept)
                        : way == 1 ? object_cache_take(b->each)
                        : way == 2 ? b->segfit->alloc(b->view, sizeof *s, 16)
                                   : malloc(sizeof *s);
    if (!s) {
        fputs("bench-typed: no memory\n", stderr);
        exit(1);
    }
    if (way)
        session_make(s, NULL);
    return s;
}

static inline void session_give(struct bench *b, unsigned way, struct session *s)
{
    if (way)
        session_end(s, NULL);
    if (way == 0)
        object_cache_give(b->kept, s);
    else if (way == 1)
        object_cache_give(b->each, s);
    else if (way == 2)
        b->segfit->free(b->view, s, 0);
    else
        free(s);
}

static uint64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t env_now(void *ctx)
{
    (void)ctx;
    return now_ns();
}

/* One pass, in ns a step: which objects are replaced is the same in all. */
static double pass_run(struct bench *b, unsigned way, bool use)
{
    struct rng rng = rng_stream(1, 1);
    struct session **live = b->live[way];
    struct list all;
    list_init(&all);
    uint64_t start = now_ns();
    for (unsigned i = 0; i < STEPS; i++) {
        struct session **place = &live[rng_below(&rng, LIVE)];
        session_give(b, way, *place);
        *place = session_take(b, way);
        if (use)
            session_use(*place, &all, i);
    }
    return (double)(now_ns() - start) / STEPS;
}

static int double_order(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values)
{
    qsort(values, PASSES, sizeof *values, double_order);
    return values[PASSES / 2];
}

static void ways_compare(struct bench *b, bool use)
{
    static const char *const names[WAYS] = {"kept", "each", "segfit", "libc"};
    static double ns[WAYS][PASSES], ratio[WAYS][PASSES];
    uint64_t runs[WAYS] = {0};
    for (unsigned i = 0; i <= PASSES; i++) {
        for (unsigned way = 0; way < WAYS; way++) {
            uint64_t before = constructed;
            double time = pass_run(b, way, use);
            if (!i) /* the first only warms up */
                continue;
            ns[way][i - 1] = time;
            ratio[way][i - 1] = time / ns[0][i - 1];
            runs[way] += constructed - before;
        }
    }
    printf("%s\n", use ? "taken, used, given back" : "taken and given back");
    printf("  %-8s %10s %10s %14s %18s\n", "way", "ns median", "ns least", "ratio to kept",
           "constructed a step");
    for (unsigned way = 0; way < WAYS; way++) {
        double middle = median(ns[way]);
        printf("  %-8s %10.1f %10.1f %14.2f %18.4f\n", names[way], middle, ns[way][0],
               median(ratio[way]), (double)runs[way] / ((double)PASSES * STEPS));
    }
}

static bool bench_open(struct bench *b)
{
    static _Alignas(16) unsigned char options[512];
    static struct alloc_env env = {.seed = 1, .now_ns = env_now, .options = options};
    struct error err;
    b->os = os_open(&(const struct os_config){.observe = false});
    b->segfit = allocator_find("segfit");
    env.os = b->os;
    env.design = b->segfit;
    if (!b->os || !b->segfit || b->segfit->options_size > sizeof options ||
        option_parse("segfit", b->segfit->options, b->segfit->options_size, NULL, options, &err))
        return false;
    b->kept = object_cache_open(b->os, "kept", sizeof(struct session), 16, session_make,
                                session_end, NULL);
    b->each = object_cache_open(b->os, "each", sizeof(struct session), 16, NULL, NULL, NULL);
    b->heap = b->segfit->create(&env);
    b->view = b->heap ? b->segfit->thread_enter(b->heap) : NULL;
    return b->kept && b->each && b->view;
}

int main(void)
{
    static struct bench b;
    if (!bench_open(&b)) {
        fputs("bench-typed: the heaps cannot be opened\n", stderr);
        return 1;
    }
    for (unsigned way = 0; way < WAYS; way++)
        for (unsigned i = 0; i < LIVE; i++)
            b.live[way][i] = session_take(&b, way);
    printf("%zu bytes an object, %d live, %d steps a pass, %d passes in turns; %s\n",
           sizeof(struct session), LIVE, STEPS, PASSES, object_cache_mode(b.kept));
    ways_compare(&b, false);
    ways_compare(&b, true);
    for (unsigned way = 0; way < WAYS; way++)
        for (unsigned i = 0; i < LIVE; i++)
            session_give(&b, way, b.live[way][i]);
    size_t left = object_cache_close(b.kept) + object_cache_close(b.each);
    b.segfit->thread_exit(b.view);
    b.segfit->destroy(b.heap);
    os_close(b.os);
    return left ? 1 : 0;
}
