/*
 * order.c - allocates in a constructor and frees in a destructor and an exit handler, and in a
 * library that it loads at run time and unloads again (argument: its path).
 */
#include <dlfcn.h>
#include <stdlib.h>

static void *from_constructor, *from_main;

__attribute__((constructor)) static void early(void)
{
    from_constructor = malloc(6000);
}

__attribute__((destructor)) static void late(void)
{
    free(from_constructor);
}

static void at_exit(void)
{
    free(from_main);
}

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_LOCAL) : NULL;
    void *(*make)(void) = NULL;
    if (library)
        *(void **)&make = dlsym(library, "plugin_make");
    if (!make || atexit(at_exit) != 0)
        return 1;
    from_main = make();
    return dlclose(library);
}
