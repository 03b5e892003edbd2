/*
 * plugin.c - a library to be loaded at run time: allocates when loaded, when called, and frees when
 * unloaded.
 */
#include <stdlib.h>

static void *own;

void *plugin_make(void);

__attribute__((constructor)) static void loaded(void)
{
    own = malloc(6001);
}

__attribute__((destructor)) static void unloaded(void)
{
    free(own);
}

void *plugin_make(void)
{
    return malloc(6002);
}
