/*
 * faulty.c - see faulty.h.
 */
#include "tests/lib/faulty.h"

#include <pthread.h>
#include <string.h>

#include "allocators/lib/os.h"

#define SLOT  ((size_t)1024)
#define SLOTS 4096

enum fault faulty_fault;
void (*faulty_late)(void);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

struct heap {
    struct os *os;
    unsigned char *base;
    unsigned count, free_count, calls;
    unsigned short free_slots[SLOTS];
    unsigned char live[SLOTS];
};

static struct heap *faulty_create(const struct alloc_env *env)
{
    struct heap *heap = os_map(env->os, sizeof *heap, 0);
    heap->os = env->os;
    heap->base = os_map(env->os, SLOT * SLOTS, 0);
    return heap;
}

static void faulty_destroy(struct heap *heap)
{
    struct os *os = heap->os;
    if (faulty_fault != FAULT_LEAK)
        os_release(os, heap->base, SLOT * SLOTS);
    os_release(os, heap, sizeof *heap);
}

static void *slot_take(struct heap *heap)
{
    unsigned slot = heap->free_count ? heap->free_slots[--heap->free_count] : heap->count++;
    unsigned char *p = heap->base + SLOT * slot;
    heap->live[slot] = 1;
    if (++heap->calls != 500)
        return p;
    switch (faulty_fault) {
    case FAULT_ALIGN:
        return p + 8;
    case FAULT_OVERLAP:
        return heap->base + 512;
    case FAULT_INSIDE:
        return heap->base + 16;
    case FAULT_AROUND:
        return p - 16;
    case FAULT_CONTENT:
        heap->base[5] ^= 1;
        return p;
    case FAULT_OOM:
        return NULL;
    default:
        return p;
    }
}

static void *faulty_alloc(struct heap *heap, size_t size, size_t align)
{
    (void)align;
    if (size == FAULTY_LATE_SIZE && faulty_late)
        faulty_late();
    pthread_mutex_lock(&lock);
    void *p = slot_take(heap);
    pthread_mutex_unlock(&lock);
    return p;
}

static void faulty_free(struct heap *heap, void *p, size_t size)
{
    unsigned slot = (unsigned)((size_t)((unsigned char *)p - heap->base) / SLOT);
    (void)size;
    pthread_mutex_lock(&lock);
    heap->live[slot] = 0;
    heap->free_slots[heap->free_count++] = (unsigned short)slot;
    pthread_mutex_unlock(&lock);
}

static void *faulty_zalloc(struct heap *heap, size_t size, size_t align)
{
    unsigned char *p = faulty_alloc(heap, size, align);
    if (p)
        memset(p, 0, faulty_fault == FAULT_DIRTY ? size - 1 : size);
    return p;
}

static void *faulty_realloc(struct heap *heap, void *p, size_t old, size_t size, size_t align)
{
    unsigned char *moved = faulty_alloc(heap, size, align);
    size_t kept = old < size ? old : size;
    if (!moved)
        return NULL;
    if (faulty_fault == FAULT_FORGET) { /* what lies there already is an earlier object's */
        faulty_free(heap, p, 0);
        return moved;
    }
    memmove(moved, p, faulty_fault == FAULT_REALLOC ? kept - 1 : kept);
    if (faulty_fault == FAULT_REALLOC)
        moved[kept - 1] = (unsigned char)~((unsigned char *)p)[kept - 1];
    faulty_free(heap, p, 0);
    return moved;
}

static size_t faulty_usable(struct heap *heap, const void *p)
{
    (void)heap;
    (void)p;
    return faulty_fault == FAULT_USABLE ? 8 : SLOT;
}

static void faulty_walk(struct heap *heap, walk_fn *fn, void *arg)
{
    struct walk_item meta = {.address = (uintptr_t)heap, .kind = WALK_META};
    size_t page = os_page_bytes();
    meta.bytes = (sizeof *heap + page - 1) / page * page - (faulty_fault == FAULT_LAW);
    fn(arg, &meta);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct walk_item item = {.address = (uintptr_t)heap->base + SLOT * i,
                                 .bytes = SLOT,
                                 .kind = heap->live[i] && faulty_fault != FAULT_KIND ? WALK_LIVE
                                                                                     : WALK_FREE};
        if (faulty_fault == FAULT_NO_KIND)
            item.kind = (enum walk_kind)77;
        fn(arg, &item);
    }
}

static const char *faulty_check(struct heap *heap)
{
    return faulty_fault == FAULT_CHECK && heap->calls > 600 ? "the design is broken" : NULL;
}

const struct allocator faulty = {.name = "faulty",
                                 .traits = ALLOCATOR_REUSES | ALLOCATOR_FINDS_OWNER |
                                           ALLOCATOR_SHARED | ALLOCATOR_REMOTE_FREE,
                                 .create = faulty_create,
                                 .destroy = faulty_destroy,
                                 .alloc = faulty_alloc,
                                 .free = faulty_free,
                                 .zalloc = faulty_zalloc,
                                 .realloc = faulty_realloc,
                                 .usable = faulty_usable,
                                 .walk = faulty_walk,
                                 .check = faulty_check};
