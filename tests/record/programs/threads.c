/*
 * threads.c - four threads fill a table each, and each empties its neighbour's: every free crosses
 * threads. Each thread has a key whose destructor frees a block after the thread's function has
 * returned, and a name.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/alloclab_mark.h"

enum { THREADS = 4, BLOCKS = 5000 };

static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t filled;
static pthread_key_t late;

static void late_free(void *p)
{
    free(p);
}

static void *thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;
    char name[] = "worker 0";
    name[7] = (char)(name[7] + me);
    alloclab_thread_name(name);
    pthread_setspecific(late, malloc(3000));
    for (int i = 0; i < BLOCKS; i++)
        blocks[me][i] = malloc(3001 + (size_t)(i % 7));
    pthread_barrier_wait(&filled);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[(me + 1) % THREADS][i]);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&filled, NULL, THREADS);
    pthread_key_create(&late, late_free);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
