/*
 * libc.c - whatever malloc the process has. Rivals come this way: the cell's process is started
 * with their library preloaded, and this design runs under their name.
 *
 *     heap: the process's, nothing of its own       objects: wherever the C library puts them
 *
 * Nothing of it goes through the door, so nothing is reserved or committed, and walk() has nothing
 * to say: its memory can be compared by what is resident only.
 *
 * Invariants: none of its own.
 *
 * Cost: one call more than the program's own malloc; realloc of an object aligned beyond 16 bytes
 * copies, because the C library's realloc does not keep such an alignment.
 *
 * Source: the C library's manual; glibc's is ptmalloc2, after Doug Lea's dlmalloc.
 *
 * Trade-off: the C library's; besides, the heap is shared with the rest of the process.
 *
 * Threads: any thread may allocate and free anything through the root; the C library does the
 * locking.
 */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "allocators/lib/allocator.h"

/* Called through the dynamic linker's table directly, without the stub before it: a program's own
   call has one jump through that stub, and here the call of libc_alloc stands in its place. */
extern __typeof__(malloc) malloc __attribute__((noplt));
extern __typeof__(calloc) calloc __attribute__((noplt));
extern __typeof__(realloc) realloc __attribute__((noplt));
extern __typeof__(free) free __attribute__((noplt));

struct heap {
    char unused;
};

static const struct heap the_process; /* no object of the harness lies on the heap under test */

/* ---- alloc, free, realloc ---- */

static void *libc_alloc(struct heap *view, size_t size, size_t align)
{
    (void)view;
    if (__builtin_expect(align <= ALLOCATOR_ALIGN, 1))
        return malloc(size);
    void *p;
    return posix_memalign(&p, align, size) ? NULL : p;
}

static void *libc_zalloc(struct heap *view, size_t size, size_t align)
{
    if (align <= ALLOCATOR_ALIGN)
        return calloc(1, size);
    void *p = libc_alloc(view, size, align);
    return p ? memset(p, 0, size) : NULL;
}

static void libc_free(struct heap *view, void *p, size_t size)
{
    (void)view, (void)size;
    free(p);
}

static void *libc_realloc(struct heap *view, void *p, size_t old, size_t size, size_t align)
{
    if (align <= ALLOCATOR_ALIGN)
        return realloc(p, size);
    void *moved = libc_alloc(view, size, align);
    if (!moved)
        return NULL;
    memcpy(moved, p, old < size ? old : size);
    free(p);
    return moved;
}

static size_t libc_usable(struct heap *view, const void *p)
{
    (void)view;
    return malloc_usable_size((void *)p);
}

/* ---- create, destroy ---- */

static struct heap *libc_create(const struct alloc_env *env)
{
    (void)env;
    return (struct heap *)&the_process;
}

static void libc_destroy(struct heap *heap)
{
    (void)heap;
}

/* ---- observation ---- */

static void libc_walk(struct heap *heap, walk_fn *fn, void *arg)
{
    (void)heap, (void)fn, (void)arg; /* nothing was committed */
}

ALLOCATOR(libc) = {
    .name = "libc",
    .summary = "the malloc of the process, or of a preloaded library",
    .source = "GNU C Library 2.36, malloc/malloc.c",
    .traits = ALLOCATOR_FOREIGN | ALLOCATOR_REUSES | ALLOCATOR_ANY_ALIGN | ALLOCATOR_SHARED |
              ALLOCATOR_REMOTE_FREE | ALLOCATOR_FINDS_OWNER,
    .create = libc_create,
    .destroy = libc_destroy,
    .alloc = libc_alloc,
    .free = libc_free,
    .zalloc = libc_zalloc,
    .realloc = libc_realloc,
    .usable = libc_usable,
    .walk = libc_walk,
};
