/*
 * bump_plugin.c - an allocator that a signal handler may call at any moment: memory is taken by an atomic
 * addition and never used again.
 */
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>

#ifndef ROOM
#define ROOM ((size_t)1 << 32)
#endif

static unsigned char memory[ROOM];
static _Atomic size_t used;

void *malloc(size_t size)
{
    size_t at = atomic_fetch_add(&used, (size + 31) / 16 * 16);
    *(size_t *)(memory + at) = size;
    return memory + at + 16;
}

void free(void *p)
{
    (void)p;
}

void *calloc(size_t count, size_t size)
{
    return malloc(count * size);
}

void *realloc(void *p, size_t size)
{
    size_t old = p ? ((size_t *)p)[-2] : 0;
    void *q = malloc(size);
    memcpy(q, p, old < size ? old : size);
    return q;
}
