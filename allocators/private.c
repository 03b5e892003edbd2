/*
 * private.c - pure private heaps: every thread has free lists of its own, and nobody ever looks
 * into another's. Nothing could be simpler or faster for threads that free what they allocate, and
 * nothing is worse for a producer and a consumer: this design is here to show both.
 *
 *     view (thread)                                        pages (one lock)
 *     class c   free   b -> b -> b                          free runs
 *               chunk  | obj | obj | obj | not carved yet |  <=>  one chunk at a time, never back
 *
 * Objects have no header. An object's class is found by masking its address (lib/pages.h). Classes
 * are those of lib/size_class.h up to `small`; what is larger is a run of 8-KiB units, shared by
 * all and given back when it is freed.
 *
 * alloc pops the calling thread's list of the class; when that is empty, the thread carves the next
 * few objects of its chunk, or takes another chunk. free pushes onto the list of the thread that
 * frees, whoever allocated the object: it has changed hands. There is no way back. What one thread
 * allocates and another frees piles up in the latter's lists, while the former goes on taking new
 * chunks, so that a program with one live object at a time may hold all that it ever allocated.
 * Berger et al. call that unbounded blowup: a ratio of memory held to memory needed that grows for
 * as long as the program runs. Even where all threads free what they allocate, N of them that do so
 * in turn hold N times what is needed. `hoard` bounds both by ownership and a global heap, `segfit`
 * by central lists.
 *
 * A thread that leaves keeps its lists in its view, and the next thread that enters takes that view
 * as it is, the one left last first. Memory of small objects never goes back to the kernel.
 *
 * Invariants: those of lib/pages.h, and
 *   1. No more objects of a chunk are carved than fit.
 *   2. A list is as long as it counts.
 *   3. The sealed objects of a class are those in the views' lists, by number.
 *
 * Cost. alloc and free: some 30 instructions without an atomic read-modify-write, a fence or a
 * lock, whichever thread allocated the object. Carving is O(objects in 8 KiB), and every `chunk`
 * bytes there is the pages' lock. Large objects: that lock. Space: no bound exists.
 *
 * Source: Berger, McKinley, Blumofe, Wilson, Hoard (2000), who name and compare the kinds of heaps,
 * pure private heaps among them; such were Cilk 4.1's and the SGI STL's per-thread allocators.
 *
 * Trade-off: no synchronisation at all, for memory without a bound.
 *
 * Detected, in exact words, at the free: an object that is free already, "double free"; an address
 * that is no object's, "invalid free"; a size that the object is too small for, or that a large
 * object cannot have had, "wrong size". A free object that was written over in its first 16 bytes:
 * "corrupted free block", when it is next taken. Not seen: the free of an address where an object
 * would begin that was never handed out, or one more than the chunk holds.
 *
 * Threads. A view is written by its owner alone, inside the view's gate (lib/gate.h), which costs
 * plain loads and stores and which only fork closes. A chunk's count of carved objects is written
 * by the view that carves it and read by nobody but the observers. A free reads the info of the
 * object's unit (lib/pages.h argues why that needs no lock) and writes to the object, which is the
 * caller's. The list of views has a lock. Lock order: views, pages. fork waits until nobody is
 * inside a gate, and holds both locks; where the kernel has no membarrier, gates cannot be closed,
 * and a child must not look at the lists of threads that it does not have.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bulk.h"
#include "allocators/lib/central.h"
#include "allocators/lib/gate.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"
#include "allocators/lib/pages.h"
#include "allocators/lib/size_class.h"

/* ---- options ---- */

struct private_options {
    uint64_t chunk, small;
};

static const struct option private_options[] = {
    {.name = "chunk",
     .type = OPTION_SIZE,
     .offset = offsetof(struct private_options, chunk),
     .fallback = "64k",
     .min = 8192,
     .max = 4 << 20,
     .summary = "bytes that a thread takes at once, or one object if that is larger"},
    {.name = "small",
     .type = OPTION_SIZE,
     .offset = offsetof(struct private_options, small),
     .fallback = "64k",
     .min = 16,
     .max = 64 << 10,
     .summary = "largest object that is kept in lists, in bytes"},
    {.name = NULL},
};

/* ---- types ---- */

enum {
    CLASSES = 80,
    TAGS = CLASSES + 1, /* a chunk's tag is its class + 1; 0 is TAG_NONE */
};

#define SMALL_MAX ((size_t)64 * 1024)
_Static_assert((size_t)(CLASSES) == (16 - 7) * 8 + 8, "eight classes a doubling, from 128 to 64 K");

struct bin {
    struct block *head;
    struct span *chunk; /* the one that is being carved; NULL at first */
    size_t count;       /* of the list */
};

struct heap { /* a view */
    struct gate gate;
    uintptr_t secret;
    struct private *shared;
    struct list link; /* in `views` */
    struct heap *next_idle;
    struct bin bins[TAGS]; /* by tag */
};
_Static_assert(sizeof(struct heap) <= UNIT_BYTES, "a view takes one unit");

struct private
{
    struct heap root;
    struct private_options opt;
    bool visits; /* gates can be closed here */
    struct lock views_lock;
    struct list views;  /* all, the root too */
    struct heap *idle;  /* those that no thread has, the one left last first */
    uint64_t inherited; /* views taken over */
    struct pages pages;
};

/* Free runs of large objects go back after so long, or beyond so many. */
static const uint64_t age_ns = 1000000000;
static const size_t limit_bytes = (size_t)128 << 20;

/* ---- block geometry ---- */

static size_t bytes_of(unsigned tag)
{
    return size_class_bytes(tag - 1);
}

static bool is_small(const struct private *s, size_t size, size_t align)
{
    return size <= s->opt.small && align <= UNIT_BYTES;
}

static size_t chunk_objects(const struct private *s, unsigned tag)
{
    return size_max(s->opt.chunk / bytes_of(tag), 1);
}

/* ---- free structure ---- */

static inline void bin_push(struct heap *v, struct bin *bin, struct block *b)
{
    block_link(v->secret, b, bin->head);
    bin->head = b;
    bin->count++;
}

static inline void *bin_pop(struct heap *v, struct bin *bin)
{
    struct block *b = bin->head;
    bin->head = block_next("private", v->secret, b);
    bin->count--;
    b->seal = 0; /* no more a free object's */
    return b;
}

/* Enters, after the fork if there is one. */
static void view_enter(struct heap *v)
{
    while (!gate_enter(&v->gate)) {
        gate_leave(&v->gate);
        lock_take(&v->shared->views_lock);
        lock_give(&v->shared->views_lock);
    }
}

/* ---- growth ---- */

/* The next objects of the chunk go to the list, the lowest first. */
static void bin_carve(struct heap *v, struct bin *bin, size_t bytes, size_t objects)
{
    struct span *chunk = bin->chunk;
    size_t count = size_min(size_max(UNIT_BYTES / bytes, 1), objects - chunk->carved);
    size_t from = chunk->carved * bytes, to = from + count * bytes;
    span_publish(chunk, align_up(from, UNIT_BYTES) >> UNIT_SHIFT,
                 align_up(to, UNIT_BYTES) >> UNIT_SHIFT);
    for (size_t at = to; at > from; at -= bytes)
        bin_push(v, bin, (struct block *)(void *)(span_start(chunk) + at - bytes));
    chunk->carved += (uint32_t)count;
}

static bool bin_grow(struct heap *v, unsigned tag)
{
    struct private *s = v->shared;
    struct bin *bin = &v->bins[tag];
    size_t bytes = bytes_of(tag), objects = chunk_objects(s, tag);
    if (!bin->chunk || bin->chunk->carved == objects) {
        struct span *chunk =
            pages_take(&s->pages, align_up(objects * bytes, UNIT_BYTES) >> UNIT_SHIFT, 1, tag);
        if (!chunk)
            return false;
        chunk->carved = 0;
        bin->chunk = chunk;
    }
    bin_carve(v, bin, bytes, objects);
    return true;
}

/* ---- alloc, free, realloc ---- */

static __attribute__((noinline)) void *alloc_slow(struct heap *v, unsigned tag)
{
    void *p = NULL;
    view_enter(v);
    if (v->bins[tag].head || bin_grow(v, tag))
        p = bin_pop(v, &v->bins[tag]);
    gate_leave(&v->gate);
    return p;
}

static void *private_alloc(struct heap *v, size_t size, size_t align)
{
    if (!is_small(v->shared, size, align))
        return bulk_alloc(&v->shared->pages, size, align);
    unsigned tag = size_class_aligned(size, align) + 1;
    if (__builtin_expect(!gate_enter(&v->gate) || !v->bins[tag].head, 0))
        return alloc_slow(v, tag);
    void *p = bin_pop(v, &v->bins[tag]);
    gate_leave(&v->gate);
    return p;
}

/* What begins at `p`; ends the program if nothing in use does. */
static struct found object_find(struct heap *v, const void *p)
{
    struct found f = bulk_find(&v->shared->pages, "private", p);
    if (found_bulk(&f))
        return f;
    f.bytes = bytes_of(f.tag);
    if (f.offset % (uint32_t)f.bytes)
        misuse_abort("private", "invalid free", p);
    if (block_is_sealed(v->secret, p))
        misuse_abort("private", "double free", p);
    return f;
}

static void private_free(struct heap *v, void *p, size_t size)
{
    struct found f = object_find(v, p);
    if (found_bulk(&f)) {
        bulk_free(&v->shared->pages, "private", &f, p, size);
        return;
    }
    if (size > f.bytes)
        misuse_abort("private", "wrong size", p);
    if (__builtin_expect(!gate_enter(&v->gate), 0))
        view_enter(v);
    bin_push(v, &v->bins[f.tag], p);
    gate_leave(&v->gate);
}

static void *private_realloc(struct heap *v, void *p, size_t old, size_t size, size_t align)
{
    struct private *s = v->shared;
    struct found f = object_find(v, p);
    bool stays = found_bulk(&f) ? bulk_resize(&s->pages, &f, p, size, s->opt.small)
                                : size <= f.bytes && size > f.bytes / 2;
    if (stays && is_aligned((uintptr_t)p, align))
        return p;
    void *moved = private_alloc(v, size, align);
    if (moved) {
        memcpy(moved, p, size_min(size, size_min(old, f.bytes)));
        private_free(v, p, 0);
    }
    return moved;
}

static size_t private_usable(struct heap *v, const void *p)
{
    return object_find(v, p).bytes;
}

/* ---- threads, tick, trim, fork ---- */

static struct heap *private_thread_enter(struct heap *root)
{
    struct private *s = root->shared;
    lock_take(&s->views_lock);
    struct heap *v = s->idle;
    if (v) {
        s->idle = v->next_idle;
        s->inherited++;
    } else {
        struct span *span = pages_take(&s->pages, 1, 1, TAG_META);
        if (span) {
            v = memset(span_start(span), 0, sizeof *v);
            v->secret = s->root.secret;
            v->shared = s;
            list_insert_before(&s->views, &v->link);
        }
    }
    lock_give(&s->views_lock);
    return v;
}

static void private_thread_exit(struct heap *v)
{
    struct private *s = v->shared;
    lock_take(&s->views_lock);
    v->next_idle = s->idle;
    s->idle = v;
    lock_give(&s->views_lock);
}

/* Both are about large objects only. */
static void private_tick(struct heap *root, uint64_t now_ns)
{
    pages_tick(&root->shared->pages, now_ns);
}

static void private_trim(struct heap *root)
{
    pages_trim(&root->shared->pages);
}

static struct gate *gate_of(struct list *link)
{
    return &LIST_ENTRY(link, struct heap, link)->gate;
}

static void private_fork(struct heap *root, enum allocator_fork when)
{
    struct private *s = root->shared;
    if (when == ALLOCATOR_FORK_BEFORE) {
        lock_take(&s->views_lock);
        for (struct list *l = s->views.next; l != &s->views && s->visits; l = l->next)
            gate_close(gate_of(l));
        s->visits = s->visits && gates_fence();
        for (struct list *l = s->views.next; l != &s->views && s->visits; l = l->next)
            gate_wait(gate_of(l));
        pages_fork_before(&s->pages);
        return;
    }
    pages_fork_after(&s->pages);
    for (struct list *l = s->views.next; l != &s->views; l = l->next)
        gate_reopen(gate_of(l));
    lock_give(&s->views_lock);
}

/* ---- create, destroy ---- */

static struct heap *private_create(const struct alloc_env *env)
{
    struct private *s = os_map(env->os, sizeof *s, 1);
    if (!s)
        return NULL;
    s->opt = *(const struct private_options *)env->options;
    s->pages.os = env->os;
    s->pages.policy = RETURN_DECOMMIT;
    s->pages.age_ns = age_ns;
    s->pages.limit_units = limit_bytes >> UNIT_SHIFT;
    s->pages.now_ns = env->now_ns(env->ctx);
    if (!pages_open(&s->pages)) {
        os_release(env->os, s, sizeof *s);
        return NULL;
    }
    s->visits = gates_open();
    s->root.secret = (env->seed + 1) * UINT64_C(0x9E3779B97F4A7C15);
    s->root.shared = s;
    list_init(&s->views);
    list_insert_before(&s->views, &s->root.link);
    return &s->root;
}

static void private_destroy(struct heap *root)
{
    struct private *s = root->shared;
    struct os *os = s->pages.os;
    pages_close(&s->pages);
    os_release(os, s, sizeof *s);
}

/* ---- walk, check, stats ---- */

static void private_walk(struct heap *root, walk_fn *fn, void *arg)
{
    const struct private *s = root->shared;
    fn(arg, &(struct walk_item){.address = (uintptr_t)s,
                                .bytes = align_up(sizeof *s, os_page_bytes()),
                                .kind = WALK_META});
    bulk_walk(&s->pages, s->root.secret, fn, arg);
}

struct check_state {
    struct private *s;
    const char *broken;
    size_t sealed[TAGS]; /* objects that no list has told of yet */
};

static void span_check(void *arg, struct span *span)
{
    struct check_state *state = arg;
    if (span->tag > CLASSES)
        return;
    size_t bytes = bytes_of(span->tag);
    if (span->carved > chunk_objects(state->s, span->tag) ||
        span->carved * bytes > span->units * UNIT_BYTES) {
        state->broken = "chunks: one has more objects than fit";
        return;
    }
    for (size_t i = 0; i < span->carved; i++)
        state->sealed[span->tag] +=
            block_is_sealed(state->s->root.secret,
                            (const struct block *)(const void *)(span_start(span) + i * bytes));
}

static const char *bin_check(const struct heap *v, const struct bin *bin, size_t *sealed)
{
    size_t n = 0;
    for (const struct block *b = bin->head; b && n <= bin->count; b = b->next, n++)
        if (!block_is_sealed(v->secret, b))
            return "lists: a free object is not sealed";
    if (n != bin->count)
        return "lists: a count is wrong";
    if (*sealed < n)
        return "lists: they hold more than the free objects";
    *sealed -= n;
    return NULL;
}

static const char *private_check(struct heap *root)
{
    struct private *s = root->shared;
    struct check_state state = {.s = s, .broken = pages_check(&s->pages)};
    if (!state.broken)
        pages_each(&s->pages, span_check, &state);
    for (unsigned tag = 1; tag < TAGS && !state.broken; tag++) {
        for (struct list *l = s->views.next; l != &s->views && !state.broken; l = l->next) {
            const struct heap *v = LIST_ENTRY(l, struct heap, link);
            state.broken = bin_check(v, &v->bins[tag], &state.sealed[tag]);
        }
        if (!state.broken && state.sealed[tag])
            state.broken = "lists: they do not hold all free objects";
    }
    return state.broken;
}

static void private_stats(struct heap *root, stats_fn *fn, void *arg)
{
    struct private *s = root->shared;
    size_t views = 0, idle = 0, listed = 0;
    for (struct list *l = s->views.next; l != &s->views; l = l->next) {
        views++;
        for (unsigned tag = 1; tag < TAGS; tag++)
            listed += LIST_ENTRY(l, struct heap, link)->bins[tag].count * bytes_of(tag);
    }
    for (const struct heap *v = s->idle; v; v = v->next_idle)
        idle++;
    fn(arg, "views", views);
    fn(arg, "views_idle", idle);
    fn(arg, "views_inherited", s->inherited);
    fn(arg, "listed_bytes", listed);
    fn(arg, "pages_lock_waits", s->pages.lock.waits);
    fn(arg, "segments", s->pages.segment_count);
    fn(arg, "commits", s->pages.commits);
    fn(arg, "returned_bytes", s->pages.returned_units * UNIT_BYTES);
}

ALLOCATOR(private) = {
    .name = "private",
    .summary = "pure private heaps: free goes to the freeing thread's lists and never back",
    .source = "Berger, McKinley, Blumofe, Wilson 2000 (taxonomy); Cilk 4.1; SGI STL",
    .traits = ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN |
              ALLOCATOR_FINDS_OWNER,
    .options_size = sizeof(struct private_options),
    .options = private_options,
    .create = private_create,
    .destroy = private_destroy,
    .alloc = private_alloc,
    .free = private_free,
    .realloc = private_realloc,
    .usable = private_usable,
    .thread_enter = private_thread_enter,
    .thread_exit = private_thread_exit,
    .tick = private_tick,
    .trim = private_trim,
    .fork = private_fork,
    .walk = private_walk,
    .check = private_check,
    .stats = private_stats,
};
