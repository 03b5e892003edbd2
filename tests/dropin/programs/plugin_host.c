/*
 * plugin_host.c - loads the libraries that it is given, each by itself, while threads allocate; and
 * unloads them again.
 */
#include <dlfcn.h>
#include <pthread.h>

#include "tests/dropin/programs/check.h"

static void *use(void *arg)
{
    char *(*text)(void);
    *(void **)&text = dlsym(arg, "plugin_text");
    CHECK(text);
    for (int i = 0; i < 20; i++) {
        char *p = text();
        CHECK(!strcmp(p, "loaded"));
        free(p);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        pthread_t thread;
        void *library = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        if (!library)
            dprintf(2, "%s\n", dlerror());
        CHECK(library);
        CHECK(!pthread_create(&thread, NULL, use, library));
        use(library);
        CHECK(!pthread_join(thread, NULL));
        CHECK(!dlclose(library));
    }
    puts("ok");
    return 0;
}
