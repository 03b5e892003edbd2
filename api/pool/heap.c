/*
 * heap.c - the pool library: handles over the views of a design, and the edge cases that the
 * contract leaves to its callers, settled once.
 *
 *     alloclab_open():  pool { root handle, door, spec, one env for each design }    from malloc
 *     scope handle      the first object of its own scope: it ends with the scope
 *     thread handle     from malloc
 *
 * A handle has two views: that which it allocates from, and that which the contract wants for free,
 * realloc and usable: the thread's if the design finds an object's scope from its address, else the
 * object's own scope's, which is this handle's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/generic.h"
#include "allocators/lib/misuse.h"
#include "allocators/lib/os.h"
#include "api/alloclab.h"
#include "api/env.h"
#include "api/pool/design_spec.h"
#include "api/pool/door.h"

#define SAME(name) ((unsigned)ALLOCLAB_##name == (unsigned)ALLOCATOR_##name)
_Static_assert(SAME(REUSES) && SAME(ANY_ALIGN) && SAME(SHARED) && SAME(REMOTE_FREE) &&
                   SAME(FINDS_OWNER) && SAME(BOUNDED) && SAME(NEEDS_SIZE) && SAME(WRAPS) &&
                   SAME(FAKE) && SAME(FOREIGN),
               "promises are the contract's traits");
_Static_assert((unsigned)ALLOCLAB_META == WALK_META && (unsigned)ALLOCLAB_LIVE == WALK_LIVE &&
                   (unsigned)ALLOCLAB_FREE == WALK_FREE && (unsigned)ALLOCLAB_UNUSED == WALK_UNUSED,
               "kinds are the contract's");
_Static_assert(SAME(FORK_BEFORE) && SAME(FORK_PARENT) && SAME(FORK_CHILD), "and so are these");

struct alloclab_heap {
    const struct allocator *design;
    struct heap *view;      /* to allocate from */
    struct heap *free_view; /* for free, realloc and usable */
    struct heap *thread;    /* the thread's view */
    struct pool *pool;
};

struct pool {
    struct alloclab_heap root;
    struct os *os;
    struct spec spec;
    struct alloc_env envs[SPEC_MAX_DEPTH];
};

/* ---- designs ---- */

static unsigned design_promises(const struct allocator *design)
{
    return design->traits | (design->scope_enter ? ALLOCLAB_SCOPES : 0) |
           (design->usable ? ALLOCLAB_USABLE : 0) | (design->tick ? ALLOCLAB_TICKS : 0) |
           (design->trim ? ALLOCLAB_TRIMS : 0);
}

int alloclab_design_at(unsigned i, struct alloclab_design *design)
{
    unsigned n = 0;
    while (n < i && allocators[n])
        n++;
    if (!allocators[n])
        return 0;
    const struct allocator *a = allocators[n];
    *design = (struct alloclab_design){a->name, a->summary, a->source, design_promises(a)};
    return 1;
}

unsigned alloclab_promises(const struct alloclab_heap *heap)
{
    return design_promises(heap->design);
}

/* ---- heaps ---- */

/* An errno value; 0 and the pool is open. */
static int pool_open(struct pool *pool, const char *text, const struct alloclab_config *config,
                     struct error *err)
{
    if (spec_parse(text, &pool->spec, err))
        return EINVAL;
    const struct allocator *design = pool->spec.design;
    if (design->traits & ALLOCATOR_FAKE) {
        error_set(err, "%s hands out memory that it does not manage: it measures, and cannot serve",
                  design->name);
        return EINVAL;
    }
    int status = door_open(&pool->os, config, err);
    if (status)
        return status;
    struct alloc_env common = {.os = pool->os,
                               .seed = config->seed,
                               .now_ns = config->now_ns ? config->now_ns : env_now_ns,
                               .cpu = config->cpu ? config->cpu : env_cpu,
                               .ctx = config->ctx,
                               .observed = config->cpu != NULL};
    if (!spec_envs(&pool->spec, &common, pool->envs)) {
        error_set(err, "%s: more than %d designs in one composition", text, SPEC_MAX_DEPTH);
        return EINVAL;
    }
    struct heap *heap = design->create(pool->envs);
    if (!heap) {
        error_set(err, "%s: no memory for a heap%s", text,
                  config->commit_limit_bytes ? " within the commit limit" : "");
        return ENOMEM;
    }
    pool->root = (struct alloclab_heap){design, heap, heap, heap, pool};
    return 0;
}

static void pool_free(struct pool *pool)
{
    if (pool->os)
        os_close(pool->os);
    spec_free(&pool->spec);
    free(pool);
}

struct alloclab_heap *alloclab_open(const char *spec, const struct alloclab_config *config,
                                    char *error, size_t error_bytes)
{
    static const struct alloclab_config defaults = {0};
    struct error err = {"no memory for a heap"};
    struct pool *pool = calloc(1, sizeof *pool);
    int status = pool ? pool_open(pool, spec, config ? config : &defaults, &err) : ENOMEM;
    if (!status)
        return &pool->root;
    if (error && error_bytes)
        snprintf(error, error_bytes, "%s", err.text);
    if (pool)
        pool_free(pool);
    errno = status;
    return NULL;
}

void alloclab_destroy(struct alloclab_heap *heap)
{
    if (!heap)
        return;
    struct pool *pool = heap->pool;
    pool->root.design->destroy(pool->root.view);
    pool_free(pool);
}

const char *alloclab_name(const struct alloclab_heap *heap)
{
    return heap->pool->spec.name;
}

const char *alloclab_options(const struct alloclab_heap *heap)
{
    return heap->pool->spec.options_text;
}

/* ---- objects ---- */

static void *refuse(int status)
{
    errno = status;
    return NULL;
}

static void *result(void *p)
{
    if (__builtin_expect(!p, 0))
        errno = ENOMEM;
    return p;
}

/* Makes the request one that the contract allows; 0, or what is wrong with it. */
static inline int request_settle(const struct alloclab_heap *h, size_t *size, size_t *align)
{
    if (__builtin_expect(*size - 1 >= PTRDIFF_MAX, 0)) { /* 0 is one, too */
        if (*size)
            return ENOMEM;
        *size = 1;
    }
    if (__builtin_expect(*align <= 1, 1)) {
        *align = ALLOCATOR_ALIGN;
        return 0;
    }
    size_t most = h->design->traits & ALLOCATOR_ANY_ALIGN ? ALLOCLAB_MAX_ALIGN : ALLOCATOR_ALIGN;
    return *align & (*align - 1) || *align > most ? EINVAL : 0;
}

void *alloclab_alloc(struct alloclab_heap *heap, size_t size, size_t align)
{
    int status = request_settle(heap, &size, &align);
    if (status)
        return refuse(status);
    return result(heap->design->alloc(heap->view, size, align));
}

void *alloclab_zalloc(struct alloclab_heap *heap, size_t size, size_t align)
{
    int status = request_settle(heap, &size, &align);
    if (status)
        return refuse(status);
    return result(generic_zalloc(heap->design, heap->view, size, align));
}

void *alloclab_calloc(struct alloclab_heap *heap, size_t count, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes))
        return refuse(ENOMEM);
    return alloclab_zalloc(heap, bytes, 0);
}

void *alloclab_realloc(struct alloclab_heap *heap, void *p, size_t old, size_t size, size_t align)
{
    if (!p)
        return alloclab_alloc(heap, size, align);
    int status = request_settle(heap, &size, &align);
    if (status)
        return refuse(status);
    if (!old && !heap->design->usable)
        return refuse(EINVAL);
    if (!old)
        old = heap->design->usable(heap->free_view, p);
    return result(generic_realloc(heap->design, heap->free_view, heap->view, p, old, size, align));
}

void alloclab_free(struct alloclab_heap *heap, void *p, size_t size)
{
    if (!p)
        return;
    if (__builtin_expect(!size && heap->design->traits & ALLOCATOR_NEEDS_SIZE, 0))
        misuse_abort(heap->design->name, "free without the size that the design needs", p);
    heap->design->free(heap->free_view, p, size);
}

size_t alloclab_usable(struct alloclab_heap *heap, const void *p)
{
    return p && heap->design->usable ? heap->design->usable(heap->free_view, p) : 0;
}

/* ---- scopes and threads ---- */

struct alloclab_heap *alloclab_scope_enter(struct alloclab_heap *parent)
{
    const struct allocator *design = parent->design;
    if (!design->scope_enter)
        return refuse(ENOTSUP);
    struct heap *view = design->scope_enter(parent->view);
    if (!view)
        return refuse(ENOMEM);
    struct alloclab_heap *scope = design->alloc(view, sizeof *scope, ALLOCATOR_ALIGN);
    if (!scope) {
        design->scope_exit(view);
        return refuse(ENOMEM);
    }
    bool finds = design->traits & ALLOCATOR_FINDS_OWNER;
    *scope = (struct alloclab_heap){design, view, finds ? parent->thread : view, parent->thread,
                                    parent->pool};
    return scope;
}

void alloclab_scope_leave(struct alloclab_heap *scope)
{
    scope->design->scope_exit(scope->view);
}

struct alloclab_heap *alloclab_thread_enter(struct alloclab_heap *heap)
{
    const struct alloclab_heap *root = &heap->pool->root;
    if (!(root->design->traits & ALLOCATOR_SHARED))
        return refuse(ENOTSUP);
    struct alloclab_heap *handle = malloc(sizeof *handle);
    if (!handle)
        return refuse(ENOMEM);
    struct heap *view =
        root->design->thread_enter ? root->design->thread_enter(root->view) : root->view;
    if (!view) {
        free(handle);
        return refuse(ENOMEM);
    }
    *handle = (struct alloclab_heap){root->design, view, view, view, heap->pool};
    return handle;
}

void alloclab_thread_leave(struct alloclab_heap *view)
{
    if (view->design->thread_exit)
        view->design->thread_exit(view->view);
    free(view);
}

/* ---- the whole heap ---- */

void alloclab_tick(struct alloclab_heap *heap)
{
    const struct pool *pool = heap->pool;
    if (heap->design->tick)
        heap->design->tick(pool->root.view, pool->envs[0].now_ns(pool->envs[0].ctx));
}

void alloclab_trim(struct alloclab_heap *heap)
{
    if (heap->design->trim)
        heap->design->trim(heap->pool->root.view);
}

struct alloclab_memory alloclab_usage(const struct alloclab_heap *heap)
{
    return door_usage(heap->pool->os);
}

const char *alloclab_check(struct alloclab_heap *heap)
{
    return heap->design->check ? heap->design->check(heap->pool->root.view) : NULL;
}

struct walker {
    alloclab_walk_fn *fn;
    void *arg;
};

static void item_tell(void *arg, const struct walk_item *item)
{
    const struct walker *w = arg;
    w->fn(w->arg, item->address, item->bytes, (enum alloclab_kind)item->kind);
}

void alloclab_walk(struct alloclab_heap *heap, alloclab_walk_fn *fn, void *arg)
{
    struct walker w = {fn, arg};
    if (heap->design->walk)
        heap->design->walk(heap->pool->root.view, item_tell, &w);
}

void alloclab_stats(struct alloclab_heap *heap, alloclab_stats_fn *fn, void *arg)
{
    if (heap->design->stats)
        heap->design->stats(heap->pool->root.view, fn, arg);
}

void alloclab_fork(struct alloclab_heap *heap, enum alloclab_fork_step when)
{
    const struct pool *pool = heap->pool;
    if (when != ALLOCLAB_FORK_BEFORE)
        os_fork_after(pool->os);
    if (heap->design->fork)
        heap->design->fork(pool->root.view, (enum allocator_fork)when);
    if (when == ALLOCLAB_FORK_BEFORE)
        os_fork_before(pool->os);
}
