/*
 * pool.c - every design as a program uses it, through api/alloclab.h: objects keep their contents,
 * limits hold, scopes and thread views do what the header says, and errors are its errors.
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <pthread.h>

#include "api/alloclab.h"

enum { OBJECTS = 400, ROUNDS = 4000 };

static struct alloclab_heap *must_open(const char *spec, size_t limit)
{
    char why[300] = "";
    struct alloclab_config config = {.commit_limit_bytes = limit, .seed = 7};
    struct alloclab_heap *heap = alloclab_open(spec, &config, why, sizeof why);
    if (!heap)
        fail_msg("%s: %s", spec, why);
    return heap;
}

struct object {
    unsigned char *p, value;
    size_t size;
};

static void assert_kept(const struct object *o, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (o->p[i] != o->value)
            fail_msg("byte %zu of %zu is %u, not %u", i, o->size, o->p[i], o->value);
}

static uint64_t draw(uint64_t *state, uint64_t n)
{
    *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (*state >> 33) % n;
}

/* One of: a new object, a resize, an end; sizes are said, as any design accepts. */
static void object_step(struct alloclab_heap *heap, struct object *o, uint64_t *state)
{
    size_t size = draw(state, 10) ? draw(state, 300) + 1 : draw(state, 40000) + 1;
    if (o->p && draw(state, 2)) {
        assert_kept(o, o->size);
        alloclab_free(heap, o->p, o->size);
        o->p = NULL;
        return;
    }
    unsigned char *p = alloclab_realloc(heap, o->p, o->size, size, 0);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    if (o->p) {
        o->p = p;
        assert_kept(o, size < o->size ? size : o->size);
    }
    *o = (struct object){memset(p, (int)(size & 0xff), size), (unsigned char)size, size};
}

static void sum_add(void *arg, uintptr_t address, size_t bytes, enum alloclab_kind kind)
{
    assert_true(address && kind <= ALLOCLAB_UNUSED);
    *(size_t *)arg += bytes;
}

static void assert_whole(struct alloclab_heap *heap)
{
    size_t walked = 0;
    assert_null(alloclab_check(heap));
    alloclab_walk(heap, sum_add, &walked);
    struct alloclab_memory memory = alloclab_usage(heap);
    assert_int_equal(walked, memory.committed_bytes);
    assert_true(memory.committed_bytes <= memory.peak_committed_bytes &&
                memory.reserved_bytes <= memory.peak_reserved_bytes &&
                memory.committed_bytes <= memory.reserved_bytes);
}

/* Specs that open every design; one that wraps another one stands before freelist. */
static int spec_at(unsigned i, char *spec, size_t bytes, struct alloclab_design *design)
{
    if (!alloclab_design_at(i, design))
        return 0;
    snprintf(spec, bytes, "%s%s", design->name,
             design->promises & ALLOCLAB_WRAPS ? "/freelist" : "");
    return 1;
}

static void every_design_keeps_its_objects(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    unsigned opened = 0;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        if (design.promises & ALLOCLAB_FAKE)
            continue;
        struct object objects[OBJECTS] = {0};
        uint64_t random = 1;
        struct alloclab_heap *heap = must_open(spec, 0);
        assert_string_equal(alloclab_name(heap), spec);
        assert_int_equal(alloclab_promises(heap), design.promises);
        for (unsigned n = 0; n < ROUNDS; n++)
            object_step(heap, &objects[draw(&random, OBJECTS)], &random);
        assert_whole(heap);
        alloclab_tick(heap);
        for (unsigned n = 0; n < OBJECTS; n++)
            alloclab_free(heap, objects[n].p, objects[n].size);
        alloclab_trim(heap);
        assert_whole(heap);
        alloclab_destroy(heap);
        opened++;
    }
    assert_true(opened >= 8);
}

static void every_design_zeroes_and_aligns(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        if (design.promises & ALLOCLAB_FAKE)
            continue;
        struct alloclab_heap *heap = must_open(spec, 0);
        size_t most = design.promises & ALLOCLAB_ANY_ALIGN ? ALLOCLAB_MAX_ALIGN : 16;
        for (size_t align = 1; align <= 2 * ALLOCLAB_MAX_ALIGN; align *= 2) {
            unsigned char *dirty = alloclab_alloc(heap, 300, 0);
            alloclab_free(heap, memset(dirty, 0xff, 300), 300);
            errno = 0;
            unsigned char *p = alloclab_zalloc(heap, 300, align);
            if (align > most) {
                assert_null(p);
                assert_int_equal(errno, EINVAL);
                continue;
            }
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % align, 0);
            for (size_t n = 0; n < 300; n++)
                assert_int_equal(p[n], 0);
            if (design.promises & ALLOCLAB_USABLE)
                assert_true(alloclab_usable(heap, p) >= 300);
            alloclab_free(heap, p, 300);
        }
        alloclab_destroy(heap);
    }
}

static void limits_hold(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        if (design.promises & (ALLOCLAB_FAKE | ALLOCLAB_FOREIGN))
            continue;
        struct alloclab_heap *heap = must_open(spec, 16 << 20);
        errno = 0;
        while (alloclab_alloc(heap, 1000, 0))
            ;
        assert_int_equal(errno, ENOMEM);
        assert_true(alloclab_usage(heap).peak_committed_bytes <= 16 << 20);
        assert_whole(heap);
        alloclab_destroy(heap);
    }
}

static void specs_are_refused_in_words(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *says;
    } cases[] = {
        {"segfti", "no allocator 'segfti': there are "},
        {"segfti", "; did you mean 'segfit'?"},
        {"", "the allocator's name is missing in ''"},
        {"freelist:fit=worst", "freelist: option fit=worst: give one of first"},
        {"freelist:fits=best", "freelist: unknown option \"fits\": it has "},
        {"freelist/arena", "freelist does not wrap another allocator"},
        {"null", "null hands out memory that it does not manage: it measures, and cannot serve"},
    };
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        char why[1024] = "";
        errno = 0;
        assert_null(alloclab_open(cases[i].spec, NULL, why, sizeof why));
        assert_int_equal(errno, EINVAL);
        if (!strstr(why, cases[i].says))
            fail_msg("%s: \"%s\" does not say \"%s\"", cases[i].spec, why, cases[i].says);
    }
    const struct alloclab_config often = {.memory = "thp=often"};
    char said[300] = "";
    errno = 0;
    assert_null(alloclab_open("arena", &often, said, sizeof said));
    assert_int_equal(errno, EINVAL);
    assert_non_null(strstr(said, "memory: option thp=often: give one of default|on|off"));
    char few[8];
    assert_null(alloclab_open("segfti", NULL, few, sizeof few));
    assert_string_equal(few, "no allo");
    assert_null(alloclab_open("segfti", NULL, NULL, 0));
    char why[300];
    struct alloclab_config config = {.commit_limit_bytes = 1};
    errno = 0;
    assert_null(alloclab_open("segfit", &config, why, sizeof why));
    assert_int_equal(errno, ENOMEM);
    assert_string_equal(why, "segfit: no memory for a heap within the commit limit");
}

static void options_are_as_given(void **state)
{
    (void)state;
    struct alloclab_heap *heap = must_open("arena:first=64k,growth=fixed", 0);
    assert_non_null(strstr(alloclab_options(heap), "first=64k,growth=fixed,"));
    size_t before = alloclab_usage(heap).committed_bytes;
    alloclab_scope_leave(alloclab_scope_enter(heap));
    assert_int_equal(alloclab_usage(heap).committed_bytes, before + (64 << 10));
    alloclab_destroy(heap);
}

/* Three scopes, of which the first is left first; what the others hold stays. */
static void scopes_end_in_any_order(void **state)
{
    (void)state;
    static const char *const specs[] = {"arena", "bump"};
    for (unsigned i = 0; i < 2; i++) {
        struct alloclab_heap *heap = must_open(specs[i], 0), *scopes[3];
        struct object objects[3][OBJECTS] = {0}, outer = {.size = 0};
        uint64_t random = 5;
        for (unsigned s = 0; s < 3; s++)
            assert_non_null(scopes[s] = alloclab_scope_enter(s == 2 ? scopes[1] : heap));
        for (unsigned n = 0; n < ROUNDS; n++) {
            unsigned s = (unsigned)draw(&random, 3);
            object_step(scopes[s], &objects[s][draw(&random, OBJECTS)], &random);
        }
        while (!outer.p)
            object_step(heap, &outer, &random);
        alloclab_scope_leave(scopes[0]);
        assert_whole(heap);
        for (unsigned s = 1; s < 3; s++)
            for (unsigned n = 0; n < OBJECTS; n++)
                if (objects[s][n].p)
                    assert_kept(&objects[s][n], objects[s][n].size);
        alloclab_scope_leave(scopes[1]);
        alloclab_scope_leave(scopes[2]);
        assert_kept(&outer, outer.size);
        assert_whole(heap);
        alloclab_destroy(heap);
    }
}

static void frames_reuse_their_memory(void **state)
{
    (void)state;
    struct alloclab_heap *heap = must_open("arena", 0);
    size_t committed = 0;
    for (unsigned frame = 0; frame < 300; frame++) {
        struct alloclab_heap *scope = alloclab_scope_enter(heap);
        for (unsigned n = 0; n < 200; n++)
            assert_non_null(alloclab_alloc(scope, 100 + n, 0));
        alloclab_scope_leave(scope);
        if (!frame)
            committed = alloclab_usage(heap).committed_bytes;
        assert_int_equal(alloclab_usage(heap).committed_bytes, committed);
    }
    alloclab_destroy(heap);
}

static void what_a_design_lacks_is_said(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    unsigned without_scopes = 0, unshared = 0;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        if (design.promises & ALLOCLAB_FAKE)
            continue;
        struct alloclab_heap *heap = must_open(spec, 0);
        errno = 0;
        if (!(design.promises & ALLOCLAB_SCOPES)) {
            assert_null(alloclab_scope_enter(heap));
            assert_int_equal(errno, ENOTSUP);
            without_scopes++;
        }
        errno = 0;
        if (!(design.promises & ALLOCLAB_SHARED)) {
            assert_null(alloclab_thread_enter(heap));
            assert_int_equal(errno, ENOTSUP);
            unshared++;
        }
        alloclab_destroy(heap);
    }
    assert_true(without_scopes && unshared);
}

/* ---- threads ---- */

enum { HANDED = 2000, PRODUCERS = 3 };

struct producer {
    struct alloclab_heap *heap;
    void *made[HANDED];
    int failed;
};

static void *produce(void *arg)
{
    struct producer *producer = arg;
    struct alloclab_heap *view = alloclab_thread_enter(producer->heap);
    producer->failed = !view;
    for (unsigned n = 0; view && n < HANDED; n++) {
        void *own = alloclab_alloc(view, 64 + n % 100, 0);
        producer->made[n] = alloclab_zalloc(view, 8 + n % 700, 0);
        producer->failed |= !own || !producer->made[n];
        alloclab_free(view, own, 64 + n % 100);
    }
    if (view)
        alloclab_thread_leave(view);
    return NULL;
}

static void threads_share_a_heap(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    static struct producer producers[PRODUCERS];
    unsigned shared = 0;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        unsigned wanted = ALLOCLAB_SHARED | ALLOCLAB_REMOTE_FREE;
        if ((design.promises & wanted) != wanted)
            continue;
        struct alloclab_heap *heap = must_open(spec, 0);
        pthread_t threads[PRODUCERS];
        for (unsigned t = 0; t < PRODUCERS; t++) {
            producers[t].heap = heap;
            assert_int_equal(pthread_create(&threads[t], NULL, produce, &producers[t]), 0);
        }
        for (unsigned t = 0; t < PRODUCERS; t++) {
            assert_int_equal(pthread_join(threads[t], NULL), 0);
            assert_false(producers[t].failed);
            for (unsigned n = 0; n < HANDED; n++)
                alloclab_free(heap, producers[t].made[n], 8 + n % 700);
        }
        assert_whole(heap);
        alloclab_destroy(heap);
        shared++;
    }
    assert_true(shared >= 2);
}

/* ---- fork ---- */

struct busy {
    struct alloclab_heap *heap;
    _Atomic int stop, ready;
};

static void *keep_busy(void *arg)
{
    struct busy *busy = arg;
    struct alloclab_heap *view = alloclab_thread_enter(busy->heap);
    void *objects[16] = {NULL};
    for (unsigned n = 0; view && !busy->stop; n++) {
        alloclab_free(view, objects[n % 16], 0);
        objects[n % 16] = alloclab_alloc(view, 1 + n % 5000, 0);
        busy->ready = 1;
    }
    for (unsigned n = 0; view && n < 16; n++)
        alloclab_free(view, objects[n], 0);
    if (view)
        alloclab_thread_leave(view);
    return NULL;
}

/* In the child: 0 if the heap serves. */
static int child_use(struct alloclab_heap *heap)
{
    for (unsigned n = 0; n < 3000; n++) {
        size_t size = 1 + n * 7 % 6000;
        char *p = alloclab_zalloc(heap, size, 0);
        if (!p || p[0] || p[size - 1])
            return 1;
        if (n % 3)
            alloclab_free(heap, p, size);
    }
    return alloclab_check(heap) ? 2 : 0;
}

static void heaps_serve_in_forked_children(void **state)
{
    (void)state;
    char spec[64];
    struct alloclab_design design;
    for (unsigned i = 0; spec_at(i, spec, sizeof spec, &design); i++) {
        if (!(design.promises & ALLOCLAB_SHARED) ||
            design.promises & (ALLOCLAB_FOREIGN | ALLOCLAB_NEEDS_SIZE))
            continue;
        struct busy busy = {.heap = must_open(spec, 0)};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, keep_busy, &busy), 0);
        while (!busy.ready)
            sched_yield();
        for (unsigned n = 0; n < 10; n++) {
            int status;
            alloclab_fork(busy.heap, ALLOCLAB_FORK_BEFORE);
            pid_t pid = fork();
            alloclab_fork(busy.heap, pid ? ALLOCLAB_FORK_PARENT : ALLOCLAB_FORK_CHILD);
            if (pid == 0) {
                alarm(20);
                _exit(child_use(busy.heap));
            }
            assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
            if (status)
                fail_msg("%s: the child ended with status %#x", spec, (unsigned)status);
        }
        busy.stop = 1;
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_whole(busy.heap);
        alloclab_destroy(busy.heap);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_design_keeps_its_objects),
        cmocka_unit_test(every_design_zeroes_and_aligns),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(specs_are_refused_in_words),
        cmocka_unit_test(options_are_as_given),
        cmocka_unit_test(scopes_end_in_any_order),
        cmocka_unit_test(frames_reuse_their_memory),
        cmocka_unit_test(what_a_design_lacks_is_said),
        cmocka_unit_test(threads_share_a_heap),
        cmocka_unit_test(heaps_serve_in_forked_children),
    };
    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
