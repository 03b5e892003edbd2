/*
 * stress.c - see stress.h. Only the main thread asserts; the others note what they saw first.
 */
#include "tests/lib/stress.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/generic.h"
#include "harness/registry.h"
#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

enum { PLACES = 512, OWN = 64, THREADS_MAX = 16 };

struct arena {
    struct rig rig;
    const struct stress *stress;
    _Atomic(char *) places[PLACES]; /* objects that belong to nobody; exchanged with acq_rel */
    _Atomic(const char *) failure;
    _Atomic unsigned running;
};

struct worker {
    struct arena *arena;
    struct heap *view;
    struct rng rng;
    char *own[OWN];
};

static void worker_fail(struct worker *w, const char *what)
{
    const char *none = NULL;
    atomic_compare_exchange_strong(&w->arena->failure, &none, what);
}

/* The first eight bytes are the size, the last eight and some between a mark of the address. */
static void object_write(char *p, uint64_t size)
{
    uint64_t mark = (uintptr_t)p * UINT64_C(0x9E3779B97F4A7C15) ^ size;
    memcpy(p, &size, 8);
    for (size_t at = 8; at + 8 <= size; at += size_max(align_down(size / 8, 8), 8))
        memcpy(p + at, &mark, 8);
    memcpy(p + size - 8, &mark, 8);
}

static uint64_t object_size(const char *p)
{
    uint64_t size;
    memcpy(&size, p, 8);
    return size;
}

static void object_verify_at(struct worker *w, const char *p, const char *written_at, uint64_t size,
                             size_t bytes)
{
    uint64_t mark = (uintptr_t)written_at * UINT64_C(0x9E3779B97F4A7C15) ^ size, seen;
    for (size_t at = 8; at + 8 <= bytes; at += size_max(align_down(size / 8, 8), 8)) {
        memcpy(&seen, p + at, 8);
        if (seen != mark)
            worker_fail(w, "an object changed while it was in use");
    }
}

/* A multiple of eight, so that the words of the mark do not overlap. */
static uint64_t size_draw(struct rng *rng)
{
    uint64_t size = (UINT64_C(16) << rng_below(rng, rng_chance(rng, 0.02) ? 15 : 8));
    return align_down(size + rng_below(rng, size), 8);
}

static char *object_make(struct worker *w)
{
    const struct allocator *design = w->arena->rig.design;
    uint64_t size = size_draw(&w->rng);
    bool zeroed = rng_chance(&w->rng, 0.1);
    size_t align = rng_chance(&w->rng, 0.05) ? (size_t)16 << rng_below(&w->rng, 10) : 16;
    char *p =
        zeroed ? generic_zalloc(design, w->view, size, align) : design->alloc(w->view, size, align);
    if (!p) {
        worker_fail(w, "no memory");
        return NULL;
    }
    if (!is_aligned((uintptr_t)p, align))
        worker_fail(w, "an object is not aligned");
    for (size_t i = 0; zeroed && i < size; i++)
        if (p[i])
            worker_fail(w, "zeroed memory is not zero");
    object_write(p, size);
    return p;
}

static void object_end(struct worker *w, char *p)
{
    if (!p)
        return;
    uint64_t size = object_size(p);
    object_verify_at(w, p, p, size, size);
    w->arena->rig.design->free(w->view, p, rng_chance(&w->rng, 0.3) ? size : 0);
}

static char *object_move(struct worker *w, char *p)
{
    const struct allocator *design = w->arena->rig.design;
    uint64_t old = object_size(p), size = size_draw(&w->rng);
    char *moved = generic_realloc(design, w->view, w->view, p, old, size, 16);
    if (!moved) {
        worker_fail(w, "no memory");
        return p;
    }
    object_verify_at(w, moved, p, old, size_min(old, size));
    object_write(moved, size);
    return moved;
}

static void worker_step(struct worker *w)
{
    const struct allocator *design = w->arena->rig.design;
    char **own = &w->own[rng_below(&w->rng, OWN)];
    unsigned choice = (unsigned)rng_below(&w->rng, 1000);
    if (choice < 400) { /* a stranger's object for the own one */
        _Atomic(char *) *place = &w->arena->places[rng_below(&w->rng, PLACES)];
        *own = atomic_exchange_explicit(place, *own, memory_order_acq_rel);
    } else if (choice < 405 && design->thread_enter) {
        design->thread_exit(w->view);
        w->view = design->thread_enter(w->arena->rig.heap);
        if (!w->view)
            worker_fail(w, "no memory for a view");
    } else if (*own && choice < 500) {
        *own = object_move(w, *own);
    } else if (*own) {
        object_end(w, *own);
        *own = NULL;
    } else {
        *own = object_make(w);
    }
}

static void *worker_main(void *arg)
{
    struct worker *w = arg;
    const struct allocator *design = w->arena->rig.design;
    for (unsigned i = 0; i < w->arena->stress->steps && !atomic_load(&w->arena->failure); i++)
        worker_step(w);
    for (unsigned i = 0; i < OWN && !atomic_load(&w->arena->failure); i++)
        object_end(w, w->own[i]);
    if (design->thread_exit && w->view)
        design->thread_exit(w->view);
    atomic_fetch_sub(&w->arena->running, 1);
    return NULL;
}

static void *upkeep_main(void *arg)
{
    struct arena *arena = arg;
    const struct allocator *design = arena->rig.design;
    uint64_t now_ns = 1;
    for (unsigned i = 0; atomic_load(&arena->running); i++) {
        now_ns += 1000000000;
        if (design->tick)
            design->tick(arena->rig.heap, now_ns);
        if (design->trim && i % 16 == 0)
            design->trim(arena->rig.heap);
    }
    return NULL;
}

static void arena_finish(struct arena *arena)
{
    struct worker last = {.arena = arena, .view = arena->rig.view, .rng = rng_stream(1, 1)};
    const char *failure = atomic_load(&arena->failure);
    if (failure)
        fail_msg("%s:%s: seed %llu: %s", arena->stress->design,
                 arena->stress->options ? arena->stress->options : "",
                 (unsigned long long)arena->stress->seed, failure);
    rig_check(&arena->rig);
    for (unsigned i = 0; i < PLACES; i++)
        object_end(&last, atomic_load(&arena->places[i]));
    rig_check(&arena->rig);
    struct rig_items items = rig_walk(&arena->rig);
    for (size_t i = 0; i < items.count; i++)
        assert_int_not_equal(items.item[i].kind, WALK_LIVE);
    free(items.item);
}

bool stress_applies(const struct allocator *design)
{
    unsigned needs = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE;
    return (design->traits & (needs | ALLOCATOR_FOREIGN | ALLOCATOR_WRAPS)) == needs;
}

void stress_run(const struct stress *stress)
{
    struct arena *arena = test_calloc(1, sizeof *arena);
    struct worker *workers = test_calloc(THREADS_MAX, sizeof *workers);
    pthread_t threads[THREADS_MAX], upkeep;
    const struct rig_setup setup = {.options = stress->options};
    assert_in_range(stress->threads, 1, THREADS_MAX);
    rig_open(&arena->rig, allocator_find(stress->design), &setup);
    arena->stress = stress;
    atomic_store(&arena->running, stress->threads);
    for (unsigned i = 0; i < stress->threads; i++) {
        struct worker *w = &workers[i];
        const struct allocator *design = arena->rig.design;
        *w = (struct worker){.arena = arena, .rng = rng_stream(stress->seed, i)};
        w->view = design->thread_enter ? design->thread_enter(arena->rig.heap) : arena->rig.heap;
        assert_non_null(w->view);
        assert_int_equal(pthread_create(&threads[i], NULL, worker_main, w), 0);
    }
    if (stress->upkeep)
        assert_int_equal(pthread_create(&upkeep, NULL, upkeep_main, arena), 0);
    for (unsigned i = 0; i < stress->threads; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    if (stress->upkeep)
        assert_int_equal(pthread_join(upkeep, NULL), 0);
    arena_finish(arena);
    rig_close(&arena->rig);
    test_free(workers);
    test_free(arena);
}
