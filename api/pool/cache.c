/*
 * cache.c - object caches for programs: allocators/lib/object_cache.h on a door of its own.
 */
#include <errno.h>
#include <stdlib.h>

#include "allocators/lib/bits.h"
#include "allocators/lib/object_cache.h"
#include "api/alloclab.h"
#include "api/env.h"
#include "api/pool/door.h"

#define CACHE_MAX_ALIGN ((size_t)8 << 10)

struct alloclab_cache {
    struct os *os;
    struct object_cache *cache;
    uint64_t (*now_ns)(void *ctx);
    void *ctx;
};

struct alloclab_cache *alloclab_cache_create(const char *name, size_t size, size_t align,
                                             alloclab_object_fn *ctor, alloclab_object_fn *dtor,
                                             void *arg, const struct alloclab_config *config)
{
    static const struct alloclab_config defaults = {0};
    struct error err;
    config = config ? config : &defaults;
    if (size > OBJECT_CACHE_BYTES_MAX || align & (align - 1) || align > CACHE_MAX_ALIGN) {
        errno = EINVAL;
        return NULL;
    }
    struct alloclab_cache *cache = malloc(sizeof *cache);
    int status = cache ? door_open(&cache->os, config, &err) : ENOMEM;
    if (!status) {
        *cache = (struct alloclab_cache){cache->os,
                                         object_cache_open(cache->os, name, size_max(size, 1),
                                                           size_max(align, ALLOCATOR_ALIGN), ctor,
                                                           dtor, arg),
                                         config->now_ns ? config->now_ns : env_now_ns, config->ctx};
        if (cache->cache)
            return cache;
        os_close(cache->os);
        status = ENOMEM;
    }
    free(cache);
    errno = status;
    return NULL;
}

size_t alloclab_cache_destroy(struct alloclab_cache *cache)
{
    if (!cache)
        return 0;
    size_t live = object_cache_close(cache->cache);
    os_close(cache->os);
    free(cache);
    return live;
}

void *alloclab_cache_get(struct alloclab_cache *cache)
{
    void *p = object_cache_take(cache->cache);
    if (!p)
        errno = ENOMEM;
    return p;
}

void alloclab_cache_put(struct alloclab_cache *cache, void *object)
{
    if (object)
        object_cache_give(cache->cache, object);
}

void alloclab_cache_tick(struct alloclab_cache *cache)
{
    object_cache_tick(cache->cache, cache->now_ns(cache->ctx));
}

void alloclab_cache_reap(struct alloclab_cache *cache)
{
    object_cache_reap(cache->cache);
}

struct alloclab_memory alloclab_cache_usage(const struct alloclab_cache *cache)
{
    return door_usage(cache->os);
}

void alloclab_cache_fork(struct alloclab_cache *cache, enum alloclab_fork_step when)
{
    if (when != ALLOCLAB_FORK_BEFORE)
        os_fork_after(cache->os);
    object_caches_fork(cache->cache->shared, (enum allocator_fork)when);
    if (when == ALLOCLAB_FORK_BEFORE)
        os_fork_before(cache->os);
}

const char *alloclab_cache_check(struct alloclab_cache *cache)
{
    return object_cache_check(cache->cache);
}
