/*
 * switches.c - four threads allocate, realloc and free blocks of 700 bytes and more, one at a time, while a fifth one stops and
 * starts the recording 200 times, and a sixth does so by the signal USR2: many calls are under way when it happens.
 */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/alloclab_mark.h"

enum { WORKERS = 4, SWITCHES = 200 };

static _Atomic int ended;

static void *works(void *arg)
{
    (void)arg;
    while (!ended) {
        void *p = malloc(700);
        p = realloc(p, 701);
        free(p);
    }
    return NULL;
}

static void *signals(void *arg)
{
    (void)arg;
    for (int i = 0; i < SWITCHES; i++) {
        kill(getpid(), SIGUSR2);
        usleep(50);
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[WORKERS + 1];
    for (int i = 0; i < WORKERS; i++)
        pthread_create(&threads[i], NULL, works, NULL);
    pthread_create(&threads[WORKERS], NULL, signals, NULL);
    for (int i = 0; i < SWITCHES; i++) {
        alloclab_recording(i % 2);
        usleep(50);
    }
    pthread_join(threads[WORKERS], NULL);
    ended = 1;
    for (int i = 0; i < WORKERS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
