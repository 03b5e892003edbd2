/*
 * clash.c - a program that has functions and data of its own under names that the library uses
 * inside: it must link, and each must stay what it is.
 */
#include <alloclab.h>

#include <stdio.h>

int os_map = 1, allocators = 2, allocator_segfit = 3, spec_parse = 4;

int list_init(void)
{
    return 5;
}

int central_open(void)
{
    return 6;
}

int os_open(void)
{
    return 7;
}

int misuse_abort(void)
{
    return 8;
}

int option_parse(void)
{
    return 9;
}

int main(void)
{
    struct alloclab_heap *heap = alloclab_open("segfit:cache=64k", NULL, NULL, 0);
    void *p = heap ? alloclab_alloc(heap, 1000, 64) : NULL;
    printf("%s %d\n", p ? alloclab_name(heap) : "no heap",
           os_map + allocators + allocator_segfit + spec_parse + list_init() + central_open() +
               os_open() + misuse_abort() + option_parse());
    alloclab_destroy(heap);
    return !p;
}
