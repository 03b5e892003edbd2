/*
 * ops8_loop.c - the bare loop of `make bench-agreement`: replays a flat file of 8-byte ops
 * (traces/formats/ops8.c says its form) on whatever malloc its process has, calling it directly,
 * with nothing of the harness linked in (layouts.h is a list of places). tests/bench/agreement.py starts it.
 *
 *     ops8_loop FILE LIBRARY SECONDS     prints "NS_PER_OP COLD_NS_PER_OP PASSES"
 *
 * It measures as a throughput cell says that it does: the first byte of every new object is
 * written, slots are prefetched 16 ops ahead, the first pass stands apart, further ones follow
 * until SECONDS are over, what is live before the trace and left by it lies outside the clock, and
 * the figure is the median of those passes. Files and tables are mappings of their own, in memory
 * before the clock starts. LIBRARY must be what serves malloc, or the program refuses.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "harness/layouts.h"
#include "tests/bench/served.h"

#define AHEAD      16
#define PASSES_MAX 65536

struct header {
    char magic[8];
    uint64_t ops, slots, start, main, end;
};

enum { ALLOC, FREE, CALLOC, REALLOC, NONE };

static uint64_t took_ns[PASSES_MAX];

static void die(const char *what, const char *file)
{
    fprintf(stderr, "ops8_loop: %s: %s\n", file, what);
    exit(2);
}

static void *map(size_t bytes, int fd, const char *file)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_POPULATE | (fd < 0 ? MAP_ANONYMOUS : 0), fd, 0);
    if (p == MAP_FAILED)
        die("cannot map it", file);
    return p;
}

static inline void *made(void *p)
{
    if (__builtin_expect(!p, 0))
        die("malloc returned NULL", "out of memory");
    return p;
}

static __attribute__((noinline)) void *rare(unsigned kind, void *old, size_t size)
{
    void *p;
    if (kind == REALLOC)
        return made(realloc(old, size));
    if (kind == CALLOC)
        p = made(calloc(1, size));
    else
        p = made(posix_memalign(&p, (size_t)1 << kind, size) ? NULL : p);
    *(volatile char *)p = 1;
    return p;
}

static inline __attribute__((always_inline)) void run(const uint64_t *op, uint64_t count,
                                                      void **slots)
{
    for (const uint64_t *end = op + count; op < end; op++) {
        uint64_t word = *op;
        unsigned kind = (unsigned)(word >> 60);
        void **slot = &slots[(word >> 32) & 0xfffffff];
        size_t size = (uint32_t)word;
        __builtin_prefetch(&slots[(op[AHEAD] >> 32) & 0xfffffff], 1);
        if (kind == ALLOC) {
            *slot = made(malloc(size));
            **(volatile char **)slot = 1;
        } else if (__builtin_expect(kind == FREE, 1)) {
            free(*slot);
        } else if (kind != NONE) {
            *slot = rare(kind, *slot, size);
        }
    }
}

/* As a throughput cell, it takes copies of the loop in turn. */
#define LOOP_DEFINE(copy, bytes)                                                                   \
    static LAYOUT_AT(bytes) void loop_##copy(const uint64_t *op, uint64_t count, void **slots)     \
    {                                                                                              \
        LAYOUT_COPY(copy);                                                                         \
        run(op, count, slots);                                                                     \
    }
LAYOUTS_EACH(LOOP_DEFINE)

#define LOOP_ENTRY(copy, bytes) loop_##copy,
static void (*const loops[LAYOUTS])(const uint64_t *, uint64_t,
                                    void **) = {LAYOUTS_EACH(LOOP_ENTRY)};

static int order(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static uint64_t pass(const struct header *h, const uint64_t *ops, void **slots)
{
    static unsigned next;
    void (*loop)(const uint64_t *, uint64_t, void **) = loops[next++ % LAYOUTS];
    loop(ops, h->start, slots);
    uint64_t start = now_ns();
    loop(ops + h->start, h->main, slots);
    uint64_t took = now_ns() - start;
    loop(ops + h->start + h->main, h->end, slots);
    return took;
}

int main(int argc, char **argv)
{
    struct stat status;
    if (argc != 4) {
        fputs("usage: ops8_loop FILE LIBRARY SECONDS\n", stderr);
        return 2;
    }
    if (!served_by(argv[2]))
        die("malloc is not served by it", argv[2]);
    int fd = open(argv[1], O_RDONLY);
    if (fd < 0 || fstat(fd, &status))
        die("cannot read it", argv[1]);
    size_t bytes = (size_t)status.st_size;
    char *file = map(bytes + AHEAD * sizeof(uint64_t), -1, argv[1]);
    if (read(fd, file, bytes) != (ssize_t)bytes)
        die("cannot read all of it", argv[1]);
    const struct header *h = (const void *)file;
    if (bytes < sizeof *h || memcmp(h->magic, "OPS8 v1\n", 8) || !h->ops ||
        bytes != sizeof *h + 8 * (h->start + h->main + h->end))
        die("not a file of 8-byte ops with at least one", argv[1]);
    void **slots = map((h->slots + 1) * sizeof *slots, -1, argv[1]);
    const uint64_t *ops = (const uint64_t *)(h + 1);
    memset(took_ns, 0, sizeof took_ns);
    uint64_t cold = pass(h, ops, slots), wanted = (uint64_t)(atof(argv[3]) * 1e9);
    size_t passes = 0;
    for (uint64_t start = now_ns(); passes < PASSES_MAX && (!passes || now_ns() - start < wanted);)
        took_ns[passes++] = pass(h, ops, slots);
    qsort(took_ns, passes, sizeof *took_ns, order);
    uint64_t middle = passes / 2, below = (passes - 1) / 2;
    double median = ((double)took_ns[below] + (double)took_ns[middle]) / 2;
    printf("%.6f %.6f %zu\n", median / (double)h->ops, (double)cold / (double)h->ops, passes);
    return 0;
}
