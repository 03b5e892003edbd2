/*
 * allocator.h - the contract between an allocator design and everything that uses one.
 *
 * Whoever reads this page can write an allocator: put allocators/NAME.c into the folder, end it
 * with ALLOCATOR(NAME) = { ... }, and it is registered, tested, replayed, drawn and documented.
 *
 * Rules that hold for every function below
 *  - State lives in the heap, in memory taken through the door (os.h); the object file has no
 *    writable data. A design may waste memory, but it cannot hide any.
 *  - Nothing prints or exits. Out of memory is NULL. Misuse that the design detects ends in
 *    misuse_abort() (misuse.h): one line on stderr, then abort().
 *  - Edge cases are settled by the caller, once: size is > 0, align is a power of two >= 1,
 *    pointers given to free, realloc and usable are not NULL, and products have not overflowed.
 *  - Threads: without ALLOCATOR_SHARED a heap and all its views belong to one thread at a time.
 *    With it, each thread uses its own view, and different views may be used at the same time.
 *
 * Views. thread_enter and scope_enter return a *view*, again a struct heap: what is allocated
 * through a scope's view belongs to the scope and is gone after scope_exit. alloc takes the view of
 * the current scope of the calling thread (the thread's own view outside scopes). free, realloc and
 * usable take the calling thread's view; realloc keeps the object in its scope. A design without
 * ALLOCATOR_FINDS_OWNER gets the view of the object's own scope there instead. Scopes may nest or
 * interleave; each is exited once, and before the root heap is destroyed.
 */
#ifndef ALLOCLAB_ALLOCATOR_H
#define ALLOCLAB_ALLOCATOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap; /* each design defines its own */
struct option;
struct os;

/* Alignment that malloc promises, and that every design gives however small `align` is. Bytes. */
#define ALLOCATOR_ALIGN ((size_t)16)

/* Promises that no pointer can express; the conformance test executes each. */
enum allocator_trait {
    ALLOCATOR_REUSES = 1,       /* memory of a freed object serves later requests */
    ALLOCATOR_ANY_ALIGN = 2,    /* any power of two up to 1 MiB; without it, up to 16 bytes */
    ALLOCATOR_SHARED = 4,       /* one heap, many threads at once, each with its own view */
    ALLOCATOR_REMOTE_FREE = 8,  /* an object may be freed through another thread's view */
    ALLOCATOR_FINDS_OWNER = 16, /* finds an object's scope from its address */
    ALLOCATOR_BOUNDED = 32,     /* worst case of alloc and free independent of the heap's state */
    ALLOCATOR_NEEDS_SIZE = 64,  /* free must be given the size, always */
    ALLOCATOR_WRAPS = 128,      /* composition: works on top of env->inner (guard/freelist) */
    ALLOCATOR_FAKE = 256,       /* hands out memory that it does not manage: only a floor */
    ALLOCATOR_FOREIGN = 512,    /* memory does not come through the door: nothing is committed */
};

enum walk_kind {
    WALK_META,   /* the design's own */
    WALK_LIVE,   /* usable by the program, dead objects that the design cannot reuse included */
    WALK_FREE,   /* ready for reuse */
    WALK_UNUSED, /* never handed out yet */
};

struct walk_item {
    uintptr_t address;
    size_t bytes;
    enum walk_kind kind;
    size_t class_bytes; /* what blocks of the item's size class can hold, or the block it is in;
                           0: of no class (page runs, a rest to carve, the design's tables) */
    unsigned owner;     /* scope or thread, design's own numbering; 0 = root */
};

typedef void walk_fn(void *arg, const struct walk_item *item);
typedef void stats_fn(void *arg, const char *name, uint64_t value);

/* When fork() of the contract is called, always by the thread that forks. */
enum allocator_fork { ALLOCATOR_FORK_BEFORE, ALLOCATOR_FORK_PARENT, ALLOCATOR_FORK_CHILD };

struct alloc_env {              /* all that a design may depend on; outlives the heap */
    struct os *os;              /* the door: the only source of memory */
    const void *options;        /* parsed by the design's option rows; never NULL if it has any */
    uint64_t seed;              /* for randomised designs */
    uint64_t (*now_ns)(void *); /* virtual in observing passes, so that runs repeat exactly */
    unsigned (*cpu)(void *);    /* likewise */
    void *ctx;                  /* argument of now_ns and cpu */
    bool observed; /* they are virtual: one thread plays all threads, and runs must repeat */
    const struct allocator *design; /* the design that this env is for */
    const struct alloc_env *inner; /* composition: env (and design) of the wrapped one; else NULL */
};

struct allocator {
    const char *name, *summary, *source; /* file stem; one line; the paper or design it follows */
    unsigned traits;
    size_t options_size;          /* sizeof the design's option struct; 0 without options */
    const struct option *options; /* rows, ended by one with a NULL name; NULL without options */

    struct heap *(*create)(const struct alloc_env *env); /* NULL = no memory */
    void (*destroy)(struct heap *heap);                  /* gives everything back to the door */
    void *(*alloc)(struct heap *view, size_t size, size_t align);
    void (*free)(struct heap *view, void *p, size_t size); /* size 0 = unknown */

    /* Optional: NULL = absent; the caller supplies the generic behaviour or says why it cannot. */

    /* Zeroed memory, where that is cheaper than memset. */
    void *(*zalloc)(struct heap *view, size_t size, size_t align);
    /* `old` is the size requested so far. NULL = no memory, and p stays valid. */
    void *(*realloc)(struct heap *view, void *p, size_t old, size_t size, size_t align);
    /* Bytes that the program may use, at least those requested. */
    size_t (*usable)(struct heap *view, const void *p);
    /* The parent is a thread's view, the root, or a scope's view. */
    struct heap *(*scope_enter)(struct heap *parent);
    void (*scope_exit)(struct heap *view);
    struct heap *(*thread_enter)(struct heap *root);
    /* What the thread leaves, free memory and the view itself, is there for threads that come later:
     * a heap holds no more, however many have ended. Objects in use stay. */
    void (*thread_exit)(struct heap *view);
    /* Background work; never a thread of its own. */
    void (*tick)(struct heap *root, uint64_t now_ns);
    /* Give back what you can, now. */
    void (*trim)(struct heap *root);
    /* Around fork(2), for ALLOCATOR_SHARED: BEFORE waits until nobody is inside and keeps others
     * out, but for those on whose work the child can do without; PARENT and CHILD let them in
     * again. In the child only the caller's view has a thread; what other threads' views hold may
     * be lost to it, but nothing may be damaged. */
    void (*fork)(struct heap *root, enum allocator_fork when);

    /* Observation: on the root heap, with no other call in flight; never timed. */

    /* Every committed byte exactly once. */
    void (*walk)(struct heap *root, walk_fn *fn, void *arg);
    /* NULL, or the invariant that is broken. */
    const char *(*check)(struct heap *root);
    /* What the machine made the heap choose ("per-cpu caches by rseq"), NULL if nothing. It
     * changes only if the machine takes it back. */
    const char *(*mode)(struct heap *root);
    /* Counters kept on slow paths only. */
    void (*stats)(struct heap *root, stats_fn *fn, void *arg);
};

/* Defines and registers the design: ALLOCATOR(bump) = { .name = "bump", ... }; */
#define ALLOCATOR(stem) const struct allocator allocator_##stem

#endif
