/*
 * slowed.c - a design for bench-null alone, which is in no list: what it wraps, with a known number
 * of steps more in each alloc. A step is one turn of an empty loop, two instructions; their number
 * is given in 1024ths, and what is left of a step is owed to the next alloc, so that a slowdown can
 * be set finely. `tag` does nothing: it makes the same design a second contender.
 */
#include "allocators/lib/allocator.h"
#include "allocators/lib/generic.h"
#include "allocators/lib/option.h"
#include "allocators/lib/os.h"

struct slowed_options {
    uint64_t steps; /* an alloc, in 1024ths */
    char tag[16];
};

#define ROW(...) OPTION_ROW(struct slowed_options, __VA_ARGS__)
static const struct option slowed_options[] = {
    ROW("steps", steps, COUNT, "0", 0, 1e9, NULL, "turns of an empty loop an alloc, in 1024ths"),
    ROW("tag", tag, TEXT, "", 0, 16, NULL, "tells contenders apart that do the same"),
    {.name = NULL},
};

struct heap {
    const struct allocator *design; /* what is wrapped, and its heap */
    struct heap *inner;
    uint64_t steps, owed;
    struct os *os;
};

static void steps_go(struct heap *heap)
{
    heap->owed += heap->steps;
    uint64_t steps = heap->owed >> 10;
    heap->owed &= 1023;
    while (steps) {
        steps--;
        __asm__ volatile("" : "+r"(steps));
    }
}

static void *slowed_alloc(struct heap *heap, size_t size, size_t align)
{
    steps_go(heap);
    return heap->design->alloc(heap->inner, size, align);
}

static void *slowed_zalloc(struct heap *heap, size_t size, size_t align)
{
    steps_go(heap);
    return generic_zalloc(heap->design, heap->inner, size, align);
}

static void slowed_free(struct heap *heap, void *p, size_t size)
{
    heap->design->free(heap->inner, p, size);
}

static void *slowed_realloc(struct heap *heap, void *p, size_t old, size_t size, size_t align)
{
    return generic_realloc(heap->design, heap->inner, heap->inner, p, old, size, align);
}

static struct heap *slowed_create(const struct alloc_env *env)
{
    const struct slowed_options *o = env->options;
    struct heap *heap = os_map(env->os, sizeof *heap, 1);
    if (!heap)
        return NULL;
    *heap = (struct heap){.design = env->inner->design, .steps = o->steps, .os = env->os};
    heap->inner = heap->design->create(env->inner);
    if (heap->inner)
        return heap;
    os_release(env->os, heap, sizeof *heap);
    return NULL;
}

static void slowed_destroy(struct heap *heap)
{
    heap->design->destroy(heap->inner);
    os_release(heap->os, heap, sizeof *heap);
}

static void slowed_walk(struct heap *heap, walk_fn *fn, void *arg)
{
    struct walk_item own = {
        .address = (uintptr_t)heap, .bytes = os_page_bytes(), .kind = WALK_META};
    fn(arg, &own);
    heap->design->walk(heap->inner, fn, arg);
}

ALLOCATOR(slowed) = {
    .name = "slowed",
    .summary = "another design with a known slowdown, for bench-null",
    .source = "this project",
    .traits = ALLOCATOR_WRAPS | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN,
    .options_size = sizeof(struct slowed_options),
    .options = slowed_options,
    .create = slowed_create,
    .destroy = slowed_destroy,
    .alloc = slowed_alloc,
    .free = slowed_free,
    .zalloc = slowed_zalloc,
    .realloc = slowed_realloc,
    .walk = slowed_walk,
};
