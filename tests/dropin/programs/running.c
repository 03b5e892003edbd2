/*
 * running.c - the process ends while other threads of it allocate, free each other's objects, and
 * take no notice.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/dropin/programs/check.h"

enum { THREADS = 4, OBJECTS = 256, PLACES = 64 };

static void *_Atomic places[PLACES];

static void *work(void *arg)
{
    void *own[OBJECTS] = {NULL};
    for (uint32_t draw = (uint32_t)(uintptr_t)arg;;) {
        draw = draw * 1103515245 + 12345;
        void **place = &own[(draw >> 16) % OBJECTS];
        if (*place)
            free(atomic_exchange(&places[(draw >> 24) % PLACES], *place));
        *place = *place ? NULL : malloc(16 + (draw >> 8) % 2000);
    }
    return NULL;
}

int main(void)
{
    for (uintptr_t i = 1; i <= THREADS; i++) {
        pthread_t thread;
        CHECK(!pthread_create(&thread, NULL, work, (void *)i));
    }
    usleep(30000);
    puts("ok");
    return 0;
}
