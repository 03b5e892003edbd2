/* module.c - built twice, as libraries that differ in nothing but a string; each allocates. */
#include <stdlib.h>

#ifndef WHICH
#define WHICH "neither"
#endif

const char *name(void)
{
    return WHICH;
}

void *make(size_t size)
{
    void *p = malloc(size);
    __asm__ volatile("" : "+r"(p));
    return p;
}
