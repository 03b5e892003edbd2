/*
 * pool_edges.c - what the pool library passes on to a design, and what it settles itself: the table
 * of designs is this file's own, with stubs that write down how they are called.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "allocators/lib/allocator.h"
#include "api/alloclab.h"

struct heap { /* a view; its name is its place in the array */
    char unused;
};

enum { ROOT, THREAD, SCOPE, INNER_SCOPE };

static struct heap views[4];
static struct {
    int allocs, frees, exits, destroyed; /* calls */
    const struct heap *alloc_view, *free_view, *left;
    size_t size, align, freed_size;
    uint64_t tick_ns;
    int no_memory, scope, fork_steps[3], forks;
} seen;

static _Alignas(64) char memory[64][256];
static int used;

static struct heap *stub_create(const struct alloc_env *env)
{
    return env->os && env->design ? &views[ROOT] : NULL;
}

static void stub_destroy(struct heap *heap)
{
    assert_ptr_equal(heap, &views[ROOT]);
    seen.destroyed++;
}

static void *stub_alloc(struct heap *view, size_t size, size_t align)
{
    assert_true(size > 0 && align && !(align & (align - 1)));
    seen.allocs++;
    seen.alloc_view = view;
    seen.size = size;
    seen.align = align;
    return seen.no_memory ? NULL : memset(memory[used++ % 64], 0xee, 256);
}

static void stub_free(struct heap *view, void *p, size_t size)
{
    assert_non_null(p);
    seen.frees++;
    seen.free_view = view;
    seen.freed_size = size;
}

static size_t stub_usable(struct heap *view, const void *p)
{
    assert_non_null(p);
    seen.free_view = view;
    return 256;
}

static struct heap *stub_scope_enter(struct heap *parent)
{
    assert_non_null(parent);
    return &views[SCOPE + seen.scope++];
}

static void stub_exit(struct heap *view)
{
    seen.left = view;
    seen.exits++;
}

static struct heap *stub_thread_enter(struct heap *root)
{
    assert_ptr_equal(root, &views[ROOT]);
    return &views[THREAD];
}

static void stub_tick(struct heap *root, uint64_t now_ns)
{
    assert_ptr_equal(root, &views[ROOT]);
    seen.tick_ns = now_ns;
}

static void stub_fork(struct heap *root, enum allocator_fork when)
{
    assert_ptr_equal(root, &views[ROOT]);
    seen.fork_steps[seen.forks++] = (int)when;
}

#define STUB(stem)                                                                                 \
    .name = #stem, .summary = "a stub", .source = "none", .create = stub_create,                   \
    .destroy = stub_destroy, .alloc = stub_alloc, .free = stub_free,                               \
    .scope_enter = stub_scope_enter, .scope_exit = stub_exit

static const struct allocator owner = {STUB(owner),
                                       .traits = ALLOCATOR_FINDS_OWNER | ALLOCATOR_SHARED |
                                                 ALLOCATOR_ANY_ALIGN,
                                       .usable = stub_usable,
                                       .thread_enter = stub_thread_enter,
                                       .thread_exit = stub_exit,
                                       .tick = stub_tick,
                                       .fork = stub_fork};
static const struct allocator plain = {STUB(plain)};
static const struct allocator sized = {STUB(sized), .traits = ALLOCATOR_NEEDS_SIZE};

const struct allocator *const allocators[] = {&owner, &plain, &sized, NULL};

static struct alloclab_heap *heap;

static void start(const char *spec)
{
    memset(&seen, 0, sizeof seen);
    used = 0;
    assert_non_null(heap = alloclab_open(spec, NULL, NULL, 0));
}

static void stop(void)
{
    alloclab_destroy(heap);
    assert_int_equal(seen.destroyed, 1);
}

static void assert_refused(void *p, int status)
{
    assert_null(p);
    assert_int_equal(errno, status);
    assert_int_equal(seen.allocs, 0);
    errno = 0;
}

static void bad_requests_do_not_reach_the_design(void **state)
{
    (void)state;
    start("owner");
    size_t huge = (size_t)PTRDIFF_MAX + 1;
    assert_refused(alloclab_alloc(heap, 1, 3), EINVAL);
    assert_refused(alloclab_alloc(heap, 1, 2 * ALLOCLAB_MAX_ALIGN), EINVAL);
    assert_refused(alloclab_zalloc(heap, 1, 48), EINVAL);
    assert_refused(alloclab_alloc(heap, huge, 0), ENOMEM);
    assert_refused(alloclab_zalloc(heap, SIZE_MAX, 0), ENOMEM);
    assert_refused(alloclab_calloc(heap, SIZE_MAX / 2, 3), ENOMEM);
    assert_refused(alloclab_calloc(heap, huge, 1), ENOMEM);
    assert_refused(alloclab_realloc(heap, memory[0], 1, huge, 0), ENOMEM);
    assert_refused(alloclab_realloc(heap, memory[0], 1, 1, 5), EINVAL);
    alloclab_free(heap, NULL, 0);
    assert_int_equal(alloclab_usable(heap, NULL), 0);
    assert_int_equal(seen.frees, 0);
    stop();
    start("plain"); /* no ANY_ALIGN, no usable */
    assert_refused(alloclab_alloc(heap, 1, 32), EINVAL);
    assert_refused(alloclab_realloc(heap, memory[0], 0, 10, 0), EINVAL);
    assert_int_equal(alloclab_usable(heap, memory[0]), 0);
    alloclab_tick(heap);
    alloclab_trim(heap);
    assert_null(alloclab_check(heap));
    stop();
}

static void odd_requests_are_settled(void **state)
{
    (void)state;
    start("owner");
    assert_non_null(alloclab_alloc(heap, 0, 0));
    assert_int_equal(seen.size, 1);
    assert_int_equal(seen.align, 16);
    assert_non_null(alloclab_alloc(heap, PTRDIFF_MAX, 64));
    assert_true(seen.size == PTRDIFF_MAX && seen.align == 64);
    assert_non_null(alloclab_calloc(heap, 0, 10));
    assert_int_equal(seen.size, 1);
    unsigned char *p = alloclab_calloc(heap, 20, 10);
    assert_true(seen.size == 200 && p[0] == 0 && p[199] == 0 && p[200] == 0xee);
    assert_non_null(alloclab_realloc(heap, NULL, 0, 30, 32));
    assert_true(seen.size == 30 && seen.align == 32 && seen.frees == 0);
    seen.no_memory = 1;
    errno = 0;
    assert_null(alloclab_alloc(heap, 1, 0));
    assert_int_equal(errno, ENOMEM);
    stop();
}

static void realloc_copies_where_the_design_cannot(void **state)
{
    (void)state;
    start("owner");
    char *p = alloclab_alloc(heap, 100, 0);
    memset(p, 'a', 100);
    char *q = alloclab_realloc(heap, p, 100, 150, 0);
    assert_true(q != p && q[99] == 'a' && (unsigned char)q[100] == 0xee);
    assert_true(seen.frees == 1 && seen.freed_size == 0);
    char *r = alloclab_realloc(heap, q, 150, 10, 0);
    assert_true(r[9] == 'a' && (unsigned char)r[10] == 0xee);
    memset(r, 'b', 256);
    q = alloclab_realloc(heap, r, 0, 250, 0); /* 0: as many as usable() says */
    assert_true(q[249] == 'b' && (unsigned char)q[250] == 0xee);
    assert_non_null(alloclab_realloc(heap, q, 250, 0, 0));
    assert_int_equal(seen.size, 1);
    seen.no_memory = 1;
    int frees = seen.frees;
    assert_null(alloclab_realloc(heap, q, 250, 300, 0));
    assert_int_equal(seen.frees, frees); /* as before */
    stop();
    start("sized");
    assert_non_null(alloclab_realloc(heap, memory[0], 70, 80, 0));
    assert_int_equal(seen.freed_size, 70);
    stop();
}

static void views_are_those_of_the_contract(void **state)
{
    (void)state;
    start("owner");
    struct alloclab_heap *thread = alloclab_thread_enter(heap);
    struct alloclab_heap *scope = alloclab_scope_enter(thread);
    struct alloclab_heap *inner = alloclab_scope_enter(scope);
    assert_ptr_equal(seen.alloc_view, &views[INNER_SCOPE]); /* the handle is the first object */
    void *p = alloclab_alloc(inner, 10, 0);
    assert_ptr_equal(seen.alloc_view, &views[INNER_SCOPE]);
    alloclab_free(inner, p, 10);
    assert_ptr_equal(seen.free_view, &views[THREAD]);
    assert_non_null(alloclab_realloc(scope, p, 10, 20, 0));
    assert_true(seen.alloc_view == &views[SCOPE] && seen.free_view == &views[THREAD]);
    assert_int_equal(alloclab_usable(scope, p), 256);
    assert_ptr_equal(seen.free_view, &views[THREAD]);
    alloclab_scope_leave(inner);
    assert_ptr_equal(seen.left, &views[INNER_SCOPE]);
    alloclab_scope_leave(scope);
    alloclab_thread_leave(thread);
    assert_true(seen.left == &views[THREAD] && seen.exits == 3);
    stop();
    start("plain"); /* does not find an object's scope: gets that scope's view */
    scope = alloclab_scope_enter(heap);
    alloclab_free(scope, memory[0], 1);
    assert_ptr_equal(seen.free_view, &views[SCOPE]);
    alloclab_free(heap, memory[0], 1);
    assert_ptr_equal(seen.free_view, &views[ROOT]);
    alloclab_scope_leave(scope);
    seen.scope = 0;
    seen.no_memory = 1;
    errno = 0;
    assert_null(alloclab_scope_enter(heap)); /* no memory for the handle: the scope is left */
    assert_true(errno == ENOMEM && seen.exits == 2 && seen.left == &views[SCOPE]);
    stop();
}

static uint64_t fake_now(void *ctx)
{
    return *(uint64_t *)ctx;
}

static void clocks_and_forks_reach_the_design(void **state)
{
    (void)state;
    uint64_t now = 12345;
    struct alloclab_config config = {.now_ns = fake_now, .ctx = &now};
    memset(&seen, 0, sizeof seen);
    heap = alloclab_open("owner", &config, NULL, 0);
    alloclab_tick(heap);
    assert_int_equal(seen.tick_ns, 12345);
    static const enum alloclab_fork_step steps[] = {ALLOCLAB_FORK_BEFORE, ALLOCLAB_FORK_PARENT,
                                                    ALLOCLAB_FORK_BEFORE};
    for (int i = 0; i < 3; i++) {
        alloclab_fork(heap, steps[i]);
        assert_int_equal(seen.fork_steps[i], (int)steps[i]);
    }
    seen.forks = 0;
    alloclab_fork(heap, ALLOCLAB_FORK_CHILD);
    assert_int_equal(seen.fork_steps[0], ALLOCATOR_FORK_CHILD);
    stop();
}

static void designs_are_listed(void **state)
{
    (void)state;
    struct alloclab_design design;
    assert_int_equal(alloclab_design_at(1, &design), 1);
    assert_string_equal(design.name, "plain");
    assert_string_equal(design.summary, "a stub");
    assert_int_equal(design.promises, ALLOCLAB_SCOPES);
    assert_int_equal(alloclab_design_at(0, &design), 1);
    assert_int_equal(design.promises, ALLOCLAB_FINDS_OWNER | ALLOCLAB_SHARED | ALLOCLAB_ANY_ALIGN |
                                          ALLOCLAB_SCOPES | ALLOCLAB_USABLE | ALLOCLAB_TICKS);
    assert_int_equal(alloclab_design_at(3, &design), 0);
    assert_int_equal(alloclab_design_at(99, &design), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_do_not_reach_the_design),
        cmocka_unit_test(odd_requests_are_settled),
        cmocka_unit_test(realloc_copies_where_the_design_cannot),
        cmocka_unit_test(views_are_those_of_the_contract),
        cmocka_unit_test(clocks_and_forks_reach_the_design),
        cmocka_unit_test(designs_are_listed),
    };
    return cmocka_run_group_tests_name("pool_edges", tests, NULL, NULL);
}
