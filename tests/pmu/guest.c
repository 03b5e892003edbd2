/*
 * guest.c - counts work of a known size with the harness's own counters, inside an emulated machine
 * (tests/pmu/prove.py): what the counters must say there is known to the digit.
 *
 *   guest EVENTS WORK SIZE [GROUPS]
 *
 * EVENTS as in --counters. WORK: `loop`, SIZE turns of a few instructions; `read` and `write`, one
 * byte of each of SIZE pages that are there but whose translations are not at hand. With GROUPS the
 * events are opened so many times over and count at once, more than the PMU has counters for.
 * Prints a line "event value raw running_ratio note" for each event of each group.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "harness/counter_probe.h"

#define GROUPS_MAX 16

static struct counter_list list;
static struct counter_thread thread[GROUPS_MAX];
static struct counter_count counts[GROUPS_MAX][COUNTERS_MAX];
static struct counter_place place;

static void loop(volatile unsigned char *pages, size_t turns, size_t page)
{
    (void)pages, (void)page;
    for (size_t i = 0; i < turns; i++)
        __asm__ volatile("nop\n\tnop");
}

static void pages_read(volatile unsigned char *pages, size_t count, size_t page)
{
    for (size_t i = 0; i < count; i++)
        (void)pages[i * page];
}

static void pages_write(volatile unsigned char *pages, size_t count, size_t page)
{
    for (size_t i = 0; i < count; i++)
        pages[i * page] = 2;
}

static const struct {
    const char *name;
    bool pages; /* it needs as many pages as its size says */
    void (*run)(volatile unsigned char *pages, size_t count, size_t page);
} works[] = {{"loop", false, loop}, {"read", true, pages_read}, {"write", true, pages_write}};

/* Pages that are there; the kernel forgets all translations when the right to them changes. */
static unsigned char *pages_make(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                   -1, 0);
    if (p == MAP_FAILED || mprotect(p, bytes, PROT_READ) ||
        mprotect(p, bytes, PROT_READ | PROT_WRITE)) {
        perror("guest: no pages");
        exit(2);
    }
    memset(p, 1, bytes);
    mprotect(p, bytes, PROT_READ);
    mprotect(p, bytes, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < bytes; i += (size_t)sysconf(_SC_PAGESIZE))
        ((volatile unsigned char *)p)[i] = 1;
    return p;
}

static void counts_print(unsigned groups)
{
    for (unsigned g = 0; g < groups; g++)
        for (uint32_t i = 0; i < list.counters; i++) {
            const struct counter_count *count = &counts[g][i];
            char note[256];
            counter_say(&list, counts[g], i, &place, note, sizeof note);
            printf("%s %.0f %llu %.3f %s\n", list.counter[i].name, count->value,
                   (unsigned long long)count->raw,
                   count->enabled_ns ? (double)count->running_ns / (double)count->enabled_ns : 0,
                   note);
        }
}

static void groups_count(unsigned groups, unsigned work, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = works[work].pages ? pages_make(size * page) : NULL;
    for (unsigned g = 0; g < groups; g++)
        counter_thread_open(&thread[g], &perf_door_kernel, &list, 0);
    for (unsigned g = 0; g < groups; g++) {
        counter_refusals(&thread[g], counts[g]);
        for (unsigned k = 0; k < thread[g].groups; k++)
            counter_start(&thread[g], k);
    }
    works[work].run(pages, size, page);
    for (unsigned g = 0; g < groups; g++)
        for (unsigned k = 0; k < thread[g].groups; k++)
            counter_stop(&thread[g], k, counts[g]);
    for (unsigned g = 0; g < groups; g++)
        counter_thread_close(&thread[g]);
}

int main(int argc, char **argv)
{
    struct error err;
    unsigned work = 0, works_count = sizeof works / sizeof *works;
    while (argc >= 4 && work < works_count && strcmp(works[work].name, argv[2]))
        work++;
    unsigned groups = argc == 5 ? (unsigned)atoi(argv[4]) : 1;
    if (argc < 4 || work == works_count || !groups || groups > GROUPS_MAX) {
        fprintf(stderr, "guest: usage: guest EVENTS loop|read|write SIZE [GROUPS]\n");
        return 2;
    }
    if (counter_list_parse(argv[1], &list, &err)) {
        fprintf(stderr, "guest: %s\n", err.text);
        return 2;
    }
    counter_probe(&list, &perf_door_kernel, counts[0], &place);
    memset(counts, 0, sizeof counts);
    groups_count(groups, work, strtoull(argv[3], NULL, 10));
    counts_print(groups);
    return 0;
}
