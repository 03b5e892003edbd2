/*
 * forking.c - see forking.h. The child asserts nothing, as a failed assertion would go on with the
 * parent's tests there: it says by its exit status what it found.
 */
#include "tests/lib/forking.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "allocators/lib/bits.h"
#include "tests/lib/rig.h"
#include "workloads/lib/rng.h"

enum { FORKS = 8, FORKERS = 3, FORK_OBJECTS = 300 };

struct forker { /* a thread that allocates and frees all the while */
    const struct rig *rig;
    struct heap *view;
    uint64_t seed;
    _Atomic bool *stop;
};

static void *forker_main(void *arg)
{
    struct forker *f = arg;
    const struct allocator *design = f->rig->design;
    char *own[64] = {NULL};
    size_t sizes[64];
    struct rng rng = rng_stream(f->seed, 0);
    while (!atomic_load(f->stop)) {
        unsigned i = (unsigned)rng_below(&rng, 64);
        if (own[i]) {
            design->free(f->view, own[i], sizes[i]);
            own[i] = NULL;
        } else {
            sizes[i] =
                1 + rng_below(&rng, (size_t)16 << rng_below(&rng, rng_below(&rng, 32) ? 12 : 17));
            own[i] = design->alloc(f->view, sizes[i], 16);
            if (own[i])
                memset(own[i], 1, size_min(sizes[i], 64));
        }
    }
    for (unsigned i = 0; i < 64; i++)
        if (own[i])
            design->free(f->view, own[i], sizes[i]);
    return NULL;
}

/* A thread by which memory is on its way back to the kernel all the while. */
static void *upkeep_main(void *arg)
{
    const struct forker *f = arg;
    const struct allocator *design = f->rig->design;
    uint64_t now_ns = f->rig->clock_ns;
    for (unsigned i = 0; !atomic_load(f->stop); i++) {
        if (design->tick)
            design->tick(f->rig->heap, now_ns += UINT64_C(2000000000));
        if (design->trim && i % 16 == 0)
            design->trim(f->rig->heap);
    }
    return NULL;
}

static void bytes_count(void *arg, const struct walk_item *item)
{
    *(size_t *)arg += item->bytes;
}

/* The child's exit status: 0, or which of its expectations failed. */
static int fork_child(struct rig *rig, char *const *kept)
{
    static char *p[FORK_OBJECTS];
    const struct allocator *design = rig->design;
    if (design->check && design->check(rig->heap))
        return 1;
    for (unsigned i = 0; i < FORK_OBJECTS; i++) {
        p[i] = design->alloc(rig->view, 1 + i * 31, 16);
        if (!p[i])
            return 2;
        memset(p[i], 2, 1 + i * 31);
    }
    for (unsigned i = 0; i < 64; i++) { /* from before the fork */
        if (kept[i][0] != 3)
            return 3;
        design->free(rig->view, kept[i], 100);
    }
    for (unsigned i = 0; i < FORK_OBJECTS; i++)
        design->free(rig->view, p[i], 1 + i * 31);
    if (design->tick)
        design->tick(rig->heap, rig->clock_ns + UINT64_C(5000000000));
    if (design->trim)
        design->trim(rig->heap);
    size_t told = 0;
    design->walk(rig->heap, bytes_count, &told);
    if (told != os_counts(rig->os).committed_bytes)
        return 4;
    return design->check && design->check(rig->heap) ? 5 : 0;
}

static void fork_once(struct rig *rig, char *const *kept)
{
    int status;
    rig->design->fork(rig->heap, ALLOCATOR_FORK_BEFORE);
    os_fork_before(rig->os);
    pid_t pid = fork();
    os_fork_after(rig->os);
    rig->design->fork(rig->heap, pid ? ALLOCATOR_FORK_PARENT : ALLOCATOR_FORK_CHILD);
    if (!pid) {
        alarm(20); /* a lock that nobody gives back ends here */
        _exit(fork_child(rig, kept));
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_false(WIFSIGNALED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

void forking_try(const struct allocator *design, uint64_t seed)
{
    const struct rig_setup setup = {.observe = false};
    struct rig rig;
    struct forker forkers[FORKERS];
    pthread_t threads[FORKERS], upkeep;
    _Atomic bool stop = false;
    char *kept[64];
    rig_open(&rig, design, &setup);
    assert_non_null(rig.design->fork); /* who is shared must have it */
    for (unsigned i = 0; i < 64; i++) {
        kept[i] = rig_take(&rig, rig.view, 100);
        memset(kept[i], 3, 100);
    }
    for (unsigned i = 0; i < FORKERS; i++) {
        bool views = rig.design->thread_enter;
        forkers[i] = (struct forker){&rig, views ? rig.design->thread_enter(rig.heap) : rig.heap,
                                     seed + i, &stop};
        assert_non_null(forkers[i].view);
        assert_int_equal(pthread_create(&threads[i], NULL, forker_main, &forkers[i]), 0);
    }
    struct forker keeper = {&rig, NULL, seed, &stop};
    assert_int_equal(pthread_create(&upkeep, NULL, upkeep_main, &keeper), 0);
    for (unsigned i = 0; i < FORKS; i++)
        fork_once(&rig, kept);
    atomic_store(&stop, true);
    assert_int_equal(pthread_join(upkeep, NULL), 0);
    for (unsigned i = 0; i < FORKERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
        if (rig.design->thread_exit)
            rig.design->thread_exit(forkers[i].view);
    }
    for (unsigned i = 0; i < 64; i++)
        rig_free(&rig, rig.view, kept[i], 100, true);
    rig_check(&rig);
    rig_close(&rig);
}
