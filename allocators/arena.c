/*
 * arena.c - linked chunks: a scope takes chunks from the door, fills each from bottom to top, and
 * gives them all up when it is left.
 *
 *     view (in its first chunk)
 *       | current                               an object's own, or a full one
 *       v                                         v
 *     +-------+-----+-----+----------------+    +-------+---------------+---+
 *     | chunk | obj | obj | FREE or UNUSED |    | chunk | obj           |   | --> ... first chunk
 *     +-------+-----+-----+----------------+    +-------+---------------+---+
 *                         ^ position       ^ end
 *
 *     recycled: chunk <-> chunk <-> chunk      from left scopes, newest first, at most `cache`
 *
 * A view's next chunk is larger than its last one by the growth policy, up to `max`. An object that
 * would take more than a quarter of the next chunk gets a chunk of its own, and the current one
 * stays open: so no more than a quarter of a chunk is lost at its end. Chunks of left scopes
 * are kept for later ones, up to a limit; the oldest go back to the door first. Every scope has
 * chunks of its own, so scopes may nest and interleave as they like.
 *
 * Invariants (check):
 *  - in a chunk: start of its objects <= position <= end and high <= end, all in whole pages
 *  - a view's end is its current chunk's, which holds the view's position
 *  - the last object, if known, lies between the position before it and the position
 *  - the recycled chunks sum to `recycled_bytes`, which is at most the limit
 *  - the chunks of all views and the recycled ones sum to `chunk_bytes`
 *
 * Cost: alloc O(1), a dozen instructions; free O(1); a new chunk O(1), as it looks at no more than
 * CACHE_LOOK recycled ones; leaving a scope O(its chunks). Memory: no header on an object, 48 bytes
 * a chunk, 96 a scope; at least one chunk an open scope.
 *
 * Source: Hanson, "Fast allocation and deallocation of memory based on object lifetimes", 1990;
 * Apache's APR pools.
 *
 * Trade-off: scopes are independent, where bump's must wait for each other, but each holds at least
 * a chunk. Free releases only the last object; realloc of any other copies, and the old one stays
 * until the scope is left.
 *
 * Detected: nothing. There is no word for an object, so a free that is not the last object's, an
 * object freed twice and an address that is no object's are all the same: nothing happens.
 *
 * Threads: none; a heap belongs to one thread at a time.
 */
#include <string.h>

#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/list.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"

/* ---- options ---- */

enum growth_policy { GROWTH_FIXED, GROWTH_HALF, GROWTH_DOUBLE };

struct arena_options {
    uint64_t first, max, cache;
    unsigned growth;
};

static const struct option arena_options[] = {
    {.name = "first",
     .type = OPTION_SIZE,
     .offset = offsetof(struct arena_options, first),
     .fallback = "16k",
     .min = 4096,
     .max = 64 << 20,
     .summary = "bytes of a view's first chunk"},
    {.name = "growth",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct arena_options, growth),
     .fallback = "x2",
     .choices = "fixed|x1.5|x2",
     .summary = "a view's next chunk, compared with its last"},
    {.name = "max",
     .type = OPTION_SIZE,
     .offset = offsetof(struct arena_options, max),
     .fallback = "1m",
     .min = 4096,
     .max = 1 << 30,
     .summary = "bytes beyond which chunks do not grow; never less than first"},
    {.name = "cache",
     .type = OPTION_SIZE,
     .offset = offsetof(struct arena_options, cache),
     .fallback = "1g",
     .min = 0,
     .max = (double)((uint64_t)64 << 30),
     .summary = "bytes of chunks kept for later scopes; 0 = none"},
    {.name = NULL},
};

/* ---- types ---- */

struct chunk {        /* at its own start */
    struct list link; /* in its view's chunks, or in the recycled ones */
    uintptr_t end;
    uintptr_t position; /* of a current chunk: in its view instead */
    uintptr_t high;     /* highest end of use, before the position last fell */
    size_t lead;        /* bytes of the arena and the view, where they lie behind this header */
};

struct heap {                /* a view: the root's or a scope's */
    uintptr_t position, end; /* in the current chunk */
    uintptr_t last;          /* the last object there; 0 = not known */
    uintptr_t before_last;   /* and the position before it */
    struct list chunks;      /* newest first: the one with this view is the last */
    struct chunk *current;
    size_t next_bytes; /* of the next chunk */
    struct arena *arena;
    struct list link; /* in the arena's views */
    unsigned number;  /* owner in walk(); 0 = root */
};

struct arena { /* in the root's first chunk, before the root's view */
    struct os *os;
    struct list views, recycled;
    size_t first_bytes, max_bytes, cache_bytes, page;
    size_t recycled_bytes, chunk_bytes;
    enum growth_policy growth;
    unsigned scopes;
};

enum { CACHE_LOOK = 32 };

/* Larger requests cannot be had, and sums with these do not overflow. */
#define OBJECT_MAX ((size_t)1 << 46)

_Static_assert(sizeof(struct chunk) == 48, "objects follow, aligned; the header comment states it");
_Static_assert(sizeof(struct heap) <= 96, "the header comment states a view's size");

/* ---- chunks ---- */

static size_t chunk_size(const struct chunk *chunk)
{
    return chunk->end - (uintptr_t)chunk;
}

static struct chunk *chunk_of(struct list *link)
{
    return LIST_ENTRY(link, struct chunk, link);
}

static uintptr_t chunk_objects(const struct chunk *chunk)
{
    return (uintptr_t)(chunk + 1) + chunk->lead;
}

static void chunk_release(struct arena *a, struct chunk *chunk)
{
    a->chunk_bytes -= chunk_size(chunk);
    os_release(a->os, chunk, chunk_size(chunk));
}

static void recycled_remove(struct arena *a, struct chunk *chunk)
{
    list_remove(&chunk->link);
    a->recycled_bytes -= chunk_size(chunk);
}

/* A recycled chunk of `bytes` or up to twice that; NULL if there is none among the newest. */
static struct chunk *chunk_reuse(struct arena *a, size_t bytes)
{
    unsigned looked = 0;
    for (struct list *l = a->recycled.next; l != &a->recycled && looked < CACHE_LOOK; l = l->next) {
        struct chunk *chunk = chunk_of(l);
        if (chunk_size(chunk) >= bytes && chunk_size(chunk) / 2 <= bytes) {
            recycled_remove(a, chunk);
            return chunk;
        }
        looked++;
    }
    return NULL;
}

static void chunk_start(struct chunk *chunk)
{
    chunk->lead = 0;
    chunk->position = (uintptr_t)(chunk + 1);
}

static struct chunk *chunk_map(struct os *os, size_t bytes)
{
    struct chunk *chunk = os_map(os, bytes, 1);
    if (!chunk)
        return NULL;
    chunk->end = (uintptr_t)chunk + bytes;
    chunk_start(chunk);
    chunk->high = chunk->position;
    return chunk;
}

static struct chunk *chunk_take(struct arena *a, size_t bytes)
{
    bytes = align_up(bytes, a->page);
    struct chunk *chunk = chunk_reuse(a, bytes);
    if (chunk)
        return chunk;
    chunk = chunk_map(a->os, bytes);
    if (chunk)
        a->chunk_bytes += bytes;
    return chunk;
}

static void chunk_recycle(struct arena *a, struct chunk *chunk)
{
    size_t bytes = chunk_size(chunk);
    chunk->high = size_max(chunk->high, chunk->position);
    chunk_start(chunk);
    if (bytes > a->cache_bytes) {
        chunk_release(a, chunk);
        return;
    }
    while (a->recycled_bytes > a->cache_bytes - bytes) {
        struct chunk *oldest = chunk_of(a->recycled.prev);
        recycled_remove(a, oldest);
        chunk_release(a, oldest);
    }
    list_insert_after(&a->recycled, &chunk->link);
    a->recycled_bytes += bytes;
}

/* ---- growth ---- */

static size_t growth_next(const struct arena *a, size_t bytes)
{
    if (a->growth == GROWTH_HALF)
        bytes += align_up(bytes / 2, a->page);
    else if (a->growth == GROWTH_DOUBLE)
        bytes *= 2;
    return size_min(bytes, a->max_bytes);
}

/* Before the view's position leaves its chunk, or anybody else looks at it. */
static void view_save(struct heap *view)
{
    view->current->position = view->position;
}

static void view_load(struct heap *view, struct chunk *chunk)
{
    list_insert_after(&view->chunks, &chunk->link);
    view->current = chunk;
    view->position = chunk->position;
    view->end = chunk->end;
}

static void *alloc_own_chunk(struct heap *view, size_t bytes, size_t size, size_t align)
{
    struct chunk *chunk = chunk_take(view->arena, bytes);
    if (!chunk)
        return NULL;
    uintptr_t at = align_up(chunk->position, align);
    chunk->position = at + size;
    list_insert_after(&view->chunks, &chunk->link);
    return (void *)at;
}

/* The current chunk has no room. */
__attribute__((noinline)) static void *alloc_slow(struct heap *view, size_t size, size_t align)
{
    struct arena *a = view->arena;
    if (size > OBJECT_MAX || align > OBJECT_MAX)
        return NULL;
    size_t bytes = sizeof(struct chunk) + size + align - ALLOCATOR_ALIGN;
    if (bytes > view->next_bytes / 4)
        return alloc_own_chunk(view, bytes, size, align);
    struct chunk *chunk = chunk_take(a, view->next_bytes);
    if (!chunk)
        return NULL;
    view_save(view);
    view_load(view, chunk);
    view->next_bytes = growth_next(a, view->next_bytes);
    uintptr_t at = align_up(view->position, align);
    view->last = at;
    view->before_last = view->position;
    view->position = at + size;
    return (void *)at;
}

/* ---- alloc, free, realloc ---- */

static void *arena_alloc(struct heap *view, size_t size, size_t align)
{
    align = size_max(align, ALLOCATOR_ALIGN);
    uintptr_t at = align_up(view->position, align);
    if (__builtin_expect(at > view->end || size > view->end - at, 0))
        return alloc_slow(view, size, align);
    view->last = at;
    view->before_last = view->position;
    view->position = at + size;
    return (void *)at;
}

static void position_cut(struct heap *view, uintptr_t position)
{
    struct chunk *chunk = view->current;
    chunk->high = size_max(chunk->high, view->position);
    view->position = position;
}

/* Only what lies below `high` of its chunk can be anything but zero. The chunk is the current one,
 * or else the object's own and the newest. */
static void *arena_zalloc(struct heap *view, size_t size, size_t align)
{
    char *p = arena_alloc(view, size, align);
    if (!p)
        return NULL;
    struct chunk *chunk = view->current;
    if ((uintptr_t)p - (uintptr_t)chunk >= chunk_size(chunk))
        chunk = chunk_of(view->chunks.next);
    if ((uintptr_t)p < chunk->high)
        memset(p, 0, size_min(size, chunk->high - (uintptr_t)p));
    return p;
}

static void arena_free(struct heap *view, void *p, size_t size)
{
    (void)size;
    if ((uintptr_t)p != view->last)
        return;
    position_cut(view, view->before_last);
    view->last = 0;
}

static void *arena_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    uintptr_t at = (uintptr_t)p;
    bool aligned = is_aligned(at, align);
    if (aligned && at == view->last && size <= view->end - at) {
        position_cut(view, at + size);
        return p;
    }
    if (aligned && size <= old)
        return p;
    void *moved = arena_alloc(view, size, align);
    return moved ? memcpy(moved, p, size_min(old, size)) : NULL;
}

/* ---- scopes, trim ---- */

/* The view's record lies in its first chunk, at the chunk's position. */
static struct heap *view_start(struct arena *a, struct chunk *chunk, unsigned number)
{
    struct heap *view = (struct heap *)chunk->position;
    size_t bytes = align_up(sizeof *view, ALLOCATOR_ALIGN);
    chunk->lead += bytes;
    chunk->position += bytes;
    chunk->high = size_max(chunk->high, chunk->position);
    *view =
        (struct heap){.next_bytes = growth_next(a, a->first_bytes), .arena = a, .number = number};
    list_init(&view->chunks);
    list_insert_before(&a->views, &view->link);
    view_load(view, chunk);
    return view;
}

static struct heap *arena_scope_enter(struct heap *parent)
{
    struct arena *a = parent->arena;
    struct chunk *chunk = chunk_take(a, a->first_bytes);
    return chunk ? view_start(a, chunk, ++a->scopes) : NULL;
}

/* The first chunk is the last of the list and holds the view itself: it goes last. */
static void arena_scope_exit(struct heap *view)
{
    struct arena *a = view->arena;
    view_save(view);
    list_remove(&view->link);
    struct list *l = view->chunks.next, *end = &view->chunks;
    for (bool more = true; more;) {
        struct chunk *chunk = chunk_of(l);
        l = l->next;
        more = l != end;
        chunk_recycle(a, chunk);
    }
}

static void arena_trim(struct heap *root)
{
    struct arena *a = root->arena;
    while (!list_empty(&a->recycled)) {
        struct chunk *chunk = chunk_of(a->recycled.prev);
        recycled_remove(a, chunk);
        chunk_release(a, chunk);
    }
}

/* ---- create, destroy ---- */

static struct heap *arena_create(const struct alloc_env *env)
{
    const struct arena_options *options = env->options;
    size_t page = os_page_bytes(), first = align_up(options->first, page);
    struct chunk *chunk = chunk_map(env->os, first);
    if (!chunk)
        return NULL;
    struct arena *a = (struct arena *)chunk->position;
    *a = (struct arena){.os = env->os,
                        .first_bytes = first,
                        .max_bytes = size_max(first, align_up(options->max, page)),
                        .cache_bytes = options->cache,
                        .page = page,
                        .chunk_bytes = first,
                        .growth = options->growth};
    list_init(&a->views);
    list_init(&a->recycled);
    chunk->lead = align_up(sizeof *a, ALLOCATOR_ALIGN);
    chunk->position += chunk->lead;
    return view_start(a, chunk, 0);
}

/* All scopes have been left. The arena lies in the root's first chunk, which is the last one. */
static void arena_destroy(struct heap *root)
{
    struct arena *a = root->arena;
    arena_trim(root);
    while (root->chunks.next != root->chunks.prev) {
        struct chunk *chunk = chunk_of(root->chunks.next);
        list_remove(&chunk->link);
        chunk_release(a, chunk);
    }
    struct chunk *first = chunk_of(root->chunks.next);
    os_release(a->os, first, chunk_size(first));
}

/* ---- observation ---- */

struct walker {
    walk_fn *fn;
    void *arg;
    unsigned owner;
};

static void range_walk(const struct walker *w, uintptr_t from, uintptr_t to, enum walk_kind kind)
{
    struct walk_item item = {.address = from, .bytes = to - from, .kind = kind, .owner = w->owner};
    if (to > from)
        w->fn(w->arg, &item);
}

/* Before its objects a view's first chunk has the view, and the root's the arena as well. */
static void chunk_walk(const struct walker *w, const struct chunk *chunk)
{
    uintptr_t objects = chunk_objects(chunk), position = chunk->position;
    uintptr_t high = size_max(chunk->high, position);
    range_walk(w, (uintptr_t)chunk, objects, WALK_META);
    range_walk(w, objects, position, WALK_LIVE);
    range_walk(w, position, high, WALK_FREE);
    range_walk(w, high, chunk->end, WALK_UNUSED);
}

static void arena_walk(struct heap *root, walk_fn *fn, void *arg)
{
    struct arena *a = root->arena;
    struct walker w = {fn, arg, 0};
    for (struct list *v = a->views.next; v != &a->views; v = v->next) {
        struct heap *view = LIST_ENTRY(v, struct heap, link);
        w.owner = view->number;
        view_save(view);
        for (struct list *l = view->chunks.next; l != &view->chunks; l = l->next)
            chunk_walk(&w, chunk_of(l));
    }
    w.owner = 0;
    for (struct list *l = a->recycled.next; l != &a->recycled; l = l->next)
        chunk_walk(&w, chunk_of(l));
}

static const char *chunk_check(const struct arena *a, const struct chunk *chunk)
{
    if (!is_aligned((uintptr_t)chunk, a->page) || !is_aligned(chunk->end, a->page))
        return "a chunk is not whole pages";
    if (chunk->position < chunk_objects(chunk) || chunk->position > chunk->end ||
        chunk->high > chunk->end)
        return "a chunk's position lies outside of its objects";
    return NULL;
}

static const char *view_check(const struct arena *a, struct heap *view, size_t *bytes)
{
    if (view->end != view->current->end)
        return "a view's end is not its current chunk's";
    if (view->last && (view->before_last > view->last || view->last > view->position ||
                       view->before_last < chunk_objects(view->current)))
        return "a view's last object lies outside of its place";
    view_save(view);
    for (struct list *l = view->chunks.next; l != &view->chunks; l = l->next) {
        const char *broken = chunk_check(a, chunk_of(l));
        if (broken)
            return broken;
        *bytes += chunk_size(chunk_of(l));
    }
    return NULL;
}

static const char *arena_check(struct heap *root)
{
    struct arena *a = root->arena;
    size_t recycled = 0, in_views = 0;
    for (struct list *l = a->recycled.next; l != &a->recycled; l = l->next)
        recycled += chunk_size(chunk_of(l));
    if (recycled != a->recycled_bytes || recycled > a->cache_bytes)
        return "the recycled chunks do not sum to recycled_bytes, or are more than the limit";
    for (struct list *v = a->views.next; v != &a->views; v = v->next) {
        const char *broken = view_check(a, LIST_ENTRY(v, struct heap, link), &in_views);
        if (broken)
            return broken;
    }
    return recycled + in_views == a->chunk_bytes ? NULL : "the chunks do not sum to chunk_bytes";
}

ALLOCATOR(arena) = {
    .name = "arena",
    .summary = "linked chunks; a scope fills its own and gives them all up at once",
    .source = "Hanson 1990; Apache APR pools",
    .traits = ALLOCATOR_ANY_ALIGN,
    .options_size = sizeof(struct arena_options),
    .options = arena_options,
    .create = arena_create,
    .destroy = arena_destroy,
    .alloc = arena_alloc,
    .free = arena_free,
    .zalloc = arena_zalloc,
    .realloc = arena_realloc,
    .scope_enter = arena_scope_enter,
    .scope_exit = arena_scope_exit,
    .trim = arena_trim,
    .walk = arena_walk,
    .check = arena_check,
};
