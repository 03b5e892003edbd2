/*
 * os_outside.c - what a timed door does outside its lock. This program's own madvise() stays inside
 * until it is let go, so that it is certain that the others did not wait for it, and that a fork
 * does. errno stays as it was.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/lib/os.h"

enum { OPEN, HELD, INSIDE, LET_GO }; /* HELD: the next madvise stays inside */

static atomic_int gate;
static atomic_bool refusing; /* madvise fails */
static size_t page;

int madvise(void *p, size_t bytes, int advice)
{
    int held = HELD;
    if (atomic_compare_exchange_strong(&gate, &held, INSIDE)) {
        while (atomic_load(&gate) == INSIDE)
            sched_yield();
        usleep(20000); /* whoever does not wait for it is past it by now */
        atomic_store(&gate, OPEN);
    }
    if (atomic_load(&refusing)) {
        errno = EAGAIN;
        return -1;
    }
    return (int)syscall(SYS_madvise, p, bytes, advice);
}

struct call {
    struct os *os;
    char *p;
    int result;
};

static void *decommit_main(void *arg)
{
    struct call *call = arg;
    call->result = os_decommit(call->os, call->p, 4 * page);
    return NULL;
}

/* Returns with a thread inside madvise. */
static pthread_t decommit_begin(struct call *call)
{
    pthread_t thread;
    atomic_store(&gate, HELD);
    assert_int_equal(pthread_create(&thread, NULL, decommit_main, call), 0);
    while (atomic_load(&gate) != INSIDE)
        sched_yield();
    return thread;
}

static void test_others_go_on(void **state)
{
    (void)state;
    struct os *os = os_open(&(struct os_config){.observe = false});
    struct call call = {.os = os, .p = os_map(os, 4 * page, 1), .result = 1};
    pthread_t thread = decommit_begin(&call);
    char *p = os_map(os, 2 * page, 1); /* each would wait for ever */
    assert_non_null(p);
    assert_int_equal(os_decommit(os, p, page), 0);
    assert_int_equal(os_commit(os, p, page), 0);
    assert_int_equal(os_counts(os).committed_bytes, 6 * page); /* not yet returned */
    os_release(os, p, 2 * page);
    assert_int_equal(atomic_load(&gate), INSIDE);
    atomic_store(&gate, LET_GO);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(call.result, 0);
    assert_int_equal(os_counts(os).committed_bytes, 0);
    os_close(os);
}

static void test_fork_waits(void **state)
{
    (void)state;
    struct os *os = os_open(&(struct os_config){.observe = false});
    struct call call = {.os = os, .p = os_map(os, 4 * page, 1), .result = 1};
    pthread_t thread = decommit_begin(&call);
    atomic_store(&gate, LET_GO);
    os_fork_before(os);
    assert_int_equal(atomic_load(&gate), OPEN);
    os_fork_after(os);
    assert_int_equal(pthread_join(thread, NULL), 0);
    os_close(os);
}

/* A decommit that the kernel refuses has changed nothing. */
static void test_refused(void **state)
{
    (void)state;
    struct os *os = os_open(&(struct os_config){.observe = false});
    char *p = os_map(os, 4 * page, 1);
    memset(p, 1, 4 * page);
    atomic_store(&refusing, true);
    errno = 0;
    assert_int_equal(os_decommit(os, p, 2 * page), -EAGAIN);
    assert_int_equal(os_decommit_lazy(os, p, 2 * page), -EAGAIN);
    assert_int_equal(errno, 0);
    struct os_counts counts = os_counts(os);
    assert_int_equal(counts.committed_bytes, 4 * page);
    assert_int_equal(counts.lazy_bytes, 0);
    atomic_store(&refusing, false);
    assert_int_equal(os_decommit_lazy(os, p, 2 * page), 0);
    assert_int_equal(os_counts(os).lazy_bytes, 2 * page);
    os_close(os);
}

int main(void)
{
    page = os_page_bytes();
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_others_go_on),
                                       cmocka_unit_test(test_fork_waits),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests_name("os_outside", tests, NULL, NULL);
}
