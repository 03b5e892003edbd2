/*
 * arena.c - which chunks arena takes from the door and keeps: growth, objects of their own, and
 * what becomes of the chunks of scopes that were left.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "harness/registry.h"
#include "tests/lib/rig.h"

static struct rig rig;

static void start(const char *options)
{
    const struct rig_setup setup = {.options = options, .observe = true};
    rig_open(&rig, allocator_find("arena"), &setup);
}

static void stop(void)
{
    rig_check(&rig);
    rig_close(&rig);
}

/* Bytes of the next chunk that the view takes, filled with small objects. */
static size_t next_chunk(struct heap *view)
{
    size_t before = rig_committed(&rig);
    while (rig_committed(&rig) == before)
        assert_non_null(rig.design->alloc(view, 512, 16));
    return rig_committed(&rig) - before;
}

static void test_growth(void **state)
{
    (void)state;
    static const struct {
        const char *options;
        size_t pages[5]; /* the first chunk and those after it */
    } cases[] = {
        {"first=16k,growth=fixed", {4, 4, 4, 4, 4}},
        {"first=16k,growth=x1.5", {4, 6, 9, 14, 21}},
        {"first=16k,growth=x2,max=80k", {4, 8, 16, 20, 20}},
        {"first=16k,growth=x2,max=4k", {4, 4, 4, 4, 4}},
    };
    size_t page = os_page_bytes();
    assert_int_equal(page, 4096);
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(cases[i].options);
        assert_int_equal(rig_committed(&rig), cases[i].pages[0] * page);
        for (unsigned n = 1; n < 5; n++)
            assert_int_equal(next_chunk(rig.view), cases[i].pages[n] * page);
        stop();
    }
}

/* More than a quarter of the next chunk: exactly its own pages, and the current chunk stays. */
static void test_own_chunk(void **state)
{
    (void)state;
    start("first=64k,growth=fixed");
    char *small = rig_take(&rig, rig.view, 16);
    size_t before = rig_committed(&rig);
    rig_take(&rig, rig.view, 200000);
    assert_int_equal(rig_committed(&rig) - before, 49 * 4096); /* with its header */
    assert_ptr_equal(rig_take(&rig, rig.view, 16), small + 16);
    rig_take(&rig, rig.view, 50000);
    before = rig_committed(&rig);
    rig_take(&rig, rig.view, 17000); /* finds no room */
    assert_int_equal(rig_committed(&rig) - before, 5 * 4096);
    assert_ptr_equal(rig_take(&rig, rig.view, 16), small + 32 + 50000);
    stop();
}

static void test_last_object(void **state)
{
    (void)state;
    start("first=64k");
    char *p = rig_take(&rig, rig.view, 100);
    rig.design->free(rig.view, p, 0);
    assert_ptr_equal(rig_take(&rig, rig.view, 50), p);
    assert_ptr_equal(rig.design->realloc(rig.view, p, 50, 9000, 16), p);
    assert_ptr_equal(rig.design->realloc(rig.view, p, 9000, 16, 16), p);
    assert_ptr_equal(rig_take(&rig, rig.view, 16), p + 16);
    assert_ptr_not_equal(rig.design->realloc(rig.view, p, 16, 32, 16), p);
    stop();
}

static void test_recycles(void **state)
{
    (void)state;
    start("first=16k,growth=fixed,cache=64k");
    struct heap *scope = rig_enter(&rig);
    for (unsigned i = 0; i < 7; i++)
        next_chunk(scope); /* eight chunks of 16k with the first */
    rig.design->scope_exit(scope);
    assert_int_equal(rig_committed(&rig), 16384 + 65536); /* the root's, and four recycled */
    rig_check(&rig);
    scope = rig_enter(&rig);
    for (unsigned i = 0; i < 3 * 28; i++)
        rig_take(&rig, scope, 512);
    assert_int_equal(rig_committed(&rig), 16384 + 65536);
    rig.design->scope_exit(scope);
    rig.design->trim(rig.heap);
    assert_int_equal(rig_committed(&rig), 16384);
    stop();
}

static void test_oldest_goes(void **state)
{
    (void)state;
    start("first=16k,growth=fixed,cache=64k");
    struct heap *scope = rig_enter(&rig);
    rig_take(&rig, scope, 40000);
    rig.design->scope_exit(scope);
    assert_int_equal(rig_committed(&rig), 16384 + 16384 + 40960);
    scope = rig_enter(&rig);
    for (unsigned i = 0; i < 3; i++)
        next_chunk(scope);
    rig.design->scope_exit(scope);
    assert_int_equal(rig_committed(&rig), 16384 + 65536); /* the larger one was the oldest */
    stop();
}

static void test_no_cache(void **state)
{
    (void)state;
    start("first=16k,cache=0");
    struct heap *scope = rig_enter(&rig);
    rig_take(&rig, scope, 100000);
    rig.design->scope_exit(scope);
    assert_int_equal(rig_committed(&rig), 16384);
    stop();
}

/* A recycled chunk more than twice as large as what is needed is left for those who need it. */
static void test_recycles_what_fits(void **state)
{
    (void)state;
    start("first=16k,growth=fixed");
    struct heap *scope = rig_enter(&rig);
    rig_take(&rig, scope, 1000000);
    rig.design->scope_exit(scope);
    size_t before = rig_committed(&rig);
    scope = rig_enter(&rig);
    char *p = rig_take(&rig, scope, 200000);
    assert_true(rig_committed(&rig) > before);
    before = rig_committed(&rig);
    assert_ptr_not_equal(rig_take(&rig, scope, 600000), p);
    assert_int_equal(rig_committed(&rig), before);
    rig.design->scope_exit(scope);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_own_chunk),
        cmocka_unit_test(test_last_object),
        cmocka_unit_test(test_recycles),
        cmocka_unit_test(test_oldest_goes),
        cmocka_unit_test(test_no_cache),
        cmocka_unit_test(test_recycles_what_fits),
    };
    return cmocka_run_group_tests_name("arena", tests, NULL, NULL);
}
