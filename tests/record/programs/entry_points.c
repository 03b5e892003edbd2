/*
 * entry_points.c - calls every entry point that the recorder stands in front of, each with a size
 * of its own, and leaves two blocks live. Nothing else in it allocates, so that the trace is known
 * op by op.
 */
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    void *kept, *p;
    p = malloc(1001);
    free(p);
    p = calloc(7, 143); /* 1001 bytes */
    memset(p, 1, 1001);
    p = realloc(p, 1002);
    p = realloc(p, 100002); /* moves */
    p = reallocarray(p, 3, 501);
    free(p);
    p = realloc(NULL, 1003);
    free(p);
    p = reallocarray(NULL, 2, 502);
    free(p);
    p = aligned_alloc(64, 1024);
    free(p);
    if (posix_memalign(&p, 128, 1005) != 0)
        return 1;
    free(p);
    p = memalign(256, 1006);
    p = realloc(p, 1007);
    free(p);
    p = valloc(1008);
    free(p);
    p = pvalloc(1009);
    free(p);
    kept = malloc(0);
    free(NULL);
    p = calloc(0, 0);
    free(p);
    p = malloc(1010);
    if (malloc_usable_size(p) < 1010 || malloc_usable_size(kept) == SIZE_MAX)
        return 1;
    return 0;
}
