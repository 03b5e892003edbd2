/*
 * deep.c - a program, or with -DPLUGIN the library that it loads with RTLD_DEEPBIND, by the path that is its
 * argument. The library frees what the program made, and the other way round, each by a call and by a pointer in its data:
 * 400 blocks of 7000 bytes are the library's, 200 of 7001 the program's.
 */
#include <dlfcn.h>
#include <stdlib.h>

#ifdef PLUGIN

static struct {
    void *(*get)(size_t);
    void (*put)(void *);
} table = {malloc, free};

void *plugin_get(int by_pointer)
{
    return by_pointer ? table.get(7000) : malloc(7000);
}

void plugin_put(void *p, int by_pointer)
{
    if (by_pointer)
        table.put(p);
    else
        free(p);
}

#else

int main(int argc, char **argv)
{
    void *library = argc > 1 ? dlopen(argv[1], RTLD_LAZY | RTLD_DEEPBIND) : NULL;
    if (!library || dlerror())
        return 1;
    void *(*get)(int) = (void *(*)(int))dlsym(library, "plugin_get");
    void (*put)(void *, int) = (void (*)(void *, int))dlsym(library, "plugin_put");
    for (int i = 0; i < 200; i++) {
        void *ours = malloc(7001), *theirs = get(i % 2), *kept = get(i % 2);
        free(theirs);
        put(ours, i % 2);
        put(kept, i % 2);
    }
    return dlclose(library);
}

#endif
