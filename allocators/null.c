/*
 * null.c - the floor: every request gets the same memory, so that what a session measures with it
 * is the cost of the replay itself and of two calls through pointers.
 *
 *     heap page          region, aligned to its reservation
 *     +------+           +------------------------------+---------------------------------+
 *     | META |           | committed: handed out to all | reserved                        |
 *     +------+           +------------------------------+---------------------------------+
 *                        ^ every alloc returns this     ^ rises when a larger size is asked
 *
 * The reservation is 64 GiB; where a process may not have that (a limit, valgrind) half of it, and so on
 * down; mode() says so.
 *
 * The region can be read and written over the whole size that was asked for, but its contents are
 * everybody's: no program could use it as memory, and zalloc does not clear it.
 *
 * Invariants (check):
 *  - the region is aligned to its reservation
 *  - its committed part is a power of two from REGION_FIRST to the reservation
 *
 * Cost: alloc one test of size and alignment together; free nothing; growth at most 14 times.
 *
 * Source: fio's null engine, which is there to test fio itself.
 *
 * Trade-off: everything for speed; nothing is managed.
 */
#include "allocators/lib/allocator.h"
#include "allocators/lib/bits.h"
#include "allocators/lib/os.h"

#define REGION_FIRST   ((size_t)4 << 20)
#define REGION_RESERVE ((size_t)64 << 30)

struct heap {
    void *region;
    size_t beyond;  /* a size or an alignment with one of these bits does not fit */
    size_t reserve; /* bytes of the reservation */
    struct os *os;
};

_Static_assert((REGION_FIRST & (REGION_FIRST - 1)) == 0, "growth doubles from a power of two");
_Static_assert((REGION_RESERVE & (REGION_RESERVE - 1)) == 0, "growth ends at a power of two");

/* ---- growth ---- */

static size_t region_bytes(const struct heap *heap)
{
    return ~heap->beyond + 1;
}

__attribute__((noinline, cold)) static void *region_grow(struct heap *heap, size_t size,
                                                         size_t align)
{
    size_t asked = size | align; /* below the power of two above it, and so are both */
    if (asked >= heap->reserve)
        return NULL;
    size_t bytes = (size_t)1 << (log2_floor(asked) + 1);
    if (os_commit(heap->os, heap->region, bytes))
        return NULL;
    heap->beyond = ~(bytes - 1);
    return heap->region;
}

/* ---- alloc, free, realloc ---- */

static void *null_alloc(struct heap *view, size_t size, size_t align)
{
    if (__builtin_expect(((size | align) & view->beyond) != 0, 0))
        return region_grow(view, size, align);
    return view->region;
}

static void null_free(struct heap *view, void *p, size_t size)
{
    (void)view, (void)p, (void)size;
}

static void *null_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    (void)p, (void)old;
    return null_alloc(view, size, align);
}

/* ---- create, destroy ---- */

static struct heap *null_create(const struct alloc_env *env)
{
    struct heap *heap = os_map(env->os, sizeof *heap, 1);
    if (!heap)
        return NULL;
    heap->os = env->os;
    heap->reserve = REGION_RESERVE;
    heap->region = os_reserve_most(env->os, &heap->reserve, 0, REGION_FIRST);
    if (heap->region && os_commit(env->os, heap->region, REGION_FIRST) == 0) {
        heap->beyond = ~(REGION_FIRST - 1);
        return heap;
    }
    if (heap->region)
        os_release(env->os, heap->region, heap->reserve);
    os_release(env->os, heap, sizeof *heap);
    return NULL;
}

static void null_destroy(struct heap *heap)
{
    struct os *os = heap->os;
    os_release(os, heap->region, heap->reserve);
    os_release(os, heap, sizeof *heap);
}

/* ---- observation ---- */

static void null_walk(struct heap *heap, walk_fn *fn, void *arg)
{
    struct walk_item own = {
        .address = (uintptr_t)heap, .bytes = os_page_bytes(), .kind = WALK_META};
    struct walk_item region = {
        .address = (uintptr_t)heap->region, .bytes = region_bytes(heap), .kind = WALK_LIVE};
    fn(arg, &own);
    fn(arg, &region);
}

static const char *null_check(struct heap *heap)
{
    if (!is_aligned((uintptr_t)heap->region, heap->reserve))
        return "the region is not aligned to its reservation";
    size_t bytes = region_bytes(heap);
    if (!is_pow2(bytes) || bytes < REGION_FIRST || bytes > heap->reserve)
        return "the committed part of the region is not a power of two in its range";
    return NULL;
}

static const char *null_mode(struct heap *heap)
{
    return heap->reserve < REGION_RESERVE ? "fewer addresses could be reserved than 64 GiB" : NULL;
}

ALLOCATOR(null) = {
    .name = "null",
    .summary = "the floor: every request gets the same memory, nothing is managed",
    .source = "fio, engines/null.c",
    .traits = ALLOCATOR_FAKE | ALLOCATOR_ANY_ALIGN | ALLOCATOR_FINDS_OWNER,
    .create = null_create,
    .destroy = null_destroy,
    .alloc = null_alloc,
    .free = null_free,
    .zalloc = null_alloc,
    .realloc = null_realloc,
    .walk = null_walk,
    .check = null_check,
    .mode = null_mode,
};
