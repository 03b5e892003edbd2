/* modules.c - loads one library after the other, several times, and prints where each came to lie. */
#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        void *library = dlopen(argv[i], RTLD_NOW);
        void *(*make)(size_t);
        *(void **)&make = library ? dlsym(library, "make") : NULL;
        if (!make)
            return 1;
        free(make(3000 + i));
        printf("%lx\n", (unsigned long)((struct link_map *)library)->l_addr);
        dlclose(library);
    }
    return 0;
}
