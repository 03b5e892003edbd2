/*
 * marks.c - scopes: nested, interleaved by switches, ended by another thread, and marks that make
 * no sense.
 */
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "api/alloclab_mark.h"

static void *thread_main(void *arg)
{
    uint64_t scope = *(uint64_t *)arg;
    void *volatile p;
    alloclab_scope_switch(scope);
    p = malloc(8004);
    (void)p;
    alloclab_scope_end(scope);
    return NULL;
}

int main(void)
{
    pthread_t thread;
    void *volatile p;
    uint64_t outer = alloclab_scope_begin(), inner = alloclab_scope_begin();
    p = malloc(8001);
    alloclab_scope_end(inner);
    p = malloc(8002);
    uint64_t second = alloclab_scope_begin();
    alloclab_scope_switch(ALLOCLAB_NO_SCOPE);
    p = malloc(8003);
    (void)p;
    if (pthread_create(&thread, NULL, thread_main, &second) != 0)
        return 1;
    pthread_join(thread, NULL);
    alloclab_scope_end(outer);
    alloclab_scope_end(outer);    /* not open any more */
    alloclab_scope_switch(inner); /* nor this one */
    alloclab_scope_end(ALLOCLAB_NO_SCOPE);
    return 0;
}
