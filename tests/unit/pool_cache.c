/*
 * pool_cache.c - object caches as a program uses them: constructed once and used often, by many
 * threads, within a limit, and destructed when the memory goes back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "api/alloclab.h"

enum { STAMP = 0x5ca1ab1e, OUT = 1000 };

struct thing {
    unsigned stamp, uses;
    char rest[100];
};

static _Atomic size_t constructed, destructed;

static void thing_construct(void *object, void *arg)
{
    struct thing *thing = object;
    assert_ptr_equal(arg, &constructed);
    memset(thing, 0, sizeof *thing);
    thing->stamp = STAMP;
    constructed++;
}

static void thing_destruct(void *object, void *arg)
{
    assert_ptr_equal(arg, &constructed);
    assert_int_equal(((struct thing *)object)->stamp, STAMP);
    destructed++;
}

static struct alloclab_cache *cache_make(const struct alloclab_config *config)
{
    constructed = destructed = 0;
    struct alloclab_cache *cache = alloclab_cache_create(
        "things", sizeof(struct thing), 64, thing_construct, thing_destruct, &constructed, config);
    assert_non_null(cache);
    return cache;
}

static void objects_stay_constructed(void **state)
{
    (void)state;
    struct alloclab_cache *cache = cache_make(NULL);
    struct thing *out[OUT];
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < OUT; i++) {
            assert_non_null(out[i] = alloclab_cache_get(cache));
            assert_int_equal(out[i]->stamp, STAMP);
            assert_int_equal((uintptr_t)out[i] % 64, 0);
            out[i]->uses++;
        }
        for (unsigned i = 0; i < OUT; i++)
            alloclab_cache_put(cache, out[(i * 7) % OUT]);
    }
    assert_true(constructed >= OUT && constructed < 2 * OUT); /* of 50 * OUT uses */
    assert_true(destructed < constructed / 4); /* only so many empty slabs are kept */
    assert_null(alloclab_cache_check(cache));
    size_t before = alloclab_cache_usage(cache).committed_bytes;
    assert_true(before >= OUT * sizeof(struct thing));
    alloclab_cache_reap(cache);
    assert_int_equal(destructed, constructed);
    assert_true(alloclab_cache_usage(cache).committed_bytes < before / 2);
    assert_non_null(alloclab_cache_get(cache));
    assert_int_equal(alloclab_cache_destroy(cache), 1);
    assert_int_equal(destructed, constructed - 1);
}

static uint64_t fake_now(void *ctx)
{
    return *(const uint64_t *)ctx;
}

static void ticks_give_back_what_is_idle(void **state)
{
    (void)state;
    uint64_t now = 1;
    const struct alloclab_config config = {.now_ns = fake_now, .ctx = &now};
    struct alloclab_cache *cache = cache_make(&config);
    void *out[OUT];
    for (unsigned i = 0; i < OUT; i++)
        out[i] = alloclab_cache_get(cache);
    for (unsigned i = 0; i < OUT; i++)
        alloclab_cache_put(cache, out[i]);
    size_t kept = alloclab_cache_usage(cache).committed_bytes;
    for (unsigned i = 0; i < 5; i++) {
        now += 1000;
        alloclab_cache_tick(cache);
        assert_int_equal(alloclab_cache_usage(cache).committed_bytes, kept);
    }
    for (unsigned i = 0; i < 5; i++) {
        now += UINT64_C(2000000000);
        alloclab_cache_tick(cache);
    }
    assert_true(alloclab_cache_usage(cache).committed_bytes < kept);
    assert_true(destructed > OUT / 2);
    assert_int_equal(alloclab_cache_destroy(cache), 0);
}

static void requests_and_limits(void **state)
{
    (void)state;
    static const struct {
        size_t size, align;
    } bad[] = {{((size_t)1 << 20) + 1, 0}, {SIZE_MAX, 0}, {10, 3}, {10, (size_t)16 << 10}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        errno = 0;
        assert_null(
            alloclab_cache_create("bad", bad[i].size, bad[i].align, NULL, NULL, NULL, NULL));
        assert_int_equal(errno, EINVAL);
    }
    const struct alloclab_config wrong = {.memory = "thp=often"},
                                 few = {.commit_limit_bytes = 1 << 20};
    errno = 0;
    assert_null(alloclab_cache_create("bad", 10, 0, NULL, NULL, NULL, &wrong));
    assert_int_equal(errno, EINVAL);
    struct alloclab_cache *cache = alloclab_cache_create("few", 0, 0, NULL, NULL, NULL, &few);
    assert_non_null(cache);
    alloclab_cache_put(cache, NULL);
    errno = 0;
    size_t out = 0;
    while (alloclab_cache_get(cache))
        out++;
    assert_int_equal(errno, ENOMEM);
    assert_true(out > 1000);
    assert_true(alloclab_cache_usage(cache).peak_committed_bytes <= 1 << 20);
    assert_int_equal(alloclab_cache_destroy(cache), out);
    assert_int_equal(alloclab_cache_destroy(NULL), 0);
}

struct worker {
    struct alloclab_cache *cache;
    unsigned seen; /* objects that were not constructed, or somebody else's */
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct thing *out[64];
    for (unsigned round = 0; round < 300; round++) {
        for (unsigned i = 0; i < 64; i++) {
            out[i] = alloclab_cache_get(worker->cache);
            worker->seen += !out[i] || out[i]->stamp != STAMP || out[i]->uses;
            if (out[i])
                out[i]->uses = 1;
        }
        for (unsigned i = 0; i < 64; i++) {
            if (out[i])
                out[i]->uses = 0;
            alloclab_cache_put(worker->cache, out[i]);
        }
    }
    return NULL;
}

static void threads_share_a_cache(void **state)
{
    (void)state;
    struct alloclab_cache *cache = cache_make(NULL);
    struct worker workers[3];
    pthread_t threads[3];
    for (unsigned t = 0; t < 3; t++) {
        workers[t] = (struct worker){cache, 0};
        assert_int_equal(pthread_create(&threads[t], NULL, work, &workers[t]), 0);
    }
    for (unsigned t = 0; t < 3; t++) {
        assert_int_equal(pthread_join(threads[t], NULL), 0);
        assert_int_equal(workers[t].seen, 0);
    }
    assert_null(alloclab_cache_check(cache));
    assert_int_equal(alloclab_cache_destroy(cache), 0);
    assert_int_equal(constructed, destructed);
}

static void a_forked_child_has_its_own(void **state)
{
    (void)state;
    struct alloclab_cache *cache = cache_make(NULL);
    struct thing *mine = alloclab_cache_get(cache);
    int status;
    alloclab_cache_fork(cache, ALLOCLAB_FORK_BEFORE);
    pid_t pid = fork();
    alloclab_cache_fork(cache, pid ? ALLOCLAB_FORK_PARENT : ALLOCLAB_FORK_CHILD);
    if (pid == 0) {
        struct thing *other = alloclab_cache_get(cache);
        int wrong = !other || other == mine || other->stamp != STAMP;
        alloclab_cache_put(cache, mine);
        _exit(wrong || alloclab_cache_check(cache));
    }
    assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
    assert_int_equal(status, 0);
    alloclab_cache_put(cache, mine);
    assert_null(alloclab_cache_check(cache));
    assert_int_equal(alloclab_cache_destroy(cache), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_stay_constructed),
        cmocka_unit_test(ticks_give_back_what_is_idle),
        cmocka_unit_test(requests_and_limits),
        cmocka_unit_test(threads_share_a_cache),
        cmocka_unit_test(a_forked_child_has_its_own),
    };
    return cmocka_run_group_tests_name("pool_cache", tests, NULL, NULL);
}
