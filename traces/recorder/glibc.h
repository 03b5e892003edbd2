/*
 * glibc.h - what the recorder needs of the C library that only glibc has. The references are weak: a program that
 * is linked with musl inherits LD_PRELOAD too, and musl's dynamic linker ends a program whose libraries ask for
 * what it does not have. There all calls are passed on, and none is recorded.
 */
#ifndef ALLOCLAB_RECORDER_GLIBC_H
#define ALLOCLAB_RECORDER_GLIBC_H

#include <dlfcn.h>
#include <stdbool.h>
#include <string.h>

#pragma weak _dl_find_object
#pragma weak dladdr1
#pragma weak strerrordesc_np

/* pthread_atfork() refers to it in its own way, which is not weak. */
int glibc_atfork(void (*)(void), void (*)(void), void (*)(void),
                 void *) __asm__("__register_atfork") __attribute__((weak));

extern void *glibc_dso __asm__("__dso_handle") __attribute__((visibility("hidden")));

static inline bool glibc_is_here(void)
{
    return _dl_find_object && dladdr1 && strerrordesc_np && glibc_atfork;
}

#endif
