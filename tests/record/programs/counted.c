/*
 * counted.c FILE THREADS - threads hand blocks to each other without end, and count each call that has
 * returned, in FILE, which outlives them: who kills them can compare. A thread's count stands in
 * a cache line of its own; its name is its line's number.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "api/alloclab_mark.h"

enum { MOST_THREADS = 8, SLOTS = 64, LINE = 64 };

static unsigned char *lines;
static void *_Atomic slots[SLOTS];

static void *thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;
    volatile uint64_t *calls = (void *)(lines + me * LINE);
    uint64_t x = (uint64_t)me * 977 + (uint64_t)getpid();
    char name[] = "0";
    name[0] = (char)('0' + me);
    alloclab_thread_name(name);
    for (;;) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        void *p = malloc(16 + (x >> 60) * 16);
        ++*calls;
        if (x >> 33 & 1) {
            p = realloc(p, 32 + (x >> 56 & 15) * 64);
            ++*calls;
        }
        free(atomic_exchange(&slots[x >> 40 & (SLOTS - 1)], p));
        ++*calls;
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int threads = argc == 3 ? atoi(argv[2]) : 0, fd = argc == 3 ? open(argv[1], O_RDWR) : -1;
    pthread_t thread;
    if (threads < 1 || threads > MOST_THREADS || fd < 0)
        return 2;
    lines = mmap(NULL, MOST_THREADS * LINE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (lines == MAP_FAILED)
        return 2;
    if (threads == 1)
        thread_main((void *)0); /* without another thread: stamps are made in another way */
    for (int i = 0; i < threads; i++)
        if (pthread_create(&thread, NULL, thread_main, (void *)(intptr_t)i) != 0)
            return 2;
    return pause();
}
