/*
 * forks.c - a program whose threads allocate all the time forks again and again. The child goes on
 * with the heap: it checks and frees what was live, allocates, starts a thread, forks once more. A
 * heap that was locked when it was copied shows as a child that never ends, so an alarm ends it.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "tests/dropin/programs/check.h"

enum { THREADS = 3, KEPT = 500 };

static atomic_int stop;
static atomic_int handlers;
static void *kept[KEPT];
static size_t kept_bytes[KEPT];

static void *churn(void *arg)
{
    void *p[64] = {NULL};
    unsigned random = (unsigned)(uintptr_t)arg;
    while (!stop) {
        random = random * 1103515245 + 12345;
        unsigned i = random >> 16 & 63;
        free(p[i]);
        p[i] = malloc((random >> 8) % ((random & 0xf0) ? 300 : 200000) + 1);
        CHECK(p[i]);
        memset(p[i], 1, 1);
    }
    for (int i = 0; i < 64; i++)
        free(p[i]);
    return NULL;
}

static void *allocate_some(void *arg)
{
    for (size_t i = 1; i < 2000; i += 7) {
        void *p = malloc(i), *q = calloc(i, 3);
        CHECK(p && q);
        memset(p, 2, i);
        free(p);
        free(q);
    }
    return arg;
}

/* A handler that allocates, as some libraries have. */
static void handler(void)
{
    free(malloc(100));
    handlers++;
}

static void child(int depth)
{
    pthread_t thread;
    alarm(20);
    for (int i = 0; i < KEPT; i++) {
        CHECK(object_holds(kept[i], kept_bytes[i]));
        if (i % 2)
            free(kept[i]);
    }
    allocate_some(NULL);
    CHECK(!pthread_create(&thread, NULL, allocate_some, NULL));
    pid_t pid = depth ? 0 : fork();
    if (!depth && !pid) {
        allocate_some(NULL);
        _exit(0);
    }
    CHECK(!pthread_join(thread, NULL));
    int status = 0;
    if (pid)
        CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    _exit(0);
}

int main(int argc, char **argv)
{
    int forks = argc > 1 ? atoi(argv[1]) : 50;
    pthread_t thread[THREADS];
    pthread_atfork(handler, handler, handler);
    for (int i = 0; i < KEPT; i++) {
        kept_bytes[i] = (size_t)i * i % 3000 + 1;
        kept[i] = malloc(kept_bytes[i]);
        object_fill(kept[i], kept_bytes[i]);
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        CHECK(!pthread_create(&thread[i], NULL, churn, (void *)i));
    for (int n = 0; n < forks; n++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (!pid)
            child(n % 4);
        int status;
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(status == 0);
        allocate_some(NULL);
    }
    CHECK(handlers == 2 * forks);
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        CHECK(!pthread_join(thread[i], NULL));
    puts("ok");
    return 0;
}
