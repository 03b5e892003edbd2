/*
 * rivals.c - one row of `make bench-rivals`: a plain program on whatever malloc its process has,
 * with no harness in it. tests/bench/rivals.py starts it once per library, row and block.
 *
 *     rivals ROW LIBRARY     prints "NS_PER_OP PEAK_RESIDENT_KIB MINOR_FAULTS"
 *
 * An op is one malloc or one free. The first byte of every object is written. A tenth of the ops
 * come first and are not timed; nothing but ops lies between the two clock reads, and everything
 * that is not under test lies in static memory that is touched before. The peak is VmHWM less the
 * pages of files (a library's code is no heap); ru_maxrss would start at what the parent had when
 * it forked. The row `null` does nothing: its peak on the C library is what all rows have in
 * common.
 *
 * LIBRARY must be what serves malloc, or the program refuses.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "tests/bench/served.h"

#define SMALL  64
#define RING   1000
#define LIVE   10000
#define SCRIPT (1u << 16) /* replacements of the mixed row, drawn before the clock starts */

static void *objects[LIVE];
static uint16_t script_slot[SCRIPT], script_size[SCRIPT];

static inline void *object_make(size_t size)
{
    char *p = malloc(size);
    if (!p) {
        fputs("rivals: malloc returned NULL\n", stderr);
        _Exit(1);
    }
    *(volatile char *)p = 1;
    return p;
}

/* ---- the rows: each makes `pairs` objects and frees as many ---- */

static void pairs_run(uint64_t pairs)
{
    for (uint64_t i = 0; i < pairs; i++)
        free(object_make(SMALL));
}

static void ring_run(uint64_t pairs)
{
    for (uint64_t i = 0, at = 0; i < pairs; i++) {
        free(objects[at]);
        objects[at] = object_make(SMALL);
        at = at + 1 == RING ? 0 : at + 1;
    }
}

static void batch_run(uint64_t pairs)
{
    for (uint64_t done = 0; done < pairs; done += RING) {
        for (size_t i = 0; i < RING; i++)
            objects[i] = object_make(SMALL);
        for (size_t i = 0; i < RING; i++)
            free(objects[i]);
    }
}

static void mixed_run(uint64_t pairs)
{
    for (uint64_t i = 0; i < pairs; i++) {
        uint32_t at = i % SCRIPT;
        free(objects[script_slot[at]]);
        objects[script_slot[at]] = object_make(script_size[at]);
    }
}

/* One producer, one consumer: the ring's indices are each written by one side only. */
#define HANDED 1024
static struct {
    _Alignas(64) _Atomic uint64_t made;
    _Alignas(64) _Atomic uint64_t taken;
    _Alignas(64) void *slot[HANDED];
} channel;

static void *consumer_main(void *arg)
{
    uint64_t pairs = *(const uint64_t *)arg;
    for (uint64_t i = 0; i < pairs; i++) {
        while (atomic_load_explicit(&channel.made, memory_order_acquire) == i)
            sched_yield();
        free(channel.slot[i % HANDED]);
        atomic_store_explicit(&channel.taken, i + 1, memory_order_release);
    }
    return NULL;
}

static void prodcons_run(uint64_t pairs)
{
    pthread_t consumer;
    atomic_store(&channel.made, 0);
    atomic_store(&channel.taken, 0);
    if (pthread_create(&consumer, NULL, consumer_main, &pairs)) {
        fputs("rivals: no second thread\n", stderr);
        _Exit(1);
    }
    for (uint64_t i = 0; i < pairs; i++) {
        void *p = object_make(SMALL);
        while (i - atomic_load_explicit(&channel.taken, memory_order_acquire) == HANDED)
            sched_yield();
        channel.slot[i % HANDED] = p;
        atomic_store_explicit(&channel.made, i + 1, memory_order_release);
    }
    pthread_join(consumer, NULL);
}

static void null_run(uint64_t pairs)
{
    (void)pairs;
}

static const struct {
    const char *name;
    void (*run)(uint64_t pairs);
    uint64_t pairs;
    unsigned live; /* objects that are there before */
} rows[] = {
    {"pairs", pairs_run, 10000000, 0},   {"ring", ring_run, 10000000, RING},
    {"batch", batch_run, 10000000, 0},   {"prodcons", prodcons_run, 2000000, 0},
    {"mixed", mixed_run, 5000000, LIVE}, {"null", null_run, 1, 0},
};

/* ---- before and after ---- */

/* 16 to 1024, as many in each octave: 16 * 2^(6u), the power of two by its halves. */
static uint16_t size_draw(uint64_t r)
{
    double size = 16, step = 64; /* 2^6 */
    for (int i = 0; i < 12; i++, r >>= 1) {
        double low = 1, high = step;
        for (int k = 0; k < 40; k++) { /* the square root of step */
            double middle = (low + high) / 2;
            *(middle * middle < step ? &low : &high) = middle;
        }
        step = low;
        if (r & 1)
            size *= step;
    }
    return size > 1024 ? 1024 : (uint16_t)size;
}

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void script_draw(void)
{
    uint64_t state = 88172645463325252u;
    for (uint32_t i = 0; i < SCRIPT; i++) {
        script_slot[i] = (uint16_t)(random_next(&state) % LIVE);
        script_size[i] = size_draw(random_next(&state) >> 16);
    }
}

/* A line of /proc/self/status, "Name:   123 kB"; -1 if it is not there. */
static long status_kib(const char *name)
{
    char line[256];
    long kib = -1;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)) && line[strlen(name)] == ':')
            kib = strtol(line + strlen(name) + 1, NULL, 10);
    if (f)
        fclose(f);
    return kib;
}

int main(int argc, char **argv)
{
    size_t row = 0, count = sizeof rows / sizeof *rows;
    while (argc == 3 && row < count && strcmp(rows[row].name, argv[1]))
        row++;
    if (argc != 3 || row == count) {
        fputs("usage: rivals pairs|ring|batch|prodcons|mixed|null LIBRARY\n", stderr);
        return 2;
    }
    if (!served_by(argv[2])) {
        fprintf(stderr, "rivals: malloc is not served by %s\n", argv[2]);
        return 2;
    }
    memset(objects, 0, sizeof objects);
    memset(channel.slot, 0, sizeof channel.slot);
    script_draw();
    for (unsigned i = 0; i < rows[row].live; i++)
        objects[i] = object_make(rows[row].live == LIVE ? script_size[i] : SMALL);
    rows[row].run(rows[row].pairs / 10);
    uint64_t start = now_ns();
    rows[row].run(rows[row].pairs);
    uint64_t took = now_ns() - start;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    long peak = status_kib("VmHWM") - status_kib("RssFile");
    printf("%.4f %ld %ld\n", (double)took / (2 * (double)rows[row].pairs), peak, usage.ru_minflt);
    return peak < 0;
}
