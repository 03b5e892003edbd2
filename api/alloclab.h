/*
 * alloclab.h - custom pools: every design of alloclab as a heap that a program opens, uses and
 * destroys. C11 and C++11; alloclab.hpp wraps it for C++. Link with liballoclab.a
 * (`pkg-config --cflags --libs alloclab`).
 *
 *     char why[200];
 *     struct alloclab_heap *heap = alloclab_open("arena", NULL, why, sizeof why);
 *     struct alloclab_heap *frame = alloclab_scope_enter(heap);
 *     void *p = alloclab_alloc(frame, 100, 0);
 *     alloclab_scope_leave(frame);                     p and all else of the frame is gone
 *     alloclab_destroy(heap);
 *
 * Handles. A struct alloclab_heap is a heap, or a view of one: a thread's or a scope's. Objects
 * belong to the handle that they were allocated through. A scope's objects live until they are
 * freed or the scope is left; all others until they are freed or the heap is destroyed. Free,
 * resize and ask about an object through the handle that it was allocated through; with
 * ALLOCLAB_FINDS_OWNER any handle of the calling thread will do, but realloc keeps an object in its
 * scope only through its own.
 *
 * Threads. A heap and its views belong to one thread at a time, and different heaps are
 * independent. With ALLOCLAB_SHARED many threads may use one heap at once, each through a view of
 * its own (alloclab_thread_enter); the heap's own handle is the view of the thread that uses it. An
 * object may be freed by another thread than it was allocated by only with ALLOCLAB_REMOTE_FREE,
 * through the freeing thread's own handle. Scopes belong to the thread of the handle that they were
 * entered from. tick() may run beside other threads of a shared heap; trim, check, walk, stats and
 * destroy want no other call in flight.
 *
 * Sizes are bytes. A request of 0 bytes is one of 1 byte: it has an address of its own, and 1 is
 * the size to say when it is freed. Alignment is a power of two up to ALLOCLAB_MAX_ALIGN, 0 for the
 * 16 bytes that every object has; more than 16 needs ALLOCLAB_ANY_ALIGN.
 *
 * Errors. Functions that return a pointer return NULL and set errno: ENOMEM (no memory, beyond the
 * heap's limit, or a size that overflows), EINVAL (an alignment that is none, or that the design
 * does not have; a resize without the old size where the design needs it), ENOTSUP (the design has
 * no scopes, or cannot be shared). Nothing has changed then. Nothing here prints or exits, except:
 * misuse that a design detects (a double free, ...), and a free without a size where
 * ALLOCLAB_NEEDS_SIZE asks for one, write one line to stderr and abort.
 *
 * Cost: what `alloclab describe DESIGN` says, and one indirect call.
 */
#ifndef ALLOCLAB_H
#define ALLOCLAB_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ALLOCLAB_MAX_ALIGN ((size_t)1 << 20)

struct alloclab_heap;

/* ---- designs ---- */

enum alloclab_promise {
    ALLOCLAB_REUSES = 1,       /* memory of a freed object serves later requests */
    ALLOCLAB_ANY_ALIGN = 2,    /* any alignment up to ALLOCLAB_MAX_ALIGN; without it, up to 16 */
    ALLOCLAB_SHARED = 4,       /* one heap, many threads at once, each with its own view */
    ALLOCLAB_REMOTE_FREE = 8,  /* an object may be freed by another thread */
    ALLOCLAB_FINDS_OWNER = 16, /* any handle of the calling thread frees any object */
    ALLOCLAB_BOUNDED = 32,     /* worst case of alloc and free independent of the heap's state */
    ALLOCLAB_NEEDS_SIZE = 64,  /* free must be given the size, always */
    ALLOCLAB_WRAPS = 128,      /* works on top of another design: open it as "NAME/INNER" */
    ALLOCLAB_FAKE = 256,       /* a measuring aid that manages no memory: cannot be opened */
    ALLOCLAB_FOREIGN = 512,    /* the process's malloc: usage is not counted, limits do not hold */

    ALLOCLAB_SCOPES = 1 << 16, /* scope_enter and scope_leave */
    ALLOCLAB_USABLE = 1 << 17, /* usable() knows; realloc needs no old size */
    ALLOCLAB_TICKS = 1 << 18,  /* has background work: call tick() now and then */
    ALLOCLAB_TRIMS = 1 << 19   /* trim() gives memory back */
};

struct alloclab_design {
    const char *name, *summary, *source; /* one line each; they are never freed */
    unsigned promises;                   /* enum alloclab_promise */
};

/* The i-th design, from 0, in alphabetical order: 1; 0 past the last. O(1). */
int alloclab_design_at(unsigned i, struct alloclab_design *design);
unsigned alloclab_promises(const struct alloclab_heap *heap);

/* ---- heaps ---- */

struct alloclab_config {           /* zeroed: the defaults */
    size_t commit_limit_bytes;     /* requests beyond it fail with ENOMEM; 0 = no limit */
    const char *memory;            /* how pages are had: "thp=on", "numa=bind,node=1", .. */
    uint64_t seed;                 /* of designs that draw random numbers */
    uint64_t (*now_ns)(void *ctx); /* NULL = the monotonic clock */
    unsigned (*cpu)(void *ctx);    /* NULL = the processor that the thread runs on; given, as in a
                                      simulation: one thread plays all */
    void *ctx;                     /* argument of both */
};

/*
 * Opens a heap of the design that `spec` names, with options as on alloclab's command line:
 * "arena", "segfit:cache=1m", "freelist:fit=best,order=address"; designs that wrap another one as
 * "NAME/INNER". `config` may be NULL. NULL: errno is EINVAL if the spec is wrong and ENOMEM if
 * there is no memory, and `error` (may be NULL), `error_bytes` long, has one line that says what.
 */
struct alloclab_heap *alloclab_open(const char *spec, const struct alloclab_config *config,
                                    char *error, size_t error_bytes);
/* Gives all memory back. Scopes and thread views have been left before. NULL does nothing. */
void alloclab_destroy(struct alloclab_heap *heap);

const char *alloclab_name(const struct alloclab_heap *heap);    /* "freelist", "guard/freelist" */
const char *alloclab_options(const struct alloclab_heap *heap); /* all of them, as they are */

/* ---- objects ---- */

void *alloclab_alloc(struct alloclab_heap *heap, size_t size, size_t align);
void *alloclab_zalloc(struct alloclab_heap *heap, size_t size, size_t align); /* zeroed */
/* An array of count * size bytes, zeroed; ENOMEM if the product overflows. */
void *alloclab_calloc(struct alloclab_heap *heap, size_t count, size_t size);

/*
 * Makes the object `size` bytes, in place or by moving it; the smaller of both sizes is kept.
 * `old`: the size requested so far; 0 = not known, which needs ALLOCLAB_USABLE. p == NULL is alloc;
 * size 0 does not free. NULL: p is as before.
 */
void *alloclab_realloc(struct alloclab_heap *heap, void *p, size_t old, size_t size, size_t align);

/* `size`: as requested last, or 0 = not known. p == NULL does nothing. */
void alloclab_free(struct alloclab_heap *heap, void *p, size_t size);

/* Bytes that the object may use, at least those requested; 0 for NULL or without
 * ALLOCLAB_USABLE. */
size_t alloclab_usable(struct alloclab_heap *heap, const void *p);

/* ---- scopes and threads ---- */

/* A scope in a heap, a thread's view or a scope. Scopes nest or interleave; each is left once,
 * which ends all its objects. Its handle is one of them. */
struct alloclab_heap *alloclab_scope_enter(struct alloclab_heap *parent);
void alloclab_scope_leave(struct alloclab_heap *scope);

/* The calling thread's view of a shared heap. It is left when no scope in it is open any more; its
 * objects stay. */
struct alloclab_heap *alloclab_thread_enter(struct alloclab_heap *heap);
void alloclab_thread_leave(struct alloclab_heap *view);

/* ---- the whole heap; any handle of it will do ---- */

void alloclab_tick(struct alloclab_heap *heap); /* background work that is due */
void alloclab_trim(struct alloclab_heap *heap); /* gives back what it can, now */

struct alloclab_memory {
    size_t reserved_bytes, committed_bytes; /* address space; memory. Now */
    size_t peak_reserved_bytes, peak_committed_bytes;
};

struct alloclab_memory alloclab_usage(const struct alloclab_heap *heap);

/* NULL, or the invariant that is broken. O(heap). */
const char *alloclab_check(struct alloclab_heap *heap);

enum alloclab_kind {
    ALLOCLAB_META,  /* the design's own */
    ALLOCLAB_LIVE,  /* the program's; dead objects that the design cannot reuse included */
    ALLOCLAB_FREE,  /* ready for reuse */
    ALLOCLAB_UNUSED /* never handed out yet */
};

typedef void alloclab_walk_fn(void *arg, uintptr_t address, size_t bytes, enum alloclab_kind kind);
typedef void alloclab_stats_fn(void *arg, const char *name, uint64_t value);

/* Tells every committed byte once; `fn` must not use the heap. O(heap). */
void alloclab_walk(struct alloclab_heap *heap, alloclab_walk_fn *fn, void *arg);
/* The design's own counters. */
void alloclab_stats(struct alloclab_heap *heap, alloclab_stats_fn *fn, void *arg);

/* Around fork(2), for heaps that the child goes on using, by the thread that forks: BEFORE, then
 * PARENT in the one and CHILD in the other process. Other threads may be in the heap; what they are
 * in the middle of is finished before. Their views are of no use in the child. */
enum alloclab_fork_step { ALLOCLAB_FORK_BEFORE, ALLOCLAB_FORK_PARENT, ALLOCLAB_FORK_CHILD };
void alloclab_fork(struct alloclab_heap *heap, enum alloclab_fork_step when);

/* ---- object caches ---- */

/*
 * A cache of objects of one kind that keep their constructed state while they are free: what a
 * constructor sets up (a lock, a list head, a buffer) is set up once, and not at every use. Any
 * threads may use it at once. Source: Bonwick, "The Slab Allocator" (USENIX 1994).
 */
struct alloclab_cache;
typedef void alloclab_object_fn(void *object, void *arg);

/*
 * `size` up to 1 MiB, `align` a power of two up to 8 KiB or 0 for 16 bytes. `ctor` is called of an
 * object before it is first had, `dtor` before its memory goes back; both may be NULL, must not use
 * this cache's handle before create() has returned, and cannot fail. `name` is told in reports of
 * misuse. `config` may be NULL; its seed and cpu do not count. NULL: errno is EINVAL or ENOMEM.
 */
struct alloclab_cache *alloclab_cache_create(const char *name, size_t size, size_t align,
                                             alloclab_object_fn *ctor, alloclab_object_fn *dtor,
                                             void *arg, const struct alloclab_config *config);
/* Gives all memory back; returns how many objects were still out: their memory is gone, and their
 * destructor is not called. NULL does nothing. No other call in flight. */
size_t alloclab_cache_destroy(struct alloclab_cache *cache);

void *alloclab_cache_get(struct alloclab_cache *cache); /* NULL: ENOMEM */
/* In its constructed state. NULL does nothing; what is no object of this cache ends the program. */
void alloclab_cache_put(struct alloclab_cache *cache, void *object);
void alloclab_cache_tick(struct alloclab_cache *cache); /* gives back what was free for a second */
void alloclab_cache_reap(struct alloclab_cache *cache); /* gives back what is free, now */
struct alloclab_memory alloclab_cache_usage(const struct alloclab_cache *cache);
const char *alloclab_cache_check(struct alloclab_cache *cache); /* as alloclab_check() */
void alloclab_cache_fork(struct alloclab_cache *cache, enum alloclab_fork_step when);

#ifdef __cplusplus
}
#endif

#endif
