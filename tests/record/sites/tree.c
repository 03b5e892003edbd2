/* tree.c - one allocation of each kind, at lines that the test finds by their sizes. */
#include <malloc.h>
#include <stdlib.h>

#define APART __attribute__((noinline, noclone))

static void *kept[16];

APART void first(void)
{
    kept[0] = malloc(2001);
    kept[1] = calloc(1, 2002);
    kept[0] = realloc(kept[0], 2003);
    kept[2] = realloc(NULL, 2004);
    kept[3] = reallocarray(NULL, 1, 2005);
}

APART void second(void)
{
    kept[4] = aligned_alloc(64, 2048);
    if (posix_memalign(&kept[5], 64, 2007) != 0)
        abort();
    kept[6] = memalign(64, 2008);
    kept[7] = valloc(2009);
}

int main(void)
{
    volatile int two = 2; /* so that the loop has one call */
    for (int i = 0; i < two; i++) {
        first();
        second();
        for (int k = 0; k < 8; k++)
            free(kept[k]);
    }
    return 0;
}
