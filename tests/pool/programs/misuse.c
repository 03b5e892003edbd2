/*
 * misuse.c - frees an object without its size in each design that needs one, or, told "double",
 * frees one twice in segfit: neither may return.
 */
#include <alloclab.h>

#include <string.h>

int main(int argc, char **argv)
{
    struct alloclab_heap *heap = alloclab_open(argc > 1 ? argv[1] : "segfit", NULL, NULL, 0);
    void *p = heap ? alloclab_alloc(heap, 100, 0) : NULL;
    if (!p)
        return 2;
    alloclab_free(heap, p, argc > 2 && !strcmp(argv[2], "double") ? 100 : 0);
    alloclab_free(heap, p, 0);
    return 0;
}
