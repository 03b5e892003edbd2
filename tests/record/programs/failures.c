/*
 * failures.c - calls that return no memory, and the corners of realloc. Checks that errno and the
 * results are what they are without the recorder.
 */
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HUGE_BYTES ((size_t)PTRDIFF_MAX - 5000)

int main(void)
{
    void *p = malloc(2001), *q = &p;
    int bad = 0;
    memset(p, 0x5a, 2001);
    errno = 0;
    bad |= malloc(HUGE_BYTES) != NULL || errno != ENOMEM;
    errno = 0;
    bad |= calloc(SIZE_MAX / 2, 3) != NULL || errno != ENOMEM;
    errno = 0;
    bad |= realloc(p, HUGE_BYTES) != NULL || errno != ENOMEM;
    errno = 0;
    bad |= reallocarray(p, SIZE_MAX / 2, 3) != NULL || errno != ENOMEM;
    errno = 0;
    bad |= realloc(NULL, HUGE_BYTES) != NULL || errno != ENOMEM;
    errno = 0;
    bad |= aligned_alloc(64, HUGE_BYTES) != NULL || errno != ENOMEM;
    bad |= posix_memalign(&q, 3, 2002) != EINVAL || q != &p;
    bad |= posix_memalign(&q, 64, HUGE_BYTES) != ENOMEM || q != &p;
    for (int i = 0; i < 2001; i++)
        bad |= ((unsigned char *)p)[i] != 0x5a;
    errno = 77;
    free(NULL);
    p = realloc(p, 2003);
    bad |= realloc(p, 0) != NULL; /* frees it, in glibc */
    p = malloc(2004);
    free(p);
    q = malloc(2004);
    bad |= q != p; /* the free reached the C library, which hands out first what came back last */
    free(q);
    bad |= errno != 77;
    return bad;
}
