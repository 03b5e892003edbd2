/*
 * record_handover.c [BLOCKS] - one thread allocates blocks of 16 to 271 bytes, another one frees them: a ring of 1024 between them.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

enum { RING = 1024 };

static void *ring[RING];
static _Alignas(64) _Atomic uint64_t made;
static _Alignas(64) _Atomic uint64_t taken;
static uint64_t blocks = 10000000;

static void *consumer(void *arg)
{
    (void)arg;
    for (uint64_t i = 0; i < blocks; i++) {
        while (atomic_load_explicit(&made, memory_order_acquire) == i)
            sched_yield();
        free(ring[i % RING]);
        atomic_store_explicit(&taken, i + 1, memory_order_release);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    uint64_t x = 1;
    if (argc > 1)
        blocks = strtoull(argv[1], NULL, 10);
    if (pthread_create(&thread, NULL, consumer, NULL) != 0)
        return 1;
    for (uint64_t i = 0; i < blocks; i++) {
        x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
        void *p = malloc(16 + (x >> 56));
        *(volatile char *)p = 1;
        while (i - atomic_load_explicit(&taken, memory_order_acquire) == RING)
            sched_yield();
        ring[i % RING] = p;
        atomic_store_explicit(&made, i + 1, memory_order_release);
    }
    return pthread_join(thread, NULL);
}
