/*
 * hundred.c - a hundred threads that live at once and free each other's blocks, and three hundred more, one after
 * another.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

enum { THREADS = 100, BLOCKS = 200, LATER = 300, LATER_BLOCKS = 50 };

static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t filled;

static void *thread_main(void *arg)
{
    int me = (int)(intptr_t)arg;
    for (int i = 0; i < BLOCKS; i++)
        blocks[me][i] = malloc(501);
    pthread_barrier_wait(&filled);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[(me + 1) % THREADS][i]);
    return NULL;
}

static void *later_main(void *arg)
{
    (void)arg;
    for (int i = 0; i < LATER_BLOCKS; i++)
        free(malloc(502));
    return NULL;
}

int main(void)
{
    static pthread_t threads[THREADS];
    pthread_barrier_init(&filled, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, thread_main, (void *)(intptr_t)i) != 0)
            return 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < LATER; i++)
        if (pthread_create(&threads[0], NULL, later_main, NULL) != 0 ||
            pthread_join(threads[0], NULL) != 0)
            return 1;
    return 0;
}
