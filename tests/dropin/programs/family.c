/*
 * family.c - every entry point of the malloc family, and what each does at its edges, as the
 * standards and glibc's manual say.
 */
#include <malloc.h>
#include <sys/mman.h>

#include "tests/dropin/programs/check.h"

/* C23: no part of every C library yet. */
__attribute__((weak)) void free_sized(void *p, size_t size);
__attribute__((weak)) void free_aligned_sized(void *p, size_t align, size_t size);

static void free_known(void *p, size_t size)
{
    free_sized ? free_sized(p, size) : free(p);
}

static const size_t too_large[] = {(size_t)PTRDIFF_MAX + 1, SIZE_MAX, SIZE_MAX - 4095, PTRDIFF_MAX,
                                   (size_t)1 << 62};
enum { TOO_LARGE = sizeof too_large / sizeof *too_large };

static int is_zero(const char *p, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++)
        if (p[i])
            return 0;
    return 1;
}

static int is_aligned_to(const void *p, size_t align)
{
    return p && (uintptr_t)p % align == 0;
}

/* Sizes around every power of two, all live at once: aligned, usable, apart. */
static void check_sizes(void)
{
    enum { N = 3 * 23 };
    char *p[N];
    size_t size[N];
    for (int i = 0; i < N; i++) {
        size[i] = ((size_t)1 << i / 3) + (size_t)(i % 3) - 1;
        p[i] = malloc(size[i]);
        CHECK(is_aligned_to(p[i], size[i] >= 16 ? 16 : 8));
        CHECK(malloc_usable_size(p[i]) >= size[i]);
        object_fill(p[i], size[i]);
    }
    for (int i = 0; i < N; i++) {
        CHECK(object_holds(p[i], size[i]));
        memset(p[i], 1, malloc_usable_size(p[i]));
        free(p[i]);
    }
}

static void check_nothing(void)
{
    void *a = malloc(0), *b = malloc(0), *c = calloc(0, 8), *d = realloc(NULL, 0);
    CHECK(a && b && c && d && a != b && c != d);
    free(a), free(b), free(c), free(d);
    errno = 4711;
    free(NULL);
    free_known(NULL, 0);
    CHECK(realloc(malloc(8), 0) == NULL);
    CHECK(reallocarray(malloc(8), 0, 8) == NULL);
    CHECK(malloc_usable_size(NULL) == 0);
    CHECK(errno == 4711);
}

static void check_calloc(void)
{
    for (size_t size = 1; size < (size_t)4 << 20; size = size * 3 + 1) {
        for (int again = 0; again < 3; again++) { /* what was used before is zeroed again */
            char *p = calloc(size, 1);
            CHECK(p && is_zero(p, size));
            memset(p, 0xff, size);
            free(p);
        }
    }
    errno = 0;
    CHECK(calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    errno = 0;
    CHECK(calloc((size_t)1 << 32, (size_t)1 << 32) == NULL && errno == ENOMEM);
}

static void check_realloc(void)
{
    size_t old = 1;
    char *p = malloc(1);
    *p = 'x';
    for (size_t size = 1; size < (size_t)8 << 20; old = size, size = size * 2 + 3) {
        p = realloc(p, size);
        CHECK(p && p[0] == 'x' && (old < 2 || p[old - 1] == 'y'));
        p[size - 1] = 'y';
        p[0] = 'x';
    }
    for (size_t size = old; size > 1; size /= 3) {
        p[size / 3] = 'z';
        p = realloc(p, size / 3 + 1);
        CHECK(p && p[0] == (size / 3 ? 'x' : 'z') && p[size / 3] == 'z');
    }
    for (int i = 0; i < TOO_LARGE; i++) {
        errno = 0;
        CHECK(realloc(p, too_large[i]) == NULL && errno == ENOMEM);
    }
    errno = 0;
    CHECK(reallocarray(p, SIZE_MAX / 2, 4) == NULL && errno == ENOMEM);
    p = reallocarray(p, 1000, 10);
    CHECK(p && malloc_usable_size(p) >= 10000);
    free(p);
    p = reallocarray(NULL, 10, 10);
    CHECK(p);
    free(p);
}

static void check_aligned(void)
{
    void *p;
    for (size_t align = 8; align <= (size_t)1 << 20; align *= 2)
        for (size_t size = 1; size < 300000; size = size * 7 + 5) {
            CHECK(!posix_memalign(&p, align, size) && is_aligned_to(p, align));
            object_fill(p, size);
            void *q = aligned_alloc(align, size), *r = memalign(align, size);
            CHECK(is_aligned_to(q, align) && is_aligned_to(r, align) && object_holds(p, size));
            CHECK(malloc_usable_size(q) >= size);
            memset(r, 1, size);
            r = realloc(r, size * 2);
            CHECK(r && ((char *)r)[size - 1] == 1);
            free(p);
            free_aligned_sized ? free_aligned_sized(q, align, size) : free(q);
            free(r);
        }
    for (size_t align = 1; align < 100; align++) { /* memalign takes any, and rounds it up */
        p = memalign(align, 100);
        CHECK(is_aligned_to(p, align & (align - 1) ? 1 : align));
        free(p);
    }
    p = memalign(100, 1);
    CHECK(is_aligned_to(p, 128));
    free(p);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    void *v = valloc(1), *w = pvalloc(page + 1), *zero = pvalloc(0);
    CHECK(is_aligned_to(v, page) && is_aligned_to(w, page) && is_aligned_to(zero, page));
    CHECK(malloc_usable_size(w) >= 2 * page);
    free(v), free(w), free(zero);
}

static void check_bad_alignments(void)
{
    static const size_t bad[] = {0, 1, 2, 4, 3, 24, 100, SIZE_MAX};
    void *untouched = &untouched, *p = untouched;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 4711;
        CHECK(posix_memalign(&p, bad[i], 64) == EINVAL && p == untouched && errno == 4711);
    }
    errno = 0;
    CHECK(aligned_alloc(0, 64) == NULL && errno == EINVAL);
    errno = 0;
    CHECK(aligned_alloc(24, 64) == NULL && errno == EINVAL);
    CHECK(posix_memalign(&p, (size_t)1 << 62, 64) == ENOMEM && p == untouched);
    CHECK(memalign((size_t)1 << 62, 64) == NULL && memalign(SIZE_MAX, 64) == NULL);
}

static void check_too_large(void)
{
    void *untouched = &untouched, *p = untouched;
    for (int i = 0; i < TOO_LARGE; i++) {
        size_t size = too_large[i];
        errno = 0;
        CHECK(malloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(calloc(size, 1) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(aligned_alloc(64, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(memalign(64, size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(valloc(size) == NULL && errno == ENOMEM);
        errno = 0;
        CHECK(pvalloc(size) == NULL && errno == ENOMEM);
        CHECK(posix_memalign(&p, 64, size) == ENOMEM && p == untouched);
    }
}

/* free keeps errno, also where it gives memory back to a kernel that refuses: locked pages. */
static void check_errno(void)
{
    for (size_t size = 8; size <= (size_t)8 << 20; size *= 2) {
        char *p = malloc(size), *q = malloc(size);
        CHECK(p && q);
        p[0] = p[size - 1] = q[0] = 1;
        int locked = !mlock(p, size); /* may be forbidden: then free has it easier */
        errno = 4711;
        free(p);
        free_known(q, size);
        malloc_trim(0);
        CHECK(errno == 4711);
        if (locked)
            munlock(p, size);
    }
}

static void check_trim(void)
{
    enum { N = 20000 };
    static void *p[N];
    for (int i = 0; i < N; i++)
        CHECK(p[i] = memset(malloc(1000), 1, 1000));
    for (int i = 0; i < N; i++)
        free(p[i]);
    int trimmed = malloc_trim(0);
    CHECK(trimmed == 0 || trimmed == 1);
}

int main(void)
{
    check_sizes();
    check_nothing();
    check_calloc();
    check_realloc();
    check_aligned();
    check_bad_alignments();
    check_too_large();
    check_errno();
    check_trim();
    puts("ok");
    return 0;
}
