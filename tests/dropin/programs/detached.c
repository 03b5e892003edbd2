/*
 * detached.c - threads that nobody joins, more at a time than the C library keeps stacks for, so
 * that each at its very end, after all destructors, frees what the C library held for one that
 * ended before. Two of three allocate as well: `detached COUNT`.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "tests/dropin/programs/check.h"

enum { AT_ONCE = 30, STACK_BYTES = 8 << 20 };

static atomic_int running;

static void *work(void *arg)
{
    if (arg)
        free(malloc(100));
    usleep(1000);
    running--;
    return NULL;
}

int main(int argc, char **argv)
{
    unsigned long count = argc > 1 ? strtoul(argv[1], NULL, 10) : 100;
    pthread_attr_t attr;
    CHECK(!pthread_attr_init(&attr));
    CHECK(!pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
    CHECK(!pthread_attr_setstacksize(&attr, STACK_BYTES));
    for (uintptr_t i = 0; i < count; i++) {
        pthread_t thread;
        while (running >= AT_ONCE)
            usleep(100);
        running++;
        CHECK(!pthread_create(&thread, &attr, work, (void *)(i % 3)));
    }
    while (running)
        usleep(1000);
    usleep(20000);
    puts("ok");
    return 0;
}
