/*
 * churn.c - three threads hand blocks to each other through atomic slots as fast as they can, with
 * reallocs, so that an address is released by one thread and given to another all the time: an
 * order that is not the true one would show. Enough ops to cross segments of the capture. First
 * closes every descriptor it does not know, and leaves for another folder. Live at the end: nothing
 * of its own.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { THREADS = 3, ROUNDS = 30000, SLOTS = 64 };

static void *_Atomic slots[SLOTS];

static void *thread_main(void *arg)
{
    uint64_t x = (uint64_t)(uintptr_t)arg * 977 + 1;
    for (int i = 0; i < ROUNDS; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        void *p = malloc(16 + (x >> 60) * 16);
        if (x >> 33 & 1)
            p = realloc(p, 32 + (x >> 56 & 15) * 64);
        free(atomic_exchange(&slots[x >> 40 & (SLOTS - 1)], p));
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    for (int fd = 3; fd < 256; fd++)
        close(fd);
    if (chdir("/") != 0)
        return 1;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_main, (void *)(uintptr_t)(i + 1)) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < SLOTS; i++)
        free(slots[i]);
    return 0;
}
